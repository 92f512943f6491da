"""SceneCAD: layouts of ScanNet's rooms, one JSON file a scan with ``verts`` (y up), ``edges`` and ``quads``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.readers.json_file import read_object
from crossover_models.dataset.readers.reader import ReaderError
from crossover_models.geometry import transform_points_se3

_LEVEL = 0.8
"""A face whose unit normal's z is larger lies flat."""
_SHORTEST_M = 0.05


@dataclass(frozen=True)
class Layout:
    """A room's shell.

    Attributes:
        walls: (S, 2, 2) wall lines seen from above, scene frame, metres.
        polygon: (N, 2) outline of the floor, counter-clockwise, or None where its faces and edges do not close.
    """

    walls: NDArray[np.float64]
    polygon: NDArray[np.float64] | None


def read_layout(path: Path, T_scene_scan: NDArray[np.float64]) -> Layout:
    """Read a scan's layout.

    Args:
        path: ``sceneXXXX_YY.json``.
        T_scene_scan: (4, 4).

    Raises:
        ReaderError: corrupt, or an index beyond the corners; the field is named.
        OSError: it cannot be read.
    """
    content = read_object(path)
    try:
        verts = np.asarray(content["verts"], dtype=np.float64).reshape(-1, 3)
    except (KeyError, TypeError, ValueError) as error:
        raise ReaderError(f"{path}: verts: {type(error).__name__}: {error}") from None
    if not np.isfinite(verts).all():
        raise ReaderError(f"{path}: verts: a value is no number")
    edges = _indices(content, "edges", len(verts), path)
    faces = _indices(content, "quads", len(verts), path)
    if any(len(edge) != 2 for edge in edges):
        raise ReaderError(f"{path}: edges: an edge has not two ends")
    # Its y is up and its z comes towards the viewer; the scan's z is up.
    points = transform_points_se3(T_scene_scan, verts[:, [0, 2, 1]] * [1.0, -1.0, 1.0])
    return Layout(_walls(points, edges), _outline(points, edges, faces))


def _indices(content: dict[str, Any], name: str, count: int, path: Path) -> list[list[int]]:
    rows = content.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise ReaderError(f"{path}: {name}: expected lists of corners")
    for row in rows:
        for corner in row:
            if type(corner) is not int or not 0 <= corner < count:
                raise ReaderError(f"{path}: {name}: corner {corner!r} of {count}")
    return rows


def _walls(points: NDArray[np.float64], edges: list[list[int]]) -> NDArray[np.float64]:
    """Level edges seen from above; those of floor and ceiling that cover each other once."""
    segments: dict[tuple[tuple[float, float], ...], NDArray[np.float64]] = {}
    for edge in edges:
        ends = points[edge][:, :2]
        if np.linalg.norm(ends[1] - ends[0]) >= _SHORTEST_M:
            key = tuple(sorted((round(float(x), 2), round(float(y), 2)) for x, y in ends))
            segments.setdefault(key, ends)
    return np.array(list(segments.values()), dtype=np.float64).reshape(-1, 2, 2)


def _outline(points: NDArray[np.float64], edges: list[list[int]], faces: list[list[int]]) -> NDArray[np.float64] | None:
    """Outline of the floor: of its level faces below mid-height, else of the rings that its edges make."""
    from shapely.geometry import LineString, Polygon
    from shapely.ops import polygonize, unary_union

    if not len(points):
        return None
    middle = points[:, 2].mean()
    parts = [
        Polygon(points[face][:, :2]).buffer(0)
        for face in faces
        if len(face) >= 3 and points[face][:, 2].max() < middle and abs(_normal(points[face])[2]) > _LEVEL
    ]
    if not any(part.area > 0 for part in parts):
        low = [LineString(points[e][:, :2]) for e in edges if points[e][:, 2].max() < middle and e[0] != e[1]]
        parts = list(polygonize(unary_union(low))) if low else []
    # A hair wider and back: faces that were drawn one beside the other need not share their corners exactly.
    union = unary_union([part.buffer(0.02, join_style="mitre") for part in parts]).buffer(-0.02, join_style="mitre")
    pieces = [piece for piece in getattr(union, "geoms", [union]) if not piece.is_empty and piece.area > 0]
    if not pieces:
        return None
    largest = max(pieces, key=lambda piece: float(piece.area)).simplify(0.01)
    ring = np.asarray(largest.exterior.coords, dtype=np.float64)[:-1, :2]
    return ring if largest.exterior.is_ccw else ring[::-1].copy()


def _normal(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit normal of a nearly flat ring (Newell's); zero for one without area."""
    following = np.roll(corners, -1, axis=0)
    normal = np.cross(corners, following).sum(axis=0)
    length = float(np.linalg.norm(normal))
    return np.asarray(normal / length if length > 1e-12 else np.zeros(3))
