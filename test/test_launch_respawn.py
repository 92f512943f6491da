"""Composition and respawning by the real launch: a killed process comes back with both nodes.

launch, launch_ros and launch_pytest are not on PyPI; without them nothing of this can be started.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")
pytest.importorskip("launch_ros", reason="needs launch_ros: ROS 2 has it, PyPI does not")
pytest.importorskip("launch_pytest", reason="needs launch_pytest: ROS 2 has it, PyPI does not")

import launch_pytest
import rclpy
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_pytest.actions import ReadyToTest
from lifecycle_msgs.srv import GetState
from std_srvs.srv import Trigger

from launch import LaunchDescription

LOCALIZE = Path(__file__).resolve().parents[1] / "launch" / "localize.launch.py"
ARGUMENTS = {
    "use_composition": "true",
    "namespace": "robot2",
    "use_respawn": "true",
    "database": "/no/such.xmap",
    "device": "cpu",
}


@launch_pytest.fixture
def one_process_that_respawns() -> Any:
    source = PythonLaunchDescriptionSource(str(LOCALIZE))
    return LaunchDescription([IncludeLaunchDescription(source, launch_arguments=ARGUMENTS.items()), ReadyToTest()])


def ask(node: Any, name: str, kind: Any, patience_s: float = 90.0) -> Any:
    """Answer of a service, asked again and again: after a SIGKILL DDS still knows the dead server for a while."""
    client = node.create_client(kind, name)
    deadline = time.monotonic() + patience_s
    try:
        while time.monotonic() < deadline:
            if not client.wait_for_service(1.0):
                continue
            future = client.call_async(kind.Request())
            rclpy.spin_until_future_complete(node, future, timeout_sec=5.0)
            if future.done():
                return future.result()
            client.remove_pending_request(future)
        raise AssertionError(f"{name} gave no answer")
    finally:
        node.destroy_client(client)


def processes_of(namespace: str) -> set[int]:
    """Process ids of the nodes that launch started in a namespace."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:  # It ended meanwhile.
            continue
        if f"__ns:={namespace}".encode() in words:
            found.add(int(path.parent.name))
    return found


@pytest.mark.launch(fixture=one_process_that_respawns)
def test_a_killed_process_comes_back_with_both_nodes() -> None:
    """Composition: both nodes in one process; after SIGKILL launch starts another one."""
    rclpy.init()
    node = rclpy.create_node("tester")
    try:
        for name in ("encoder", "localizer"):
            assert ask(node, f"/robot2/{name}/get_state", GetState) is not None
        first = processes_of("/robot2")
        assert len(first) == 1, "one process for both"
        os.kill(first.pop(), signal.SIGKILL)
        deadline = time.monotonic() + 60.0
        while not processes_of("/robot2") and time.monotonic() < deadline:
            time.sleep(0.2)
        assert processes_of("/robot2"), "respawned"
        trigger = ask(node, "/robot2/relocalize/trigger", Trigger)
        assert trigger.message.startswith("NO_DATABASE")
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
