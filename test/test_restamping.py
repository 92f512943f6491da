"""Stamps of recorded messages moved to another time, in the serialized form."""

from __future__ import annotations

import struct

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, LaserScan
from tf2_msgs.msg import TFMessage

from crossover_ros.restamping import restamper

S = 1_000_000_000


@pytest.mark.parametrize("kind", [Image, LaserScan, Odometry])
def test_only_the_stamp_of_the_header_changes(kind: type) -> None:
    message = kind()
    message.header.frame_id = "a frame of odd length"
    message.header.stamp.sec, message.header.stamp.nanosec = 100, 900_000_000
    restamp = restamper(kind)
    assert restamp is not None
    moved = deserialize_message(restamp(serialize_message(message), 5 * S + 200_000_000), kind)
    assert (moved.header.stamp.sec, moved.header.stamp.nanosec) == (106, 100_000_000)
    moved.header.stamp = message.header.stamp
    assert moved == message


def test_big_endian_messages_are_moved_too() -> None:
    restamp = restamper(Image)
    assert restamp is not None
    data = bytes((0, 0, 0, 0)) + struct.pack(">iI", 7, 250) + b"rest"
    assert restamp(data, S) == bytes((0, 0, 0, 0)) + struct.pack(">iI", 8, 250) + b"rest"


def test_every_transform_is_moved_and_none_before_time_zero() -> None:
    message = TFMessage(transforms=[TransformStamped(child_frame_id=name) for name in ("a", "b")])
    message.transforms[1].header.stamp.sec = 3
    restamp = restamper(TFMessage)
    assert restamp is not None
    later = deserialize_message(restamp(serialize_message(message), 2 * S), TFMessage)
    assert [t.header.stamp.sec for t in later.transforms] == [2, 5]
    assert [t.child_frame_id for t in later.transforms] == ["a", "b"]
    earlier = deserialize_message(restamp(serialize_message(message), -4 * S), TFMessage)
    assert [t.header.stamp.sec for t in earlier.transforms] == [0, 0]


def test_what_has_no_header_is_left_alone() -> None:
    assert restamper(DiagnosticStatus) is None
