"""Sends map->odom at a steady rate while a pose is announced, without jumps, and the frames of the levels."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from crossover_models.continuous_transform import ContinuousTransform
from crossover_models.estimate import FailureCategory, LocalizationEstimate, LocalizationState
from crossover_models.geometry import Array, compose_se2, inverse_se2, se3_from_se2
from crossover_ros.managed_node import NS_PER_S
from crossover_ros.transforms import TransformBroadcaster

if TYPE_CHECKING:
    from crossover_ros.localizer_node import LocalizerNode
    from crossover_ros.map_session import MapSession


class MapToOdom:
    """map->odom of a localizer node: told in its worker what is believed, sent by its executor."""

    def __init__(self, node: LocalizerNode) -> None:
        self._node = node
        self._lock = Lock()
        self._transform = ContinuousTransform()
        self._broadcaster: TransformBroadcaster | None = None
        self._T_odom_base: Array | None = None
        # A pose was told lost because map->odom would have jumped to it; it is announced with the next message.
        self._waits = False
        node.create_timer(1.0 / node.settings.transform_rate_hz, self._tick, clock=node.steady)

    def open(self) -> None:
        """Begin to publish, unless the node is an adviser."""
        if self._node.settings.publish_tf:
            self._broadcaster = TransformBroadcaster(self._node)

    def close(self) -> None:
        """Remove the publishers."""
        self.withdraw()
        self._T_odom_base = None
        if self._broadcaster is not None:
            self._broadcaster.destroy()
            self._broadcaster = None

    def send_frames(self, session: MapSession | None) -> None:
        """The levels' frames, for good."""
        if self._broadcaster is not None and session is not None:
            self._broadcaster.send_static(self._node.now_ns(), session.frames)

    def moved(self, T_odom_base: Array) -> None:
        """The newest odometry (3,): corrections turn the robot about itself, wherever odom's origin is."""
        self._T_odom_base = T_odom_base

    def withdraw(self) -> None:
        """Be silent."""
        with self._lock:
            self._transform.withdraw()
            self._waits = False

    def lag(self) -> tuple[float, float]:
        """How far the transform sent is behind the pose believed: metres and radians."""
        with self._lock:
            return self._transform.lag(np.zeros(3) if self._T_odom_base is None else self._T_odom_base)

    def follow(self, estimate: LocalizationEstimate) -> LocalizationEstimate:
        """Send the estimate's map->odom from now on; returns what is to be published.

        A pose that cannot be reached without a jump (stated by somebody, relocalized, on another level) passes through
        LOST: that is what is returned, and the estimate is asked for again within one period of the transform.
        """
        best, settings = estimate.best, self._node.settings
        if self._broadcaster is None:
            return estimate
        if best is None or estimate.T_map_odom is None:
            self.withdraw()
            return estimate
        then = compose_se2(inverse_se2(estimate.T_map_odom), best.T_map_base)
        with self._lock:
            self._transform.rate_m_s = settings.transform_correction_m_s
            self._transform.rate_rad_s = settings.transform_correction_rad_s
            first = self._transform.level is None
            at = then if self._T_odom_base is None else self._T_odom_base
            reason = self._transform.believe(best.level, estimate.T_map_odom, at)
            self._waits = bool(reason)
        if reason:
            return replace(
                estimate,
                state=LocalizationState.LOST,
                failure=FailureCategory.AMBIGUOUS,
                message=reason,
                T_map_odom=None,
            )
        if first:
            self._send()
        return estimate

    def _tick(self) -> None:
        """In the executor."""
        if self._waits:
            self._waits = False
            self._node.worker.call(self._node.publish_now)
        self._send()

    def _send(self) -> None:
        """The transform as it is now; nothing before the first fix, while withdrawn, and before the clock runs."""
        node, broadcaster, now_ns = self._node, self._broadcaster, self._node.now_ns()
        if not node.active or broadcaster is None or not now_ns:
            return
        with self._lock:
            level = self._transform.level
            T_map_odom = self._transform.at(now_ns, np.zeros(3) if self._T_odom_base is None else self._T_odom_base)
            if level is None or T_map_odom is None:
                return
            stamp_ns = now_ns + round(node.settings.transform_tolerance * NS_PER_S)
            broadcaster.send(level.map_frame, node.settings.odom_frame, stamp_ns, se3_from_se2(T_map_odom))
