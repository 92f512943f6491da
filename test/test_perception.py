"""The encoder stage: what is encoded, with which walls, and when nothing is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from crossover_models.config import AccumulationSettings, EncoderSettings
from crossover_models.geometry import se3_from_se2
from crossover_models.observation import Code, ImageObservation, Modality, ObservationError, PointCloudObservation
from crossover_models.perception import Perception


class Listening:
    """Remembers what it was given to encode."""

    fingerprint = "listening"

    def __init__(self) -> None:
        self.points: NDArray[np.float32] | None = None
        self.images: Sequence[NDArray[np.uint8]] = ()

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Code:
        self.images = images
        return Code(np.array([1, 0], dtype=np.float32), np.array([3, -4], dtype=np.int8))

    def encode_point_cloud(self, points: NDArray[np.float32], colors: NDArray[np.uint8] | None = None) -> Code:
        self.points = points
        return Code(np.array([0, 1], dtype=np.float32), np.array([5, -6, 7], dtype=np.int8))


def column(height_of_base_m: float, stamp_ns: int = 5, x: float = 0.0) -> PointCloudObservation:
    """A pole 3 m ahead of the world's origin, from the floor to 2 m, seen by a lidar 0.4 m above base_link."""
    z = np.arange(0.0, 2.0, 0.1)
    points = np.stack([np.full_like(z, 3.0 - x), np.zeros_like(z), z - height_of_base_m - 0.4], axis=1)
    return PointCloudObservation(
        stamp_ns, points.astype(np.float32), se3_from_se2([0, 0, 0], 0.4), se3_from_se2([x, 0, 0], height_of_base_m)
    )


@pytest.mark.parametrize("height_of_base_m", [0.0, 0.7])
def test_points_reach_the_encoder_with_the_floor_at_zero(height_of_base_m: float) -> None:
    encoder = Listening()
    accumulation = AccumulationSettings(floor_below_base_m=height_of_base_m)
    embedding = Perception(encoder, EncoderSettings(accumulation=accumulation)).on_cloud(column(height_of_base_m))
    assert encoder.points is not None and embedding is not None
    assert encoder.points[:, 2].min() == pytest.approx(0.0, abs=1e-5)
    assert encoder.points[:, 2].max() == pytest.approx(1.9, abs=1e-5)
    assert embedding.modality == Modality.POINT_CLOUD and embedding.fingerprint == "listening"
    assert embedding.vector.tolist() == [0, 1] and embedding.tokens.tolist() == [5, -6, 7]
    assert embedding.wall_slice is not None
    assert embedding.wall_slice.points == pytest.approx(np.array([[3.0, 0.0]]), abs=1e-5)


def test_a_sweep_from_the_same_spot_is_not_encoded_again() -> None:
    perception = Perception(Listening(), EncoderSettings())
    assert perception.on_cloud(column(0.0)) is not None
    assert perception.on_cloud(column(0.0, stamp_ns=6)) is None
    moved = perception.on_cloud(column(0.0, stamp_ns=7, x=0.5))
    assert moved is not None and moved.stamp_ns == 7 and moved.wall_slice is not None
    assert moved.wall_slice.scans == 2


def test_nothing_within_range_is_an_error_and_not_a_vector() -> None:
    far = PointCloudObservation(0, np.full((5, 3), 90.0, dtype=np.float32), np.eye(4), np.eye(4))
    with pytest.raises(ObservationError, match="nothing to encode"):
        Perception(Listening(), EncoderSettings()).on_cloud(far)


def test_a_frame_is_encoded_alone_and_brings_no_walls() -> None:
    encoder = Listening()
    frame = np.zeros((4, 6, 3), dtype=np.uint8)
    embedding = Perception(encoder, EncoderSettings()).on_image(ImageObservation(9, frame))
    assert len(encoder.images) == 1 and encoder.images[0] is frame
    assert (embedding.stamp_ns, embedding.modality, embedding.wall_slice) == (9, Modality.IMAGE, None)
    assert embedding.tokens.tolist() == [3, -4]


def test_a_planar_scan_passes_through_without_a_vector() -> None:
    perception = Perception(Listening(), EncoderSettings())
    seen = perception.on_cloud(column(0.0))
    assert seen is not None and seen.wall_slice is not None
    scan = perception.on_scan(seen.wall_slice)
    assert scan.wall_slice is seen.wall_slice and len(scan.vector) == 0
