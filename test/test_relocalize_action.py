"""The action `relocalize` over real DDS: feedback while the robot moves, every code, canceling, one goal at a time."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")
if find_spec("crossover_ros.action") is None:
    pytest.skip("the interfaces were built before there was the action: run `make setup`", allow_module_level=True)

from action_msgs.msg import GoalStatus
from crossover_ros.action import Relocalize
from lifecycle_msgs.msg import Transition
from rclpy.action import ActionClient
from ros_graph import L1, L2, PLANS, House, graph, wait_for, write_map

from crossover_models.estimate import LocalizationState
from crossover_models.observation import Code
from crossover_ros.conversions import answers

CODE = Relocalize.Result
SUCCEEDED, CANCELED, ABORTED = GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED


class Goal:
    """A goal that was sent, and what was heard of it."""

    def __init__(self, nodes: House, **fields: Any) -> None:
        self.feedback: list[Any] = []
        self.client: Any = ActionClient(nodes.client, Relocalize, "relocalize")
        nodes.executor.wake()
        assert self.client.wait_for_server(20.0)
        sent = self.client.send_goal_async(Relocalize.Goal(**fields), lambda m: self.feedback.append(m.feedback))
        wait_for(sent.done, 20.0)
        self.handle = sent.result()
        self.result: Any = self.handle.get_result_async() if self.handle.accepted else None

    def end(self, meanwhile: Any = None, timeout_s: float = 40.0) -> tuple[int, Any]:
        """(status, result) once it is over."""
        wait_for(self.result.done, timeout_s, meanwhile or (lambda: None))
        return self.result.result().status, self.result.result().result


def test_looks_add_up_with_feedback_until_one_pose_is_certain_and_is_applied(running: House) -> None:
    goal = Goal(running, timeout_s=60.0, apply=True, max_hypotheses=1)
    status, result = goal.end(running.robot.drive, 60.0)
    assert (status, result.code) == (SUCCEEDED, CODE.OK) and result.success, result.message
    best = answers.read_hypothesis(result.hypotheses[0])
    assert best.level == L1 and len(result.hypotheses) == 1 and result.elapsed_s > 0.0
    last = goal.feedback[-1]
    assert last.state == LocalizationState.LOCALIZED and last.probability >= 0.9 and last.hypotheses >= 1
    assert last.observations >= 1 and last.scans_accumulated >= 1 and last.message
    assert [f.observations for f in goal.feedback] == sorted(f.observations for f in goal.feedback)
    wait_for(lambda: running.state() == LocalizationState.LOCALIZED)


def test_asking_only_leaves_the_belief_alone(running: House) -> None:
    running.drive_until(LocalizationState.LOCALIZED)
    told = len(running.results.heard)
    status, result = Goal(running, level_hint="L2", timeout_s=10.0).end(running.robot.drive)
    assert (status, result.code) == (ABORTED, CODE.UNKNOWN_PLACE) and not result.success
    assert {r.state for r in running.results.heard[told:]} == {LocalizationState.LOCALIZED}
    assert running.results.last.level_id == "L1"


def test_twins_are_ambiguous_to_the_end(tmp_path: Path) -> None:
    twins = write_map(tmp_path / "twins.xmap", plans={L1: PLANS[L1], L2: PLANS[L1]})
    with graph(lambda: House(str(twins))) as nodes:
        nodes.start()
        nodes.encoder.encode_point_cloud = lambda points, colors=None: Code(np.full(32, 32**-0.5, dtype=np.float32))  # type: ignore[method-assign]
        status, result = Goal(nodes, timeout_s=10.0, apply=True).end(nodes.robot.drive)
        assert (status, result.code) == (ABORTED, CODE.AMBIGUOUS) and result.success
        assert {h.level_id for h in result.hypotheses[:2]} == {"L1", "L2"}
        assert not nodes.odom_to_map()


def test_without_data_or_with_too_few_or_with_nonsense(running: House) -> None:
    status, result = Goal(running, timeout_s=0.4).end()
    assert (status, result.code) == (ABORTED, CODE.NO_SENSOR_DATA) and "encoder" in result.message
    goal = Goal(running, timeout_s=2.0)

    def dots() -> None:
        running.robot.publish_points(np.array([[1.0, 1.0, 1.0], [2.0, 0.5, 1.0]]))

    status, result = goal.end(dots)
    assert (status, result.code) == (ABORTED, CODE.INSUFFICIENT_STRUCTURE)
    status, result = Goal(running, level_hint="L9").end()
    assert (status, result.code) == (ABORTED, CODE.BAD_HINT) and "L9" in result.message


def test_a_goal_can_be_canceled_and_a_second_one_is_rejected_meanwhile(running: House) -> None:
    goal = Goal(running, timeout_s=60.0)
    second = Goal(running)
    assert goal.handle.accepted and not second.handle.accepted
    canceling = goal.handle.cancel_goal_async()
    status, result = goal.end()
    assert canceling.done() and status == CANCELED and result.message.startswith("canceled: ")
    assert Goal(running, timeout_s=0.2).handle.accepted, "and then there is room again"


def test_a_search_that_does_not_end_in_time(running: House, monkeypatch: pytest.MonkeyPatch) -> None:
    running.drive_until(LocalizationState.LOCALIZED)
    localizer = running.localizer.session.localizer
    apart = localizer.apart

    def slow(*hints: str) -> Any:
        time.sleep(2.5)
        return apart(*hints)

    monkeypatch.setattr(localizer, "apart", slow)
    status, result = Goal(running, timeout_s=0.3, apply=True).end()
    assert (status, result.code) == (ABORTED, CODE.TIMEOUT) and result.elapsed_s < 2.4


def test_a_node_without_a_map_or_inactive_or_cleaned_up_answers(running: House) -> None:
    goal = Goal(running, timeout_s=60.0)
    assert running.change("localizer", Transition.TRANSITION_DEACTIVATE)
    assert running.change("localizer", Transition.TRANSITION_CLEANUP)
    status, result = goal.end()
    assert (status, result.code) == (ABORTED, CODE.NO_DATABASE) and "cleaned up" in result.message
    status, result = Goal(running).end()
    assert (status, result.code) == (ABORTED, CODE.NO_DATABASE)
    assert running.change("localizer", Transition.TRANSITION_CONFIGURE)
    status, result = Goal(running).end()
    assert (status, result.code) == (ABORTED, CODE.NO_SENSOR_DATA) and "inactive" in result.message
