"""Records topics into an MCAP bag that explains itself, for machines without rosbag2's own recorder.

Every channel carries the definition of its message with all comments, so that Foxglove and ``mcap`` read our types
without having this package.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.base import TypesysError
from rosbags.typesys.store import Typestore

from crossover_ros.bag_player import find_message

PACKAGE = "crossover_ros"
# What the nodes say, and what places it; none of it is large.
TOPICS = (
    "scene_embedding",
    "scene_retrieval",
    "localization",
    "pose",
    "hypotheses",
    "retrieved_places",
    "particle_cloud",
    "floor_plan",
    "/tf",
    "/tf_static",
    "/diagnostics",
)
LOOK_PERIOD_S = 0.5
SEPARATOR = "=" * 80 + "\n"
FOREVER = QosTime(0, 0)


class RecordError(ValueError):
    """A recording that cannot be made; the message says why."""


@cache
def own_definitions() -> Mapping[str, str]:
    """Text of our .msg files by message type, as installed.

    Raises:
        RecordError: they are not installed.
    """
    import crossover_ros.msg

    # share/ is beside the lib/ or local/lib/ that holds the modules, however deep an installer puts them.
    module = Path(str(crossover_ros.msg.__file__))
    for prefix in module.parents:
        paths = sorted((prefix / "share" / PACKAGE / "msg").glob("*.msg"))
        if paths:
            return {f"{PACKAGE}/msg/{path.stem}": path.read_text(encoding="utf-8") for path in paths}
    raise RecordError(f"share/{PACKAGE}/msg: is beside no parent of {module}")


@cache
def type_store() -> Typestore:
    """Every message type of a ROS 2 desktop, and ours."""
    store = get_typestore(Stores.ROS2_KILTED)
    types: dict[str, Any] = {}
    for name, text in own_definitions().items():
        types.update(get_types_from_msg(text, name))
    store.register(types)
    return store


def definition(message_type: str) -> str:
    """Complete text of a message type: its own, then that of every type in it, ours with their comments.

    Raises:
        RecordError: nobody here knows the type.
    """
    try:
        text, _ = type_store().generate_msgdef(message_type, ros_version=2)
    except TypesysError:
        raise RecordError(f"{message_type}: its definition is not known here") from None
    own = own_definitions()
    first, *others = text.split(SEPARATOR)
    parts = [own.get(message_type, first)]
    for part in others:
        title, _, body = part.partition("\n")
        package, _, name = title.removeprefix("MSG: ").partition("/")
        parts.append(f"{title}\n{own.get(f'{package}/msg/{name}', body)}")
    return SEPARATOR.join(part.rstrip("\n") + "\n" for part in parts)


class BagRecorder:
    """Subscribes to topics as they appear and writes what they say, as it came; a context manager.

    Args:
        node: whose clock stamps the messages, and in whose namespace relative topics are.
        path: directory of the bag; must not exist.
        topics: names, relative or full.

    Raises:
        RecordError: the directory exists.
    """

    def __init__(self, node: Any, path: Path, topics: Sequence[str] = TOPICS) -> None:
        if path.exists():
            raise RecordError(f"{path}: exists already")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._node = node
        self._missing = [node.resolve_topic_name(topic) for topic in topics]
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self.counts: Counter[str] = Counter()
        self.refused: list[str] = []
        self._subscriptions: list[Any] = []
        self._timer = node.create_timer(LOOK_PERIOD_S, self.look)
        self.look()

    def __enter__(self) -> BagRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and finish the file."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._writer.close()

    def look(self) -> None:
        """Subscribe to wanted topics that somebody publishes by now."""
        for topic in list(self._missing):
            offers = self._node.get_publishers_info_by_topic(topic)
            if offers:
                self._missing.remove(topic)
                self._subscribe(topic, str(offers[0].topic_type), [offer.qos_profile for offer in offers])

    def _subscribe(self, topic: str, message_type: str, offered: Sequence[Any]) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

        try:
            text = definition(message_type)
        except RecordError as error:
            self.refused.append(f"{topic}: {error}")
            return
        kind = find_message(message_type)
        if kind is None:
            self.refused.append(f"{topic}: {message_type} is not installed")
            return
        reliable = all(q.reliability == ReliabilityPolicy.RELIABLE for q in offered)
        latched = all(q.durability == DurabilityPolicy.TRANSIENT_LOCAL for q in offered)
        connection = self._writer.add_connection(
            topic,
            message_type,
            msgdef=text,
            rihs01=type_store().hash_rihs01(message_type),
            offered_qos_profiles=(_recorded_qos(reliable, latched),),
        )
        qos = QoSProfile(
            depth=100,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        take = self._taker(connection)
        self._subscriptions.append(self._node.create_subscription(kind, topic, take, qos, raw=True))

    def _taker(self, connection: Connection) -> Any:
        def take(data: bytes) -> None:
            self._writer.write(connection, int(self._node.get_clock().now().nanoseconds), bytes(data))
            self.counts[connection.topic] += 1

        return take


def _recorded_qos(reliable: bool, latched: bool) -> Qos:
    return Qos(
        QosHistory.KEEP_LAST,
        10,
        QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        FOREVER,
        FOREVER,
        QosLiveliness.AUTOMATIC,
        FOREVER,
        False,
    )


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    out = argparse.ArgumentParser(
        prog="crossover record",
        description="Record what the localizer says into an MCAP bag that Foxglove opens; "
        "config/localize.foxglove.json is a layout for it.",
        epilog="Everything of ROS follows --ros-args, for example: --ros-args -r __ns:=/robot1 -p use_sim_time:=true",
    )
    out.add_argument("bag", type=Path, help="directory to write; must not exist")
    out.add_argument("--topics", nargs="+", default=list(TOPICS), metavar="TOPIC", help="these instead of our own")
    out.add_argument("--also", nargs="+", default=[], metavar="TOPIC", help="these too, e.g. image points odom")
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Record until interrupted; status 2 with one line on stderr where that is impossible."""
    from crossover_ros.localize import split_ros_arguments, use_large_data_transport

    use_large_data_transport()
    import rclpy
    from rclpy.executors import ExternalShutdownException

    own, ros = split_ros_arguments(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(own)
    rclpy.init(args=["record", *ros])
    node = rclpy.create_node("bag_recorder")
    try:
        recorder = BagRecorder(node, arguments.bag, [*arguments.topics, *arguments.also])
        with recorder, suppress(KeyboardInterrupt, ExternalShutdownException):
            rclpy.spin(node)
        for refused in recorder.refused:
            print(f"not recorded: {refused}", file=sys.stderr)
        print(f"{sum(recorder.counts.values())} messages of {len(recorder.counts)} topics in {arguments.bag}")
    except (ValueError, OSError) as error:
        print(f"crossover record: {error}", file=sys.stderr)
        return 2
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
