"""The localizer's services. Each answers what happened and why, in every state of the node."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future
from std_srvs.srv import Trigger

import crossover_ros.srv as srv
from crossover_models.estimate import RelocalizeCode, RelocalizeRequest, RelocalizeResponse
from crossover_models.localizer import LocalizerError
from crossover_models.observation import Modality
from crossover_ros.conversions.answers import hypothesis_message, retrieval_message
from crossover_ros.stated_poses import believe_stated_pose

if TYPE_CHECKING:
    from crossover_ros.localizer_node import LocalizerNode
    from crossover_ros.map_session import MapSession

T = TypeVar("T")
# A search that began in time may end this much after the deadline.
GRACE_S = 0.25
POLL_S = 0.05


@dataclass(eq=False)
class _Pending:
    """A relocalization that waits for data or for the search; answered once, by whoever comes first."""

    request: RelocalizeRequest
    deadline_s: float
    future: Any
    lock: Lock = field(default_factory=Lock)

    def is_open(self) -> bool:
        return not self.future.done()

    def answer(self, response: RelocalizeResponse) -> bool:
        with self.lock:
            if self.future.done():
                return False
            self.future.set_result(response)
            return True


class Services:
    """Creates the services of a localizer node and carries them out in its worker.

    Callbacks only wait, as coroutines in a reentrant group, so that data keep flowing meanwhile.
    """

    def __init__(self, node: LocalizerNode) -> None:
        self._node = node
        self._pending: list[_Pending] = []
        self._working: list[Any] = []
        group = ReentrantCallbackGroup()
        for kind, name, callback in (
            (srv.Relocalize, "relocalize", self._relocalize),
            (Trigger, "relocalize/trigger", self._trigger),
            (srv.QueryScenes, "query_scenes", self._query_scenes),
            (srv.LoadDatabase, "load_database", self._load_database),
            (srv.SetLevel, "set_level", self._set_level),
            (srv.SetPose, "set_pose", self._set_pose),
        ):
            node.create_service(kind, name, self._safely(name, callback), callback_group=group)
        # Runs only while somebody waits: every tick costs rclpy's executor more than a millisecond.
        self._timer = node.create_timer(POLL_S, self._expire, clock=node.steady)
        self._timer.cancel()

    def _safely(
        self, name: str, callback: Callable[[Any, Any], Awaitable[Any]]
    ) -> Callable[[Any, Any], Awaitable[Any]]:
        """A callback whose failure is an answer; an exception would end the executor and the node with it."""

        async def run(request: Any, response: Any) -> Any:
            try:
                return await callback(request, response)
            except Exception as error:
                self._node.work_failed(name, error)
                response.success, response.message = False, f"internal error: {type(error).__name__}: {error}"
                return response

        return run

    def abandon(self) -> None:
        """Answer whoever still waits for a worker that was stopped."""
        for pending in list(self._pending):
            pending.answer(RelocalizeResponse(RelocalizeCode.NO_DATABASE, "the node was cleaned up meanwhile"))
        for future in list(self._working):
            if not future.done():
                future.set_exception(LocalizerError("the node was cleaned up meanwhile"))

    # -- relocalize ------------------------------------------------------------------------------------------------

    async def _relocalize(self, request: Any, response: Any) -> Any:
        began = time.monotonic()
        asked = RelocalizeRequest(
            request.building_hint, request.level_hint, request.text_hint, int(request.max_hypotheses), request.apply
        )
        answer = await self._answer(asked, float(request.timeout_s))
        response.success, response.code, response.message = answer.success, int(answer.code), answer.message
        response.hypotheses = [hypothesis_message(h) for h in answer.hypotheses]
        response.elapsed_s = time.monotonic() - began
        return response

    async def _trigger(self, request: Any, response: Any) -> Any:
        answer = await self._answer(RelocalizeRequest(apply=True), 0.0)
        response.success, response.message = answer.success, f"{answer.code.name}: {answer.message}"
        return response

    async def _answer(self, request: RelocalizeRequest, timeout_s: float) -> RelocalizeResponse:
        node = self._node
        if node.session is None:
            return RelocalizeResponse(RelocalizeCode.NO_DATABASE, node.why_no_database())
        if not node.active:
            return RelocalizeResponse(
                RelocalizeCode.NO_SENSOR_DATA, "the node is inactive and takes no data: activate it"
            )
        if not np.isfinite(timeout_s) or timeout_s <= 0.0:
            timeout_s = node.settings.relocalize_timeout_s
        pending = _Pending(request, time.monotonic() + timeout_s, Future(executor=node.executor))
        self._pending.append(pending)
        self._timer.reset()
        node.worker.call(self.serve_pending)
        try:
            answer: RelocalizeResponse = await pending.future
            return answer
        finally:
            self._pending.remove(pending)
            if not self._pending:
                self._timer.cancel()

    def serve_pending(self) -> None:
        """In the worker: search for every relocalization whose data are at hand."""
        session = self._node.session
        for pending in list(self._pending):
            if pending.future.done() or session is None or not self._node.data_at_hand():
                continue
            answer = session.localizer.relocalize(pending.request, pending.is_open)
            if pending.answer(answer):
                self._node.wake()
                if pending.request.apply:
                    self._node.publish_now()

    def _expire(self) -> None:
        """In the executor: nobody waits longer than the deadline, whatever the worker does."""
        now = time.monotonic()
        for pending in list(self._pending):
            if now < pending.deadline_s:
                continue
            if not self._node.active or not self._node.data_at_hand():
                text = f"no wall slice within {self._node.settings.belief.stale_s:.1f} s: is the encoder running?"
                pending.answer(RelocalizeResponse(RelocalizeCode.NO_SENSOR_DATA, text))
            elif now >= pending.deadline_s + GRACE_S:
                text = f"the search did not end in time; the worker has been busy for {self._node.worker.busy_s:.1f} s"
                pending.answer(RelocalizeResponse(RelocalizeCode.TIMEOUT, text))

    # -- the others ------------------------------------------------------------------------------------------------

    async def _query_scenes(self, request: Any, response: Any) -> Any:
        def query(session: MapSession) -> Any:
            where = (request.building, request.level, int(request.top_k))
            if len(request.vector):
                vector = np.array(request.vector, dtype=np.float32)
                return session.localizer.query_vector(vector, Modality.IMAGE, request.fingerprint, *where)
            return session.localizer.query_text(request.text, *where)

        try:
            retrieval = await self._in_worker(query)
        except (ValueError, OSError) as error:
            response.success, response.message = False, str(error)
            return response
        session = self._node.session
        response.retrieval = retrieval_message(retrieval, session.fingerprint if session is not None else "")
        if not retrieval.places:
            response.success, response.message = False, "no place of the map can be compared with the query"
            return response
        best = retrieval.places[0]
        doubt = ", but nothing is certain" if retrieval.abstained else ""
        response.success = True
        response.message = f"best: {best.name} ({best.level.building_id}/{best.level.level_id}){doubt}"
        return response

    async def _load_database(self, request: Any, response: Any) -> Any:
        node = self._node
        try:
            if not request.path:
                raise LocalizerError("path: is empty")
            if node.configured:
                session = await self._on_worker(lambda: node.replace_session(request.path))
                response.message = f"{session.path} is in use"
            else:
                response.message = node.adopt_database(request.path)
            response.success = True
        except (ValueError, OSError) as error:
            kept = "; the database in use stays" if node.session is not None else ""
            response.success, response.message = False, f"{error}{kept}"
        response.database_fingerprint = node.session.fingerprint if node.session is not None else ""
        return response

    async def _set_level(self, request: Any, response: Any) -> Any:
        try:
            await self._in_worker(lambda s: s.localizer.set_level(request.building_id, request.level_id))
        except ValueError as error:
            response.success, response.message = False, str(error)
            return response
        where = "/".join(part for part in (request.building_id, request.level_id) if part)
        response.success, response.message = True, f"searching {where or 'all levels'} from now on"
        self._node.worker.call(self._node.publish_now)
        return response

    async def _set_pose(self, request: Any, response: Any) -> Any:
        node = self._node
        try:
            if node.session is not None and not node.active:
                raise LocalizerError("the node is inactive and takes no pose: activate it")
            frame = await self._in_worker(lambda session: believe_stated_pose(node, session, request.pose))
        except ValueError as error:
            response.success, response.message = False, str(error)
            return response
        response.success, response.message = True, f"placed in {frame}"
        return response

    async def _in_worker(self, function: Callable[[MapSession], T]) -> T:
        """Run a function of the session in the worker.

        Raises:
            LocalizerError: there is no database.
        """
        session = self._node.session
        if session is None:
            raise LocalizerError(f"NO_DATABASE: {self._node.why_no_database()}")
        return await self._on_worker(lambda: function(session))

    async def _on_worker(self, function: Callable[[], T]) -> T:
        future: Any = Future(executor=self._node.executor)

        def work() -> None:
            try:
                future.set_result(function())
            except Exception as error:
                future.set_exception(error)
            self._node.wake()

        self._working.append(future)
        self._node.worker.call(work)
        try:
            result: T = await future
            return result
        finally:
            self._working.remove(future)
