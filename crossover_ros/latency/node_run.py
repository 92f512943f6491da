"""A drive in real time through the nodes: a player and a listener around them, over DDS, by the machine's clock."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crossover_models.stage_clock import StageTime
from crossover_ros.latency.figures import Pass
from crossover_ros.live_run import private_ros_environment
from crossover_ros.supervised import Supervised

START_PATIENCE_S, SETTLE_S = 90.0, 3.0
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class LatencyError(RuntimeError):
    """The nodes or the player did not do their part; the message says which."""


def drive_nodes(
    bag: Path,
    database: Path,
    duration_s: float,
    image_rate_hz: float,
    checkpoint: str,
    log: Path,
    tell: Callable[[float], None] = lambda _: None,
) -> Pass:
    """Play a bag to the nodes as live sensors would speak, and time every answer; ``tell`` hears the seconds so far.

    Raises:
        LatencyError: the nodes did not become active, or nothing was played.
        ChildDied: the nodes or the player ended.
    """
    # Apart from a robot's own nodes, which would answer too.
    os.environ.update(private_ros_environment())
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    rclpy.init(args=None)
    executor = SingleThreadedExecutor()
    try:
        ear = _ear()
        executor.add_node(ear)
        command = [sys.executable, "-m", "crossover_ros.cli", "localize", "--database", str(database)]
        command += ["--checkpoint", checkpoint] if checkpoint else []
        command += ["--ros-args", "-p", f"encoder:max_image_rate_hz:={image_rate_hz}"]
        # What is lost on the way is none of the nodes' slowness.
        for name in ("points", "image"):
            command += ["-p", f"encoder:qos_overrides./{name}.subscription.reliability:=reliable"]
        with Supervised("nodes", command, log) as nodes:
            _spin_until(executor, lambda: ear.active >= {"encoder", "localizer"}, nodes, START_PATIENCE_S)
            play = [sys.executable, "-m", "crossover_ros.cli", "play", str(bag), "--inputs", "--now"]
            play += ["--wait", "60", "--duration", str(duration_s)]
            with Supervised("player", play, log.with_name("player.log")) as player:
                _spin_until(executor, lambda: ear.playing, nodes, START_PATIENCE_S)
                began, began_cpu = time.monotonic(), process_cpu_s(nodes.pid)
                while player.alive():
                    executor.spin_once(timeout_sec=0.1)
                    nodes.check()
                    tell(time.monotonic() - began)
            wall_s, cpu_s = time.monotonic() - began, process_cpu_s(nodes.pid) - began_cpu
            # Until no answer has come for a while; how late the last ones are is in the figures.
            heard, until = -1, 0.0
            while time.monotonic() < until or heard != ear.answers:
                if heard != ear.answers:
                    heard, until = ear.answers, time.monotonic() + SETTLE_S
                executor.spin_once(timeout_sec=0.1)
            return Pass(
                "nodes", dict(ear.latencies_ms), ear.stages(), cpu_s, wall_s, dict(ear.sent), dict(ear.dropped())
            )
    finally:
        executor.shutdown()
        rclpy.try_shutdown()


def _spin_until(executor: Any, done: Callable[[], bool], nodes: Supervised, patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while not done():
        executor.spin_once(timeout_sec=0.1)
        nodes.check()
        if time.monotonic() > until:
            raise LatencyError(f"nothing for {patience_s:.0f} s; the end of {nodes.log}:\n{nodes.tail()}")


def process_cpu_s(pid: int) -> float:
    """CPU time of a process so far, all of its threads, proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def _ear() -> Any:
    """The node that listens; its class is made here, so that the command line needs no ROS to be read."""
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.node import Node
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image, PointCloud2

    import crossover_ros.msg as messages

    reliable = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)

    class Ear(Node):
        def __init__(self) -> None:
            super().__init__("latency_listener")
            self.latencies_ms: dict[str, list[float]] = defaultdict(list)
            self.sent: Counter[str] = Counter()
            self.active: set[str] = set()
            self.playing = False
            self._values: dict[str, dict[str, str]] = {}
            self._kinds: dict[int, str] = {}
            self._answered: set[int] = set()
            self._lock = threading.Lock()
            self.create_subscription(messages.LocalizationResult, "localization", self._on_result, reliable)
            self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, reliable)
            # Raw, so that listening to pictures costs no conversion; only their stamps and numbers are wanted.
            for kind, name in ((Image, "image"), (PointCloud2, "points")):
                self.create_subscription(kind, name, lambda raw, n=name: self._on_sensor(n, raw), reliable, raw=True)

        def _on_sensor(self, name: str, raw: bytes) -> None:
            self.playing = True
            self.sent[name] += 1
            sec, nanosec = int.from_bytes(raw[4:8], "little"), int.from_bytes(raw[8:12], "little")
            self._kinds[sec * 10**9 + nanosec] = name

        def _on_result(self, message: Any) -> None:
            now_ns = time.time_ns()
            stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            # Told again under an old stamp, it is no answer to new data.
            if not self.playing or not stamp_ns or stamp_ns in self._answered:
                return
            self._answered.add(stamp_ns)
            self.latencies_ms[self._kinds.get(stamp_ns, "other")].append((now_ns - stamp_ns) * 1e-6)

        def _on_diagnostics(self, message: Any) -> None:
            for status in message.status:
                name = status.name.partition(":")[0].rpartition("/")[2]
                values = {pair.key: pair.value for pair in status.values}
                self._values[name] = values
                if "inactive" not in status.message and "not configured" not in status.message:
                    self.active.add(name)

        @property
        def answers(self) -> int:
            return len(self._answered)

        def stages(self) -> dict[str, StageTime]:
            """As the nodes counted them."""
            out: dict[str, StageTime] = {}
            for node, values in self._values.items():
                for key in values:
                    name = key.removesuffix("_runs")
                    if name == key:
                        continue
                    p50, p95, p99 = (float(v) for v in values[f"{name}_ms"].split())
                    plain = f"{node} {name}" if name in ("wait", "publish") else name
                    out[plain] = StageTime(int(values[key]), p50, p95, p99, float(values[f"{name}_cpu_s"]))
            return out

        def dropped(self) -> Counter[str]:
            """What the nodes say they dropped, by kind."""
            found: Counter[str] = Counter()
            for node, values in self._values.items():
                for key, value in values.items():
                    if key.endswith("_dropped"):
                        found[f"{node} {key.removesuffix('_dropped')}"] += int(value)
            return found

    return Ear()
