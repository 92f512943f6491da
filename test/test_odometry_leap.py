"""Odometry that no robot can have driven is named, and costs the localizer its certainty."""

from __future__ import annotations

import numpy as np
import pytest
from planted import PlantedMap, asymmetric_plan, drive, lidar_embedding, other_plan, scan

from crossover_models.config import LocalizerSettings
from crossover_models.estimate import LevelKey, LocalizationState
from crossover_models.geometry import compose_se2
from crossover_models.localizer import Localizer
from crossover_models.odometry_leap import odometry_leap

S = 1_000_000_000
HERE = np.array([4.0, -3.0, 3.1])


@pytest.mark.parametrize(
    ("passed_s", "step", "text"),
    [
        (0.05, [0.1, 0.0, 0.1], ""),
        (0.05, [0.0, 0.0, 0.5], ""),
        (4.0, [6.0, 0.0, 3.0], ""),
        (0.0, [9.0, 0.0, 0.0], ""),
        (0.05, [0.9, 0.0, 0.0], "leaps by 0.90 m and 0 deg within 0.050 s"),
        (0.05, [0.0, 0.0, 2.0], "leaps by 0.00 m and 115 deg within 0.050 s"),
        (-60.0, [0.1, 0.0, 0.0], ""),
        (-60.0, [3.0, 4.0, 0.0], "leaps by 5.00 m and 0 deg while its stamp runs back by 60.000 s"),
    ],
)
def test_what_can_be_driven_and_what_cannot(passed_s: float, step: list[float], text: str) -> None:
    stamp_ns = 100 * S + round(passed_s * S)
    assert odometry_leap((100 * S, HERE), stamp_ns, compose_se2(HERE, step)) == text
    assert odometry_leap(None, stamp_ns, HERE) == ""


def test_a_leap_is_told_holds_the_poses_and_ends_certainty_until_the_walls_confirm_it() -> None:
    level, plan = LevelKey("house", "L1"), asymmetric_plan()
    localizer = Localizer(PlantedMap({level: plan, LevelKey("house", "L2"): other_plan()}), LocalizerSettings())
    odom_from_map = np.array([3.0, -2.0, 0.7])
    poses = drive(np.array([1.5, 5.0, 0.1]), 14)
    estimate = None
    for k, pose in enumerate(poses[:8], start=1):
        odom = compose_se2(odom_from_map, pose)
        assert localizer.on_odometry(k * S, odom) == ""
        estimate = localizer.on_embedding(lidar_embedding(scan(plan, pose, odom, k * S, seed=k)))
    assert estimate is not None and estimate.state == LocalizationState.LOCALIZED and estimate.best is not None
    before = estimate.best.T_map_base
    odom_from_map = np.array([-40.0, 11.0, -2.0])  # The driver was started anew, say.
    told = localizer.on_odometry(8 * S + S // 20, compose_se2(odom_from_map, poses[7]))
    assert "leaps by" in told
    estimate = localizer.estimate(8 * S + S // 20)
    assert estimate.state == LocalizationState.LOST and estimate.best is not None
    assert estimate.best.probability < 0.5 and estimate.T_map_odom is None, "never a confident pose"
    np.testing.assert_allclose(estimate.best.T_map_base, before, atol=1e-9)
    for k, pose in enumerate(poses[8:], start=9):
        odom = compose_se2(odom_from_map, pose)
        assert localizer.on_odometry(k * S, odom) == ""
        estimate = localizer.on_embedding(lidar_embedding(scan(plan, pose, odom, k * S, seed=k)))
    assert estimate.state == LocalizationState.LOCALIZED and estimate.best is not None
    assert np.hypot(*(estimate.best.T_map_base - poses[-1])[:2]) < 0.15
