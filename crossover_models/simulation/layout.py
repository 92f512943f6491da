"""Layouts of storeys: a corridor with rooms on both sides, cut by recursive splits, with doors and windows.

A layout is drawn on wall *axes*: rooms are unions of rectangles that share edges, and a wall runs along every edge
between two different rooms or between a room and the outside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from crossover_models.simulation.room_types import KINDS, pick_category

INTERIOR_HALF_M = 0.06
EXTERIOR_OUT_M = 0.19
DOOR_WIDTH_M, DOOR_HEIGHT_M = 0.9, 2.1
OUTSIDE = -1

Rect = tuple[float, float, float, float]


@dataclass(frozen=True)
class LayoutRoom:
    """A room: its type and the axis rectangles (x0, y0, x1, y1) that make it up, metres."""

    category: str
    rects: tuple[Rect, ...]

    @property
    def area_m2(self) -> float:
        """Area between wall axes."""
        return sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in self.rects)


@dataclass(frozen=True)
class Wall:
    """A straight wall: ``axis`` 0 runs along x at y = ``at``, 1 runs along y at x = ``at``.

    ``below`` and ``above`` are the rooms (or OUTSIDE) on its side of smaller and larger coordinate.
    """

    axis: int
    at: float
    low: float
    high: float
    below: int
    above: int

    def half_m(self, side: int) -> float:
        """Thickness from the axis towards a room (or outwards)."""
        return EXTERIOR_OUT_M if side == OUTSIDE else INTERIOR_HALF_M

    def rect(self, low: float, high: float) -> Rect:
        """Footprint of the stretch ``low``..``high`` of this wall."""
        a, b = self.at - self.half_m(self.below), self.at + self.half_m(self.above)
        return (low, a, high, b) if self.axis == 0 else (a, low, b, high)

    @property
    def footprint(self) -> Rect:
        """Footprint of all of it, ends drawn into the walls it meets."""
        return self.rect(self.low - INTERIOR_HALF_M, self.high + INTERIOR_HALF_M)


@dataclass(frozen=True)
class Opening:
    """A hole in ``wall`` between ``low`` and ``high`` along it and ``sill_m`` and ``head_m`` in height."""

    wall: Wall
    low: float
    high: float
    sill_m: float
    head_m: float
    kind: str

    @property
    def rect(self) -> Rect:
        """Footprint of the hole."""
        return self.wall.rect(self.low, self.high)


@dataclass(frozen=True)
class Layout:
    """One storey. Room 0 is the corridor; ``lift`` is the index of the lift's alcove, or -1."""

    rooms: tuple[LayoutRoom, ...]
    walls: tuple[Wall, ...]
    openings: tuple[Opening, ...]
    height_m: float
    lift: int = -1

    def room_at(self, x: float, y: float) -> int:
        """Room around a point, by axes; OUTSIDE if none."""
        for index, room in enumerate(self.rooms):
            if any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in room.rects):
                return index
        return OUTSIDE

    def doors_of(self, room: int) -> list[Opening]:
        """Doors and passages of a room."""
        return [o for o in self.openings if o.kind != "window" and room in (o.wall.below, o.wall.above)]


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
            return [((x0, 0.0, x1, back), (round(x0 + small, 2), back, x1, depth)), ((x0, back, round(x0 + small, 2), depth),)]
        return [((x0, 0.0, x1, back), (x0, back, round(x1 - small, 2), depth)), ((round(x1 - small, 2), back, x1, depth),)]
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
            parts = [tuple(_beside(r, side, skeleton.corridor_m) for r in part) for part in _split(bay, x, x_next, depth)]
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
    openings = _openings(placed, walls, lift, rng)
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


def find_walls(rooms: tuple[LayoutRoom, ...]) -> tuple[Wall, ...]:
    """Walls along every edge between different rooms, longest possible stretches."""
    rects = [(rect, index) for index, room in enumerate(rooms) for rect in room.rects]
    xs = sorted({v for (x0, _, x1, _), _ in rects for v in (x0, x1)})
    ys = sorted({v for (_, y0, _, y1), _ in rects for v in (y0, y1)})
    label = np.full((len(xs) + 1, len(ys) + 1), OUTSIDE)
    for (x0, y0, x1, y1), index in rects:
        label[xs.index(x0) + 1 : xs.index(x1) + 1, ys.index(y0) + 1 : ys.index(y1) + 1] = index
    walls: list[Wall] = []
    for axis, at_values, along in ((1, xs, ys), (0, ys, xs)):
        grid = label if axis == 1 else label.T
        for i, at in enumerate(at_values):
            start, sides = 0, (OUTSIDE, OUTSIDE)
            for j in range(1, len(along) + 1):
                now = (int(grid[i, j]), int(grid[i + 1, j])) if j < len(along) else (OUTSIDE, OUTSIDE)
                if now != sides:
                    if sides[0] != sides[1]:
                        walls.append(Wall(axis, at, along[start - 1], along[j - 1], *sides))
                    start, sides = j, now
    return tuple(walls)


def _openings(
    rooms: tuple[LayoutRoom, ...], walls: tuple[Wall, ...], lift: int, rng: np.random.Generator
) -> tuple[Opening, ...]:
    openings: list[Opening] = []
    reached = {0}
    order = [i for i in range(1, len(rooms))]
    while len(reached) < len(rooms):
        before = len(reached)
        for index in order:
            if index in reached:
                continue
            options = [w for w in walls if index in (w.below, w.above) and ({w.below, w.above} - {index}) <= reached - {lift}]
            options = [w for w in options if w.high - w.low >= DOOR_WIDTH_M + 0.5]
            if options:
                corridor = [w for w in options if 0 in (w.below, w.above)]
                wall = max(corridor or options, key=lambda w: w.high - w.low)
                openings.append(_door(wall, rooms[index].category, rng))
                reached.add(index)
        if len(reached) == before:
            raise ValueError(f"layout: rooms {sorted(set(range(len(rooms))) - reached)} have no wall long enough for a door")
    for wall in walls:
        pair = {wall.below, wall.above}
        if OUTSIDE in pair:
            openings += _windows(wall, rooms[max(pair)].category, rng)
        elif 0 not in pair and lift not in pair and wall.high - wall.low > 2.0 and rng.random() < 0.12:
            private = {"bathroom", "storage", "laundry room"}
            if not private & {rooms[i].category for i in pair} and not any(
                {o.wall.below, o.wall.above} == pair for o in openings
            ):
                openings.append(_door(wall, "", rng))
    return tuple(openings)


def _door(wall: Wall, category: str, rng: np.random.Generator) -> Opening:
    length = wall.high - wall.low
    width, kind = DOOR_WIDTH_M, "door"
    if category in ("living room", "lounge", "reception", "kitchen", "dining room") and length > 3.0 and rng.random() < 0.35:
        width, kind = round(min(rng.uniform(1.3, 1.9), length - 1.0), 2), "passage"
    margin = 0.25 + width / 2
    center = rng.uniform(wall.low + margin, wall.high - margin)
    if kind == "door" and rng.random() < 0.6:
        center = wall.low + margin if rng.random() < 0.5 else wall.high - margin
    head = DOOR_HEIGHT_M if kind == "door" else round(rng.uniform(2.1, 2.35), 2)
    return Opening(wall, round(center - width / 2, 3), round(center + width / 2, 3), 0.0, head, kind)


def _windows(wall: Wall, category: str, rng: np.random.Generator) -> list[Opening]:
    length = wall.high - wall.low
    if length < 1.3 or category == "lift" or rng.random() < (0.5 if category in ("storage", "bathroom") else 0.12):
        return []
    small = category in ("bathroom", "storage", "laundry room")
    sill, head = (rng.uniform(1.3, 1.5), rng.uniform(1.95, 2.15)) if small else (rng.uniform(0.75, 1.05), rng.uniform(2.0, 2.3))
    count = 1 if small else max(1, int(length / rng.uniform(2.2, 3.6)))
    slot = length / count
    width = min(rng.uniform(0.5, 0.8) if small else rng.uniform(1.0, 2.0), slot - 0.6)
    if width < 0.4:
        return []
    out = []
    for i in range(count):
        center = wall.low + slot * (i + 0.5) + rng.uniform(-0.1, 0.1)
        out.append(Opening(wall, center - width / 2, center + width / 2, round(sill, 2), round(head, 2), "window"))
    return out
