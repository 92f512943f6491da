"""Upright solids from flat outlines: walls, lintels and slabs of a drawing as triangles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from crossover_models.building import Mesh

Color = tuple[int, int, int]


class PrismBuilder:
    """Collects triangles; every solid has a color and outward faces."""

    def __init__(self) -> None:
        self._corners: list[NDArray[np.float64]] = []  # (n, 3, 3)
        self._colors: list[NDArray[np.uint8]] = []

    def prism(self, outline: BaseGeometry, low_m: float, high_m: float, color: Color) -> None:
        """Sides, top and bottom over an area, which may have parts and holes."""
        for polygon in _polygons(outline):
            for number, ring in enumerate((polygon.exterior, *polygon.interiors)):
                a = np.asarray(ring.coords)[:, :2]
                # Counter-clockwise outside, clockwise holes: the solid lies to the left of every edge.
                if ring.is_ccw != (number == 0):
                    a = a[::-1]
                self._sides(a[:-1], a[1:], low_m, high_m, color)
        self.sheet(outline, high_m, color, up=True)
        self.sheet(outline, low_m, color, up=False)

    def sheet(self, outline: BaseGeometry, z_m: float, color: Color, up: bool) -> None:
        """A flat area seen from above (``up``) or from below."""
        for polygon in _polygons(outline):
            for triangle in shapely.constrained_delaunay_triangles(polygon).geoms:
                corners = np.asarray(triangle.exterior.coords)[:3, :2]
                if triangle.exterior.is_ccw != up:
                    corners = corners[::-1]
                self._add(np.column_stack([corners, np.full(3, z_m)])[None], color)

    def _sides(
        self, start: NDArray[np.float64], end: NDArray[np.float64], low_m: float, high_m: float, color: Color
    ) -> None:
        low, high = np.full((len(start), 1), low_m), np.full((len(start), 1), high_m)
        a, b = np.hstack([start, low]), np.hstack([end, low])
        c, d = np.hstack([end, high]), np.hstack([start, high])
        self._add(np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)]), color)

    def _add(self, corners: NDArray[np.float64], color: Color) -> None:
        self._corners.append(corners)
        self._colors.append(np.tile(np.array(color, dtype=np.uint8), (len(corners), 1)))

    def mesh(self) -> Mesh | None:
        """All triangles added, with shared corners; None if there are none."""
        if not self._corners:
            return None
        corners = np.concatenate(self._corners).reshape(-1, 3).astype(np.float32)
        vertices, index = np.unique(corners, axis=0, return_inverse=True)
        return Mesh(vertices, index.reshape(-1, 3).astype(np.int32), np.concatenate(self._colors))


def _polygons(outline: BaseGeometry) -> Iterator[shapely.Polygon]:
    for part in shapely.get_parts(outline):
        if isinstance(part, shapely.Polygon) and part.area > 1e-6:
            yield part
