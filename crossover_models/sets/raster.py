"""Metric rasters from above, turned with the walls: the common ground of clouds, CAD models and floor plans."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from crossover_models.encoders.alignment import wall_heading
from crossover_models.floor_plan import OCCUPIED, FloorPlan

CELLS, CELL_M = 64, 0.2
"""A raster covers 12.8 x 12.8 m."""
BANDS_M = (-0.3, 0.15, 1.0, 1.9, 2.5)
"""Heights between which points are counted: floor, furniture, walls and cabinets, upper walls."""
PLAN_CHANNELS = 2
_FULL = 8.0
"""Points in a cell and band, thinned to 8 cm, from which it counts as full."""
_LEAST_WALLS = 20
_SUBPIXELS = 4

Raster = NDArray[np.uint8]


def points_raster(points: NDArray[np.float32], full: float = _FULL, heading: float | None = None) -> Raster:
    """Gravity-aligned points (N, 3), metres, z = 0 on the floor -> (bands, 64, 64) uint8, empty 0 to full 255.

    Square to the walls up to quarter turns, with the middle of what is there in the middle of the raster; y grows
    with the row.

    Args:
        points: metres.
        full: points in a cell and band from which it counts as full.
        heading: of the walls, radians, where it is known.
    """
    out = np.zeros((len(BANDS_M) - 1, CELLS, CELLS), dtype=np.uint8)
    if not len(points):
        return out
    p = points.astype(np.float64)
    if heading is None:
        heading = upright_heading(points)
    xy = p[:, :2] @ _turn(-heading).T
    low, high = np.quantile(xy, [0.01, 0.99], axis=0)
    half = CELLS * CELL_M / 2
    xy -= (low + high) / 2
    for band, (bottom, top) in enumerate(pairwise(BANDS_M)):
        kept = xy[(p[:, 2] >= bottom) & (p[:, 2] < top)]
        counts = np.histogram2d(kept[:, 1], kept[:, 0], bins=CELLS, range=[[-half, half]] * 2)[0]
        out[band] = np.minimum(255.0, counts * (255.0 / full)).astype(np.uint8)
    return out


def upright_heading(points: NDArray[np.float32]) -> float:
    """Heading of what stands upright in a cloud (N, 3), N >= 1, modulo a quarter turn, radians."""
    upright = points[(points[:, 2] > BANDS_M[1]) & (points[:, 2] < BANDS_M[-1])]
    return wall_heading((upright if len(upright) >= _LEAST_WALLS else points)[:, :2])


def plan_raster(plan: FloorPlan, polygon: NDArray[np.float64]) -> Raster:
    """What is drawn around a place, and the place -> (2, 64, 64) uint8: share of drawn pixels, share inside.

    Args:
        plan: the level's plan.
        polygon: (N, 2) outline of the place, map frame, metres.
    """
    import cv2

    center = (polygon.min(axis=0) + polygon.max(axis=0)) / 2.0
    near = plan.crop(center, CELLS * CELL_M)
    walls = near.position(np.argwhere(near.occupancy == OCCUPIED))
    heading = wall_heading(walls if len(walls) else polygon)
    turned = (polygon - center) @ _turn(-heading).T
    middle = (turned.min(axis=0) + turned.max(axis=0)) / 2.0
    turned -= middle
    fine = CELLS * _SUBPIXELS
    step = CELL_M / _SUBPIXELS
    along = (np.arange(fine) + 0.5) * step - CELLS * CELL_M / 2
    xx, yy = np.meshgrid(along, along)
    at = (np.stack([xx, yy], axis=-1) + middle) @ _turn(heading).T + center
    ink = (plan.value(at) == OCCUPIED).astype(np.float32)
    inside = np.zeros((fine, fine), dtype=np.uint8)
    corners = np.round((turned + CELLS * CELL_M / 2) / step).astype(np.int32)
    cv2.fillPoly(inside, [corners], 1)
    both = np.stack([ink, inside.astype(np.float32)])
    shares = both.reshape(PLAN_CHANNELS, CELLS, _SUBPIXELS, CELLS, _SUBPIXELS).mean(axis=(2, 4))
    # A wall 10 cm thick fills half a cell.
    return np.asarray(np.minimum(255.0, shares * np.array([510.0, 255.0])[:, None, None]), dtype=np.uint8)


def _turn(angle: float) -> NDArray[np.float64]:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])
