"""The action ``relocalize``: a search that goes on while the robot turns or drives, with feedback, until it is sure."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.action.server import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future

from crossover_models.accumulating_search import AccumulatingSearch
from crossover_models.estimate import RelocalizeCode, RelocalizeRequest, RelocalizeResponse
from crossover_models.geometry import Array
from crossover_models.localizer import LocalizerError
from crossover_models.observation import SceneEmbedding
from crossover_ros.action import Relocalize
from crossover_ros.conversions.answers import hypothesis_message

if TYPE_CHECKING:
    from crossover_ros.localizer_node import LocalizerNode

# How long a search that began in time is waited for, and how often deadline and cancellation are looked at.
GRACE_S, POLL_S = 0.5, 0.05


@dataclass(eq=False)
class _Running:
    """The one goal that is worked on."""

    goal: Any
    request: RelocalizeRequest
    began_s: float
    deadline_s: float
    future: Any
    search: AccumulatingSearch | None = None

    def end(self, response: RelocalizeResponse) -> None:
        """Answer, unless that was done."""
        if not self.future.done():
            self.future.set_result(response)


class RelocalizeAction:
    """Serves one goal at a time; a second one is rejected while the first runs."""

    def __init__(self, node: LocalizerNode) -> None:
        self._node = node
        self._running: _Running | None = None
        self._server = ActionServer(
            node,
            Relocalize,
            "relocalize",
            self._execute,
            goal_callback=self._on_goal,
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )
        # Runs only while a goal does, as that of the services.
        self._timer = node.create_timer(POLL_S, self._poll, clock=node.steady)
        self._timer.cancel()

    def destroy(self) -> None:
        """Remove the server, before its node goes."""
        self._server.destroy()

    # -- executor --------------------------------------------------------------------------------------------------

    def _on_goal(self, goal: Any) -> GoalResponse:
        if self._running is None:
            return GoalResponse.ACCEPT
        self._node.report("relocalize_rejected", "relocalize: another goal is being worked on; cancel it first")
        return GoalResponse.REJECT

    async def _execute(self, goal: Any) -> Any:
        node, wanted, began_s = self._node, goal.request, time.monotonic()
        request = RelocalizeRequest(
            wanted.building_hint, wanted.level_hint, wanted.text_hint, int(wanted.max_hypotheses), wanted.apply
        )
        timeout_s = float(wanted.timeout_s)
        if not np.isfinite(timeout_s) or timeout_s <= 0.0:
            timeout_s = node.settings.relocalize_timeout_s
        running = _Running(goal, request, began_s, began_s + timeout_s, Future(executor=node.executor))
        if node.session is None:
            running.end(RelocalizeResponse(RelocalizeCode.NO_DATABASE, node.why_no_database()))
        elif not node.active:
            running.end(
                RelocalizeResponse(RelocalizeCode.NO_SENSOR_DATA, "the node is inactive and takes no data: activate it")
            )
        else:
            self._running = running
            self._timer.reset()
            node.worker.call(lambda: self._begin(running))
        try:
            answer: RelocalizeResponse = await running.future
        finally:
            self._running = None
            self._timer.cancel()
        result = Relocalize.Result()
        result.success, result.code, result.message = answer.success, int(answer.code), answer.message
        result.hypotheses = [hypothesis_message(h) for h in answer.hypotheses]
        result.elapsed_s = time.monotonic() - began_s
        if goal.is_cancel_requested:
            goal.canceled()
        elif answer.code == RelocalizeCode.OK:
            goal.succeed()
        else:
            goal.abort()
        return result

    def _poll(self) -> None:
        """Nobody waits longer than the deadline, whatever the worker does."""
        running = self._running
        if running is None or running.future.done():
            return
        now = time.monotonic()
        if running.goal.is_cancel_requested:
            self._end(running, "canceled: ")
        elif now >= running.deadline_s and (
            not self._node.worker.busy_s or (running.search is not None and running.search.has_answer)
        ):
            self._end(running, "")
        elif now >= running.deadline_s + GRACE_S:
            text = f"the search did not end in time; the worker has been busy for {self._node.worker.busy_s:.1f} s"
            running.end(RelocalizeResponse(RelocalizeCode.TIMEOUT, text))

    def _end(self, running: _Running, prefix: str) -> None:
        answer = RelocalizeResponse(RelocalizeCode.NO_SENSOR_DATA, "no wall slice came: is the encoder running?")
        if running.search is not None:
            answer = running.search.answer()
        running.end(RelocalizeResponse(answer.code, prefix + answer.message, answer.hypotheses))

    def abandon(self) -> None:
        """The worker was stopped: answer who still waits."""
        running = self._running
        if running is not None:
            running.end(RelocalizeResponse(RelocalizeCode.NO_DATABASE, "the node was cleaned up meanwhile"))

    # -- worker ----------------------------------------------------------------------------------------------------

    def _begin(self, running: _Running) -> None:
        session = self._node.session
        if session is None or running.future.done():
            return
        try:
            running.search = AccumulatingSearch(session.localizer, running.request)
        except LocalizerError as error:
            running.end(RelocalizeResponse(RelocalizeCode.BAD_HINT, str(error)))
            self._node.wake()
            return
        if self._node.data_at_hand():
            running.search.begin(self._node.newest_ns)
            self._tell(running)

    def on_odometry(self, stamp_ns: int, T_odom_base: Array) -> None:
        """Odometry (3,) reached the localizer."""
        running = self._running
        if running is not None and running.search is not None:
            running.search.on_odometry(stamp_ns, T_odom_base)

    def on_embedding(self, embedding: SceneEmbedding) -> None:
        """A look reached the localizer."""
        running = self._running
        if running is None or running.search is None or running.future.done() or running.goal.is_cancel_requested:
            return
        running.search.on_embedding(embedding)
        self._tell(running)

    def _tell(self, running: _Running) -> None:
        """Feedback, and the end where it is reached."""
        search = running.search
        if search is None or running.future.done():
            return
        progress = search.progress
        estimate = progress.estimate
        feedback = Relocalize.Feedback(
            state=int(estimate.state),
            probability=float(estimate.best.probability) if estimate.best is not None else 0.0,
            unknown_probability=float(estimate.unknown_probability),
            hypotheses=len(estimate.hypotheses),
            observations=progress.observations,
            scans_accumulated=estimate.scans_accumulated,
            travelled_m=progress.travelled_m,
            turned_rad=progress.turned_rad,
            message=estimate.message,
        )
        if running.goal.is_active:
            running.goal.publish_feedback(feedback)
        if not search.over:
            return
        answer = search.answer()
        if answer.code == RelocalizeCode.OK and running.request.apply:
            search.apply()
            self._node.publish_now()
        running.end(answer)
        self._node.wake()
