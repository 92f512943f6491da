"""Pictures of plans: where a metre lands in them, and what is drawn there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import asymmetric_plan, scan

from crossover_models.estimate import Hypothesis, LevelKey
from crossover_models.geometry import transform_points_se2
from crossover_models.plan_picture import (
    FREE_SPACE,
    SEARCHING,
    SEEN,
    TRUE,
    UNMAPPED,
    WALL,
    PlanPicture,
    cloud_picture,
    draw_overlay,
    plan_patch,
)

PLAN = asymmetric_plan()
POSE = np.array([1.5, 5.0, 0.0])


def color_at(picture: PlanPicture, x: float, y: float) -> tuple[int, ...]:
    column, row = picture.at([x, y]).tolist()
    return tuple(int(v) for v in picture.pixels[row, column])


@given(st.floats(-0.9, 14.9), st.floats(-0.9, 10.9))
def test_every_metre_lands_on_the_pixel_of_its_cell(x: float, y: float) -> None:
    expected = {0: FREE_SPACE, 100: WALL, -1: UNMAPPED}[int(PLAN.value([x, y]))]
    picture = PlanPicture.of(PLAN, 900)
    neighbors = {color_at(picture, x + dx, y + dy) for dx in (-0.02, 0.0, 0.02) for dy in (-0.02, 0.0, 0.02)}
    assert expected in neighbors


def test_up_is_north_and_the_arrow_points_along_its_heading() -> None:
    picture = PlanPicture.of(PLAN, 900)
    assert picture.at([2.0, 8.0])[1] < picture.at([2.0, 1.0])[1]
    picture.draw_pose([7.0, 5.0, np.pi / 2], TRUE)
    assert color_at(picture, 7.0, 5.4) == TRUE
    assert color_at(picture, 7.0, 4.5) == color_at(picture, 7.5, 5.0) == FREE_SPACE


def test_walls_seen_from_the_true_pose_lie_on_the_walls() -> None:
    seen = scan(PLAN, POSE, seed=0)
    picture = PlanPicture.of(PLAN, 900)
    before = picture.pixels.copy()
    picture.draw_slice(POSE, seen, SEEN)
    changed = (picture.pixels != before).any(axis=2)
    assert changed.sum() > 200
    assert PLAN.distance_m[tuple(PLAN.cell(transform_points_se2(POSE, seen.points)).T)].mean() < 0.1
    for x, y in transform_points_se2(POSE, seen.points)[::20]:
        assert color_at(picture, float(x), float(y)) == SEEN


def test_the_overlay_holds_every_hypothesis_and_a_plan_without_any_is_a_plan() -> None:
    level = LevelKey("house", "L1")
    far = np.array([12.5, 8.0, 0.0])
    hypotheses = [Hypothesis(level, POSE, np.eye(3), 0.8), Hypothesis(level, far, np.eye(3), 0.1)]
    drawn = draw_overlay(PLAN, hypotheses, scan(PLAN, POSE, seed=0))
    colors = {tuple(int(v) for v in color) for color in np.unique(drawn.reshape(-1, 3), axis=0)}
    assert {TRUE, SEARCHING, SEEN} <= colors
    np.testing.assert_array_equal(draw_overlay(PLAN, [], None), PlanPicture.of(PLAN, 900).pixels)


@pytest.mark.parametrize("center", [(7.0, 5.0), (0.0, 0.0), (500.0, 500.0)])
def test_a_patch_has_its_center_in_its_middle_also_where_the_plan_ends(center: tuple[float, float]) -> None:
    patch = plan_patch(PLAN, center, 12.0)
    height, width, _ = patch.pixels.shape
    assert height == width >= 240
    np.testing.assert_allclose(patch.at(center), [width / 2, height / 2], atol=2 * patch.px_per_m * PLAN.resolution_m)


def test_a_cloud_from_above_has_ahead_up_and_left_left() -> None:
    ahead = cloud_picture(np.array([[4.0, 0.0, 1.0]], dtype=np.float32), 12.0)
    left = cloud_picture(np.array([[0.0, 4.0, 1.0]], dtype=np.float32), 12.0)
    nothing = cloud_picture(np.zeros((0, 3), dtype=np.float32), 12.0)
    for picture, expected in ((ahead, (43, 130)), (left, (130, 43))):
        rows, columns, _ = np.nonzero(picture != nothing)
        np.testing.assert_allclose([rows.mean(), columns.mean()], expected, atol=2)
