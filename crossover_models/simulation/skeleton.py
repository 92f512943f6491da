"""How storeys are cut: rows of bays along a corridor, bays split into rooms, the same skeleton on every storey."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from crossover_models.simulation.layout import Layout, LayoutRoom, Rect, draw_openings, find_walls
from crossover_models.simulation.room_types import KINDS, pick_category


@dataclass(frozen=True)
class Bay:
    """One piece of a row along the corridor; ``kind`` is room, ensuite, stack, branch or lift."""

    kind: str
    weight: float
    depth_m: float
    cut: float
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Skeleton:
    """What the storeys of a building share: outline, corridor, lift, orientation."""

    kind: str
    length_m: float
    corridor_m: float
    rows: tuple[tuple[Bay, ...], tuple[Bay, ...]]
    fill: tuple[float, float]
    transposed: bool
    origin_xy: tuple[float, float]


_FIXED_WIDTH_M = {"branch": 1.8, "lift": 2.1}
_ROOMS_IN = {"room": 1, "ensuite": 2, "stack": 2, "branch": 0, "lift": 0}


def _bay(kind: str, rng: np.random.Generator, depth_m: float) -> Bay:
    depth = depth_m if rng.random() < 0.6 else rng.uniform(3.2, 6.2)
    if kind == "stack":
        depth = rng.uniform(6.8, 8.6)
    if kind == "ensuite":
        depth = max(depth, 4.8)
    weight = rng.uniform(2.9, 6.2) if kind == "room" else rng.uniform(3.8, 5.8)
    return Bay(kind, weight, 2.3 if kind == "lift" else depth, rng.uniform(0.0, 1.0))


def draw_skeleton(rng: np.random.Generator, rooms: int, *, kind: str = "", lift: bool = True) -> Skeleton:
    """Draw the outline of a building whose storeys have ``rooms`` rooms beside the corridor (at least 3)."""
    counts = [rooms // 2, rooms - rooms // 2]
    if rng.random() < 0.5:
        counts.reverse()
    branch_side = int(rng.integers(2)) if rooms >= 5 and rng.random() < 0.55 else -1
    lift_side = int(rng.integers(2)) if lift else -1
    rows: list[tuple[Bay, ...]] = []
    for side in (0, 1):
        depth, left, bays = rng.uniform(3.6, 5.8), counts[side], []
        if side == branch_side and left >= 2:
            pair = [_bay("stack", rng, depth), _bay("branch", rng, depth)]
            depth_pair = pair[0].depth_m
            pair[1] = replace(pair[1], depth_m=depth_pair)
            bays += pair if rng.random() < 0.5 else pair[::-1]
            left -= 2
        while left > 0:
            kind_of = "ensuite" if left >= 2 and rng.random() < 0.25 else "room"
            where = int(rng.integers(3))
            at = 0 if where == 0 or not bays else len(bays)
            bays.insert(at, _bay(kind_of, rng, depth))
            left -= _ROOMS_IN[kind_of]
        if side == lift_side:
            bays.insert(0 if rng.random() < 0.5 else len(bays), _bay("lift", rng, depth))
        rows.append(tuple(bays))
    natural = [sum(_FIXED_WIDTH_M.get(bay.kind, bay.weight) for bay in row) for row in rows]
    fills = [1.0 if rng.random() < 0.7 else rng.uniform(0.82, 1.0) for _ in rows]
    return Skeleton(
        kind or str(rng.choice(KINDS)),
        round(max(natural) * 0.55 + min(natural) * 0.45, 2),
        round(rng.uniform(1.7, 2.5), 2),
        (rows[0], rows[1]),
        (fills[0], 1.0 if fills[0] < 1.0 else fills[1]),
        bool(rng.random() < 0.5),
        (round(rng.uniform(-4.0, 4.0), 2), round(rng.uniform(-4.0, 4.0), 2)),
    )


def varied(skeleton: Skeleton, rng: np.random.Generator) -> Skeleton:
    """Another storey: the same outline, lift and branch; about 40 % of the other bays drawn anew."""

    def redrawn(bay: Bay) -> Bay:
        if bay.kind not in ("room", "ensuite") or rng.random() < 0.6:
            return bay if rng.random() < 0.5 else replace(bay, categories=())
        return replace(_bay(bay.kind, rng, bay.depth_m), depth_m=bay.depth_m)

    rows = tuple(tuple(redrawn(bay) for bay in row) for row in skeleton.rows)
    return replace(skeleton, rows=(rows[0], rows[1]))


def _split(bay: Bay, x0: float, x1: float, depth: float) -> list[tuple[Rect, ...]]:
    """Rooms of a bay as rectangles in (x, distance from the corridor)."""
    width = x1 - x0
    if bay.kind == "stack":
        middle = round(depth * (0.42 + 0.16 * bay.cut), 2)
        return [((x0, 0.0, x1, middle),), ((x0, middle, x1, depth),)]
    if bay.kind == "ensuite":
        back = round(depth - (1.8 + 0.5 * bay.cut), 2)
        small = round(min(1.7 + 0.9 * bay.cut, width - 1.6), 2)
        if bay.cut < 0.5:
            return [
                ((x0, 0.0, x1, back), (round(x0 + small, 2), back, x1, depth)),
                ((x0, back, round(x0 + small, 2), depth),),
            ]
        return [
            ((x0, 0.0, x1, back), (x0, back, round(x1 - small, 2), depth)),
            ((round(x1 - small, 2), back, x1, depth),),
        ]
    return [((x0, 0.0, x1, depth),)]


def draw_layout(skeleton: Skeleton, rng: np.random.Generator) -> tuple[Layout, Skeleton]:
    """Cut one storey; also returns the skeleton with the room types that were chosen."""
    corridor: list[Rect] = [(0.0, 0.0, skeleton.length_m, skeleton.corridor_m)]
    rooms: list[tuple[str, tuple[Rect, ...]]] = []
    used: list[str] = []
    lift_rects: tuple[Rect, ...] = ()
    new_rows: list[tuple[Bay, ...]] = []
    for side, row in enumerate(skeleton.rows):
        length = skeleton.length_m * skeleton.fill[side]
        fixed = sum(_FIXED_WIDTH_M.get(bay.kind, 0.0) for bay in row)
        total = sum(bay.weight for bay in row if bay.kind not in _FIXED_WIDTH_M)
        x, new_row = 0.0, []
        for bay in row:
            width = _FIXED_WIDTH_M.get(bay.kind, bay.weight * (length - fixed) / max(total, 1e-9))
            x_next = round(x + width, 2)
            depth = round(bay.depth_m, 2)
            parts = [
                tuple(_beside(r, side, skeleton.corridor_m) for r in part) for part in _split(bay, x, x_next, depth)
            ]
            x = x_next
            if bay.kind == "branch":
                corridor += parts[0]
                new_row.append(bay)
                continue
            if bay.kind == "lift":
                lift_rects = parts[0]
                new_row.append(bay)
                continue
            names = []
            for i, part in enumerate(parts):
                area = LayoutRoom("", part).area_m2
                name = bay.categories[i] if bay.categories else pick_category(skeleton.kind, area, used, rng)
                used.append(name)
                names.append(name)
                rooms.append((name, part))
            new_row.append(replace(bay, categories=tuple(names)))
        new_rows.append(tuple(new_row))
    all_rooms = [LayoutRoom("corridor", tuple(corridor)), *(LayoutRoom(n, r) for n, r in rooms)]
    lift = -1
    if lift_rects:
        lift = len(all_rooms)
        all_rooms.append(LayoutRoom("lift", lift_rects))
    placed = tuple(_placed(room, skeleton) for room in all_rooms)
    walls = find_walls(placed)
    height = round(rng.uniform(2.5, 3.0), 2)
    openings = draw_openings(placed, walls, lift, rng)
    return Layout(placed, walls, openings, height, lift), replace(skeleton, rows=(new_rows[0], new_rows[1]))


def _beside(rect: Rect, side: int, corridor_m: float) -> Rect:
    x0, d0, x1, d1 = rect
    if side == 0:
        return x0, round(corridor_m + d0, 2), x1, round(corridor_m + d1, 2)
    return x0, round(-d1, 2), x1, round(-d0, 2) + 0.0


def _placed(room: LayoutRoom, skeleton: Skeleton) -> LayoutRoom:
    ox, oy = skeleton.origin_xy

    def place(rect: Rect) -> Rect:
        x0, y0, x1, y1 = rect if not skeleton.transposed else (rect[1], rect[0], rect[3], rect[2])
        return round(x0 + ox, 2), round(y0 + oy, 2), round(x1 + ox, 2), round(y1 + oy, 2)

    return LayoutRoom(room.category, tuple(place(rect) for rect in room.rects))
