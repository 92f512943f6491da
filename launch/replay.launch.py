"""Localizes in a recorded bag: localize.launch.py on simulated time, our bag player, and the live page on request.

ros2 launch crossover_ros replay.launch.py bag:=run/bag database:=building.xmap view:=true

The sensors' topics are guessed by type and played under the names that the nodes listen to.
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
    DeclareLaunchArgument("rate", default_value="1.0", description="speed; 2.0 is twice as fast"),
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

    def crossover(command: str, *words: str) -> ExecuteProcess:
        return ExecuteProcess(
            cmd=[sys.executable, "-m", "crossover_ros.cli", command, *words], name=command, output="screen"
        )

    chosen = [word for kind in KINDS if given(kind) for word in (f"--{kind}", given(kind))]
    player = crossover(
        "play", given("bag"), "--inputs", *chosen, "--rate", given("rate"), "--clock", "100", "--wait", "60"
    )
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "localize.launch.py")),
        launch_arguments={"use_sim_time": "true"}.items(),
    )
    over = EmitEvent(event=Shutdown(reason="the bag is over"))
    actions = [nodes, player, RegisterEventHandler(OnProcessExit(target_action=player, on_exit=[over]))]
    if given("view") == "true":
        actions.append(crossover("view"))
    return actions


def generate_launch_description() -> LaunchDescription:
    """What ros2 launch asks for; the arguments of localize.launch.py may be given too."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])
