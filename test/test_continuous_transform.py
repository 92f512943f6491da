"""map->odom without jumps, whatever corrections come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossover_models.continuous_transform import LEAP_M, SETTLING_S, ContinuousTransform
from crossover_models.estimate import LevelKey
from crossover_models.geometry import compose_se2, inverse_se2, relative_se2

L1, L2 = LevelKey("house", "L1"), LevelKey("house", "L2")
S = 1_000_000_000
HERE = np.array([4.0, -3.0, 0.8])
ORIGIN = np.zeros(3)


def settled(T_map_odom: Any, at: Any = HERE) -> ContinuousTransform:
    out = ContinuousTransform()
    assert out.believe(L1, np.asarray(T_map_odom), at) == ""
    np.testing.assert_allclose(out.at(S, at), T_map_odom)
    return out


def moved(before: Any, after: Any, at: Any) -> tuple[float, float]:
    """Metres and degrees that the robot's pose in the map moves when map->odom changes under it."""
    step = relative_se2(compose_se2(before, at), compose_se2(after, at))
    return float(np.hypot(step[0], step[1])), abs(float(np.degrees(step[2])))


finite = st.floats(-1.0, 1.0)
events = st.tuples(
    st.sampled_from(["correct", "correct", "correct", "leap", "level", "lose", "wait", "backwards"]),
    st.tuples(finite, finite, finite),
    st.floats(0.0, 2.0),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(events, min_size=1, max_size=60), st.floats(0.005, 1.5), st.tuples(finite, finite, finite))
def test_no_jump_whatever_is_believed_unless_it_was_told_lost(
    happenings: list[Any], period_s: float, speed: tuple[float, float, float]
) -> None:
    """Random corrections at random rates, of a robot that drives: the promise of issue and documentation."""
    transform, now_s, level = ContinuousTransform(), 10.0, L1
    believed, base = np.array([2.0, 1.0, 0.5]), np.array([5.0, 5.0, 0.0])
    assert transform.believe(level, believed, base) == ""
    before: Any = None
    for kind, numbers, scale in happenings:
        size = np.array(numbers) * scale
        if kind == "lose":
            transform.withdraw()
        elif kind == "level":
            level = L2 if level == L1 else L1
        elif kind == "leap":
            believed = compose_se2(believed, size * 20.0)
        elif kind == "correct":  # Around the robot, as fixes are.
            believed = compose_se2(compose_se2(compose_se2(believed, base), size * 0.3), inverse_se2(base))
        elif kind == "backwards":
            now_s -= 5.0
        lost = kind == "lose" or bool(transform.believe(level, believed, base))
        if lost:
            before = None
            assert transform.at(round(now_s * S), base) is None, "silent until it is believed again"
            continue
        for _ in range(4):
            now_s += period_s
            base = compose_se2(base, np.array(speed) * min(period_s, 0.05))
            after = transform.at(round(now_s * S), base)
            assert after is not None
            if before is not None:
                far_m, turn_deg = moved(before, after, base)
                assert far_m <= 0.05 and turn_deg <= 1.0
                if np.hypot(base[0], base[1]) < 20.0:
                    assert np.hypot(*(after - before)[:2]) <= 0.05, "nor does the frame itself"
            before = after


@pytest.mark.parametrize("correction", [[0.05, -0.02, 0.01], [0.6, 0.5, -0.2]])
def test_what_is_believed_is_reached_and_then_held(correction: list[float]) -> None:
    transform = settled([2.0, 1.0, 0.5])
    target = compose_se2(compose_se2(compose_se2([2.0, 1.0, 0.5], HERE), correction), inverse_se2(HERE))
    assert transform.believe(L1, target, HERE) == ""
    start = transform.lag(HERE)
    assert start == pytest.approx((np.hypot(*correction[:2]), abs(correction[2])))
    lags = []
    for k in range(1, 200):
        transform.at(S + round(k * 0.05 * S), HERE)
        lags.append(transform.lag(HERE))
    assert (np.diff(np.array(lags), axis=0) < 1e-9).all(), "no overshoot"
    assert lags[-1] == pytest.approx((0.0, 0.0), abs=1e-4)
    assert transform.at(60 * S, HERE) == pytest.approx(target, abs=1e-4)


def test_a_small_correction_is_there_within_a_second() -> None:
    transform = settled(ORIGIN)
    transform.believe(L1, np.array([0.04, 0.0, 0.0]), ORIGIN)
    for k in range(1, 21):
        transform.at(S + k * S // 20, ORIGIN)
    assert transform.lag(ORIGIN)[0] < 0.04 * np.exp(-0.9 / SETTLING_S)


def test_a_turn_about_a_robot_far_from_odoms_origin_does_not_move_the_robot() -> None:
    """30 m from the origin, 2 degrees move map->odom by 1 m and the robot not at all."""
    far = np.array([30.0, 0.0, 0.0])
    transform = settled(ORIGIN, far)
    target = compose_se2(compose_se2(far, [0.0, 0.0, np.radians(2.0)]), inverse_se2(far))
    assert np.hypot(*target[:2]) > 1.0
    assert transform.believe(L1, target, far) == "", "no leap: the robot stays where it is"
    for k in range(1, 100):
        shown = transform.at(S + k * S // 20, far)
        assert shown is not None
        assert np.hypot(*(compose_se2(shown, far) - far)[:2]) < 1e-9
    assert transform.lag(far)[1] < np.radians(0.01)


def test_another_level_or_a_far_pose_is_a_reason_to_say_lost() -> None:
    for level, pose, words in (
        (L2, ORIGIN, "from map_house_L1 to map_house_L2"),
        (L1, np.array([LEAP_M + 0.1, 0.0, 0.0]), "moved by 1.1 m and 0 deg"),
        (L1, np.array([0.0, 0.0, 0.6]), "34 deg"),
    ):
        transform = settled(ORIGIN, ORIGIN)
        assert words in transform.believe(level, pose, ORIGIN)
        assert transform.at(2 * S, ORIGIN) is None and transform.level is None
        assert transform.believe(level, pose, ORIGIN) == "" and transform.level == level
        np.testing.assert_allclose(transform.at(3 * S, ORIGIN), pose)


def test_a_clock_that_stands_or_runs_backwards_moves_nothing() -> None:
    transform = settled(ORIGIN)
    transform.believe(L1, np.array([0.3, 0.0, 0.0]), HERE)
    for stamp_ns in (S, S, S // 2, 0):
        np.testing.assert_allclose(transform.at(stamp_ns, HERE), ORIGIN, atol=1e-12)
    transform.at(S // 10, HERE)
    assert transform.lag(HERE)[0] < 0.3, "and goes on by the new time"
