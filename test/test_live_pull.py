"""A live localizer whose map `crossover map pull` replaces keeps to the old copy until it is told of the new one."""

from __future__ import annotations

import functools
import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

import crossover_ros.srv as srv
from ros_graph import L1, L2, PLANS, House, graph, wait_for, write_map

import crossover_models
from crossover_models.estimate import LocalizationState
from crossover_models.fleet.publish import publish
from crossover_models.fleet.stores import FolderStore
from crossover_models.map_database.store import MapDatabase

OBJECTS = "/objects/"


class Link(http.server.SimpleHTTPRequestHandler):
    """A web server that can stop answering in the middle of a pull."""

    protocol_version = "HTTP/1.1"
    open = threading.Event()
    held = threading.Event()

    def do_GET(self) -> None:
        if OBJECTS in self.path and not self.open.is_set():
            self.held.set()
            self.open.wait(60.0)
        try:
            super().do_GET()
        except OSError:  # Whoever asked was killed meanwhile.
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server:
    """That link to a folder, and its end."""

    def __init__(self, folder: Path) -> None:
        self.handler = type("Handler", (Link,), {"open": threading.Event(), "held": threading.Event()})
        self.handler.open.set()
        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(self.handler, directory=str(folder))
        )
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.handler.open.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Server]:
    """A store that holds the first version of the house."""
    publish(write_map(tmp_path / "first.xmap", plans={L1: PLANS[L1]}), FolderStore(tmp_path / "store", write=True))
    server = Server(tmp_path / "store")
    yield server
    server.close()


def pulling(*arguments: object) -> subprocess.Popen[str]:
    """``crossover map pull`` in a process of its own, as on a robot."""
    root = str(Path(crossover_models.__file__).parents[1])
    command = [sys.executable, "-m", "crossover_ros.cli", "map", "pull", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def fingerprint(path: Path) -> str:
    with MapDatabase.open(path) as database:
        database.verify()
        return database.fingerprint


def goes_on(nodes: House, with_map: str) -> None:
    """New data still become a pose on that map."""
    heard = len(nodes.results.heard)

    def step() -> None:
        nodes.robot.step(0.02)

    def found() -> Any:
        later = nodes.results.heard[heard:]
        return [r for r in later if r.state == LocalizationState.LOCALIZED and r.database_fingerprint == with_map]

    wait_for(found, 30.0, step)


def test_a_node_localizes_on_while_its_map_is_pulled_and_takes_the_new_one_when_told(
    tmp_path: Path, master: Server
) -> None:
    robot = tmp_path / "robot.xmap"
    first = pulling("--from", master.uri, "--building", "house", "--out", robot)
    assert first.wait(60.0) == 0, first.communicate()
    old = fingerprint(robot)
    with graph(lambda: House(str(robot))) as nodes:
        nodes.start()
        nodes.drive_until(LocalizationState.LOCALIZED)
        goes_on(nodes, old)
        publish(write_map(tmp_path / "second.xmap"), FolderStore(tmp_path / "store", write=True))

        # Killed in the middle: the file is the old one, and the node never noticed.
        master.handler.open.clear()
        killed = pulling("--from", master.uri, "--out", robot)
        assert master.handler.held.wait(60.0)
        goes_on(nodes, old)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait(10.0) == -signal.SIGKILL
        goes_on(nodes, old)
        assert fingerprint(robot) == old

        # Replaced under the running node: that keeps to what it has read.
        master.handler.open.set()
        done = pulling("--from", master.uri, "--out", robot)
        assert done.wait(60.0) == 0, done.communicate()
        new = fingerprint(robot)
        assert new != old and [path.name for path in tmp_path.glob("*robot*")] == ["robot.xmap"]
        goes_on(nodes, old)

        # Told of it, the node takes it, and finds itself again.
        answer = nodes.call(srv.LoadDatabase, "load_database", srv.LoadDatabase.Request(path=str(robot)))
        assert answer.success and answer.database_fingerprint == new
        nodes.drive_until(LocalizationState.LOCALIZED)
        goes_on(nodes, new)
        assert set(nodes.localizer.session.levels) == {L1, L2}

        # Without a network a pull fails in one line; file and node stay.
        master.close()
        refused = pulling("--from", master.uri, "--out", robot)
        _, error = refused.communicate(timeout=60.0)
        assert refused.returncode == 2 and "cannot be reached" in error and error.count("\n") == 1
        assert fingerprint(robot) == new
        goes_on(nodes, new)
