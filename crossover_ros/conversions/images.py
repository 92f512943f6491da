"""sensor_msgs Image, CompressedImage and CameraInfo; works on rclpy's messages and on those that rosbags reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.observation import ImageObservation
from crossover_models.picture_bytes import PictureError, check_picture
from crossover_ros.conversions.headers import ConversionError, frame_id, stamp_ns

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class _Encoding:
    """``channels`` of ``depth_bytes`` a pixel, and OpenCV's code to RGB (None: RGB already)."""

    channels: int
    depth_bytes: int = 1
    code: int | None = None


_MONO, _BGR = cv2.COLOR_GRAY2RGB, cv2.COLOR_BGR2RGB
_UYVY, _YUYV = cv2.COLOR_YUV2RGB_UYVY, cv2.COLOR_YUV2RGB_YUY2
# Names of sensor_msgs/image_encodings.hpp; OpenCV's own type names count as cv_bridge reads them (8UC3 is BGR).
ENCODINGS: dict[str, _Encoding] = {
    "rgb8": _Encoding(3),
    "bgr8": _Encoding(3, code=_BGR),
    "8UC3": _Encoding(3, code=_BGR),
    "rgba8": _Encoding(4, code=cv2.COLOR_RGBA2RGB),
    "bgra8": _Encoding(4, code=cv2.COLOR_BGRA2RGB),
    "8UC4": _Encoding(4, code=cv2.COLOR_BGRA2RGB),
    "mono8": _Encoding(1, code=_MONO),
    "8UC1": _Encoding(1, code=_MONO),
    "rgb16": _Encoding(3, 2),
    "bgr16": _Encoding(3, 2, _BGR),
    "16UC3": _Encoding(3, 2, _BGR),
    "rgba16": _Encoding(4, 2, cv2.COLOR_RGBA2RGB),
    "bgra16": _Encoding(4, 2, cv2.COLOR_BGRA2RGB),
    "mono16": _Encoding(1, 2, _MONO),
    "yuv422": _Encoding(2, code=_UYVY),
    "uyvy": _Encoding(2, code=_UYVY),
    "yuv422_yuy2": _Encoding(2, code=_YUYV),
    "yuyv": _Encoding(2, code=_YUYV),
    "bayer_rggb8": _Encoding(1, code=cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr8": _Encoding(1, code=cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg8": _Encoding(1, code=cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg8": _Encoding(1, code=cv2.COLOR_BayerGRBG2RGB),
    "bayer_rggb16": _Encoding(1, 2, cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr16": _Encoding(1, 2, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg16": _Encoding(1, 2, cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg16": _Encoding(1, 2, cv2.COLOR_BayerGRBG2RGB),
}


def read_image(message: Any) -> ImageObservation:
    """sensor_msgs/Image -> observation; 16-bit channels keep their upper byte.

    Raises:
        ConversionError: an encoding that is not a picture (depth, float), or sizes that contradict each other.
    """
    name = str(message.encoding)
    encoding = ENCODINGS.get(name)
    if encoding is None:
        raise ConversionError(f"encoding: {name!r} is not a picture this node reads: {', '.join(ENCODINGS)}")
    raw = _rows(message, encoding)
    if name.startswith("bayer") and min(raw.shape[:2]) < 3:
        raise ConversionError(f"height, width: {raw.shape[:2]} is too small for a Bayer mosaic")
    if encoding.channels == 2 and raw.shape[1] % 2:
        raise ConversionError(f"width: {raw.shape[1]} is odd, but {name} stores pixels in pairs")
    try:
        image = raw if encoding.code is None else cv2.cvtColor(raw, encoding.code)
    except cv2.error as error:
        raise ConversionError(f"data: {name} of {raw.shape} cannot be converted: {error.err}") from None
    # A copy: the buffer belongs to the message, and a worker looks at it later.
    return ImageObservation(stamp_ns(message), np.array(image, dtype=np.uint8, order="C"), frame_id(message))


def _rows(message: Any, encoding: _Encoding) -> Pixels:
    """(H, W[, C]) uint8 pixels, without the padding at the end of the rows."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    if height < 1 or width < 1:
        raise ConversionError(f"height, width: {height} x {width} holds no pixel")
    used = width * encoding.channels * encoding.depth_bytes
    if step < used:
        raise ConversionError(f"step: {step} bytes a row, but {width} pixels of {message.encoding} need {used}")
    data = np.frombuffer(message.data, dtype=np.uint8)
    if len(data) < height * step:
        raise ConversionError(f"data: {len(data)} bytes, but height * step = {height} * {step} = {height * step}")
    rows = data[: height * step].reshape(height, step)[:, :used]
    if encoding.depth_bytes == 2:
        order = ">u2" if message.is_bigendian else "<u2"
        rows = (np.ascontiguousarray(rows).view(order) >> 8).astype(np.uint8)
    shape = (height, width) if encoding.channels == 1 else (height, width, encoding.channels)
    return np.ascontiguousarray(rows).reshape(shape)


def read_compressed_image(message: Any) -> ImageObservation:
    """sensor_msgs/CompressedImage (JPEG, PNG, WebP) -> observation.

    Raises:
        ConversionError: another format, a depth image, bytes that are cut short or no picture at all.
    """
    declared = str(message.format)
    if "compressedDepth" in declared:
        raise ConversionError(f"format: {declared!r} is a depth image, not a picture")
    data = bytes(np.frombuffer(message.data, dtype=np.uint8))
    try:
        kind = check_picture(data)
    except PictureError as error:
        raise ConversionError(f"data: {error} (format {declared!r})") from None
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ConversionError(f"data: the {kind} of {len(data)} bytes is damaged: {error.err}") from None
    if image is None:
        raise ConversionError(f"data: the {kind} of {len(data)} bytes is damaged")
    rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    return ImageObservation(stamp_ns(message), rgb, frame_id(message))


@dataclass(frozen=True)
class CameraIntrinsics:
    """A calibrated camera.

    Attributes:
        size_px: (width, height) that the matrix is for.
        matrix: (3, 3) pinhole matrix, pixels.
        model: "plumb_bob", "rational_polynomial" or "equidistant".
        distortion: (5,), (8,), (12,) or (14,), or (4,) for "equidistant"; empty if there is none.
    """

    size_px: tuple[int, int]
    matrix: NDArray[np.float64]
    model: str
    distortion: NDArray[np.float64]

    def rectified(self, image: Pixels) -> Pixels:
        """Picture (H, W, 3) without lens distortion, by the same matrix; a scaled picture is taken as such.

        Raises:
            ConversionError: the picture's aspect is not the calibration's.
        """
        if not self.distortion.any():
            return image
        height, width = image.shape[:2]
        scale = width / self.size_px[0]
        if abs(height - scale * self.size_px[1]) > 1.0:
            raise ConversionError(f"camera_info: is for {self.size_px} pixels, the picture has {(width, height)}")
        matrix = self.matrix.copy()
        matrix[:2] *= scale
        if self.model == "equidistant":
            flat = cv2.fisheye.undistortImage(image, matrix, self.distortion[:4], Knew=matrix)
        else:
            flat = cv2.undistort(image, matrix, self.distortion)
        return np.asarray(flat, dtype=np.uint8)


def read_camera_info(message: Any) -> CameraIntrinsics:
    """sensor_msgs/CameraInfo -> intrinsics.

    Raises:
        ConversionError: an uncalibrated camera (zero matrix), an unknown model or the wrong number of coefficients.
    """
    width, height = int(message.width), int(message.height)
    if width < 1 or height < 1:
        raise ConversionError(f"height, width: {height} x {width} holds no pixel")
    matrix = np.asarray(message.k, dtype=np.float64).reshape(3, 3)
    if not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ConversionError(f"k: focal lengths {matrix[0, 0]}, {matrix[1, 1]} px; the camera is not calibrated")
    model = str(message.distortion_model)
    distortion = np.asarray(message.d, dtype=np.float64)
    lengths = {"": (0,), "plumb_bob": (0, 4, 5), "rational_polynomial": (0, 8, 12, 14), "equidistant": (0, 4)}
    if model not in lengths:
        raise ConversionError(f"distortion_model: {model!r} is not one of {', '.join(list(lengths)[1:])}")
    if len(distortion) not in lengths[model] or not np.isfinite(distortion).all():
        raise ConversionError(f"d: {distortion.tolist()} does not fit distortion_model {model!r}")
    return CameraIntrinsics((width, height), matrix, model, distortion)
