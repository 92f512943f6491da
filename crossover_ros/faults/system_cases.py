"""Faults around the sensors: transforms, clocks, stated poses, the accelerator, and the processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crossover_ros.faults.case import Act, Case
from crossover_ros.faults.recording import NS_PER_S, Event
from crossover_ros.faults.robot import Filter, Sent, as_message
from crossover_ros.faults.spoil import changed, nothing, spoiling, stamped_by
from crossover_ros.faults.stand import STARVED

if TYPE_CHECKING:
    from crossover_ros.faults.stand import Stand

CLOCK_NS = 100 * NS_PER_S
ALL_STAMPED = ("points", "image", "camera_info", "odom", "tf")


def _late(delay_s: float) -> Filter:
    return lambda event, stamp_ns: [(delay_s, event.stamped(stamp_ns))]


def _loop(message: Any) -> None:
    """base_link becomes a child of the lidar, which is a child of base_link."""
    message.transforms[0].header.frame_id = "lidar"


def _two_parents(event: Event, stamp_ns: int) -> Sent:
    """The true transform, and another parent just after."""
    other = as_message(event, stamp_ns + 1)
    other.transforms[0].header.frame_id = "wheels"
    return [(0.0, event.stamped(stamp_ns)), (0.0, other)]


def _self_parent(message: Any) -> None:
    message.transforms[0].header.frame_id = message.transforms[0].child_frame_id


def _nan_rotation(message: Any) -> None:
    message.transforms[0].transform.rotation.w = float("nan")


def transforms() -> tuple[Case, ...]:
    """Faults of /tf."""

    def case(name: str, done: str, spoil: Filter, *tells: str, **more: Any) -> Case:
        return Case(f"tf: {name}", "transforms", done, spoiling(tf=spoil), tells, **more)

    return (
        case("late", "0.2 s late, within patience", _late(0.2), lasts_s=3.0),
        case("too late", "1 s late", _late(1.0), r"last_fault: points: no transform from base_link to odom"),
        case(
            "missing", "none for 3 s", nothing, r"last_fault: points: no transform from base_link to odom", lasts_s=3.0
        ),
        case(
            "loop",
            "base_link is a child of the lidar, its own child",
            changed(_loop),
            r"last_fault: points: .*the frames form a loop",
            lasts_s=3.0,
        ),
        case(
            "two parents",
            "base_link is a child of odom and of wheels",
            _two_parents,
            r"last_fault: transform of 'base_link': two parents by turns",
        ),
        case(
            "own parent",
            "base_link is its own parent",
            changed(_self_parent),
            r"last_fault: transform from 'base_link' to 'base_link'",
        ),
        case(
            "NaN",
            "w of the rotation NaN",
            changed(_nan_rotation),
            r"last_fault: transform from base_link to odom: .*nan.*not rigid",
        ),
        case(
            "an hour ahead",
            "stamps + 3600 s",
            stamped_by(3600 * NS_PER_S),
            r"last_fault: points: no transform from base_link",
        ),
        case(
            "an hour behind",
            "stamps - 3600 s",
            stamped_by(-3600 * NS_PER_S),
            r"last_fault: points: no transform from base_link",
        ),
    )


def _all_clocks(shift_ns: int) -> Act:
    def begin(stand: Stand) -> None:
        stand.robot.shifts_ns = (0, shift_ns)
        stand.robot.filters.update({kind: stamped_by(shift_ns) for kind in ALL_STAMPED})

    return begin


def clocks() -> tuple[Case, ...]:
    """The robot's whole clock jumps, and jumps back."""
    return (
        Case(
            "clock: ahead",
            "clock",
            "all stamps + 100 s, then right again",
            _all_clocks(CLOCK_NS),
            (r"last_fault: data are stamped -\d+ s before",),
            lasts_s=4.0,
        ),
        Case(
            "clock: behind",
            "clock",
            "all stamps - 100 s, then right again",
            _all_clocks(-CLOCK_NS),
            (r"last_fault: (data are stamped \d+ s before|.*\d+\.\d+ s)",),
            lasts_s=4.0,
        ),
    )


def _state(change: Callable[[Any], object]) -> Act:
    """An initialpose, spoiled."""

    def begin(stand: Stand) -> None:
        from geometry_msgs.msg import PoseWithCovarianceStamped

        message = PoseWithCovarianceStamped()
        message.header.frame_id = "map_nowhere_L1"
        message.pose.pose.orientation.w = 1.0
        change(message)
        stand.robot.publish("initialpose", message)

    return begin


def _no_number(message: Any) -> None:
    message.pose.pose.position.y = float("inf")


def poses() -> tuple[Case, ...]:
    """Stated poses that make no sense."""
    return (
        Case(
            "initialpose: frame",
            "stated pose",
            "frame of no level",
            _state(lambda _: None),
            (r"last_fault: initialpose: header\.frame_id: 'map_nowhere_L1' is not a map frame",),
        ),
        Case(
            "initialpose: infinite",
            "stated pose",
            "y is infinite",
            _state(_no_number),
            (r"last_fault: initialpose: pose\.pose: .*inf",),
        ),
    )


def _starve(stand: Stand) -> None:
    (stand.folder / STARVED).touch()


def _feed(stand: Stand) -> None:
    (stand.folder / STARVED).unlink(missing_ok=True)


def accelerator() -> tuple[Case, ...]:
    """GPU memory is exhausted (simulated: torch.cuda.OutOfMemoryError out of the encoders)."""
    return (
        Case(
            "GPU: out of memory",
            "accelerator",
            "every allocation fails from now on",
            _starve,
            (
                r"encoder: last_fault: device: auto is out of memory \(.*encoding on cpu",
                r"encoder: device: .*encoding on cpu",
            ),
            _feed,
            lasts_s=3.0,
        ),
    )


def _kill(*names: str) -> Act:
    def begin(stand: Stand) -> None:
        for name in names:
            stand.kill(name)
        for name in names:
            stand.start(name)

    return begin


def _frozen(name: str, for_s: float) -> Act:
    def begin(stand: Stand) -> None:
        os.kill(stand.pid(name), signal.SIGSTOP)
        time.sleep(for_s)
        os.kill(stand.pid(name), signal.SIGCONT)

    return begin


def processes() -> tuple[Case, ...]:
    """Processes are killed and started again at once, or stand still."""

    def killed(what: str, *names: str, recover_s: float = 10.0) -> Case:
        return Case(
            f"process: kill {what}",
            "process",
            f"SIGKILL of {' and '.join(names)}, started again at once",
            _kill(*names),
            lasts_s=0.0,
            recover_s=recover_s,
            from_begin=True,
        )

    return (
        killed("encoder", "encoder"),
        killed("localizer", "localizer"),
        killed("both", "encoder", "localizer", recover_s=20.0),
        Case(
            "process: encoder frozen",
            "process",
            "SIGSTOP of the encoder for 4 s",
            _frozen("encoder", 4.0),
            (r"localizer: stale: the newest .*data are \d",),
        ),
        Case("process: localizer frozen", "process", "SIGSTOP of the localizer for 4 s", _frozen("localizer", 4.0)),
    )
