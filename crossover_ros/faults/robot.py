"""A simulated robot that never stops driving: it publishes a recording in real time, through filters that spoil it."""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2
from tf2_msgs.msg import TFMessage

from crossover_models.estimate import LevelKey
from crossover_models.geometry import Array
from crossover_ros.conversions import read_cloud
from crossover_ros.conversions.answers import header
from crossover_ros.faults.recording import NS_PER_S, Event, Recording

# What is published instead of a message: (seconds later, the message or its CDR bytes), none or several.
Sent = Iterable[tuple[float, Any]]
# Takes a message and the stamp it would get, in ns.
Filter = Callable[[Event, int], Sent]
TYPES: dict[str, tuple[Any, str]] = {
    "points": (PointCloud2, "points"),
    "scan": (LaserScan, "scan"),
    "image": (Image, "image"),
    "compressed": (CompressedImage, "image/compressed"),
    "camera_info": (CameraInfo, "camera_info"),
    "odom": (Odometry, "odom"),
    "tf": (TFMessage, "/tf"),
    "initialpose": (PoseWithCovarianceStamped, "initialpose"),
}
SCAN_BEAMS = 360
# The lidar's returns this close to its own height are what a planar scanner beside it would see.
SCAN_SLOPE = 0.03


def as_message(event: Event, stamp_ns: int) -> Any:
    """The recorded message with a stamp, to be spoiled."""
    return deserialize_message(event.stamped(stamp_ns), TYPES[event.kind][0])


class Robot:
    """Publishes from its own thread; faults are filters by kind of message.

    At a ``rate`` other than 1 its time runs so much faster than the wall's, and it publishes /clock.

    Attributes:
        filters: of each kind that is not published as recorded.
        shifts_ns: stamps are shifted by one of these when a fault plays with clocks; 0 is always among them.
    """

    def __init__(self, node: Node, recording: Recording, rate: float = 1.0) -> None:
        reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        latched = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self._recording, self._rate = recording, rate
        self._clock = node.create_publisher(Clock, "/clock", reliable) if rate != 1.0 else None
        self._publishers = {
            kind: node.create_publisher(message, topic, reliable) for kind, (message, topic) in TYPES.items()
        }
        self._static = node.create_publisher(TFMessage, "/tf_static", latched)
        self._static.publish(recording.static)
        self.filters: dict[str, Filter] = {}
        self.shifts_ns: tuple[int, ...] = (0,)
        self._started_ns = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drive, name="robot", daemon=True)
        self.failure: Exception | None = None

    def start(self) -> None:
        """Begin to drive."""
        self._started_ns = time.time_ns()
        self._thread.start()

    def stop(self) -> None:
        """Stand still for good."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def restore(self) -> None:
        """All sensors work again; shifted stamps are still known, as answers to them may come."""
        self.filters = {}

    def publish(self, kind: str, message: Any) -> None:
        """Publish something besides the recording."""
        self._publishers[kind].publish(message)

    def truth(self, stamp_ns: int) -> tuple[LevelKey, Array] | None:
        """Level and true pose (3,) at a stamp that data carried, whatever clock it was from."""
        now_ns = time.time_ns()
        shift_ns = min(self.shifts_ns, key=lambda shift: abs(now_ns - (stamp_ns - shift)))
        return self._recording.truth(stamp_ns - shift_ns - self._started_ns)

    def subscribers(self, kind: str) -> int:
        """How many listen."""
        return int(self._publishers[kind].get_subscription_count())

    def _drive(self) -> None:
        try:
            self._publish_all()
        except Exception as error:  # Whoever waits for the robot tells it.
            if not self._stop.is_set():
                self.failure = error

    def _publish_all(self) -> None:
        late: list[tuple[int, int, str, Any]] = []
        number = count()
        for run_ns, stamp_run_ns, event in self._recording.endless():
            due_ns = self._started_ns + round(run_ns / self._rate)
            while True:
                until_ns = min(due_ns, late[0][0]) if late else due_ns
                wait_s = (until_ns - time.time_ns()) / NS_PER_S
                if self._stop.wait(max(0.0, wait_s)):
                    return
                if not late or late[0][0] > due_ns:
                    break
                _, _, kind, message = heapq.heappop(late)
                self._publishers[kind].publish(message)
            if self._clock is not None:
                seconds, nanoseconds = divmod(self._started_ns + run_ns, NS_PER_S)
                now = Clock()
                now.clock.sec, now.clock.nanosec = seconds, nanoseconds
                self._clock.publish(now)
            stamp_ns = self._started_ns + stamp_run_ns
            chosen = self.filters.get(event.kind)
            if chosen is None:
                self._publishers[event.kind].publish(event.stamped(stamp_ns))
                continue
            for delay_s, message in chosen(event, stamp_ns):
                if delay_s <= 0.0:
                    self._publishers[event.kind].publish(message)
                else:
                    heapq.heappush(
                        late, (time.time_ns() + round(delay_s * NS_PER_S), next(number), event.kind, message)
                    )


def planar_scan(event: Event, stamp_ns: int) -> LaserScan:
    """What a planar scanner at the lidar's place would see of a recorded cloud."""
    points = read_cloud(as_message(event, stamp_ns)).points.astype(np.float64)
    flat = np.hypot(points[:, 0], points[:, 1])
    level = points[np.abs(points[:, 2]) < SCAN_SLOPE * flat]
    ranges = np.full(SCAN_BEAMS, np.inf)
    step = 2 * math.pi / SCAN_BEAMS
    beam = np.round((np.arctan2(level[:, 1], level[:, 0]) + math.pi) / step).astype(int) % SCAN_BEAMS
    np.minimum.at(ranges, beam, np.hypot(level[:, 0], level[:, 1]))
    out = LaserScan(header=header(stamp_ns, "lidar"), angle_min=-math.pi, angle_increment=step)
    out.angle_max = math.pi - step
    out.range_min, out.range_max = 0.1, 30.0
    out.ranges = [float(r) for r in ranges]
    return out
