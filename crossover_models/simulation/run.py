"""A simulated run through a mapped building: ray-cast sensors, a rosbag2, the truth and a record of what was done.

What is simulated: instantaneous sweeps and exposures (no motion distortion, no blur), a level floor, exact stamps.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crossover_models import __version__
from crossover_models.building import Door, Furnishing, Level, Lift, Mesh, Place
from crossover_models.estimate import LevelKey
from crossover_models.floor_plan import FloorPlan
from crossover_models.geometry import quaternion_from_yaw, se3_from_se2
from crossover_models.simulation.appearance import Appearance, draw_appearance
from crossover_models.simulation.bag import RunBag
from crossover_models.simulation.camera import R_BODY_OPTICAL, PinholeCamera, render
from crossover_models.simulation.itinerary import Event, Itinerary, Leg, MetLevel, meet, plan_itinerary
from crossover_models.simulation.lidar import LidarModel, sweep
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.robot import STEP_S
from crossover_models.simulation.settings import RunSettings
from crossover_models.simulation.survey import lamp_positions, level_meshes
from crossover_models.simulation.variation import Changes

START_NS = 100_000_000_000
LIDAR_FRAME, CAMERA_FRAME = "lidar", "camera_optical"
LIDAR_X_M, CAMERA_X_M = 0.0, 0.15

Progress = Callable[[float], None]


class RunError(ValueError):
    """A run that cannot be made; the message names what is wrong."""


class SimulatedMap(Protocol):
    """What a run reads of a map database."""

    @property
    def fingerprint(self) -> str:
        """Of the content."""

    def levels(self, building_id: str | None = None) -> tuple[Any, ...]:
        """Records with key, name, elevation_m, height_m and T_building_map."""

    def places(self, building_id: str | None = None, level_id: str | None = None) -> tuple[Any, ...]:
        """Records with place_id, name, category, polygon and text."""

    def floor_plan(self, key: LevelKey) -> FloorPlan:
        """Structural plan."""

    def structure(self, key: LevelKey) -> Mesh | None:
        """Walls, floor and ceiling, where the source has them."""

    def doors(self, key: LevelKey) -> tuple[Door, ...]:
        """Doors."""

    def lifts(self, key: LevelKey) -> tuple[Lift, ...]:
        """Lifts."""

    def furnishings(self, key: LevelKey) -> tuple[tuple[str, Furnishing], ...]:
        """(place id, furnishing)."""


@dataclass(frozen=True)
class RunResult:
    """A finished run."""

    directory: Path
    changes: Changes
    visited: tuple[str, ...]
    distance_m: float
    counts: dict[str, int]
    events: tuple[Event, ...]


def choose_level(database: SimulatedMap, building: str = "", level: str = "") -> LevelKey:
    """The level to drive on: the first one that matches.

    Raises:
        RunError: nothing in the map matches; the message lists what there is.
    """
    keys: list[LevelKey] = [record.key for record in database.levels()]
    found = [k for k in keys if building in ("", k.building_id) and level in ("", k.level_id)]
    if not found:
        known = ", ".join(f"{k.building_id}/{k.level_id}" for k in keys) or "nothing"
        raise RunError(f"level: the map has no {building or '*'}/{level or '*'}; it has {known}")
    return found[0]


def read_level(database: SimulatedMap, key: LevelKey) -> Level:
    """A level as the map has it, furnishings in their places."""
    record = next(r for r in database.levels(key.building_id) if r.key == key)
    pieces: dict[str, list[Furnishing]] = {}
    for place_id, piece in database.furnishings(key):
        pieces.setdefault(place_id, []).append(piece)
    places = tuple(
        Place(p.place_id, p.name, p.category, p.polygon, p.text, furnishings=tuple(pieces.get(p.place_id, ())))
        for p in database.places(key.building_id, key.level_id)
    )
    return Level(
        key.level_id,
        record.name,
        record.elevation_m,
        record.height_m,
        database.floor_plan(key),
        places,
        database.structure(key),
        database.doors(key),
        database.lifts(key),
        record.T_building_map,
    )


def simulate(
    database: SimulatedMap,
    out_dir: Path,
    settings: RunSettings,
    progress: Progress | None = None,
    *,
    building: str = "",
    level: str = "",
    overwrite: bool = False,
) -> RunResult:
    """Drive through a level of a map and write ``out_dir``: a rosbag2, ground_truth.txt (TUM) and run.json.

    ``progress`` is told the simulated seconds that are done. The directory appears whole or not at all.

    Raises:
        RunError: no such level, no places on it, or ``out_dir`` exists and ``overwrite`` is False.
        NoRoute: the robot fits nowhere.
    """
    key = choose_level(database, building, level)
    mapped = read_level(database, key)
    if not mapped.places:
        raise RunError(f"level: {key.building_id}/{key.level_id} has no places to drive to")
    with _published(out_dir, overwrite) as directory:
        return _simulate(database, mapped, key, directory, out_dir, settings, progress)


@contextmanager
def _published(out_dir: Path, overwrite: bool) -> Iterator[Path]:
    """A directory to write into that takes the place of ``out_dir`` when all went well, and vanishes otherwise."""
    out_dir = Path(out_dir)
    if out_dir.exists() and not overwrite:
        raise RunError(f"{out_dir}: exists; choose another name or overwrite it")
    if out_dir.exists() and not (out_dir / "run.json").is_file():
        raise RunError(f"{out_dir}: is not a simulated run, so it is not overwritten")
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}-", dir=out_dir.parent))
    try:
        yield scratch / out_dir.name
        if out_dir.exists():
            out_dir.rename(scratch / "replaced")
        (scratch / out_dir.name).rename(out_dir)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Day:
    """The levels of a building on the day of the run, each met when the robot first comes to it."""

    def __init__(self, database: SimulatedMap, mapped: Level, key: LevelKey, settings: RunSettings) -> None:
        self._database, self._building_id, self._settings = database, key.building_id, settings
        self._mapped = {mapped.level_id: mapped}
        self._order = [record.key.level_id for record in database.levels(key.building_id)]
        self._first = mapped.level_id
        self.met: dict[str, MetLevel] = {}

    def meeting(self, level_id: str) -> MetLevel:
        """The level as the robot finds it."""
        if level_id not in self.met:
            if level_id not in self._mapped:
                self._mapped[level_id] = read_level(self._database, LevelKey(self._building_id, level_id))
            # The level where the run begins has the stream that a run on one level always had.
            number = [] if level_id == self._first else [self._order.index(level_id) + 1]
            furniture = np.random.default_rng([self._settings.seed, 0, *number])
            doors = np.random.default_rng([self._settings.seed, 5, *number])
            self.met[level_id] = meet(self._mapped[level_id], self._settings, furniture, doors)
        return self.met[level_id]

    @property
    def levels(self) -> tuple[str, ...]:
        """Ids of levels with places, in the map's order."""
        with_places = {p.level_id for p in _level_ids_of_places(self._database, self._building_id)}
        return tuple(level for level in self._order if level in with_places)


def _simulate(
    database: SimulatedMap,
    mapped: Level,
    key: LevelKey,
    directory: Path,
    out_dir: Path,
    settings: RunSettings,
    progress: Progress | None,
) -> RunResult:
    streams = [np.random.default_rng([settings.seed, i]) for i in range(5)]
    day = _Day(database, mapped, key, settings)
    way = plan_itinerary(key.level_id, day.meeting, day.levels, settings, streams[1])
    changes = _summed([met.changes for met in day.met.values()])
    with RunBag(directory, lidar=settings.lidar, camera=settings.camera) as bag:
        _Recorder(bag, way, settings, streams[2:]).record(progress)
    _write_truth(directory / "ground_truth.txt", way, settings)
    record = {
        "simulated": True,
        "generator": f"crossover simulate {__version__}",
        "seed": settings.seed,
        "building_id": key.building_id,
        "level_id": key.level_id,
        "database_fingerprint": database.fingerprint,
        "levels": [
            {"from_ns": _stamp(leg.first), "building_id": key.building_id, "level_id": leg.met.level.level_id}
            for leg in way.legs
            if leg.true
        ],
        "events": [_described(event) for event in way.events],
        "start_ns": START_NS,
        "duration_s": settings.duration_s,
        "distance_m": round(way.distance_m, 3),
        "places_visited": [place_id for _, place_id in way.visited],
        "furniture": asdict(changes),
        "doors": {
            met.level.level_id: {"closed": met.leaves.closed, "ajar": met.leaves.ajar, "all": met.leaves.doors}
            for met in day.met.values()
        },
        "frames": {"odom": "odom", "base": "base_link", "lidar": LIDAR_FRAME, "camera": CAMERA_FRAME},
        "messages": dict(bag.counts),
        "settings": settings.to_mapping(),
    }
    (directory / "run.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    visited = tuple(place_id for _, place_id in way.visited)
    return RunResult(out_dir, changes, visited, way.distance_m, dict(bag.counts), way.events)


def _level_ids_of_places(database: SimulatedMap, building_id: str) -> list[LevelKey]:
    return [r.key for r in database.levels(building_id) if database.places(building_id, r.key.level_id)]


def _stamp(step: int) -> int:
    return START_NS + round(step * STEP_S * 1e9)


def _described(event: Event) -> dict[str, Any]:
    return {
        "kind": event.kind,
        "stamp_ns": _stamp(event.step),
        "from_level": event.from_level,
        "to_level": event.to_level,
    }


def _summed(changes: list[Changes]) -> Changes:
    totals = [asdict(c) for c in changes]
    return Changes(**{name: sum(t[name] for t in totals) for name in totals[0]})


def sensor_mounts(settings: RunSettings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """T_base_lidar and T_base_camera (4, 4); the camera's is that of its optical frame."""
    T_base_lidar, T_base_camera = np.eye(4), np.eye(4)
    T_base_lidar[:3, 3] = LIDAR_X_M, 0.0, settings.lidar_height_m
    T_base_camera[:3, :3] = R_BODY_OPTICAL
    T_base_camera[:3, 3] = CAMERA_X_M, 0.0, settings.camera_height_m
    return T_base_lidar, T_base_camera


class _Recorder:
    """Writes all messages of a run in the order of their stamps."""

    def __init__(self, bag: RunBag, way: Itinerary, settings: RunSettings, streams: list[np.random.Generator]) -> None:
        self.bag, self.way, self.settings = bag, way, settings
        self.light_rng, self.lidar_rng, self.camera_rng = streams
        self.lidar = LidarModel(azimuths=settings.lidar_azimuths)
        self.camera = PinholeCamera(settings.camera_width, settings.camera_height, settings.camera_fov_deg)
        self.T_base_lidar, self.T_base_camera = sensor_mounts(settings)
        self._surroundings: dict[str, tuple[RayScene, Appearance]] = {}
        self._here: tuple[Leg, RayScene, Appearance] | None = None

    def _around(self, leg: Leg) -> tuple[RayScene, Appearance]:
        """What surrounds the robot on a leg, and its light; a level looks the same whenever the robot comes back."""
        if self._here is not None and self._here[0] is leg:
            return self._here[1:]
        if leg.cabin is not None:
            lamp = np.add(leg.cabin.vertices.mean(axis=0), [0.0, 0.0, 0.9])
            found = RayScene([leg.cabin]), draw_appearance(lamp[None], self.light_rng)
        else:
            level = leg.met.level
            if level.level_id not in self._surroundings:
                scene = RayScene([*level_meshes(level), *leg.met.leaves.meshes])
                self._surroundings[level.level_id] = scene, draw_appearance(lamp_positions(level), self.light_rng)
            found = self._surroundings[level.level_id]
        self._here = (leg, *found)
        return found

    def record(self, progress: Progress | None) -> None:
        self.bag.write_static(
            START_NS,
            [(self.T_base_lidar, "base_link", LIDAR_FRAME), (self.T_base_camera, "base_link", CAMERA_FRAME)],
        )
        s = self.settings
        kinds: list[tuple[float, float, Callable[[float, int], None]]] = [
            (s.clock_hz, 0.0, lambda _, stamp: self.bag.write_clock(stamp)),
            (s.odom_hz, 0.0, self._odometry),
        ]
        if s.lidar:
            kinds.append((s.lidar_hz, 0.0, self._sweep))
        if s.camera:
            kinds.append((s.camera_hz, s.camera_phase_s, self._picture))
        # Clock before odometry before sensors at equal stamps, as a receiver would like them.
        events = sorted(
            (first_s + k / hz, order)
            for order, (hz, first_s, _) in enumerate(kinds)
            for k in range(int((s.duration_s - first_s) * hz) + 1)
        )
        for time_s, order in events:
            kinds[order][-1](time_s, START_NS + round(time_s * 1e9))
            if progress is not None and order > 0:
                progress(time_s)

    def _odometry(self, time_s: float, stamp_ns: int) -> None:
        T_odom_base = se3_from_se2(self.way.at(self.way.T_odom_base, time_s))
        s, (speed, turn) = self.settings, self._velocity(time_s)
        variances = ((s.odom_translation * 0.5) ** 2 + 1e-6, (s.odom_rotation * 0.5) ** 2 + 1e-6)
        self.bag.write_odometry(stamp_ns, T_odom_base, speed, turn, variances)
        self.bag.write_transform(stamp_ns, T_odom_base, "odom", "base_link")

    def _velocity(self, time_s: float) -> tuple[float, float]:
        speed, turn = self.way.at(np.column_stack([self.way.velocity, np.zeros(len(self.way.velocity))]), time_s)[:2]
        return float(speed), float(turn)

    def _sweep(self, time_s: float, stamp_ns: int) -> None:
        leg = self.way.leg_at(time_s)
        if leg is None:
            return
        T_map_base = se3_from_se2(self.way.at(self.way.T_map_base, time_s))
        points = sweep(self._around(leg)[0], self.lidar, T_map_base @ self.T_base_lidar, self.lidar_rng)
        self.bag.write_points(stamp_ns, points, LIDAR_FRAME)

    def _picture(self, time_s: float, stamp_ns: int) -> None:
        leg = self.way.leg_at(time_s)
        if leg is None:
            return
        T_map_base = se3_from_se2(self.way.at(self.way.T_map_base, time_s))
        scene, look = self._around(leg)
        picture = render(scene, look, self.camera, T_map_base @ self.T_base_camera, self.camera_rng)
        self.bag.write_image(stamp_ns, picture.image, self.camera, CAMERA_FRAME)


def _write_truth(path: Path, way: Itinerary, settings: RunSettings) -> None:
    """TUM lines ``stamp_s x y z qx qy qz qw`` of base_link in the level's map frame, at the odometry's stamps.

    While the robot rides a lift or is carried there is no line: it is on no level.
    """
    lines = []
    for k in range(int(settings.duration_s * settings.odom_hz) + 1):
        leg = way.leg_at(k / settings.odom_hz)
        if leg is None or not leg.true:
            continue
        x, y, yaw = way.at(way.T_map_base, k / settings.odom_hz)
        stamp_ns = START_NS + round(k / settings.odom_hz * 1e9)
        qx, qy, qz, qw = quaternion_from_yaw(yaw)
        seconds, rest = divmod(stamp_ns, 1_000_000_000)
        lines.append(f"{seconds}.{rest:09d} {x:.6f} {y:.6f} 0.000000 {qx:.9f} {qy:.9f} {qz:.9f} {qw:.9f}\n")
    path.write_text("".join(lines), encoding="utf-8")
