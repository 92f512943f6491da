"""Recorded messages under other stamps, so that nodes on the machine's own clock take them for live ones."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

NS_PER_S = 10**9
_HEADER = "std_msgs/Header"
_TRANSFORMS = "sequence<geometry_msgs/TransformStamped>"
# CDR: four bytes of encapsulation, of which the second tells the byte order; a leading header begins with its stamp.
_STAMP_AT = 4

Restamp = Callable[[bytes, int], bytes]


def restamper(message_type: Any) -> Restamp | None:
    """What moves a serialized (CDR) message of a type by an offset in ns; None for types that have no stamp.

    Only stamps of a leading std_msgs/Header and of transforms are known; the stamp becomes zero rather than negative.
    """
    fields = list(message_type.get_fields_and_field_types().items())
    if fields and fields[0][1] == _HEADER:
        return _moved_header
    if fields and fields[0][1] == _TRANSFORMS:
        return lambda data, offset_ns: _moved_transforms(message_type, data, offset_ns)
    return None


def _moved_header(data: bytes, offset_ns: int) -> bytes:
    order = "<" if data[1] & 1 else ">"
    sec, nanosec = struct.unpack_from(f"{order}iI", data, _STAMP_AT)
    stamp = divmod(max(0, sec * NS_PER_S + nanosec + offset_ns), NS_PER_S)
    out = bytearray(data)
    struct.pack_into(f"{order}iI", out, _STAMP_AT, *stamp)
    return bytes(out)


def _moved_transforms(message_type: Any, data: bytes, offset_ns: int) -> bytes:
    from rclpy.serialization import deserialize_message, serialize_message

    message = deserialize_message(data, message_type)
    for transform in message.transforms:
        stamp = transform.header.stamp
        stamp.sec, stamp.nanosec = divmod(max(0, stamp.sec * NS_PER_S + stamp.nanosec + offset_ns), NS_PER_S)
    return bytes(serialize_message(message))
