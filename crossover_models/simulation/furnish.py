"""Puts furniture into rooms: backs to walls, doors and windows kept clear, a robot's way through left free."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Furnishing
from crossover_models.geometry import compose_se2, se3_from_se2
from crossover_models.simulation.cad.dresser import Dresser
from crossover_models.simulation.furniture import furniture_mesh, model_id
from crossover_models.simulation.groups import Group, Member, draw_group
from crossover_models.simulation.layout import Layout, Opening, Rect, Wall
from crossover_models.simulation.room_types import ROOM_TYPES
from crossover_models.simulation.shapes import moved

PASSAGE_RADIUS_M = 0.32
_GRID_M = 0.05
_DOOR_DEPTH_M = 0.9

Box = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Placed:
    """A piece in the map frame with its bounding box (x0, y0, z0, x1, y1, z1)."""

    member: Member
    T_map_model: NDArray[np.float64]
    box: Box


def furnish_room(layout: Layout, room: int, split: str, rng: np.random.Generator) -> list[Placed]:
    """Furnish one room of a layout with models of ``split``."""
    place = _RoomFurnisher(layout, room, rng)
    models: dict[str, int] = {}
    for step in ROOM_TYPES[layout.rooms[room].category].steps:
        if rng.random() >= step.probability:
            continue
        for _ in range(int(rng.integers(step.least, step.most + 1))):
            place.add(draw_group(step.group, split, rng, models))
    return place.placed


def furnishing(placed: Placed, object_id: str, dresser: Dresser | None = None) -> Furnishing:
    """The building's record of a placed piece; a ``dresser`` may put another model of its kind into the same box."""
    member = placed.member
    mesh, model = furniture_mesh(member.category, member.model), model_id(member.category, member.model)
    # Pieces that hang on a wall have their height in the parametric mesh.
    bottom, lift = float(mesh.vertices[:, 2].min()), 0.0
    fitted = None if dresser is None else dresser.dressed(member.category, member.model)
    if fitted is not None:
        mesh, model, lift = fitted.mesh, fitted.model_id, bottom
    T_map_object = se3_from_se2(placed.T_map_model, bottom)
    return Furnishing(object_id, member.category, moved(mesh, placed.T_map_model, lift), model, T_map_object)


def _overlap(a: Box, b: Box, gap: float = 0.0) -> bool:
    return all(a[i] < b[i + 3] + gap and b[i] < a[i + 3] + gap for i in range(3))


def door_zone(opening: Opening, depth_m: float = _DOOR_DEPTH_M) -> Rect:
    """The floor on both sides of a door that stays clear."""
    wall = opening.wall
    if wall.axis == 0:
        return opening.low - 0.1, wall.at - depth_m, opening.high + 0.1, wall.at + depth_m
    return wall.at - depth_m, opening.low - 0.1, wall.at + depth_m, opening.high + 0.1


class _RoomFurnisher:
    def __init__(self, layout: Layout, room: int, rng: np.random.Generator) -> None:
        self.layout, self.room, self.rng = layout, room, rng
        self.placed: list[Placed] = []
        self._walls: list[tuple[Wall, int]] = []
        for wall in layout.walls:
            self._walls += [(wall, side) for side, index in ((-1, wall.below), (1, wall.above)) if index == room]
        rects = np.array(layout.rooms[room].rects)
        self._low, self._high = rects[:, :2].min(axis=0), rects[:, 2:].max(axis=0)
        near = [w.footprint for w in layout.walls if self._touches(w.footprint)]
        self._solid: list[Box] = [(r[0], r[1], 0.0, r[2], r[3], 9.0) for r in near]
        self._doors = layout.doors_of(room)
        zones = [door_zone(o) for o in self._doors]
        self._clear: list[Box] = [(z[0], z[1], 0.0, z[2], z[3], 2.2) for z in zones]
        self._panes: list[Box] = []
        for o in layout.openings:
            if o.kind == "window" and room in (o.wall.below, o.wall.above):
                x0, y0, x1, y1 = o.rect
                self._panes.append((x0 - 0.3, y0 - 0.3, o.sill_m, x1 + 0.3, y1 + 0.3, o.head_m))
        self._free = self._rasterized()
        self._free_area = int(self._reachable(self._free)[1])

    def _touches(self, rect: Rect) -> bool:
        return bool(
            rect[0] < self._high[0] + 0.3
            and rect[2] > self._low[0] - 0.3
            and rect[1] < self._high[1] + 0.3
            and rect[3] > self._low[1] - 0.3
        )

    def _rasterized(self) -> NDArray[np.uint8]:
        """Free floor of the room and of its doors' zones, padded by a cell of wall."""
        cols, rows = np.ceil((self._high - self._low + 2.0) / _GRID_M).astype(int)
        free = np.zeros((rows, cols), dtype=np.uint8)
        for rect in self.layout.rooms[self.room].rects:
            self._fill(free, rect, 1)
        for box in self._solid:
            self._fill(free, (box[0], box[1], box[3], box[4]), 0)
        for o in self._doors:
            x0, y0, x1, y1 = door_zone(o)
            self._fill(free, (x0 + 0.1, y0, x1 - 0.1, y1) if o.wall.axis == 0 else (x0, y0 + 0.1, x1, y1 - 0.1), 1)
        return free

    def _fill(self, grid: NDArray[np.uint8], rect: Rect, value: int) -> None:
        origin = np.tile(self._low - 1.0, 2)
        c0, r0, c1, r1 = np.round((np.array(rect) - origin) / _GRID_M).astype(int)
        grid[max(r0, 0) : max(r1, 0), max(c0, 0) : max(c1, 0)] = value

    def _reachable(self, free: NDArray[np.uint8]) -> tuple[bool, int]:
        """All doors join up for a robot, and the area (cells) it can reach."""
        clearance = cv2.distanceTransform(np.pad(free, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        _, labels = cv2.connectedComponents((clearance > PASSAGE_RADIUS_M / _GRID_M).astype(np.uint8), connectivity=4)
        found: set[int] = set()
        for o in self._doors:
            middle = (o.low + o.high) / 2
            xy = np.array((middle, o.wall.at) if o.wall.axis == 0 else (o.wall.at, middle))
            col, row = ((xy - self._low + 1.0) / _GRID_M).astype(int)
            found.add(int(labels[row, col]))
        if len(found) != 1 or 0 in found:
            return False, 0
        return True, int((labels == found.pop()).sum())

    def add(self, group: Group) -> bool:
        """Try to place a group; keep the first pose at which its main piece fits."""
        for _ in range(24 if group.against_wall else 40):
            pose = self._wall_pose(group) if group.against_wall else self._center_pose()
            if pose is None:
                return False
            pieces = self._fitting(group, pose)
            if pieces and self._passable(pieces):
                self.placed += pieces
                for piece in pieces:
                    if piece.box[2] < 1.0:
                        self._fill(self._free, (piece.box[0], piece.box[1], piece.box[3], piece.box[4]), 0)
                return True
        return False

    def _wall_pose(self, group: Group) -> NDArray[np.float64] | None:
        rng, main = self.rng, group.members[0]
        depth, width, _ = main.size
        fits = [(w, s) for w, s in self._walls if w.high - w.low - 0.16 > width]
        if group.name == "radiator" and self._panes and rng.random() < 0.8:
            windows = [o.wall for o in self.layout.openings if o.kind == "window"]
            fits = [(w, s) for w, s in fits if w in windows] or fits
        if not fits:
            return None
        lengths = np.array([w.high - w.low for w, _ in fits])
        wall, side = fits[int(rng.choice(len(fits), p=lengths / lengths.sum()))]
        low, high = wall.low + 0.07 + width / 2, wall.high - 0.07 - width / 2
        draw = rng.random()
        along = rng.uniform(low, high)
        if not group.mounted and group.name not in ("sofa", "bed") and draw < 0.6:
            along = low + 0.01 if draw < 0.3 else high - 0.01
        if self.placed and not group.mounted and rng.random() < 0.4:
            other = self.placed[int(rng.integers(len(self.placed)))].box
            i = 0 if wall.axis == 0 else 1
            along = float(
                np.clip(
                    other[i + 3] + width / 2 + 0.02 if rng.random() < 0.5 else other[i] - width / 2 - 0.02, low, high
                )
            )
        gap = 0.003 if group.mounted else 0.02
        off = wall.at + side * (wall.half_m(self.room) + depth / 2 + gap)
        if wall.axis == 0:
            return np.array([along, off, side * np.pi / 2])
        return np.array([off, along, 0.0 if side > 0 else np.pi])

    def _center_pose(self) -> NDArray[np.float64]:
        rng = self.rng
        x0, y0, x1, y1 = self.layout.rooms[self.room].rects[0]
        x = np.clip(rng.normal((x0 + x1) / 2, 0.2 * (x1 - x0)), x0 + 0.5, x1 - 0.5)
        y = np.clip(rng.normal((y0 + y1) / 2, 0.2 * (y1 - y0)), y0 + 0.5, y1 - 0.5)
        return np.array([x, y, float(rng.integers(4)) * np.pi / 2])

    def _fitting(self, group: Group, pose: NDArray[np.float64]) -> list[Placed]:
        pieces: list[Placed] = []
        for i, member in enumerate(group.members):
            T_map_model = compose_se2(pose, np.array(member.pose))
            vertices = moved(furniture_mesh(member.category, member.model), T_map_model).vertices
            low, high = vertices.min(axis=0), vertices.max(axis=0)
            box: Box = (*(float(v) for v in low), *(float(v) for v in high))  # type: ignore[assignment]
            piece = Placed(member, T_map_model, box)
            if self._free_at(piece, pieces):
                pieces.append(piece)
            elif i == 0 or not member.optional:
                return []
        return pieces

    def _free_at(self, piece: Placed, siblings: list[Placed]) -> bool:
        box = piece.box
        if self.layout.room_at((box[0] + box[3]) / 2, (box[1] + box[4]) / 2) != self.room:
            return False
        if box[5] > self.layout.height_m - 0.02:
            return False
        if any(_overlap(box, other) for other in (*self._solid, *self._clear, *self._panes)):
            return False
        if any(_overlap(box, other.box, 0.01) for other in self.placed):
            return False
        # A chair may reach under its own table's top, which the bounding boxes do not know.
        return not any(_overlap(box, other.box, 0.0) for other in siblings if not _tucked(piece, other, siblings))

    def _passable(self, pieces: list[Placed]) -> bool:
        free = self._free.copy()
        for piece in pieces:
            if piece.box[2] < 1.0:
                self._fill(free, (piece.box[0], piece.box[1], piece.box[3], piece.box[4]), 0)
        ok, area = self._reachable(free)
        return ok and area > 0.22 * self._free_area


def _tucked(piece: Placed, other: Placed, siblings: list[Placed]) -> bool:
    """``other`` is the table of ``piece`` and at most 0.16 m of the chair's box lies under it."""
    if other is not siblings[0] or "chair" not in piece.member.category:
        return False
    a, b = piece.box, other.box
    depth = min(min(a[3], b[3]) - max(a[0], b[0]), min(a[4], b[4]) - max(a[1], b[1]))
    return depth < 0.16
