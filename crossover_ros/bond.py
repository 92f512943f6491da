"""The bond by which nav2's lifecycle manager notices that a server has died.

The protocol (package bond; messages bond/msg/Status on one topic): both partners publish heartbeats under the
same id, here the node's name, each with an instance id of its own. A partner that hears another one is bound; one that
hears ``active: false``, or nothing for the heartbeat's timeout, holds the bond for broken. nav2's servers bind while
they are active and never give up on their manager themselves (nav2_ros_common, LifecycleNode); so does this one.
"""

from __future__ import annotations

import importlib
import uuid
from importlib.util import find_spec
from typing import Any

from rclpy.clock import Clock
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile

# What nav2's servers state; their manager goes by a timeout of its own.
HEARTBEAT_TIMEOUT_S = 4.0
# The end is said several times: a manager that misses it would have to wait for its timeout.
FAREWELLS = 3
HEARD_QOS, SAID_QOS = QoSProfile(depth=100), QoSProfile(depth=5)


def bonds_are_possible() -> bool:
    """Whether the package bond is installed."""
    return find_spec("bond") is not None


class Bond:
    """One side of a bond, from :meth:`form` to :meth:`dissolve`.

    Args:
        node: whose heart beats; its name is the bond's id.
        period_s: time between two heartbeats; 0 for no bond.
        clock: what the heart beats by; hearts go on while simulated time stands.
    """

    def __init__(self, node: LifecycleNode, period_s: float, clock: Clock) -> None:
        self._node, self._period_s, self._clock = node, period_s, clock
        self._instance = ""
        self._kind: Any = None
        self._publisher: Any = None
        self._parts: list[Any] = []
        self._timer: Any = None
        # Instance id of the manager's side; empty until it was heard.
        self.partner = ""

    def form(self) -> None:
        """Begin to send heartbeats, as somebody new: a manager that saw the last bond end begins another, too."""
        if self._period_s <= 0.0 or not bonds_are_possible() or self._timer is not None:
            return
        self._kind = importlib.import_module("bond.msg").Status
        self._instance, self.partner = str(uuid.uuid4()), ""
        self._publisher = self._node.create_publisher(self._kind, "bond", SAID_QOS)
        self._parts = [self._node.create_subscription(self._kind, "bond", self._on_status, HEARD_QOS)]
        self._timer = self._node.create_timer(self._period_s, lambda: self._say(True), clock=self._clock)
        self._say(True)

    def dissolve(self) -> None:
        """Say that the node stops on purpose, and stop."""
        if self._timer is None:
            return
        self._node.destroy_timer(self._timer)
        self._timer = None
        for _ in range(FAREWELLS):
            self._say(False)
        for part in self._parts:
            self._node.destroy_subscription(part)
        self._node.destroy_publisher(self._publisher)
        self._parts, self.partner = [], ""

    def _say(self, active: bool) -> None:
        status = self._kind(id=self._node.get_name(), instance_id=self._instance, active=active)
        status.header.stamp = self._node.get_clock().now().to_msg()
        status.heartbeat_timeout, status.heartbeat_period = HEARTBEAT_TIMEOUT_S, self._period_s
        self._publisher.publish(status)

    def _on_status(self, status: Any) -> None:
        if status.id != self._node.get_name() or status.instance_id == self._instance:
            return
        if status.active:
            self.partner = str(status.instance_id)
        elif status.instance_id == self.partner:
            # The manager let go; it ends its side when it hears that this one knows.
            self.partner = ""
            self._say(False)
