"""Accelerated replay through the core for as long as wanted, in a process of its own whose memory is watched.

``python -m crossover_ros.faults.endurance RUN DATABASE --minutes M`` prints a JSON line for every minute of robot time.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from rosbags.typesys import Stores, get_typestore

from crossover_models.estimate import LocalizationEstimate, LocalizationState, Retrieval
from crossover_models.evaluation.trajectory import pose_error
from crossover_models.threads import use_threads
from crossover_ros.bag_reading import BagMessage
from crossover_ros.faults.recording import NS_PER_S, Recording
from crossover_ros.transform_buffer import TransformBuffer

# Of the recorded kinds, those that the replay takes, by type.
MESSAGE_TYPES = {
    "points": "sensor_msgs/msg/PointCloud2",
    "image": "sensor_msgs/msg/Image",
    "odom": "nav_msgs/msg/Odometry",
}
STARTED_NS = 1_000 * NS_PER_S
# Transforms are read so much ahead of the data, which then never wait.
AHEAD_NS = 200_000_000
FALSE_M = 1.0


class EndlessBag:
    """A recording in the place of a bag: told forwards and backwards for ``duration_s`` of robot time."""

    def __init__(self, recording: Recording, duration_s: float) -> None:
        self._recording, self._duration_ns = recording, round(duration_s * NS_PER_S)
        self._store = get_typestore(Stores.ROS2_KILTED)
        self.transforms = TransformBuffer()
        self.started_ns = STARTED_NS
        self._take_transforms(recording.static, static=True)

    def messages(self) -> Iterator[BagMessage]:
        """Messages in order; their transforms are in :attr:`transforms` by then."""
        waiting: deque[tuple[int, BagMessage]] = deque()
        for run_ns, stamp_ns, event in self._recording.endless():
            if run_ns > self._duration_ns:
                break
            data = event.stamped(STARTED_NS + stamp_ns)
            if event.kind == "tf":
                self._take_transforms(data, static=False)
            elif event.kind in MESSAGE_TYPES:
                name = MESSAGE_TYPES[event.kind]
                message = self._store.deserialize_cdr(data, name)
                waiting.append((run_ns, BagMessage(event.kind, STARTED_NS + run_ns, message, name)))
            while waiting and waiting[0][0] < run_ns - AHEAD_NS:
                yield waiting.popleft()[1]

    def _take_transforms(self, data: bytes, static: bool) -> None:
        message: Any = self._store.deserialize_cdr(data, "tf2_msgs/msg/TFMessage")
        for entry in message.transforms:
            t, q, stamp = entry.transform.translation, entry.transform.rotation, entry.header.stamp
            stamp_ns = int(stamp.sec) * NS_PER_S + int(stamp.nanosec)
            numbers = (t.x, t.y, t.z), (q.x, q.y, q.z, q.w)
            self.transforms.add(entry.header.frame_id, entry.child_frame_id, stamp_ns, *numbers, static)


class Judge:
    """Takes what a record would, and keeps counts only."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.estimates = self.localized = self.false_fixes = 0

    def estimate(self, estimate: LocalizationEstimate, _: float | None) -> None:
        """Compare an announced pose with the truth."""
        self.estimates += 1
        truth = self._recording.truth(estimate.stamp_ns - STARTED_NS)
        if estimate.state != LocalizationState.LOCALIZED or estimate.best is None or truth is None:
            return
        self.localized += 1
        off_m = pose_error(estimate.best.T_map_base, truth[1])[0]
        self.false_fixes += estimate.best.level != truth[0] or off_m > FALSE_M

    def retrieval(self, _: Retrieval) -> None:
        """Nothing is kept."""

    def relocalize(self, _: Any) -> None:
        """Nothing is kept."""


def resident_mb(pid: int | str = "self") -> float:
    """Resident memory of a process, MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(argv: Sequence[str] | None = None) -> int:
    """Replay, and print memory and counts for every minute of robot time."""
    parser = argparse.ArgumentParser(description="Accelerated replay through the core; memory by minute.")
    parser.add_argument("run", type=Path)
    parser.add_argument("database", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--recorded-s", type=float, default=40.0)
    arguments = parser.parse_args(argv)

    from crossover_models.config import EncoderSettings, LocalizerSettings
    from crossover_models.encoders import load_encoder
    from crossover_models.evaluation.run_record import RunWriter
    from crossover_models.perception import Perception
    from crossover_ros.bag_reading import Bag
    from crossover_ros.map_session import open_map
    from crossover_ros.replay import Replay
    from crossover_ros.settings import EncoderNodeSettings

    use_threads(1)
    recording = Recording.open(arguments.run, arguments.recorded_s)
    encoder = load_encoder("", "cpu")
    session = open_map(str(arguments.database), LocalizerSettings(), encoder.fingerprint, None)
    judge = Judge(recording)
    settings = EncoderNodeSettings()
    replay = Replay(Perception(encoder, EncoderSettings()), session.localizer, settings, cast(RunWriter, judge))
    bag = EndlessBag(recording, 60.0 * arguments.minutes)
    began_s, minute = time.monotonic(), [0]

    def on_progress(since_s: float) -> None:
        if since_s >= 60.0 * (minute[0] + 1):
            minute[0] += 1
            gc.collect()
            facts = {
                "minute": minute[0],
                "rss_mb": round(resident_mb(), 1),
                "wall_s": round(time.monotonic() - began_s, 1),
                "estimates": judge.estimates,
                "localized": judge.localized,
                "false_fixes": judge.false_fixes,
            }
            print(json.dumps(facts), flush=True)

    replay.run(cast(Bag, bag), progress=on_progress)
    on_progress(60.0 * (minute[0] + 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
