"""The entry point ``crossover``: the core's commands, and those that need ROS."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from crossover_models import cli

# Commands with ROS arguments, which argparse must not touch; each module has main(argv) -> exit status.
ROS_COMMANDS = {
    "localize": ("crossover_ros.localize", "run encoder and localizer as ROS 2 nodes in one process"),
    "encoder": ("crossover_ros.encoder_node", "run the node encoder alone"),
    "localizer": ("crossover_ros.localizer_node", "run the node localizer alone"),
    "view": ("crossover_ros.view.main", "serve a live page: plan, belief, camera, places, latency"),
    "record": ("crossover_ros.bag_recorder", "record what the localizer says into an MCAP bag"),
    "play": ("crossover_ros.bag_player", "replay a rosbag2 over ROS with /clock"),
}
# Commands beside their code, with add_command(subparsers); they import ROS only when they run.
MODULES = ("crossover_ros.evaluate", "crossover_ros.calibrate", "crossover_ros.demo")
BENCHMARKS = ("crossover_ros.faults.commands", "crossover_ros.latency.commands")


def _list_ros_commands(subparsers: Any) -> None:
    """Let ``crossover --help`` name the commands that :func:`main` hands over before parsing."""
    for name, (_, text) in ROS_COMMANDS.items():
        subparsers.add_parser(name, help=text, add_help=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] in ROS_COMMANDS:
        try:
            module = import_module(ROS_COMMANDS[given[0]][0])
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("crossover"):
                raise
            print(f"crossover {given[0]}: needs ROS 2, but {error.name} is not installed", file=sys.stderr)
            return 2
        return int(module.main(given[1:]))
    commands = (_list_ros_commands, *(import_module(name).add_command for name in MODULES))
    return cli.main(given, commands, [import_module(name).add_command for name in BENCHMARKS])


if __name__ == "__main__":
    sys.exit(main())
