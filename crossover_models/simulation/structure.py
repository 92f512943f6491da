"""Walls, floors and ceilings of a layout as triangles, and its floor plan, from the same numbers."""

from __future__ import annotations

import numpy as np

from crossover_models.building import Mesh
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan
from crossover_models.simulation import palette
from crossover_models.simulation.layout import INTERIOR_HALF_M, OUTSIDE, Layout, Opening, Rect, Wall
from crossover_models.simulation.shapes import Color, MeshBuilder

PANE: Color = (176, 204, 222)
_TILES: tuple[Color, ...] = ((196, 192, 184), (150, 158, 164), (222, 220, 214), (120, 112, 104))
_SKIRTING_M, _SKIRTING_OUT_M = 0.08, 0.012
_ACCENTS = 0.12
_WET = frozenset({"bathroom", "kitchen", "laundry room", "locker room"})


def structure_mesh(layout: Layout, rng: np.random.Generator, painter: np.random.Generator | None = None) -> Mesh:
    """Walls with real holes, window panes, door frames, floor and ceiling; metres, floor at z = 0.

    With a ``painter`` rooms get skirting boards, and some walls another color than the rest of their room.
    """
    b = MeshBuilder()
    paints = [palette.paint(rng) for _ in layout.rooms]
    trim, outer = palette.white(rng), palette.paint(rng)
    ceiling = palette.white(rng)
    for index, room in enumerate(layout.rooms):
        if room.category in _WET or (index == 0 and rng.random() < 0.5):
            floor = _TILES[int(rng.integers(len(_TILES)))]
        else:
            floor = palette.wood(rng) if rng.random() < 0.65 else palette.carpet(rng)
        for x0, y0, x1, y1 in room.rects:
            b.quad([[x0, y0, 0], [x1, y0, 0], [x1, y1, 0], [x0, y1, 0]], floor)
            z = layout.height_m
            b.quad([[x0, y0, z], [x0, y1, z], [x1, y1, z], [x1, y0, z]], ceiling)
    for wall in layout.walls:
        sides = {OUTSIDE: outer, **dict(enumerate(paints))}
        openings = [o for o in layout.openings if o.wall == wall]
        if painter is not None:
            for side in (wall.below, wall.above):
                if side != OUTSIDE and painter.random() < _ACCENTS:
                    sides[side] = palette.accent(painter) if painter.random() < 0.5 else palette.paint(painter)
            _add_skirting(b, wall, openings, trim)
        _add_wall(b, wall, openings, layout.height_m, sides, trim)
    return b.mesh()


def _add_wall(
    b: MeshBuilder, wall: Wall, openings: list[Opening], height: float, paints: dict[int, Color], trim: Color
) -> None:
    across = "y" if wall.axis == 0 else "x"
    sides: dict[str, Color | None] = {f"-{across}": paints[wall.below], f"+{across}": paints[wall.above]}

    # The two ends lie inside other walls or flush with their faces, whose paint they must not cover.
    along = "x" if wall.axis == 0 else "y"
    first, last = wall.low - INTERIOR_HALF_M, wall.high + INTERIOR_HALF_M

    def piece(low: float, high: float, z0: float, z1: float) -> None:
        x0, y0, x1, y1 = wall.rect(low, high)
        ends: dict[str, Color | None] = {}
        if low == first:
            ends[f"-{along}"] = None
        if high == last:
            ends[f"+{along}"] = None
        b.box((x0, y0, z0), (x1, y1, z1), trim, sides | ends)

    at = first
    for o in sorted(openings, key=lambda o: o.low):
        piece(at, o.low, 0.0, height)
        if o.sill_m > 0.0:
            piece(o.low, o.high, 0.0, o.sill_m)
        if o.head_m < height:
            piece(o.low, o.high, o.head_m, height)
        if o.kind == "window":
            _add_pane(b, wall, o, trim)
        else:
            _add_frame(b, wall, o, trim)
        at = o.high
    piece(at, last, 0.0, height)


def _across(wall: Wall, low: float, high: float, near: float, far: float) -> Rect:
    """Footprint of a stretch along a wall between two offsets from its axis."""
    if wall.axis == 0:
        return low, wall.at + near, high, wall.at + far
    return wall.at + near, low, wall.at + far, high


def _add_pane(b: MeshBuilder, wall: Wall, o: Opening, trim: Color) -> None:
    x0, y0, x1, y1 = _across(wall, o.low, o.high, -0.01, 0.01)
    b.box((x0, y0, o.sill_m), (x1, y1, o.head_m), PANE)
    middle = (o.low + o.high) / 2
    x0, y0, x1, y1 = _across(wall, middle - 0.03, middle + 0.03, -0.03, 0.03)
    b.box((x0, y0, o.sill_m), (x1, y1, o.head_m), trim)


def _add_skirting(b: MeshBuilder, wall: Wall, openings: list[Opening], trim: Color) -> None:
    doors = sorted((o for o in openings if o.kind != "window"), key=lambda o: o.low)
    starts = [wall.low + INTERIOR_HALF_M, *(o.high + 0.06 for o in doors)]
    stops = [*(o.low - 0.06 for o in doors), wall.high - INTERIOR_HALF_M]
    for side, sign in ((wall.below, -1.0), (wall.above, 1.0)):
        face = sign * wall.half_m(side)
        near, far = sorted((face, face + sign * _SKIRTING_OUT_M))
        for low, high in zip(starts, stops, strict=True):
            if side != OUTSIDE and high - low > 0.02:
                x0, y0, x1, y1 = _across(wall, low, high, near, far)
                b.box((x0, y0, 0.0), (x1, y1, _SKIRTING_M), trim)


def _add_frame(b: MeshBuilder, wall: Wall, o: Opening, trim: Color) -> None:
    for side, sign in ((wall.below, -1.0), (wall.above, 1.0)):
        near, far = sorted((sign * wall.half_m(side), sign * (wall.half_m(side) + 0.015)))
        for low, high, z0, z1 in (
            (o.low - 0.06, o.low, 0.0, o.head_m + 0.06),
            (o.high, o.high + 0.06, 0.0, o.head_m + 0.06),
            (o.low, o.high, o.head_m, o.head_m + 0.06),
        ):
            x0, y0, x1, y1 = _across(wall, low, high, near, far)
            b.box((x0, y0, z0), (x1, y1, z1), trim)


def floor_plan(layout: Layout, resolution_m: float = 0.05, margin_m: float = 0.5) -> FloorPlan:
    """Plan of a layout: rooms and doors free, walls and windows occupied, outside unknown, by the cells' centers."""
    rects = [rect for room in layout.rooms for rect in room.rects]
    low = np.array([min(r[0] for r in rects), min(r[1] for r in rects)]) - margin_m
    high = np.array([max(r[2] for r in rects), max(r[3] for r in rects)]) + margin_m
    origin = np.floor(low / resolution_m) * resolution_m
    cols, rows = np.ceil((high - origin) / resolution_m).astype(int)
    grid = np.full((rows, cols), UNKNOWN, dtype=np.int8)

    def fill(rect: Rect, value: int) -> None:
        c0, r0, c1, r1 = (np.ceil((np.array(rect) - np.tile(origin, 2)) / resolution_m - 0.5 - 1e-9)).astype(int)
        grid[r0:r1, c0:c1] = value

    for rect in rects:
        fill(rect, FREE)
    for wall in layout.walls:
        fill(wall.footprint, OCCUPIED)
    for opening in layout.openings:
        if opening.kind != "window":
            fill(opening.rect, FREE)
    return FloorPlan(grid, resolution_m, (float(origin[0]), float(origin[1])))


def extruded_plan(plan: FloorPlan, height_m: float) -> Mesh:
    """Walls around every occupied cell, floor and ceiling: the structure of a level that is only a drawing."""
    wall = np.pad(plan.occupancy == OCCUPIED, 1)
    b = MeshBuilder()
    res, (ox, oy) = plan.resolution_m, plan.origin_xy
    for axis in (0, 1):
        grid = wall if axis == 0 else wall.T
        edge = grid[1:] != grid[:-1]
        for line in np.flatnonzero(edge.any(axis=1)):
            row = np.concatenate([[False], edge[line], [False]]).astype(np.int8)
            starts, stops = np.flatnonzero(np.diff(row) == 1), np.flatnonzero(np.diff(row) == -1)
            for start, stop in zip(starts, stops, strict=True):
                at, low, high = line * res, (start - 1) * res, (stop - 1) * res
                ends = (
                    [(low + ox, at + oy), (high + ox, at + oy)]
                    if axis == 0
                    else [(at + ox, low + oy), (at + ox, high + oy)]
                )
                (x0, y0), (x1, y1) = ends
                b.quad([[x0, y0, 0], [x1, y1, 0], [x1, y1, height_m], [x0, y0, height_m]], (212, 208, 200))
    width, depth = plan.size_m
    x, y = ox + width, oy + depth
    b.box((ox, oy, -0.1), (x, y, 0.0), (150, 140, 126), dict.fromkeys(("-x", "+x", "-y", "+y", "-z")))
    b.box((ox, oy, height_m), (x, y, height_m + 0.1), (232, 232, 230), dict.fromkeys(("-x", "+x", "-y", "+y", "+z")))
    return b.mesh()
