"""The metric picture of a floor plan around a place that the 2D encoder sees."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.encoders.errors import EncoderError
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan

_DISTANCE_SCALE_M = 2.0


def plan_patch(
    plan: FloorPlan, polygon: NDArray[np.float64], heading_rad: float, side_m: float, pixels: int
) -> NDArray[np.uint8]:
    """Square around a place, always ``side_m`` wide, so that a pixel is the same length for every place.

    Args:
        plan: the level's plan.
        polygon: (N, 2) outline of the place in the map frame, metres.
        heading_rad: direction in the map that points right in the picture.
        side_m: side of the square.
        pixels: side of the picture.

    Returns:
        (pixels, pixels, 3) uint8, y up: occupancy (occupied 0, unknown 128, free 255); distance to the nearest drawn
        wall (2 m or more is 255); the place itself (inside 255, outside 64, walls 0).

    Raises:
        EncoderError: an outline that is none, or nothing drawn around it.
    """
    outline = np.asarray(polygon, dtype=np.float64)
    if outline.ndim != 2 or outline.shape[1] != 2 or len(outline) < 3 or not np.isfinite(outline).all():
        raise EncoderError(f"polygon: expected at least 3 finite corners (N, 2), got {outline.shape}")
    center = (outline.min(axis=0) + outline.max(axis=0)) / 2.0
    scale = side_m / pixels
    steps = (np.arange(pixels) + 0.5 - pixels / 2.0) * scale
    right, up = np.meshgrid(steps, steps[::-1])
    cos, sin = np.cos(heading_rad), np.sin(heading_rad)
    position = np.stack([center[0] + cos * right - sin * up, center[1] + sin * right + cos * up], axis=-1)
    occupancy = plan.value(position)
    if (occupancy == UNKNOWN).all():
        raise EncoderError(f"floor plan: nothing drawn within {side_m / 2:.1f} m of {center.round(2).tolist()}")
    wall = occupancy == OCCUPIED
    picture = np.zeros((pixels, pixels, 3), dtype=np.uint8)
    picture[..., 0] = np.where(wall, 0, np.where(occupancy == FREE, 255, 128))
    picture[..., 1] = 255
    if wall.any():
        distance = cv2.distanceTransform((~wall).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * scale
        picture[..., 1] = np.clip(distance / _DISTANCE_SCALE_M * 255.0, 0, 255).astype(np.uint8)
    turned = (outline - center) @ np.array([[cos, -sin], [sin, cos]])
    corners = np.stack([turned[:, 0] / scale + pixels / 2.0, pixels / 2.0 - turned[:, 1] / scale], axis=1)
    inside = np.zeros((pixels, pixels), dtype=np.uint8)
    cv2.fillPoly(inside, [np.round(corners).astype(np.int32)], 1)
    picture[..., 2] = np.where(wall, 0, np.where(inside > 0, 255, 64))
    return picture


def plan_patches(
    plan: FloorPlan, polygon: NDArray[np.float64], headings_rad: NDArray[np.float64], side_m: float, pixels: int
) -> list[NDArray[np.uint8]]:
    """One :func:`plan_patch` a heading."""
    return [plan_patch(plan, polygon, float(heading), side_m, pixels) for heading in headings_rad]
