"""What a drawing of a room shows: the window of the level around it, its walls, doors and windows, in the scene frame.

Walls come from the level's raster, which every importer delivers, so that drawn, imported and simulated buildings are
all drawn alike; windows are known only where the structure's mesh has panes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Furnishing, Level, Mesh, Place
from crossover_models.dataset.scene_frame import scene_origin
from crossover_models.floor_plan import OCCUPIED, UNKNOWN
from crossover_models.simulation.structure import PANE

MARGIN_M = (0.5, 2.4)
"""Each side shows its own stretch beyond the room, so that a picture's size does not give the room's away."""


@dataclass(frozen=True)
class PlanContent:
    """All lengths in metres, all positions in the scene frame.

    Attributes:
        low, high: (2,) corners of the window that is drawn.
        occupancy: (rows, cols) int8 of that window, row 0 lowest, in :class:`FloorPlan`'s values.
        resolution_m: side of a cell.
        walls: closed outlines (K, 2) of what is solid, holes among them, to be filled even-odd.
        doors: (2, 2) segment and kind of each passage in the window.
        windows: (2, 2) segments of the panes in the window.
        outline: (N, 2) of the room.
        pieces: furniture with any part in the window.
        rooms: (N, 2) outline of the room that each piece stands in.
        origin: (2,) of the scene frame in the map frame.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    occupancy: NDArray[np.int8]
    resolution_m: float
    walls: tuple[NDArray[np.float64], ...]
    doors: tuple[tuple[NDArray[np.float64], str], ...]
    windows: tuple[NDArray[np.float64], ...]
    outline: NDArray[np.float64]
    pieces: tuple[Furnishing, ...]
    rooms: tuple[NDArray[np.float64], ...]
    origin: NDArray[np.float64]


def plan_content(level: Level, place: Place, rng: np.random.Generator) -> PlanContent:
    """Cut the window around a place out of its level; only the window's margins are drawn from ``rng``."""
    origin = scene_origin(place)
    outline = place.polygon - origin
    margins = rng.uniform(*MARGIN_M, (2, 2))
    low, high = outline.min(axis=0) - margins[0], outline.max(axis=0) + margins[1]
    res = level.plan.resolution_m
    first = np.floor((low + origin - level.plan.origin_xy) / res).astype(int)
    last = np.ceil((high + origin - level.plan.origin_xy) / res).astype(int)
    cells = np.full((last[1] - first[1], last[0] - first[0]), UNKNOWN, dtype=np.int8)
    rows, cols = level.plan.occupancy.shape
    r0, r1, c0, c1 = max(first[1], 0), min(last[1], rows), max(first[0], 0), min(last[0], cols)
    if r0 < r1 and c0 < c1:
        cells[r0 - first[1] : r1 - first[1], c0 - first[0] : c1 - first[0]] = level.plan.occupancy[r0:r1, c0:c1]
    low = first * res + level.plan.origin_xy - origin
    high = last * res + level.plan.origin_xy - origin

    def near(points: NDArray[np.float64]) -> bool:
        return bool((points.max(axis=0) > low).all() and (points.min(axis=0) < high).all())

    doors = tuple((d.segment - origin, d.kind) for d in level.doors if near(d.segment - origin))
    panes = () if level.structure is None else tuple(p - origin for p in pane_segments(level.structure))
    shown = [
        (f, p.polygon - origin)
        for p in level.places
        for f in p.furnishings
        if near(f.mesh.vertices[:, :2].astype(np.float64) - origin)
    ]
    pieces, rooms = tuple(f for f, _ in shown), tuple(room for _, room in shown)
    windows = tuple(p for p in panes if near(p))
    walls = _outlines(cells == OCCUPIED, low, res)
    return PlanContent(low, high, cells, res, walls, doors, windows, outline, pieces, rooms, origin)


def _outlines(
    solid: NDArray[np.bool_], low: NDArray[np.float64], resolution_m: float
) -> tuple[NDArray[np.float64], ...]:
    """Outlines along the cells' edges, staircases of slanted walls straightened."""
    # Contours run through the middle of border pixels: on a finer raster that is close enough to the solid's edge.
    fine = 4
    big = np.asarray(np.kron(solid.astype(np.uint8), np.ones((fine, fine), dtype=np.uint8)), dtype=np.uint8)
    contours, _ = cv2.findContours(big, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    out = []
    for contour in contours:
        corners = cv2.approxPolyDP(contour, 0.8 * fine, True)[:, 0].astype(np.float64)
        if len(corners) >= 3:
            out.append((corners + 0.5) / fine * resolution_m + low)
    return tuple(out)


def pane_segments(structure: Mesh) -> tuple[NDArray[np.float64], ...]:
    """(2, 2) map-frame segments of the window panes of a structure of ours, which have a color of their own."""
    if structure.face_colors is None:
        return ()
    faces = structure.faces[(structure.face_colors == PANE).all(axis=1)]
    found: dict[tuple[float, ...], NDArray[np.float64]] = {}
    for triangle in structure.vertices[faces].astype(np.float64):
        points = triangle[:, :2]
        gaps = np.linalg.norm(points[:, None] - points[None], axis=2)
        i, j = np.unravel_index(int(gaps.argmax()), gaps.shape)
        if gaps[i, j] < 0.2 or np.ptp(triangle[:, 2]) < 0.2:
            continue
        a, b = sorted((points[i].tolist(), points[j].tolist()))
        # Both faces of a pane are one line.
        found.setdefault(tuple(np.round([*a, *b], 1).tolist()), np.array([a, b]))
    return tuple(found.values())
