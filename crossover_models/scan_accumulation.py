"""Planar scans accumulated along odometry: what a robot without a 3D lidar has seen on its last metres."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from crossover_models.accumulation import first_in_voxel
from crossover_models.config import AccumulationSettings
from crossover_models.continuity import slice_seen_before
from crossover_models.geometry import relative_se2
from crossover_models.observation import WallSlice


class ScanAccumulator:
    """Keeps the planar scans of the last metres and seconds and joins them in the newest one's frame.

    One scan of 180 degrees shows a wall or two; what was seen on the way through a door tells where the robot is. The
    window, the spacing of scans and the thinning are those of 3D sweeps.
    """

    def __init__(self, settings: AccumulationSettings) -> None:
        self.settings = settings
        self._kept: deque[tuple[WallSlice, float]] = deque()
        self._newest: WallSlice | None = None
        self._travel_m = 0.0

    def clear(self) -> None:
        """Forget everything (after a jump of odometry or of the clock)."""
        self._kept.clear()
        self._newest, self._travel_m = None, 0.0

    def add(self, scan: WallSlice) -> WallSlice:
        """Take a scan in; returns all that is kept, with it, as one slice in its frame.

        A stamp that runs backwards, odometry that leaps by more than 1 m plus 5 m/s, or a scan that shows other
        surroundings than the last one starts anew. The newest scan always takes part, however near the last one.

        Args:
            scan: as :func:`crossover_models.accumulation.scan_slice` makes it.
        """
        s, last = self.settings, self._newest
        if last is not None:
            step = relative_se2(last.T_odom_aligned, scan.T_odom_aligned)
            step_m, elapsed_s = float(np.hypot(step[0], step[1])), (scan.stamp_ns - last.stamp_ns) * 1e-9
            elsewhere = s.continuity_share > 0.0 and slice_seen_before(last, scan) < s.continuity_share
            if elapsed_s < 0 or step_m > 1.0 + 5.0 * elapsed_s or elsewhere:
                self.clear()
            else:
                self._travel_m += step_m
        self._newest = scan
        kept = not self._kept or self._moved(self._kept[-1][0], scan)
        if kept:
            self._kept.append((scan, self._travel_m))
        while self._kept and (
            len(self._kept) > s.max_scans
            or self._travel_m - self._kept[0][1] > s.window_m
            or (scan.stamp_ns - self._kept[0][0].stamp_ns) * 1e-9 > s.window_s
        ):
            self._kept.popleft()
        return self._joined(scan)

    def _moved(self, old: WallSlice, new: WallSlice) -> bool:
        step = relative_se2(old.T_odom_aligned, new.T_odom_aligned)
        s = self.settings
        return bool(np.hypot(step[0], step[1]) >= s.min_travel_m or abs(step[2]) >= s.min_turn_rad)

    def _joined(self, newest: WallSlice) -> WallSlice:
        scans = [scan for scan, _ in self._kept]
        if not scans or scans[-1] is not newest:
            scans.append(newest)
        points = [_moved_into(newest, scan, scan.points) for scan in scans]
        first = np.cumsum([0, *(len(scan.origins) for scan in scans)])
        index = [scan.origin_index + np.int32(start) for scan, start in zip(scans, first, strict=False)]
        # Newest first, so that thinning keeps the return that drift has hurt least.
        joined, sources = np.concatenate(points[::-1]), np.concatenate(index[::-1])
        usable = np.flatnonzero(np.isfinite(joined).all(axis=1))
        keep = usable[first_in_voxel(joined[usable], self.settings.slice_voxel_m)]
        origins = np.concatenate([_moved_into(newest, scan, scan.origins) for scan in scans])
        return WallSlice(newest.stamp_ns, joined[keep], origins, sources[keep], newest.T_odom_aligned, len(scans))


def _moved_into(newest: WallSlice, scan: WallSlice, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points (N, 2) of one scan's aligned frame in the newest one's."""
    x, y, yaw = relative_se2(newest.T_odom_aligned, scan.T_odom_aligned)
    turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    return np.asarray(points @ turn + [x, y], dtype=np.float32)
