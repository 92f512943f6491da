"""Which topics of a bag are the robot's sensors: by their types, by what their first message says, or as the user says.

Also what the nodes call them, so that a bag may be played under the names that the nodes listen to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from crossover_ros.conversions.depth import ENCODINGS as DEPTH_ENCODINGS
from crossover_ros.conversions.images import ENCODINGS

TYPES: Mapping[str, tuple[str, ...]] = {
    "image": ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"),
    "points": ("sensor_msgs/msg/PointCloud2",),
    "scan": ("sensor_msgs/msg/LaserScan",),
    "odom": ("nav_msgs/msg/Odometry",),
    "depth": ("sensor_msgs/msg/Image",),
}
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
# Frames of the odometry that is wanted where a bag holds several: those of REP-105.
ODOMETRY_FRAMES = ("odom", "base_link")

# Gives the first message of a topic, None where it has none that can be read.
First = Callable[[str], Any]


class TopicError(ValueError):
    """No or no unique choice of topics; the message lists what there is."""


@dataclass(frozen=True)
class Topics:
    """Which topics are replayed; an empty name is none of that kind."""

    image: str = ""
    points: str = ""
    scan: str = ""
    odom: str = ""
    depth: str = ""


def choose_topics(held: Mapping[str, str], wanted: Topics, first: First, *, lidar_required: bool = True) -> Topics:
    """The topics of a bag to replay.

    Args:
        held: topic -> message type, of the whole bag.
        wanted: topics by name; those left empty are guessed. A guess must be unique after what is no camera picture
            (depth), what is a compressed copy of another topic, and odometry between other frames were set aside.
        first: looks at the first message of a topic.
        lidar_required: refuse a bag without lidar; else one with images alone will do.

    Raises:
        TopicError: a topic that is not there or is of the wrong type, several candidates, or no lidar.
    """
    found: dict[str, str] = {}
    for item in fields(Topics):
        kind, name = item.name, getattr(wanted, item.name)
        if name:
            if name not in held:
                raise TopicError(f"no topic {name}; topics: {', '.join(sorted(held)) or 'none'}")
            if held[name] not in TYPES[kind]:
                raise TopicError(f"{name} is {held[name]}, expected {' or '.join(TYPES[kind])}")
            found[kind] = name
            continue
        # One geometry is enough: clouds before scans before depth images.
        if (kind in ("scan", "depth") and found.get("points")) or (kind == "depth" and found.get("scan")):
            continue
        candidates = _narrowed(
            kind, sorted(topic for topic, type_of in held.items() if type_of in TYPES[kind]), held, first
        )
        if len(candidates) > 1:
            raise TopicError(f"several topics for {kind}: {', '.join(candidates)}; choose with --{kind}")
        found[kind] = candidates[0] if candidates else ""
    topics = Topics(**found)
    if not (topics.points or topics.scan or topics.depth or ("" if lidar_required else topics.image)):
        raise TopicError(
            f"no lidar topic ({TYPES['points'][0]} or {TYPES['scan'][0]}) and no depth images; "
            f"topics: {', '.join(f'{t} ({k})' for t, k in sorted(held.items())) or 'none'}"
        )
    return topics


def _narrowed(kind: str, candidates: Sequence[str], held: Mapping[str, str], first: First) -> Sequence[str]:
    """Candidates of a kind without those that only look like it; all of them where nothing tells them apart."""
    if kind == "depth":
        return [topic for topic in candidates if _is_depth(first(topic))]
    if kind == "image":
        candidates = [topic for topic in candidates if not _is_depth(first(topic))]
    if len(candidates) < 2:
        return candidates
    if kind == "image":
        candidates = [topic for topic in candidates if _is_picture(held[topic], first(topic))] or candidates
        # A raw topic and its compressed twin are one camera: the raw one needs no decoding.
        return [topic for topic in candidates if held[topic] == TYPES["image"][0]] or candidates
    if kind == "odom":
        return [topic for topic in candidates if _frames(first(topic)) == ODOMETRY_FRAMES] or candidates
    return candidates


def _is_picture(message_type: str, message: Any) -> bool:
    if message is None:
        return False
    if message_type == TYPES["image"][0]:
        return str(message.encoding) in ENCODINGS
    return "compressedDepth" not in str(message.format)


def _is_depth(message: Any) -> bool:
    return str(getattr(message, "encoding", "")) in DEPTH_ENCODINGS


def _frames(message: Any) -> tuple[str, str]:
    return ("", "") if message is None else (str(message.header.frame_id), str(message.child_frame_id))


def depth_camera(topics: Topics, held: Mapping[str, str]) -> str:
    """Topic of the calibration of the depth images; empty where there is none beside them."""
    infos = [topic for topic, type_of in held.items() if type_of == CAMERA_INFO]
    return _camera_info(topics.depth, infos) if topics.depth else ""


def node_names(topics: Topics, held: Mapping[str, str]) -> dict[str, str]:
    """Bag topic -> name under which the nodes take it, camera_info beside its image included."""
    out = {getattr(topics, item.name): item.name for item in fields(Topics) if getattr(topics, item.name)}
    if topics.image:
        if held[topics.image].endswith("CompressedImage"):
            out[topics.image] = "image/compressed"
        info = _camera_info(topics.image, [topic for topic, type_of in held.items() if type_of == CAMERA_INFO])
        if info:
            out[info] = "camera_info"
    info = depth_camera(topics, held)
    # Pictures and depths of one camera have one calibration, told apart by nothing but its frame.
    if info and info not in out:
        out[info] = "depth/camera_info"
    return out


def _camera_info(image: str, infos: Collection[str]) -> str:
    """image_transport's place for it: beside the raw image, of which a compressed one is a child."""
    folder = image.rpartition("/")[0]
    for place in (folder, folder.rpartition("/")[0]):
        if f"{place}/camera_info" in infos:
            return f"{place}/camera_info"
    return ""
