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
from crossover_models.building import Door, Furnishing, Level, Mesh, Place
from crossover_models.estimate import LevelKey
from crossover_models.floor_plan import FloorPlan
from crossover_models.geometry import quaternion_from_yaw, se3_from_se2
from crossover_models.simulation.appearance import Appearance, draw_appearance
from crossover_models.simulation.bag import RunBag
from crossover_models.simulation.camera import R_BODY_OPTICAL, PinholeCamera, render
from crossover_models.simulation.lidar import LidarModel, sweep
from crossover_models.simulation.navigation import DrivableGround
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.robot import Motion, drive
from crossover_models.simulation.settings import RunSettings
from crossover_models.simulation.survey import lamp_positions, level_meshes
from crossover_models.simulation.variation import Changes, refurnished

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
        return _simulate(mapped, key, database.fingerprint, directory, out_dir, settings, progress)


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


def _simulate(
    mapped: Level,
    key: LevelKey,
    fingerprint: str,
    directory: Path,
    out_dir: Path,
    settings: RunSettings,
    progress: Progress | None,
) -> RunResult:
    streams = [np.random.default_rng([settings.seed, i]) for i in range(5)]
    actual, changes = refurnished(mapped, settings, streams[0])
    obstacles = [f.mesh for place in actual.places for f in place.furnishings]
    motion = drive(DrivableGround(actual.plan, obstacles, settings.radius_m), actual.places, settings, streams[1])
    scene = RayScene(level_meshes(actual))
    with RunBag(directory, lidar=settings.lidar, camera=settings.camera) as bag:
        _Recorder(
            bag, scene, draw_appearance(lamp_positions(actual), streams[2]), motion, settings, streams[3:]
        ).record(progress)
    _write_truth(directory / "ground_truth.txt", motion, settings)
    record = {
        "simulated": True,
        "generator": f"crossover simulate {__version__}",
        "seed": settings.seed,
        "building_id": key.building_id,
        "level_id": key.level_id,
        "database_fingerprint": fingerprint,
        "levels": [{"from_ns": START_NS, "building_id": key.building_id, "level_id": key.level_id}],
        "start_ns": START_NS,
        "duration_s": settings.duration_s,
        "distance_m": round(motion.distance_m, 3),
        "places_visited": list(motion.visited),
        "furniture": asdict(changes),
        "frames": {"odom": "odom", "base": "base_link", "lidar": LIDAR_FRAME, "camera": CAMERA_FRAME},
        "messages": dict(bag.counts),
        "settings": settings.to_mapping(),
    }
    (directory / "run.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return RunResult(out_dir, changes, motion.visited, motion.distance_m, dict(bag.counts))


def sensor_mounts(settings: RunSettings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """T_base_lidar and T_base_camera (4, 4); the camera's is that of its optical frame."""
    T_base_lidar, T_base_camera = np.eye(4), np.eye(4)
    T_base_lidar[:3, 3] = LIDAR_X_M, 0.0, settings.lidar_height_m
    T_base_camera[:3, :3] = R_BODY_OPTICAL
    T_base_camera[:3, 3] = CAMERA_X_M, 0.0, settings.camera_height_m
    return T_base_lidar, T_base_camera


class _Recorder:
    """Writes all messages of a motion in the order of their stamps."""

    def __init__(
        self,
        bag: RunBag,
        scene: RayScene,
        look: Appearance,
        motion: Motion,
        settings: RunSettings,
        streams: list[np.random.Generator],
    ) -> None:
        self.bag, self.scene, self.look, self.motion, self.settings = bag, scene, look, motion, settings
        self.lidar_rng, self.camera_rng = streams
        self.lidar = LidarModel(azimuths=settings.lidar_azimuths)
        self.camera = PinholeCamera(settings.camera_width, settings.camera_height, settings.camera_fov_deg)
        self.T_base_lidar, self.T_base_camera = sensor_mounts(settings)

    def record(self, progress: Progress | None) -> None:
        self.bag.write_static(
            START_NS,
            [(self.T_base_lidar, "base_link", LIDAR_FRAME), (self.T_base_camera, "base_link", CAMERA_FRAME)],
        )
        s = self.settings
        kinds: list[tuple[float, Callable[[float, int], None]]] = [
            (s.clock_hz, lambda _, stamp: self.bag.write_clock(stamp)),
            (s.odom_hz, self._odometry),
        ]
        if s.lidar:
            kinds.append((s.lidar_hz, self._sweep))
        if s.camera:
            kinds.append((s.camera_hz, self._picture))
        # Clock before odometry before sensors at equal stamps, as a receiver would like them.
        events = sorted(
            (k / hz, order) for order, (hz, _) in enumerate(kinds) for k in range(int(s.duration_s * hz) + 1)
        )
        for time_s, order in events:
            kinds[order][1](time_s, START_NS + round(time_s * 1e9))
            if progress is not None and order > 0:
                progress(time_s)

    def _odometry(self, time_s: float, stamp_ns: int) -> None:
        T_odom_base = se3_from_se2(self.motion.at(self.motion.T_odom_base, time_s))
        s, (speed, turn) = self.settings, self._velocity(time_s)
        variances = ((s.odom_translation * 0.5) ** 2 + 1e-6, (s.odom_rotation * 0.5) ** 2 + 1e-6)
        self.bag.write_odometry(stamp_ns, T_odom_base, speed, turn, variances)
        self.bag.write_transform(stamp_ns, T_odom_base, "odom", "base_link")

    def _velocity(self, time_s: float) -> tuple[float, float]:
        speed, turn = self.motion.at(
            np.column_stack([self.motion.velocity, np.zeros(len(self.motion.velocity))]), time_s
        )[:2]
        return float(speed), float(turn)

    def _sweep(self, time_s: float, stamp_ns: int) -> None:
        T_map_base = se3_from_se2(self.motion.at(self.motion.T_map_base, time_s))
        points = sweep(self.scene, self.lidar, T_map_base @ self.T_base_lidar, self.lidar_rng)
        self.bag.write_points(stamp_ns, points, LIDAR_FRAME)

    def _picture(self, time_s: float, stamp_ns: int) -> None:
        T_map_base = se3_from_se2(self.motion.at(self.motion.T_map_base, time_s))
        picture = render(self.scene, self.look, self.camera, T_map_base @ self.T_base_camera, self.camera_rng)
        self.bag.write_image(stamp_ns, picture.image, self.camera, CAMERA_FRAME)


def _write_truth(path: Path, motion: Motion, settings: RunSettings) -> None:
    """TUM lines ``stamp_s x y z qx qy qz qw`` of base_link in the level's map frame, at the odometry's stamps."""
    lines = []
    for k in range(int(settings.duration_s * settings.odom_hz) + 1):
        x, y, yaw = motion.at(motion.T_map_base, k / settings.odom_hz)
        stamp_ns = START_NS + round(k / settings.odom_hz * 1e9)
        qx, qy, qz, qw = quaternion_from_yaw(yaw)
        seconds, rest = divmod(stamp_ns, 1_000_000_000)
        lines.append(f"{seconds}.{rest:09d} {x:.6f} {y:.6f} 0.000000 {qx:.9f} {qy:.9f} {qz:.9f} {qw:.9f}\n")
    path.write_text("".join(lines), encoding="utf-8")
