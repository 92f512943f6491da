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
