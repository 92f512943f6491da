"""The node ``encoder``: images, clouds and scans in, scene embeddings out."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2

import crossover_ros.msg as messages
from crossover_models.estimate import FailureCategory
from crossover_models.geometry import Array
from crossover_models.observation import ImageObservation, ObservationError, PointCloudObservation, SceneEmbedding
from crossover_models.perception import Perception
from crossover_models.stage_clock import StageClock
from crossover_models.threads import use_threads
from crossover_ros import conversions
from crossover_ros.conversions.answers import embedding_message
from crossover_ros.encoder_source import EncoderSource
from crossover_ros.input_rates import InputRates
from crossover_ros.managed_node import ManagedNode
from crossover_ros.settings import EncoderNodeSettings
from crossover_ros.transforms import TransformGate, listen
from crossover_ros.worker import Worker

# Takes (embedding, age in seconds at the encoder); how the localizer of the same process gets its data.
Listener = Callable[[SceneEmbedding, float], None]

POLL_S = 0.02
# While clouds give walls, a planar scan would only replace them by less.
SCAN_AFTER_CLOUD_S = 2.0
# A sweep with a smaller share of returns in range is told of.
USABLE_SHARE = 0.05
# Worker queue of each sensor.
CLOUD, SCAN, IMAGE = "points", "scan", "image"


class EncoderNode(ManagedNode[EncoderNodeSettings]):
    """Converts messages, looks up their transforms, encodes in a worker thread and publishes."""

    def __init__(
        self, source: EncoderSource, listener: Listener | None = None, elsewhere: Collection[str] = (), **options: Any
    ) -> None:
        super().__init__("encoder", EncoderNodeSettings(), elsewhere, **options)
        self._source, self._listener = source, listener
        self._perception: Perception | None = None
        self._cameras: dict[str, conversions.CameraIntrinsics] = {}
        self._frame_taken_at: dict[str, float] = {}
        self._cloud_encoded_at = self._cloud_seen_at = self._data_at = -float("inf")
        self._latency_s = self._runtime_s = 0.0
        self._rates = InputRates()
        self._fallback = ""
        self._inputs: list[Any] = []
        self._publisher: Any = None
        self.clock = StageClock()
        self._worker = Worker("encoder", self._work, self.work_failed, self.clock)
        transforms = listen(self, lambda text: self.report("transforms_refused", text), self._poll)
        self._gate = TransformGate(transforms, self._release, self._refuse)
        # New transforms release what waits for them at once; this refuses what has waited too long. It runs only while
        # something waits: every tick costs rclpy's executor more than a millisecond.
        self._patience = self.create_timer(POLL_S, self._poll, clock=self.steady)
        self._patience.cancel()

    @property
    def diagnostics_period_s(self) -> float:
        """Time between two diagnostics."""
        return self.settings.diagnostics_period_s

    # -- lifecycle -------------------------------------------------------------------------------------------------

    def set_up(self) -> None:
        """Load the encoders and subscribe."""
        use_threads(self.settings.threads)
        encoder = self._source.get(self.settings.checkpoint, self.settings.device)
        self._perception = Perception(encoder, self.settings, self.clock)
        reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self._publisher = self.create_publisher(messages.SceneEmbedding, "scene_embedding", reliable)
        for kind, topic, name, callback in (
            (Image, "image", IMAGE, lambda m: self._on_image(m, conversions.read_image)),
            (
                CompressedImage,
                "image/compressed",
                IMAGE,
                lambda m: self._on_image(m, conversions.read_compressed_image),
            ),
            (CameraInfo, "camera_info", "camera_info", self._on_camera_info),
            (PointCloud2, "points", CLOUD, lambda m: self._on_geometry(CLOUD, m)),
            (Image, "depth", CLOUD, lambda m: self._on_geometry(CLOUD, m)),
            (CameraInfo, "depth/camera_info", "camera_info", self._on_camera_info),
            (LaserScan, "scan", SCAN, lambda m: self._on_geometry(SCAN, m)),
        ):
            subscription = self.create_subscription(
                kind,
                topic,
                self.guarded(name, callback),
                qos_profile_sensor_data,
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
            self._inputs.append(subscription)
        runtime = getattr(encoder, "runtime", "")
        self.get_logger().info(f"encoders {encoder.fingerprint} ready{f'; images: {runtime}' if runtime else ''}")

    def go(self) -> None:
        """Start the worker."""
        self._worker.start()

    def pause(self) -> None:
        """Stop the worker; what was accumulated is of another time when the node goes on."""
        self._worker.stop()
        self._gate.clear()
        self._rates.clear()
        if self._perception is not None:
            self._perception.clear()

    def tear_down(self) -> None:
        """Unsubscribe; the encoders stay loaded for the next time."""
        self._worker.stop()
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()
        if self._publisher is not None:
            self.destroy_publisher(self._publisher)
            self._publisher = None
        self._perception = None

    def on_settings(self, old: EncoderNodeSettings) -> None:
        """Take accumulation settings over with the next sweep; what was accumulated under the old ones is forgotten."""
        if old.accumulation != self.settings.accumulation and self.configured:
            encoder = self._source.get(self.settings.checkpoint, self.settings.device)
            self._perception = Perception(encoder, self.settings, self.clock)

    # -- executor thread -------------------------------------------------------------------------------------------

    def _on_image(self, message: Any, read: Callable[[Any], ImageObservation]) -> None:
        self.counters["images"] += 1
        self._data_at = now = time.monotonic()
        self._rates.heard(IMAGE, now)
        camera = conversions.frame_id(message)
        if now - self._frame_taken_at.get(camera, -float("inf")) < 1.0 / self.settings.max_image_rate_hz:
            return
        self._frame_taken_at[camera] = now
        item = (read, message, self._received(conversions.stamp_ns(message)))
        self._worker.put(f"{IMAGE}:{camera}", item, self.settings.image_queue)

    def _on_camera_info(self, message: Any) -> None:
        self._cameras[conversions.frame_id(message)] = conversions.read_camera_info(message)

    def _on_geometry(self, kind: str, message: Any) -> None:
        self.counters[kind] += 1
        self._data_at = now = time.monotonic()
        self._rates.heard(kind, now)
        stamp, frame, s = conversions.stamp_ns(message), conversions.frame_id(message), self.settings
        if kind == CLOUD:
            self._cloud_seen_at = now
        elif now - self._cloud_seen_at < SCAN_AFTER_CLOUD_S:
            return
        pairs = ((s.base_frame, frame), (s.odom_frame, s.base_frame))
        self._gate.put((kind, message, self._received(stamp), now), pairs, stamp, now, s.transform_timeout_s)
        if len(self._gate) and self._patience.is_canceled():
            self._patience.reset()

    def _received(self, stamp_ns: int) -> float:
        """Age (s) of data that have come in, which is what their way here took."""
        age_s = self.age_s(stamp_ns)
        self.clock.add("receive", age_s)
        return age_s

    def _poll(self) -> None:
        self._gate.poll(time.monotonic())
        if not len(self._gate):
            self._patience.cancel()

    def _release(self, item: Any, transforms: tuple[Array, ...]) -> None:
        kind, message, age_s, since = item
        self.clock.add("transforms", time.monotonic() - since)
        self._worker.put(kind, (message, transforms, age_s), self.settings.cloud_queue if kind == CLOUD else 1)

    def _refuse(self, item: Any, reason: str) -> None:
        self.report("transforms_failed", f"{item[0]}: {reason}")

    # -- worker thread ---------------------------------------------------------------------------------------------

    def _work(self, kind: str, items: list[Any]) -> None:
        if self._perception is None:
            return
        if kind == CLOUD:
            self._encode_clouds(self._perception, items)
        elif kind == SCAN:
            message, (T_base_sensor, T_odom_base), age_s = items[-1]
            began = time.perf_counter()
            with self.clock.stage("convert"):
                scan = conversions.read_scan(message, T_base_sensor, T_odom_base)
            if not len(scan.points):
                text = f"ranges: none of {len(message.ranges)} is between {message.range_min} and {message.range_max} m"
                raise ObservationError(text)
            self._publish(self._perception.on_scan(scan), age_s, began)
        else:
            self._encode_images(self._perception, items)

    def _encode_images(self, perception: Perception, items: Sequence[Any]) -> None:
        """Encode every frame that waits, each for itself: one that is refused takes no other with it."""
        for read, message, age_s in items:
            began = time.perf_counter()
            try:
                with self.clock.stage("convert"):
                    frame = self._rectified(read(message))
                self._publish(perception.on_image(frame), age_s, began)
            except Exception as error:
                self.work_failed(IMAGE, error)

    def _rectified(self, observation: ImageObservation) -> ImageObservation:
        if not self.settings.rectify_images:
            return observation
        camera = self._cameras.get(observation.camera_id)
        if camera is None:
            raise ObservationError(f"camera_info: none of {observation.camera_id} so far, but rectify_images needs it")
        return ImageObservation(observation.stamp_ns, camera.rectified(observation.image), observation.camera_id)

    def _sweep(self, message: Any) -> conversions.Sweep:
        """Of a cloud, or of a depth image, whose camera must have introduced itself."""
        if not conversions.is_depth(message):
            return conversions.read_cloud(message)
        frame = conversions.frame_id(message)
        if frame not in self._cameras:
            raise ObservationError(f"depth/camera_info: none of {frame} so far, but depths mean nothing without it")
        return conversions.read_depth(message, self._cameras[frame])

    def _encode_clouds(self, perception: Perception, items: Sequence[Any]) -> None:
        """Accumulate every sweep that waits, then encode once."""
        began, kept, newest_age_s, usable = time.perf_counter(), False, 0.0, False
        for message, (T_base_sensor, T_odom_base), age_s in items:
            try:
                with self.clock.stage("convert"):
                    sweep = self._sweep(message)
                if sweep.not_finite:
                    self.counters["nan_points"] += sweep.not_finite
                if not len(sweep.points):
                    total = sweep.not_finite
                    raise ObservationError(f"no usable point: {total} of {total} are not finite")
                if sweep.left_out:
                    total = len(sweep.points) + sweep.not_finite + sweep.left_out
                    text = f"{total} points, more than {conversions.MAX_POINTS}: {sweep.left_out} are left out"
                    self.report(f"{CLOUD}_too_many", f"{CLOUD}: height * width: {text}")
                self._check_ranges(sweep)
                observation = PointCloudObservation(sweep.stamp_ns, sweep.points, T_base_sensor, T_odom_base)
                kept |= perception.accumulate(observation)
                usable, newest_age_s = True, age_s
            except ValueError as error:
                self.report(f"{CLOUD}_refused", f"{CLOUD}: {error}")
        silence_s = time.monotonic() - self._cloud_encoded_at
        if usable and (kept or silence_s >= self.settings.max_silence_s):
            self._publish(perception.encode_cloud(), newest_age_s, began)
            self._cloud_encoded_at = time.monotonic()

    def _check_ranges(self, sweep: conversions.Sweep) -> None:
        """Tell of a sweep with next to no return in range: bytes in the wrong order look so, and an open field."""
        s = self.settings.accumulation
        reach = np.linalg.norm(sweep.points, axis=1)
        usable = int(((reach >= s.min_range_m) & (reach <= s.max_range_m)).sum())
        if usable < USABLE_SHARE * len(reach):
            text = f"{usable} of {len(reach)} returns are between {s.min_range_m} and {s.max_range_m} m"
            self.report(f"{CLOUD}_out_of_range", f"{CLOUD}: {text}, the median is at {np.median(reach):.3g} m")

    def _publish(self, embedding: SceneEmbedding, age_s: float, began: float) -> None:
        self._runtime_s = time.perf_counter() - began
        publisher = self._publisher
        if publisher is None or not self.active:
            return
        with self.clock.stage("publish"):
            publisher.publish(embedding_message(embedding, self.settings.base_frame, age_s, self._runtime_s))
        if self._listener is not None:
            self._listener(embedding, age_s)
        self.counters["embeddings"] += 1
        self._latency_s = self.age_s(embedding.stamp_ns)

    # -- diagnostics -----------------------------------------------------------------------------------------------

    def status(self) -> tuple[FailureCategory, str, dict[str, str]]:
        """Failure category, sentence and latencies."""
        dropped: Counter[str] = Counter()
        for kind, count in list(self._worker.dropped.items()):
            dropped[f"{kind.partition(':')[0]}_dropped"] += count
        self.counters |= dropped
        values = {"latency_s": f"{self._latency_s:.3f}", "runtime_s": f"{self._runtime_s:.3f}"}
        rates, weak, bursts = self._rates.judge(time.monotonic())
        values |= {f"{name}_hz": f"{rate:.1f}" for name, rate in rates.items()}
        if self._source.fallback:
            values["device"] = self._source.fallback
            if self._source.fallback != self._fallback:
                self._fallback = self._source.fallback
                self.report("device_fell_back", self._fallback)
        values |= self.clock.diagnostics()
        values["busy_s"], values["waiting_for_transforms"] = f"{self._worker.busy_s:.3f}", str(len(self._gate))
        if self.failure_text:
            return FailureCategory.NO_SENSOR_DATA, f"not configured: {self.failure_text}", values
        if not self.active:
            return FailureCategory.NO_SENSOR_DATA, "inactive", values
        silent_s = time.monotonic() - self._data_at
        if silent_s > 3.0:
            return FailureCategory.NO_SENSOR_DATA, "no image, cloud or scan in the last 3 s", values
        if not self.counters["embeddings"]:
            return FailureCategory.NO_SENSOR_DATA, "data arrive, but none could be used so far", values
        if self.settings.overload_s < self._latency_s < 60.0:
            return FailureCategory.OVERLOAD, f"data are {self._latency_s:.1f} s old when encoded", values
        if weak:
            return FailureCategory.NO_SENSOR_DATA, "; ".join(weak), values
        if bursts:
            return FailureCategory.OVERLOAD, "; ".join(bursts), values
        return FailureCategory.HEALTHY, "", values

    def destroy_node(self) -> None:
        """Stop the worker and destroy the node."""
        self._worker.stop()
        super().destroy_node()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the encoder alone."""
    from crossover_ros.localize import run

    return run(argv, ("encoder",))


if __name__ == "__main__":
    sys.exit(main())
