"""What the nodes said, and whether it was true: results against the truth, diagnostics, answers of services."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

import crossover_ros.msg as messages
import crossover_ros.srv as services
from crossover_models.estimate import LevelKey, LocalizationState
from crossover_models.evaluation.trajectory import pose_error
from crossover_models.geometry import Array, se2_from_se3
from crossover_ros.conversions import ConversionError, read_pose

# A pose announced farther from the truth than this, or on another level, is a false one.
FALSE_M, FALSE_DEG = 1.0, 30.0
NODES = ("encoder", "localizer")
AGE_ROUNDING_S = 0.1
LATCHED = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# A stamp that shifted clocks make ambiguous, or of before the run, has no truth.
Truth = Callable[[int], tuple[LevelKey, Array] | None]


@dataclass(frozen=True)
class Heard:
    """One localization result: when it came (monotonic), its stamp, and how wrong a LOCALIZED one is."""

    at_s: float
    stamp_ns: int
    state: LocalizationState
    failure: str
    wrong: str = ""


class Witness(Node):
    """Subscribes to what both nodes say; its lists are written in the executor and read by the suite."""

    def __init__(self, truth: Truth) -> None:
        super().__init__("fault_witness")
        self._truth = truth
        self._lock = threading.Lock()
        self._results: deque[Heard] = deque(maxlen=20_000)
        self._told: deque[tuple[float, str]] = deque(maxlen=20_000)
        self._summaries: dict[str, tuple[float, str]] = {}
        self.create_subscription(messages.LocalizationResult, "localization", self._on_result, LATCHED)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)
        self._states: dict[str, Any] = {name: self.create_client(GetState, f"{name}/get_state") for name in NODES}
        self._relocalize: Any = self.create_client(services.Relocalize, "relocalize")
        self._load: Any = self.create_client(services.LoadDatabase, "load_database")

    # -- what was heard --------------------------------------------------------------------------------------------

    def results(self, since_s: float) -> list[Heard]:
        """Results since a monotonic time."""
        with self._lock:
            return [heard for heard in self._results if heard.at_s >= since_s]

    def false_fixes(self, since_s: float) -> list[str]:
        """What was announced and wrong since a time."""
        return [heard.wrong for heard in self.results(since_s) if heard.wrong]

    def fixed(self, since_s: float, stamp_ns: int) -> Heard | None:
        """The first right and healthy LOCALIZED since a time, of data not older than a stamp."""
        for heard in self.results(since_s):
            good = heard.state == LocalizationState.LOCALIZED and not heard.wrong and heard.failure == "healthy"
            if good and heard.stamp_ns >= stamp_ns:
                return heard
        return None

    def told(self, pattern: str, since_s: float) -> str | None:
        """The part of a diagnostic since a time that fits a pattern."""
        with self._lock:
            texts = [text for at_s, text in self._told if at_s >= since_s]
        for text in texts:
            found = re.search(pattern, text)
            if found:
                return text
        return None

    def last_words(self) -> list[str]:
        """The newest summary of each node, with its age."""
        now_s = time.monotonic()
        with self._lock:
            return [f"{text} ({now_s - at_s:.0f} s ago)" for at_s, text in self._summaries.values()]

    def _on_result(self, message: Any) -> None:
        now_s = time.monotonic()
        stamp_ns = int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)
        state = LocalizationState(int(message.state))
        wrong = self._wrong(message, stamp_ns) if state == LocalizationState.LOCALIZED else ""
        with self._lock:
            self._results.append(Heard(now_s, stamp_ns, state, str(message.failure_category), wrong))

    def _wrong(self, message: Any, stamp_ns: int) -> str:
        try:
            pose = se2_from_se3(read_pose(message.pose.pose))
        except ConversionError as error:
            return f"LOCALIZED without a pose: {error}"
        if not np.isfinite(message.pose.covariance).all():
            return "LOCALIZED with a covariance that is not finite"
        truth = self._truth(stamp_ns)
        if truth is None:
            return ""
        level, true_pose = truth
        stated = LevelKey(str(message.building_id), str(message.level_id))
        if stated != level:
            return f"LOCALIZED in {stated.building_id}/{stated.level_id}, the robot is in {'/'.join(level)}"
        error_m, error_deg = pose_error(pose, true_pose)
        if error_m > FALSE_M or error_deg > FALSE_DEG:
            return f"LOCALIZED {error_m:.2f} m and {error_deg:.0f} deg off the truth"
        return ""

    def _on_diagnostics(self, message: Any) -> None:
        now_s = time.monotonic()
        for status in message.status:
            name = str(status.name).partition(":")[0]
            if name not in NODES:
                continue
            values = {str(item.key): str(item.value) for item in status.values}
            # What was reported before a fault is repeated with its age, and is no answer to it.
            age_s = float(values.pop("last_fault_age_s", "0")) - AGE_ROUNDING_S
            with self._lock:
                self._summaries[name] = (now_s, f"{name}: {status.message}")
                self._told.append((now_s, f"{name}: {status.message}"))
                for key, value in values.items():
                    at_s = now_s - age_s if key == "last_fault" else now_s
                    self._told.append((at_s, f"{name}: {key}: {value}"))

    # -- services --------------------------------------------------------------------------------------------------

    def asked(self, patience_s: float) -> list[str]:
        """Call the services of both nodes; which of them gave no answer in time."""
        calls = [
            *((f"{name}/get_state", client, GetState.Request()) for name, client in self._states.items()),
            ("relocalize", self._relocalize, services.Relocalize.Request(timeout_s=2.0)),
        ]
        futures = [(name, client, client.call_async(request)) for name, client, request in calls]
        deadline_s = time.monotonic() + patience_s
        silent = []
        for name, client, future in futures:
            while not future.done() and time.monotonic() < deadline_s:
                time.sleep(0.02)
            if not future.done() or future.result() is None:
                client.remove_pending_request(future)
                silent.append(name)
        return silent

    def ready(self) -> bool:
        """Whether the services of both nodes are there."""
        clients: Sequence[Any] = (*self._states.values(), self._relocalize, self._load)
        return all(client.service_is_ready() for client in clients)

    def load_database(self, path: str, patience_s: float = 20.0) -> tuple[bool, str]:
        """Success and message of load_database."""
        future: Any = self._load.call_async(services.LoadDatabase.Request(path=path))
        deadline_s = time.monotonic() + patience_s
        while not future.done() and time.monotonic() < deadline_s:
            time.sleep(0.02)
        answer: Any = future.result() if future.done() else None
        if answer is None:
            return False, f"no answer within {patience_s:.0f} s"
        return bool(answer.success), str(answer.message)
