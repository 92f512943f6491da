"""sensor_msgs PointCloud2 and LaserScan; works on rclpy's messages and on those that rosbags reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.accumulation import scan_slice
from crossover_models.observation import ObservationError, WallSlice
from crossover_ros.conversions.headers import ConversionError, frame_id, stamp_ns

# sensor_msgs/PointField datatypes, by number.
_DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}

MAX_POINT_BYTES = 1 << 16
# As many as a lidar of 128 rings returns; of more, every k-th says the same about a room.
MAX_POINTS = 1 << 18


@dataclass(frozen=True)
class Sweep:
    """A PointCloud2 as points.

    Attributes:
        stamp_ns: time of the sweep.
        frame_id: sensor frame.
        points: (N, 3) float32, metres, all finite.
        not_finite: points dropped because a coordinate was NaN or infinite.
        left_out: points not looked at because there were more than ``MAX_POINTS``.
    """

    stamp_ns: int
    frame_id: str
    points: NDArray[np.float32]
    not_finite: int
    left_out: int = 0


def read_cloud(message: Any) -> Sweep:
    """sensor_msgs/PointCloud2 -> sweep: any order, type and offset of x, y, z; organized or not; either byte order.

    Raises:
        ConversionError: x, y or z is missing or of an unknown type, or sizes contradict each other.
    """
    height, width = int(message.height), int(message.width)
    point_step, row_step = int(message.point_step), int(message.row_step)
    layout = _layout(message, point_step)
    data = np.frombuffer(message.data, dtype=np.uint8)
    if height < 1 or width < 1:
        points = np.zeros((0, 3), dtype=np.float32)
    else:
        if height == 1:  # One row has nothing to step over, and some drivers leave row_step unset then.
            row_step = width * point_step
        used = width * point_step
        if row_step < used:
            raise ConversionError(f"row_step: {row_step}, but {width} points of {point_step} bytes need {used}")
        needed = (height - 1) * row_step + used
        if len(data) < needed:
            raise ConversionError(f"data: {len(data)} bytes, but {height} rows of {width} points need {needed}")
        cells: NDArray[np.void] = np.ndarray((height, width), layout, data.data, strides=(row_step, point_step))
        cells = _thinned(cells)
        points = np.empty((*cells.shape, 3), dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for axis, name in enumerate("xyz"):
                points[..., axis] = cells[name]
        points = points.reshape(-1, 3)
    finite = np.isfinite(points).all(axis=1)
    dropped = len(points) - int(finite.sum())
    left_out = max(0, height * width - len(points)) if len(points) else 0
    return Sweep(stamp_ns(message), frame_id(message), points[finite] if dropped else points, dropped, left_out)


def _thinned(cells: NDArray[np.void]) -> NDArray[np.void]:
    """Every k-th point (H, W), of an organized cloud in both directions, so that at most ``MAX_POINTS`` are left."""
    share = math.ceil(cells.size / MAX_POINTS)
    if share <= 1:
        return cells
    height, width = cells.shape
    across = min(width, math.ceil(math.sqrt(share)))
    down = min(height, math.ceil(height * math.ceil(width / across) / MAX_POINTS))
    across = math.ceil(width / (MAX_POINTS // math.ceil(height / down)))
    return cells[::down, ::across]


def _layout(message: Any, point_step: int) -> np.dtype[np.void]:
    """Structured type of x, y, z inside one point."""
    if point_step > MAX_POINT_BYTES:
        raise ConversionError(f"point_step: {point_step} bytes a point, more than {MAX_POINT_BYTES}")
    order = ">" if message.is_bigendian else "<"
    fields = {str(field.name): field for field in message.fields}
    formats, offsets = [], []
    for name in "xyz":
        if name not in fields:
            raise ConversionError(f"fields: no {name!r} among {', '.join(fields) or 'none'}")
        kind = _DATATYPES.get(int(fields[name].datatype))
        if kind is None:
            raise ConversionError(f"fields.{name}.datatype: {fields[name].datatype} is not a PointField type")
        offset, size = int(fields[name].offset), int(kind[1])
        if offset + size > point_step:
            raise ConversionError(f"point_step: {point_step} bytes, but {name} ends at byte {offset + size}")
        formats.append(order + kind)
        offsets.append(offset)
    return np.dtype({"names": list("xyz"), "formats": formats, "offsets": offsets, "itemsize": point_step})


def read_scan(message: Any, T_base_sensor: NDArray[np.float64], T_odom_base: NDArray[np.float64]) -> WallSlice:
    """sensor_msgs/LaserScan -> wall slice; NaN, infinite and out-of-range returns are no evidence and are dropped.

    Args:
        message: the scan.
        T_base_sensor: (4, 4) mounting pose.
        T_odom_base: (4, 4) odometry at the scan's stamp.

    Raises:
        ConversionError: no ranges, limits that are not numbers, or a zero angle step.
    """
    ranges = np.asarray(message.ranges, dtype=np.float32)
    if not len(ranges):
        raise ConversionError("ranges: is empty")
    angle_min, increment = float(message.angle_min), float(message.angle_increment)
    low, high = float(message.range_min), float(message.range_max)
    if not np.isfinite(angle_min):
        raise ConversionError(f"angle_min: {angle_min} is not an angle")
    if not np.isfinite(low) or np.isnan(high) or high <= low:
        raise ConversionError(f"range_min, range_max: {low}, {high} m are no limits")
    try:
        return scan_slice(stamp_ns(message), ranges, angle_min, increment, low, high, T_base_sensor, T_odom_base)
    except ObservationError as error:
        raise ConversionError(str(error)) from None
