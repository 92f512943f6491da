"""Sweeps become a gravity-aligned local cloud and a wall slice."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from crossover_models.accumulation import CloudAccumulator, first_in_voxel, scan_slice, wall_slice
from crossover_models.config import AccumulationSettings
from crossover_models.geometry import (
    inverse_se3,
    se3_from_se2,
    transform_points_se3,
)
from crossover_models.observation import ObservationError, PointCloudObservation

SETTINGS = AccumulationSettings(voxel_m=0.02, slice_voxel_m=0.02)
T_BASE_SENSOR = se3_from_se2([0.1, 0.0, 0.0], 0.6)


def wall_points() -> NDArray[np.float64]:
    """A wall at x = 5 of the world, from the floor to 2.5 m, and a table top at 0.7 m."""
    y, z = np.meshgrid(np.arange(-2, 2, 0.05), np.arange(0.0, 2.5, 0.05))
    wall = np.stack([np.full(y.size, 5.0), y.ravel(), z.ravel()], axis=1)
    x, y = np.meshgrid(np.arange(2, 3, 0.05), np.arange(0, 1, 0.05))
    return np.concatenate([wall, np.stack([x.ravel(), y.ravel(), np.full(x.size, 0.7)], axis=1)])


def tilt(roll_rad: float, pitch_rad: float) -> NDArray[np.float64]:
    cr, sr, cp, sp = np.cos(roll_rad), np.sin(roll_rad), np.cos(pitch_rad), np.sin(pitch_rad)
    T = np.eye(4)
    T[:3, :3] = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]]) @ np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return T


def sweep(stamp_s: float, T_odom_base: NDArray[np.float64]) -> PointCloudObservation:
    T_sensor_odom = inverse_se3(T_odom_base @ T_BASE_SENSOR)
    points = transform_points_se3(T_sensor_odom, wall_points()).astype(np.float32)
    return PointCloudObservation(round(stamp_s * 1e9), points, T_BASE_SENSOR, T_odom_base)


def test_slice_of_a_tilted_robot_is_the_wall_and_not_the_table() -> None:
    accumulator = CloudAccumulator(SETTINGS)
    for k in range(5):
        T_odom_base = se3_from_se2([0.2 * k, 0.1 * k, 0.2 * k]) @ tilt(0.05, -0.08)
        assert accumulator.add(sweep(0.2 * k, T_odom_base))
    cloud = accumulator.local_cloud()
    assert cloud is not None and cloud.scans == 5
    walls = wall_slice(cloud, SETTINGS)
    T_odom_aligned = se3_from_se2(walls.T_odom_aligned)
    in_odom = transform_points_se3(T_odom_aligned, np.c_[walls.points, np.zeros(len(walls.points))])
    assert in_odom[:, 0] == pytest.approx(np.full(len(in_odom), 5.0), abs=0.03)
    assert np.ptp(in_odom[:, 1]) > 3.8
    first = transform_points_se3(T_odom_aligned, np.r_[walls.origins[0], 0.0][None])[0]
    expected = (se3_from_se2([0, 0, 0]) @ tilt(0.05, -0.08) @ T_BASE_SENSOR)[:3, 3]
    assert first[:2] == pytest.approx(expected[:2], abs=1e-5)


def test_a_standing_robot_adds_no_views_but_its_newest_sweep_counts() -> None:
    accumulator = CloudAccumulator(SETTINGS)
    assert accumulator.add(sweep(0.0, np.eye(4)))
    assert not accumulator.add(sweep(0.1, np.eye(4)))
    cloud = accumulator.local_cloud()
    assert cloud is not None and cloud.stamp_ns == 100_000_000


def test_old_sweeps_are_forgotten_by_travel() -> None:
    accumulator = CloudAccumulator(AccumulationSettings(window_m=1.0))
    for k in range(30):
        accumulator.add(sweep(0.2 * k, se3_from_se2([0.15 * k, 0, 0])))
    cloud = accumulator.local_cloud()
    assert cloud is not None
    assert 6 <= cloud.scans <= 8


@pytest.mark.parametrize("stamp_s", [-1.0, 0.2])
def test_a_clock_that_runs_backwards_or_odometry_that_leaps_starts_a_new_cloud(stamp_s: float) -> None:
    accumulator = CloudAccumulator(SETTINGS)
    accumulator.add(sweep(0.0, np.eye(4)))
    leap = se3_from_se2([30.0 if stamp_s > 0 else 0.0, 0, 0])
    assert accumulator.add(sweep(stamp_s, leap))
    cloud = accumulator.local_cloud()
    assert cloud is not None and cloud.scans == 1


def room_sweep(stamp_s: float, T_odom_base: NDArray[np.float64], half_m: tuple[float, float]) -> PointCloudObservation:
    """From within four walls around odom's origin, whatever odometry says of the way there."""
    t, z = np.meshgrid(np.arange(-1, 1, 0.01), np.arange(0.0, 2.5, 0.1))
    (hx, hy), t, z = half_m, t.ravel(), z.ravel()
    side = np.ones_like(t)
    walls = [(hx * side, hy * t), (-hx * side, hy * t), (hx * t, hy * side), (hx * t, -hy * side)]
    points = np.concatenate([np.stack([x, y, z], axis=1) for x, y in walls])
    T_sensor_odom = inverse_se3(T_odom_base @ T_BASE_SENSOR)
    points = transform_points_se3(T_sensor_odom, points).astype(np.float32)
    return PointCloudObservation(round(stamp_s * 1e9), points, T_BASE_SENSOR, T_odom_base)


def drive_then_see_other_walls(settings: AccumulationSettings, last_x_m: float = 0.52) -> int:
    """Sweeps in the cloud after five from one room and one from a larger one."""
    accumulator = CloudAccumulator(settings)
    for k in range(5):
        accumulator.add(room_sweep(0.1 * k, se3_from_se2([0.12 * k, 0.0, 0.05 * k]), (2.0, 3.0)))
    accumulator.add(room_sweep(0.6, se3_from_se2([last_x_m, 0.0, 0.2]), (3.5, 4.0)))
    cloud = accumulator.local_cloud()
    assert cloud is not None
    return cloud.scans


def test_a_sweep_of_other_surroundings_starts_a_new_cloud() -> None:
    assert drive_then_see_other_walls(SETTINGS) == 1


def test_surroundings_are_not_compared_over_a_long_way_or_when_told_not_to() -> None:
    assert drive_then_see_other_walls(SETTINGS, last_x_m=0.9) == 6
    assert drive_then_see_other_walls(AccumulationSettings(continuity_share=0.0)) == 6


def test_driving_and_turning_within_the_same_walls_goes_on_with_the_cloud() -> None:
    accumulator = CloudAccumulator(SETTINGS)
    for k in range(20):
        accumulator.add(room_sweep(0.1 * k, se3_from_se2([0.06 * k, -0.03 * k, 0.15 * k]), (2.0, 3.0)))
    cloud = accumulator.local_cloud()
    assert cloud is not None and cloud.scans > 15


def test_points_that_are_not_finite_are_refused_with_their_number() -> None:
    points = np.ones((10, 3), dtype=np.float32)
    points[3, 1] = np.nan
    with pytest.raises(ObservationError, match="1 of 10 points"):
        PointCloudObservation(0, points, np.eye(4), np.eye(4))


def test_planar_scan_lands_where_the_sensor_points() -> None:
    T_base_sensor = se3_from_se2([0.2, 0.0, np.pi / 2], 0.3)
    T_odom_base = se3_from_se2([3.0, 4.0, np.pi / 2])
    ranges = np.array([2.0, np.inf, np.nan, 0.01, 99.0])
    scan = scan_slice(7, ranges, 0.0, 0.1, 0.05, 30.0, T_base_sensor, T_odom_base)
    assert scan.points == pytest.approx(np.array([[0.2, 2.0]]), abs=1e-6)
    assert scan.origins == pytest.approx(np.array([[0.2, 0.0]]), abs=1e-6)
    assert scan.T_odom_aligned == pytest.approx([3.0, 4.0, np.pi / 2])


def test_scan_without_an_increment_is_refused() -> None:
    with pytest.raises(ObservationError, match="angle_increment"):
        scan_slice(0, np.ones(4), 0.0, 0.0, 0.1, 10.0, np.eye(4), np.eye(4))


@pytest.mark.parametrize("spread_m", [3.0, 300.0, 3e5])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_first_point_of_each_voxel_is_kept(spread_m: float, dimensions: int) -> None:
    """Against a dictionary; spreads so wide that cell and index no longer fit into one number, too."""
    points = np.random.default_rng(0).normal(0.0, spread_m, (4000, dimensions)).astype(np.float32)
    points[3000:] = points[:1000]
    first: dict[tuple[int, ...], int] = {}
    for k, cell in enumerate(np.floor(points / 0.05).astype(np.int64).tolist()):
        first.setdefault(tuple(cell), k)
    assert first_in_voxel(points, 0.05).tolist() == sorted(first.values())
    assert len(first) < len(points)
