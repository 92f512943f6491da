"""The launch files: what can be checked everywhere, and a launch_pytest test where launch is installed.

launch, launch_ros and launch_pytest are not on PyPI; where they are missing the launch test says so in a warning.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from crossover_ros import bag_player, evaluate
from crossover_ros.cli import ROS_COMMANDS

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))
LOCALIZE = ROOT / "launch" / "localize.launch.py"


def is_installed(name: str) -> bool:
    """Our own folder launch/ on the path is a namespace, not the package."""
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


MISSING = [n for n in ("launch", "launch_ros", "launch_pytest", "ament_index_python") if not is_installed(n)]
# What users of the field's launch files expect.
PROMISED = {
    "namespace", "database", "building", "level", "params_file", "use_sim_time", "autostart", "use_composition",
    "container_name", "use_respawn", "log_level", "device", "rviz", "record",
}  # fmt: skip


def calls(path: Path, name: str) -> list[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == name]


def literals(path: Path, call: str, keyword: str) -> set[str]:
    found = [k.value for c in calls(path, call) for k in c.keywords if k.arg == keyword]
    return {value.value for value in found if isinstance(value, ast.Constant) and isinstance(value.value, str)}


def test_every_promised_argument_is_declared_and_described() -> None:
    declared = {
        c.args[0].value for c in calls(LOCALIZE, "DeclareLaunchArgument") if isinstance(c.args[0], ast.Constant)
    }
    assert declared >= PROMISED
    for call in [c for path in FILES for c in calls(path, "DeclareLaunchArgument")]:
        assert "description" in {k.arg for k in call.keywords}, ast.unparse(call)


def test_every_executable_launched_is_installed_by_the_package() -> None:
    ours = literals(LOCALIZE, "Node", "executable") | {"localize", "encoder", "localizer", "bag_player"}
    recipe = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    for executable in ours - {"rviz2"}:
        assert os.access(ROOT / "scripts" / executable, os.X_OK)
        assert f"scripts/{executable}" in recipe


def test_topics_of_the_launch_file_are_those_of_the_nodes() -> None:
    tree = ast.parse(LOCALIZE.read_text(encoding="utf-8"))
    tuples = {
        n.targets[0].id: ast.literal_eval(n.value)
        for n in tree.body
        if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name) and isinstance(n.value, ast.Tuple)
    }
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "crossover_ros").glob("*.py"))
    for topic in (*tuples["INPUTS"], *tuples["OUTPUTS"]):
        assert f'"{topic}"' in sources, topic


def test_the_bag_launches_declare_what_they_promise_and_run_commands_that_exist() -> None:
    promised = {
        "evaluate": {"bag", "database", "ground_truth", "out", "rate", "qos_file", "view"},
        "replay": {"bag", "rate", "qos_file", "view"},
    }
    for name, wanted in promised.items():
        path = ROOT / "launch" / f"{name}.launch.py"
        text = path.read_text(encoding="utf-8")
        declared = {
            c.args[0].value for c in calls(path, "DeclareLaunchArgument") if isinstance(c.args[0], ast.Constant)
        }
        assert declared >= wanted
        assert 'KINDS = ("image", "points", "scan", "odom", "depth")' in text and "DeclareLaunchArgument(kind" in text
        player = {option for action in bag_player.parser()._actions for option in action.option_strings}
        for options in (set(option_strings("evaluate")), player):
            assert options >= {f"--{kind}" for kind in ("image", "points", "scan", "odom", "depth")}
    words = [w for c in evaluation_options() for w in c]
    assert set(words) <= set(option_strings("evaluate"))
    assert {"play", "view", "record"} <= set(ROS_COMMANDS)


def evaluation_options() -> list[list[str]]:
    """Options that evaluate.launch.py passes to ``crossover evaluate``."""
    tree = ast.parse((ROOT / "launch" / "evaluate.launch.py").read_text(encoding="utf-8"))
    keys = [k for n in ast.walk(tree) if isinstance(n, ast.Dict) for k in n.keys]
    return [[k.value] for k in keys if isinstance(k, ast.Constant) and str(k.value).startswith("--")] + [["--live"]]


def option_strings(command: str) -> list[str]:
    parser = argparse.ArgumentParser()
    evaluate.add_command(parser.add_subparsers())
    chosen = parser._subparsers._group_actions[0].choices[command]  # type: ignore[union-attr, index]
    return [option for action in chosen._actions for option in action.option_strings]


def test_quality_of_service_files_name_inputs_of_the_nodes() -> None:
    inputs = {"/points", "/scan", "/image", "/image/compressed", "/odom"}
    ours = yaml.safe_load((ROOT / "config" / "qos" / "reliable_inputs.yaml").read_text(encoding="utf-8"))
    named = {topic for group in ours.values() for topic in group["ros__parameters"]["qos_overrides"]}
    assert named == inputs
    for group in ours.values():
        for policy in group["ros__parameters"]["qos_overrides"].values():
            assert policy["subscription"]["reliability"] == "reliable"
    rosbag2 = yaml.safe_load((ROOT / "config" / "qos" / "rosbag2.yaml").read_text(encoding="utf-8"))
    assert inputs < set(rosbag2)
    known = {"reliability": {"reliable"}, "durability": {"volatile", "transient_local"}, "history": {"keep_last"}}
    for policy in rosbag2.values():
        assert all(policy[name] in values for name, values in known.items()) and policy["depth"] > 0


def panels(layout: Any) -> list[str]:
    """Panels of a Foxglove layout's tree; each branch splits into two."""
    if isinstance(layout, str):
        return [layout]
    assert layout["direction"] in ("row", "column") and 0 < layout["splitPercentage"] < 100
    return [*panels(layout["first"]), *panels(layout["second"])]


def test_the_foxglove_layout_shows_every_panel_and_only_topics_and_fields_that_exist() -> None:
    layout = json.loads((ROOT / "config" / "localize.foxglove.json").read_text(encoding="utf-8"))
    configured = layout["configById"]
    shown = panels(layout["layout"])
    assert sorted(shown) == sorted(configured) and len(set(shown)) == len(shown)
    kinds = {name.partition("!")[0] for name in shown}
    assert kinds == {"3D", "Image", "StateTransitions", "Plot", "Table", "DiagnosticSummary"}
    visible = [topic for topic, how in configured["3D!plan"]["topics"].items() if how["visible"]]
    images = [panel["imageMode"]["imageTopic"] for name, panel in configured.items() if name.startswith("Image")]
    paths = [p["value"] for panel in configured.values() for p in panel.get("paths", [])]
    paths.append(configured["Table!places"]["topicPath"])
    assert {"/floor_plan", "/hypotheses", "/retrieved_places"} <= set(visible)
    assert images == ["/floor_plan_overlay", "/image"]
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "crossover_ros").glob("*.py"))
    for topic in [*visible, *images, *(path.partition(".")[0] for path in paths)]:
        assert f'"{topic.removeprefix("/")}"' in sources, topic
    for path in paths:
        message = {"/localization": "LocalizationResult", "/scene_retrieval": "SceneRetrieval"}[path.partition(".")[0]]
        for step in path.split(".")[1:]:
            name = step.partition("[")[0]
            text = (ROOT / "msg" / f"{message}.msg").read_text(encoding="utf-8")
            field = re.search(rf"^(\w+)(?:\[\])? {name}$", text, re.MULTILINE)
            assert field is not None, path
            message = field[1]


def test_the_view_shows_topics_that_exist() -> None:
    view = yaml.safe_load((ROOT / "config" / "localize.rviz").read_text(encoding="utf-8"))
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "crossover_ros").glob("*.py"))
    shown = [d["Topic"]["Value"] for d in view["Visualization Manager"]["Displays"] if "Topic" in d]
    wanted = {"floor_plan", "hypotheses", "retrieved_places", "particle_cloud", "pose", "image", "floor_plan_overlay"}
    assert wanted <= set(shown)
    assert all(d["Enabled"] for d in view["Visualization Manager"]["Displays"])
    for topic in shown:
        assert f'"{topic}"' in sources, topic


if MISSING:

    def test_launch() -> None:
        """Says loudly what was not tested."""
        text = f"LAUNCH FILES NOT STARTED: {', '.join(MISSING)} not installed (ROS 2 has them, PyPI does not)"
        warnings.warn(text, stacklevel=1)
        pytest.skip(text)

else:
    import launch_pytest
    import rclpy
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch_pytest.actions import ReadyToTest
    from lifecycle_msgs.srv import GetState
    from std_srvs.srv import Trigger

    TRIGGER: tuple[str, Any] = ("relocalize/trigger", Trigger)

    from launch import LaunchDescription

    ARGUMENTS = {"use_composition": "false", "namespace": "robot1", "database": "/no/such.xmap", "device": "cpu"}

    @launch_pytest.fixture
    def two_processes() -> Any:
        source = PythonLaunchDescriptionSource(str(LOCALIZE))
        return LaunchDescription([IncludeLaunchDescription(source, launch_arguments=ARGUMENTS.items()), ReadyToTest()])

    @pytest.mark.launch(fixture=two_processes)
    def test_launch() -> None:
        """Both nodes come up in their namespace; without a map the localizer stays unconfigured, and answers."""
        rclpy.init()
        answers: dict[str, Any] = {}
        node = rclpy.create_node("tester")
        try:
            for name, kind in (("encoder/get_state", GetState), ("localizer/get_state", GetState), TRIGGER):
                client = node.create_client(kind, f"/robot1/{name}")
                assert client.wait_for_service(60.0), name
                future = client.call_async(kind.Request())
                rclpy.spin_until_future_complete(node, future, timeout_sec=60.0)
                answers[name] = future.result()
            assert answers["localizer/get_state"].current_state.label == "unconfigured"
            assert answers["encoder/get_state"].current_state.label in ("unconfigured", "inactive", "active")
            trigger = answers[TRIGGER[0]]
            assert not trigger.success and trigger.message.startswith("NO_DATABASE")
        finally:
            node.destroy_node()
            rclpy.try_shutdown()
