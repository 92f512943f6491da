"""The rays of a slice turned to every heading, in pieces: one look-up tells whether a piece is blocked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from crossover_models.registration.grid import DIRECTIONS, PIECE_CELLS
from crossover_models.registration.returns import RAY_END_MARGIN_M, Returns


@dataclass(frozen=True)
class RayTable:
    """Rays of like length.

    Attributes:
        offsets: (A, W * R) int32, for each heading, piece by piece along the rays: first cell of a ray's piece, as
            offset in a raster of some stride.
        direction: (A, R) int64: the one bit of the ray's direction.
        rays: R.
    """

    offsets: torch.Tensor
    direction: torch.Tensor
    rays: int


def ray_table(
    rays: Returns,
    headings: NDArray[np.float64],
    step_m: float,
    radius_cells: int,
    stride: int,
    device: torch.device,
) -> RayTable:
    """Cut rays into pieces, from the sensor to just before the end; the last piece overlaps the one before it.

    A ray shorter than one piece crosses nothing.
    """
    span = rays.points - rays.origins
    length = np.maximum(np.hypot(span[:, 0], span[:, 1]), 1e-9)
    last = (length - RAY_END_MARGIN_M) / step_m - (PIECE_CELLS - 1)
    count = max(1, int(np.ceil(float(last.max(initial=0.0)) / PIECE_CELLS)) + 1)
    steps = np.clip(np.arange(count) * PIECE_CELLS, 0.0, np.maximum(last, 0.0)[:, None])
    starts = rays.origins[:, None] + (steps * step_m / length[:, None])[..., None] * span[:, None]
    cells = turned(starts.transpose(1, 0, 2).reshape(-1, 2), headings, step_m, radius_cells)
    bearing = np.arctan2(span[:, 1], span[:, 0]) + headings[:, None]
    nearest = np.rint(bearing / (2.0 * np.pi) * DIRECTIONS).astype(np.int64) % DIRECTIONS
    direction = np.where(last >= 0.0, np.uint64(1) << nearest.astype(np.uint64), np.uint64(0)).view(np.int64)
    offsets = cells[..., 1] * np.int32(stride) + cells[..., 0]
    return RayTable(torch.from_numpy(offsets).to(device), torch.from_numpy(direction).to(device), len(rays))


def turned(
    points: NDArray[np.float64], headings: NDArray[np.float64], step_m: float, radius_cells: int
) -> NDArray[np.int32]:
    """(A, P, 2) points (P, 2) turned to every heading (A,), in whole cells (x, y)."""
    cos, sin = np.cos(headings)[:, None], np.sin(headings)[:, None]
    x = cos * points[:, 0] - sin * points[:, 1]
    y = sin * points[:, 0] + cos * points[:, 1]
    cells = np.rint(np.stack([x, y], axis=-1) / step_m).astype(np.int32)
    return np.clip(cells, -radius_cells, radius_cells)
