"""From sensor data to what the localizer needs: embeddings in the shared space and the walls seen with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crossover_models.accumulation import CloudAccumulator, wall_slice
from crossover_models.config import EncoderSettings
from crossover_models.observation import (
    Code,
    ImageObservation,
    Modality,
    ObservationError,
    PointCloudObservation,
    SceneEmbedding,
    WallSlice,
)
from crossover_models.stage_clock import StageClock

NO_VECTOR: NDArray[np.float32] = np.zeros(0, dtype=np.float32)


class LiveEncoder(Protocol):
    """The part of the unified encoders that runs on live data."""

    @property
    def fingerprint(self) -> str:
        """Identity of weights and settings."""

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Code:
        """Views of one place, each (H, W, 3) RGB."""

    def encode_point_cloud(self, points: NDArray[np.float32], colors: NDArray[np.uint8] | None = None) -> Code:
        """Gravity-aligned points (N, 3), metres."""


class Perception:
    """The encoder stage, with the sensor data it accumulates as its only state."""

    def __init__(self, encoder: LiveEncoder, settings: EncoderSettings, clock: StageClock | None = None) -> None:
        self.settings = settings
        self.clock = clock if clock is not None else StageClock()
        self._encoder = encoder
        self._accumulator = CloudAccumulator(settings.accumulation)

    @property
    def fingerprint(self) -> str:
        """Of the encoder; goes into every embedding."""
        return self._encoder.fingerprint

    def clear(self) -> None:
        """Forget the accumulated sweeps."""
        self._accumulator.clear()

    def on_image(self, observation: ImageObservation) -> SceneEmbedding:
        """Encode one frame."""
        with self.clock.stage("encode"):
            code = self._encoder.encode_images([observation.image])
        return SceneEmbedding(observation.stamp_ns, Modality.IMAGE, code.vector, self.fingerprint, tokens=code.tokens)

    def accumulate(self, observation: PointCloudObservation) -> bool:
        """Take a sweep into the local cloud without encoding it; returns whether it was kept as a new view."""
        with self.clock.stage("preprocess"):
            return self._accumulator.add(observation)

    def on_cloud(self, observation: PointCloudObservation) -> SceneEmbedding | None:
        """Accumulate a sweep and encode the local cloud around it; None if the sweep added no new view.

        Raises:
            ObservationError: no return of any sweep so far is within range, so there is nothing to encode.
        """
        if not self.accumulate(observation):
            return None
        return self.encode_cloud()

    def encode_cloud(self) -> SceneEmbedding:
        """Encode the local cloud as it is, with its wall slice.

        Raises:
            ObservationError: nothing was accumulated.
        """
        with self.clock.stage("preprocess"):
            cloud = self._accumulator.local_cloud()
            if cloud is None or not len(cloud.points):
                raise ObservationError("points: no return within range, nothing to encode")
            floor = np.array([0.0, 0.0, self.settings.accumulation.floor_below_base_m], dtype=np.float32)
            points, walls = cloud.points + floor, wall_slice(cloud, self.settings.accumulation)
        with self.clock.stage("encode"):
            code = self._encoder.encode_point_cloud(points)
        return SceneEmbedding(cloud.stamp_ns, Modality.POINT_CLOUD, code.vector, self.fingerprint, walls, code.tokens)

    def on_scan(self, scan: WallSlice) -> SceneEmbedding:
        """Pass a planar scan on: it has walls but no place in the embedding space."""
        return SceneEmbedding(scan.stamp_ns, Modality.POINT_CLOUD, NO_VECTOR, self.fingerprint, scan)
