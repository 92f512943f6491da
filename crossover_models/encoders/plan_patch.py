"""The metric picture of a floor plan around a place that the 2D encoder sees."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from crossover_models.encoders.alignment import wall_heading
from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.front_ends import ImageFrontEnd
from crossover_models.encoders.profile import EncoderProfile
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan

_DISTANCE_SCALE_M = 2.0


def plan_patch(
    plan: FloorPlan,
    polygon: NDArray[np.float64],
    heading_rad: float,
    profile: EncoderProfile,
    shift_m: NDArray[np.float64] | None = None,
) -> NDArray[np.uint8]:
    """Square around a place, always ``plan_side_m`` wide, so that a pixel is the same length for every place.

    Args:
        plan: the level's plan.
        polygon: (N, 2) outline of the place in the map frame, metres.
        heading_rad: direction in the map that points right in the picture.
        profile: size of the square in metres and pixels.
        shift_m: (2,) by which the square's center is moved.

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
    center = center if shift_m is None else center + shift_m
    pixels, scale = profile.plan_pixels, profile.plan_side_m / profile.plan_pixels
    steps = (np.arange(pixels) + 0.5 - pixels / 2.0) * scale
    right, up = np.meshgrid(steps, steps[::-1])
    cos, sin = np.cos(heading_rad), np.sin(heading_rad)
    position = np.stack([center[0] + cos * right - sin * up, center[1] + sin * right + cos * up], axis=-1)
    occupancy = plan.value(position)
    if (occupancy == UNKNOWN).all():
        reach_m = profile.plan_side_m / 2
        raise EncoderError(f"floor plan: nothing drawn within {reach_m:.1f} m of {center.round(2).tolist()}")
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


def wall_heading_near(plan: FloorPlan, polygon: NDArray[np.float64], side_m: float) -> float:
    """Heading of the drawn walls around a place, modulo a quarter turn, radians; 0 where none is drawn."""
    center = (polygon.min(axis=0) + polygon.max(axis=0)) / 2.0
    near = plan.crop(center, side_m)
    walls = near.position(np.argwhere(near.occupancy == OCCUPIED))
    return wall_heading(walls) if len(walls) else 0.0


def plan_features(
    front_end: ImageFrontEnd,
    profile: EncoderProfile,
    plan: FloorPlan,
    polygon: NDArray[np.float64],
    jitter: tuple[float, NDArray[np.float64]] | None = None,
) -> Tensor:
    """Frozen features (plan_dim,) of the patch around a place, averaged over evenly spread headings.

    The first heading is that of the walls: nobody knows how a robot's map is turned, so how a plan is must not matter.

    Args:
        front_end: frozen 2D features.
        profile: size of the patch and number of headings.
        plan: the level's plan.
        polygon: (N, 2) outline of the place in the map frame, metres.
        jitter: a further turn, radians, and shift (2,), metres, that training draws.

    Raises:
        EncoderError: see :func:`plan_patch`.
    """
    outline = np.asarray(polygon, dtype=np.float64)
    turn, shift = jitter if jitter is not None else (0.0, np.zeros(2))
    first = turn
    if outline.ndim == 2 and outline.shape[1] == 2 and len(outline) >= 3 and np.isfinite(outline).all():
        first += wall_heading_near(plan, outline, profile.plan_side_m)
    patches = [
        plan_patch(plan, outline, first + k * 2.0 * np.pi / profile.plan_rotations, profile, shift)
        for k in range(profile.plan_rotations)
    ]
    return front_end.plans(patches).mean(dim=0)
