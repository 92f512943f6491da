"""Layouts of storeys: rooms, the walls between them, doors and windows.

A layout is drawn on wall *axes*: rooms are unions of rectangles that share edges, and a wall runs along every edge
between two different rooms or between a room and the outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

INTERIOR_HALF_M = 0.06
EXTERIOR_OUT_M = 0.19
DOOR_WIDTH_M, DOOR_HEIGHT_M = 0.9, 2.1
OUTSIDE = -1

Rect = tuple[float, float, float, float]


class LayoutError(ValueError):
    """A layout that cannot be lived in."""


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


def draw_openings(
    rooms: tuple[LayoutRoom, ...], walls: tuple[Wall, ...], lift: int, rng: np.random.Generator
) -> tuple[Opening, ...]:
    """Draw doors so that every room is reached, from the corridor where it can be, a few more doors, and windows.

    Raises:
        LayoutError: a room has no wall long enough for a door.
    """
    openings: list[Opening] = []
    reached = {0}
    order = list(range(1, len(rooms)))
    while len(reached) < len(rooms):
        before = len(reached)
        for index in order:
            if index in reached:
                continue
            options = [
                w for w in walls if index in (w.below, w.above) and ({w.below, w.above} - {index}) <= reached - {lift}
            ]
            options = [w for w in options if w.high - w.low >= DOOR_WIDTH_M + 0.5]
            if options:
                corridor = [w for w in options if 0 in (w.below, w.above)]
                wall = max(corridor or options, key=lambda w: w.high - w.low)
                openings.append(_door(wall, rooms[index].category, rng))
                reached.add(index)
        if len(reached) == before:
            raise LayoutError(
                f"layout: rooms {sorted(set(range(len(rooms))) - reached)} have no wall long enough for a door"
            )
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
    if (
        category in ("living room", "lounge", "reception", "kitchen", "dining room")
        and length > 3.0
        and rng.random() < 0.35
    ):
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
    sill, head = (
        (rng.uniform(1.3, 1.5), rng.uniform(1.95, 2.15)) if small else (rng.uniform(0.75, 1.05), rng.uniform(2.0, 2.3))
    )
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
