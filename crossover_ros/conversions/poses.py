"""Odometry, transforms, poses with covariance and occupancy grids; works on rclpy's and rosbags' messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan, FloorPlanError
from crossover_models.geometry import Array, se2_from_se3, se3_from_quaternion
from crossover_ros.conversions.headers import ConversionError, frame_id, stamp_ns

# Rows and columns of x, y and yaw in the 6 x 6 covariance of geometry_msgs.
PLANAR = (0, 1, 5)
# map_server's trinary thresholds.
OCCUPIED_ABOVE, FREE_BELOW = 65, 25


@dataclass(frozen=True)
class OdometryReading:
    """nav_msgs/Odometry: ``T_odom_base`` (4, 4) at a stamp, between two named frames."""

    stamp_ns: int
    odom_frame: str
    base_frame: str
    T_odom_base: Array


@dataclass(frozen=True)
class StatedPose:
    """geometry_msgs/PoseWithCovarianceStamped: planar pose (3,) and covariance (3, 3) of x, y, yaw in a frame."""

    stamp_ns: int
    frame_id: str
    T_frame_base: Array
    covariance: Array


def read_odometry(message: Any) -> OdometryReading:
    """nav_msgs/Odometry -> reading.

    Raises:
        ConversionError: a pose that is not finite or not a rotation, or a missing stamp or frame.
    """
    T_odom_base = read_pose(message.pose.pose, "pose.pose")
    return OdometryReading(stamp_ns(message), frame_id(message), str(message.child_frame_id).lstrip("/"), T_odom_base)


def read_pose(message: Any, field: str = "pose") -> Array:
    """geometry_msgs/Pose -> (4, 4).

    Raises:
        ConversionError: not finite, or the quaternion is not a rotation.
    """
    p, q = message.position, message.orientation
    try:
        return se3_from_quaternion([p.x, p.y, p.z], [q.x, q.y, q.z, q.w])
    except ValueError as error:
        raise ConversionError(f"{field}: {error}") from None


def read_stated_pose(message: Any) -> StatedPose:
    """geometry_msgs/PoseWithCovarianceStamped -> planar pose; a zero stamp means "now" and is kept as 0.

    Raises:
        ConversionError: no frame, a pose that is not finite, or a covariance that is not finite.
    """
    zero = not (message.header.stamp.sec or message.header.stamp.nanosec)
    T = se2_from_se3(read_pose(message.pose.pose, "pose.pose"))
    covariance = planar_covariance(message.pose.covariance)
    return StatedPose(0 if zero else stamp_ns(message), frame_id(message), T, covariance)


def planar_covariance(covariance: Any, field: str = "pose.covariance") -> Array:
    """36 numbers of geometry_msgs -> (3, 3) of x, y, yaw.

    Raises:
        ConversionError: not 36 numbers, or one of those used is not finite.
    """
    full = np.asarray(covariance, dtype=np.float64)
    if full.size != 36:
        raise ConversionError(f"{field}: {full.size} numbers, expected 36")
    planar = full.reshape(6, 6)[np.ix_(PLANAR, PLANAR)]
    if not np.isfinite(planar).all():
        raise ConversionError(f"{field}: {planar.tolist()} of x, y, yaw is not finite")
    return planar


def full_covariance(planar: NDArray[np.float64]) -> Array:
    """(3, 3) of x, y, yaw -> the (36,) of geometry_msgs; z, roll and pitch, which are not estimated, are zero."""
    full = np.zeros((6, 6))
    full[np.ix_(PLANAR, PLANAR)] = planar
    return full.reshape(36)


def read_occupancy_grid(message: Any) -> FloorPlan:
    """nav_msgs/OccupancyGrid -> plan; probabilities become free, occupied or unknown by map_server's thresholds.

    Raises:
        ConversionError: sizes that contradict each other, a resolution that is no length, or a turned origin.
    """
    info = message.info
    height, width = int(info.height), int(info.width)
    data = np.asarray(message.data, dtype=np.int8)
    if len(data) != height * width:
        raise ConversionError(f"data: {len(data)} cells, but info says {height} x {width}")
    x, y, yaw = se2_from_se3(read_pose(info.origin, "info.origin"))
    if abs(yaw) > 1e-6:
        raise ConversionError(f"info.origin: is turned by {yaw:.6f} rad; only upright grids are read")
    cells = data.reshape(height, width)
    occupancy = np.full(cells.shape, UNKNOWN, dtype=np.int8)
    occupancy[(cells >= 0) & (cells <= FREE_BELOW)] = FREE
    occupancy[cells >= OCCUPIED_ABOVE] = OCCUPIED
    try:
        return FloorPlan(occupancy, float(info.resolution), (float(x), float(y)))
    except FloorPlanError as error:
        raise ConversionError(f"info: {error}") from None
