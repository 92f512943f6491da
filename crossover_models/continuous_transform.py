"""map->odom that robots steer by: it follows the belief's corrections without a jump.

A fix corrects the pose at once; a controller that is fed with the difference would jerk. REP-105 lets map->odom jump,
nav2's users wish that it did not. So the transform that is shown moves towards the one that is believed, never by more
than a few centimetres and a fraction of a degree a message. What is believed is published as it is (``pose``, with its
own covariance): smoothed, its errors would look alike from message to message and its covariance would be wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossover_models.estimate import LevelKey
from crossover_models.geometry import compose_se2, inverse_se2, relative_se2

Array = NDArray[np.float64]
# Most that one message may differ from the one before, at the robot; the promise is 5 cm and 1 deg.
STEP_M, STEP_RAD = 0.025, np.radians(0.8)
# Most that the frame odom itself may move, which turns with the robot's distance from its origin as lever ...
FRAME_STEP_M = 0.045
# ... unless turning became slower than that (over 20 m away), and the time of one message that counts for it.
SLOWEST_RAD_S, LONGEST_S = np.radians(1.0), 0.05
# Corrections decay with this time constant, within the rates.
SETTLING_S = 0.3
# More is another pose, no correction of this one; the core tells poses apart by the same limit.
LEAP_M, LEAP_RAD = 1.0, 0.5


class ContinuousTransform:
    """map->odom by time; silent while nothing is believed.

    Args:
        rate_m_s: most that the pose is moved in a second.
        rate_rad_s: most that it is turned.
    """

    def __init__(self, rate_m_s: float = 0.5, rate_rad_s: float = 0.09) -> None:
        self.rate_m_s, self.rate_rad_s = rate_m_s, rate_rad_s
        self._believed: tuple[LevelKey, Array] | None = None
        self._shown: Array | None = None
        self._stamp_ns = 0

    @property
    def level(self) -> LevelKey | None:
        """The level that odom hangs under; None while silent."""
        return self._believed[0] if self._believed is not None else None

    def withdraw(self) -> None:
        """Nothing is believed: be silent, and begin anew with what comes next."""
        self._believed = self._shown = None

    def believe(self, level: LevelKey, T_map_odom: Array, T_odom_base: Array) -> str:
        """Follow another map->odom (3,) from now on, as seen from odometry (3,).

        Returns:
            Empty, or why it cannot be followed: it is on another level, or farther than a correction reaches. Nothing
            is shown then until it is believed again, so that the localization is told lost in between.
        """
        believed = np.array(T_map_odom, dtype=np.float64)
        before, self._believed = self._believed, (level, believed)
        if before is None or self._shown is None:
            return ""
        reason = ""
        if before[0] != level:
            reason = f"from {before[0].map_frame} to {level.map_frame}: another level"
        else:
            step = _step(self._shown, believed, np.asarray(T_odom_base, dtype=np.float64))
            far_m, turn_rad = float(np.hypot(step[0], step[1])), abs(float(step[2]))
            if far_m > LEAP_M or turn_rad > LEAP_RAD:
                reason = f"the pose moved by {far_m:.1f} m and {np.degrees(turn_rad):.0f} deg at once"
        if reason:
            self.withdraw()
        return reason

    def at(self, stamp_ns: int, T_odom_base: Array) -> Array | None:
        """map->odom (3,) to show at a stamp, with the robot at odometry (3,); None while silent.

        A clock that stands or runs backwards moves nothing.
        """
        if self._believed is None:
            return None
        passed_s = min(max((stamp_ns - self._stamp_ns) * 1e-9, 0.0), 1.0)
        self._stamp_ns = stamp_ns
        if self._shown is None:
            self._shown = self._believed[1]
            return self._shown.copy()
        at = np.asarray(T_odom_base, dtype=np.float64)
        step = _step(self._shown, self._believed[1], at)
        share = 1.0 - np.exp(-passed_s / SETTLING_S)
        far_m = float(np.hypot(step[0], step[1]))
        step[:2] *= min(share, min(self.rate_m_s * passed_s, STEP_M) / max(far_m, 1e-12))
        most_rad = min(self.rate_rad_s * passed_s, STEP_RAD, share * abs(float(step[2])))
        lever_m = float(np.hypot(at[0], at[1]))
        room_m = FRAME_STEP_M - float(np.hypot(step[0], step[1]))
        most_rad = min(most_rad, max(room_m / max(lever_m, 1e-12), SLOWEST_RAD_S * min(passed_s, LONGEST_S)))
        step[2] = np.clip(step[2], -most_rad, most_rad)
        self._shown = compose_se2(compose_se2(compose_se2(self._shown, at), step), inverse_se2(at))
        return self._shown.copy()

    def lag(self, T_odom_base: Array) -> tuple[float, float]:
        """How far the pose shown is from the one believed: metres and radians; zero while silent."""
        if self._believed is None or self._shown is None:
            return 0.0, 0.0
        step = _step(self._shown, self._believed[1], np.asarray(T_odom_base, dtype=np.float64))
        return float(np.hypot(step[0], step[1])), abs(float(step[2]))


def _step(shown: Array, believed: Array, T_odom_base: Array) -> Array:
    """(3,) from the robot's pose under one map->odom to that under another, in the robot's frame."""
    return relative_se2(compose_se2(shown, T_odom_base), compose_se2(believed, T_odom_base))
