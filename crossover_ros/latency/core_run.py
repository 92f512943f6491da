"""A drive in real time through the core: the nodes' two worker threads and nothing of ROS.

``python -m crossover_ros.latency.core_run BAG DATABASE`` prints a pass as JSON: a process of its own, so that its
CPU time is that of the core alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossover_models.encoders import load_encoder
from crossover_models.geometry import Array, se2_from_se3
from crossover_models.localizer import Localizer
from crossover_models.map_database.store import MapDatabase
from crossover_models.observation import PointCloudObservation, SceneEmbedding
from crossover_models.perception import Perception
from crossover_models.stage_clock import StageClock
from crossover_models.threads import use_threads
from crossover_ros.bag_reading import Bag
from crossover_ros.conversions import frame_id, read_cloud, read_image, read_odometry, stamp_ns
from crossover_ros.latency.figures import Pass
from crossover_ros.settings import EncoderNodeSettings, LocalizerNodeSettings
from crossover_ros.worker import CALL, Worker

# Data wait no longer than this for an answer after the last of them.
SETTLE_S = 3.0


@dataclass(frozen=True)
class Sensed:
    """A message in memory with the transforms of its stamp: (T_base_sensor, T_odom_base) of clouds, else empty."""

    kind: str
    stamp_ns: int
    message: Any
    transforms: tuple[Array, ...] = ()


def read_drive(bag_path: Path, settings: EncoderNodeSettings, duration_s: float) -> list[Sensed]:
    """Images, clouds and odometry of a bag's first seconds, in order."""
    out: list[Sensed] = []
    with Bag(bag_path) as bag:
        for entry in bag.messages():
            if entry.kind not in ("image", "points", "odom"):
                continue
            stamp = stamp_ns(entry.message)
            transforms: tuple[Array, ...] = ()
            if stamp - bag.started_ns > duration_s * 1e9:
                break
            if entry.kind == "points":
                look_up = bag.transforms.lookup
                sensor = look_up(settings.base_frame, frame_id(entry.message), stamp)
                transforms = (sensor, look_up(settings.odom_frame, settings.base_frame, stamp))
            out.append(Sensed(entry.kind, stamp, entry.message, transforms))
    return out


class CoreRun:
    """Encoder and localizer in the threads that the nodes give them."""

    def __init__(
        self, perception: Perception, localizer: Localizer, settings: EncoderNodeSettings, embedding_queue: int
    ) -> None:
        self._perception, self._localizer, self._settings = perception, localizer, settings
        self._embedding_queue = embedding_queue
        self._offset_ns, self._encoded_at = 0, -float("inf")
        self.latencies_ms: dict[str, list[float]] = defaultdict(list)
        self.failures: list[str] = []
        self.encoding, self.localizing = perception.clock, localizer.clock
        self._encoder = Worker("encoder", self._encode, self._failed, self.encoding)
        self._localizer_worker = Worker(
            "localizer", self._localize, self._failed, self.localizing, untimed=(CALL, "odometry")
        )

    def drive(self, sensed: Sequence[Sensed]) -> Pass:
        """Feed the data by their stamps, in real time."""
        self._encoder.start()
        self._localizer_worker.start()
        sent: Counter[str] = Counter()
        began, began_cpu = time.monotonic(), _cpu_s()
        self._offset_ns = time.time_ns() - sensed[0].stamp_ns
        for item in sensed:
            delay_s = (item.stamp_ns + self._offset_ns - time.time_ns()) * 1e-9
            if delay_s > 0.0:
                time.sleep(delay_s)
            if item.kind == "odom":
                reading = read_odometry(item.message)
                moved = (reading.stamp_ns, se2_from_se3(reading.T_odom_base))
                self._localizer_worker.put("odometry", moved, depth=1000)
                continue
            sent[item.kind] += 1
            depth = self._settings.cloud_queue if item.kind == "points" else self._settings.image_queue
            self._encoder.put(item.kind, item, depth)
        wall_s, cpu_s = time.monotonic() - began, _cpu_s() - began_cpu
        time.sleep(SETTLE_S)
        self._encoder.stop()
        self._localizer_worker.stop()
        dropped = Counter(self._encoder.dropped)
        for kind, count in self._localizer_worker.dropped.items():
            dropped[f"localizer {kind}"] += count
        stages = {**_named(self.encoding, "encoder"), **_named(self.localizing, "localizer")}
        return Pass("core", dict(self.latencies_ms), stages, cpu_s, wall_s, dict(sent), dict(dropped))

    def _encode(self, kind: str, items: list[Sensed]) -> None:
        if kind == "image":
            for item in items:
                with self.encoding.stage("convert"):
                    frame = read_image(item.message)
                self._hand_over(self._perception.on_image(frame))
            return
        kept = False
        for item in items:
            with self.encoding.stage("convert"):
                sweep = read_cloud(item.message)
            kept |= self._perception.accumulate(PointCloudObservation(sweep.stamp_ns, sweep.points, *item.transforms))
        if kept or time.monotonic() - self._encoded_at >= self._settings.max_silence_s:
            self._hand_over(self._perception.encode_cloud())
            self._encoded_at = time.monotonic()

    def _hand_over(self, embedding: SceneEmbedding) -> None:
        self._localizer_worker.put(f"embedding:{embedding.modality.value}", embedding, self._embedding_queue)

    def _localize(self, kind: str, items: list[Any]) -> None:
        if kind == "odometry":
            for stamp, T_odom_base in items:
                self._localizer.on_odometry(stamp, T_odom_base)
            return
        embedding: SceneEmbedding
        for embedding in items:
            self._localizer.on_embedding(embedding)
            age_ms = (time.time_ns() - embedding.stamp_ns - self._offset_ns) * 1e-6
            self.latencies_ms["image" if embedding.wall_slice is None else "points"].append(age_ms)

    def _failed(self, kind: str, error: Exception) -> None:
        self.failures.append(f"{kind}: {type(error).__name__}: {error}")


def _named(clock: StageClock, node: str) -> dict[str, Any]:
    """Stages by name; those that both nodes have begin with the node's."""
    return {f"{node} {n}" if n in ("wait", "publish") else n: t for n, t in clock.times().items()}


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="core_run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bag", type=Path)
    parser.add_argument("database", type=Path)
    parser.add_argument("--duration", type=float, required=True, help="seconds of the bag")
    parser.add_argument("--checkpoint", default="", help="encoders; default: the shipped ones")
    arguments = parser.parse_args(argv)
    settings = EncoderNodeSettings()
    use_threads(settings.threads)
    clocks = StageClock(), StageClock()
    encoder = load_encoder(arguments.checkpoint, "cpu")
    with MapDatabase.open(arguments.database, encoder.fingerprint) as database:
        told = LocalizerNodeSettings()
        localizer = Localizer(database, told, encoder.encode_text, clock=clocks[1])
    sensed = read_drive(arguments.bag, settings, arguments.duration)
    run = CoreRun(Perception(encoder, settings, clocks[0]), localizer, settings, told.embedding_queue)
    result = run.drive(sensed)
    if run.failures:
        print(f"core: {len(run.failures)} failures, the first: {run.failures[0]}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
