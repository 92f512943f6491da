"""Starts the nodes: encoder and localizer in one process, or one of them alone."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossover_ros.encoder_source import EncoderSource

# Fast DDS' default transport loses large best-effort messages; this one lost none (images and clouds at 30 and 10 Hz).
LARGE_DATA = "LARGE_DATA?max_msg_size=2MB&sockets_size=4MB&non_blocking=true"
NODES = ("encoder", "localizer")


def use_large_data_transport() -> None:
    """Choose Fast DDS' transport for large messages, unless the user has chosen one; before rclpy.init."""
    if "FASTRTPS_DEFAULT_PROFILES_FILE" not in os.environ and "FASTDDS_DEFAULT_PROFILES_FILE" not in os.environ:
        os.environ.setdefault("FASTDDS_BUILTIN_TRANSPORTS", LARGE_DATA)


def split_ros_arguments(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and those for rclpy: each section from ``--ros-args`` to ``--`` or the end."""
    own: list[str] = []
    ros: list[str] = []
    inside = False
    for argument in argv:
        inside = argument == "--ros-args" or (inside and argument != "--")
        if inside or (argument == "--" and ros):
            ros.append(argument)
        else:
            own.append(argument)
    return own, ros


def _parser(nodes: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crossover " + ("localize" if len(nodes) > 1 else nodes[0]),
        description=f"Run {' and '.join(nodes)} as lifecycle node{'s' if len(nodes) > 1 else ''}.",
        epilog="Everything of ROS follows --ros-args, for example: --ros-args -r points:=/lidar -p publish_tf:=false "
        "--params-file localize.yaml. The process stays alive without a database and says so in /diagnostics; "
        "the service load_database gives it one.",
    )
    if "localizer" in nodes:
        parser.add_argument("--database", metavar="X.xmap", help="map database (parameter database)")
        parser.add_argument("--building", help="search only this building (parameter building)")
        parser.add_argument("--level", help="search only this level (parameter level)")
    parser.add_argument("--checkpoint", help="encoders (parameter checkpoint); the shipped ones if not given")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where they run (parameter device)")
    parser.add_argument("--use-sim-time", action="store_true", help="take time from /clock")
    return parser


def run(argv: Sequence[str] | None, nodes: Sequence[str], source: EncoderSource | None = None) -> int:
    """Start the named nodes and spin until interrupted; returns an exit status.

    Encoders come from ``source`` where it is given.

    Status 2 for arguments or parameters that make no sense; a map that does not open keeps the process alive, as
    lifecycle managers and ``load_database`` expect.
    """
    use_large_data_transport()
    import rclpy

    own, ros = split_ros_arguments(sys.argv[1:] if argv is None else argv)
    try:
        arguments = _parser(nodes).parse_args(own)
        rclpy.init(args=[sys.argv[0], *ros])
        return _spin(nodes, arguments, source)
    except (ValueError, RuntimeError) as error:
        print(f"crossover: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    finally:
        rclpy.try_shutdown()


def _overrides(arguments: argparse.Namespace, names: Sequence[str]) -> list[Any]:
    from rclpy.parameter import Parameter

    out = [Parameter("use_sim_time", value=True)] if arguments.use_sim_time else []
    for name in names:
        value = getattr(arguments, name, None)
        if value is not None:
            out.append(Parameter(name, value=value))
    return out


def _spin(nodes: Sequence[str], arguments: argparse.Namespace, source: EncoderSource | None) -> int:
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    from crossover_ros.encoder_node import EncoderNode
    from crossover_ros.encoder_source import EncoderSource
    from crossover_ros.localizer_node import LocalizerNode
    from crossover_ros.parameters import names
    from crossover_ros.settings import EncoderNodeSettings, LocalizerNodeSettings

    executor = SingleThreadedExecutor()
    source = source or EncoderSource()
    everywhere = {*names(EncoderNodeSettings()), *names(LocalizerNodeSettings())}
    running: list[Any] = []
    try:
        localizer = None
        if "localizer" in nodes:
            chosen = _overrides(arguments, ("database", "building", "level", "checkpoint", "device"))
            localizer = LocalizerNode(source, "encoder" not in nodes, everywhere, parameter_overrides=chosen)
            running.append(localizer)
        if "encoder" in nodes:
            chosen = _overrides(arguments, ("checkpoint", "device"))
            listener = localizer.take if localizer is not None else None
            # First, so that the map is checked against the encoders it will meet.
            running.insert(0, EncoderNode(source, listener, everywhere, parameter_overrides=chosen))
        for node in running:
            executor.add_node(node)
        for node in running:
            if node.settings.autostart:
                node.autostart()
        while rclpy.ok():
            try:
                executor.spin()
            except (KeyboardInterrupt, ExternalShutdownException):
                break
            except Exception:  # A defect in one callback must not take the others down.
                if not rclpy.ok():  # A signal fell between two waits: no defect.
                    break
                running[0].get_logger().error(f"a callback failed:\n{traceback.format_exc()}")
                time.sleep(0.1)
    except (KeyboardInterrupt, ExternalShutdownException):  # While the nodes came up.
        pass
    finally:
        executor.shutdown()
        for node in running:
            node.destroy_node()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run both nodes in one process."""
    return run(argv, NODES)


if __name__ == "__main__":
    sys.exit(main())
