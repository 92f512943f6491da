"""Sensor messages with known content, as rclpy builds them, and the same after a trip through rosbags."""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import Image, LaserScan, PointCloud2, PointField
from std_msgs.msg import Header

STORE = get_typestore(Stores.ROS2_KILTED)
STAMP_NS = 12_345_678_901
DATATYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


def header(frame: str, stamp_ns: int = STAMP_NS) -> Header:
    return Header(stamp=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id=frame)


def image(
    rows: NDArray[Any], encoding: str, padding: int = 0, bigendian: bool = False, stamp_ns: int = STAMP_NS
) -> Image:
    """``rows`` (H, bytes a row) with ``padding`` bytes after each; the width is left to the caller."""
    raw = np.ascontiguousarray(rows)
    flat = raw.reshape(len(raw), -1).view(np.uint8)
    padded = np.concatenate([flat, np.full((len(raw), padding), 99, dtype=np.uint8)], axis=1)
    out = Image(header=header("camera", stamp_ns), encoding=encoding, is_bigendian=int(bigendian))
    out.height, out.width, out.step = len(raw), raw.shape[1], padded.shape[1]
    out.data = padded.tobytes()
    return out


def cloud(
    points: NDArray[Any],
    frame: str = "lidar",
    stamp_ns: int = STAMP_NS,
    layout: tuple[tuple[str, str, int], ...] = (("x", "f4", 0), ("y", "f4", 4), ("z", "f4", 8)),
    point_step: int = 16,
    rows: int = 1,
    row_padding: int = 0,
    bigendian: bool = False,
) -> PointCloud2:
    """Points (N, 3) in any layout of (name, type, offset); N must divide by ``rows``."""
    order = ">" if bigendian else "<"
    dtype = np.dtype(
        {
            "names": [name for name, _, _ in layout],
            "formats": [order + kind for _, kind, _ in layout],
            "offsets": [offset for _, _, offset in layout],
            "itemsize": point_step,
        }
    )
    cells = np.zeros(len(points), dtype=dtype)
    for axis, name in enumerate("xyz"):
        if name in (dtype.names or ()):
            cells[name] = points[:, axis]
    width = len(points) // rows
    lines = cells.view(np.uint8).reshape(rows, width * point_step)
    padded = np.concatenate([lines, np.full((rows, row_padding), 77, dtype=np.uint8)], axis=1)
    out = PointCloud2(header=header(frame, stamp_ns), is_bigendian=bigendian)
    out.fields = [PointField(name=n, offset=o, datatype=DATATYPES[k], count=1) for n, k, o in layout]
    out.height, out.width, out.point_step, out.row_step = rows, width, point_step, padded.shape[1]
    out.data = padded.tobytes()
    return out


def laser_scan(ranges: NDArray[Any], angle_min: float, increment: float, frame: str = "laser") -> LaserScan:
    out = LaserScan(header=header(frame), angle_min=angle_min, angle_increment=increment, range_min=0.1, range_max=30.0)
    out.angle_max = angle_min + increment * (len(ranges) - 1)
    out.ranges = [float(r) for r in ranges]
    return out


def through_dds(message: Any) -> Any:
    """The message as a subscriber gets it."""
    return deserialize_message(serialize_message(message), type(message))


def through_bag(message: Any) -> Any:
    """The message as rosbags reads it from a bag."""
    package, _, name = type(message).__module__.partition(".")
    kind = f"{package}/msg/{type(message).__name__}"
    assert name
    return STORE.deserialize_cdr(serialize_message(message), kind)
