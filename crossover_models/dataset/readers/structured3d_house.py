"""Structured3D's ``annotation_3d.json``: outlines of a house's rooms, and where its doors are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.readers.json_file import read_object
from crossover_models.dataset.readers.reader import ReaderError

_OPENINGS = frozenset({"door", "window"})
_DOOR_DEPTH_M = 0.05
"""Walls are cut this far around a door's outline: both sides of the wall are drawn."""


@dataclass(frozen=True)
class Room:
    """A room: its type, outline (N, 2) counter-clockwise in the house's frame, metres, and the height of its floor."""

    category: str
    polygon: NDArray[np.float64]
    floor_z_m: float


@dataclass(frozen=True)
class House:
    """Rooms by their number, and the outlines of doors (each (N, 2) corners of a convex outline), metres."""

    rooms: dict[int, Room]
    doors: tuple[NDArray[np.float64], ...]

    def walls_within(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
        """(S, 2, 2) wall lines of all rooms inside a rectangle, with gaps where doors are."""
        from shapely.geometry import MultiPoint, Polygon, box
        from shapely.ops import unary_union

        lines = unary_union([Polygon(room.polygon).exterior for room in self.rooms.values()])
        lines = lines.intersection(box(*low, *high))
        if self.doors:
            lines = lines.difference(
                unary_union([MultiPoint(d).convex_hull.buffer(_DOOR_DEPTH_M, cap_style="flat") for d in self.doors])
            )
        parts = [part for part in getattr(lines, "geoms", [lines]) if part.geom_type == "LineString"]
        chains = [np.asarray(part.coords)[:, :2] for part in parts if not part.is_empty]
        segments = [np.stack([chain[:-1], chain[1:]], axis=1) for chain in chains]
        return np.concatenate(segments) if segments else np.zeros((0, 2, 2))


def read_house(path: Path) -> House:
    """Read a house's structure.

    Raises:
        ReaderError: a field is missing, an index is beyond its list, or a room's floor does not close; it is named.
    """
    content = read_object(path)
    try:
        return _house(content)
    except KeyError as error:
        raise ReaderError(f"{path}: no {error}") from None
    except (TypeError, ValueError, IndexError) as error:
        raise ReaderError(f"{path}: {error}") from None


def _house(content: dict[str, Any]) -> House:
    junctions = np.array([it["coordinate"] for it in content["junctions"]], dtype=np.float64).reshape(-1, 3) / 1000.0
    if not np.isfinite(junctions).all():
        raise ValueError("junctions: a coordinate is no number")
    on_plane = [np.flatnonzero(row) for row in content["planeLineMatrix"]]
    on_line = [np.flatnonzero(row) for row in content["lineJunctionMatrix"]]
    kinds = [str(plane["type"]) for plane in content["planes"]]
    opening_lines = {
        int(line)
        for it in content["semantics"]
        if it["type"] in _OPENINGS
        for plane in it["planeID"]
        for line in on_plane[plane]
    }
    rooms: dict[int, Room] = {}
    doors = []
    for it in content["semantics"]:
        if it["type"] == "door":
            corners = {int(j) for plane in it["planeID"] for line in on_plane[plane] for j in on_line[line]}
            if corners:
                doors.append(junctions[sorted(corners)][:, :2])
        floors = [plane for plane in it["planeID"] if kinds[plane] == "floor"]
        if it["type"] in _OPENINGS or it["type"] == "outwall" or not floors:
            continue
        lines = [int(line) for line in on_plane[floors[0]] if int(line) not in opening_lines]
        ring = _ring([on_line[line] for line in lines], f"semantics: room {it['ID']}")
        polygon = junctions[ring][:, :2]
        following = np.roll(polygon, -1, axis=0)
        area = float((polygon[:, 0] * following[:, 1] - following[:, 0] * polygon[:, 1]).sum())
        polygon = polygon if area > 0 else polygon[::-1].copy()
        rooms[int(it["ID"])] = Room(str(it["type"]).lower(), polygon, float(junctions[ring][:, 2].mean()))
    return House(rooms, tuple(doors))


def _ring(edges: list[NDArray[np.intp]], what: str) -> list[int]:
    """Junctions along a floor's outline; of several rings the one that has the most."""
    neighbors: dict[int, list[int]] = {}
    for edge in edges:
        if len(edge) != 2:
            raise ValueError(f"{what}: a line has {len(edge)} junctions")
        a, b = int(edge[0]), int(edge[1])
        neighbors.setdefault(a, []).append(b)
        neighbors.setdefault(b, []).append(a)
    best: list[int] = []
    left = set(neighbors)
    while left:
        ring = [min(left)]
        while True:
            left.discard(ring[-1])
            ahead = [j for j in neighbors[ring[-1]] if j in left]
            if not ahead:
                break
            ring.append(ahead[0])
        if len(ring) >= 3 and ring[0] in neighbors[ring[-1]] and len(ring) > len(best):
            best = ring
    if not best:
        raise ValueError(f"{what}: its floor's lines do not close")
    return best
