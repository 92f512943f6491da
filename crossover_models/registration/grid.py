"""A plan resampled for the global search: log-likelihood at the cells of a coarse grid and its maxima over windows."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from crossover_models.config import RegistrationSettings
from crossover_models.floor_plan import FREE, OCCUPIED, FloorPlan
from crossover_models.registration.likelihood_field import LikelihoodField


class SearchGrid:
    """Likelihood-field pyramid of one level.

    All rasters are flat and padded by ``radius_cells`` on every side: no return of an allowed pose falls outside.

    Attributes:
        shape: (rows, cols) without the padding; row 0 is the lowest y.
        step_m: side of a cell, metres.
        stride: cells in a padded row.
        fields: one (cells,) float32 for each height h: the log-likelihood's maximum over the window of 2^h x 2^h cells
            that starts at a cell; h = 0 is the field itself.
        walls: (cells,) uint8, 1 where the cell holds a piece of wall.
        free: (rows, cols) bool: cells where a robot may be: free ones, and blank ones near them.
    """

    def __init__(self, field: LikelihoodField, settings: RegistrationSettings, device: torch.device) -> None:
        plan = field.plan
        self.step_m, self.device, self.height = settings.linear_step_m, device, settings.pyramid_height
        width, depth = plan.size_m
        self.shape = (max(1, int(np.ceil(depth / self.step_m))), max(1, int(np.ceil(width / self.step_m))))
        self._origin = np.asarray(plan.origin_xy, dtype=np.float64)
        self.radius_cells = int(np.ceil(settings.max_radius_m / self.step_m)) + 1
        padded = (self.shape[0] + 2 * self.radius_cells, self.shape[1] + 2 * self.radius_cells)
        self.stride, self.cells = padded[1], padded[0] * padded[1]
        centers = self.position(np.moveaxis(np.indices(padded), 0, -1) - self.radius_cells)
        level = field.log_likelihood(centers).astype(np.float32)
        self.fields = [torch.from_numpy(level.reshape(-1)).to(device)]
        for h in range(self.height):
            level = _grow(level, 1 << h)
            self.fields.append(torch.from_numpy(level.reshape(-1)).to(device))
        walls = np.pad(self._holding(plan, OCCUPIED), self.radius_cells)
        self.walls = torch.from_numpy(walls.astype(np.uint8).reshape(-1)).to(device)
        free = self._holding(plan, FREE)
        reach = cv2.distanceTransform((~free).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * self.step_m
        self.free = free | ((reach <= settings.free_margin_m) & ~self._holding(plan, OCCUPIED))

    def position(self, cells: NDArray[np.int64]) -> NDArray[np.float64]:
        """(..., 2) (row, col) -> (..., 2) map-frame metres of the cells' centres."""
        return (np.asarray(cells, dtype=np.float64)[..., ::-1] + 0.5) * self.step_m + self._origin

    def _holding(self, plan: FloorPlan, value: int) -> NDArray[np.bool_]:
        """(rows, cols) whether a cell holds any of the plan's cells with this value, or lies in one."""
        out = plan.value(self.position(np.moveaxis(np.indices(self.shape), 0, -1))) == value
        cells = np.argwhere(plan.occupancy == value)
        inside = ((cells + 0.5) * plan.resolution_m / self.step_m).astype(np.int64)
        out[np.minimum(inside[:, 0], self.shape[0] - 1), np.minimum(inside[:, 1], self.shape[1] - 1)] = True
        return np.asarray(out)


def _grow(level: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Maximum of each cell and those ``reach`` above, right, and both: doubles the side of the window."""
    out = level.copy()
    np.maximum(out[:-reach], level[reach:], out=out[:-reach])
    across = out.copy()
    np.maximum(out[:, :-reach], across[:, reach:], out=out[:, :-reach])
    return out
