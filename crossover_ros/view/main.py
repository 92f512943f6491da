"""``crossover view``: serves the live page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from crossover_ros.localize import split_ros_arguments, use_large_data_transport

PORT = 8080


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    out = argparse.ArgumentParser(
        prog="crossover view",
        description="Serve a page that shows, live, where the localizer believes the robot to be: plan, belief, "
        "camera, places that look alike, latency. Needs a browser and no internet.",
        epilog="Everything of ROS follows --ros-args: --ros-args -r image:=/camera/image_raw -r __ns:=/robot1",
    )
    out.add_argument("--port", type=int, default=PORT, help=f"port of the page ({PORT}); 0 takes a free one")
    out.add_argument("--host", default="127.0.0.1", help="address to serve at (127.0.0.1); 0.0.0.0 for everybody")
    out.add_argument("--database", type=Path, help="map database for pictures of places; default: the localizer's own")
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted; status 2 with one line on stderr where that is impossible."""
    use_large_data_transport()
    import rclpy
    from rclpy.executors import ExternalShutdownException

    from crossover_ros.view.board import Board
    from crossover_ros.view.node import ViewNode
    from crossover_ros.view.places import PlacePictures
    from crossover_ros.view.server import ViewServer

    own, ros = split_ros_arguments(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(own)
    board, places = Board(), PlacePictures()
    try:
        if arguments.database is not None:
            places.open(arguments.database)
        server = ViewServer((arguments.host, arguments.port), board, places)
    except (ValueError, OSError, OverflowError) as error:
        print(f"crossover view: {arguments.host}:{arguments.port}: {error}", file=sys.stderr)
        return 2
    server.start()
    rclpy.init(args=["view", *ros])
    node = ViewNode(board, places, arguments.database)
    print(f"http://{arguments.host}:{server.server_port}/", flush=True)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        server.stop()
        node.destroy_node()
        rclpy.try_shutdown()
        places.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
