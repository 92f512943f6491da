"""What nav2 expects of a localizer: manager transitions, bond, waiting until active, poses, several robots in a graph.

nav2 has no wheels; its lifecycle manager's and nav2_simple_commander's calls are made here as their sources make them.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

import crossover_ros.srv as srv
import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import GetState
from rclpy.parameter import Parameter
from ros_graph import (
    L1,
    START,
    T_ODOM_MAP,
    Ear,
    Graph,
    House,
    PlantedEncoder,
    TFMessage,
    graph,
    pose_of,
    wait_for,
)

from crossover_models.estimate import LocalizationState
from crossover_models.geometry import inverse_se2, se2_from_se3
from crossover_ros import conversions
from crossover_ros.conversions import answers
from crossover_ros.encoder_node import EncoderNode
from crossover_ros.encoder_source import EncoderSource
from crossover_ros.localizer_node import LocalizerNode

# -- lifecycle manager ---------------------------------------------------------------------------------------------


def test_a_manager_brings_all_nodes_up_in_order_pauses_resets_and_shuts_them_down(house: Path) -> None:
    """nav2_lifecycle_manager: startup, pause, resume, reset, startup, shutdown."""
    T = Transition
    with graph(lambda: House(str(house))) as nodes:
        names = ("encoder", "localizer")

        def all_change(transition: int, order: tuple[str, ...], label: str) -> None:
            for name in order:
                assert nodes.change(name, transition), (name, label)
            assert {nodes.lifecycle_state(name) for name in names} == {label}

        back = tuple(reversed(names))
        for _ in range(2):
            all_change(T.TRANSITION_CONFIGURE, names, "inactive")
            all_change(T.TRANSITION_ACTIVATE, names, "active")
            all_change(T.TRANSITION_DEACTIVATE, back, "inactive")
            all_change(T.TRANSITION_ACTIVATE, names, "active")
            all_change(T.TRANSITION_DEACTIVATE, back, "inactive")
            all_change(T.TRANSITION_CLEANUP, back, "unconfigured")
        assert not nodes.change("localizer", T.TRANSITION_ACTIVATE), "a transition that the state does not have"
        all_change(T.TRANSITION_UNCONFIGURED_SHUTDOWN, back, "finalized")


def test_a_pose_found_before_a_pause_is_not_sent_during_it_and_is_there_after_it(running: House) -> None:
    running.drive_until(LocalizationState.LOCALIZED)
    assert running.change("localizer", Transition.TRANSITION_DEACTIVATE)
    time.sleep(0.2)
    sent = len(running.odom_to_map())
    time.sleep(0.4)
    assert len(running.odom_to_map()) == sent
    assert running.change("localizer", Transition.TRANSITION_ACTIVATE)
    wait_for(lambda: len(running.odom_to_map()) > sent)


# -- bond ----------------------------------------------------------------------------------------------------------


class Manager:
    """The manager's side of a bond."""

    def __init__(self, nodes: Graph, name: str) -> None:
        from bond.msg import Status

        self.nodes, self.name, self.kind = nodes, name, Status
        self.ear = Ear(nodes.client, Status, "bond", 100)
        self.publisher = nodes.client.create_publisher(Status, "bond", 5)

    def say(self, active: bool, instance: str = "manager") -> None:
        self.publisher.publish(self.kind(id=self.name, instance_id=instance, active=active))

    def sisters(self) -> list[Any]:
        return [m for m in self.ear.heard if m.id == self.name and m.instance_id not in ("manager", "somebody else")]


def test_the_bond_forms_with_activation_beats_and_ends_with_deactivation(house: Path) -> None:
    with graph(lambda: House(str(house))) as nodes:
        manager = Manager(nodes, "localizer")
        assert nodes.change("localizer", Transition.TRANSITION_CONFIGURE)
        time.sleep(0.5)
        assert not manager.sisters(), "no heartbeat before activation"
        assert nodes.change("localizer", Transition.TRANSITION_ACTIVATE)
        first = wait_for(lambda: len(manager.sisters()) >= 4 and manager.sisters()[-1])
        assert first.active and first.heartbeat_timeout == 4.0 and first.heartbeat_period == 0.25
        stamps = [m.header.stamp.sec + m.header.stamp.nanosec * 1e-9 for m in manager.sisters()]
        assert np.median(np.diff(stamps)) < 1.0, "a manager waits for 4 s"
        wait_for(lambda: nodes.localizer.bond.partner == "manager", 10.0, lambda: manager.say(True))
        assert nodes.change("localizer", Transition.TRANSITION_DEACTIVATE)
        wait_for(lambda: not manager.sisters()[-1].active)
        silent = len(manager.sisters())
        time.sleep(0.6)
        assert len(manager.sisters()) == silent
        assert nodes.change("localizer", Transition.TRANSITION_ACTIVATE)
        again = wait_for(lambda: manager.sisters()[-1].active and manager.sisters()[-1])
        assert again.instance_id != first.instance_id, "another bond"


def test_a_manager_that_lets_go_is_answered_and_the_node_goes_on(running: House) -> None:
    manager = Manager(running, "localizer")
    wait_for(lambda: running.localizer.bond.partner == "manager", 10.0, lambda: manager.say(True))
    manager.say(False, "somebody else")
    manager.say(False)
    wait_for(lambda: any(not m.active for m in manager.sisters()))
    assert running.localizer.bond.partner == ""
    assert running.lifecycle_state("localizer") == "active"


def test_a_bond_can_be_left_out(house: Path) -> None:
    with graph(lambda: House(str(house), bond_heartbeat_period=0.0)) as nodes:
        manager = Manager(nodes, "localizer")
        nodes.start()
        time.sleep(0.5)
        assert not manager.sisters()


# -- nav2_simple_commander -----------------------------------------------------------------------------------------


def wait_until_active(node: Any, name: str, timeout_s: float = 20.0) -> list[str]:
    """As BasicNavigator.waitUntilNav2Active(localizer=name): poll <name>/get_state until it says active."""
    client = node.create_client(GetState, f"{name}/get_state")
    labels: list[str] = []
    deadline = time.monotonic() + timeout_s
    assert client.wait_for_service(timeout_s)
    while time.monotonic() < deadline:
        future = client.call_async(GetState.Request())
        wait_for(future.done)
        labels.append(future.result().current_state.label)
        if labels[-1] == "active":
            return labels
        time.sleep(0.1)
    raise AssertionError(labels)


def test_waiting_until_nav2_is_active_ends_when_the_localizer_is_active_localized_or_not(house: Path) -> None:
    with graph(lambda: House(str(house))) as nodes:
        assert nodes.change("localizer", Transition.TRANSITION_CONFIGURE)
        nodes.change("localizer", Transition.TRANSITION_ACTIVATE)
        assert wait_until_active(nodes.client, "localizer")[-1] == "active"
        assert nodes.localizer.session is not None and not nodes.odom_to_map()


def test_set_pose_answers_and_initialpose_does_the_same_silently(running: House) -> None:
    def put(frame: str, pose: Any, **zero: Any) -> Any:
        stated = answers.stamped_pose(0, frame, np.asarray(pose, dtype=float), np.zeros((3, 3)))
        return running.call(srv.SetPose, "set_pose", srv.SetPose.Request(pose=stated))

    running.robot.say_where(running.robot.now_ns())
    for frame, pose, words in (
        ("map", START, "header.frame_id: 'map' is not a map frame of the database: map_house_L1, map_house_L2"),
        (L1.map_frame, [500.0, 0.0, 0.0], "pose: (500.00, 0.00) m is off the plan of map_house_L1"),
        (L1.map_frame, [float("nan"), 0.0, 0.0], "nan"),
    ):
        refused = put(frame, pose)
        assert not refused.success and words in refused.message, refused.message
    assert not running.odom_to_map()
    taken = put(L1.map_frame, START)
    assert taken.success and taken.message == "placed in map_house_L1"
    wait_for(lambda: running.state() == LocalizationState.LOCALIZED)
    sent = wait_for(running.odom_to_map)[-1]
    found = se2_from_se3(conversions.read_pose(pose_of(sent.transform)))
    np.testing.assert_allclose(found, inverse_se2(T_ODOM_MAP), atol=1e-6)
    assert running.change("localizer", Transition.TRANSITION_DEACTIVATE)
    refused = put(L1.map_frame, START)
    assert not refused.success and "inactive" in refused.message


# -- several robots in one graph -----------------------------------------------------------------------------------


class Fleet(Graph):
    """Two robots, each with both nodes in a namespace and frames of its own."""

    def __init__(self, database: str) -> None:
        super().__init__()
        self.localizers: dict[str, LocalizerNode] = {}
        self.results: dict[str, Ear] = {}
        self.transforms = Ear(self.client, TFMessage, "/tf", 100)
        for name in ("robot1", "robot2"):
            source = EncoderSource(lambda checkpoint, device: PlantedEncoder())
            frames = [
                Parameter("odom_frame", value=f"{name}/odom"),
                Parameter("base_frame", value=f"{name}/base_link"),
            ]
            localizer = LocalizerNode(
                source, False, namespace=name, parameter_overrides=[Parameter("database", value=database), *frames]
            )
            sensing = EncoderNode(source, localizer.take, namespace=name, parameter_overrides=frames)
            self.localizers[name] = self.add(localizer)
            self.add(sensing)
            self.results[name] = Ear(self.client, PoseWithCovarianceStamped, f"/{name}/pose")
            assert self.in_executor(sensing.autostart) and self.in_executor(localizer.autostart)


def test_two_robots_in_one_graph_do_not_hear_each_other(house: Path) -> None:
    with graph(lambda: Fleet(str(house))) as fleet:
        names = {f"{namespace}{name}" for name, namespace in fleet.client.get_node_names_and_namespaces()}
        assert {"/robot1localizer", "/robot2localizer", "/robot1encoder", "/robot2encoder"} <= names
        publisher = fleet.client.create_publisher(PoseWithCovarianceStamped, "/robot2/initialpose", 10)
        wait_for(publisher.get_subscription_count)
        publisher.publish(answers.stamped_pose(0, L1.map_frame, START, np.eye(3) * 0.01))
        wait_for(lambda: fleet.transforms.heard)
        time.sleep(0.3)
        sent = {(t.header.frame_id, t.child_frame_id) for m in fleet.transforms.heard for t in m.transforms}
        assert sent == {(L1.map_frame, "robot2/odom")}
        assert fleet.results["robot2"].heard and not fleet.results["robot1"].heard
        assert wait_until_active(fleet.client, "/robot1/localizer") == ["active"]
        services = {name for name, _ in fleet.client.get_service_names_and_types()}
        for name in ("robot1", "robot2"):
            assert f"/{name}/relocalize" in services and f"/{name}/localizer/get_state" in services


def test_a_node_that_is_destroyed_while_active_leaves_no_traces(house: Path) -> None:
    rclpy.init(args=["test", "--ros-args", "--log-level", "FATAL"])
    try:
        source = EncoderSource(lambda checkpoint, device: PlantedEncoder())
        for _ in range(3):
            node = LocalizerNode(source, False, parameter_overrides=[Parameter("database", value=str(house))])
            assert node.autostart()
            node.destroy_node()
        del node
        gc.collect()  # rclpy's nodes refer to themselves; their handle goes with the last reference.
        other = rclpy.create_node("other")
        wait_for(lambda: "localizer" not in other.get_node_names())
        other.destroy_node()
    finally:
        rclpy.try_shutdown()
