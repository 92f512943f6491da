"""Depth images become the sweeps that a lidar in the camera's place would have seen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from crossover_models.accumulation import CloudAccumulator, wall_slice
from crossover_models.config import AccumulationSettings
from crossover_models.depth import depth_points, pinhole_rays, sample_pixels
from crossover_models.observation import ObservationError, PointCloudObservation
from crossover_ros.conversions import ConversionError, is_depth, read_depth
from crossover_ros.conversions.images import CameraIntrinsics

MATRIX = np.array([[160.0, 0.0, 79.5], [0.0, 160.0, 59.5], [0.0, 0.0, 1.0]])
CAMERA = CameraIntrinsics((160, 120), MATRIX, "plumb_bob", np.zeros(5))


def message(depth_m: NDArray[np.float64], encoding: str = "32FC1", big: bool = False, pad: int = 0) -> Any:
    kind, unit = ("u2", 1e3) if encoding == "16UC1" else ("f4", 1.0)
    rows = (depth_m * unit).astype((">" if big else "<") + kind).view(np.uint8)
    rows = np.pad(rows, [(0, 0), (0, pad)], constant_values=255)
    stamp = SimpleNamespace(sec=3, nanosec=4)
    header = SimpleNamespace(stamp=stamp, frame_id="optical")
    height, width = depth_m.shape
    return SimpleNamespace(
        header=header,
        height=height,
        width=width,
        step=rows.shape[1],
        encoding=encoding,
        is_bigendian=big,
        data=rows.tobytes(),
    )


@pytest.mark.parametrize(("encoding", "big", "pad"), [("32FC1", False, 0), ("16UC1", True, 6), ("16UC1", False, 0)])
def test_a_wall_ahead_is_flat_and_where_it_stands(encoding: str, big: bool, pad: int) -> None:
    depth = np.full((120, 160), 2.5)
    depth[:8] = 0.0
    read = read_depth(message(depth, encoding, big, pad), CAMERA)
    assert read.frame_id == "optical" and read.stamp_ns == 3_000_000_004
    assert read.points[:, 2] == pytest.approx(2.5, abs=1e-3) and read.not_finite == 2 * 40
    # Pixel (156, 116) is the last one sampled.
    assert read.points[-1] == pytest.approx([(156 - 79.5) / 160 * 2.5, (116 - 59.5) / 160 * 2.5, 2.5], abs=1e-3)


def test_holes_are_no_walls() -> None:
    depth = np.full((120, 160), 3.0)
    depth[::8], depth[4::8, ::8] = np.nan, np.inf
    read = read_depth(message(depth), CAMERA)
    assert np.isfinite(read.points).all() and len(read.points) == 15 * 20
    assert len(read_depth(message(np.zeros((120, 160))), CAMERA).points) == 0


@pytest.mark.parametrize(
    ("model", "distortion"), [("plumb_bob", [-0.2, 0.05, 0.001, 0.0, 0.0]), ("equidistant", [0.05, 0.01, 0.0, 0.0])]
)
def test_a_bent_lens_sees_a_point_where_it_is(model: str, distortion: list[float]) -> None:
    camera = CameraIntrinsics((160, 120), MATRIX, model, np.array(distortion))
    points = read_depth(message(np.full((120, 160), 2.0)), camera).points.astype(np.float64)[:, None]
    zero = np.zeros(3)
    if model == "equidistant":
        pixels, _ = cv2.fisheye.projectPoints(points, zero, zero, MATRIX, np.array(distortion))
    else:
        pixels, _ = cv2.projectPoints(points, zero, zero, MATRIX, np.array(distortion))
    np.testing.assert_allclose(pixels[:, 0], sample_pixels((160, 120), 4), atol=0.1)


def test_a_calibration_for_a_larger_picture_is_scaled() -> None:
    small = np.full((60, 80), 2.0)
    points = read_depth(message(small), CAMERA).points
    assert points[0] == pytest.approx([-79.5 / 160 * 2, -59.5 / 160 * 2, 2.0], abs=0.02)


def test_depth_goes_the_way_of_a_sweep_to_a_wall_slice() -> None:
    # A camera 1.2 m above the floor, looking at a wall 3 m ahead of it; base_link on the floor.
    T_base_camera = np.eye(4)
    T_base_camera[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    T_base_camera[:3, 3] = [0.2, 0.0, 1.2]
    read = read_depth(message(np.full((120, 160), 3.0)), CAMERA)
    accumulator = CloudAccumulator(AccumulationSettings())
    accumulator.add(PointCloudObservation(read.stamp_ns, read.points, T_base_camera, np.eye(4)))
    cloud = accumulator.local_cloud()
    assert cloud is not None
    walls = wall_slice(cloud, AccumulationSettings())
    assert walls.points[:, 0] == pytest.approx(3.2, abs=1e-3) and np.ptp(walls.points[:, 1]) > 2.5
    assert walls.origins == pytest.approx(np.array([[0.2, 0.0]]))


def test_messages_that_contradict_themselves_are_named() -> None:
    good = message(np.ones((120, 160)))
    assert is_depth(good) and not is_depth(SimpleNamespace(fields=[]))
    for change, word in (
        ({"encoding": "rgb8"}, "encoding"),
        ({"step": 3}, "step"),
        ({"data": b"12"}, "data"),
        ({"height": 0}, "height"),
        ({"height": 60}, "camera_info"),
    ):
        with pytest.raises(ConversionError, match=word):
            read_depth(SimpleNamespace(**{**vars(good), **change}), CAMERA)
    pixels = sample_pixels((8, 8), 2)
    with pytest.raises(ObservationError, match="outside"):
        depth_points(np.ones((4, 4)), pixels, pinhole_rays(pixels, MATRIX))
    with pytest.raises(ObservationError, match="depth"):
        depth_points(np.ones(4), pixels, pinhole_rays(pixels, MATRIX))
    with pytest.raises(ObservationError, match="spacing"):
        sample_pixels((8, 8), 0)
