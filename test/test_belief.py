"""The belief: mass, motion, correction, births and the null hypothesis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossover_models.belief import NULL_FLOOR, RIVAL_SHARE, Belief, Look
from crossover_models.config import BeliefSettings
from crossover_models.estimate import LevelKey, PoseFit
from crossover_models.geometry import compose_se2, wrap_angle
from crossover_models.likelihood import SHRINKAGE

L1, L2 = LevelKey("b", "L1"), LevelKey("b", "L2")
GOOD, POOR = -0.3, -1.6


def fit(level: LevelKey, x: float, y: float, yaw: float, score: float = GOOD) -> PoseFit:
    return PoseFit(level, np.array([x, y, yaw]), np.diag([0.01, 0.01, 0.001]), score, 0.9, 0.0)


def belief_of(*fits: PoseFit, odom: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Belief:
    belief = Belief(BeliefSettings())
    belief.move(np.array(odom))
    belief.restart(fits, np.array(odom))
    return belief


def mass(belief: Belief) -> float:
    return float(belief.weight.sum()) + belief.null_weight


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(-3, 3), st.floats(-3, 0)), max_size=12),
    st.lists(st.floats(-30, 30), min_size=12, max_size=12),
    st.floats(-30, 30),
)
def test_mass_is_one_after_anything(poses: list[tuple[float, ...]], logs: list[float], null_log: float) -> None:
    belief = belief_of(*(fit(L1, x, y, yaw, score) for x, y, yaw, score in poses))
    assert mass(belief) == pytest.approx(1.0)
    belief.weigh(np.array(logs[: len(belief)]), null_log)
    assert mass(belief) == pytest.approx(1.0)
    assert belief.null_weight >= NULL_FLOOR
    assert (np.diff(belief.weight) <= 1e-12).all()


def test_twins_keep_equal_mass_until_evidence_decides() -> None:
    belief = belief_of(fit(L1, 2, 3, 0), fit(L2, 2, 3, 0))
    assert belief.weight == pytest.approx([0.5, 0.5], abs=0.01)
    belief.weigh(np.array([0.0, -3.0]), -3.0)
    assert belief.weight[0] > 0.9 and belief.levels[0] == L1


def test_odometry_moves_every_hypothesis_by_the_same_step_in_its_own_frame() -> None:
    belief = belief_of(fit(L1, 1, 2, 0.0), fit(L2, -4, 5, np.pi / 2), odom=(7.0, -3.0, 1.0))
    before = {level: belief.poses()[k].copy() for k, level in enumerate(belief.levels)}
    spread = np.trace(belief.covariance[0])
    step = np.array([0.8, 0.1, 0.3])
    belief.move(compose_se2(np.array([7.0, -3.0, 1.0]), step))
    for k, level in enumerate(belief.levels):
        expected = compose_se2(before[level], step)
        assert belief.poses()[k] == pytest.approx(expected, abs=1e-9)
    assert np.trace(belief.covariance[0]) > spread


def test_covariance_of_motion_equals_monte_carlo() -> None:
    s = BeliefSettings(odometry_translation=0.0, odometry_rotation=0.0, odometry_drift_rad=0.0)
    belief = Belief(s)
    belief.move(np.zeros(3))
    P = np.array([[0.02, 0.005, 0.0], [0.005, 0.01, 0.001], [0.0, 0.001, 0.004]])
    belief.restart([PoseFit(L1, np.array([1.0, 2.0, 0.5]), P, GOOD, 0.9, 0.0)], np.zeros(3))
    step = np.array([3.0, 1.0, 0.4])
    belief.move(step)
    rng = np.random.default_rng(0)
    samples = compose_se2(rng.multivariate_normal([1.0, 2.0, 0.5], P, 200_000), step)
    assert belief.covariance[0] == pytest.approx(np.cov(samples.T), abs=2e-3)


@pytest.mark.parametrize("steps", [1, 50])
def test_odometry_noise_does_not_depend_on_the_rate_of_odometry(steps: int) -> None:
    belief = belief_of(fit(L1, 0, 0, 0))
    before = belief.covariance[0, 2, 2]
    for k in range(steps):
        belief.move(np.array([0.0, 0.0, 2.0 * (k + 1) / steps]))
    grown = belief.covariance[0, 2, 2] - before
    assert grown == pytest.approx(2.0 * BeliefSettings().odometry_rotation ** 2)


def test_correction_lies_between_prediction_and_measurement_and_narrows() -> None:
    belief = belief_of(fit(L1, 0, 0, 3.1))
    spread = np.linalg.det(belief.covariance[0])
    belief.correct(0, fit(L1, 0.2, 0.0, -3.1), np.zeros(3))
    x, _, yaw = belief.poses()[0]
    assert 0.0 < x < 0.2
    assert abs(float(wrap_angle(yaw - np.pi))) < 0.05, "the heading is averaged across the wrap, not through zero"
    assert np.linalg.det(belief.covariance[0]) < spread


def test_late_measurement_is_carried_to_the_present_by_odometry() -> None:
    belief = belief_of(fit(L1, 0, 0, 0))
    belief.move(np.array([1.0, 0.0, 0.0]))
    belief.correct(0, fit(L1, 0.0, 0.0, 0.0), np.zeros(3))
    assert belief.poses()[0] == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)


def test_null_wins_where_nothing_fits_and_gives_birth_when_something_does() -> None:
    belief = belief_of(fit(L1, 0, 0, 0, POOR))
    assert belief.null_weight > 0.9
    assert belief.add([fit(L2, 5, 5, 1, GOOD)], np.zeros(3)) == 1
    assert belief.levels[0] == L2 and belief.weight[0] > 0.9


def test_doubt_moves_mass_to_the_null_hypothesis_and_keeps_the_order() -> None:
    belief = belief_of(fit(L1, 2, 3, 0), fit(L2, 2, 3, 0))
    belief.weigh(np.array([0.0, -1.0]), -3.0)
    before, unknown = belief.weight.copy(), belief.null_weight
    belief.doubt(0.8)
    assert belief.weight == pytest.approx(0.2 * before)
    assert belief.null_weight == pytest.approx(0.8 + 0.2 * unknown)
    # A pose that goes on explaining everything is believed again with one look.
    belief.observe(np.array([GOOD, POOR]), 1.0, 1.0)
    assert belief.levels[0] == L1 and belief.weight[0] > 0.9


def test_what_unmapped_furniture_alone_causes_does_not_decide_between_twins() -> None:
    belief = belief_of(fit(L1, 2, 3, 0), fit(L2, 2, 3, 0))
    band = BeliefSettings().score_deadband
    for _ in range(50):
        belief.observe(np.array([GOOD, GOOD - 0.9 * band]), 1.0, 1.0)
    assert belief.weight == pytest.approx([0.5, 0.5], abs=0.01)
    belief.observe(np.array([GOOD, GOOD - band - 1.0]), 1.0, 2)
    assert belief.weight[0] > 0.9 and belief.levels[0] == L1


def test_what_is_seen_from_one_spot_again_and_again_counts_once_between_poses() -> None:
    once, often = (belief_of(fit(L1, 2, 3, 0), fit(L2, 2, 3, 0)) for _ in range(2))
    s = once.settings
    for _ in range(200):
        often.observe(np.array([GOOD, GOOD - 0.3]), 1.0, "here")
    limit = s.evidence_returns * (0.3 - s.score_deadband)
    assert np.log(often.weight[0] / often.weight[1]) == pytest.approx(limit, rel=0.02)
    for spot in range(3):
        once.observe(np.array([GOOD, GOOD - 0.3]), 1.0, spot)
    assert np.log(once.weight[0] / once.weight[1]) == pytest.approx(limit, rel=1e-6), "three thirds"


def test_a_pose_that_explains_what_is_seen_is_never_beyond_recall() -> None:
    belief = belief_of(fit(L1, 2, 3, 0), fit(L2, 2, 3, 0))
    belief.weigh(np.array([0.0, -30.0]), -30.0)
    belief.add([fit(L2, 2, 3, 0)], np.zeros(3))
    for spot in range(30):
        belief.observe(np.array([GOOD, GOOD - 0.1]), 1.0, spot)
    assert belief.weight[1] > 0.9 * RIVAL_SHARE


def test_looks_at_a_place_count_once_and_births_know_the_newest() -> None:
    belief = belief_of(fit(L1, 2, 3, 0), fit(L2, 2, 3, 0))
    for _ in range(100):
        belief.look(["a", "b"], np.array([0.0, -2.0]))
    assert np.log(belief.weight[0] / belief.weight[1]) == pytest.approx(2.0, rel=0.02)
    look = Look(["c"], np.array([-2.0]), nats_of_best=0.0)
    belief.add([fit(L1, 9, 9, 1)], np.zeros(3), [look])
    born = next(k for k in range(len(belief)) if belief.poses()[k, 0] > 8.0)
    assert np.log(belief.weight[0] / belief.weight[born]) >= 2.0 / (1.0 + SHRINKAGE) - 1e-6


def test_a_ride_shares_the_mass_between_floors_and_what_was_seen_before_stays_counted() -> None:
    belief = belief_of(fit(L1, 2, 3, 0), fit(L1, 8, 8, 2))
    belief.weigh(np.array([0.0, -5.0]), -5.0)
    best = float(belief.weight[0])
    there = (L2, np.array([4.0, 3.0, 0.0]))
    assert belief.ride([[there], []]) and not belief.ride([[], [], []])
    shares = {
        (level, round(float(x))): w
        for level, x, w in zip(belief.levels, belief.poses()[:, 0], belief.weight, strict=True)
    }
    assert shares[L1, 2] == pytest.approx(best / 2) and shares[L2, 4] == pytest.approx(best / 2)
    assert mass(belief) == pytest.approx(1.0)


def test_births_take_of_the_null_mass_what_their_fit_earns_and_no_more_than_the_best_tracked() -> None:
    belief = Belief(BeliefSettings())
    belief.move(np.zeros(3))
    assert belief.add([], np.zeros(3)) == 0 and belief.null_weight == 1.0
    s = belief.settings
    assert belief.add([fit(L1, 0, 0, 0, s.null_score)], np.zeros(3)) == 1
    assert belief.weight[0] == pytest.approx(s.birth_share, rel=0.01), "no better than none: its prior"
    assert belief.add([fit(L2, 0, 0, 0, s.null_score - 0.5)], np.zeros(3)) == 1
    odds = np.log(belief.weight[0] / belief.weight[1])
    assert belief.levels[1] == L2 and odds >= s.evidence_returns * (0.5 - s.score_deadband)


def test_births_do_not_double_what_is_tracked() -> None:
    belief = belief_of(fit(L1, 0, 0, 0), odom=(2.0, 0.0, 0.0))
    assert belief.add([fit(L1, 0.1, 0, 0.05)], np.array([2.0, 0.0, 0.0])) == 0
    assert belief.add([fit(L2, 0.1, 0, 0.05)], np.array([2.0, 0.0, 0.0])) == 1
    assert belief.add([fit(L1, 0.1, 0, 1.5)], np.array([2.0, 0.0, 0.0])) == 1


def test_a_late_twin_comes_to_parity_and_not_beyond() -> None:
    belief = belief_of(fit(L1, 0, 0, 0, -0.01))
    belief.add([fit(L2, 0, 0, 0, -0.01)], np.zeros(3))
    shares = {level: belief.weight[k] for k, level in enumerate(belief.levels)}
    assert shares[L2] == pytest.approx(shares[L1], rel=0.01)


def test_a_pose_that_fits_no_more_does_not_hold_births_down() -> None:
    belief = belief_of(fit(L1, 0, 0, 0, -0.01))
    belief.observe(np.array([POOR - 1.0]), 1.0, 1.0)
    belief.add([fit(L2, 0, 0, 0, -0.01)], np.zeros(3))
    assert belief.levels[0] == L2 and belief.weight[0] > 0.9


def test_hypotheses_that_meet_become_one_with_their_joint_mass() -> None:
    belief = belief_of(fit(L1, 0, 0, 0), fit(L1, 3, 0, 0))
    joint = float(belief.weight.sum())
    belief.T_map_odom[1] = belief.T_map_odom[0] + [0.1, 0.0, 0.0]
    belief.settle()
    assert len(belief) == 1 and belief.weight[0] == pytest.approx(joint)


def test_a_level_that_is_ruled_out_gives_its_mass_to_the_null_hypothesis() -> None:
    belief = belief_of(fit(L1, 0, 0, 0), fit(L2, 0, 0, 0))
    null = belief.null_weight
    belief.keep_levels([L1])
    assert belief.levels == [L1]
    assert belief.null_weight == pytest.approx(null + 0.5, abs=0.01)
