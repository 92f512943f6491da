"""TF in and out: tf2_ros where it is installed, else the same topics and our own buffer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from threading import RLock
from typing import Any, Protocol

import numpy as np
from geometry_msgs.msg import TransformStamped, Vector3
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from crossover_models.geometry import Array, quaternion_from_matrix, se3_from_quaternion
from crossover_ros.conversions.answers import header
from crossover_ros.transform_buffer import TransformBuffer, TransformError, TransformPendingError

__all__ = [
    "TransformBroadcaster",
    "TransformBuffer",
    "TransformError",
    "TransformGate",
    "TransformPendingError",
    "TransformSource",
    "listen",
]

DYNAMIC_QOS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
# A parent that came back so often is no correction.
TWO_PARENTS = 3
STATIC_QOS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class TransformSource(Protocol):
    """Where transforms are looked up."""

    def lookup(self, target: str, source: str, stamp_ns: int) -> Array:
        """T_target_source (4, 4) at a stamp.

        Raises:
            TransformPendingError: it may still arrive.
            TransformError: it will not.
        """


def listen(node: Node, on_bad: Callable[[str], None], on_new: Callable[[], None]) -> TransformSource:
    """Subscribe to /tf and /tf_static.

    Args:
        node: subscribes; its executor calls both functions.
        on_bad: hears of transforms that are none.
        on_new: called when transforms have come in.
    """
    if find_spec("tf2_ros") is not None:
        return Tf2Source(node, on_new)
    return TopicSource(node, on_bad, on_new)


class TopicSource:
    """/tf and /tf_static into a :class:`TransformBuffer`."""

    def __init__(self, node: Node, on_bad: Callable[[str], None], on_new: Callable[[], None]) -> None:
        self.buffer = TransformBuffer()
        self._on_bad, self._on_new = on_bad, on_new
        # Parent, the one before, and how often it went back and forth, by child.
        self._parents: dict[str, tuple[str, str, int]] = {}
        self._subscriptions = [
            node.create_subscription(TFMessage, "/tf", lambda m: self._take(m, False), DYNAMIC_QOS),
            node.create_subscription(TFMessage, "/tf_static", lambda m: self._take(m, True), STATIC_QOS),
        ]
        # The handle lives as long as it is referenced.
        self._jump = node.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=lambda _: self.buffer.clear(),
        )

    def _take(self, message: Any, static: bool) -> None:
        for entry in message.transforms:
            t, q = entry.transform.translation, entry.transform.rotation
            stamp_ns = entry.header.stamp.sec * 1_000_000_000 + entry.header.stamp.nanosec
            self._watch_parent(entry.header.frame_id, entry.child_frame_id)
            try:
                self.buffer.add(
                    entry.header.frame_id, entry.child_frame_id, stamp_ns, (t.x, t.y, t.z), (q.x, q.y, q.z, q.w), static
                )
            except TransformError as error:
                self._on_bad(str(error))
        self._on_new()

    def _watch_parent(self, parent: str, child: str) -> None:
        """Tell of a frame with two parents; a change of parent for good is somebody's right."""
        before = self._parents.get(child, ("", "", 0))
        if parent == before[0]:
            return
        returns = before[2] + 1 if parent == before[1] else 0
        self._parents[child] = (parent, before[0], returns)
        if returns >= TWO_PARENTS:
            self._on_bad(f"transform of {child!r}: two parents by turns, {before[0]!r} and {parent!r}")

    def lookup(self, target: str, source: str, stamp_ns: int) -> Array:
        """See :class:`TransformSource`."""
        return self.buffer.lookup(target, source, stamp_ns)


class Tf2Source:
    """The real tf2_ros buffer and listener."""

    def __init__(self, node: Node, on_new: Callable[[], None]) -> None:
        import tf2_ros

        class Buffer(tf2_ros.Buffer):  # type: ignore[misc]
            def set_transform(self, *arguments: Any) -> None:
                super().set_transform(*arguments)
                on_new()

        self._tf2 = tf2_ros
        self._buffer = Buffer(node=node)
        self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)

    def lookup(self, target: str, source: str, stamp_ns: int) -> Array:
        """See :class:`TransformSource`."""
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns)).transform
        except self._tf2.ExtrapolationException as error:
            late = TransformPendingError if "future" in str(error) else TransformError
            raise late(_reason(target, source, stamp_ns, error)) from None
        except (self._tf2.LookupException, self._tf2.ConnectivityException) as error:
            raise TransformPendingError(_reason(target, source, stamp_ns, error)) from None
        except self._tf2.TransformException as error:
            raise TransformError(_reason(target, source, stamp_ns, error)) from None
        t, q = found.translation, found.rotation
        return se3_from_quaternion([t.x, t.y, t.z], [q.x, q.y, q.z, q.w])


def _reason(target: str, source: str, stamp_ns: int, error: Exception) -> str:
    return f"no transform from {source} to {target} at {stamp_ns * 1e-9:.3f} s: {error}"


@dataclass(frozen=True)
class _Waiting:
    item: Any
    pairs: tuple[tuple[str, str], ...]
    stamp_ns: int
    deadline_s: float


class TransformGate:
    """Holds observations until their transforms are in, which is usually a moment after the data.

    ``release`` gets (item, transforms); ``refuse`` gets (item, reason) of those whose transforms did not come in time:
    they are dropped, never given an identity. Any thread may call: tf2_ros tells of transforms in a reentrant group.
    """

    def __init__(
        self,
        source: TransformSource,
        release: Callable[[Any, tuple[Array, ...]], None],
        refuse: Callable[[Any, str], None],
        capacity: int = 32,
    ) -> None:
        self._source, self._release, self._refuse = source, release, refuse
        self._capacity = capacity
        self._waiting: deque[_Waiting] = deque()
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self._waiting)

    def clear(self) -> None:
        """Forget what waits."""
        with self._lock:
            self._waiting.clear()

    def put(self, item: Any, pairs: Sequence[tuple[str, str]], stamp_ns: int, now_s: float, patience_s: float) -> None:
        """Release the item as soon as all (target, source) ``pairs`` are known at its stamp; ``now_s`` is monotonic."""
        with self._lock:
            if len(self._waiting) >= self._capacity:
                oldest = self._waiting.popleft()
                self._refuse(oldest.item, f"more than {self._capacity} observations wait for transforms")
            self._waiting.append(_Waiting(item, tuple(pairs), stamp_ns, now_s + patience_s))
            self.poll(now_s)

    def poll(self, now_s: float) -> None:
        """Release or refuse what is due, in the order of arrival."""
        with self._lock:
            for waiting in list(self._waiting):
                try:
                    found = tuple(self._source.lookup(*pair, waiting.stamp_ns) for pair in waiting.pairs)
                except TransformPendingError as error:
                    if now_s < waiting.deadline_s:
                        continue
                    self._waiting.remove(waiting)
                    self._refuse(waiting.item, str(error))
                except TransformError as error:
                    self._waiting.remove(waiting)
                    self._refuse(waiting.item, str(error))
                else:
                    self._waiting.remove(waiting)
                    self._release(waiting.item, found)


class TransformBroadcaster:
    """Publishes on /tf, and on /tf_static for those who join later too."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._dynamic = node.create_publisher(TFMessage, "/tf", DYNAMIC_QOS)
        self._static = node.create_publisher(TFMessage, "/tf_static", STATIC_QOS)
        self._held: dict[str, TransformStamped] = {}

    def send(self, parent: str, child: str, stamp_ns: int, T_parent_child: Array) -> None:
        """Publish one transform (4, 4) of a stamp."""
        self._dynamic.publish(TFMessage(transforms=[_stamped(parent, child, stamp_ns, T_parent_child)]))

    def send_static(self, stamp_ns: int, transforms: Sequence[tuple[str, str, Array]]) -> None:
        """Publish (parent, child, T_parent_child) for good, with all said so far: only the last message is kept."""
        for parent, child, T_parent_child in transforms:
            self._held[child] = _stamped(parent, child, stamp_ns, T_parent_child)
        self._static.publish(TFMessage(transforms=list(self._held.values())))

    def destroy(self) -> None:
        """Remove the publishers."""
        self._node.destroy_publisher(self._dynamic)
        self._node.destroy_publisher(self._static)


def _stamped(parent: str, child: str, stamp_ns: int, T: Array) -> TransformStamped:
    out = TransformStamped(header=header(stamp_ns, parent), child_frame_id=child)
    x, y, z = (float(v) for v in np.asarray(T)[:3, 3])
    out.transform.translation = Vector3(x=x, y=y, z=z)
    q = out.transform.rotation
    q.x, q.y, q.z, q.w = (float(v) for v in quaternion_from_matrix(np.asarray(T)[:3, :3]))
    return out
