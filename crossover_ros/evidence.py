"""Frames and clouds of chosen moments of a bag, accumulated as the encoder does, for the report."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.accumulation import CloudAccumulator, wall_slice
from crossover_models.evaluation.evidence import Evidence
from crossover_models.geometry import relative_se2, se2_from_se3
from crossover_models.observation import ObservationError, PointCloudObservation, WallSlice
from crossover_ros.bag_reading import Bag, BagMessage
from crossover_ros.conversions import (
    ConversionError,
    frame_id,
    read_cloud,
    read_compressed_image,
    read_image,
    read_scan,
    stamp_ns,
)
from crossover_ros.settings import EncoderNodeSettings
from crossover_ros.transform_buffer import TransformError

# A frame older than this shows another spot; and no picture in a report is wider.
FRAME_AGE_S, FRAME_WIDTH_PX = 1.0, 360


class EvidenceCollector:
    """Reads a bag once and keeps what was seen at the wanted stamps.

    Args:
        stamps_ns: the moments.
        settings: of the encoder node: frames, ranges, how far clouds are accumulated.
    """

    def __init__(self, stamps_ns: Collection[int], settings: EncoderNodeSettings) -> None:
        self._stamps = sorted(set(stamps_ns))
        self._settings = settings
        self._accumulator = CloudAccumulator(settings.accumulation)
        self._frames: dict[int, tuple[int, NDArray[np.uint8]]] = {}
        self._seen: dict[int, tuple[NDArray[np.float32] | None, WallSlice | None]] = {}
        self._scan: WallSlice | None = None
        self._taken = 0

    def collect(self, bag: Bag) -> dict[int, Evidence]:
        """Evidence by stamp. Damaged messages are passed over: the replay has counted them."""
        if not self._stamps:
            return {}
        for entry in bag.messages():
            try:
                stamp = stamp_ns(entry.message)
                if entry.kind == "image":
                    self._on_image(entry, stamp)
                elif entry.kind in ("points", "scan"):
                    self._on_geometry(bag, entry.kind, entry.message, stamp)
            except (ConversionError, TransformError, ObservationError):
                continue
            if stamp > self._stamps[-1] + FRAME_AGE_S * 1e9:
                break
        self._take_until(None)
        return {stamp: self._evidence(bag, stamp) for stamp in self._stamps}

    def _on_image(self, entry: BagMessage, stamp: int) -> None:
        """Keep the newest frame before each wanted moment."""
        k = bisect_left(self._stamps, stamp)
        if k == len(self._stamps) or self._stamps[k] - stamp > FRAME_AGE_S * 1e9:
            return
        if stamp >= self._frames.get(self._stamps[k], (stamp,))[0]:
            self._frames[self._stamps[k]] = stamp, _thumbnail(entry)

    def _on_geometry(self, bag: Bag, kind: str, message: Any, stamp: int) -> None:
        self._take_until(stamp)
        s, frame = self._settings, frame_id(message)
        T_base_sensor = bag.transforms.lookup(s.base_frame, frame, stamp)
        T_odom_base = bag.transforms.lookup(s.odom_frame, s.base_frame, stamp)
        if kind == "scan":
            self._scan = read_scan(message, T_base_sensor, T_odom_base)
        else:
            self._accumulator.add(PointCloudObservation(stamp, read_cloud(message).points, T_base_sensor, T_odom_base))

    def _take_until(self, stamp: int | None) -> None:
        """Keep the cloud as it is for wanted moments before ``stamp``, which the next sweep comes after."""
        while self._taken < len(self._stamps) and (stamp is None or self._stamps[self._taken] < stamp):
            cloud = self._accumulator.local_cloud()
            if cloud is not None:
                self._seen[self._stamps[self._taken]] = cloud.points, wall_slice(cloud, self._settings.accumulation)
            else:
                self._seen[self._stamps[self._taken]] = None, self._scan
            self._taken += 1

    def _evidence(self, bag: Bag, stamp: int) -> Evidence:
        cloud, walls = self._seen.get(stamp, (None, None))
        # Frames older than the wanted moment before this one were kept for that one.
        upto = self._stamps[: bisect_left(self._stamps, stamp) + 1]
        at, frame = max(
            (self._frames[s] for s in upto if s in self._frames), key=lambda kept: kept[0], default=(0, None)
        )
        age_s = (stamp - at) * 1e-9
        if frame is None or age_s > FRAME_AGE_S:
            frame, age_s = None, 0.0
        since = np.zeros(3)
        if walls is not None and walls.stamp_ns != stamp:
            with suppress(TransformError):
                T_odom_base = bag.transforms.lookup(self._settings.odom_frame, self._settings.base_frame, stamp)
                since = relative_se2(se2_from_se3(T_odom_base), walls.T_odom_aligned)
        return Evidence(stamp, frame, age_s, cloud, walls, since)


def _thumbnail(entry: BagMessage) -> NDArray[np.uint8]:
    compressed = entry.message_type.endswith("CompressedImage")
    image = (read_compressed_image if compressed else read_image)(entry.message).image
    scale = min(1.0, FRAME_WIDTH_PX / image.shape[1])
    size = max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0]))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
