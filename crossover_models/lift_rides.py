"""Rides in a lift: who stands still in a cabin may step out on any floor that the lift serves.

Odometry does not see the ride and a cabin looks the same on every floor, so that the map must say where lifts are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.estimate import LevelKey
from crossover_models.geometry import compose_se2, inverse_se2

Array = NDArray[np.float64]
# So near to a cabin's center, m, and so long without moving farther than STILL_M, s, a robot may be riding.
CABIN_M, STILL_M, STILL_S = 0.9, 0.3, 3.0


@dataclass(frozen=True)
class LiftStop:
    """A lift on one level.

    Attributes:
        level: of the stop.
        name: of the lift, the same on all levels of a building.
        position: (2,) cabin's center in the level's map frame, m.
        T_building_map: (3,) of the level.
    """

    level: LevelKey
    name: str
    position: Array
    T_building_map: Array


class LiftRides:
    """Notices that the robot may be riding, and says where it may step out."""

    def __init__(self, stops: Iterable[LiftStop]) -> None:
        self._stops = tuple(stops)
        self._still: tuple[int, Array] | None = None

    def may_ride(self, stamp_ns: int, T_odom_base: Array) -> bool:
        """Whether the robot has stood still for long enough; asked at every slice."""
        if not self._stops:
            return False
        still = self._still
        if still is None or stamp_ns < still[0] or float(np.hypot(*(T_odom_base - still[1])[:2])) > STILL_M:
            self._still = (stamp_ns, np.asarray(T_odom_base, dtype=np.float64).copy())
            return False
        return (stamp_ns - still[0]) * 1e-9 >= STILL_S

    def exits(self, level: LevelKey, T_map_base: Array, levels: Sequence[LevelKey]) -> list[tuple[LevelKey, Array]]:
        """Poses (3,) on the other ``levels`` of the lift whose cabin a pose is in; none outside of every cabin."""
        out: list[tuple[LevelKey, Array]] = []
        for stop in self._stops:
            if stop.level != level or float(np.hypot(*(T_map_base[:2] - stop.position))) > CABIN_M:
                continue
            for other in self._stops:
                served = other.name == stop.name and other.level.building_id == level.building_id
                if served and other.level != level and other.level in levels:
                    turn = compose_se2(inverse_se2(other.T_building_map), stop.T_building_map)[2]
                    cabin = np.array([stop.position[0], stop.position[1], 0.0])
                    there = np.array([other.position[0], other.position[1], turn])
                    out.append((other.level, compose_se2(there, compose_se2(inverse_se2(cabin), T_map_base))))
        return out
