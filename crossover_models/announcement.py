"""From the belief to a state: when a pose is announced, when it is withdrawn, and why it is not better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossover_models.belief import Belief
from crossover_models.config import BeliefSettings
from crossover_models.estimate import FailureCategory, LevelKey, LocalizationState
from crossover_models.geometry import compose_se2, relative_se2

Array = NDArray[np.float64]
# An estimate that moves farther than this at once is another one.
JUMP_M, JUMP_RAD = 1.0, 0.5


class Announcement:
    """The state of localization and its reason."""

    def __init__(self) -> None:
        self.state = LocalizationState.UNINITIALIZED
        self.failure, self.message = FailureCategory.NO_SENSOR_DATA, "no sensor data yet"
        # All of the map was searched for the poses in the belief: one found among retrieved places only must wait.
        self.searched_all = False
        self._announced: tuple[LevelKey, Array] | None = None

    def begin(self) -> None:
        """Sensor data arrive."""
        if self.state == LocalizationState.UNINITIALIZED:
            self.state = LocalizationState.INITIALIZING

    def lose(self) -> None:
        """The surroundings changed at once; what was searched was searched elsewhere."""
        self.searched_all = False
        if self.state == LocalizationState.LOCALIZED:
            self.state = LocalizationState.LOST

    def restart(self, searched_all: bool) -> None:
        """Another belief has been put in the place of the old one."""
        self.searched_all = searched_all
        if self.state != LocalizationState.UNINITIALIZED:
            self.state = LocalizationState.INITIALIZING

    def placed(self) -> None:
        """Somebody stated the pose."""
        self.state, self._announced, self.searched_all = LocalizationState.LOCALIZED, None, True
        self.failure, self.message = FailureCategory.HEALTHY, "placed by initialpose"

    def judge(self, belief: Belief, s: BeliefSettings, has_slice: bool, unusable: str) -> None:
        """Move the state by what the belief now says; ``unusable`` tells what is wrong with the newest slice."""
        best = float(belief.weight[0]) if len(belief) else 0.0
        if self.state == LocalizationState.LOCALIZED:
            if best < s.lost_probability or not self._goes_on(belief):
                self.lose()
        elif best >= s.localized_probability and self.searched_all:
            self.state = LocalizationState.LOCALIZED
        if self.state == LocalizationState.LOCALIZED:
            self._announced = (belief.levels[0], belief.T_map_odom[0].copy())
            self.failure, self.message = FailureCategory.HEALTHY, "localized"
        elif not has_slice:
            self.failure = FailureCategory.NO_SENSOR_DATA
            self.message = "no lidar data yet: an image alone names places, not a pose"
        elif unusable:
            self.failure, self.message = FailureCategory.WEAK_OVERLAP, unusable
        elif best >= s.localized_probability:
            self.failure = FailureCategory.AMBIGUOUS
            self.message = (
                f"a pose with probability {best:.2f}, found among the places retrieved; the whole map is searched next"
            )
        elif belief.null_weight >= max(best, 0.5):
            self.failure = FailureCategory.WEAK_OVERLAP
            self.message = f"no pose of the map explains what is seen (unknown {belief.null_weight:.2f})"
        else:
            self.failure = FailureCategory.AMBIGUOUS
            self.message = f"{len(belief)} poses explain what is seen, the best with probability {best:.2f}"

    def _goes_on(self, belief: Belief) -> bool:
        """Whether the best hypothesis goes on from the pose announced last; another must earn its own announcement."""
        at = belief.T_odom_base
        if self._announced is None or at is None:
            return True
        level, T_map_odom = self._announced
        step = relative_se2(compose_se2(T_map_odom, at), belief.poses()[0])
        return belief.levels[0] == level and bool(np.hypot(step[0], step[1]) < JUMP_M and abs(step[2]) < JUMP_RAD)
