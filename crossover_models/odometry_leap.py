"""Odometry that no robot can have driven: reset by a driver, wrapped around, or of another robot."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossover_models.geometry import relative_se2

Array = NDArray[np.float64]
# Indoors nothing drives faster; the constant part allows for stamps that jitter.
FASTEST_M_S, FASTEST_RAD_S = 5.0, 10.0
SLACK_M, SLACK_RAD = 0.5, 1.0


def odometry_leap(before: tuple[int, Array] | None, stamp_ns: int, T_odom_base: Array) -> str:
    """What is impossible about odometry (3,) at a stamp after what came before; empty if nothing is.

    Stamps that run backwards (a bag played again) leave no time to have moved in. A repeated stamp is no news.
    """
    if before is None or stamp_ns == before[0]:
        return ""
    passed_s = max((stamp_ns - before[0]) * 1e-9, 0.0)
    step = relative_se2(before[1], np.asarray(T_odom_base, dtype=np.float64))
    far_m, turn_rad = float(np.hypot(step[0], step[1])), abs(float(step[2]))
    if far_m <= SLACK_M + FASTEST_M_S * passed_s and turn_rad <= SLACK_RAD + FASTEST_RAD_S * passed_s:
        return ""
    moved = f"{far_m:.2f} m and {np.degrees(turn_rad):.0f} deg"
    if stamp_ns < before[0]:
        return f"leaps by {moved} while its stamp runs back by {(before[0] - stamp_ns) * 1e-9:.3f} s"
    return f"leaps by {moved} within {passed_s:.3f} s"
