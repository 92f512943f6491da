"""Sweeps accumulated along odometry into a gravity-aligned local cloud, and the wall slice a floor plan would draw."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.config import AccumulationSettings
from crossover_models.continuity import COMPARABLE_M, seen_before
from crossover_models.geometry import (
    inverse_se3,
    relative_se2,
    se2_from_se3,
    se3_from_se2,
    transform_points_se3,
    wrap_angle,
)
from crossover_models.observation import LocalCloud, ObservationError, PointCloudObservation, WallSlice

# Above what an uneven floor, or a robot that pitches, returns.
CLEAR_OF_FLOOR_M = 0.3


@dataclass(frozen=True)
class _Sweep:
    stamp_ns: int
    points_odom: NDArray[np.float32]
    origin_odom: NDArray[np.float32]
    T_odom_base: NDArray[np.float64]
    travel_m: float


class CloudAccumulator:
    """Keeps the sweeps of the last metres and seconds in the odometry frame.

    Odometry drifts, so the window is short: what is wanted is a room's worth of walls, not a map.
    """

    def __init__(self, settings: AccumulationSettings) -> None:
        self.settings = settings
        self._sweeps: deque[_Sweep] = deque()
        self._newest: _Sweep | None = None
        self._travel_m = 0.0

    def clear(self) -> None:
        """Forget everything (after a jump of odometry or of the clock)."""
        self._sweeps.clear()
        self._newest = None
        self._travel_m = 0.0

    def add(self, observation: PointCloudObservation) -> bool:
        """Take a sweep in; returns whether it was *kept* (moved or turned enough since the last one kept).

        The newest sweep always takes part in :meth:`local_cloud`, kept or not. A stamp that runs backwards, odometry
        that leaps by more than 1 m plus 5 m/s, or a sweep that shows other surroundings than the last one (the robot
        was carried elsewhere) starts a new cloud: one that mixes two places fits nowhere.
        """
        s = self.settings
        points = observation.points
        distance = np.linalg.norm(points, axis=1)
        points = points[(distance >= s.min_range_m) & (distance <= s.max_range_m)]
        T_odom_sensor = observation.T_odom_base @ observation.T_base_sensor
        last = self._newest
        if last is not None:
            step_m = float(np.linalg.norm(observation.T_odom_base[:3, 3] - last.T_odom_base[:3, 3]))
            elapsed_s = (observation.stamp_ns - last.stamp_ns) * 1e-9
            if elapsed_s < 0 or step_m > 1.0 + 5.0 * elapsed_s:
                self.clear()
            else:
                self._travel_m += step_m
        sweep = _Sweep(
            observation.stamp_ns,
            _thin(transform_points_se3(T_odom_sensor, points).astype(np.float32), s.voxel_m),
            T_odom_sensor[:3, 3].astype(np.float32),
            observation.T_odom_base,
            self._travel_m,
        )
        if last is not None and len(self._sweeps) and self._is_elsewhere(last, sweep):
            self.clear()
        self._newest = sweep
        kept = not self._sweeps or self._moved(self._sweeps[-1], sweep)
        if kept:
            self._sweeps.append(sweep)
        while self._sweeps and (
            len(self._sweeps) > s.max_scans
            or sweep.travel_m - self._sweeps[0].travel_m > s.window_m
            or (sweep.stamp_ns - self._sweeps[0].stamp_ns) * 1e-9 > s.window_s
        ):
            self._sweeps.popleft()
        return kept

    def _is_elsewhere(self, old: _Sweep, new: _Sweep) -> bool:
        if float(np.linalg.norm(new.T_odom_base[:2, 3] - old.T_odom_base[:2, 3])) > COMPARABLE_M:
            return False
        share = seen_before(self._band(new), new.origin_odom[:2], self._band(old))
        return share < self.settings.continuity_share

    def _band(self, sweep: _Sweep) -> NDArray[np.float32]:
        """(N, 2) returns in odom of what stands upright: floor and ceiling are everywhere the same."""
        s = self.settings
        height = sweep.points_odom[:, 2] - sweep.T_odom_base[2, 3] + s.floor_below_base_m
        return sweep.points_odom[(height >= min(CLEAR_OF_FLOOR_M, s.slice_min_m)) & (height <= s.slice_max_m), :2]

    def _moved(self, old: _Sweep, new: _Sweep) -> bool:
        delta = relative_se2(se2_from_se3(old.T_odom_base), se2_from_se3(new.T_odom_base))
        s = self.settings
        return bool(np.hypot(delta[0], delta[1]) >= s.min_travel_m or abs(delta[2]) >= s.min_turn_rad)

    def local_cloud(self) -> LocalCloud | None:
        """Everything kept, in the aligned frame of the newest sweep; None before the first one."""
        newest = self._newest
        if newest is None:
            return None
        sweeps = list(self._sweeps)
        if not sweeps or sweeps[-1] is not newest:
            sweeps.append(newest)
        # odom's z axis is gravity's (REP-105), so a planar frame at base's heading is already aligned.
        T_odom_aligned = se2_from_se3(newest.T_odom_base)
        T_aligned_odom = inverse_se3(se3_from_se2(T_odom_aligned, float(newest.T_odom_base[2, 3])))
        points = np.concatenate([sweep.points_odom for sweep in sweeps])
        index = np.concatenate([np.full(len(sweep.points_odom), k, dtype=np.int32) for k, sweep in enumerate(sweeps)])
        # Newest sweep first, so that thinning keeps the return that drift has hurt least.
        keep = first_in_voxel(points[::-1], self.settings.voxel_m)
        points, index = points[::-1][keep], index[::-1][keep]
        origins = np.stack([sweep.origin_odom for sweep in sweeps])
        return LocalCloud(
            newest.stamp_ns,
            transform_points_se3(T_aligned_odom, points).astype(np.float32),
            transform_points_se3(T_aligned_odom, origins).astype(np.float32),
            index,
            T_odom_aligned,
            len(sweeps),
        )


def wall_slice(cloud: LocalCloud, settings: AccumulationSettings) -> WallSlice:
    """Flatten the band of heights where walls stand clear of most furniture, thinned to ``slice_voxel_m``.

    Heights count from the floor, ``settings.floor_below_base_m`` under base_link.
    """
    height = cloud.points[:, 2] + settings.floor_below_base_m
    band = (height >= settings.slice_min_m) & (height <= settings.slice_max_m)
    points, index = cloud.points[band, :2], cloud.origin_index[band]
    keep = first_in_voxel(points, settings.slice_voxel_m)
    return WallSlice(
        cloud.stamp_ns,
        np.ascontiguousarray(points[keep]),
        np.ascontiguousarray(cloud.origins[:, :2]),
        index[keep],
        cloud.T_odom_aligned,
        cloud.scans,
    )


def scan_slice(
    stamp_ns: int,
    ranges_m: NDArray[np.floating],
    angle_min_rad: float,
    angle_increment_rad: float,
    range_min_m: float,
    range_max_m: float,
    T_base_sensor: NDArray[np.float64],
    T_odom_base: NDArray[np.float64],
) -> WallSlice:
    """A planar LaserScan as a wall slice; returns that are not finite or out of range are no evidence and dropped.

    Args:
        ranges_m: (B,) as in sensor_msgs/LaserScan.
        T_base_sensor: (4, 4) mounting pose.
        T_odom_base: (4, 4) odometry at the stamp.

    Raises:
        ObservationError: ``angle_increment_rad`` is zero or not finite.
    """
    if not np.isfinite(angle_increment_rad) or angle_increment_rad == 0.0:
        raise ObservationError(f"angle_increment: must be finite and not zero, got {angle_increment_rad}")
    ranges = np.asarray(ranges_m, dtype=np.float64)
    good = np.isfinite(ranges) & (ranges >= range_min_m) & (ranges < range_max_m)
    angles = wrap_angle(angle_min_rad + angle_increment_rad * np.arange(len(ranges)))[good]
    ranges = ranges[good]
    points = np.stack([ranges * np.cos(angles), ranges * np.sin(angles), np.zeros_like(ranges)], axis=1)
    T_odom_aligned = se2_from_se3(T_odom_base)
    T_aligned_sensor = inverse_se3(se3_from_se2(T_odom_aligned, float(T_odom_base[2, 3]))) @ T_odom_base @ T_base_sensor
    return WallSlice(
        stamp_ns,
        transform_points_se3(T_aligned_sensor, points)[:, :2].astype(np.float32),
        T_aligned_sensor[None, :2, 3].astype(np.float32),
        np.zeros(len(points), dtype=np.int32),
        T_odom_aligned,
        1,
    )


def first_in_voxel(points: NDArray[np.float32], voxel_m: float) -> NDArray[np.int64]:
    """Indices, ascending, of the first point of each voxel; points (N, 2 or 3)."""
    if not len(points):
        return np.zeros(0, dtype=np.int64)
    cells = [np.floor(points[:, axis] / voxel_m).astype(np.int64) for axis in range(points.shape[1])]
    key, span = np.zeros(len(points), dtype=np.int64), 1
    for cell in cells:
        cell -= cell.min()
        width = int(cell.max()) + 1
        key, span = key * width + cell, span * width
    bits = len(points).bit_length()
    if span >= 1 << (63 - bits):  # Points as far apart as no sensor sees.
        return np.sort(np.unique(np.stack(cells, axis=1), axis=0, return_index=True)[1])
    # Cell and index in one number: sorting numbers takes half as long as sorting indices by numbers.
    packed = np.sort((key << bits) | np.arange(len(points)))
    sorted_key = packed >> bits
    begins = np.append(True, sorted_key[1:] != sorted_key[:-1])
    return np.sort(packed[begins] & ((1 << bits) - 1))


def _thin(points: NDArray[np.float32], voxel_m: float) -> NDArray[np.float32]:
    return points[first_in_voxel(points, voxel_m)]
