"""A small rosbag2 of a robot in a planted plan, with the truth, and an encoder that knows one place by heart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from planted import FINGERPRINT, PlantedMap, scan
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from crossover_models.floor_plan import FloorPlan
from crossover_models.geometry import compose_se2, inverse_se2, quaternion_from_yaw
from crossover_models.observation import Code

STORE = get_typestore(Stores.ROS2_KILTED)
START_NS = 1_000 * 10**9
STEP_NS = 200_000_000
LIDAR_HEIGHT_M = 1.2


class PlantedEncoder:
    """An encoder whose answer is always the first place of a planted map."""

    fingerprint = FINGERPRINT

    def __init__(self, planted: PlantedMap) -> None:
        self._code = Code(planted.vector(planted.places()[0].place_id))

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Code:
        return self._code

    def encode_point_cloud(self, points: NDArray[np.float32], colors: NDArray[np.uint8] | None = None) -> Code:
        return self._code

    def encode_text(self, text: str) -> Code:
        return self._code


def message(kind: str, **values: Any) -> Any:
    """A message of the rosbags type store."""
    return STORE.types[kind](**values)


def stamped(frame: str, ns: int) -> Any:
    seconds, nanoseconds = divmod(ns, 10**9)
    return message(
        "std_msgs/msg/Header",
        stamp=message("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds),
        frame_id=frame,
    )


def transform(parent: str, child: str, ns: int, x: float, y: float, z: float, yaw: float) -> Any:
    q = [float(v) for v in quaternion_from_yaw(yaw)]
    return message(
        "geometry_msgs/msg/TransformStamped",
        header=stamped(parent, ns),
        child_frame_id=child,
        transform=message(
            "geometry_msgs/msg/Transform",
            translation=message("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
            rotation=message("geometry_msgs/msg/Quaternion", x=q[0], y=q[1], z=q[2], w=q[3]),
        ),
    )


def odometry(ns: int, pose: NDArray[np.float64], frame: str = "odom") -> Any:
    q = [float(v) for v in quaternion_from_yaw(float(pose[2]))]
    zero = message("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    return message(
        "nav_msgs/msg/Odometry",
        header=stamped(frame, ns),
        child_frame_id="base_link",
        pose=message(
            "geometry_msgs/msg/PoseWithCovariance",
            pose=message(
                "geometry_msgs/msg/Pose",
                position=message("geometry_msgs/msg/Point", x=float(pose[0]), y=float(pose[1]), z=0.0),
                orientation=message("geometry_msgs/msg/Quaternion", x=q[0], y=q[1], z=q[2], w=q[3]),
            ),
            covariance=np.zeros(36),
        ),
        twist=message(
            "geometry_msgs/msg/TwistWithCovariance",
            twist=message("geometry_msgs/msg/Twist", linear=zero, angular=zero),
            covariance=np.zeros(36),
        ),
    )


def cloud(ns: int, points: NDArray[np.float32]) -> Any:
    fields = [
        message("sensor_msgs/msg/PointField", name=name, offset=4 * k, datatype=7, count=1)
        for k, name in enumerate("xyz")
    ]
    return message(
        "sensor_msgs/msg/PointCloud2",
        header=stamped("lidar", ns),
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=False,
        point_step=12,
        row_step=12 * len(points),
        data=np.frombuffer(points.astype("<f4").tobytes(), dtype=np.uint8),
        is_dense=True,
    )


def picture(ns: int, encoding: str = "rgb8") -> Any:
    return message(
        "sensor_msgs/msg/Image",
        header=stamped("camera", ns),
        height=24,
        width=32,
        encoding=encoding,
        is_bigendian=0,
        step=96,
        data=np.full(24 * 96, 128, dtype=np.uint8),
    )


def compressed(ns: int) -> Any:
    """The same grey picture as JPEG."""
    done, data = cv2.imencode(".jpg", np.full((24, 32, 3), 128, dtype=np.uint8))
    assert done
    return message("sensor_msgs/msg/CompressedImage", header=stamped("camera", ns), format="jpeg", data=data.ravel())


def depth_picture(ns: int) -> Any:
    """A depth image, which is of the same type as a camera's."""
    out = picture(ns, "16UC1")
    out.step, out.data = 64, np.full(24 * 64, 7, dtype=np.uint8)
    return out


def odometry_origin(poses: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """T_odom_map of a run: odometry starts at its origin, turned by 0.4 rad."""
    return compose_se2(np.array([0.0, 0.0, 0.4]), inverse_se2(poses[0]))


def sweep_points(plan: FloorPlan, pose: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    """(N, 3) returns of a lidar 0.1 m ahead of base_link; every one is a wall's, at three heights."""
    seen = scan(plan, compose_se2(pose, np.array([0.1, 0.0, 0.0])), seed=seed).points
    stacked = np.concatenate([np.c_[seen, np.full(len(seen), dz)] for dz in (-0.2, 0.0, 0.2)])
    return stacked.astype(np.float32)


# Kind -> (type, message at a stamp) of further topics.
EXTRA: Mapping[str, tuple[str, Callable[[int], Any]]] = {
    "picture": ("sensor_msgs/msg/Image", picture),
    "depth": ("sensor_msgs/msg/Image", depth_picture),
    "compressed": ("sensor_msgs/msg/CompressedImage", compressed),
    "wheels": ("nav_msgs/msg/Odometry", lambda ns: odometry(ns, np.zeros(3), "wheel_odom")),
}


def write_bag(
    path: Path,
    plan: FloorPlan,
    poses: Sequence[NDArray[np.float64]],
    *,
    storage: StoragePlugin = StoragePlugin.MCAP,
    leave_out: Sequence[str] = (),
    encoding: str = "rgb8",
    also: Mapping[str, str] | None = None,
) -> None:
    """One sweep, frame, odometry and transform every 0.2 s along map poses; odometry starts turned by 0.4 rad.

    ``also`` adds topics of what looks like the robot's sensors: topic -> one of the kinds of :data:`EXTRA`.
    """
    T_odom_map = odometry_origin(poses)
    kinds = {
        "/points": "sensor_msgs/msg/PointCloud2",
        "/camera/image_raw": "sensor_msgs/msg/Image",
        "/odom": "nav_msgs/msg/Odometry",
        "/tf": "tf2_msgs/msg/TFMessage",
        "/tf_static": "tf2_msgs/msg/TFMessage",
    }
    extra = dict(also or {})
    kinds.update({topic: EXTRA[what][0] for topic, what in extra.items()})
    with Writer(path, version=9, storage_plugin=storage) as writer:
        out = {
            topic: writer.add_connection(topic, kind, typestore=STORE)
            for topic, kind in kinds.items()
            if topic not in leave_out
        }

        def put(topic: str, ns: int, value: Any) -> None:
            if topic in out:
                writer.write(out[topic], ns, STORE.serialize_cdr(value, kinds[topic]))

        mounts = [transform("base_link", "lidar", START_NS, 0.1, 0.0, LIDAR_HEIGHT_M, 0.0)]
        put("/tf_static", START_NS, message("tf2_msgs/msg/TFMessage", transforms=mounts))
        for k, pose in enumerate(poses):
            ns = START_NS + k * STEP_NS
            at = compose_se2(T_odom_map, pose)
            base = transform("odom", "base_link", ns, float(at[0]), float(at[1]), 0.0, float(at[2]))
            put("/odom", ns, odometry(ns, at))
            put("/points", ns + 1, cloud(ns, sweep_points(plan, pose, k)))
            put("/camera/image_raw", ns + 2, picture(ns, encoding))
            for number, (topic, what) in enumerate(extra.items()):
                put(topic, ns + 3 + number, EXTRA[what][1](ns))
            put("/tf", ns + 5_000_000, message("tf2_msgs/msg/TFMessage", transforms=[base]))
