"""Walls with holes, floor, ceiling and plan of a room that is an outline with doors and windows in its edges.

Walls grow outwards from the outline. Beyond each door lies a piece of corridor, so that nobody looks into nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon
from shapely.ops import unary_union

from crossover_models.building import Door, Mesh
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan
from crossover_models.simulation import palette
from crossover_models.simulation.procthor.source import RawHole, RawRoom
from crossover_models.simulation.shapes import Color, MeshBuilder, joined, moved
from crossover_models.simulation.structure import PANE

WALL_M = 0.14
MOST_HEIGHT_M = 3.4
"""ProcTHOR draws ceilings of up to 6 m; higher ones than this are lowered."""
_CORRIDOR_M = (1.5, 1.2, 0.9)
_BESIDE_M = (1.3, 0.5, 0.1)
_CORRIDOR_HEIGHT_M = 2.5
_SKIRTING_M = 0.08
_TILES: tuple[Color, ...] = ((196, 192, 184), (150, 158, 164), (222, 220, 214), (120, 112, 104), (176, 150, 126))


@dataclass(frozen=True)
class Shell:
    """A room without its furniture, map frame; ``corridors`` (4, 2) are the floors beyond the doors."""

    structure: Mesh
    plan: FloorPlan
    doors: tuple[Door, ...]
    corridors: tuple[NDArray[np.float64], ...]
    height_m: float


@dataclass(frozen=True)
class _Finish:
    """Colors of a room's surfaces."""

    floor: Color
    ceiling: Color
    trim: Color
    walls: tuple[Color, ...]
    dado: Color | None
    dado_m: float
    outside: Color


def build_shell(room: RawRoom, tops_m: float, rng: np.random.Generator) -> Shell:
    """The shell of a room.

    Args:
        room: as read.
        tops_m: the ceiling stays above this height (of the highest object).
        rng: of colors, as far as the room's materials leave them open.
    """
    heads = max(hole.head_m for hole in room.holes)
    height = min(room.height_m, max(MOST_HEIGHT_M, heads + 0.1, tops_m + 0.05))
    finish = _draw_finish(room, rng)
    parts = []
    builder = MeshBuilder()
    for corners in _triangles(Polygon(room.outline)):
        builder.add(np.c_[corners, np.zeros(3)], np.array([[0, 1, 2]]), finish.floor)
        builder.add(np.c_[corners, np.full(3, height)], np.array([[0, 2, 1]]), finish.ceiling)
    parts.append(builder.mesh())
    corridors, doors = [], []
    for edge, start in enumerate(room.outline):
        holes = sorted((h for h in room.holes if h.edge == edge), key=lambda h: h.low)
        parts.append(_wall(room.outline, edge, holes, height, finish))
        for hole in holes:
            if hole.kind == "door":
                pose, _ = _edge_frame(room.outline, edge)
                along = np.array([np.cos(pose[2]), np.sin(pose[2])])
                segment = start + np.outer([hole.low, hole.high], along) + WALL_M / 2 * np.array([along[1], -along[0]])
                doors.append(Door(segment, "door" if hole.high - hole.low < 1.25 else "passage"))
                local = _corridor(room.outline, hole)
                corridors.append(_placed(local, pose))
                parts.append(moved(_corridor_mesh(local, hole, finish), pose))
    return Shell(joined(parts), _plan(room.outline, room.holes, corridors), tuple(doors), tuple(corridors), height)


def _draw_finish(room: RawRoom, rng: np.random.Generator) -> _Finish:
    name = room.materials[0].lower()
    if "wood" in name or "cabinet" in name or "counter" in name:
        floor = palette.wood(rng)
        if "dark" in name or "black" in name:
            floor = palette.darker(floor, 0.6)
    elif "tile" in name or "grey" in name or room.category in ("kitchen", "bathroom"):
        floor = _TILES[int(rng.integers(len(_TILES)))]
    else:
        floor = palette.carpet(rng) if rng.random() < 0.5 else palette.wood(rng)
    paint = palette.paint(rng)
    walls = [paint] * len(room.outline)
    if rng.random() < 0.3:
        walls[int(rng.integers(len(walls)))] = palette.accent(rng)
    dado = palette.paint(rng) if rng.random() < 0.2 else None
    trim = palette.white(rng) if rng.random() < 0.7 else palette.wood(rng)
    return _Finish(floor, palette.white(rng), trim, tuple(walls), dado, rng.uniform(0.85, 1.2), palette.paint(rng))


def _triangles(polygon: Polygon) -> list[NDArray[np.float64]]:
    """Triangles (3, 2) of a polygon, counter-clockwise."""
    found = []
    for triangle in shapely.constrained_delaunay_triangles(polygon).geoms:
        ring = triangle.exterior
        corners = np.asarray(ring.coords, dtype=np.float64)[:3]
        found.append(corners if ring.is_ccw else corners[::-1])
    return found


def _edge_frame(outline: NDArray[np.float64], edge: int) -> tuple[NDArray[np.float64], float]:
    """Pose (3,) of an edge (x along it, y into the room) and its length."""
    a, b = outline[edge], outline[(edge + 1) % len(outline)]
    return np.array([*a, np.arctan2(b[1] - a[1], b[0] - a[0])]), float(np.linalg.norm(b - a))


def _placed(points: NDArray[np.float64], pose: NDArray[np.float64]) -> NDArray[np.float64]:
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]) + pose[:2], dtype=np.float64)


def _convex(outline: NDArray[np.float64], corner: int) -> bool:
    before, at, after = outline[corner - 1], outline[corner], outline[(corner + 1) % len(outline)]
    (ax, ay), (bx, by) = at - before, after - at
    return bool(ax * by - ay * bx > 0)


def _wall(outline: NDArray[np.float64], edge: int, holes: list[RawHole], height: float, finish: _Finish) -> Mesh:
    """The wall outside of an edge. Convex corners are filled, so that no light comes through."""
    pose, length = _edge_frame(outline, edge)
    after = (edge + 1) % len(outline)
    b = MeshBuilder()
    inner = finish.walls[edge]

    def piece(low: float, high: float, z0: float, z1: float) -> None:
        if high - low < 1e-6 or z1 - z0 < 1e-6:
            return
        split = finish.dado_m if finish.dado is not None and z0 < finish.dado_m < z1 else None
        for bottom, top in ((z0, z1),) if split is None else ((z0, split), (split, z1)):
            color = finish.dado if finish.dado is not None and top <= finish.dado_m else inner
            sides: dict[str, Color | None] = {"+y": color, "-y": finish.outside}
            # Ends at corners lie in the neighbor's face or inside of it.
            sides |= {"-x": None} if low <= 0.0 else {}
            sides |= {"+x": None} if high >= length else {}
            b.box((low, -WALL_M, bottom), (high, 0.0, top), finish.trim, sides)

    def skirting(low: float, high: float) -> None:
        if high - low > 0.02:
            b.box((low, 0.0, 0.0), (high, 0.012, _SKIRTING_M), finish.trim, {"-y": None, "-z": None})

    at, foot = (-WALL_M if _convex(outline, edge) else 0.0), 0.0
    for hole in holes:
        piece(at, hole.low, 0.0, height)
        piece(hole.low, hole.high, 0.0, hole.sill_m)
        piece(hole.low, hole.high, hole.head_m, height)
        if hole.kind == "window":
            _add_window(b, hole, finish.trim)
        else:
            _add_frame(b, hole, finish.trim)
            skirting(foot, hole.low - 0.06)
            foot = hole.high + 0.06
        at = hole.high
    piece(at, length + (WALL_M if _convex(outline, after) else 0.0), 0.0, height)
    skirting(foot, length)
    return moved(b.mesh(), pose)


def _add_window(b: MeshBuilder, hole: RawHole, trim: Color) -> None:
    """Pane, casing, and bars as the asset's kind has them."""
    low, high, sill, head = hole.low, hole.high, hole.sill_m, hole.head_m
    y0, y1 = -WALL_M / 2 - 0.01, -WALL_M / 2 + 0.01
    b.box((low, y0, sill), (high, y1, head), PANE)
    bars = []
    if "Hung" in hole.asset_id:
        bars.append((low, high, (sill + head) / 2 - 0.02, (sill + head) / 2 + 0.02))
    count = 2 if "Bay" in hole.asset_id else 1 if "Slider" in hole.asset_id else 0
    bars += [(x - 0.02, x + 0.02, sill, head) for x in np.linspace(low, high, count + 2)[1:-1]]
    bars += [(low, high, sill, sill + 0.04), (low, high, head - 0.04, head)]
    bars += [(low, low + 0.04, sill, head), (high - 0.04, high, sill, head)]
    for x0, x1, z0, z1 in bars:
        b.box((x0, y0 - 0.015, z0), (x1, y1 + 0.015, z1), trim)
    b.box((low - 0.04, 0.0, sill - 0.03), (high + 0.04, 0.05, sill), trim)


def _add_frame(b: MeshBuilder, hole: RawHole, trim: Color) -> None:
    for near, far in ((-WALL_M - 0.015, -WALL_M), (0.0, 0.015)):
        for low, high, z0, z1 in (
            (hole.low - 0.06, hole.low, 0.0, hole.head_m + 0.06),
            (hole.high, hole.high + 0.06, 0.0, hole.head_m + 0.06),
            (hole.low, hole.high, hole.head_m, hole.head_m + 0.06),
        ):
            b.box((low, near, z0), (high, far, z1), trim)


def _corridor(outline: NDArray[np.float64], hole: RawHole) -> NDArray[np.float64]:
    """(4, 2) floor of the corridor beyond a door, in its edge's frame, the longest that keeps off the room."""
    pose, length = _edge_frame(outline, hole.edge)
    room = Polygon(outline).buffer(WALL_M - 0.02, join_style="mitre")
    for depth in _CORRIDOR_M:
        for beside in _BESIDE_M:
            low, high = max(hole.low - beside, -WALL_M), min(hole.high + beside, length + WALL_M)
            corners = np.array([[low, -WALL_M - depth], [high, -WALL_M - depth], [high, -WALL_M], [low, -WALL_M]])
            if not Polygon(_placed(corners, pose)).intersects(room):
                return corners
    # A door in a niche: as deep as the threshold.
    return np.array([[hole.low, -WALL_M - 0.3], [hole.high, -WALL_M - 0.3], [hole.high, -WALL_M], [hole.low, -WALL_M]])


def _corridor_mesh(corners: NDArray[np.float64], hole: RawHole, finish: _Finish) -> Mesh:
    (x0, y0), (x1, y1) = corners[0], corners[2]
    z = max(_CORRIDOR_HEIGHT_M, hole.head_m + 0.1)
    b = MeshBuilder()
    b.quad([[x0, y0, 0], [x1, y0, 0], [x1, y1, 0], [x0, y1, 0]], finish.floor)
    b.quad([[hole.low, y1, 0], [hole.high, y1, 0], [hole.high, 0, 0], [hole.low, 0, 0]], finish.trim)
    b.quad([[x0, y0, z], [x0, y1, z], [x1, y1, z], [x1, y0, z]], finish.ceiling)
    b.quad([[x1, y0, 0], [x0, y0, 0], [x0, y0, z], [x1, y0, z]], finish.outside)
    b.quad([[x0, y0, 0], [x0, y1, 0], [x0, y1, z], [x0, y0, z]], finish.outside)
    b.quad([[x1, y1, 0], [x1, y0, 0], [x1, y0, z], [x1, y1, z]], finish.outside)
    return b.mesh()


def _plan(
    outline: NDArray[np.float64],
    holes: tuple[RawHole, ...],
    corridors: list[NDArray[np.float64]],
    resolution_m: float = 0.05,
    margin_m: float = 0.5,
) -> FloorPlan:
    """Room, doors and corridors free, walls and windows occupied, outside unknown, by the cells' centers."""
    room = Polygon(outline)
    floors = unary_union([room, *(Polygon(c) for c in corridors)])
    walls = unary_union([room.buffer(WALL_M, join_style="mitre"), *(Polygon(c).buffer(0.1) for c in corridors)])
    gaps = []
    for hole in holes:
        if hole.kind == "door":
            pose, _ = _edge_frame(outline, hole.edge)
            through = [[hole.low, -WALL_M - 0.05], [hole.high, -WALL_M - 0.05], [hole.high, 0.01], [hole.low, 0.01]]
            gaps.append(Polygon(_placed(np.array(through), pose)))
    x0, y0, x1, y1 = walls.bounds
    origin = np.floor((np.array([x0, y0]) - margin_m) / resolution_m) * resolution_m
    cols, rows = np.ceil((np.array([x1, y1]) + margin_m - origin) / resolution_m).astype(int)
    # A hair off the centers, which would lie on walls at round coordinates.
    x, y = np.meshgrid(
        origin[0] + (np.arange(cols) + 0.5) * resolution_m + 1e-7,
        origin[1] + (np.arange(rows) + 0.5) * resolution_m + 1e-7,
    )
    grid = np.full((rows, cols), UNKNOWN, dtype=np.int8)
    grid[shapely.contains_xy(walls, x, y)] = OCCUPIED
    grid[shapely.contains_xy(unary_union([floors, *gaps]), x, y)] = FREE
    return FloorPlan(grid, resolution_m, (float(origin[0]), float(origin[1])))
