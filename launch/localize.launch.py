"""Starts encoder and localizer, and on request RViz and a recording.

ros2 launch crossover_ros localize.launch.py database:=building.xmap points_topic:=/lidar/points

Every argument is listed by: ros2 launch crossover_ros localize.launch.py --show-args
"""

import sys
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.action import Action
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription

SHARE = Path(get_package_share_directory("crossover_ros"))
SWITCH = ["true", "false"]
INPUTS = ("image", "image/compressed", "camera_info", "points", "scan", "depth", "depth/camera_info", "odom")
OUTPUTS = (
    "scene_embedding",
    "scene_retrieval",
    "localization",
    "pose",
    "hypotheses",
    "retrieved_places",
    "particle_cloud",
    "floor_plan",
)


def topic_argument(name: str) -> str:
    """Launch argument that renames an input topic."""
    return f"{name.replace('/', '_')}_topic"


ARGUMENTS = [
    DeclareLaunchArgument("namespace", default_value="", description="namespace of the nodes"),
    DeclareLaunchArgument("database", default_value="", description="map database written by 'crossover map build'"),
    DeclareLaunchArgument("building", default_value="", description="search only this building; empty for all"),
    DeclareLaunchArgument("level", default_value="", description="search only this level; empty for all"),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(SHARE / "config" / "localize.yaml"),
        description="parameters of both nodes; the arguments here win over it",
    ),
    DeclareLaunchArgument(
        "qos_file",
        default_value="",
        description="quality of service of the inputs, e.g. config/qos/reliable_inputs.yaml; empty: of live sensors",
    ),
    DeclareLaunchArgument("use_sim_time", default_value="false", choices=SWITCH, description="take time from /clock"),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=SWITCH,
        description="activate; false leaves it to a lifecycle manager",
    ),
    DeclareLaunchArgument(
        "use_composition",
        default_value="true",
        choices=SWITCH,
        description="both nodes in one process, so that a cloud is deserialized once; false for a process each",
    ),
    DeclareLaunchArgument(
        "container_name", default_value="crossover", description="name of the one process in the launch log"
    ),
    DeclareLaunchArgument("use_respawn", default_value="false", choices=SWITCH, description="restart what crashed"),
    DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal"),
    DeclareLaunchArgument(
        "device", default_value="auto", choices=["auto", "cpu", "cuda"], description="where the encoders run"
    ),
    DeclareLaunchArgument("publish_tf", default_value="true", choices=SWITCH, description="publish map->odom"),
    DeclareLaunchArgument("rviz", default_value="false", choices=SWITCH, description="start RViz with our view"),
    DeclareLaunchArgument("record", default_value="", description="record our topics into this bag; empty: no"),
    *(
        DeclareLaunchArgument(topic_argument(name), default_value=name, description=f"topic to take as {name}")
        for name in INPUTS
    ),
]


def start(context: LaunchContext) -> list[Action]:
    """Actions for the arguments given."""

    def given(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    def is_on(name: str) -> bool:
        return given(name) == "true"

    overrides = {"use_sim_time": is_on("use_sim_time"), "autostart": is_on("autostart"), "device": given("device")}
    localizer_only = {"publish_tf": is_on("publish_tf")}
    localizer_only.update({name: given(name) for name in ("database", "building", "level") if given(name)})

    def process(executable: str, name: str, parameters: dict[str, object]) -> Node:
        return Node(
            package="crossover_ros",
            executable=executable,
            exec_name=name,
            namespace=given("namespace"),
            parameters=[*(given(name) for name in ("params_file", "qos_file") if given(name)), parameters],
            remappings=[(name, given(topic_argument(name))) for name in INPUTS if given(topic_argument(name)) != name],
            arguments=["--ros-args", "--log-level", given("log_level")],
            respawn=is_on("use_respawn"),
            respawn_delay=2.0,
            output="screen",
        )

    if is_on("use_composition"):
        actions: list[Action] = [process("localize", given("container_name"), {**overrides, **localizer_only})]
    else:
        actions = [
            process("encoder", "encoder", overrides),
            process("localizer", "localizer", {**overrides, **localizer_only}),
        ]
    if is_on("rviz"):
        actions.append(
            Node(
                package="rviz2",
                executable="rviz2",
                namespace=given("namespace"),
                arguments=["-d", str(SHARE / "config" / "localize.rviz")],
                parameters=[{"use_sim_time": is_on("use_sim_time")}],
                output="screen",
            )
        )
    if given("record"):
        # Ours, which needs no rosbag2 and writes the definitions of the messages with their comments.
        command = [sys.executable, "-m", "crossover_ros.cli", "record", given("record"), "--topics", *OUTPUTS]
        command += ["/tf", "/tf_static", "/diagnostics", "--ros-args", "-p", f"use_sim_time:={given('use_sim_time')}"]
        if given("namespace"):
            command += ["-r", f"__ns:=/{given('namespace').strip('/')}"]
        actions.append(ExecuteProcess(cmd=command, name="record", output="screen"))
    return actions


def generate_launch_description() -> LaunchDescription:
    """What ros2 launch asks for."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])
