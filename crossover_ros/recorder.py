"""A node that writes down what the localizer says and asks it to relocalize."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

import crossover_ros.msg as messages
import crossover_ros.srv as services
from crossover_models.estimate import FailureCategory, RelocalizeCode, RelocalizeResponse
from crossover_models.evaluation.run_record import RelocalizeEvent, RunWriter
from crossover_ros.conversions import ConversionError
from crossover_ros.conversions.answers import read_hypothesis, read_result, read_retrieval

LATCHED = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RELIABLE = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
NS_PER_S = 10**9
# A busy machine answers within it, or the answer was lost because one end did not know the other yet.
ANSWER_PATIENCE_S = 5.0


class Recorder(Node):
    """Records localization, scene_retrieval, pose and diagnostics of one localizer.

    Args:
        writer: takes estimates, retrievals and calls.
        started_ns: messages stamped before are of no data of this run and are left out.
    """

    def __init__(self, writer: RunWriter, started_ns: int, localizer: str = "localizer") -> None:
        super().__init__("recorder")
        self._writer, self._started_ns = writer, started_ns
        self._newest_ns = 0
        self._call: tuple[Any, float, int, bool] | None = None
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.run_ns = 0
        self.heard_at = time.monotonic()
        # Why the localizer has no map; empty while it has one.
        self.no_database = ""
        self.diagnostics: dict[str, tuple[str, dict[str, str]]] = {}
        self.create_subscription(messages.LocalizationResult, "localization", self._on_result, LATCHED)
        self.create_subscription(messages.SceneRetrieval, "scene_retrieval", self._on_retrieval, RELIABLE)
        self.create_subscription(PoseWithCovarianceStamped, "pose", self._on_pose, LATCHED)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, RELIABLE)
        self.create_subscription(Clock, "/clock", self._on_clock, 10)
        self._relocalize: Any = self.create_client(services.Relocalize, "relocalize")
        self._states: dict[str, Any] = {name: self._client_of(name) for name in ("encoder", localizer)}
        self._asked: dict[str, tuple[Any, float]] = {}

    # -- waiting for the nodes -------------------------------------------------------------------------------------

    def inactive(self) -> list[str]:
        """Names of the lifecycle nodes that have not said that they are active; asks again at each call."""
        return [name for name in self._states if not self._is_active(name)]

    def _is_active(self, name: str) -> bool:
        now = time.monotonic()
        future, since = self._asked.setdefault(name, (None, now))
        if future is not None and future.done():
            result = future.result()
            if result is not None and result.current_state.id == State.PRIMARY_STATE_ACTIVE:
                return True
            future, since = None, now
        if now - since > ANSWER_PATIENCE_S:
            # Discovery now and then misses a pair of endpoints for good; a new client is announced anew.
            self.destroy_client(self._states[name])
            self._states[name] = self._client_of(name)
            future, since = None, now
        if future is None and self._states[name].service_is_ready():
            future, since = self._states[name].call_async(GetState.Request()), now
        self._asked[name] = future, since
        return False

    def _client_of(self, name: str) -> Any:
        return self.create_client(GetState, f"{name}/get_state")

    # -- relocalize ------------------------------------------------------------------------------------------------

    def ask_relocalize(self, apply: bool, timeout_s: float) -> None:
        """Call the service; :meth:`poll_relocalize` writes the answer down."""
        request = services.Relocalize.Request(apply=apply, timeout_s=timeout_s)
        self._call = (self._relocalize.call_async(request), time.monotonic(), self.run_ns, apply)

    def poll_relocalize(self, patience_s: float) -> bool:
        """Whether a call is over (True too if there was none); after ``patience_s`` it counts as unanswered."""
        if self._call is None:
            return True
        future, began, stamp_ns, apply = self._call
        elapsed_s = time.monotonic() - began
        if not future.done() and elapsed_s < patience_s:
            return False
        response = None
        if future.done() and future.result() is not None:
            answer = future.result()
            response = RelocalizeResponse(
                RelocalizeCode(int(answer.code)),
                str(answer.message),
                tuple(read_hypothesis(h) for h in answer.hypotheses),
            )
        self._writer.relocalize(RelocalizeEvent(stamp_ns, elapsed_s, apply, response))
        self._call = None
        return True

    # -- subscriptions ---------------------------------------------------------------------------------------------

    def _on_result(self, message: Any) -> None:
        self.counts["localization"] += 1
        try:
            estimate = read_result(message)
        except ConversionError as error:
            self.refused[str(error)] += 1
            return
        self.no_database = estimate.message if estimate.failure == FailureCategory.NO_DATABASE else ""
        if estimate.stamp_ns < self._started_ns:
            return
        self.heard_at = time.monotonic()
        # Repeated under an old stamp (a service's effect, a change of state by time), it is no answer to new data.
        is_new = estimate.stamp_ns > self._newest_ns
        self._newest_ns = max(self._newest_ns, estimate.stamp_ns)
        self._writer.estimate(estimate, float(message.age_s) if is_new else None)

    def _on_retrieval(self, message: Any) -> None:
        self.counts["scene_retrieval"] += 1
        try:
            self._writer.retrieval(read_retrieval(message))
        except ConversionError as error:
            self.refused[str(error)] += 1

    def _on_pose(self, message: Any) -> None:
        self.counts["pose"] += 1

    def _on_diagnostics(self, message: Any) -> None:
        self.counts["diagnostics"] += 1
        for status in message.status:
            self.diagnostics[str(status.name)] = (
                str(status.message),
                {str(item.key): str(item.value) for item in status.values},
            )

    def _on_clock(self, message: Any) -> None:
        self.run_ns = int(message.clock.sec) * NS_PER_S + int(message.clock.nanosec)
