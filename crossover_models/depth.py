"""Depth images as sweeps: the rays of a camera that knows distances go the way of a lidar's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossover_models.observation import ObservationError


def sample_pixels(size_px: tuple[int, int], spacing_px: int) -> NDArray[np.float64]:
    """(N, 2) centers (u, v) of every ``spacing_px``-th pixel of a (width, height) picture, row after row.

    Raises:
        ObservationError: ``spacing_px`` is less than 1.
    """
    if spacing_px < 1:
        raise ObservationError(f"spacing_px: must be at least 1, got {spacing_px}")
    u, v = np.meshgrid(np.arange(0, size_px[0], spacing_px), np.arange(0, size_px[1], spacing_px))
    return np.stack([u.ravel(), v.ravel()], axis=1).astype(np.float64)


def pinhole_rays(pixels: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2) x / z and y / z of rays through pixels (N, 2) of a camera without distortion, matrix (3, 3) in pixels."""
    return np.asarray((pixels - matrix[:2, 2]) / [matrix[0, 0], matrix[1, 1]])


def depth_points(
    depth_m: NDArray[np.floating], pixels: NDArray[np.float64], rays: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Points (M, 3) float32 in the optical frame (z forward, x right, y down; REP-103), metres.

    Args:
        depth_m: (H, W) along the optical axis (REP-118); 0, NaN and infinity are no measurement and are left out.
        pixels: (N, 2) integer (u, v).
        rays: (N, 2) x / z and y / z through them.

    Raises:
        ObservationError: ``depth_m`` is no picture, or a pixel lies outside of it.
    """
    if depth_m.ndim != 2:
        raise ObservationError(f"depth: expected (H, W), got {depth_m.shape}")
    column, row = pixels.astype(np.int64).T
    height, width = depth_m.shape
    if len(pixels) and (column.max() >= width or row.max() >= height or min(column.min(), row.min()) < 0):
        raise ObservationError(f"pixels: outside of a picture of {width} x {height}")
    depth = np.asarray(depth_m[row, column], dtype=np.float64)
    seen = np.isfinite(depth) & (depth > 0.0)
    directions = np.concatenate([rays[seen], np.ones((int(seen.sum()), 1))], axis=1)
    return np.asarray(directions * depth[seen, None], dtype=np.float32)
