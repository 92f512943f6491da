"""Outlines in metres drawn as cells of a floor plan."""

from __future__ import annotations

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from crossover_models.building import BuildingError

RESOLUTION_M = 0.05
MARGIN_M = 0.5
MAX_CELLS = 60_000_000  # 150,000 m2 at 0.05 m: larger than any building's storey, smaller than a robot's memory
_SHIFT = 6  # fractional bits of OpenCV's polygon corners


class Raster:
    """A grid of cells around a box of the map frame; row 0 has the lowest y.

    Attributes:
        shape: (rows, cols).
        resolution_m: side of a cell.
        origin_xy: lower-left corner, on a multiple of the resolution.

    Raises:
        BuildingError: the box is not finite, or too large to be a building's.
    """

    def __init__(
        self, low_xy: NDArray[np.float64], high_xy: NDArray[np.float64], resolution_m: float = RESOLUTION_M
    ) -> None:
        size = high_xy - low_xy + 2 * MARGIN_M
        if not np.isfinite(size).all() or size.prod() > MAX_CELLS * resolution_m**2:
            raise BuildingError(f"extent {size[0]:.6g} x {size[1]:.6g} m is no building's; check units and scale")
        first = np.floor((low_xy - MARGIN_M) / resolution_m)
        cols, rows = (np.ceil((high_xy + MARGIN_M) / resolution_m) - first).astype(int).tolist()
        self.shape = (rows, cols)
        self.resolution_m = resolution_m
        self.origin_xy = (float(first[0] * resolution_m), float(first[1] * resolution_m))

    def area(self, outline: BaseGeometry) -> NDArray[np.bool_]:
        """Cells in an area, which may have parts and holes; those that its edge touches are in too."""
        mask = np.zeros(self.shape, dtype=np.uint8)
        for part in shapely.get_parts(outline):
            if isinstance(part, shapely.Polygon) and not part.is_empty:
                rings = [self._corners(np.asarray(r.coords)) for r in (part.exterior, *part.interiors)]
                # Even-odd over all rings of one polygon leaves its holes empty.
                cv2.fillPoly(mask, rings, 1, lineType=cv2.LINE_8, shift=_SHIFT)
        return mask.astype(bool)

    def lines(self, segments: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Cells that segments (S, 2, 2) pass through."""
        mask = np.zeros(self.shape, dtype=np.uint8)
        if len(segments):
            ends = self._corners(np.asarray(segments).reshape(-1, 2)).reshape(-1, 2, 2)
            cv2.polylines(mask, list(ends), False, 1, 1, cv2.LINE_8, _SHIFT)
        return mask.astype(bool)

    def _corners(self, xy: NDArray[np.float64]) -> NDArray[np.int32]:
        pixels = (xy[:, :2] - self.origin_xy) / self.resolution_m - 0.5
        return np.round(pixels * (1 << _SHIFT)).astype(np.int32)
