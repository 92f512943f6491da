"""Registration on planted scenes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from crossover_models.config import RegistrationSettings
from crossover_models.estimate import LevelKey
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan, FloorPlanError
from crossover_models.geometry import wrap_angle
from crossover_models.observation import WallSlice
from crossover_models.registration import InsufficientStructure, PlanMatcher

LEVEL = LevelKey("test", "ground")
RESOLUTION_M = 0.05


def draw(rooms: list[tuple[float, float, float, float]], size_m: tuple[float, float]) -> FloorPlan:
    """Rooms (x0, y0, x1, y1) in metres as free rectangles with 0.1 m walls around, in unknown space."""
    occupancy = np.full((round(size_m[1] / RESOLUTION_M), round(size_m[0] / RESOLUTION_M)), UNKNOWN, dtype=np.int8)
    cells = [[round(v / RESOLUTION_M) for v in room] for room in rooms]
    for x0, y0, x1, y1 in cells:
        occupancy[y0 - 2 : y1 + 2, x0 - 2 : x1 + 2] = OCCUPIED
    for x0, y0, x1, y1 in cells:
        occupancy[y0:y1, x0:x1] = FREE
    return FloorPlan(occupancy, RESOLUTION_M, (0.0, 0.0))


def scan(
    plan: FloorPlan, pose: NDArray[np.float64], *, fov_rad: float = 2 * np.pi, beams: int = 240, noise_m: float = 0.01
) -> WallSlice:
    """What a planar lidar at a pose sees of a plan, by marching along the rays."""
    bearing = np.linspace(-fov_rad / 2, fov_rad / 2, beams, endpoint=False)
    along = np.arange(0.0, 20.0, 0.01)
    heading = bearing + pose[2]
    ray = pose[:2] + along[None, :, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)[:, None]
    wall = plan.value(ray) == OCCUPIED
    seen = wall.any(axis=1)
    ranges = along[np.argmax(wall, axis=1)] + np.random.default_rng(3).normal(0.0, noise_m, beams)
    points = (ranges[:, None] * np.stack([np.cos(bearing), np.sin(bearing)], axis=-1))[seen]
    return WallSlice(
        stamp_ns=0,
        points=points.astype(np.float32),
        origins=np.zeros((1, 2), dtype=np.float32),
        origin_index=np.zeros(len(points), dtype=np.int32),
        T_odom_aligned=np.zeros(3),
    )


def matcher(plan: FloorPlan, **changes: float) -> PlanMatcher:
    return PlanMatcher({LEVEL: plan}, RegistrationSettings(**changes))


def error(pose: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[float, float]:
    return float(np.hypot(*(pose[:2] - truth[:2]))), float(abs(wrap_angle(pose[2] - truth[2])))


ASYMMETRIC = draw([(1, 1, 7, 5), (7.2, 1, 9, 3.5), (6.9, 2, 7.3, 3), (2, 4.9, 3, 6.5)], (11, 8))
RECTANGLE = draw([(1, 1, 7, 5)], (8, 6))
CORRIDOR = draw([(0.5, 1, 29.5, 3)], (30, 4))
TRUTH = np.array([4.3, 2.9, 0.6])


def test_asymmetric_room_is_recovered_within_centimeters() -> None:
    best = matcher(ASYMMETRIC).register(scan(ASYMMETRIC, TRUTH))[0]
    distance_m, turn_rad = error(best.T_map_aligned, TRUTH)
    assert distance_m < 0.03 and turn_rad < 0.01
    assert best.inlier_fraction > 0.98 and best.free_space_violation == 0.0


def test_symmetric_rectangle_has_two_equal_answers() -> None:
    fits = matcher(RECTANGLE).register(scan(RECTANGLE, TRUTH))
    twin = np.array([8.0 - TRUTH[0], 6.0 - TRUTH[1], TRUTH[2] - np.pi])
    assert len(fits) >= 2 and abs(fits[0].score - fits[1].score) < 0.02
    found = [min(error(fit.T_map_aligned, pose)[0] for fit in fits[:2]) for pose in (TRUTH, twin)]
    assert max(found) < 0.05
    assert abs(abs(wrap_angle(fits[0].T_map_aligned[2] - fits[1].T_map_aligned[2])) - np.pi) < 0.02


def test_a_scan_of_another_building_fits_nowhere() -> None:
    other = draw([(1, 1, 4, 8.5), (3.9, 7, 9, 8.5)], (10, 10))
    own = matcher(ASYMMETRIC).register(scan(ASYMMETRIC, TRUTH))[0]
    fits = matcher(other).register(scan(ASYMMETRIC, TRUTH))
    assert own.score > -0.1 and own.inlier_fraction > 0.98
    assert all(fit.score < -0.5 and fit.inlier_fraction < 0.9 for fit in fits)


@pytest.mark.parametrize("shift", [(3.0, -2.0), (-100.35, 40.15)])
def test_moving_the_plan_moves_the_answer(shift: tuple[float, float]) -> None:
    moved = FloorPlan(ASYMMETRIC.occupancy, ASYMMETRIC.resolution_m, shift)
    seen = scan(ASYMMETRIC, TRUTH)
    here, there = matcher(ASYMMETRIC).register(seen)[0], matcher(moved).register(seen)[0]
    np.testing.assert_allclose(there.T_map_aligned - here.T_map_aligned, [*shift, 0.0], atol=0.005)
    np.testing.assert_allclose(there.score, here.score, atol=0.01)


def test_turning_the_slice_turns_the_answer_back() -> None:
    tested, seen = matcher(ASYMMETRIC), scan(ASYMMETRIC, TRUTH)
    turn = 1.234
    cos, sin = np.cos(turn), np.sin(turn)
    turned = (seen.points @ np.array([[cos, sin], [-sin, cos]])).astype(np.float32)
    best = tested.register(WallSlice(0, turned, seen.origins, seen.origin_index, np.zeros(3)))[0]
    distance_m, turn_rad = error(best.T_map_aligned, np.array([TRUTH[0], TRUTH[1], TRUTH[2] - turn]))
    assert distance_m < 0.03 and turn_rad < 0.01


def test_covariance_is_long_along_a_corridor_and_never_absurd() -> None:
    truth = np.array([15.0, 2.1, 0.05])
    seen = scan(CORRIDOR, truth)
    near = np.hypot(seen.points[:, 0], seen.points[:, 1]) < 6.0
    walls_only = WallSlice(0, seen.points[near], seen.origins, seen.origin_index[near], np.zeros(3))
    bare = matcher(CORRIDOR).refine(walls_only, LEVEL, truth)
    sigma = np.sqrt(np.diag(bare.covariance))
    assert sigma[0] > 10 * sigma[1] and 0.5 < sigma[0] < 5.0
    room = matcher(ASYMMETRIC).refine(scan(ASYMMETRIC, TRUTH), LEVEL, TRUTH)
    for fit in (bare, room):
        assert (np.linalg.eigvalsh(fit.covariance) > 0).all()
        np.testing.assert_array_equal(fit.covariance, fit.covariance.T)
    assert 0.02 <= np.sqrt(room.covariance[0, 0]) < 0.15


def test_more_beams_do_not_make_certainty_out_of_nothing() -> None:
    few, many = (
        matcher(ASYMMETRIC, max_points=points).refine(scan(ASYMMETRIC, TRUTH, beams=720), LEVEL, TRUTH)
        for points in (60, 360)
    )
    assert np.sqrt(few.covariance[0, 0] / many.covariance[0, 0]) < 1.3


@pytest.mark.parametrize("seed", range(3))
def test_refine_climbs_from_a_predicted_pose(seed: int) -> None:
    start = TRUTH + np.random.default_rng(seed).uniform(-1, 1, 3) * [0.25, 0.25, 0.12]
    fit = matcher(ASYMMETRIC).refine(scan(ASYMMETRIC, TRUTH), LEVEL, start)
    distance_m, turn_rad = error(fit.T_map_aligned, TRUTH)
    assert distance_m < 0.03 and turn_rad < 0.01


def test_evaluate_agrees_with_the_fits_and_sees_walls_crossed() -> None:
    tested, seen = matcher(ASYMMETRIC), scan(ASYMMETRIC, TRUTH)
    best = tested.register(seen)[0]
    outside = np.array([8.2, 2.0, 0.6])
    scores, inliers, violations = tested.evaluate(seen, LEVEL, np.stack([best.T_map_aligned, outside]))
    np.testing.assert_allclose([scores[0], inliers[0]], [best.score, best.inlier_fraction])
    assert violations[0] == 0.0 and violations[1] > 0.3 and scores[1] < scores[0] - 0.5


def test_rays_start_where_each_sweep_was_taken() -> None:
    # Two sweeps on either side of a wall: seen from one place, half of the rays would cross it.
    plan = draw([(1, 1, 4, 4), (4.2, 1, 8, 5)], (9, 6))
    poses = [np.array([3.0, 2.5, 0.0]), np.array([5.5, 2.5, 0.0])]
    sweeps = [scan(plan, pose) for pose in poses]
    points = np.concatenate([sweeps[0].points, sweeps[1].points + np.float32([2.5, 0.0])])
    origins = np.array([[0.0, 0.0], [2.5, 0.0]], dtype=np.float32)
    index = np.repeat(np.arange(2, dtype=np.int32), [len(sweep.points) for sweep in sweeps])
    both = WallSlice(0, points, origins, index, np.zeros(3), scans=2)
    tested = matcher(plan)
    assert tested.evaluate(both, LEVEL, poses[0][None])[2][0] < 0.02
    one = WallSlice(0, points, origins[:1], np.zeros_like(index), np.zeros(3))
    assert tested.evaluate(one, LEVEL, poses[0][None])[2][0] > 0.2
    assert error(tested.register(both)[0].T_map_aligned, poses[0])[0] < 0.05


def test_levels_and_regions_restrict_the_search() -> None:
    upper = LevelKey("test", "upper")
    tested = PlanMatcher({LEVEL: ASYMMETRIC, upper: RECTANGLE}, RegistrationSettings())
    seen = scan(ASYMMETRIC, TRUTH)
    assert tested.register(seen)[0].level == LEVEL
    assert {fit.level for fit in tested.register(seen, levels=[upper])} <= {upper}
    truth = np.array([2.5, 2.2, 0.6])
    twin = np.array([8.0 - truth[0], 6.0 - truth[1], truth[2] - np.pi])
    there = tested.register(scan(RECTANGLE, truth), levels=[upper], regions=[(upper, twin[:2], 0.5)])
    assert len(there) == 1 and error(there[0].T_map_aligned, twin)[0] < 0.05
    assert tested.register(seen, regions=[(LEVEL, (-50.0, 0.0), 1.0)]) == ()


def test_a_plan_that_cannot_be_matched_does_not_stop_the_others() -> None:
    blank = LevelKey("test", "blank")
    tested = PlanMatcher(
        {blank: FloorPlan(np.zeros((20, 20), dtype=np.int8), 0.05, (0.0, 0.0)), LEVEL: ASYMMETRIC},
        RegistrationSettings(),
    )
    assert list(tested.unusable) == [blank]
    assert tested.register(scan(ASYMMETRIC, TRUTH))[0].level == LEVEL
    with pytest.raises(FloorPlanError, match="test/blank: occupancy: no occupied cell"):
        tested.refine(scan(ASYMMETRIC, TRUTH), blank, TRUTH)
    with pytest.raises(FloorPlanError, match="test/attic: no plan"):
        tested.evaluate(scan(ASYMMETRIC, TRUTH), LevelKey("test", "attic"), TRUTH[None])


def test_returns_that_are_not_finite_are_left_out() -> None:
    seen = scan(ASYMMETRIC, TRUTH)
    points = seen.points.copy()
    points[::7] = np.nan
    points[3::50, 1] = np.inf
    best = matcher(ASYMMETRIC).register(WallSlice(0, points, seen.origins, seen.origin_index, np.zeros(3)))[0]
    assert error(best.T_map_aligned, TRUTH)[0] < 0.03
    with pytest.raises(ValueError, match="T_map_aligned"):
        matcher(ASYMMETRIC).refine(seen, LEVEL, [np.nan, 0.0, 0.0])
    with pytest.raises(InsufficientStructure, match="0 usable returns of 240"):
        matcher(ASYMMETRIC).register(
            WallSlice(0, np.full_like(seen.points, np.nan), seen.origins, seen.origin_index, np.zeros(3))
        )


def test_bad_plans_and_slices_are_named() -> None:
    seen = scan(ASYMMETRIC, TRUTH)
    for value, word in ((FREE, "no occupied cell"), (OCCUPIED, "no free cell"), (UNKNOWN, "no occupied cell")):
        blank = matcher(FloorPlan(np.full((40, 40), value, dtype=np.int8), 0.05, (0.0, 0.0)))
        with pytest.raises(FloorPlanError, match=word):
            blank.register(seen)
    one = WallSlice(0, seen.points[:1], seen.origins, seen.origin_index[:1], np.zeros(3))
    with pytest.raises(InsufficientStructure, match=r"1 usable returns of 1, at least 30"):
        matcher(ASYMMETRIC).register(one)


def test_aligning_several_poses_at_once_equals_one_by_one() -> None:
    tested, seen = matcher(ASYMMETRIC), scan(ASYMMETRIC, TRUTH)
    starts = TRUTH + np.array([[0.1, 0.0, 0.02], [-0.2, 0.1, -0.05], [3.0, 1.0, 2.0]])
    for together, start in zip(tested.refine_all(seen, LEVEL, starts), starts, strict=True):
        alone = tested.refine(seen, LEVEL, start)
        assert together.T_map_aligned == pytest.approx(alone.T_map_aligned, abs=1e-9)
        assert together.score == pytest.approx(alone.score)
