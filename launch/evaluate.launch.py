"""Plays a bag to the real nodes, by its own clock, and reports how well it was localized.

ros2 launch crossover_ros evaluate.launch.py bag:=run/bag database:=building.xmap ground_truth:=truth.tum

The same figures come, without ROS and faster than real time, from: crossover evaluate BAG --database DB. The arguments
of localize.launch.py may be given too; out/report.html is written when the bag is over.
"""

import sys
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from launch import LaunchContext, LaunchDescription

SHARE = Path(get_package_share_directory("crossover_ros"))
KINDS = ("image", "points", "scan", "odom", "depth")

ARGUMENTS = [
    DeclareLaunchArgument("bag", description="rosbag2 directory (MCAP, SQLite) or ROS 1 bag"),
    DeclareLaunchArgument("database", description="map database written by 'crossover map build'"),
    DeclareLaunchArgument(
        "ground_truth", default_value="", description="true trajectory (TUM); empty for a simulation's own, if any"
    ),
    DeclareLaunchArgument(
        "ground_truth_level", default_value="", description="BUILDING/LEVEL of the truth, where the map has several"
    ),
    DeclareLaunchArgument("out", default_value="build/evaluation", description="directory of the results"),
    DeclareLaunchArgument("rate", default_value="1.0", description="speed; 2.0 is twice as fast"),
    DeclareLaunchArgument("duration", default_value="", description="play only so many seconds; empty for all"),
    DeclareLaunchArgument(
        "qos_file",
        default_value=str(SHARE / "config" / "qos" / "reliable_inputs.yaml"),
        description="quality of service of the nodes' inputs; empty for that of live sensors",
    ),
    DeclareLaunchArgument(
        "view", default_value="false", choices=["true", "false"], description="serve the live page at port 8080"
    ),
    *(
        DeclareLaunchArgument(kind, default_value="", description=f"topic of the {kind} in the bag; empty: by type")
        for kind in KINDS
    ),
]


def start(context: LaunchContext) -> list[Action]:
    """Actions for the arguments given."""

    def given(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    options = {
        "--database": given("database"),
        "--ground-truth": given("ground_truth"),
        "--level": given("ground_truth_level"),
        "--out": given("out"),
        "--rate": given("rate"),
        "--duration": given("duration"),
        **{f"--{kind}": given(kind) for kind in KINDS},
    }
    evaluation = ExecuteProcess(
        cmd=[
            *(sys.executable, "-m", "crossover_ros.cli", "evaluate", given("bag"), "--live", "running"),
            *(word for name, value in options.items() if value for word in (name, value)),
        ],
        name="evaluation",
        output="screen",
    )
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "localize.launch.py")),
        launch_arguments={"use_sim_time": "true"}.items(),
    )
    over = EmitEvent(event=Shutdown(reason="the evaluation is over"))
    actions = [nodes, evaluation, RegisterEventHandler(OnProcessExit(target_action=evaluation, on_exit=[over]))]
    if given("view") == "true":
        actions.append(ExecuteProcess(cmd=[sys.executable, "-m", "crossover_ros.cli", "view"], output="screen"))
    return actions


def generate_launch_description() -> LaunchDescription:
    """What ros2 launch asks for."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])
