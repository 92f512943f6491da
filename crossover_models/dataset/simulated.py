"""Scenes of simulated rooms: every modality of a room from one description, each taken on an occasion of its own.

A room is surveyed (views), mapped (cloud) and driven through (drive) in three different lights. What stands in it is
painted otherwise than its CAD, the drive finds some of it gone, and plans are drawn by somebody who did not measure.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crossover_models.building import Furnishing, Level, Place
from crossover_models.dataset.clouds import lidar_cloud, rgbd_cloud, robot_cloud
from crossover_models.dataset.objects import scene_objects
from crossover_models.dataset.plan_styles import draw_plans
from crossover_models.dataset.rescan import rearranged, with_pieces_gone
from crossover_models.dataset.room_source import Group, group_building
from crossover_models.dataset.scene import MODALITIES, Drive, Scene
from crossover_models.dataset.scene_frame import T_scene_map
from crossover_models.dataset.settings import MakeSettings
from crossover_models.dataset.store import SPLITS
from crossover_models.dataset.text import describe_scene, scene_referrals
from crossover_models.dataset.views import Stage, drive_views, survey_views
from crossover_models.observation import Modality
from crossover_models.simulation.camera import PinholeCamera
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.repaint import repainted
from crossover_models.simulation.survey import level_meshes

LEAST_MODALITIES = 2
"""A scan keeps so many, however much is withheld: fewer can be retrieved from nothing."""
STAGES = ("building", "views", "cloud", "drive", "objects", "plans", "text")
_GONE_ON_DRIVE = 0.15
_FOV_X_DEG, _DRIVE_FOV_X_DEG = 85.0, 80.0
_SECOND_DAY, _DRIVE_DAY = 9_999, 9_998


class StageClock:
    """CPU seconds spent in each stage: what else the machine does is not counted."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """Count the time of a block."""
        began = time.process_time()
        try:
            yield
        finally:
            self.seconds[stage] += time.process_time() - began


def group_scenes(
    group: Group, settings: MakeSettings, procthor: Path | None, clock: StageClock | None = None
) -> Iterator[Scene]:
    """All scans of a group, rescans after the room they repeat: a pure function of its arguments.

    Raises:
        BuildingError: a ProcTHOR room that is none.
    """
    clock = StageClock() if clock is None else clock

    def stream(*which: int) -> np.random.Generator:
        source = ("procedural", "procthor").index(group.source)
        return np.random.default_rng([settings.seed, SPLITS.index(group.split), source, group.number, *which])

    with clock.at("building"):
        building = group_building(group, settings, procthor)
        level = building.levels[0]
        first, second = _Day(level, building.building_id), None
    for number, place in enumerate(level.places[: group.rooms]):
        scan_id = f"{building.building_id}_{place.place_id}"
        about = Scene(
            scan_id=scan_id,
            room_id=scan_id,
            building_id=building.building_id,
            category=place.category,
            split=group.split,
            source=building.source,
        )
        yield _scan(about, first, place.place_id, settings, stream, (number, 1), clock)
        if stream(number, 0).random() < settings.rescans:
            with clock.at("building"):
                if second is None:
                    second = _Day(rearranged(level, stream(_SECOND_DAY), group.split), building.building_id)
            again = replace(about, scan_id=f"{scan_id}_r1", reference_id=scan_id)
            yield _scan(again, second, place.place_id, settings, stream, (number, 2), clock)


Stream = Callable[..., np.random.Generator]


class _Day:
    """A level as it stands on one day, and as a robot finds it some days later: made once for all of its rooms."""

    def __init__(self, level: Level, building_id: str) -> None:
        self.level, self.building_id = level, building_id
        self._seen = _Seen.of(level, building_id)
        self._driven: _Seen | None = None

    def place(self, place_id: str) -> Place:
        """As its objects are, before anything was painted."""
        return next(p for p in self.level.places if p.place_id == place_id)

    def stage(self, place_id: str) -> Stage:
        """Of the survey."""
        return self._seen.stage(place_id)

    def drive_stage(self, place_id: str, rng: np.random.Generator) -> Stage:
        """Of the drive; ``rng`` is used once, for all rooms."""
        if self._driven is None:
            self._driven = _Seen.of(with_pieces_gone(self.level, _GONE_ON_DRIVE, rng), self.building_id)
        return self._driven.stage(place_id)


@dataclass(frozen=True)
class _Seen:
    """A level as it looks, and its triangles."""

    level: Level
    scene: RayScene

    @classmethod
    def of(cls, level: Level, building_id: str) -> _Seen:
        """A piece is painted otherwise than its CAD, and the same on every day."""

        def painted(piece: Furnishing) -> Furnishing:
            rng = np.random.default_rng(zlib.crc32(f"{building_id}/{piece.object_id}".encode()))
            return replace(piece, mesh=repainted(piece.mesh, rng))

        places = tuple(replace(p, furnishings=tuple(painted(f) for f in p.furnishings)) for p in level.places)
        seen = replace(level, places=places)
        return cls(seen, RayScene(level_meshes(seen)))

    def stage(self, place_id: str) -> Stage:
        """One of the rooms."""
        object_of = [-1]
        for other in self.level.places:
            own = other.place_id == place_id
            object_of += [k if own else -1 for k in range(len(other.furnishings))]
        place = next(p for p in self.level.places if p.place_id == place_id)
        return Stage(self.level, place, self.scene, np.array(object_of, dtype=np.int32), T_scene_map(place))


def _scan(
    about: Scene,
    day: _Day,
    place_id: str,
    settings: MakeSettings,
    stream: Stream,
    which: tuple[int, int],
    clock: StageClock,
) -> Scene:
    # Every modality has a stream of its own: what one of them costs in random numbers never changes another.
    eyes, points, robot, pen, voice, loss = stream(*which).spawn(6)
    withheld = drawn_withheld(settings.missing, loss)
    place, stage = day.place(place_id), day.stage(place_id)
    T = stage.T_scene_map
    with clock.at("objects"):
        objects = scene_objects(place, T)
    with clock.at("views"):
        camera = PinholeCamera(settings.view_width, settings.view_height, _FOV_X_DEG)
        views = () if Modality.IMAGE in withheld else survey_views(stage, camera, settings.views, eyes)
    with clock.at("cloud"):
        cloud = None
        if Modality.POINT_CLOUD not in withheld:
            take = rgbd_cloud if points.random() < settings.rgbd_share else lidar_cloud
            cloud = take(stage, settings.point_spacing_m, points)
    drive = None
    if settings.drive_frames:
        with clock.at("building"):
            met = day.drive_stage(place_id, stream(_DRIVE_DAY, which[1]))
        with clock.at("drive"):
            drive = _drive(met, settings, robot)
    with clock.at("plans"):
        plans = () if Modality.FLOOR_PLAN in withheld else draw_plans(day.level, place, pen, None, settings.plans)
    with clock.at("text"):
        spoken = Modality.TEXT not in withheld
        polygon = place.polygon + T[:2, 3]
        description = describe_scene(objects, place.category, polygon, voice) if spoken else ()
        referrals = scene_referrals(objects, voice) if spoken else ()
    if Modality.MESH in withheld:
        objects = tuple(replace(o, cad=None, cad_id="") for o in objects)
    return replace(
        about,
        polygon=polygon,
        views=views,
        cloud=cloud,
        objects=objects,
        plans=plans,
        description=description,
        referrals=referrals,
        drive=drive,
        withheld=withheld,
    )


def drawn_withheld(rate: float, rng: np.random.Generator) -> frozenset[Modality]:
    """Modalities to withhold, each with a chance of ``rate``; :data:`LEAST_MODALITIES` stay."""
    order = rng.permutation(len(MODALITIES))
    lost = [MODALITIES[int(i)] for i in order if rng.random() < rate]
    return frozenset(lost[: len(MODALITIES) - LEAST_MODALITIES])


def _drive(stage: Stage, settings: MakeSettings, rng: np.random.Generator) -> Drive:
    camera = PinholeCamera(settings.drive_width, settings.drive_height, _DRIVE_FOV_X_DEG)
    cloud = robot_cloud(stage, settings.point_spacing_m, rng)
    # The labels of a drive are never used, and its objects are not numbered as the scan's.
    return Drive(drive_views(stage, camera, settings.drive_frames, rng), replace(cloud, instance=None))
