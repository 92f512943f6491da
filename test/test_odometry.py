"""A few seconds of odometry by stamp."""

from __future__ import annotations

import numpy as np
import pytest

from crossover_models.odometry import OdometryHistory

S = 1_000_000_000


def driven() -> OdometryHistory:
    history = OdometryHistory(span_s=10.0)
    for k in range(30):
        assert history.add(k * S, np.array([0.5 * k, 0.0, 3.0 if k % 2 else -3.0]))
    return history


def test_between_two_stamps_the_shorter_turn_is_taken() -> None:
    x, y, yaw = driven().at(25 * S + S // 2)
    assert (x, y) == pytest.approx((12.75, 0.0))
    assert abs(yaw) == pytest.approx(np.pi)


def test_beyond_the_ends_the_nearest_pose_answers() -> None:
    history = driven()
    assert history.at(99 * S)[0] == pytest.approx(14.5)
    assert history.at(0)[0] == pytest.approx(9.5), "older than 10 s is forgotten"
    assert OdometryHistory().at(0) is None


def test_repeated_stamps_are_ignored_and_a_clock_that_runs_backwards_starts_anew() -> None:
    history = driven()
    assert not history.add(29 * S, np.array([99.0, 0.0, 0.0]))
    assert history.at(29 * S)[0] == pytest.approx(14.5)
    assert history.add(3 * S, np.array([7.0, 0.0, 0.0]))
    assert history.at(29 * S)[0] == pytest.approx(7.0)


def test_what_was_lost_on_the_way_is_known_at_its_end_on() -> None:
    """20 Hz, 0.8 s of it lost while the robot turned to and fro."""
    history = OdometryHistory()
    for k in [*range(20), *range(36, 60)]:
        history.add(k * S // 20, np.array([0.0, 0.0, np.sin(k / 8.0)]))
    assert history.known_at(19 * S // 20) == 19 * S // 20
    for k in (20, 28, 35):
        assert history.known_at(k * S // 20) == 36 * S // 20
    assert history.known_at(36 * S // 20) == 36 * S // 20
    assert history.known_at(40 * S // 20 + 7) == 40 * S // 20 + 7
    newest_ns = 59 * S // 20
    assert history.known_at(newest_ns + S // 5) == newest_ns + S // 5, "it is on its way"
    assert history.known_at(99 * S) == newest_ns, "where the robot went since nobody knows yet"
    assert history.known_at(-5) == 0 and OdometryHistory().known_at(7) == 7


def test_slow_odometry_has_no_holes() -> None:
    history = driven()
    assert history.known_at(25 * S + S // 2) == 25 * S + S // 2
    assert history.known_at(31 * S) == 31 * S and history.known_at(33 * S) == 29 * S
    alone = OdometryHistory()
    alone.add(S, np.zeros(3))
    assert alone.known_at(S + S // 5) == S + S // 5 and alone.known_at(9 * S) == S
