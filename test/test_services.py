"""The localizer's services and stated poses over real DDS: every answer says what happened and why."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

import crossover_ros.srv as srv
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from planted import FINGERPRINT
from ros_graph import (
    L1,
    PLANS,
    START,
    T_ODOM_MAP,
    Ear,
    House,
    PlantedEncoder,
    graph,
    pose_of,
    wait_for,
    write_map,
)
from std_srvs.srv import Trigger

from crossover_models.estimate import LevelKey, LocalizationState
from crossover_models.geometry import inverse_se2, se2_from_se3
from crossover_models.observation import Code
from crossover_ros import conversions
from crossover_ros.conversions import answers
from crossover_ros.faults.system_cases import poses

S = 1_000_000_000


# -- without a usable map ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["none", "missing", "directory", "garbage", "truncated", "other encoder"])
def test_without_a_usable_map_the_node_lives_and_says_why(kind: str, house: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.xmap"
    if kind == "directory":
        path.mkdir()
    elif kind == "garbage":
        path.write_bytes(b"no map" * 100)
    elif kind == "truncated":
        path.write_bytes(house.read_bytes()[:5000])
    elif kind == "other encoder":
        write_map(path, fingerprint="0123456789abcdef")
    with graph(lambda: House("" if kind == "none" else str(path))) as nodes:
        assert nodes.in_executor(nodes.sensing.autostart)
        assert not nodes.in_executor(nodes.localizer.autostart)
        assert nodes.lifecycle_state("localizer") == "unconfigured"
        result = wait_for(lambda: nodes.results.last)
        assert (result.failure_category, result.state) == ("no_database", LocalizationState.UNINITIALIZED)
        assert "\n" not in result.message
        assert ("no path given" if kind == "none" else str(path)) in result.message
        if kind == "other encoder":
            assert FINGERPRINT in result.message and "0123456789abcdef" in result.message
        answer = nodes.relocalize()
        assert not answer.success and answer.code == srv.Relocalize.Response.NO_DATABASE
        assert answer.message == result.message
        assert wait_for(lambda: nodes.told("localizer").get("failure_category") == "no_database")
        assert nodes.told("localizer")["level"] == "2"
        query = nodes.call(srv.QueryScenes, "query_scenes", srv.QueryScenes.Request(text="kitchen"))
        assert not query.success and query.message.startswith("NO_DATABASE")
        level = nodes.call(srv.SetLevel, "set_level", srv.SetLevel.Request(level_id="L1"))
        assert not level.success and level.message.startswith("NO_DATABASE")
        load = nodes.call(srv.LoadDatabase, "load_database", srv.LoadDatabase.Request(path=str(house)))
        assert load.success and load.database_fingerprint, load.message
        assert nodes.lifecycle_state("localizer") == "active"
        nodes.drive_until(LocalizationState.LOCALIZED)


def test_another_database_while_running(running: House, tmp_path: Path) -> None:
    def load(path: str) -> Any:
        return running.call(srv.LoadDatabase, "load_database", srv.LoadDatabase.Request(path=path))

    running.drive_until(LocalizationState.LOCALIZED)
    before = running.results.last.database_fingerprint
    refused = load(str(tmp_path))
    assert not refused.success and refused.database_fingerprint == before
    assert "the database in use stays" in refused.message
    assert not load("").success
    assert running.drive_until(LocalizationState.LOCALIZED).database_fingerprint == before
    small = write_map(tmp_path / "small.xmap", plans={L1: PLANS[L1]})
    answer = load(str(small))
    assert answer.success and answer.database_fingerprint != before
    wait_for(lambda: running.results.last.database_fingerprint == answer.database_fingerprint)
    running.drive_until(LocalizationState.LOCALIZED)


# -- services ------------------------------------------------------------------------------------------------------


def test_relocalize_answers_every_code(running: House, monkeypatch: pytest.MonkeyPatch) -> None:
    code = srv.Relocalize.Response
    began = time.monotonic()
    answer = running.relocalize(timeout_s=0.5)
    assert answer.code == code.NO_SENSOR_DATA and not answer.success
    assert 0.4 < time.monotonic() - began < 3.0
    assert answer.elapsed_s == pytest.approx(0.5, abs=0.4)

    running.robot.publish_points(np.array([[1.0, 1.0, 1.0], [2.0, 0.5, 1.0]]))
    wait_for(lambda: running.results.last and running.results.last.header.stamp.sec)
    answer = running.relocalize()
    assert answer.code == code.INSUFFICIENT_STRUCTURE and not answer.success

    running.drive_until(LocalizationState.LOCALIZED)
    answer = running.relocalize(max_hypotheses=1)
    assert answer.code == code.OK and answer.success and len(answer.hypotheses) == 1
    best = answers.read_hypothesis(answer.hypotheses[0])
    assert best.level == L1 and best.place_name == "L1-west"
    assert np.hypot(*(best.T_map_base - running.robot.pose)[:2]) < 0.5
    for hint in ({"building_hint": "castle"}, {"level_hint": "L9"}):
        running.see()
        answer = running.relocalize(**hint)
        assert answer.code == code.BAD_HINT and "L9" in answer.message + "L9" and not answer.hypotheses
    running.see()
    assert running.relocalize(text_hint="the west hall", level_hint="Floor L1").code == code.OK
    # From the corridor's end L2 fits too well for a clear answer; from its middle nothing there fits.
    wait_for(lambda: running.robot.pose[0] > 5.5, meanwhile=running.robot.drive)
    running.see()
    answer = running.relocalize(level_hint="L2")
    assert answer.code == code.UNKNOWN_PLACE and not answer.success

    localizer = running.localizer.session.localizer
    search, applied = localizer.relocalize, []

    def slow(request: Any, still_wanted: Any) -> Any:
        time.sleep(1.2)
        applied.append(still_wanted())
        return search(request, still_wanted)

    monkeypatch.setattr(localizer, "relocalize", slow)
    running.see()
    answer = running.relocalize(timeout_s=0.3, apply=True)
    assert answer.code == code.TIMEOUT and not answer.success and answer.elapsed_s < 1.0
    wait_for(lambda: applied)
    assert applied == [False], "a search that nobody waits for must not become the belief"


def test_relocalize_waits_for_data_that_come_in_time(running: House) -> None:
    request = srv.Relocalize.Request(timeout_s=8.0, apply=True)
    client = running.client.create_client(srv.Relocalize, "relocalize")
    assert client.wait_for_service(5.0)
    future = client.call_async(request)
    time.sleep(0.3)
    assert not future.done()
    wait_for(future.done, 10.0, running.robot.drive)
    assert future.result().code in (future.result().OK, future.result().AMBIGUOUS)


def test_relocalize_in_twin_floors_is_ambiguous(tmp_path: Path) -> None:
    twins = write_map(tmp_path / "twins.xmap", plans={L1: PLANS[L1], LevelKey("house", "L2"): PLANS[L1]})
    with graph(lambda: House(str(twins))) as nodes:
        nodes.start()
        nodes.encoder.encode_point_cloud = lambda points, colors=None: Code(np.full(32, 32**-0.5, dtype=np.float32))  # type: ignore[method-assign]
        for _ in range(4):
            nodes.robot.step()
            time.sleep(0.2)
        answer = nodes.relocalize(apply=True)
        assert answer.code == answer.AMBIGUOUS and answer.success
        assert {h.level_id for h in answer.hypotheses[:2]} == {"L1", "L2"}
        assert not nodes.odom_to_map()


def test_trigger_query_and_level_answer_what_happened(running: House) -> None:
    running.drive_until(LocalizationState.LOCALIZED)
    running.see()
    answer = running.call(Trigger, "relocalize/trigger")
    assert answer.success and answer.message.startswith("OK: house/L1 L1-west with probability")

    def query(**fields: Any) -> Any:
        return running.call(srv.QueryScenes, "query_scenes", srv.QueryScenes.Request(**fields))

    found = query(text="the hall in the west", top_k=2)
    assert found.success and found.retrieval.places[0].name == "L1-west"
    assert len(found.retrieval.places) == 2 and found.retrieval.query_modality == "text"
    assert not query(text=" ").success
    vector = [float(v) for v in PlantedEncoder().encode_text("east").vector]
    assert query(vector=vector, fingerprint=FINGERPRINT).retrieval.places[0].name == "L1-east"
    refused = query(vector=vector, fingerprint="other")
    assert not refused.success and "other" in refused.message and FINGERPRINT in refused.message
    assert not query(vector=vector[:3], fingerprint=FINGERPRINT).success
    assert not query(text="west", building="castle").success

    def level(building: str, level: str) -> Any:
        request = srv.SetLevel.Request(building_id=building, level_id=level)
        return running.call(srv.SetLevel, "set_level", request)

    refused = level("house", "L7")
    assert not refused.success and "house/L1, house/L2" in refused.message
    assert level("house", "L2").success
    wait_for(lambda: running.state() == LocalizationState.INITIALIZING)
    assert level("", "").success
    running.drive_until(LocalizationState.LOCALIZED)


# -- stated poses --------------------------------------------------------------------------------------------------


def stated(frame: str, pose: Any, deviation_m: float = 0.3) -> PoseWithCovarianceStamped:
    out = answers.stamped_pose(S, frame, np.asarray(pose, dtype=float), np.eye(3) * deviation_m**2)
    out.header.stamp.sec = 0
    out.header.stamp.nanosec = 0
    return out


def test_initialpose_is_taken_or_refused_with_a_reason(running: House) -> None:
    publisher = running.client.create_publisher(PoseWithCovarianceStamped, "initialpose", 10)
    wait_for(publisher.get_subscription_count)
    running.robot.say_where(running.robot.now_ns())
    bad = [
        stated("map", START),
        stated("map_house_L9", START),
        stated("map_house_L1", [500.0, 0.0, 0.0]),
        stated("map_house_L1", [float("nan"), 0.0, 0.0]),
        stated("", START),
    ]
    for count, message in enumerate(bad, start=1):
        publisher.publish(message)
        running.counts("localizer", "initialpose_refused", count)
        if message.header.frame_id == "map_house_L9":  # The suite of faults waits for these words.
            words = poses()[0].tells[0].removeprefix("last_fault: ").replace("map_nowhere_L1", "map_house_L9")
            assert re.search(words, running.told("localizer")["last_fault"])
    assert not running.odom_to_map()
    publisher.publish(stated("map_house_L1", START, deviation_m=0.0))  # As nav2_simple_commander does.
    wait_for(lambda: running.state() == LocalizationState.LOCALIZED)
    result = running.results.last
    assert (result.level_id, result.place_name) == ("L1", "L1-west")
    T_map_odom = wait_for(running.odom_to_map)[-1].transform
    np.testing.assert_allclose(
        se2_from_se3(conversions.read_pose(pose_of(T_map_odom))), inverse_se2(T_ODOM_MAP), atol=1e-6
    )


def test_an_adviser_seeds_another_localizer_and_sends_no_transform(house: Path) -> None:
    with graph(lambda: House(str(house), publish_tf=False)) as nodes:
        advice = Ear(nodes.client, PoseWithCovarianceStamped, "initialpose")
        nodes.start()
        nodes.drive_until(LocalizationState.LOCALIZED)
        sent = wait_for(lambda: advice.last)
        assert sent.header.frame_id == "map"
        assert np.hypot(*(conversions.read_stated_pose(sent).T_frame_base - nodes.robot.pose)[:2]) < 1.0
        time.sleep(0.3)
        assert not nodes.odom_to_map()


def test_cleaning_up_answers_those_who_still_wait(running: House, monkeypatch: pytest.MonkeyPatch) -> None:
    running.drive_until(LocalizationState.LOCALIZED)
    localizer = running.localizer.session.localizer
    answer = localizer.query_text("west")

    def slow(*_: Any) -> Any:
        time.sleep(0.6)
        return answer

    monkeypatch.setattr(localizer, "query_text", slow)
    first = running.client.create_client(srv.QueryScenes, "query_scenes")
    second = running.client.create_client(srv.Relocalize, "relocalize")
    assert first.wait_for_service(5.0) and second.wait_for_service(5.0)
    asked = [first.call_async(srv.QueryScenes.Request(text=text)) for text in ("a", "b", "c")]
    waiting = second.call_async(srv.Relocalize.Request(timeout_s=30.0))
    time.sleep(0.2)
    assert running.change("localizer", Transition.TRANSITION_DEACTIVATE)
    assert running.change("localizer", Transition.TRANSITION_CLEANUP)
    wait_for(lambda: waiting.done() and all(f.done() for f in asked))
    assert any("cleaned up" in f.result().message for f in asked)


def test_a_defect_is_an_answer_and_not_the_end(running: House, monkeypatch: pytest.MonkeyPatch) -> None:
    localizer = running.localizer.session.localizer
    monkeypatch.setattr(localizer, "query_text", lambda *_: None)
    answer = running.call(srv.QueryScenes, "query_scenes", srv.QueryScenes.Request(text="west"))
    assert not answer.success and answer.message.startswith("internal error: AttributeError")
    running.drive_until(LocalizationState.LOCALIZED)
