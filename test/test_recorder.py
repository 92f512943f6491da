"""The recorder of live runs: it finds out that the nodes are active, also where discovery fails it at first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.task import Future
from ros_graph import Graph, graph, wait_for

from crossover_models.evaluation.run_record import RunInfo, RunWriter
from crossover_ros import recorder as module
from crossover_ros.recorder import Recorder

NODES = ("encoder", "localizer")


class Nodes(Graph):
    """Two nodes that tell their state, and no more."""

    def __init__(self) -> None:
        super().__init__()
        self.states = dict.fromkeys(NODES, State.PRIMARY_STATE_INACTIVE)
        for name in NODES:
            self.client.create_service(GetState, f"{name}/get_state", lambda _, answer, n=name: self._tell(n, answer))

    def _tell(self, name: str, answer: Any) -> Any:
        answer.current_state.id = self.states[name]
        return answer


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with graph(Nodes) as running:
        yield running


def writer(folder: Path) -> RunWriter:
    return RunWriter(folder / "run.jsonl", RunInfo("planted", "nodes", True, "database", "encoder", 0))


def test_nodes_are_inactive_until_they_say_otherwise(nodes: Nodes, tmp_path: Path) -> None:
    with writer(tmp_path) as out:
        recorder = nodes.add(Recorder(out, 0))
        assert nodes.in_executor(recorder.inactive) == list(NODES)
        nodes.states["encoder"] = State.PRIMARY_STATE_ACTIVE
        wait_for(lambda: nodes.in_executor(recorder.inactive) == ["localizer"])
        nodes.states["localizer"] = State.PRIMARY_STATE_ACTIVE
        wait_for(lambda: not nodes.in_executor(recorder.inactive))


@pytest.mark.parametrize("lost", ["discovery", "answer"])
def test_a_node_missed_once_is_asked_anew(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    nodes.states = dict.fromkeys(NODES, State.PRIMARY_STATE_ACTIVE)
    monkeypatch.setattr(module, "ANSWER_PATIENCE_S", 0.5)
    make, made = Recorder.create_client, []

    def deaf_at_first(self: Recorder, kind: Any, name: str, **options: Any) -> Any:
        client = make(self, kind, name, **options)
        if kind is GetState and name not in made:
            made.append(name)
            if lost == "discovery":
                monkeypatch.setattr(client, "service_is_ready", lambda: False)
            else:
                monkeypatch.setattr(client, "call_async", lambda request: Future())
        return client

    monkeypatch.setattr(Recorder, "create_client", deaf_at_first)
    with writer(tmp_path) as out:
        recorder = nodes.add(Recorder(out, 0))
        wait_for(lambda: not nodes.in_executor(recorder.inactive))
    assert len(made) == 2
