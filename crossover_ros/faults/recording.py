"""A short simulated run held in memory and told without end, forwards and backwards by turns, with stamps that go on.

Driven backwards, clouds, pictures, odometry and transforms are those of the same poses, so that odometry never jumps.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rosbags.highlevel import AnyReader

from crossover_models.estimate import LevelKey
from crossover_models.evaluation.ground_truth import TRUTH, read_truth
from crossover_models.evaluation.trajectory import Trajectory
from crossover_models.geometry import Array

NS_PER_S = 10**9
# Kind of each topic of ``crossover simulate``, and where in its CDR bytes the first stamp lies: behind the four bytes
# that say how it is encoded, and in a TFMessage behind the length of its list too.
TOPICS = {
    "/points": ("points", 4),
    "/camera/image_raw": ("image", 4),
    "/camera/camera_info": ("camera_info", 4),
    "/odom": ("odom", 4),
    "/tf": ("tf", 8),
}


@dataclass(frozen=True)
class Event:
    """One recorded message; times in ns since the start of the run, ``at_ns`` when it was sent."""

    kind: str
    at_ns: int
    stamp_ns: int
    cdr: bytes

    def stamped(self, stamp_ns: int) -> bytes:
        """Its bytes with another stamp (ns)."""
        where = TF_OFFSET if self.kind == "tf" else HEADER_OFFSET
        seconds, nanoseconds = divmod(stamp_ns, NS_PER_S)
        return self.cdr[:where] + struct.pack("<iI", seconds, nanoseconds) + self.cdr[where + 8 :]


HEADER_OFFSET, TF_OFFSET = 4, 8


class Recording:
    """A run of ``crossover simulate`` on one level, its truth, and its messages.

    Attributes:
        events: of one telling, in the order of sending.
        static: CDR bytes of the /tf_static message.
        length_ns: of one telling.
    """

    def __init__(self, events: tuple[Event, ...], static: bytes, truth: Trajectory, started_ns: int) -> None:
        if not events:
            raise ValueError("recording: no message of any sensor")
        self.events, self.static = events, static
        self.length_ns = max(event.at_ns for event in events)
        self._truth, self._started_ns = truth, started_ns

    @classmethod
    def open(cls, run: Path, duration_s: float) -> Recording:
        """Read the first ``duration_s`` of a run's directory.

        Raises:
            ValueError: no run of ``crossover simulate``, or one without the topics wanted.
            OSError: it cannot be read.
        """
        truth = read_truth(run / TRUTH, ())
        events: list[Event] = []
        static = b""
        with AnyReader([run]) as reader:
            started_ns = int(truth.stamps_ns[0])
            wanted = [c for c in reader.connections if c.topic in TOPICS or c.topic == "/tf_static"]
            for connection, sent_ns, raw in reader.messages(connections=wanted):
                if connection.topic == "/tf_static":
                    static = bytes(raw)
                    continue
                kind, where = TOPICS[connection.topic]
                seconds, nanoseconds = struct.unpack_from("<iI", raw, where)
                at_ns = sent_ns - started_ns
                if at_ns > duration_s * NS_PER_S:
                    break
                events.append(Event(kind, at_ns, seconds * NS_PER_S + nanoseconds - started_ns, bytes(raw)))
        return cls(tuple(events), static, truth, started_ns)

    def endless(self) -> Iterator[tuple[int, int, Event]]:
        """(time of sending, stamp, message) for ever, in ns since the start of the telling."""
        turn_ns = 2 * self.length_ns
        base_ns = 0
        while True:
            for event in self.events:
                yield base_ns + event.at_ns, base_ns + event.stamp_ns, event
            for event in reversed(self.events):
                yield base_ns + turn_ns - event.at_ns, base_ns + turn_ns - event.stamp_ns, event
            base_ns += turn_ns

    def truth(self, stamp_ns: int) -> tuple[LevelKey, Array] | None:
        """Level and pose (3,) at a stamp (ns since the start of the telling); None before it."""
        if stamp_ns < 0:
            return None
        turn_ns = 2 * self.length_ns
        phase_ns = stamp_ns % turn_ns
        found = self._truth.at(self._started_ns + min(phase_ns, turn_ns - phase_ns))
        return None if found is None or found[0] is None else (found[0], found[1])
