"""Furniture of a run beyond the map: some that was mapped is gone or moved, some stands there that nobody mapped."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Furnishing, Level, Mesh, Place
from crossover_models.floor_plan import FREE
from crossover_models.geometry import se3_from_se2
from crossover_models.simulation.furniture import WALL_MOUNTED, draw_model, furniture_mesh, furniture_size, model_id
from crossover_models.simulation.navigation import DrivableGround, footprint
from crossover_models.simulation.room_types import ROOM_TYPES
from crossover_models.simulation.settings import RunSettings
from crossover_models.simulation.shapes import moved

ANYWHERE = ("cabinet", "plant", "crate", "bin", "chair", "armchair", "shelf", "lamp", "locker")
_FIXED = frozenset({"counter", "stove", "bathtub", "toilet", "shower", "sink", "radiator"})
_ATTEMPTS = 30


@dataclass(frozen=True)
class Changes:
    """How many pieces the map has, and how many of the run differ."""

    mapped: int
    dropped: int
    moved: int
    added: int
    present: int


def refurnished(
    level: Level, settings: RunSettings, rng: np.random.Generator, split: str = "test"
) -> tuple[Level, Changes]:
    """The level as the robot finds it, and what was changed. Ways between rooms that exist stay open.

    Pieces that nobody mapped are models of ``split``.
    """
    pieces = [(place.place_id, f) for place in level.places for f in place.furnishings]
    mapped = len(pieces)
    known = {f.model_id for _, f in pieces}
    order = rng.permutation(mapped)
    dropped = round(settings.furniture_dropped * mapped)
    kept = sorted(int(i) for i in order[dropped:])
    present = [pieces[i] for i in kept]
    movable = [i for i, (_, f) in enumerate(present) if f.category not in _FIXED | WALL_MOUNTED]
    chosen = {int(i) for i in rng.permutation(movable)[: round(settings.furniture_moved * mapped)]}
    keeper = _OpenWays(level, [f for _, f in present], settings.radius_m)
    boxes = np.array([_bounds(f.mesh) for _, f in present]).reshape(-1, 2, 3)
    count = 0
    for i in sorted(chosen):
        place_id, piece = present[i]
        shifted = _shifted(piece, np.delete(boxes, i, axis=0), keeper, rng)
        if shifted is not None:
            present[i], boxes[i] = (place_id, shifted), _bounds(shifted.mesh)
            count += 1
    # While pieces were moved, their old places counted as taken; now they are free again.
    keeper = _OpenWays(level, [f for _, f in present], settings.radius_m, keeper.ends)
    wanted = round(settings.furniture_added * max(mapped, 3 * len(level.places)))
    added = 0
    for _ in range(3 * wanted):
        if added == wanted:
            break
        place = level.places[int(rng.integers(len(level.places)))]
        piece_new = _new_piece(place, f"{place.place_id}/unmapped_{added + 1}", known, boxes, keeper, rng, split)
        if piece_new is not None:
            present.append((place.place_id, piece_new))
            boxes = np.concatenate([boxes, [_bounds(piece_new.mesh)]])
            added += 1
    places = tuple(
        replace(place, furnishings=tuple(f for place_id, f in present if place_id == place.place_id))
        for place in level.places
    )
    return replace(level, places=places), Changes(mapped, dropped, count, added, len(present))


class _OpenWays:
    """Keeps the spots which can be driven between connected while furniture is put on the ground."""

    def __init__(
        self, level: Level, present: list[Furnishing], radius_m: float, ends: NDArray[np.float64] | None = None
    ) -> None:
        self.level = level
        # A little more room than the robot needs, so that a new piece never leaves it a bare slit.
        self.ground = DrivableGround(level.plan, [f.mesh for f in present], radius_m + 0.05)
        if ends is None:
            label = self.ground.main_region([place.polygon for place in level.places])
            spots = [self.ground.cells_in(place.polygon, label) for place in level.places]
            # The roomiest cell of every place that can be driven in, and the doors that can be driven through.
            best = [c[int(np.argmax(self.ground.clearance_m[c[:, 0], c[:, 1]]))] for c in spots if len(c)]
            doors = [door.segment.mean(axis=0) for door in level.doors]
            open_doors = [middle for middle in doors if self.ground.label_at(middle) == label]
            ends = np.vstack([level.plan.position(np.array(best)), *open_doors])
        self.ends = ends

    def takes(self, mesh: Mesh) -> bool:
        """Put one more piece on the ground, unless that would part the spots."""
        ground = self.ground.with_obstacle(mesh)
        labels = {ground.label_at(end) for end in self.ends}
        if len(labels) != 1 or 0 in labels:
            return False
        self.ground = ground
        return True

    def fits(self, mesh: Mesh, others: NDArray[np.float64]) -> bool:
        """Whether the piece stands on free floor and touches none of the bounding boxes (M, 2, 3)."""
        outline = footprint(mesh)
        if outline is None:
            return False
        plan = self.level.plan
        pixels = np.round((outline - plan.origin_xy) / plan.resolution_m - 0.5).astype(np.int32)
        first, last = pixels.min(axis=0), pixels.max(axis=0) + 1
        if (first < 0).any() or (last > plan.occupancy.shape[::-1]).any():
            return False
        mask = np.zeros((last - first)[::-1], dtype=np.uint8)
        cv2.fillConvexPoly(mask, pixels - first, 1)
        if (plan.occupancy[first[1] : last[1], first[0] : last[0]][mask > 0] != FREE).any():
            return False
        low, high = _bounds(mesh)
        return not ((low < others[:, 1] + 0.01) & (others[:, 0] < high + 0.01)).all(axis=1).any()


def _bounds(mesh: Mesh) -> NDArray[np.float64]:
    """Lowest and highest corner (2, 3)."""
    return np.array([mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)], dtype=np.float64)


def _shifted(
    piece: Furnishing, others: NDArray[np.float64], keeper: _OpenWays, rng: np.random.Generator
) -> Furnishing | None:
    center = (piece.mesh.vertices.min(axis=0) + piece.mesh.vertices.max(axis=0)) / 2
    centered = Mesh(
        (piece.mesh.vertices - [center[0], center[1], 0.0]).astype(np.float32), piece.mesh.faces, piece.mesh.face_colors
    )
    for _ in range(_ATTEMPTS):
        angle, reach = rng.uniform(-np.pi, np.pi), rng.uniform(0.25, 0.8)
        turn = rng.normal(0.0, 0.3) if rng.random() < 0.7 else rng.choice([-1, 1]) * np.pi / 2
        pose = [center[0] + reach * np.cos(angle), center[1] + reach * np.sin(angle), turn]
        mesh = moved(centered, pose)
        if keeper.fits(mesh, others) and keeper.takes(mesh):
            return replace(piece, mesh=mesh, T_map_object=_pose_after(piece.T_map_object, center, pose))
    return None


def _new_piece(
    place: Place,
    object_id: str,
    known: set[str],
    others: NDArray[np.float64],
    keeper: _OpenWays,
    rng: np.random.Generator,
    split: str,
) -> Furnishing | None:
    room = ROOM_TYPES.get(place.category)
    usual = [s.group for s in room.steps if s.group in _STANDING] if room is not None else []
    category = str(rng.choice(usual if usual and rng.random() < 0.6 else list(ANYWHERE)))
    model = draw_model(category, split, rng)
    if model_id(category, model) in known:
        return None
    mesh, depth = furniture_mesh(category, model), furniture_size(category, model)[0]
    plan, field = keeper.level.plan, keeper.level.plan.distance_m
    low, high = place.polygon.min(axis=0), place.polygon.max(axis=0)
    outline = np.ascontiguousarray(place.polygon, dtype=np.float32)
    for _ in range(_ATTEMPTS):
        point = rng.uniform(low, high)
        row, col = plan.cell(point)
        inside = cv2.pointPolygonTest(outline, (float(point[0]), float(point[1])), False) > 0
        if not inside or not (1 <= row < field.shape[0] - 1 and 1 <= col < field.shape[1] - 1):
            continue
        # The distance field rises away from the nearest wall: that is where the piece faces, its back to the wall.
        away = np.array([field[row, col + 1] - field[row, col - 1], field[row + 1, col] - field[row - 1, col]])
        if np.hypot(*away) < 1e-6:
            continue
        away /= np.hypot(*away)
        back = point - away * (float(field[row, col]) - depth / 2 - 0.1)
        placed = moved(mesh, [back[0], back[1], float(np.arctan2(away[1], away[0]))])
        if keeper.fits(placed, others) and keeper.takes(placed):
            pose = se3_from_se2(
                [back[0], back[1], float(np.arctan2(away[1], away[0]))], float(mesh.vertices[:, 2].min())
            )
            return Furnishing(object_id, category, placed, model_id(category, model), pose)
    return None


def _pose_after(
    T_map_object: NDArray[np.float64] | None, center: NDArray[np.float32], pose: list[float]
) -> NDArray[np.float64] | None:
    """Pose of a piece turned about ``center`` and brought to ``pose``."""
    if T_map_object is None:
        return None
    T_center_object = T_map_object.copy()
    T_center_object[:2, 3] -= center[:2]
    return np.asarray(se3_from_se2(pose) @ T_center_object, dtype=np.float64)


_STANDING = frozenset(
    {
        "wardrobe",
        "bookshelf",
        "shelf",
        "cabinet",
        "plant",
        "lamp",
        "armchair",
        "crate",
        "bin",
        "locker",
        "copier",
        "fridge",
        "desk",
    }
)
