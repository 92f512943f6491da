"""What can be done to a stream of messages: silence, bursts, other clocks, and fields no sensor should send."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from crossover_ros.faults.recording import NS_PER_S, Event
from crossover_ros.faults.robot import Filter, Sent, as_message

if TYPE_CHECKING:
    from crossover_ros.faults.stand import Stand

BURST_S = 1.5


def spoiling(**filters: Filter) -> Callable[[Stand], None]:
    """A begin that installs filters by kind."""

    def begin(stand: Stand) -> None:
        stand.robot.filters.update(filters)

    return begin


def nothing(_: Event, __: int) -> Sent:
    """The sensor is silent."""
    return ()


def one_in(n: int) -> Filter:
    """Only every n-th message."""
    seen = [0]

    def choose(event: Event, stamp_ns: int) -> Sent:
        seen[0] += 1
        return [(0.0, event.stamped(stamp_ns))] if seen[0] % n == 0 else ()

    return choose


def in_bursts(repeat: int) -> Filter:
    """Messages are held back and come all at once, each several times."""
    held: list[bytes] = []
    first_ns = [0]

    def choose(event: Event, stamp_ns: int) -> Sent:
        first_ns[0] = first_ns[0] or stamp_ns
        held.append(event.stamped(stamp_ns))
        if abs(stamp_ns - first_ns[0]) < BURST_S * NS_PER_S:
            return ()
        first_ns[0] = 0
        out = [(0.0, message) for message in held for _ in range(repeat)]
        held.clear()
        return out

    return choose


def stamped_by(shift_ns: int) -> Filter:
    """Stamps of another clock."""
    return lambda event, stamp_ns: [(0.0, event.stamped(stamp_ns + shift_ns))]


def changed(change: Callable[[Any], object]) -> Filter:
    """The message after something was done to it."""

    def choose(event: Event, stamp_ns: int) -> Sent:
        message = as_message(event, stamp_ns)
        change(message)
        return [(0.0, message)]

    return choose


def assign(path: str, value: Any) -> Callable[[Any], None]:
    """Assign a (nested) field."""
    *outer, last = path.split(".")

    def change(message: Any) -> None:
        for name in outer:
            message = getattr(message, name)
        setattr(message, last, value)

    return change


def bytes_of(values: np.ndarray[Any, Any]) -> array.array[int]:
    """An array's bytes as rclpy stores them."""
    out = array.array("B")
    out.frombytes(np.ascontiguousarray(values).tobytes())
    return out


def cloud_of(points: np.ndarray[Any, Any]) -> Callable[[Any], None]:
    """Put other points (N, 3) into a cloud of x, y, z float32."""

    def change(message: Any) -> None:
        message.height, message.width = 1, len(points)
        message.row_step = message.point_step * len(points)
        message.data = bytes_of(points.astype("<f4"))

    return change


def not_finite(share: float) -> Callable[[Any], None]:
    """A share of the points is NaN."""

    def change(message: Any) -> None:
        points = np.frombuffer(message.data, dtype="<f4").reshape(-1, 3).copy()
        points[: round(share * len(points))] = np.nan
        message.data = bytes_of(points)

    return change


def cut(message: Any) -> None:
    """Half of the data is missing."""
    message.data = message.data[: len(message.data) // 2]


def no_z(message: Any) -> None:
    """A cloud without z."""
    message.fields = message.fields[:2]


def odd_type(message: Any) -> None:
    """A field of no PointField type."""
    message.fields[0].datatype = 99


def other_bytes(message: Any) -> None:
    """A cloud that claims the other byte order."""
    message.is_bigendian = True


def dot(message: Any) -> None:
    """A picture of one pixel."""
    message.height = message.width = 1
    message.step, message.data = 3, bytes_of(np.full(3, 9, dtype=np.uint8))


def no_stamp(message: Any) -> None:
    """Stamp zero."""
    message.header.stamp.sec = message.header.stamp.nanosec = 0


def nan_pose(message: Any) -> None:
    """Odometry with x NaN."""
    message.pose.pose.position.x = float("nan")


def no_rotation(message: Any) -> None:
    """Odometry whose quaternion is zero."""
    message.pose.pose.orientation.z = message.pose.pose.orientation.w = 0.0


def nan_ranges(message: Any) -> None:
    """A scan of nothing but NaN."""
    message.ranges = [float("nan")] * len(message.ranges)
