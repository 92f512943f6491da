"""A bag through the real nodes: over DDS, by the bag's clock, with a recorder listening and a call of relocalize."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover_models.evaluation.run_record import RunInfo, RunWriter
from crossover_ros.free_domain import free_domain
from crossover_ros.supervised import Supervised

if TYPE_CHECKING:
    from crossover_ros.recorder import Recorder

START_PATIENCE_S = 180.0
SUBSCRIBER_PATIENCE_S = 30.0
RELOCALIZE_TIMEOUT_S = 15.0
# After the last message: until the nodes have said nothing for so long, and at most so long.
QUIET_S, SETTLE_S = 2.0, 10.0
Tell = Callable[[str, float, float], None]


class LiveRunError(RuntimeError):
    """The nodes could not be run to the end; the message says what happened and where the log is."""


@dataclass(frozen=True)
class LiveRun:
    """What to run.

    Attributes:
        bag: rosbag2 directory.
        database: map database.
        record: file for the record.
        log: file for the nodes' output.
        info: first line of the record.
        remaps: topics of the bag to the names under which they are played.
        duration_s: play only so much of the bag; 0 for all.
        rate: speed; 2.0 is twice as fast as recorded.
        relocalize_at_s: bag time of the call of relocalize; None for no call.
        apply: the call's answer becomes the belief.
        checkpoint: encoders of the nodes; empty for the shipped ones.
        params: parameter file of the nodes, if any.
        changes: settings over those of the file, each ``NODE.NAME=VALUE``.
        start_nodes: start the nodes here; else somebody else has started them, on simulated time.
        keep_going: an interrupt ends the run early, as if the bag ended there; else it ends everything.
    """

    bag: Path
    database: Path
    record: Path
    log: Path
    info: RunInfo
    remaps: Mapping[str, str] = field(default_factory=dict)
    duration_s: float = 0.0
    relocalize_at_s: float | None = None
    apply: bool = False
    checkpoint: str = ""
    params: Path | None = None
    changes: tuple[str, ...] = ()
    rate: float = 1.0
    start_nodes: bool = True
    keep_going: bool = False


@dataclass(frozen=True)
class LiveOutcome:
    """What the recorder heard and how the nodes ended."""

    messages: Mapping[str, int]
    refused: Mapping[str, int]
    diagnostics: Mapping[str, tuple[str, Mapping[str, str]]]
    played_s: float
    exit_status: int


def require_ros() -> None:
    """Check that there is a ROS 2.

    Raises:
        ValueError: there is none.
    """
    missing = [name for name in ("rclpy", "crossover_ros.msg") if find_spec(name) is None]
    if missing:
        raise ValueError(f"needs ROS 2, but {missing[0]} is not installed; 'crossover evaluate' does without")


def private_ros_environment() -> dict[str, str]:
    """Settings that keep a run to itself on this machine, unless the user chose a domain."""
    out = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    if "ROS_DOMAIN_ID" not in os.environ:
        out["ROS_DOMAIN_ID"] = str(free_domain())
    return out


def run_live(plan: LiveRun, tell: Tell, began: float) -> LiveOutcome:
    """Start the nodes, play the bag, record, and stop the nodes again.

    Args:
        plan: what to run.
        tell: hears (step, done, total) in seconds.
        began: ``time.monotonic()`` from which the record's wall time counts.

    Raises:
        KeyboardInterrupt: SIGINT, unless ``plan.keep_going`` and something was played; the nodes are stopped first.
        ChildDied: the nodes ended before the run did.
        LiveRunError: they did not become active in time, or nothing subscribed to the bag.
    """
    from crossover_ros.localize import use_large_data_transport

    if plan.start_nodes:
        os.environ.update(private_ros_environment())
    use_large_data_transport()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from crossover_ros.recorder import Recorder

    interrupted = threading.Event()
    # Not the default handler: an exception in the middle of rclpy's conversions comes out as another one.
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    rclpy.init(args=["crossover"], signal_handler_options=SignalHandlerOptions.NO)
    executor = SingleThreadedExecutor()
    try:
        with RunWriter(plan.record, plan.info) as writer, _nodes(plan) as nodes:
            recorder = Recorder(writer, plan.info.started_ns)
            executor.add_node(recorder)
            try:
                played_s = _Session(plan, nodes, recorder, executor, tell, interrupted).carry_out()
            finally:
                executor.remove_node(recorder)
                recorder.destroy_node()
            status = nodes.stop() if nodes is not None else 0
            writer.end(time.monotonic() - began)
        return LiveOutcome(recorder.counts, recorder.refused, recorder.diagnostics, played_s, status)
    finally:
        executor.shutdown()
        rclpy.try_shutdown()
        signal.signal(signal.SIGINT, before)


def _nodes(plan: LiveRun) -> AbstractContextManager[Supervised | None]:
    """The nodes as a child, or nothing where they are somebody else's."""
    return Supervised("nodes", _command(plan), plan.log) if plan.start_nodes else nullcontext()


def _command(plan: LiveRun) -> list[str]:
    ros = ["--params-file", str(plan.params)] if plan.params is not None else []
    for change in plan.changes:
        name, _, value = change.partition("=")
        node, _, key = name.partition(".")
        ros += ["-p", f"{node}:{key}:={value}"]
    # What is played reliably is taken so: a sweep that the network loses is none of the localizer's failures.
    for name in {"points", "image", "image/compressed", "scan"} & set(plan.remaps.values()):
        ros += ["-p", f"encoder:qos_overrides./{name}.subscription.reliability:=reliable"]
    return [
        sys.executable,
        "-m",
        "crossover_ros.cli",
        "localize",
        "--database",
        str(plan.database),
        "--use-sim-time",
        *(["--checkpoint", plan.checkpoint] if plan.checkpoint else []),
        *(["--ros-args", *ros] if ros else []),
    ]


class _Session:
    """One run: the recorder spins here, the bag player in a thread of its own."""

    def __init__(
        self,
        plan: LiveRun,
        nodes: Supervised | None,
        recorder: Recorder,
        executor: Any,
        tell: Tell,
        interrupted: threading.Event,
    ) -> None:
        self._plan, self._nodes, self._recorder = plan, nodes, recorder
        self._executor, self._tell, self._interrupted = executor, tell, interrupted
        self._stop = threading.Event()
        self._played_s = 0.0
        self._failure: Exception | None = None

    def carry_out(self) -> float:
        """Returns the seconds of the bag that were played."""
        self._wait_until_active()
        player = threading.Thread(target=self._play, name="bag player", daemon=True)
        player.start()
        try:
            self._listen(player)
            self._settle()
        except KeyboardInterrupt:
            if not self._plan.keep_going:
                raise
        finally:
            self._stop.set()
            player.join(10.0)
        if self._failure is not None:
            told = f"; the nodes' log: {self._nodes.log}" if self._nodes is not None else ""
            raise LiveRunError(f"the bag was not played: {self._failure}{told}")
        return self._played_s

    def _spin(self) -> None:
        self._executor.spin_once(timeout_sec=0.05)
        if self._interrupted.is_set():
            raise KeyboardInterrupt
        if self._nodes is not None:
            self._nodes.check()

    def _wait_until_active(self) -> None:
        began = time.monotonic()
        while names := self._recorder.inactive():
            self._spin()
            waited_s = time.monotonic() - began
            if self._recorder.no_database:
                raise LiveRunError(f"the localizer has no map: {self._recorder.no_database}")
            self._tell("start the nodes", waited_s, START_PATIENCE_S)
            if waited_s > START_PATIENCE_S:
                told = f"; the end of {self._nodes.log}:\n{self._nodes.tail()}" if self._nodes is not None else ""
                raise LiveRunError(f"{' and '.join(names)} not active after {START_PATIENCE_S:.0f} s{told}")

    def _play(self) -> None:
        import rclpy

        from crossover_ros.bag_player import BagFile, Player, PlayOptions

        node = rclpy.create_node("bag_player")
        try:
            options = PlayOptions(
                self._plan.rate,
                100.0,
                remaps=self._plan.remaps,
                wait_s=SUBSCRIBER_PATIENCE_S,
                duration_s=self._plan.duration_s,
            )
            with BagFile(self._plan.bag) as bag:
                player = Player(node, bag, options)
                player.wait(self._stop.is_set)
                player.play(self._on_played, self._stop.is_set)
        except Exception as error:  # It belongs to the thread that waits for this one.
            self._failure = error
        finally:
            node.destroy_node()

    def _on_played(self, bag_s: float) -> None:
        self._played_s = bag_s

    def _listen(self, player: threading.Thread) -> None:
        total_s = (self._plan.info.finished_ns - self._plan.info.started_ns) * 1e-9
        asked = self._plan.relocalize_at_s is None
        while player.is_alive():
            self._spin()
            self._tell("localize over ROS 2", self._played_s, total_s)
            self._recorder.poll_relocalize(RELOCALIZE_TIMEOUT_S + 5.0)
            if not asked and self._played_s >= (self._plan.relocalize_at_s or 0.0):
                asked = True
                self._recorder.ask_relocalize(self._plan.apply, RELOCALIZE_TIMEOUT_S)

    def _settle(self) -> None:
        """Let late answers in."""
        began = time.monotonic()
        while time.monotonic() - began < SETTLE_S:
            self._spin()
            over = self._recorder.poll_relocalize(RELOCALIZE_TIMEOUT_S + 5.0)
            if over and time.monotonic() - max(self._recorder.heard_at, began) > QUIET_S:
                return
