"""Our own recordings: complete, readable without this package, and playable."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

import crossover_ros.msg as messages
import numpy as np
from ros_graph import LATCHED, Ear, Graph, graph, wait_for
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_messages import header
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from crossover_ros.bag_player import BagFile, Player, PlayOptions
from crossover_ros.bag_recorder import BagRecorder, RecordError, definition, main, own_definitions, type_store

OWN = sorted(own_definitions())
S = 10**9


@pytest.fixture
def running() -> Iterator[Graph]:
    with graph(Graph) as nodes:
        yield nodes


def result(k: int) -> messages.LocalizationResult:
    hypothesis = messages.Hypothesis(building_id="house", level_id="L1", place_name="Kitchen", probability=0.5)
    hypothesis.pose.pose.position.x = float(k)
    return messages.LocalizationResult(header=header("map_house_L1", k * S), state=2, hypotheses=[hypothesis] * 2)


def recorded(running: Graph, path: Path, count: int = 5) -> BagRecorder:
    """A recording of results, a retrieval, a latched transform and a topic that nobody wanted."""
    results = running.client.create_publisher(messages.LocalizationResult, "localization", LATCHED)
    places = running.client.create_publisher(messages.SceneRetrieval, "scene_retrieval", 10)
    static = running.client.create_publisher(TFMessage, "/tf_static", LATCHED)
    chatter = running.client.create_publisher(String, "chatter", 10)
    recorder = running.in_executor(lambda: BagRecorder(running.client, path))
    try:
        static.publish(TFMessage())
        wait_for(lambda: results.get_subscription_count() and places.get_subscription_count(), 20.0)
        for k in range(count):
            results.publish(result(k))
            chatter.publish(String(data="hello"))
            time.sleep(0.02)
        places.publish(messages.SceneRetrieval(header=header("", S), query_modality="image"))
        wanted = {"/localization": count, "/scene_retrieval": 1, "/tf_static": 1}
        wait_for(lambda: all(recorder.counts[topic] >= n for topic, n in wanted.items()), 20.0)
    finally:
        running.in_executor(recorder.close)
    return recorder


def test_every_message_is_in_the_bag_as_it_was_sent(running: Graph, tmp_path: Path) -> None:
    recorder = recorded(running, tmp_path / "bag")
    assert set(recorder.counts) == {"/localization", "/scene_retrieval", "/tf_static"}
    assert recorder.refused == []
    with Reader(tmp_path / "bag") as bag:
        store = type_store()
        heard = [
            store.deserialize_cdr(raw, connection.msgtype)
            for connection, _, raw in bag.messages()
            if connection.topic == "/localization"
        ]
    assert [m.header.stamp.sec for m in heard] == [0, 1, 2, 3, 4]
    assert [m.hypotheses[1].pose.pose.position.x for m in heard] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert heard[0].hypotheses[0].place_name == "Kitchen"


def test_a_reader_without_this_package_understands_every_channel(running: Graph, tmp_path: Path) -> None:
    recorded(running, tmp_path / "bag")
    with Reader(tmp_path / "bag") as bag:
        connections = list(bag.connections)
        assert len(connections) == 3
        for connection in connections:
            assert connection.msgdef.data and connection.digest
            # A store that knows nothing but what the file says reads the messages.
            store = get_typestore(Stores.EMPTY)
            store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
            for _, _, raw in bag.messages([connection]):
                assert store.deserialize_cdr(raw, connection.msgtype) is not None


def test_the_mcap_reader_finds_a_schema_with_text_for_each_channel(running: Graph, tmp_path: Path) -> None:
    reading = pytest.importorskip("mcap.reader", reason="SKIPPED: mcap is not installed")
    recorded(running, tmp_path / "bag")
    with next((tmp_path / "bag").glob("*.mcap")).open("rb") as stream:
        reader = reading.make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None and len(summary.channels) == 3
        for channel in summary.channels.values():
            schema = summary.schemas[channel.schema_id]
            assert (schema.encoding, channel.message_encoding) == ("ros2msg", "cdr")
            assert len(schema.data.decode()) > 40
            if channel.topic == "/localization":
                assert schema.name == "crossover_ros/msg/LocalizationResult"
                assert "MSG: crossover_ros/Hypothesis" in schema.data.decode()
        assert sum(1 for _ in reader.iter_messages(topics=["/localization"])) == 5


@pytest.mark.parametrize("name", OWN)
def test_definitions_are_complete_and_hash_to_what_the_installed_types_are(name: str) -> None:
    text = definition(name)
    assert own_definitions()[name].strip() in text
    named = set(re.findall(r"^MSG: (\S+)/(\S+)$", text, re.MULTILINE))
    used = set(re.findall(r"^([a-z0-9_]+)/([A-Z]\w+)", text, re.MULTILINE))
    assert used <= named | {("crossover_ros", name.rpartition("/")[2])}
    prefix = next(p for p in Path(str(messages.__file__)).parents if (p / "share" / "crossover_ros" / "msg").is_dir())
    described = prefix / "share" / "crossover_ros" / "msg" / f"{name.rpartition('/')[2]}.json"
    installed = json.loads(described.read_text(encoding="utf-8"))
    assert type_store().hash_rihs01(name) == installed["type_hashes"][0]["hash_string"]


def test_a_recording_is_played_again_and_what_was_latched_is_latched(running: Graph, tmp_path: Path) -> None:
    recorded(running, tmp_path / "bag", count=3)
    again = Ear(running.client, messages.LocalizationResult, "/again", 100)
    with BagFile(tmp_path / "bag", ["/localization", "/tf_static"]) as bag:
        options = PlayOptions(rate=5.0, remaps={"/localization": "/again", "/tf_static": "/again_static"}, wait_s=10.0)
        player = Player(running.client, bag, options)
        player.wait()
        player.play()
        late = Ear(running.client, TFMessage, "/again_static", LATCHED)
        newest = Ear(running.client, messages.LocalizationResult, "/again", LATCHED)
        wait_for(lambda: len(again.heard) == 3 and late.last is not None and newest.last is not None, 20.0)
    np.testing.assert_array_equal([m.hypotheses[0].pose.pose.position.x for m in again.heard], [0.0, 1.0, 2.0])


def test_what_cannot_be_recorded_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RecordError, match="odd_msgs/msg/Odd: its definition is not known here"):
        definition("odd_msgs/msg/Odd")
    (tmp_path / "there").mkdir()
    assert main([str(tmp_path / "there")]) == 2
    assert capsys.readouterr().err.strip() == f"crossover record: {tmp_path / 'there'}: exists already"
