"""One scan of one room with every modality it has: what the data engine makes and the readers of real sets return.

The scene frame is gravity-aligned, metres, z = 0 on the floor; for simulated rooms it is the level's map frame shifted
to the middle of the room. What is absent is None or empty, never a placeholder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Mesh
from crossover_models.observation import Modality

MODALITIES = (Modality.IMAGE, Modality.POINT_CLOUD, Modality.MESH, Modality.FLOOR_PLAN, Modality.TEXT)


class SceneError(ValueError):
    """A scene that contradicts itself, or a file that holds none; the message names the field and the value."""


@dataclass(frozen=True)
class View:
    """One RGB view.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        T_scene_camera: (4, 4) pose of the optical frame (z forward, x right, y down; REP-103).
        intrinsics: (3, 3), pixel centers at integers.
        depth_m: (H, W) float32 along the optical axis, 0 where nothing was measured, or None.
        instance: (H, W) int32 index into the scene's objects, -1 for structure and nothing, or None.
    """

    image: NDArray[np.uint8]
    T_scene_camera: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    depth_m: NDArray[np.float32] | None = None
    instance: NDArray[np.int32] | None = None


@dataclass(frozen=True)
class ScenePoints:
    """The room's point cloud, scene frame.

    Attributes:
        points: (N, 3) float32, metres.
        colors: (N, 3) uint8 RGB of the sensor (never of an annotation), zero where ``colored`` is False; or None.
        colored: (N,) bool, whether a camera saw the point; None where ``colors`` is None.
        instance: (N,) int32 index into the scene's objects, -1 for structure, or None.
    """

    points: NDArray[np.float32]
    colors: NDArray[np.uint8] | None = None
    colored: NDArray[np.bool_] | None = None
    instance: NDArray[np.int32] | None = None


@dataclass(frozen=True)
class SceneObject:
    """One object.

    Attributes:
        object_id: the same in every rescan of the room.
        category: in lower case.
        T_scene_object: (4, 4) pose of the canonical frame: x forward, footprint centered, z = 0 below.
        size_m: (3,) extents along the canonical axes.
        cad: mesh in the canonical frame, metres, or None.
        cad_id: library and model, e.g. ``"scopia/chair_3"``; "" without CAD.
    """

    object_id: str
    category: str
    T_scene_object: NDArray[np.float64]
    size_m: NDArray[np.float64]
    cad: Mesh | None = None
    cad_id: str = ""


@dataclass(frozen=True)
class PlanDrawing:
    """A floor plan of the room and what lies around it.

    Attributes:
        image: (H, W) uint8 grey or (H, W, 3) RGB; row 0 is at the lowest y, as in :class:`FloorPlan`.
        style: how it is drawn, e.g. ``"line"``.
        resolution_m: metres a pixel.
        origin_xy: scene-frame corner of pixel (0, 0), metres.
    """

    image: NDArray[np.uint8]
    style: str
    resolution_m: float
    origin_xy: tuple[float, float]


@dataclass(frozen=True)
class Drive:
    """What a robot saw on a short drive through the room on another day: in order, from close together.

    Attributes:
        views: contiguous frames, in order of time.
        cloud: a few sweeps accumulated; partial, and not cut at the room's walls. None without a lidar.
    """

    views: tuple[View, ...] = ()
    cloud: ScenePoints | None = None


@dataclass(frozen=True)
class Referral:
    """A sentence that exactly one object of the scene satisfies (SceneVerse's ``{scan_id, target_id, utterance}``)."""

    target_id: str
    utterance: str


@dataclass(frozen=True)
class Scene:
    """One scan of a room.

    Attributes:
        scan_id: unique in the data set; rescans of a room differ here.
        room_id: the same for all scans of the room.
        reference_id: scan this one repeats, "" for the first one.
        building_id: rooms of one building share it; splits never cut a building.
        category: room type in lower case, or "".
        split: "train", "val" or "test".
        source: where it is from, e.g. ``"simulated: procedural, seed 5"`` or ``"ScanNet v2"``.
        polygon: (N, 2) outline in the scene frame, or None.
        views: RGB views in order of time.
        cloud: point cloud, or None.
        objects: all objects, whether or not they have CAD.
        plans: drawings of the floor plan.
        description: sentences about the whole room, in varied wording.
        referrals: sentences about single objects.
        drive: what a robot saw on another day, where somebody drove; a query, never part of a map.
        withheld: modalities removed on purpose, at the data set's stated rates.
        recorded: modalities that the scan's file has, also when only parts of it were read; empty if not from a file.
    """

    scan_id: str
    room_id: str
    building_id: str
    category: str
    split: str
    source: str
    reference_id: str = ""
    polygon: NDArray[np.float64] | None = None
    views: tuple[View, ...] = ()
    cloud: ScenePoints | None = None
    objects: tuple[SceneObject, ...] = ()
    plans: tuple[PlanDrawing, ...] = ()
    description: tuple[str, ...] = ()
    referrals: tuple[Referral, ...] = ()
    drive: Drive | None = None
    withheld: frozenset[Modality] = frozenset()
    recorded: frozenset[Modality] = frozenset()

    def __post_init__(self) -> None:
        ids = [o.object_id for o in self.objects]
        if len(set(ids)) != len(ids):
            raise SceneError(f"scan {self.scan_id}: objects: an object_id occurs twice")
        unknown = {r.target_id for r in self.referrals} - set(ids)
        if unknown:
            raise SceneError(f"scan {self.scan_id}: referrals: no object {sorted(unknown)[0]!r}")

    @property
    def present(self) -> frozenset[Modality]:
        """Modalities this scan has: the mask that training and metrics go by."""
        has = {
            Modality.IMAGE: bool(self.views),
            Modality.POINT_CLOUD: self.cloud is not None and len(self.cloud.points) > 0,
            Modality.MESH: any(o.cad is not None for o in self.objects),
            Modality.FLOOR_PLAN: bool(self.plans),
            Modality.TEXT: bool(self.description or self.referrals),
        }
        return frozenset(m for m in MODALITIES if has[m])
