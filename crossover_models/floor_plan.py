"""A metric floor plan of one level as a raster: what nav2's map_server, the registration and the encoder share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

FREE, OCCUPIED, UNKNOWN = 0, 100, -1


class FloorPlanError(ValueError):
    """A plan that cannot be used; the message names the field and its value."""


@dataclass(frozen=True)
class FloorPlan:
    """Occupancy of one level, in nav_msgs/OccupancyGrid's terms.

    Attributes:
        occupancy: (rows, cols) int8; 0 free, 100 occupied, -1 unknown. Row 0 is the *lowest* y (as in
            nav_msgs/OccupancyGrid), so ``occupancy[::-1]`` is the picture with y up.
        resolution_m: side of a cell.
        origin_xy: map-frame position of the lower-left corner of cell (0, 0), metres.
    """

    occupancy: NDArray[np.int8]
    resolution_m: float
    origin_xy: tuple[float, float]

    def __post_init__(self) -> None:
        if self.occupancy.ndim != 2 or 0 in self.occupancy.shape:
            raise FloorPlanError(f"occupancy: expected a non-empty (rows, cols), got {self.occupancy.shape}")
        if not (np.isfinite(self.resolution_m) and self.resolution_m > 0):
            raise FloorPlanError(f"resolution_m: must be positive and finite, got {self.resolution_m}")
        if not np.isfinite(self.origin_xy).all():
            raise FloorPlanError(f"origin_xy: must be finite, got {self.origin_xy}")

    @property
    def size_m(self) -> tuple[float, float]:
        """Width (x) and height (y) in metres."""
        rows, cols = self.occupancy.shape
        return cols * self.resolution_m, rows * self.resolution_m

    @property
    def area_m2(self) -> float:
        """Free area in square metres."""
        return float((self.occupancy == FREE).sum() * self.resolution_m**2)

    def cell(self, points_xy: ArrayLike) -> NDArray[np.int64]:
        """(..., 2) map-frame metres -> (..., 2) integer (row, col); may lie outside the raster."""
        p = (np.asarray(points_xy, dtype=np.float64) - self.origin_xy) / self.resolution_m
        return np.floor(p[..., ::-1]).astype(np.int64)

    def position(self, cells: ArrayLike) -> NDArray[np.float64]:
        """(..., 2) (row, col) -> (..., 2) map-frame metres of the cells' centres."""
        c = np.asarray(cells, dtype=np.float64)[..., ::-1]
        return (c + 0.5) * self.resolution_m + self.origin_xy

    def value(self, points_xy: ArrayLike, outside: int = UNKNOWN) -> NDArray[np.int8]:
        """Occupancy at map-frame points (..., 2); ``outside`` beyond the raster."""
        cells = self.cell(points_xy)
        row, col = cells[..., 0], cells[..., 1]
        rows, cols = self.occupancy.shape
        inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
        values = self.occupancy[np.clip(row, 0, rows - 1), np.clip(col, 0, cols - 1)]
        return np.where(inside, values, outside).astype(np.int8)

    @cached_property
    def distance_m(self) -> NDArray[np.float32]:
        """(rows, cols) distance from each cell's centre to the nearest occupied cell's centre, metres.

        Raises:
            FloorPlanError: the plan has no occupied cell, so no distance exists.
        """
        wall = self.occupancy == OCCUPIED
        if not wall.any():
            raise FloorPlanError("occupancy: no occupied cell; a plan without walls cannot be matched")
        field = cv2.distanceTransform((~wall).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return np.asarray(field * self.resolution_m, dtype=np.float32)

    def crop(self, center_xy: ArrayLike, side_m: float) -> FloorPlan:
        """The square of ``side_m`` around a map-frame point, unknown where the raster ends."""
        side = max(1, round(side_m / self.resolution_m))
        row, col = self.cell(np.asarray(center_xy, dtype=np.float64)) - side // 2
        out = np.full((side, side), UNKNOWN, dtype=np.int8)
        rows, cols = self.occupancy.shape
        r0, r1 = max(row, 0), min(row + side, rows)
        c0, c1 = max(col, 0), min(col + side, cols)
        if r0 < r1 and c0 < c1:
            out[r0 - row : r1 - row, c0 - col : c1 - col] = self.occupancy[r0:r1, c0:c1]
        x = self.origin_xy[0] + col * self.resolution_m
        y = self.origin_xy[1] + row * self.resolution_m
        return FloorPlan(out, self.resolution_m, (float(x), float(y)))

    def picture(self) -> NDArray[np.uint8]:
        """(rows, cols) uint8 with y up, in map_server's grey levels: free 254, occupied 0, unknown 205."""
        grey = np.full(self.occupancy.shape, 205, dtype=np.uint8)
        grey[self.occupancy == FREE] = 254
        grey[self.occupancy == OCCUPIED] = 0
        return np.ascontiguousarray(grey[::-1])
