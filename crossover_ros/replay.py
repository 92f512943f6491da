"""A bag through the core, as fast as it goes: the conversions and stages of the live nodes, in one thread."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from crossover_models.estimate import RelocalizeRequest
from crossover_models.evaluation.run_record import RelocalizeEvent, RunWriter
from crossover_models.geometry import Array, se2_from_se3
from crossover_models.localizer import Localizer
from crossover_models.observation import ObservationError, PointCloudObservation, SceneEmbedding
from crossover_models.perception import Perception
from crossover_ros.bag_reading import Bag, BagMessage
from crossover_ros.conversions import (
    ConversionError,
    Sweep,
    frame_id,
    read_cloud,
    read_compressed_image,
    read_depth,
    read_image,
    read_odometry,
    read_scan,
    stamp_ns,
)
from crossover_ros.settings import EncoderNodeSettings
from crossover_ros.transform_buffer import TransformError

Progress = Callable[[float], None]
CLOUD_RATE_HZ = 2.5


@dataclass
class ReplayCounts:
    """Messages taken in, and those dropped, by reason."""

    taken: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


class Replay:
    """The encoder node and the localizer node without ROS.

    Nothing is dropped for lack of time, so two replays of a bag give the same estimates. ``latency_s`` of an estimate
    is the computation it took. As the live encoder does while it is busy, sweeps are accumulated one by one and
    encoded together, here at most ``cloud_rate_hz`` times a second of the bag's time.
    """

    def __init__(
        self,
        perception: Perception,
        localizer: Localizer,
        settings: EncoderNodeSettings,
        writer: RunWriter,
        cloud_rate_hz: float = CLOUD_RATE_HZ,
    ) -> None:
        self._perception, self._localizer = perception, localizer
        self._settings, self._writer = settings, writer
        self._cloud_rate_hz = cloud_rate_hz
        self._new_view = False
        self._encoded_ns: dict[str, int] = {}
        self.counts = ReplayCounts()

    def run(
        self,
        bag: Bag,
        duration_s: float | None = None,
        relocalize_after_s: float | None = None,
        progress: Progress = lambda _: None,
    ) -> None:
        """Replay until the end or for ``duration_s``; ask ``relocalize`` once, without applying the answer."""
        asked = relocalize_after_s is None
        for entry in bag.messages():
            try:
                stamp = stamp_ns(entry.message)
            except ConversionError as error:
                self._drop(entry.kind, error)
                continue
            since_s = (stamp - bag.started_ns) * 1e-9
            if duration_s is not None and since_s > duration_s:
                if entry.recorded_ns > bag.started_ns + (duration_s + 5.0) * 1e9:
                    break
                continue
            self._take(bag, entry, stamp)
            if not asked and relocalize_after_s is not None and since_s >= relocalize_after_s:
                asked = True
                self._relocalize(stamp)
            progress(since_s)

    def _take(self, bag: Bag, entry: BagMessage, stamp: int) -> None:
        began = time.perf_counter()
        try:
            embedding = self._embedding(bag, entry, stamp)
        except (ConversionError, TransformError, ObservationError) as error:
            self._drop(entry.kind, error)
            return
        self.counts.taken[entry.kind] += 1
        if embedding is None:
            return
        retrieval = self._localizer.last_retrieval
        estimate = self._localizer.on_embedding(embedding)
        self._writer.estimate(estimate, time.perf_counter() - began)
        latest = self._localizer.last_retrieval
        if latest is not None and latest is not retrieval:
            self._writer.retrieval(latest)

    def _embedding(self, bag: Bag, entry: BagMessage, stamp: int) -> SceneEmbedding | None:
        s, message = self._settings, entry.message
        if entry.kind == "odom":
            reading = read_odometry(message)
            self._localizer.on_odometry(reading.stamp_ns, se2_from_se3(reading.T_odom_base))
            return None
        if entry.kind == "image":
            return self._image(entry, stamp)
        frame = frame_id(message)
        T_base_sensor = bag.transforms.lookup(s.base_frame, frame, stamp)
        T_odom_base = bag.transforms.lookup(s.odom_frame, s.base_frame, stamp)
        if entry.kind == "scan":
            return self._perception.on_scan(read_scan(message, T_base_sensor, T_odom_base))
        camera = bag.depth_camera if entry.kind == "depth" else None
        sweep = read_cloud(message) if camera is None else read_depth(message, camera)
        return self._cloud(sweep, stamp, T_base_sensor, T_odom_base)

    def _image(self, entry: BagMessage, stamp: int) -> SceneEmbedding | None:
        camera = frame_id(entry.message)
        if self._is_recent(f"image {camera}", stamp, 1.0 / self._settings.max_image_rate_hz):
            return None
        compressed = entry.message_type.endswith("CompressedImage")
        return self._perception.on_image((read_compressed_image if compressed else read_image)(entry.message))

    def _cloud(self, sweep: Sweep, stamp: int, T_base_sensor: Array, T_odom_base: Array) -> SceneEmbedding | None:
        if not len(sweep.points):
            raise ObservationError(f"points: all {sweep.not_finite} are not finite")
        self._new_view |= self._perception.accumulate(
            PointCloudObservation(stamp, sweep.points, T_base_sensor, T_odom_base)
        )
        period_s = 1.0 / self._cloud_rate_hz if self._new_view else self._settings.max_silence_s
        if self._is_recent("points", stamp, period_s):
            return None
        self._new_view = False
        return self._perception.encode_cloud()

    def _is_recent(self, what: str, stamp: int, period_s: float) -> bool:
        """Whether something was encoded less than a period ago; if not, now is the time."""
        last = self._encoded_ns.get(what)
        if last is not None and 0 <= stamp - last < period_s * 1e9 * 0.999:
            return True
        self._encoded_ns[what] = stamp
        return False

    def _relocalize(self, stamp: int) -> None:
        began = time.perf_counter()
        response = self._localizer.relocalize(RelocalizeRequest())
        self._writer.relocalize(RelocalizeEvent(stamp, time.perf_counter() - began, False, response))

    def _drop(self, kind: str, error: Exception) -> None:
        self.counts.dropped[f"{kind}: {_without_numbers(str(error))}"] += 1


def _without_numbers(text: str) -> str:
    """A reason to count by: without the stamps and values that differ from message to message."""
    return " ".join("#" if any(c.isdigit() for c in word) else word for word in text.split())
