"""A few seconds of odometry, so that data which arrive late are answered for their own stamp."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from crossover_models.geometry import interpolate_se2

# A pose this much older than the newest one came late, by another way than the newest; farther back, a clock jumped.
LATE_NS = 1_000_000_000
# Poses farther apart than this, and than so many times the usual gap, have a hole between them.
HOLE_NS, SLOWER = 250_000_000, 3.0
Array = NDArray[np.float64]


class OdometryHistory:
    """Planar odometry by stamp.

    Args:
        span_s: how far back it remembers, seconds.
    """

    def __init__(self, span_s: float = 10.0) -> None:
        self._span_ns = round(span_s * 1e9)
        self._poses: deque[tuple[int, Array]] = deque()

    def add(self, stamp_ns: int, T_odom_base: Array) -> bool:
        """Remember a pose (3,); one that is repeated or a little late is ignored (False), a jump back starts anew."""
        if self._poses and stamp_ns <= self._poses[-1][0]:
            if self._poses[-1][0] - stamp_ns < LATE_NS:
                return False
            self._poses.clear()
        self._poses.append((stamp_ns, np.asarray(T_odom_base, dtype=np.float64)))
        while stamp_ns - self._poses[0][0] > self._span_ns:
            self._poses.popleft()
        return True

    @property
    def newest(self) -> tuple[int, Array] | None:
        """The last pose that came, with its stamp."""
        return self._poses[-1] if self._poses else None

    def known_at(self, stamp_ns: int) -> int:
        """The stamp itself where odometry is known then; else the first one after it at which it is, else the newest.

        Before all that is remembered nothing is known, nor in a hole: odometry that was lost on the way, did not come
        yet, or came while the process stood still. What happened there is anybody's guess; a robot turns by a radian in
        a second.
        """
        poses = self._poses
        if not poses:
            return stamp_ns
        newest_ns = poses[-1][0]
        if stamp_ns >= newest_ns:
            return newest_ns if self._is_hole(stamp_ns - newest_ns) else stamp_ns
        later = next(k for k, (stamp, _) in enumerate(poses) if stamp >= stamp_ns)
        if later == 0:
            return poses[0][0]
        (before_ns, _), (after_ns, _) = poses[later - 1], poses[later]
        return after_ns if before_ns < stamp_ns < after_ns and self._is_hole(after_ns - before_ns) else stamp_ns

    def _is_hole(self, gap_ns: int) -> bool:
        """Whether a gap is longer than usual; odometry that is slow has long gaps all along."""
        if gap_ns <= HOLE_NS:
            return False
        stamps = np.array([stamp for stamp, _ in self._poses])
        return len(stamps) < 2 or gap_ns > SLOWER * float(np.median(np.diff(stamps)))

    def at(self, stamp_ns: int) -> Array | None:
        """Pose (3,) at a stamp, interpolated; the oldest or newest one beyond the ends; None before the first."""
        poses = self._poses
        if not poses:
            return None
        if stamp_ns >= poses[-1][0]:
            return poses[-1][1]
        later = next(k for k, (stamp, _) in enumerate(poses) if stamp >= stamp_ns)
        if later == 0:
            return poses[0][1]
        (t0, a), (t1, b) = poses[later - 1], poses[later]
        return interpolate_se2(a, b, (stamp_ns - t0) / (t1 - t0))
