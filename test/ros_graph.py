"""A planted house on disk, a stand-in encoder, and ROS nodes spinning in a thread, for tests of the nodes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import crossover_ros.msg as messages
import crossover_ros.srv as srv
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Point, Pose
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from planted import FINGERPRINT, PlantedMap, asymmetric_plan, other_plan, scan
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_messages import cloud, header
from sensor_msgs.msg import PointCloud2
from tf2_msgs.msg import TFMessage

from crossover_models.building import Building, Level, Place
from crossover_models.estimate import LevelKey, LocalizationState
from crossover_models.floor_plan import FloorPlan
from crossover_models.geometry import Array, compose_se2, inverse_se2, inverse_se3, se3_from_se2, transform_points_se3
from crossover_models.map_database.writer import DatabaseWriter
from crossover_models.observation import Code, Modality
from crossover_ros.conversions.answers import pose_message
from crossover_ros.encoder_node import EncoderNode
from crossover_ros.encoder_source import EncoderSource
from crossover_ros.localizer_node import LocalizerNode
from crossover_ros.transforms import TransformBroadcaster

G = TypeVar("G", bound="Graph")
L1, L2 = LevelKey("house", "L1"), LevelKey("house", "L2")
PLANS: dict[LevelKey, FloorPlan] = {L1: asymmetric_plan(), L2: other_plan()}
MAP = PlantedMap(PLANS)
START = np.array([1.5, 5.0, 0.1])
T_ODOM_MAP = np.array([3.0, -2.0, 0.7])
T_BASE_LIDAR = se3_from_se2([0.2, 0.0, 0.5], 1.0)
# Machines that run tests do other work too, and waiting longer makes no test pass that should fail.
BUSY = 4.0
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# How far a robot drives before it comes back the same way: however long a test waits, it stays in its room.
STRETCH_M = 4.5
# What the walls of the planted rooms are seen at, above the floor.
WALL_HEIGHTS_M = (1.2, 1.6, 2.0)


def write_map(path: Path, fingerprint: str = FINGERPRINT, plans: dict[LevelKey, FloorPlan] | None = None) -> Path:
    """The planted house as a database: two levels, a place for each half, one-hot embeddings of floor plans."""
    planted = PlantedMap(plans or PLANS)
    levels = tuple(
        Level(
            key.level_id,
            f"Floor {key.level_id}",
            3.0 * k,
            2.8,
            plan,
            tuple(
                Place(p.place_id, p.name, p.category, p.polygon) for p in planted.places(key.building_id, key.level_id)
            ),
            T_building_map=np.array([10.0 * k, 0.0, 0.0]),
        )
        for k, (key, plan) in enumerate(planted.plans.items())
    )
    with DatabaseWriter(path, fingerprint, "planted", planted.embedding_dim) as writer:
        writer.add_building(Building("house", levels, "planted"))
        ids, vectors = planted.embeddings("house", Modality.FLOOR_PLAN)
        codes = {place_id: Code(vector) for place_id, vector in zip(ids, vectors, strict=True)}
        writer.add_embeddings("house", Modality.FLOOR_PLAN, codes)
        writer.publish()
    return path


class PlantedEncoder:
    """Knows the planted places: a red picture or the word "west" is L1's western half, anything else its eastern."""

    fingerprint = FINGERPRINT

    def __init__(self) -> None:
        self.images: list[NDArray[np.uint8]] = []
        self.clouds: list[NDArray[np.float32]] = []
        self.pause_s = 0.0

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Code:
        self.images += images
        time.sleep(self.pause_s)
        red = images[0][..., 0].mean() > images[0][..., 2].mean()
        return Code(MAP.vector("L1-west" if red else "L1-east"))

    def encode_point_cloud(self, points: NDArray[np.float32], colors: NDArray[np.uint8] | None = None) -> Code:
        self.clouds.append(points)
        time.sleep(self.pause_s)
        return Code(MAP.vector("L1-west"))

    def encode_text(self, text: str) -> Code:
        if not text.strip():
            raise ValueError("text: is empty")
        return Code(MAP.vector("L1-west" if "west" in text else "L1-east"))


class Robot:
    """Publishes what a robot in the planted house would: odometry, TF, and clouds that see the walls."""

    def __init__(self, node: Any, level: LevelKey = L1) -> None:
        self.node, self.level = node, level
        self.points = node.create_publisher(PointCloud2, "points", 10)
        self.odom = node.create_publisher(Odometry, "odom", 10)
        self.transforms = TransformBroadcaster(node)
        self.transforms.send_static(self.now_ns(), [("base_link", "lidar", T_BASE_LIDAR)])
        self.pose, self.T_odom_map = START, T_ODOM_MAP
        self.sweeps = 0
        self._gone_m, self._ahead = 0.0, True

    def now_ns(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    def walls_seen(self) -> NDArray[np.float32]:
        """(N, 2) wall returns in the base frame."""
        return scan(PLANS[self.level], self.pose, seed=self.sweeps).points

    def publish_points(self, points_base: NDArray[np.float64]) -> None:
        """Publish points (N, 3) of the base frame as the lidar's, with transforms."""
        self.say_where(stamp_ns := self.now_ns())
        in_lidar = transform_points_se3(inverse_se3(T_BASE_LIDAR), points_base).astype(np.float32)
        self.points.publish(cloud(in_lidar, "lidar", stamp_ns))

    def cloud_at(self, stamp_ns: int) -> PointCloud2:
        """The walls around, in the lidar's frame."""
        seen = self.walls_seen()
        in_base = np.concatenate([np.c_[seen, np.full(len(seen), z)] for z in WALL_HEIGHTS_M])
        return cloud(transform_points_se3(inverse_se3(T_BASE_LIDAR), in_base).astype(np.float32), "lidar", stamp_ns)

    def say_where(self, stamp_ns: int) -> Array:
        """Odometry and TF at a stamp; returns the odometry pose (3,)."""
        odom = compose_se2(self.T_odom_map, self.pose)
        message = Odometry(header=header("odom", stamp_ns), child_frame_id="base_link")
        message.pose.pose = pose_message(odom)
        self.odom.publish(message)
        self.transforms.send("odom", "base_link", stamp_ns, se3_from_se2(odom))
        return odom

    def take_lift(self, level: LevelKey, T_map_base: Array) -> None:
        """Be on another level, which odometry does not notice."""
        odom = compose_se2(self.T_odom_map, self.pose)
        self.level, self.pose = level, np.asarray(T_map_base, dtype=np.float64)
        self.T_odom_map = compose_se2(odom, inverse_se2(self.pose))
        self._gone_m, self._ahead = 0.0, True

    def advance(self, step_m: float = 0.2) -> None:
        """Move along a straight stretch, and back at its end, unseen."""
        self._ahead = self._gone_m < STRETCH_M if self._ahead else self._gone_m <= 0.0
        forward_m = step_m if self._ahead else -step_m
        self._gone_m += forward_m
        self.pose = compose_se2(self.pose, [forward_m, 0.0, 0.0])

    def drive(self) -> None:
        """Advance and see."""
        self.advance()
        self.step(0.0)

    def step(self, forward_m: float = 0.3, with_tf: bool = True) -> int:
        """Move ahead and see; returns the stamp."""
        self.pose = compose_se2(self.pose, [forward_m, 0.0, 0.0])
        stamp_ns = self.now_ns()
        if with_tf:
            self.say_where(stamp_ns)
        self.points.publish(self.cloud_at(stamp_ns))
        self.sweeps += 1
        return stamp_ns


class Ear:
    """Keeps what a topic says."""

    def __init__(self, node: Any, kind: Any, topic: str, qos: Any = 10) -> None:
        self.heard: list[Any] = []
        node.create_subscription(kind, topic, self.heard.append, qos)

    @property
    def last(self) -> Any:
        return self.heard[-1] if self.heard else None


class Graph:
    """Nodes on one executor that spins in a thread, with a client node to talk to them."""

    def __init__(self) -> None:
        self.executor = SingleThreadedExecutor()
        self.client = rclpy.create_node("tester")
        self.nodes: list[Any] = []
        self._clients: dict[tuple[Any, str], Any] = {}
        self.executor.add_node(self.client)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._stop = False
        self._thread.start()

    def _spin(self) -> None:
        while not self._stop:
            self.executor.spin_once(timeout_sec=0.1)

    def add(self, node: Any) -> Any:
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def in_executor(self, function: Callable[[], Any], timeout_s: float = 20.0) -> Any:
        """Run something in the executor's thread, where a node's transitions belong."""
        task = self.executor.create_task(function)
        self.executor.wake()
        wait_for(task.done, timeout_s)
        return task.result()

    def call(self, kind: Any, name: str, request: Any = None, timeout_s: float = 20.0) -> Any:
        for _ in range(3):
            # One client a service: each new one has to be discovered, and under load that now and then fails.
            if (kind, name) not in self._clients:
                self._clients[kind, name] = self.client.create_client(kind, name)
            client = self._clients[kind, name]
            if client.wait_for_service(BUSY * timeout_s / 2):
                future = client.call_async(kind.Request() if request is None else request)
                wait_for(future.done, timeout_s)
                return future.result()
            # A pair of endpoints was missed; a new client is announced anew.
            del self._clients[kind, name]
            self.in_executor(partial(self.client.destroy_client, client))
        raise AssertionError(f"{name} is not there")

    def close(self) -> None:
        self._stop = True
        self._thread.join()
        self.executor.shutdown()
        for node in [*self.nodes, self.client]:
            node.destroy_node()


class House(Graph):
    """Both nodes in one process, a robot, and ears for what they say."""

    def __init__(self, database: str = "", **localizer: Any) -> None:
        super().__init__()
        self.encoder = PlantedEncoder()
        source = EncoderSource(lambda checkpoint, device: self.encoder)
        values = {"database": database, "diagnostics_period_s": 0.2, **localizer}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.localizer = self.add(LocalizerNode(source, subscribe_embeddings=False, parameter_overrides=overrides))
        fast = [Parameter("diagnostics_period_s", value=0.2), Parameter("max_image_rate_hz", value=50.0)]
        fast.append(Parameter("max_silence_s", value=0.2))
        self.sensing = self.add(EncoderNode(source, self.localizer.take, parameter_overrides=fast))
        self.results = Ear(self.client, messages.LocalizationResult, "localization", LATCHED)
        self.transforms = Ear(self.client, TFMessage, "/tf", 100)
        self.diagnostics = Ear(self.client, DiagnosticArray, "/diagnostics", 100)
        self.embeddings = Ear(self.client, messages.SceneEmbedding, "scene_embedding")
        self.robot = Robot(self.client)

    def start(self) -> House:
        assert self.in_executor(self.sensing.autostart) and self.in_executor(self.localizer.autostart)
        wait_for(lambda: self.robot.points.get_subscription_count() and self.robot.odom.get_subscription_count())
        wait_for(lambda: self.embeddings_published())
        return self

    def embeddings_published(self) -> int:
        return int(self.client.count_publishers("scene_embedding"))

    def drive_until(self, state: LocalizationState, timeout_s: float = 15.0) -> Any:
        return wait_for(lambda: self.results.last if self.state() == state else None, timeout_s, self.robot.drive)

    def state(self) -> int:
        return int(self.results.last.state) if self.results.last is not None else -1

    def told(self, node: str) -> dict[str, str]:
        """Values of the newest diagnostics of a node, with its message and level."""
        for array in reversed(self.diagnostics.heard):
            status = array.status[0]
            if status.name.startswith(node):
                values = {v.key: v.value for v in status.values}
                return {**values, "message": status.message, "level": str(status.level[0])}
        return {}

    def counts(self, node: str, key: str, at_least: int = 1) -> str:
        return wait_for(lambda: (v := self.told(node).get(key, "")) and int(v) >= at_least and v)

    def odom_to_map(self) -> list[Any]:
        sent = [t for m in self.transforms.heard for t in m.transforms]
        return [t for t in sent if t.child_frame_id == "odom"]

    def see(self) -> None:
        """Stand still until fresh data have reached the localizer."""
        heard = len(self.results.heard)

        def look() -> None:
            self.robot.step(0.0)

        wait_for(lambda: len(self.results.heard) > heard and self.localizer.data_at_hand(), 10.0, look)

    def relocalize(self, **fields: Any) -> Any:
        return self.call(srv.Relocalize, "relocalize", srv.Relocalize.Request(**fields))

    def lifecycle_state(self, name: str) -> str:
        return str(self.call(GetState, f"{name}/get_state").current_state.label)

    def change(self, name: str, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, f"{name}/change_state", request).success)


def pose_of(transform: Any) -> Any:
    """A geometry_msgs/Transform as a Pose."""
    t = transform.translation
    return Pose(position=Point(x=t.x, y=t.y, z=t.z), orientation=transform.rotation)


def wait_for(condition: Callable[[], Any], timeout_s: float = 10.0, meanwhile: Callable[[], Any] = lambda: None) -> Any:
    """Wait until a condition holds, doing something ten times a second.

    Fails after ``BUSY`` times the timeout, which is what a machine without other work needs at most.
    """
    deadline = time.monotonic() + BUSY * timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"nothing happened within {BUSY * timeout_s} s"
        meanwhile()
        time.sleep(0.1 if meanwhile.__name__ != "<lambda>" else 0.01)


@contextmanager
def graph(make: Callable[[], G]) -> Iterator[G]:
    """ROS initialized, a graph made by ``make``, and both gone afterwards."""
    rclpy.init(args=["test", "--ros-args", "--log-level", "FATAL"])
    try:
        running = make()
        try:
            yield running
        finally:
            running.close()
    finally:
        rclpy.try_shutdown()
