"""Trajectories: TUM files in and out, poses at a stamp, and how far one pose is from another.

A line of a TUM file is ``stamp_s x y z qx qy qz qw`` (Sturm et al. 2012), so that ``evo`` reads what is written here.
Poses are of base_link in the map frame of the level the robot is on at that stamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossover_models.estimate import LevelKey
from crossover_models.geometry import (
    interpolate_se2,
    quaternion_from_yaw,
    se2_from_se3,
    se3_from_quaternion,
    wrap_angle,
)

Array = NDArray[np.float64]


class TrajectoryError(ValueError):
    """A trajectory that cannot be used; the message names the file, the line and the value."""


@dataclass(frozen=True)
class Trajectory:
    """Planar poses over time.

    Attributes:
        stamps_ns: (N,) int64, strictly increasing.
        T_map_base: (N, 3) [x m, y m, yaw rad] in the map frame of the level at that stamp.
        levels: (N,) the level of each pose, or empty where nobody said.
    """

    stamps_ns: NDArray[np.int64]
    T_map_base: Array
    levels: tuple[LevelKey, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.stamps_ns)
        if self.stamps_ns.shape != (n,) or self.T_map_base.shape != (n, 3):
            raise TrajectoryError(f"T_map_base: expected ({n}, 3), got {self.T_map_base.shape}")
        if self.levels and len(self.levels) != n:
            raise TrajectoryError(f"levels: {len(self.levels)} for {n} poses")
        if not np.isfinite(self.T_map_base).all():
            raise TrajectoryError("T_map_base: a pose is not finite")
        if n > 1 and not (np.diff(self.stamps_ns) > 0).all():
            k = int(np.argmin(np.diff(self.stamps_ns) > 0))
            raise TrajectoryError(f"stamps_ns: must increase, got {self.stamps_ns[k + 1]} after {self.stamps_ns[k]}")

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def at(self, stamp_ns: int, max_gap_s: float = 0.5) -> tuple[LevelKey | None, Array] | None:
        """Level and pose (3,) at a stamp, interpolated along the straight line and the shorter turn.

        None outside the trajectory, where neighboring poses are more than ``max_gap_s`` apart, and while the robot is
        between two levels: two map frames have nothing in between. The level is None where the trajectory has none.
        """
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        if after == len(self) or (after == 0 and self.stamps_ns[0] != stamp_ns):
            return None
        if self.stamps_ns[after] == stamp_ns:
            return (self.levels[after] if self.levels else None), self.T_map_base[after].copy()
        t0, t1 = int(self.stamps_ns[after - 1]), int(self.stamps_ns[after])
        if (t1 - t0) * 1e-9 > max_gap_s or (self.levels and self.levels[after - 1] != self.levels[after]):
            return None
        pose = interpolate_se2(self.T_map_base[after - 1], self.T_map_base[after], (stamp_ns - t0) / (t1 - t0))
        return (self.levels[after] if self.levels else None), pose

    def parts(self, level: LevelKey, max_gap_s: float = 0.5) -> list[Array]:
        """Poses (n, 3) on a level, cut wherever the robot was elsewhere or nothing is known for ``max_gap_s``."""
        here = np.flatnonzero(np.array([key == level for key in self.levels], dtype=bool))
        apart = (np.diff(here) > 1) | (np.diff(self.stamps_ns[here]) * 1e-9 > max_gap_s)
        return [self.T_map_base[part] for part in np.split(here, np.flatnonzero(apart) + 1) if len(part)]

    def on_level(self, level: LevelKey) -> Trajectory:
        """The same poses, all said to be on one level."""
        return Trajectory(self.stamps_ns, self.T_map_base, (level,) * len(self))


def pose_error(T_map_estimate: ArrayLike, T_map_truth: ArrayLike) -> tuple[float, float]:
    """Distance (m) and absolute heading difference (deg, 0..180) between two planar poses (3,) of one map frame."""
    a, b = np.asarray(T_map_estimate, dtype=np.float64), np.asarray(T_map_truth, dtype=np.float64)
    return float(np.hypot(*(a[:2] - b[:2]))), float(np.degrees(abs(wrap_angle(a[2] - b[2]))))


def write_tum(path: Path, stamps_ns: Sequence[int] | NDArray[np.int64], T_map_base: ArrayLike) -> None:
    """Write planar poses (N, 3) as a TUM file; stamps keep every nanosecond."""
    poses = np.asarray(T_map_base, dtype=np.float64).reshape(-1, 3)
    lines = []
    for stamp_ns, (x, y, yaw) in zip(stamps_ns, poses, strict=True):
        seconds, nanoseconds = divmod(int(stamp_ns), 10**9)
        _, _, qz, qw = quaternion_from_yaw(float(yaw))
        lines.append(f"{seconds}.{nanoseconds:09d} {x:.9f} {y:.9f} 0 0 0 {qz:.12f} {qw:.12f}\n")
    path.write_text("".join(lines), encoding="utf-8")


def read_tum(path: Path) -> Trajectory:
    """Read a TUM file; height, roll and pitch are dropped, ``#`` starts a comment.

    Raises:
        TrajectoryError: a line without eight finite numbers, a quaternion that is no rotation, or stamps that do not
            increase; the message names the line.
        OSError: the file cannot be read.
    """
    stamps: list[int] = []
    poses: list[Array] = []
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise TrajectoryError(f"{path}: not a text file") from None
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if len(words) != 8:
            raise TrajectoryError(f"{path}:{number}: expected 'stamp x y z qx qy qz qw', got {len(words)} columns")
        try:
            stamp_ns = int((Decimal(words[0]) * 10**9).to_integral_value())
            values = np.array([float(word) for word in words[1:]])
            pose = se2_from_se3(se3_from_quaternion(values[:3], values[3:]))
        except (ValueError, ArithmeticError, InvalidOperation) as error:
            raise TrajectoryError(f"{path}:{number}: {error}") from None
        if stamps and stamp_ns <= stamps[-1]:
            raise TrajectoryError(f"{path}:{number}: stamp {words[0]} does not follow the one before")
        stamps.append(stamp_ns)
        poses.append(pose)
    if not stamps:
        raise TrajectoryError(f"{path}: holds no pose")
    return Trajectory(np.array(stamps, dtype=np.int64), np.stack(poses))
