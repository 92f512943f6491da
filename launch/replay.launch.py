"""Localizes in a recorded bag: localize.launch.py on simulated time, and our bag player.

ros2 launch crossover_ros replay.launch.py bag:=run/bag database:=building.xmap points_topic:=/points
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, EmitEvent, IncludeLaunchDescription, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription

LOCALIZE = Path(get_package_share_directory("crossover_ros")) / "launch" / "localize.launch.py"


def generate_launch_description() -> LaunchDescription:
    """What ros2 launch asks for; the arguments of localize.launch.py may be given too."""
    player = Node(
        package="crossover_ros",
        executable="bag_player",
        name="bag_player",
        arguments=[LaunchConfiguration("bag"), "--rate", LaunchConfiguration("rate"), "--clock", "--wait", "60"],
        output="screen",
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="rosbag2 directory"),
            DeclareLaunchArgument("rate", default_value="1.0", description="speed; 2.0 is twice as fast"),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(LOCALIZE)), launch_arguments={"use_sim_time": "true"}.items()
            ),
            player,
            RegisterEventHandler(
                OnProcessExit(target_action=player, on_exit=[EmitEvent(event=Shutdown(reason="the bag is over"))])
            ),
        ]
    )
