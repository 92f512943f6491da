"""The test stand: both nodes as processes of their own, a simulated robot, and a witness, over real DDS."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from crossover_ros.faults.recording import Recording
from crossover_ros.faults.robot import Robot
from crossover_ros.faults.witness import NODES, Witness
from crossover_ros.live_run import private_ros_environment
from crossover_ros.localize import use_large_data_transport
from crossover_ros.supervised import Supervised

START_S = 120.0
DIAGNOSTICS_PERIOD_S = 0.5
# While this file exists, the encoders on the pretended accelerator find no memory.
STARVED = "out_of_memory"


class Answers:
    """What services answered during a fault: told to the caller, not in diagnostics."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def add(self, text: str) -> None:
        """Keep an answer."""
        self._texts.append(text)

    def clear(self) -> None:
        """Forget the fault before."""
        self._texts.clear()

    def find(self, pattern: str) -> str | None:
        """The first answer that fits a pattern."""
        return next((text for text in self._texts if re.search(pattern, text)), None)


class StandError(RuntimeError):
    """The stand itself failed: the nodes did not start, or the robot stopped; the message has the log's end."""


class Stand:
    """Everything that a fault happens to; a context manager.

    Args:
        folder: where logs and copies of the map go.
        database: map in use at the start; copied, because faults replace it.
        other: another building's map by the same encoders.
        recording: what the robot drives.
        commands: of the processes by name; the shipped nodes where nothing is given.
        rate: how much faster than the wall's the robot's time runs; the nodes take time from /clock unless it is 1.
    """

    def __init__(
        self,
        folder: Path,
        database: Path,
        other: Path,
        recording: Recording,
        commands: Mapping[str, Sequence[str]] | None = None,
        rate: float = 1.0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.source, self.other = folder, database, other
        self.database = folder / "map.xmap"
        shutil.copyfile(database, self.database)
        (folder / STARVED).unlink(missing_ok=True)
        self._recording, self._rate = recording, rate
        shipped = node_commands(self.database, folder / STARVED, simulated_time=rate != 1.0)
        self._commands = dict(commands) if commands is not None else shipped
        self._processes: dict[str, Supervised] = {}
        self._starts = 0
        self.answers = Answers()

    def __enter__(self) -> Self:
        os.environ.update(private_ros_environment())
        use_large_data_transport()
        rclpy.init(args=["crossover"], signal_handler_options=SignalHandlerOptions.NO)
        self._publisher = rclpy.create_node("fault_robot")
        self.robot = Robot(self._publisher, self._recording, self._rate)
        self.witness = Witness(self.robot.truth)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.witness)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="witness", daemon=True)
        self._thread.start()
        for name in self._commands:
            self.start(name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.robot.stop()
        for process in self._processes.values():
            process.stop()
        self._stopping.set()
        self._thread.join(5.0)
        self._executor.shutdown()
        self.witness.destroy_node()
        self._publisher.destroy_node()
        rclpy.try_shutdown()

    def _spin(self) -> None:
        while not self._stopping.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    # -- processes -------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start a node's process (again)."""
        self._starts += 1
        log = self.folder / f"{name}.{self._starts}.log"
        self._processes[name] = Supervised(name, self._commands[name], log)

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self._processes[name].kill()

    def pid(self, name: str) -> int:
        """Process id of a node."""
        return self._processes[name].pid

    def alive(self, name: str) -> bool:
        """Whether a node's process runs."""
        return self._processes[name].alive()

    def dead(self) -> list[str]:
        """Names of the processes that do not run, with the end of what they said."""
        return [
            f"{name} died: {process.tail(3).strip()}"
            for name, process in self._processes.items()
            if not process.alive()
        ]

    def revive(self) -> None:
        """Start what died."""
        for name, process in list(self._processes.items()):
            if not process.alive():
                self.start(name)

    def wait_until_ready(self, patience_s: float = START_S) -> None:
        """Both nodes are there and hear the sensors; the robot drives.

        Raises:
            StandError: not in time, or one died.
        """

        def listening() -> bool:
            heard = all(self.robot.subscribers(kind) for kind in ("points", "image", "odom", "tf"))
            return heard and self.witness.ready()

        if not self.wait(listening, patience_s, fragile=True):
            raise StandError(f"the nodes were not ready within {patience_s:.0f} s; logs in {self.folder}")
        self.robot.start()

    def wait(self, condition: Callable[[], object], patience_s: float, fragile: bool = False) -> bool:
        """Whether a condition came true in time.

        Raises:
            StandError: the robot failed; with ``fragile``, a node died.
        """
        deadline_s = time.monotonic() + patience_s
        while True:
            if condition():
                return True
            if self.robot.failure is not None:
                raise StandError(f"the simulated robot stopped: {self.robot.failure!r}")
            if fragile and (dead := self.dead()):
                raise StandError("; ".join(dead))
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.05)

    def restore_database(self) -> None:
        """Put the right map back on its path."""
        replace_file(self.source, self.database)


def replace_file(source: Path, target: Path) -> None:
    """Put a copy in a file's place at once, as a build does."""
    partial = target.with_name(target.name + ".partial")
    shutil.copyfile(source, partial)
    partial.replace(target)


def node_commands(database: Path, starved: Path, simulated_time: bool = False) -> dict[str, list[str]]:
    """Commands of the shipped nodes, each in a process of its own; the encoder on a pretended accelerator."""
    python = [sys.executable, "-m"]
    fast = ["-p", f"diagnostics_period_s:={DIAGNOSTICS_PERIOD_S}", "-p", f"use_sim_time:={str(simulated_time).lower()}"]
    # Best effort would lose the 120 MB of a cloud on the way, and the node would never meet it.
    whole = ["-p", "qos_overrides./points.subscription.reliability:=reliable"]
    return {
        NODES[0]: [*python, "crossover_ros.faults.starved_encoder", str(starved), "--ros-args", *fast, *whole],
        NODES[1]: [
            *python,
            "crossover_ros.cli",
            "localizer",
            "--device",
            "cpu",
            "--database",
            str(database),
            "--ros-args",
            *fast,
            "-p",
            "relocalize_timeout_s:=5.0",
        ],
    }
