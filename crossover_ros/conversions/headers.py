"""The error of every conversion, and what stamped messages share."""

from __future__ import annotations

from typing import Any

NS_PER_S = 1_000_000_000


class ConversionError(ValueError):
    """A message that cannot be used; one line that names the field and its value."""


def stamp_ns(message: Any) -> int:
    """Nanoseconds of ``message.header.stamp``.

    Raises:
        ConversionError: the stamp is zero, so TF cannot be looked up at it, or its nanoseconds are out of range.
    """
    sec, nanosec = int(message.header.stamp.sec), int(message.header.stamp.nanosec)
    if sec == 0 and nanosec == 0:
        raise ConversionError("header.stamp: is zero; the driver has to stamp its data")
    if sec < 0 or not 0 <= nanosec < NS_PER_S:
        raise ConversionError(f"header.stamp: {sec} s {nanosec} ns is no time")
    return sec * NS_PER_S + nanosec


def frame_id(message: Any) -> str:
    """``message.header.frame_id`` without the leading slash that ROS 1 drivers still write.

    Raises:
        ConversionError: it is empty.
    """
    frame = str(message.header.frame_id).lstrip("/")
    if not frame:
        raise ConversionError("header.frame_id: is empty; the driver has to name its frame")
    return frame
