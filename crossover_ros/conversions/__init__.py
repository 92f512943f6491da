"""Messages in: from sensor_msgs, nav_msgs and geometry_msgs to the core's types.

Nothing here imports a message package; the same functions read what rclpy delivers and what rosbags deserializes, so
that a live node and the replay of a bag cannot differ. Messages out: :mod:`crossover_ros.conversions.answers`.
"""

from crossover_ros.conversions.clouds import MAX_POINTS, Sweep, read_cloud, read_scan
from crossover_ros.conversions.depth import is_depth, read_depth
from crossover_ros.conversions.headers import ConversionError, frame_id, stamp_ns
from crossover_ros.conversions.images import CameraIntrinsics, read_camera_info, read_compressed_image, read_image
from crossover_ros.conversions.poses import (
    OdometryReading,
    StatedPose,
    full_covariance,
    planar_covariance,
    read_occupancy_grid,
    read_odometry,
    read_pose,
    read_stated_pose,
)

__all__ = [
    "MAX_POINTS",
    "CameraIntrinsics",
    "ConversionError",
    "OdometryReading",
    "StatedPose",
    "Sweep",
    "frame_id",
    "full_covariance",
    "is_depth",
    "planar_covariance",
    "read_camera_info",
    "read_cloud",
    "read_compressed_image",
    "read_depth",
    "read_image",
    "read_occupancy_grid",
    "read_odometry",
    "read_pose",
    "read_scan",
    "read_stated_pose",
    "stamp_ns",
]
