"""Odometry and scans as a CARMEN log, the text format that laser data sets are exchanged in, and its reader.

One line a scan::

    ROBOTLASER1 type start_angle fov step max_range accuracy remission_mode n r1..rn 0 laser_x laser_y laser_theta
    robot_x robot_y robot_theta tv rv forward_safety side_safety turn_axis timestamp host logger_timestamp

(one line in the file; "laser" is the sensor's pose and "robot" the base's, both in the odometry frame; m, rad, s).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.geometry import wrap_angle

Array = NDArray[np.float64]

# SICK_LMS of the format's list; nobody reads it.
_TYPE, _ACCURACY, _HOST = 0, 0.01, "robot"


@dataclass(frozen=True)
class CarmenScan:
    """One ROBOTLASER1 message.

    Attributes:
        stamp_s: of the scan.
        T_odom_base: (3,) of the base; the laser stands in its origin.
        laser_yaw_rad: heading of the laser in the base frame.
        step_rad: between two beams, which lie evenly to both sides of that heading.
        max_range_m: where nothing came back.
        ranges_m: (B,) from the rightmost beam on.
    """

    stamp_s: float
    T_odom_base: Array
    laser_yaw_rad: float
    step_rad: float
    max_range_m: float
    ranges_m: Array


def carmen_log(scans: Iterable[CarmenScan]) -> str:
    """The log as text; ranges that are not finite become the maximum."""
    lines = []
    for scan in scans:
        ranges = np.where(np.isfinite(scan.ranges_m), scan.ranges_m, scan.max_range_m).clip(max=scan.max_range_m)
        fov = scan.step_rad * (len(ranges) - 1)
        pose = " ".join(f"{value:.6f}" for value in scan.T_odom_base)
        laser = " ".join(f"{value:.6f}" for value in np.add(scan.T_odom_base, [0.0, 0.0, scan.laser_yaw_rad]))
        lines.append(
            f"ROBOTLASER1 {_TYPE} {-fov / 2.0:.9f} {fov:.9f} {scan.step_rad:.9f} {scan.max_range_m:.3f} {_ACCURACY}"
            f" 0 {len(ranges)} {' '.join(f'{r:.4f}' for r in ranges)} 0 {laser} {pose}"
            f" 0 0 0 0 0 {scan.stamp_s:.6f} {_HOST} {scan.stamp_s:.6f}\n"
        )
    return "".join(lines)


def read_carmen(text: str) -> list[CarmenScan]:
    """ROBOTLASER1 messages of a log; all others are passed over.

    Raises:
        ValueError: a message that is too short or holds no numbers, with its line.
    """
    out = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0] != "ROBOTLASER1":
            continue
        try:
            count = int(words[8])
            ranges = np.array([float(word) for word in words[9 : 9 + count]])
            rest = words[9 + count :]
            remissions = int(rest[0])
            tail = [float(word) for word in rest[1 + remissions : 13 + remissions]]
            if len(ranges) != count or len(tail) != 12:
                raise ValueError("is cut short")
            yaw = float(wrap_angle(tail[2] - tail[5]))
            scan = CarmenScan(tail[11], np.array(tail[3:6]), yaw, float(words[4]), float(words[5]), ranges)
            out.append(scan)
        except (ValueError, IndexError) as error:
            raise ValueError(f"line {number}: no ROBOTLASER1 message: {error}") from None
    return out
