"""A plan resampled for the global search: log-likelihood at the cells of a coarse grid and its maxima over windows."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from crossover_models.config import RegistrationSettings
from crossover_models.floor_plan import FREE, OCCUPIED, FloorPlan
from crossover_models.registration.likelihood_field import LikelihoodField

# Rays are walked in pieces of so many cells, each along the nearest of so many directions: the bits of an int64. A
# piece then ends 3 cm beside the ray at most, a third of a cell.
PIECE_CELLS = 8
DIRECTIONS = 64


class SearchGrid:
    """Likelihood-field pyramid of one level.

    All rasters are padded by ``radius_cells`` on every side: no return of an allowed pose falls outside.

    Attributes:
        shape: (rows, cols) without the padding; row 0 is the lowest y.
        step_m: side of a cell, metres.
        fields: one (rows, cols) float32, padded, for each height h: the log-likelihood's maximum over the window of
            2^h x 2^h cells that starts at a cell; h = 0 is the field itself.
        blocked: one (rows, cols) int64, padded, for each height: bit d is 1 where the piece of a ray that starts in a
            cell in direction d meets a wall, from whichever cell of the window it starts.
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
        centers = self.position(np.moveaxis(np.indices(padded), 0, -1) - self.radius_cells)
        level = field.log_likelihood(centers).astype(np.float32)
        self.fields = [torch.from_numpy(level).to(device)]
        for h in range(self.height):
            level = _grow(level, 1 << h)
            self.fields.append(torch.from_numpy(level).to(device))
        blocked = _pieces_blocked(np.pad(self._holding(plan, OCCUPIED), self.radius_cells))
        self.blocked = [torch.from_numpy(blocked.view(np.int64)).to(device)]
        for h in range(self.height):
            blocked = _shrink(blocked, 1 << h)
            self.blocked.append(torch.from_numpy(blocked.view(np.int64)).to(device))
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


class GridStack:
    """The rasters of several levels below each other in flat buffers, so that one index names a cell of any of them.

    Args:
        grids: all with the same cell size, height and device.

    Attributes:
        stride: cells in a row.
        fields: (cells,) float32 for each height, as in SearchGrid.
        blocked: (cells,) int64 for each height, as in SearchGrid.
    """

    def __init__(self, grids: Sequence[SearchGrid]) -> None:
        self.grids = tuple(grids)
        first = grids[0]
        self.device, self.height, self.step_m = first.device, first.height, first.step_m
        self.radius_cells = first.radius_cells
        self.stride = max(int(grid.fields[0].shape[1]) for grid in grids)
        rows = [int(grid.fields[0].shape[0]) for grid in grids]
        self._base = np.cumsum([0, *rows]) * self.stride
        self.fields = [self._stacked([grid.fields[h] for grid in grids]) for h in range(self.height + 1)]
        self.blocked = [self._stacked([grid.blocked[h] for grid in grids]) for h in range(self.height + 1)]

    def _stacked(self, rasters: Sequence[torch.Tensor]) -> torch.Tensor:
        # What lies beyond a narrower level's padding is never read.
        pads = [(0, self.stride - raster.shape[1]) for raster in rasters]
        wide = [torch.nn.functional.pad(raster, pad) for raster, pad in zip(rasters, pads, strict=True)]
        return torch.cat([raster.reshape(-1) for raster in wide])

    def index(self, grid: int, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where cells of one level lie in the buffers."""
        index = self._base[grid] + (rows + self.radius_cells) * self.stride + cols + self.radius_cells
        return np.asarray(index, dtype=np.int64)

    def cells(self, index: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Inverse of :meth:`index`: which level (N,), and row and column (N, 2) there."""
        grid = np.searchsorted(self._base, index, side="right") - 1
        row, col = np.divmod(index - self._base[grid], self.stride)
        return grid, np.stack([row, col], axis=-1) - self.radius_cells

    def windows(self, masks: Sequence[NDArray[np.bool_]]) -> list[torch.Tensor]:
        """For each height (cells,) bool: windows, by their first cells, that hold a set cell of the levels' masks."""
        out = [np.zeros(int(self._base[-1]), dtype=bool) for _ in range(self.height + 1)]
        for k, mask in enumerate(masks):
            level = mask
            for h in range(self.height + 1):
                rows, cols = np.nonzero(level)
                out[h][self.index(k, rows << h, cols << h)] = True
                last = np.pad(level, [(0, level.shape[0] % 2), (0, level.shape[1] % 2)])
                level = last[0::2, 0::2] | last[1::2, 0::2] | last[0::2, 1::2] | last[1::2, 1::2]
        return [torch.from_numpy(flags).to(self.device) for flags in out]


def direction_cells(direction: int) -> list[tuple[int, int]]:
    """(row, col) steps from a piece's first cell to each of its cells, in one of the DIRECTIONS."""
    angle = direction * 2.0 * np.pi / DIRECTIONS
    return [(round(k * float(np.sin(angle))), round(k * float(np.cos(angle)))) for k in range(PIECE_CELLS)]


def _pieces_blocked(walls: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """(rows, cols) of walls (rows, cols): bit d says whether the piece from a cell in direction d meets a wall."""
    rows, cols = walls.shape
    wide = np.pad(walls, PIECE_CELLS)
    out = np.zeros((rows, cols), dtype=np.uint64)
    for direction in range(DIRECTIONS):
        met = np.zeros((rows, cols), dtype=bool)
        for up, right in direction_cells(direction):
            met |= wide[PIECE_CELLS + up : PIECE_CELLS + up + rows, PIECE_CELLS + right : PIECE_CELLS + right + cols]
        out[met] |= np.uint64(1) << np.uint64(direction)
    return out


def _shrink(bits: NDArray[np.uint64], reach: int) -> NDArray[np.uint64]:
    """Bits that each cell shares with those ``reach`` above, right, and both; beyond the raster there are none."""
    out = bits.copy()
    out[:-reach] &= bits[reach:]
    across = out.copy()
    out[:, :-reach] &= across[:, reach:]
    out[-reach:], out[:, -reach:] = 0, 0
    return out


def _grow(level: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Maximum of each cell and those ``reach`` above, right, and both: doubles the side of the window."""
    out = level.copy()
    np.maximum(out[:-reach], level[reach:], out=out[:-reach])
    across = out.copy()
    np.maximum(out[:, :-reach], across[:, reach:], out=out[:, :-reach])
    return out
