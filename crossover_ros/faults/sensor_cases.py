"""Faults of sensors: what stops, slows, bursts, comes from another clock, or holds what no sensor should send."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from crossover_ros.faults.case import Case
from crossover_ros.faults.recording import NS_PER_S, Event
from crossover_ros.faults.robot import Filter, Sent, as_message, planar_scan
from crossover_ros.faults.spoil import (
    assign,
    changed,
    cloud_of,
    cut,
    dot,
    in_bursts,
    nan_pose,
    nan_ranges,
    no_rotation,
    no_stamp,
    no_z,
    not_finite,
    nothing,
    odd_type,
    one_in,
    other_bytes,
    spoiling,
    stamped_by,
)

if TYPE_CHECKING:
    from crossover_ros.faults.stand import Stand

HOUR_NS = 3600 * NS_PER_S
MANY_POINTS = 10_000_000
SLOW = 15
HUGE_TOLD = r"encoder: last_fault: points: height \* width: 10000000 points, more than \d+"
HUGE_PATIENCE_S = 25.0


def _dense(message: Any) -> None:
    """The same walls in ten million points, a centimetre around those seen: a dense scanner, or a stitched map."""
    points = np.frombuffer(message.data, dtype="<f4").reshape(-1, 3)
    many = np.resize(points, (MANY_POINTS, 3))
    around = np.random.default_rng(0).uniform(-0.01, 0.01, (MANY_POINTS, 3))
    cloud_of(many + around)(message)


def _huge_cloud(stand: Stand) -> None:
    """One cloud of 120 MB instead of the next sweep.

    Then the lidar is silent until the node has named it: ten more sweeps would push it out of the publisher's history
    before it has arrived, which takes a fraction of a second, or, on a machine with other work, many.
    """
    spoil = changed(_dense)
    sent: list[int] = []
    began_s = time.monotonic()

    def choose(event: Event, stamp_ns: int) -> Sent:
        if sent:
            late = time.monotonic() - began_s > HUGE_PATIENCE_S
            return [(0.0, event.stamped(stamp_ns))] if late or stand.witness.told(HUGE_TOLD, began_s) else ()
        sent.append(stamp_ns)
        return spoil(event, stamp_ns)

    stand.robot.filters["points"] = choose


def _garbage_picture(stand: Stand) -> None:
    from sensor_msgs.msg import CompressedImage

    def choose(event: Event, stamp_ns: int) -> Sent:
        message = CompressedImage(header=as_message(event, stamp_ns).header, format="jpeg", data=b"\xff\xd8 no jpeg")
        stand.robot.publish("compressed", message)
        return ()

    stand.robot.filters["image"] = choose


def _scan_instead(change: Callable[[Any], object]) -> Callable[[Stand], None]:
    """A planar scanner takes the lidar's place, spoiled."""

    def begin(stand: Stand) -> None:
        def choose(event: Event, stamp_ns: int) -> Sent:
            message = planar_scan(event, stamp_ns)
            change(message)
            stand.robot.publish("scan", message)
            return ()

        stand.robot.filters["points"] = choose

    return begin


def clouds() -> tuple[Case, ...]:
    """Faults of the lidar's clouds."""
    few = np.array([[1.0, 0.5, 0.1]])

    def case(name: str, done: str, spoil: Filter, *tells: str, **more: Any) -> Case:
        return Case(f"points: {name}", "lidar", done, spoiling(points=spoil), tells, **more)

    return (
        case("stop", "no cloud for 4 s", nothing, r"encoder: .*points: silent for \d", lasts_s=4.0),
        case("slow", f"one cloud in {SLOW}", one_in(SLOW), r"encoder: \w+: .*points: (\d+\.\d Hz|silent)", lasts_s=5.0),
        case(
            "burst",
            "held for 1.5 s, then all at once, five times each",
            in_bursts(5),
            r"encoder: .*points: \d+\.\d Hz, \d",
            lasts_s=5.0,
        ),
        case("an hour ahead", "stamps + 3600 s", stamped_by(HOUR_NS), r"last_fault: points: no transform .* at \d+"),
        case("an hour behind", "stamps - 3600 s", stamped_by(-HOUR_NS), r"last_fault: points: no transform .* at \d+"),
        case("no stamp", "stamp zero", changed(no_stamp), r"last_fault: points: header\.stamp: is zero"),
        case("half NaN", "half of the points NaN", changed(not_finite(0.5)), r"encoder: nan_points: [1-9]"),
        case(
            "all NaN",
            "every coordinate NaN",
            changed(not_finite(1.0)),
            r"last_fault: points: .*\d+ of \d+ are not finite",
        ),
        case("no z", "fields without z", changed(no_z), r"last_fault: points: fields: no 'z' among x, y"),
        case("type 99", "datatype 99 of field x", changed(odd_type), r"last_fault: points: fields\.x\.datatype: 99"),
        case(
            "byte order",
            "is_bigendian set on little-endian data",
            changed(other_bytes),
            r"last_fault: points: \d+ of \d+ returns are between",
        ),
        case("cut", "half of the data", changed(cut), r"last_fault: points: data: \d+ bytes"),
        case(
            "frame moon",
            "frame_id moon",
            changed(assign("header.frame_id", "moon")),
            r"last_fault: points: no transform from moon",
        ),
        case(
            "no frame",
            "frame_id empty",
            changed(assign("header.frame_id", "")),
            r"last_fault: points: header\.frame_id: is empty",
        ),
        case("empty", "no point", changed(cloud_of(np.zeros((0, 3)))), r"last_fault: points: no usable point: 0 of 0"),
        case("one point", "one return", changed(cloud_of(few))),
        Case(
            "points: 10 M",
            "lidar",
            f"a cloud of {MANY_POINTS:,} points (120 MB)",
            _huge_cloud,
            (HUGE_TOLD,),
            recover_s=25.0,
            patience_s=HUGE_PATIENCE_S,
        ),
    )


def pictures() -> tuple[Case, ...]:
    """Faults of the camera's pictures."""

    def case(name: str, done: str, spoil: Filter, *tells: str, **more: Any) -> Case:
        return Case(f"image: {name}", "camera", done, spoiling(image=spoil), tells, **more)

    return (
        case("stop", "no picture for 4 s", nothing, r"encoder: .*image: silent for \d", lasts_s=4.0),
        case("slow", "one picture in 10", one_in(10), r"encoder: \w+: .*image: (\d+\.\d Hz|silent)", lasts_s=5.0),
        case(
            "burst",
            "held for 1.5 s, then all at once, eight times each",
            in_bursts(8),
            r"encoder: .*image: \d+\.\d Hz, \d",
            lasts_s=5.0,
        ),
        case(
            "an hour ahead", "stamps + 3600 s", stamped_by(HOUR_NS), r"last_fault: data are stamped -3\d\d\d s before"
        ),
        case(
            "an hour behind", "stamps - 3600 s", stamped_by(-HOUR_NS), r"last_fault: data are stamped 3\d\d\d s before"
        ),
        case("no stamp", "stamp zero", changed(no_stamp), r"last_fault: image: header\.stamp: is zero"),
        case("depth", "encoding 32FC1", changed(assign("encoding", "32FC1")), r"last_fault: image: encoding: '32FC1'"),
        case(
            "unknown", "encoding 'sepia'", changed(assign("encoding", "sepia")), r"last_fault: image: encoding: 'sepia'"
        ),
        case(
            "wider",
            "encoding rgba8 on rgb8 data",
            changed(assign("encoding", "rgba8")),
            r"last_fault: image: step: \d+ bytes",
        ),
        case("cut", "half of the data", changed(cut), r"last_fault: image: data: \d+ bytes"),
        case("1 x 1", "pictures of one pixel", changed(dot)),
        case(
            "no frame",
            "frame_id empty",
            changed(assign("header.frame_id", "")),
            r"last_fault: image: header\.frame_id: is empty",
        ),
        Case(
            "image: no JPEG",
            "camera",
            "compressed bytes that are none",
            _garbage_picture,
            (r"last_fault: image: data: \d+ bytes that are no JPEG",),
        ),
        Case(
            "camera_info: not calibrated",
            "camera",
            "k NaN",
            spoiling(camera_info=changed(assign("k", np.full(9, np.nan)))),
            (r"last_fault: camera_info: k: focal lengths nan",),
        ),
    )


def odometry() -> tuple[Case, ...]:
    """Faults of the topic odom; TF goes on."""

    def case(name: str, done: str, spoil: Filter, *tells: str, **more: Any) -> Case:
        return Case(f"odom: {name}", "odometry", done, spoiling(odom=spoil), tells, **more)

    return (
        case("stop", "no odometry for 4 s", nothing, r"localizer: .*odom: silent for \d", lasts_s=4.0),
        case("slow", "one message in 30", one_in(30), r"localizer: \w+: .*odom: (\d+\.\d Hz|silent)", lasts_s=5.0),
        case("burst", "held for 1.5 s, then all at once, five times each", in_bursts(5), lasts_s=4.0),
        case(
            "an hour ahead",
            "stamps + 3600 s",
            stamped_by(HOUR_NS),
            r"localizer: last_fault: odometry: header\.stamp: -3\d\d\d s behind",
        ),
        case(
            "an hour behind",
            "stamps - 3600 s",
            stamped_by(-HOUR_NS),
            r"localizer: last_fault: odometry: header\.stamp: 3\d\d\d s behind",
        ),
        case("NaN", "x is NaN", changed(nan_pose), r"last_fault: odometry: pose\.pose: .*nan"),
        case("no rotation", "quaternion zero", changed(no_rotation), r"last_fault: odometry: pose\.pose: .*quaternion"),
        case(
            "wrong frame",
            "frame_id base_footprint",
            changed(assign("header.frame_id", "base_footprint")),
            r"last_fault: odometry: header\.frame_id, child_frame_id: base_footprint",
        ),
        case(
            "wrong child",
            "child_frame_id wheel",
            changed(assign("child_frame_id", "wheel")),
            r"last_fault: odometry: header\.frame_id, child_frame_id: odom -> wheel",
        ),
    )


def scans() -> tuple[Case, ...]:
    """A planar scanner in the lidar's place, whole and broken."""

    def case(name: str, done: str, change: Callable[[Any], object], *tells: str, **more: Any) -> Case:
        return Case(f"scan: {name}", "scanner", done, _scan_instead(change), tells, lasts_s=5.0, **more)

    return (
        case("instead", "a planar scan instead of clouds", lambda _: None, r"encoder: .*points: silent"),
        case("all NaN", "every range NaN", nan_ranges, r"last_fault: scan: ranges: none of 360 is between"),
        case("empty", "no range", assign("ranges", []), r"last_fault: scan: ranges: is empty"),
        case(
            "no step",
            "angle_increment zero",
            assign("angle_increment", 0.0),
            r"last_fault: scan: angle_increment: .*0\.0",
        ),
        case(
            "frame moon",
            "frame_id moon",
            assign("header.frame_id", "moon"),
            r"last_fault: scan: no transform from",
        ),
        case("no stamp", "stamp zero", no_stamp, r"last_fault: scan: header\.stamp: is zero"),
        case(
            "limits",
            "range_min over range_max",
            assign("range_min", 50.0),
            r"last_fault: scan: range_min, range_max: 5",
        ),
    )
