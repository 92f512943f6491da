"""A recorded bag for the replay through the core: its topics, transforms and messages in order, without ROS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from crossover_ros.bag_topics import TopicError, Topics, choose_topics, depth_camera, node_names
from crossover_ros.conversions import CameraIntrinsics, ConversionError, read_camera_info, stamp_ns
from crossover_ros.transform_buffer import TransformBuffer, TransformError

TF_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
# A whole recording is kept, so that a look-up never waits.
KEPT_S = 1e8


class BagError(ValueError):
    """A bag that cannot be replayed; the message names the bag and what is missing."""


@dataclass(frozen=True)
class BagMessage:
    """One message: ``kind`` is a field of :class:`Topics`, ``recorded_ns`` when the recorder got it."""

    kind: str
    recorded_ns: int
    message: Any
    message_type: str


class OpenBag:
    """A bag opened with its topics chosen, and nothing read yet; a context manager.

    Args:
        path: a rosbag2 directory (MCAP or SQLite), or a ROS 1 ``.bag`` file.
        wanted: topics by name; those left empty are guessed by type, see :func:`choose_topics`.
        lidar_required: refuse a bag without lidar; else one with images alone will do, which name places but no pose.

    Raises:
        BagError: no bag, a topic that is not in it or is of the wrong type, several candidates for a kind, or no lidar.
    """

    def __init__(self, path: Path, wanted: Topics | None = None, *, lidar_required: bool = True) -> None:
        self.path = path
        if not path.exists():
            raise BagError(f"{path}: no such bag")
        try:
            self._reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_KILTED))
            self._reader.open()
        except Exception as error:  # A damaged file fails in whatever library reads its container.
            raise BagError(f"{path}: cannot be read as a bag: {_one_line(error)}") from None
        self.held = {c.topic: c.msgtype for c in self._reader.connections}
        try:
            self.topics = choose_topics(self.held, wanted or Topics(), self._first, lidar_required=lidar_required)
        except TopicError as error:
            self.close()
            raise BagError(f"{path}: {error}") from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the files."""
        with suppress(AnyReaderError, OSError):
            self._reader.close()

    @property
    def remaps(self) -> dict[str, str]:
        """Bag topic -> name under which the nodes take it; TF and everything else keep their names."""
        return node_names(self.topics, self.held)

    def _raw(self, connections: Sequence[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        if not connections:  # To rosbags, no connection means all of them.
            return
        try:
            yield from self._reader.messages(connections=connections)
        except Exception as error:  # As in opening: a damaged chunk fails in whatever library unpacks it.
            raise BagError(f"{self.path}: damaged: {_one_line(error)}") from None

    def _decode(self, connection: Connection, raw: bytes) -> Any:
        try:
            return self._reader.deserialize(raw, connection.msgtype)
        except Exception as error:  # Any of the type store's, by where the bytes are wrong.
            raise BagError(f"{self.path}: damaged message of {connection.topic}: {_one_line(error)}") from None

    def _first(self, topic: str) -> Any:
        """First message of a topic; None where there is none or it cannot be read."""
        connections = [c for c in self._reader.connections if c.topic == topic]
        for connection, _, raw in self._raw(connections):
            with suppress(BagError):
                return self._decode(connection, raw)
            break
        return None


class Bag(OpenBag):
    """A bag for replay: its transforms and its span are read at once.

    Raises:
        BagError: as :class:`OpenBag`; damaged; or no stamped sweep (image, where there is no lidar).
    """

    def __init__(self, path: Path, wanted: Topics | None = None, *, lidar_required: bool = True) -> None:
        super().__init__(path, wanted, lidar_required=lidar_required)
        try:
            self.transforms, self.bad_transforms = self._read_transforms()
            self.started_ns, self.finished_ns = self._span()
            self.depth_camera = self._depth_camera()
        except BaseException:
            self.close()
            raise

    @property
    def count(self) -> int:
        """Messages that :meth:`messages` will yield."""
        return sum(connection.msgcount for connection in self._connections())

    def messages(self) -> Iterator[BagMessage]:
        """All messages of the chosen topics in the order in which they were recorded."""
        kinds = {name: kind for kind, name in vars(self.topics).items() if name}
        connections = self._connections()
        for connection, recorded_ns, raw in self._raw(connections):
            message = self._decode(connection, raw)
            yield BagMessage(kinds[connection.topic], recorded_ns, message, connection.msgtype)

    def _connections(self) -> list[Connection]:
        chosen = set(vars(self.topics).values()) - {""}
        return [connection for connection in self._reader.connections if connection.topic in chosen]

    def _read_transforms(self) -> tuple[TransformBuffer, int]:
        """All of /tf and /tf_static, and how many entries were no transforms."""
        buffer, bad = TransformBuffer(KEPT_S), 0
        connections = [c for c in self._reader.connections if c.msgtype in TF_TYPES]
        for connection, _, raw in self._raw(connections):
            static = connection.topic.endswith("tf_static")
            message = self._decode(connection, raw)
            for entry in message.transforms:
                t, q = entry.transform.translation, entry.transform.rotation
                stamp = int(entry.header.stamp.sec) * 10**9 + int(entry.header.stamp.nanosec)
                try:
                    buffer.add(
                        entry.header.frame_id,
                        entry.child_frame_id,
                        stamp,
                        (t.x, t.y, t.z),
                        (q.x, q.y, q.z, q.w),
                        static,
                    )
                except TransformError:
                    bad += 1
        return buffer, bad

    def _depth_camera(self) -> CameraIntrinsics | None:
        """Calibration of the depth images, None where the bag has none.

        Raises:
            BagError: there are depth images, and what should calibrate them does not.
        """
        if not self.topics.depth:
            return None
        name = depth_camera(self.topics, self.held)
        info = self._first(name) if name else None
        if info is None:
            raise BagError(
                f"{self.path}: {self.topics.depth}: no camera_info beside it, and depths mean nothing without"
            )
        try:
            return read_camera_info(info)
        except ConversionError as error:
            raise BagError(f"{self.path}: {name}: {error}") from None

    def _span(self) -> tuple[int, int]:
        """Stamps of the first and the last sweep or depth image, of pictures where there is neither."""
        name = self.topics.points or self.topics.scan or self.topics.depth or self.topics.image
        connections = [c for c in self._reader.connections if c.topic == name]
        first: int | None = None
        last: tuple[Connection, bytes] | None = None
        for connection, _, raw in self._raw(connections):
            if first is None:
                with suppress(ConversionError):
                    first = stamp_ns(self._decode(connection, raw))
            last = (connection, raw)
        if first is None or last is None:
            raise BagError(f"{self.path}: {name} holds no stamped message")
        try:
            return first, stamp_ns(self._decode(*last))
        except ConversionError:
            return first, self._reader.end_time


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
