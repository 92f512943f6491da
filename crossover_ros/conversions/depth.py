"""sensor_msgs Image with depths (REP-118: 16UC1 in millimetres, 32FC1 in metres); rclpy's messages and rosbags'."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.depth import depth_points, pinhole_rays, sample_pixels
from crossover_ros.conversions.clouds import Sweep
from crossover_ros.conversions.headers import ConversionError, frame_id, stamp_ns
from crossover_ros.conversions.images import CameraIntrinsics

# A header may promise what no camera has.
MAX_PIXELS = 1 << 27
# Type and size of an element in metres, by encoding.
ENCODINGS = {"16UC1": ("u2", 1e-3), "mono16": ("u2", 1e-3), "32FC1": ("f4", 1.0)}
# A wall seen every few pixels is a wall; a full picture is a million points that say no more.
SPACING_PX = 4


def is_depth(message: Any) -> bool:
    """The message is a depth image (and not a cloud)."""
    return str(getattr(message, "encoding", "")) in ENCODINGS


def read_depth(message: Any, camera: CameraIntrinsics) -> Sweep:
    """Depth image -> sweep in the optical frame, every fourth pixel of every fourth row.

    Args:
        message: depths along the optical axis.
        camera: its calibration; of another size of the same aspect, it is scaled.

    Raises:
        ConversionError: another encoding, sizes that contradict each other, or a calibration for another aspect.
    """
    name = str(message.encoding)
    if name not in ENCODINGS:
        raise ConversionError(f"encoding: {name!r} is not one of depth images: {', '.join(ENCODINGS)}")
    depth = _depth_m(message, *ENCODINGS[name])
    height, width = depth.shape
    scale = width / camera.size_px[0]
    if abs(height - scale * camera.size_px[1]) > 1.0:
        raise ConversionError(f"camera_info: is for {camera.size_px} pixels, the depth image has {(width, height)}")
    matrix = camera.matrix.copy()
    matrix[:2] *= scale
    pixels = sample_pixels((width, height), SPACING_PX)
    rays = pinhole_rays(pixels, matrix)
    if camera.distortion.any():
        undistort = cv2.fisheye.undistortPoints if camera.model == "equidistant" else cv2.undistortPoints
        rays = np.asarray(undistort(pixels[:, None], matrix, camera.distortion), dtype=np.float64)[:, 0]
    points = depth_points(depth, pixels, rays)
    return Sweep(stamp_ns(message), frame_id(message), points, len(pixels) - len(points))


def _depth_m(message: Any, kind: str, unit_m: float) -> NDArray[np.float32]:
    """(H, W) metres, without the padding at the end of the rows."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise ConversionError(f"height, width: {height} x {width} is no picture")
    used = width * int(kind[1])
    if step < used:
        raise ConversionError(f"step: {step} bytes a row, but {width} pixels of {message.encoding} need {used}")
    data = np.frombuffer(message.data, dtype=np.uint8)
    if len(data) < height * step:
        raise ConversionError(f"data: {len(data)} bytes, but height * step = {height} * {step} = {height * step}")
    rows = np.ascontiguousarray(data[: height * step].reshape(height, step)[:, :used])
    return np.asarray(rows.view((">" if message.is_bigendian else "<") + kind).astype(np.float32) * np.float32(unit_m))
