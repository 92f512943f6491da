"""The bag player sends what was recorded, in order and in time, to those who listen."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from rclpy.serialization import serialize_message
from ros_graph import LATCHED, Ear, Graph, graph, wait_for
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_messages import cloud, header
from sensor_msgs.msg import PointCloud2
from tf2_msgs.msg import TFMessage

from crossover_ros.bag_player import BagFile, Player, PlayError, PlayOptions, main

ROOT = Path(__file__).resolve().parents[1]
S = 1_000_000_000
STORE = get_typestore(Stores.ROS2_KILTED)
START_NS = 100 * S


def write_bag(path: Path, plugin: StoragePlugin = StoragePlugin.MCAP, seconds: float = 0.5) -> Path:
    """Clouds at 20 Hz with the count in x, one static transform, a recorded /clock and a type nobody has."""
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        points = writer.add_connection("/points", "sensor_msgs/msg/PointCloud2", typestore=STORE)
        static = writer.add_connection("/tf_static", "tf2_msgs/msg/TFMessage", typestore=STORE)
        clock = writer.add_connection("/clock", "rosgraph_msgs/msg/Clock", typestore=STORE)
        unknown = writer.add_connection("/odd", "odd_msgs/msg/Odd", msgdef="int32 x\n", rihs01="RIHS01_00")
        fixed = TransformStamped(header=header("base_link", START_NS), child_frame_id="lidar")
        fixed.transform.rotation.w = 1.0
        writer.write(static, START_NS, bytes(serialize_message(TFMessage(transforms=[fixed]))))
        writer.write(unknown, START_NS, b"\x00\x01\x00\x00" + struct.pack("<i", 7))
        for k in range(int(20 * seconds)):
            ns = START_NS + k * S // 20
            writer.write(points, ns, bytes(serialize_message(cloud(np.full((3, 3), float(k)), stamp_ns=ns))))
            time_of = Clock(clock=Time(sec=ns // S, nanosec=ns % S))
            writer.write(clock, ns, bytes(serialize_message(time_of)))
    return path


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bag") / "run")


@pytest.fixture
def listener() -> Iterator[Graph]:
    with graph(Graph) as running:
        yield running


def play(bag: Path, options: PlayOptions, **how: Any) -> tuple[Any, Any]:
    node = rclpy.create_node("player")
    try:
        with BagFile(bag, options.topics) as held:
            player = Player(node, held, options)
            matched = player.wait() if options.wait_s else 0
            return player.play(**how), matched
    finally:
        node.destroy_node()


def firsts(ear: Ear) -> list[float]:
    return [float(np.frombuffer(m.data, dtype=np.float32)[0]) for m in ear.heard]


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_all_messages_arrive_in_order_and_in_time(plugin: StoragePlugin, tmp_path: Path, listener: Graph) -> None:
    bag = write_bag(tmp_path / "run", plugin)
    points = Ear(listener.client, PointCloud2, "/points", 100)
    clock = Ear(listener.client, Clock, "/clock", 100)
    told: list[float] = []
    report, matched = play(bag, PlayOptions(rate=2.0, clock_hz=50.0, wait_s=10.0), progress=told.append)
    wait_for(lambda: len(points.heard) == 10)
    assert firsts(points) == list(map(float, range(10)))
    assert matched == 1
    assert report.messages["/points"] == 10 and "/clock" not in report.messages
    assert report.bag_s == pytest.approx(0.45)
    assert 0.2 < report.wall_s < 2.0
    assert told[-1] == pytest.approx(0.45)
    assert report.skipped == ("/odd (odd_msgs/msg/Odd is not installed)",)
    times = [m.clock.sec + m.clock.nanosec / S for m in clock.heard]
    assert times == sorted(times) and times[0] == pytest.approx(100.0) and times[-1] == pytest.approx(100.45)
    # 50 a second of wall time at twice the speed is one each 0.04 s of the bag, and one before each message.
    assert max(np.diff(times)) < 0.041


def test_a_static_transform_reaches_those_who_join_late(bag: Path, listener: Graph) -> None:
    heard: list[Ear] = []

    def join_late(_: float) -> None:
        if not heard:
            heard.append(Ear(listener.client, TFMessage, "/tf_static", LATCHED))
            time.sleep(1.0)

    play(bag, PlayOptions(), progress=join_late)
    assert heard[0].last.transforms[0].child_frame_id == "lidar"


def test_topics_remaps_and_part_of_the_bag(bag: Path, listener: Graph) -> None:
    lidar = Ear(listener.client, PointCloud2, "/lidar", 100)
    recorded = Ear(listener.client, Clock, "/clock", 100)
    options = PlayOptions(topics=("/points",), remaps={"/points": "/lidar"}, wait_s=10.0, start_s=0.1, duration_s=0.2)
    report, matched = play(bag, options)
    wait_for(lambda: len(lidar.heard) == 5)
    assert firsts(lidar) == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert matched == 1 and dict(report.messages) == {"/points": 5} and not recorded.heard


def test_stamps_can_be_moved_to_the_time_of_playing(bag: Path, listener: Graph) -> None:
    points = Ear(listener.client, PointCloud2, "/points", 100)
    clock = Ear(listener.client, Clock, "/clock", 100)
    began = time.time()
    play(bag, PlayOptions(topics=("/points", "/clock"), wait_s=10.0, awaited=("/points",), now=True))
    wait_for(lambda: len(points.heard) == 10)
    stamps = [m.header.stamp.sec + m.header.stamp.nanosec / S for m in points.heard]
    assert began < stamps[0] < stamps[-1] < time.time()
    assert np.diff(stamps) == pytest.approx(0.05, abs=1e-6)
    assert firsts(points) == list(map(float, range(10))) and not clock.heard
    with pytest.raises(PlayError, match="now: "):
        PlayOptions(now=True, rate=2.0)


def test_a_recorded_clock_is_played_without_our_own(bag: Path, listener: Graph) -> None:
    clock = Ear(listener.client, Clock, "/clock", 100)
    play(bag, PlayOptions(topics=("/clock",), wait_s=10.0))
    wait_for(lambda: len(clock.heard) == 10)


def test_waiting_begins_when_the_subscriber_is_there(bag: Path, listener: Graph) -> None:
    ears: list[Ear] = []
    late = threading.Timer(0.5, lambda: ears.append(Ear(listener.client, PointCloud2, "/points", 100)))
    late.start()
    play(bag, PlayOptions(topics=("/points",), wait_s=10.0))
    wait_for(lambda: len(ears[0].heard) == 10)


def test_a_viewer_that_listens_early_starts_nothing(bag: Path, listener: Graph) -> None:
    Ear(listener.client, TFMessage, "/tf_static", LATCHED)
    ears: list[Ear] = []
    late = threading.Timer(2.5, lambda: ears.append(Ear(listener.client, PointCloud2, "/points", 100)))
    late.start()
    play(bag, PlayOptions(wait_s=20.0, awaited=("/points",)))
    wait_for(lambda: len(ears[0].heard) == 10)
    with pytest.raises(PlayError, match="nobody subscribed to /clock within"):
        play(bag, PlayOptions(wait_s=1.5, awaited=("/clock", "/tf_static")))


def test_waiting_for_nobody_fails_with_the_topic(bag: Path, listener: Graph) -> None:
    with pytest.raises(PlayError, match=r"nobody subscribed to /points within 0 s"):
        play(bag, PlayOptions(topics=("/points",), wait_s=0.3))


def test_playing_stops_when_asked(bag: Path, listener: Graph) -> None:
    report, _ = play(bag, PlayOptions(rate=0.05), should_stop=lambda: True)
    assert sum(report.messages.values()) == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["/no/such/bag"], "/no/such/bag: no such bag"),
        (["EMPTY"], "is not a bag that can be read"),
        (["BAG", "--topics", "/points", "/lidar"], "topic /lidar is not in the bag; it holds /clock, /odd, /points"),
        (["BAG", "--rate", "0"], "rate: must be between 0 and 1000, got 0.0"),
        (["BAG", "--clock", "-1"], "clock_hz: must be zero or more"),
        (["BAG", "--topics", "/odd"], "none of"),
    ],
)
def test_what_cannot_be_played_is_one_line_and_status_2(
    arguments: list[str], text: str, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    given = [{"BAG": str(bag), "EMPTY": str(tmp_path / "empty")}.get(a, a) for a in arguments]
    assert main(given) == 2
    error = capsys.readouterr().err.strip()
    assert text in error.splitlines()[-1]
    assert error.splitlines()[-1].startswith("crossover play: ")


def test_a_truncated_bag_is_one_line(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in bag.iterdir():
        data = file.read_bytes()
        (broken / file.name).write_bytes(data if file.suffix == ".yaml" else data[: len(data) // 3])
    assert main([str(broken)]) == 2
    assert capsys.readouterr().err.startswith("crossover play: ")


def test_inputs_are_played_under_the_names_of_the_nodes(bag: Path, tmp_path: Path, listener: Graph) -> None:
    lidar = Ear(listener.client, PointCloud2, "/points", 100)
    renamed = tmp_path / "renamed"
    with Writer(renamed, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        points = writer.add_connection("/front/cloud", "sensor_msgs/msg/PointCloud2", typestore=STORE)
        for k in range(3):
            ns = START_NS + k * S // 20
            writer.write(points, ns, bytes(serialize_message(cloud(np.full((3, 3), float(k)), stamp_ns=ns))))
    assert main([str(renamed), "--points", "/front/cloud"]) == 2
    command = [sys.executable, "-m", "crossover_ros.cli", "play", str(renamed), "--inputs", "--wait", "20"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    wait_for(lambda: firsts(lidar) == [0.0, 1.0, 2.0])


def test_remaps_of_the_command_line_in_both_spellings(bag: Path, listener: Graph) -> None:
    lidar = Ear(listener.client, PointCloud2, "/lidar", 100)
    for spelling in (["--remap", "/points:=/lidar"], ["--ros-args", "-r", "/points:=/lidar"]):
        heard = len(lidar.heard)
        arguments = [str(bag), "--topics", "/points", "--wait", "20", *spelling]
        done = subprocess.run([sys.executable, "-m", "crossover_ros.cli", "play", *arguments], cwd=ROOT, check=False)
        assert done.returncode == 0
        wait_for(lambda heard=heard: len(lidar.heard) == heard + 10)


@pytest.mark.parametrize("stopped", [True, False])
def test_a_context_that_a_signal_shut_down_ends_the_play_and_any_other_failure_does_not(
    bag: Path, listener: Graph, stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    def gone(data: bytes) -> None:
        asked.append(data)
        raise RuntimeError("publisher's context is invalid")

    with BagFile(bag) as held:
        player = Player(listener.client, held, PlayOptions(rate=100.0))
        monkeypatch.setattr(player, "_publishers", dict.fromkeys(player._publishers, SimpleNamespace(publish=gone)))
        monkeypatch.setattr(player, "_finish", lambda: None)
        if stopped:
            assert not player.play(should_stop=lambda: bool(asked)).messages
        else:
            with pytest.raises(RuntimeError, match="context is invalid"):
                player.play()
