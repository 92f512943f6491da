"""Replays a rosbag2 over ROS with /clock, for machines without rosbag2's own player."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection, QosDurability
from rosbags.rosbag2 import Reader

from crossover_ros.bag_reading import OpenBag
from crossover_ros.bag_topics import Topics
from crossover_ros.restamping import Restamp, restamper

CLOCK = "/clock"
NS_PER_S = 1e9
# Matched subscribers are complete once none has joined for this long.
SETTLED_S = 1.0
POLL_S = 0.02


class PlayError(ValueError):
    """A bag that cannot be played; the message names the bag and what is missing."""


@dataclass(frozen=True)
class PlayOptions:
    """How to play.

    Attributes:
        rate: speed; 2.0 is twice as fast as recorded.
        clock_hz: /clock messages a second of wall time; 0 for none of our own (a recorded /clock is then played).
        topics: only these, by their names in the bag; empty for all.
        remaps: names in the bag to names on the air.
        wait_s: how long to wait for subscribers; 0 to begin at once.
        awaited: topics by their names in the bag that must have subscribers; empty for ``topics``, or else any.
        start_s, duration_s: part of the bag, in seconds from its begin; ``duration_s`` 0 for all.
        now: stamps are moved so that the part begins at the moment it is played, by this machine's clock.
    """

    rate: float = 1.0
    clock_hz: float = 0.0
    topics: tuple[str, ...] = ()
    remaps: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    awaited: tuple[str, ...] = ()
    start_s: float = 0.0
    duration_s: float = 0.0
    now: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.rate < 1e3:
            raise PlayError(f"rate: must be between 0 and 1000, got {self.rate}")
        for name in ("clock_hz", "wait_s", "start_s", "duration_s"):
            value = getattr(self, name)
            if not 0.0 <= value < 1e9:
                raise PlayError(f"{name}: must be zero or more, got {value}")
        if self.now and (self.rate != 1.0 or self.clock_hz):
            raise PlayError("now: the machine's own clock has no other rate, and needs no /clock")


@dataclass(frozen=True)
class PlayReport:
    """What was played: messages by topic, bag time and wall time."""

    messages: Mapping[str, int]
    bag_s: float
    wall_s: float
    skipped: tuple[str, ...]


class BagFile:
    """A bag opened for raw reading; a context manager.

    Raises:
        PlayError: no bag, a damaged one, or a topic asked for that is not in it.
    """

    def __init__(self, path: Path, topics: Sequence[str] = ()) -> None:
        if not path.exists():
            raise PlayError(f"{path}: no such bag")
        self.path = path
        # rosbag2's own reader does not look into message definitions, so types nobody knows do no harm.
        self._ros1 = path.suffix == ".bag"
        try:
            self._reader: Any = AnyReader([path]) if self._ros1 else Reader(path)
            self._reader.open()
        except Exception as error:  # A damaged file fails in whatever library reads its container.
            raise PlayError(f"{path}: is not a bag that can be read: {' '.join(str(error).split())[:300]}") from None
        self.held = sorted({connection.topic for connection in self._reader.connections})
        missing = [topic for topic in topics if topic not in self.held]
        if missing:
            self._reader.close()
            raise PlayError(f"{path}: topic {', '.join(missing)} is not in the bag; it holds {', '.join(self.held)}")
        self.connections = [c for c in self._reader.connections if not topics or c.topic in topics]
        self.start_ns, self.end_ns = int(self._reader.start_time), int(self._reader.end_time)

    def messages(
        self, connections: Sequence[Connection], start_ns: int, stop_ns: int
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """(connection, time of recording in ns, serialized message) in the order of time, CDR also of ROS 1 bags.

        Raises:
            PlayError: the bag is damaged further on.
        """
        stream = iter(self._reader.messages(connections, start_ns, stop_ns))
        while True:
            try:
                connection, stamp_ns, raw = next(stream)
                data = self._reader.typestore.ros1_to_cdr(raw, connection.msgtype) if self._ros1 else raw
            except StopIteration:
                return
            except Exception as error:
                raise PlayError(f"{self.path}: is damaged: {' '.join(str(error).split())[:300]}") from None
            yield connection, stamp_ns, bytes(data)

    def __enter__(self) -> BagFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()


class Player:
    """Publishes one bag through a node.

    Args:
        node: any rclpy node; it needs no executor.
        bag: opened bag.
        options: how.
    """

    def __init__(self, node: Any, bag: BagFile, options: PlayOptions) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
        from rosgraph_msgs.msg import Clock

        self._node, self._bag, self._options = node, bag, options
        self._publishers: dict[str, Any] = {}
        self._restamp: dict[str, Restamp | None] = {}
        self.skipped: list[str] = []
        for connection in bag.connections:
            name = options.remaps.get(connection.topic, connection.topic)
            other_clock = connection.topic == CLOCK and bool(options.clock_hz or options.now)
            if connection.topic in self._publishers or other_clock:
                continue
            message_type = find_message(connection.msgtype)
            if message_type is None:
                self.skipped.append(f"{connection.topic} ({connection.msgtype} is not installed)")
                continue
            self._restamp[connection.topic] = restamper(message_type) if options.now else None
            latched = DurabilityPolicy.TRANSIENT_LOCAL if _is_latched(connection) else DurabilityPolicy.VOLATILE
            qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=latched)
            self._publishers[connection.topic] = node.create_publisher(message_type, name, qos)
        if not self._publishers:
            raise PlayError(f"topics: none of {', '.join(bag.held)} can be published")
        self._clock = node.create_publisher(Clock, CLOCK, 10) if options.clock_hz else None

    def wait(self, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Wait for subscribers of every topic awaited (or of any), and until nobody new has joined for a second.

        Returns the number of topics that somebody listens to.

        Raises:
            PlayError: a topic asked for has no subscriber in time, or no topic has any.
        """
        deadline = time.monotonic() + self._options.wait_s
        counts, since = self._subscribers(), time.monotonic()
        while not should_stop():
            now = time.monotonic()
            if (latest := self._subscribers()) != counts:
                counts, since = latest, now
            deaf = [topic for topic, count in counts.items() if not count]
            wanted = self._options.awaited or self._options.topics
            missing = [topic for topic in deaf if topic in wanted] if wanted else deaf
            complete = not missing if wanted else len(deaf) < len(counts)
            if complete and now - since >= SETTLED_S:
                break
            if now >= deadline:
                names = ", ".join(missing)
                if complete:
                    break
                raise PlayError(f"wait: nobody subscribed to {names} within {self._options.wait_s:.0f} s")
            time.sleep(POLL_S)
        return sum(count > 0 for count in counts.values())

    def _subscribers(self) -> dict[str, int]:
        return {topic: publisher.get_subscription_count() for topic, publisher in self._publishers.items()}

    def play(
        self, progress: Callable[[float], None] = lambda _: None, should_stop: Callable[[], bool] = lambda: False
    ) -> PlayReport:
        """Play at the asked rate; ``progress`` hears the bag's seconds so far. Blocks until done or stopped."""
        o = self._options
        first_ns = self._bag.start_ns + round(o.start_s * NS_PER_S)
        last_ns = first_ns + round(o.duration_s * NS_PER_S) if o.duration_s else self._bag.end_ns
        counts: Counter[str] = Counter()
        wanted = [c for c in self._bag.connections if c.topic in self._publishers]
        began, now_ns, told = time.monotonic(), first_ns, 0.0
        offset_ns = time.time_ns() - first_ns
        for connection, stamp_ns, data in self._bag.messages(wanted, first_ns, last_ns + 1):
            if not self._sleep_until(began, first_ns, now_ns, stamp_ns, should_stop):
                break
            now_ns = stamp_ns
            restamp = self._restamp[connection.topic]
            if restamp is not None:
                data = restamp(data, offset_ns)
            try:
                self._publishers[connection.topic].publish(data)
            except RuntimeError:
                # A signal shuts the context down at any moment, between the check and the call too.
                if should_stop():
                    break
                raise
            counts[connection.topic] += 1
            if time.monotonic() - told > 0.1:
                told = time.monotonic()
                progress((stamp_ns - first_ns) / NS_PER_S)
        progress((now_ns - first_ns) / NS_PER_S)
        self._finish()
        return PlayReport(counts, (now_ns - first_ns) / NS_PER_S, time.monotonic() - began, tuple(self.skipped))

    def _sleep_until(
        self, began: float, first_ns: int, now_ns: int, stamp_ns: int, should_stop: Callable[[], bool]
    ) -> bool:
        """Let bag time run from ``now_ns`` to ``stamp_ns``, with /clock on the way; False if stopped."""
        o = self._options
        tick_ns = max(1, round(NS_PER_S * o.rate / o.clock_hz)) if o.clock_hz else round(0.1 * NS_PER_S * o.rate)
        while not should_stop():
            target_ns = min(stamp_ns, (now_ns // tick_ns + 1) * tick_ns)
            delay_s = began + (target_ns - first_ns) / NS_PER_S / o.rate - time.monotonic()
            if delay_s > 0:
                time.sleep(delay_s)
            if target_ns != now_ns or now_ns == first_ns:
                self._send_clock(target_ns)
            now_ns = target_ns
            if now_ns >= stamp_ns:
                return True
        return False

    def _send_clock(self, ns: int) -> None:
        if self._clock is not None:
            from rosgraph_msgs.msg import Clock

            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(ns, 1_000_000_000)
            self._clock.publish(message)

    def _finish(self) -> None:
        """Wait until reliable subscribers have all, as far as they still answer."""
        from rclpy.duration import Duration

        deadline = time.monotonic() + 5.0
        for publisher in self._publishers.values():
            left_s = max(0.0, deadline - time.monotonic())
            publisher.wait_for_all_acked(Duration(seconds=left_s))


def _is_latched(connection: Connection) -> bool:
    profiles = getattr(connection.ext, "offered_qos_profiles", ())
    return connection.topic.endswith("/tf_static") or any(
        profile.durability == QosDurability.TRANSIENT_LOCAL for profile in profiles
    )


def find_message(name: str) -> Any | None:
    """Class of "package/msg/Name", or None where the package is not installed."""
    package, _, kind = name.rpartition("/")
    try:
        return getattr(importlib.import_module(package.replace("/", ".")), kind, None)
    except ImportError:
        return None


def _remap(text: str) -> tuple[str, str]:
    source, separator, target = text.partition(":=")
    if not separator or not source or not target:
        raise argparse.ArgumentTypeError(f"{text!r}: expected /in_bag:=/on_air")
    return source, target


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    out = argparse.ArgumentParser(prog="crossover play", description="Replay a rosbag2 (or ROS 1) bag over ROS 2.")
    out.add_argument("bag", type=Path, help="bag directory (or .bag, .mcap, .db3 file)")
    out.add_argument("--rate", type=float, default=1.0, help="speed; 2 is twice as fast (1)")
    out.add_argument(
        "--clock", type=float, nargs="?", const=100.0, default=0.0, metavar="HZ", help="publish /clock (100 a second)"
    )
    out.add_argument("--topics", nargs="+", default=[], metavar="TOPIC", help="only these, by their names in the bag")
    out.add_argument(
        "--remap", nargs="+", type=_remap, default=[], metavar="/A:=/B", help="publish topic /A of the bag as /B"
    )
    out.add_argument(
        "--inputs",
        action="store_true",
        help="publish the sensors' topics under the names that the nodes listen to: points, image, odom, ...",
    )
    for kind in ("image", "points", "scan", "odom", "depth"):
        out.add_argument(f"--{kind}", default="", metavar="TOPIC", help=f"with --inputs: the {kind}; default: by type")
    out.add_argument(
        "--wait",
        type=float,
        nargs="?",
        const=30.0,
        default=0.0,
        metavar="S",
        help="wait for subscribers (30 s)",
    )
    out.add_argument("--start", type=float, default=0.0, metavar="S", help="begin this long after the bag's begin")
    out.add_argument("--duration", type=float, default=0.0, metavar="S", help="play only so long")
    out.add_argument("--now", action="store_true", help="move all stamps to the time of playing, as of live sensors")
    return out


def _input_names(arguments: argparse.Namespace) -> dict[str, str]:
    """Topics of the bag to names of the nodes; nothing unless asked."""
    wanted = Topics(arguments.image, arguments.points, arguments.scan, arguments.odom, arguments.depth)
    if not arguments.inputs:
        named = [kind for kind, topic in vars(wanted).items() if topic]
        if named:
            raise PlayError(f"--{named[0]}: means nothing without --inputs")
        return {}
    with OpenBag(arguments.bag, wanted, lidar_required=False) as bag:
        return bag.remaps


def main(argv: Sequence[str] | None = None) -> int:
    """Play a bag; status 2 with one line on stderr where that is impossible."""
    from crossover_ros.localize import split_ros_arguments, use_large_data_transport

    use_large_data_transport()
    import rclpy

    own, ros = split_ros_arguments(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(own)
    try:
        inputs = _input_names(arguments)
        options = PlayOptions(
            arguments.rate,
            arguments.clock,
            tuple(arguments.topics),
            {**inputs, **dict(arguments.remap)},
            arguments.wait,
            # A viewer may listen to the camera long before the nodes are ready.
            tuple(topic for topic in inputs if not arguments.topics or topic in arguments.topics),
            arguments.start,
            arguments.duration,
            arguments.now,
        )
        with BagFile(arguments.bag, options.topics) as bag:
            rclpy.init(args=["play", *ros])
            try:
                return _play(rclpy.create_node("bag_player"), bag, options)
            finally:
                rclpy.try_shutdown()
    except (ValueError, OSError) as error:
        print(f"crossover play: {error}", file=sys.stderr)
        return 2


def _play(node: Any, bag: BagFile, options: PlayOptions) -> int:
    import rclpy
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)

    def should_stop() -> bool:
        return not rclpy.ok()

    try:
        player = Player(node, bag, options)
        for topic in player.skipped:
            console.print(f"not played: {topic}")
        if options.wait_s:
            console.print(f"{player.wait(should_stop)} topics have subscribers")
        total_s = options.duration_s or (bag.end_ns - bag.start_ns) / NS_PER_S - options.start_s
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.1f} s"))
        with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
            task = bar.add_task("playing", total=max(total_s, 1e-3))
            report = player.play(lambda s: bar.update(task, completed=s), should_stop)
    except KeyboardInterrupt:
        return 130
    finally:
        node.destroy_node()
    console.print(
        f"{sum(report.messages.values())} messages of {len(report.messages)} topics, "
        f"{report.bag_s:.1f} s of the bag in {report.wall_s:.1f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
