"""Pictures of a floor plan with what is believed on it: for the overlay topic, the live page and the report alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossover_models.estimate import Hypothesis
from crossover_models.floor_plan import OCCUPIED, UNKNOWN, FloorPlan
from crossover_models.geometry import transform_points_se2
from crossover_models.observation import WallSlice
from crossover_models.palette import PLACE_COLORS, STATE_COLORS, rgb

Color = tuple[int, int, int]
WALL, FREE_SPACE, UNMAPPED = (62, 76, 89), (255, 255, 255), (228, 231, 235)
TRUE, WRONG, SEARCHING = (rgb(STATE_COLORS[name]) for name in ("right", "wrong", "searching"))
SEEN = rgb(PLACE_COLORS[2])
ARROW_M = 0.8


@dataclass(frozen=True)
class PlanPicture:
    """A picture (H, W, 3) uint8 RGB, y up, that can be drawn on in metres of the level's map frame.

    Attributes:
        pixels: drawn on in place.
        origin_xy: map-frame position of the lower-left corner, metres.
        px_per_m: scale.
    """

    pixels: NDArray[np.uint8]
    origin_xy: tuple[float, float]
    px_per_m: float

    @classmethod
    def of(cls, plan: FloorPlan, width_px: int = 900) -> PlanPicture:
        """A whole plan, in at least ``width_px`` columns where one cell a pixel gives fewer."""
        scale = max(1, round(width_px / plan.occupancy.shape[1]))
        colors = np.empty((*plan.occupancy.shape, 3), dtype=np.uint8)
        colors[:] = FREE_SPACE
        colors[plan.occupancy == UNKNOWN] = UNMAPPED
        colors[plan.occupancy == OCCUPIED] = WALL
        enlarged = np.repeat(np.repeat(colors[::-1], scale, axis=0), scale, axis=1)
        return cls(np.ascontiguousarray(enlarged), plan.origin_xy, scale / plan.resolution_m)

    def at(self, points_xy: ArrayLike) -> NDArray[np.int32]:
        """(..., 2) map-frame metres -> (..., 2) integer (column, row); may lie outside."""
        p = (np.asarray(points_xy, dtype=np.float64) - self.origin_xy) * self.px_per_m
        pixel = np.stack([p[..., 0], self.pixels.shape[0] - 1 - p[..., 1]], axis=-1)
        return np.asarray(np.clip(pixel, -1e6, 1e6), dtype=np.int32)

    def draw_slice(self, T_map_aligned: ArrayLike, wall_slice: WallSlice, color: Color) -> None:
        """The returns of a wall slice as dots, from a pose (3,)."""
        radius = max(1, round(0.03 * self.px_per_m))
        for column, row in self.at(transform_points_se2(np.asarray(T_map_aligned), wall_slice.points)).tolist():
            cv2.circle(self.pixels, (column, row), radius, color, -1, cv2.LINE_AA)

    def draw_pose(self, T_map_base: ArrayLike, color: Color, weight: float = 1.0) -> None:
        """A pose (3,) as an arrow along its heading, thicker where ``weight`` (0 to 1) is more."""
        x, y, yaw = np.asarray(T_map_base, dtype=np.float64)
        ends = self.at(np.array([[x, y], [x + ARROW_M * np.cos(yaw), y + ARROW_M * np.sin(yaw)]])).tolist()
        thickness = max(1, round(0.08 * self.px_per_m * weight))
        cv2.arrowedLine(self.pixels, ends[0], ends[1], color, thickness, cv2.LINE_AA, tipLength=0.4)
        cv2.circle(self.pixels, ends[0], max(2, round(0.08 * self.px_per_m)), color, -1, cv2.LINE_AA)

    def draw_trail(self, points_xy: ArrayLike, color: Color) -> None:
        """A path of positions (N, 2) as a thin line."""
        pixels = self.at(np.asarray(points_xy, dtype=np.float64).reshape(-1, 2))
        cv2.polylines(self.pixels, [pixels], False, color, max(1, round(0.03 * self.px_per_m)), cv2.LINE_AA)

    def draw_outline(self, polygon: ArrayLike, color: Color) -> None:
        """A place's outline (N, 2)."""
        thickness = max(1, round(0.06 * self.px_per_m))
        cv2.polylines(self.pixels, [self.at(polygon)], True, color, thickness, cv2.LINE_AA)


def draw_overlay(
    plan: FloorPlan,
    hypotheses: Sequence[Hypothesis],
    wall_slice: WallSlice | None,
    width_px: int = 900,
    trail_xy: ArrayLike = (),
    T_map_slice: ArrayLike | None = None,
) -> NDArray[np.uint8]:
    """Picture (H, W, 3) RGB, y up: the plan, the wall slice, and an arrow for each hypothesis.

    ``trail_xy`` (N, 2) are the positions announced so far; ``T_map_slice`` (3,) is where the slice was seen from, the
    first hypothesis if not given.
    """
    picture = PlanPicture.of(plan, width_px)
    picture.draw_trail(trail_xy, TRUE)
    if T_map_slice is None and hypotheses:
        T_map_slice = hypotheses[0].T_map_base
    if T_map_slice is not None and wall_slice is not None:
        picture.draw_slice(T_map_slice, wall_slice, SEEN)
    for k, hypothesis in reversed(list(enumerate(hypotheses))):
        picture.draw_pose(hypothesis.T_map_base, TRUE if k == 0 else SEARCHING, max(0.3, hypothesis.probability))
    return picture.pixels


def plan_patch(plan: FloorPlan, center_xy: ArrayLike, side_m: float, width_px: int = 260) -> PlanPicture:
    """The square of ``side_m`` around a map-frame point, to be drawn on."""
    return PlanPicture.of(plan.crop(center_xy, side_m), width_px)


def cloud_picture(points: NDArray[np.float32], side_m: float, width_px: int = 260) -> NDArray[np.uint8]:
    """(W, W, 3) RGB: points (N, 3) of the aligned frame from above, x up; the robot in the middle.

    Colors are heights from 0.5 m below base_link to 2.5 m above it, dark to light.
    """
    picture = np.full((width_px, width_px, 3), 31, dtype=np.uint8)
    inside = (np.abs(points[:, :2]) < side_m / 2).all(axis=1)
    kept = points[inside][np.argsort(points[inside, 2])]
    if not len(kept):
        return _with_robot(picture)
    column = ((0.5 - kept[:, 1] / side_m) * width_px).astype(np.int32)
    row = ((0.5 - kept[:, 0] / side_m) * width_px).astype(np.int32)
    height = np.clip((kept[:, 2] + 0.5) / 3.0, 0.0, 1.0)
    colors = cv2.applyColorMap((255 * height).astype(np.uint8).reshape(-1, 1), cv2.COLORMAP_VIRIDIS)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):  # A single pixel is hardly seen.
        rows, columns = (np.clip(v, 0, width_px - 1) for v in (row + down, column + right))
        picture[rows, columns] = colors.reshape(-1, 3)[:, ::-1]
    return _with_robot(picture)


def _with_robot(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    middle = picture.shape[0] // 2
    cv2.arrowedLine(picture, (middle, middle), (middle, middle - 18), (255, 255, 255), 2, cv2.LINE_AA, tipLength=0.4)
    return picture
