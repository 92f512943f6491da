"""Messages of a simulated run, written as a rosbag2 (MCAP) without ROS."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from crossover_models.geometry import quaternion_from_matrix
from crossover_models.simulation.camera import PinholeCamera

TOPICS = {
    "/clock": "rosgraph_msgs/msg/Clock",
    "/tf_static": "tf2_msgs/msg/TFMessage",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/odom": "nav_msgs/msg/Odometry",
    "/points": "sensor_msgs/msg/PointCloud2",
    "/camera/camera_info": "sensor_msgs/msg/CameraInfo",
    "/camera/image_raw": "sensor_msgs/msg/Image",
}
# How rosbag2 writes a duration without end.
_FOREVER = QosTime(9223372036, 854775807)


def _qos(depth: int, durability: QosDurability) -> Qos:
    return Qos(
        QosHistory.KEEP_LAST,
        depth,
        QosReliability.RELIABLE,
        durability,
        _FOREVER,
        _FOREVER,
        QosLiveliness.AUTOMATIC,
        _FOREVER,
        False,
    )


class RunBag:
    """A bag being written; a context manager. ``counts`` holds the messages a topic so far."""

    def __init__(self, path: Path, *, lidar: bool = True, camera: bool = True) -> None:
        self._store = get_typestore(Stores.ROS2_KILTED)
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        absent = (set() if lidar else {"/points"}) | (set() if camera else {"/camera/camera_info", "/camera/image_raw"})
        self._topics = [topic for topic in TOPICS if topic not in absent]
        self._connections: dict[str, Any] = {}
        self.counts = dict.fromkeys(self._topics, 0)

    def __enter__(self) -> Self:
        self._writer.__enter__()
        for topic in self._topics:
            durability = QosDurability.TRANSIENT_LOCAL if topic == "/tf_static" else QosDurability.VOLATILE
            self._connections[topic] = self._writer.add_connection(
                topic, TOPICS[topic], typestore=self._store, offered_qos_profiles=[_qos(10, durability)]
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    def write_clock(self, stamp_ns: int) -> None:
        """The run's time."""
        self._write("/clock", stamp_ns, clock=self._time(stamp_ns))

    def write_transform(self, stamp_ns: int, T_parent_child: NDArray[np.float64], parent: str, child: str) -> None:
        """One moving transform (4, 4)."""
        self._write("/tf", stamp_ns, transforms=[self._transform(stamp_ns, T_parent_child, parent, child)])

    def write_static(self, stamp_ns: int, transforms: list[tuple[NDArray[np.float64], str, str]]) -> None:
        """All fixed transforms: (T_parent_child (4, 4), parent, child)."""
        self._write("/tf_static", stamp_ns, transforms=[self._transform(stamp_ns, *t) for t in transforms])

    def write_odometry(
        self, stamp_ns: int, T_odom_base: NDArray[np.float64], speed: float, turn: float, variances: tuple[float, float]
    ) -> None:
        """Pose (4, 4), twist in base_link, and the twist's variances of speed and turn."""
        types = self._store.types
        covariance = np.zeros(36)
        covariance[[0, 7, 35]] = variances[0], 1e-6, variances[1]
        covariance[[14, 21, 28]] = 1e6
        vector = types["geometry_msgs/msg/Vector3"]
        self._write(
            "/odom",
            stamp_ns,
            header=self._header(stamp_ns, "odom"),
            child_frame_id="base_link",
            pose=types["geometry_msgs/msg/PoseWithCovariance"](
                types["geometry_msgs/msg/Pose"](
                    types["geometry_msgs/msg/Point"](*(float(v) for v in T_odom_base[:3, 3])),
                    self._rotation(T_odom_base),
                ),
                covariance,
            ),
            twist=types["geometry_msgs/msg/TwistWithCovariance"](
                types["geometry_msgs/msg/Twist"](vector(speed, 0.0, 0.0), vector(0.0, 0.0, turn)), covariance.copy()
            ),
        )

    def write_points(self, stamp_ns: int, points: NDArray[np.float32], frame: str) -> None:
        """An unorganized cloud (N, 3)."""
        field: Any = self._store.types["sensor_msgs/msg/PointField"]
        data = np.frombuffer(np.ascontiguousarray(points, dtype="<f4").tobytes(), dtype=np.uint8)
        self._write(
            "/points",
            stamp_ns,
            header=self._header(stamp_ns, frame),
            height=1,
            width=len(points),
            fields=[field(name, 4 * i, field.FLOAT32, 1) for i, name in enumerate("xyz")],
            is_bigendian=False,
            point_step=12,
            row_step=12 * len(points),
            data=data,
            is_dense=True,
        )

    def write_image(self, stamp_ns: int, image: NDArray[np.uint8], camera: PinholeCamera, frame: str) -> None:
        """An rgb8 picture (H, W, 3) and its camera_info."""
        height, width = image.shape[:2]
        k = camera.matrix
        roi = self._store.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        self._write(
            "/camera/camera_info",
            stamp_ns,
            header=self._header(stamp_ns, frame),
            height=height,
            width=width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=k.ravel(),
            r=np.eye(3).ravel(),
            p=np.hstack([k, np.zeros((3, 1))]).ravel(),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )
        self._write(
            "/camera/image_raw",
            stamp_ns,
            header=self._header(stamp_ns, frame),
            height=height,
            width=width,
            encoding="rgb8",
            is_bigendian=0,
            step=3 * width,
            data=np.ascontiguousarray(image).ravel(),
        )

    def _write(self, topic: str, stamp_ns: int, **values: Any) -> None:
        name = TOPICS[topic]
        data = self._store.serialize_cdr(self._store.types[name](**values), name)
        self._writer.write(self._connections[topic], stamp_ns, data)
        self.counts[topic] += 1

    def _time(self, stamp_ns: int) -> Any:
        return self._store.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))

    def _header(self, stamp_ns: int, frame: str) -> Any:
        return self._store.types["std_msgs/msg/Header"](self._time(stamp_ns), frame)

    def _rotation(self, T: NDArray[np.float64]) -> Any:
        quaternion = quaternion_from_matrix(T[:3, :3])
        return self._store.types["geometry_msgs/msg/Quaternion"](*(float(v) for v in quaternion))

    def _transform(self, stamp_ns: int, T_parent_child: NDArray[np.float64], parent: str, child: str) -> Any:
        types = self._store.types
        shift = types["geometry_msgs/msg/Vector3"](*(float(v) for v in T_parent_child[:3, 3]))
        return types["geometry_msgs/msg/TransformStamped"](
            self._header(stamp_ns, parent),
            child,
            types["geometry_msgs/msg/Transform"](shift, self._rotation(T_parent_child)),
        )
