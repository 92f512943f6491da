"""Valid messages of every kind that is read, of the type store that bags are read with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

from crossover_ros.faults.fuzz.samples import DIM, ENCODER, pictures

STORE = get_typestore(Stores.ROS2_KILTED)


def _new(kind: str, **values: Any) -> Any:
    return STORE.types[kind](**values)


def stamped(frame: str) -> Any:
    """std_msgs/Header."""
    return _new("std_msgs/msg/Header", stamp=_new("builtin_interfaces/msg/Time", sec=100, nanosec=5), frame_id=frame)


def _vector(x: float, y: float, z: float, kind: str = "Vector3") -> Any:
    return _new(f"geometry_msgs/msg/{kind}", x=x, y=y, z=z)


def _turn() -> Any:
    return _new("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.6, w=0.8)


def _pose() -> Any:
    return _new("geometry_msgs/msg/Pose", position=_vector(1.0, 2.0, 0.0, "Point"), orientation=_turn())


def _covariant() -> Any:
    return _new("geometry_msgs/msg/PoseWithCovariance", pose=_pose(), covariance=np.eye(6).ravel())


def cloud() -> Any:
    """sensor_msgs/PointCloud2 of 40 returns around."""
    angle = np.linspace(-np.pi, np.pi, 40)
    points = np.stack([3 * np.cos(angle), 2 * np.sin(angle), 0.4 + 0 * angle], axis=1).astype("<f4")
    names = [_new("sensor_msgs/msg/PointField", name=n, offset=4 * k, datatype=7, count=1) for k, n in enumerate("xyz")]
    return _new(
        "sensor_msgs/msg/PointCloud2", header=stamped("lidar"), height=4, width=10, fields=names, is_bigendian=False,
        point_step=12, row_step=120, data=np.frombuffer(points.tobytes(), dtype=np.uint8), is_dense=True,
    )  # fmt: skip


def picture() -> Any:
    """sensor_msgs/Image of 6 x 8 pixels."""
    data = np.arange(6 * 24, dtype=np.uint8)
    return _new(
        "sensor_msgs/msg/Image", header=stamped("camera"), height=6, width=8, encoding="rgb8", is_bigendian=0, step=24,
        data=data,
    )  # fmt: skip


def compressed(which: int) -> Any:
    """sensor_msgs/CompressedImage: JPEG, PNG or WebP."""
    data = np.frombuffer(pictures()[which], dtype=np.uint8)
    return _new("sensor_msgs/msg/CompressedImage", header=stamped("camera"), format="jpeg", data=data)


def camera_info() -> Any:
    """sensor_msgs/CameraInfo of a lens with five coefficients."""
    k = np.array([10.0, 0, 4, 0, 10, 3, 0, 0, 1])
    roi = _new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return _new(
        "sensor_msgs/msg/CameraInfo", header=stamped("camera"), height=6, width=8, distortion_model="plumb_bob",
        d=np.array([0.1, -0.05, 0.0, 0.0, 0.01]), k=k, r=np.eye(3).ravel(), p=np.zeros(12), binning_x=0, binning_y=0,
        roi=roi,
    )  # fmt: skip


def odometry() -> Any:
    """nav_msgs/Odometry."""
    twist = _new("geometry_msgs/msg/Twist", linear=_vector(0.1, 0.0, 0.0), angular=_vector(0.0, 0.0, 0.1))
    return _new(
        "nav_msgs/msg/Odometry", header=stamped("odom"), child_frame_id="base_link", pose=_covariant(),
        twist=_new("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
    )  # fmt: skip


def scan() -> Any:
    """sensor_msgs/LaserScan of 30 beams."""
    return _new(
        "sensor_msgs/msg/LaserScan", header=stamped("laser"), angle_min=-1.5, angle_max=1.5, angle_increment=0.1,
        time_increment=0.0, scan_time=0.1, range_min=0.1, range_max=20.0,
        ranges=np.linspace(1, 5, 30).astype(np.float32), intensities=np.zeros(0, dtype=np.float32),
    )  # fmt: skip


def stated_pose() -> Any:
    """geometry_msgs/PoseWithCovarianceStamped."""
    return _new("geometry_msgs/msg/PoseWithCovarianceStamped", header=stamped("map_house_L1"), pose=_covariant())


def grid() -> Any:
    """nav_msgs/OccupancyGrid of 5 x 4 cells."""
    origin = _new("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
    corner = _new("geometry_msgs/msg/Pose", position=_vector(0.0, 0.0, 0.0, "Point"), orientation=origin)
    info = _new(
        "nav_msgs/msg/MapMetaData", map_load_time=_new("builtin_interfaces/msg/Time", sec=1, nanosec=0), resolution=0.1,
        width=5, height=4, origin=corner,
    )  # fmt: skip
    cells = np.tile(np.array([0, 100, -1, 50, 7], dtype=np.int8), 4)
    return _new("nav_msgs/msg/OccupancyGrid", header=stamped("map"), info=info, data=cells)


def tf() -> Any:
    """tf2_msgs/TFMessage: base_link in odom, the lidar on base_link."""
    entries = [
        _new(
            "geometry_msgs/msg/TransformStamped", header=stamped(parent), child_frame_id=child,
            transform=_new("geometry_msgs/msg/Transform", translation=_vector(1.0, 2.0, 0.5), rotation=_turn()),
        )
        for parent, child in (("odom", "base_link"), ("base_link", "lidar"))
    ]  # fmt: skip
    return _new("tf2_msgs/msg/TFMessage", transforms=entries)


def embedding() -> Any:
    """crossover_ros/SceneEmbedding, as a namespace: the bags' type store does not know it."""
    vector = np.zeros(DIM, dtype=np.float32)
    vector[0] = 1.0
    x, y = np.meshgrid(np.linspace(-1, 2, 12), [-2.0, 2.0])
    points = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
    return SimpleNamespace(
        header=stamped("base_link"), modality="point_cloud", fingerprint=ENCODER, vector=vector,
        tokens=np.zeros(0, dtype=np.int8), age_s=0.1, runtime_s=0.1, odom_pose=np.array([1.0, 2.0, 0.3]),
        slice_points=points.ravel(), slice_origins=np.zeros(2, dtype=np.float32),
        slice_origin_index=np.zeros(len(points), dtype=np.uint16), scans_accumulated=2,
    )  # fmt: skip


def _hypothesis() -> Any:
    return SimpleNamespace(
        building_id="house", level_id="L1", place_id="P0", place_name="Room", pose=_covariant(), probability=0.9,
        score=-0.2, inlier_fraction=0.8, free_space_violation=0.0,
    )  # fmt: skip


def result() -> Any:
    """crossover_ros/LocalizationResult."""
    return SimpleNamespace(
        header=stamped("map_house_L1"), state=2, failure_category="healthy", message="", hypotheses=[_hypothesis()],
        unknown_probability=0.1, modalities_used=["image"], modalities_missing=["text"], scans_accumulated=3,
        runtime_s=0.1,
    )  # fmt: skip


def retrieval() -> Any:
    """crossover_ros/SceneRetrieval."""
    match = SimpleNamespace(
        building_id="house", level_id="L1", place_id="P0", name="Room", category="kitchen", score=0.5, probability=0.4,
        position=_vector(1.0, 2.0, 0.0, "Point"), modalities=["image"], modality_scores=np.zeros(1, dtype=np.float32),
    )  # fmt: skip
    return SimpleNamespace(header=stamped(""), query_modality="image", abstained=False, places=[match])
