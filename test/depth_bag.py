"""A rosbag2 of a robot in a planted plan that has a depth camera and neither lidar nor pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from planted_bag import START_NS, STEP_NS, STORE, message, odometry, odometry_origin, stamped
from rosbags.rosbag2 import StoragePlugin, Writer

from crossover_models.floor_plan import OCCUPIED, FloorPlan
from crossover_models.geometry import compose_se2, quaternion_from_matrix, quaternion_from_yaw

WIDTH, HEIGHT, FOCAL_PX = 96, 48, 48.0
CAMERA_HEIGHT_M = 1.5
# Columns of the matrix: x right, y down, z forward of the optical frame, in base_link.
OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def depths(plan: FloorPlan, pose: NDArray[np.float64]) -> NDArray[np.float32]:
    """(H, W) along the optical axis of a camera at a pose (3,) between endless walls; 0 beyond 12 m."""
    right = (np.arange(WIDTH) - (WIDTH - 1) / 2) / FOCAL_PX
    along = np.arange(0.1, 12.0, 0.02)
    ahead = np.stack([np.broadcast_to(along, (WIDTH, len(along))), -right[:, None] * along], axis=-1)
    c, s = np.cos(pose[2]), np.sin(pose[2])
    hit = plan.value(ahead @ np.array([[c, s], [-s, c]]) + pose[:2]) == OCCUPIED
    depth = np.where(hit.any(axis=1), along[hit.argmax(axis=1)], 0.0)
    return np.tile(depth.astype(np.float32), (HEIGHT, 1))


def depth_image(ns: int, depth_m: NDArray[np.float32]) -> Any:
    """16UC1, millimetres (REP-118)."""
    data = np.frombuffer(np.round(depth_m * 1e3).astype("<u2").tobytes(), dtype=np.uint8)
    return message(
        "sensor_msgs/msg/Image",
        header=stamped("depth_optical", ns),
        height=HEIGHT,
        width=WIDTH,
        encoding="16UC1",
        is_bigendian=0,
        step=2 * WIDTH,
        data=data,
    )


def camera_info(ns: int) -> Any:
    center = ((WIDTH - 1) / 2, (HEIGHT - 1) / 2)
    k = np.array([FOCAL_PX, 0.0, center[0], 0.0, FOCAL_PX, center[1], 0.0, 0.0, 1.0])
    return message(
        "sensor_msgs/msg/CameraInfo",
        header=stamped("depth_optical", ns),
        height=HEIGHT,
        width=WIDTH,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=k,
        r=np.eye(3).ravel(),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=message("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def _transform(parent: str, child: str, ns: int, xyz: Sequence[float], quaternion: NDArray[np.float64]) -> Any:
    x, y, z, w = (float(v) for v in quaternion)
    return message(
        "geometry_msgs/msg/TransformStamped",
        header=stamped(parent, ns),
        child_frame_id=child,
        transform=message(
            "geometry_msgs/msg/Transform",
            translation=message("geometry_msgs/msg/Vector3", x=float(xyz[0]), y=float(xyz[1]), z=float(xyz[2])),
            rotation=message("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
        ),
    )


def write_depth_bag(
    path: Path, plan: FloorPlan, poses: Sequence[NDArray[np.float64]], leave_out: Sequence[str] = ()
) -> None:
    """A depth image, odometry and a transform every 0.2 s along map poses; odometry starts turned by 0.4 rad."""
    T_odom_map = odometry_origin(poses)
    kinds = {
        "/depth/image_raw": "sensor_msgs/msg/Image",
        "/depth/camera_info": "sensor_msgs/msg/CameraInfo",
        "/odom": "nav_msgs/msg/Odometry",
        "/tf": "tf2_msgs/msg/TFMessage",
        "/tf_static": "tf2_msgs/msg/TFMessage",
    }
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        out = {
            topic: writer.add_connection(topic, kind, typestore=STORE)
            for topic, kind in kinds.items()
            if topic not in leave_out
        }

        def put(topic: str, ns: int, value: Any) -> None:
            if topic in out:
                writer.write(out[topic], ns, STORE.serialize_cdr(value, kinds[topic]))

        mount = np.eye(4)
        mount[:3, :3] = OPTICAL
        mounts = [
            _transform(
                "base_link",
                "depth_optical",
                START_NS,
                (0.0, 0.0, CAMERA_HEIGHT_M),
                quaternion_from_matrix(mount[:3, :3]),
            )
        ]
        put("/tf_static", START_NS, message("tf2_msgs/msg/TFMessage", transforms=mounts))
        for k, pose in enumerate(poses):
            ns = START_NS + k * STEP_NS
            at = compose_se2(T_odom_map, pose)
            base = _transform("odom", "base_link", ns, (at[0], at[1], 0.0), quaternion_from_yaw(float(at[2])))
            put("/tf", ns, message("tf2_msgs/msg/TFMessage", transforms=[base]))
            put("/odom", ns, odometry(ns, at))
            put("/depth/camera_info", ns + 1, camera_info(ns))
            put("/depth/image_raw", ns + 2, depth_image(ns, depths(plan, pose)))
