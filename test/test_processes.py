"""The commands as users start them: processes of their own, signals, exit statuses, two machines' worth of nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

import crossover_ros.msg as messages
from lifecycle_msgs.srv import GetState
from planted import asymmetric_plan
from planted_bag import write_bag
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from ros_graph import LATCHED, Ear, Graph, PlantedEncoder, Robot, TFMessage, graph, wait_for, write_map
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger

from crossover_models.estimate import LocalizationState
from crossover_ros.encoder_node import EncoderNode
from crossover_ros.encoder_source import EncoderSource

ROOT = Path(__file__).resolve().parents[1]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "crossover_ros.cli", *arguments]


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(*arguments), cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    running = start(*arguments)
    try:
        yield running
    finally:
        if running.poll() is None:
            running.kill()
        running.communicate()


def ends(running: subprocess.Popen[str], number: int, timeout_s: float = 20.0) -> tuple[int, str]:
    """Exit status and output after a signal."""
    running.send_signal(number)
    output, _ = running.communicate(timeout=timeout_s)
    return running.returncode, output


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_map(tmp_path_factory.mktemp("map") / "house.xmap")


class Sensing(Graph):
    """An encoder node with a stand-in encoder here; the localizer runs elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        source = EncoderSource(lambda checkpoint, device: PlantedEncoder())
        self.encoder = self.add(EncoderNode(source, parameter_overrides=[Parameter("max_silence_s", value=0.3)]))
        self.results = Ear(self.client, messages.LocalizationResult, "localization", LATCHED)
        self.transforms = Ear(self.client, TFMessage, "/tf", 100)
        self.robot = Robot(self.client)

    def localized(self, since: int = 0) -> bool:
        return any(r.state == LocalizationState.LOCALIZED for r in self.results.heard[since:])


def test_two_processes_with_embeddings_between_them_survive_a_kill(house: Path) -> None:
    with graph(Sensing) as nodes:
        assert nodes.in_executor(nodes.encoder.autostart)
        with process("localizer", "--database", str(house)) as localizer:
            wait_for(lambda: nodes.client.count_subscribers("scene_embedding"), 30.0)
            wait_for(nodes.localized, 20.0, nodes.robot.drive)
            result = nodes.results.last
            assert (result.level_id, result.place_name) == ("L1", "L1-west")
            wait_for(lambda: any(t.child_frame_id == "odom" for m in nodes.transforms.heard for t in m.transforms))
            localizer.kill()
            localizer.wait(10.0)
        heard = len(nodes.results.heard)
        with process("localizer", "--database", str(house)) as localizer:
            wait_for(lambda: nodes.localized(heard), 30.0, nodes.robot.drive)
            status, output = ends(localizer, signal.SIGINT)
            assert status == 0 and "Traceback" not in output, output


def test_localize_without_a_map_stays_alive_and_answers(tmp_path: Path) -> None:
    with graph(Graph) as nodes:
        results = Ear(nodes.client, messages.LocalizationResult, "/robot/localization", LATCHED)
        arguments = ("--device", "cpu", "--database", str(tmp_path / "none.xmap"), "--ros-args", "-r", "__ns:=/robot")
        with process("localize", *arguments) as both:
            wait_for(lambda: results.last, 40.0)
            assert results.last.failure_category == "no_database"
            answer = nodes.call(Trigger, "/robot/relocalize/trigger", timeout_s=30.0)
            assert not answer.success
            assert answer.message.startswith("NO_DATABASE") and "no such file" in answer.message
            for name in ("encoder", "localizer"):  # What waitUntilNav2Active asks.
                assert nodes.call(GetState, f"/robot/{name}/get_state").current_state.label
            assert both.poll() is None
            status, output = ends(both, signal.SIGTERM)
            assert status == 0 and "Traceback" not in output, output


def test_a_player_stopped_in_the_middle_ends_without_a_trace(tmp_path: Path) -> None:
    poses = [np.array([2.0 + 0.05 * k, 5.0, 0.0]) for k in range(60)]
    write_bag(tmp_path / "bag", asymmetric_plan(), poses)
    with process("play", str(tmp_path / "bag"), "--wait", "0", "--rate", "0.5") as player, graph(Graph) as nodes:
        clouds = Ear(nodes.client, PointCloud2, "/points", qos_profile_sensor_data)
        wait_for(lambda: clouds.last, 30.0)
        status, output = ends(player, signal.SIGINT)
        assert status in (0, 130) and "Traceback" not in output, output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["localizer", "--ros-args", "-p", "databse:=x"], "databse: unknown parameter; did you mean database?"),
        (["localizer", "--ros-args", "-p", "belief.stale_s:=-1.0"], "belief.stale_s: -1.0 is refused"),
        (["localize", "--ros-args", "--params-file", "BAD"], "window: unknown parameter"),
        (["localize", "--ros-args", "--params-file", "/no/such.yaml"], "/no/such.yaml"),
        (["localize", "--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
        (["encoder", "--database", "x.xmap"], "unrecognized arguments: --database"),
    ],
)
def test_arguments_without_sense_are_one_line_and_status_2(arguments: list[str], text: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("encoder:\n  ros__parameters:\n    accumulation:\n      window: 3.0\n", encoding="utf-8")
    given = [str(bad) if a == "BAD" else a for a in arguments]
    done = subprocess.run(command(*given), cwd=ROOT, text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert text in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_help_names_the_node_commands() -> None:
    for arguments, words in (
        (["localize", "--help"], ("--database", "--ros-args")),
        (["play", "--help"], ("--clock",)),
    ):
        done = subprocess.run(command(*arguments), cwd=ROOT, text=True, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0
        for word in words:
            assert word in done.stdout


def test_a_transport_that_the_user_chose_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from crossover_ros.localize import LARGE_DATA, use_large_data_transport

    for name in ("FASTDDS_BUILTIN_TRANSPORTS", "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    use_large_data_transport()
    assert os.environ["FASTDDS_BUILTIN_TRANSPORTS"] == LARGE_DATA
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    use_large_data_transport()
    assert os.environ["FASTDDS_BUILTIN_TRANSPORTS"] == "UDPv4"
    monkeypatch.delenv("FASTDDS_BUILTIN_TRANSPORTS")
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "mine.xml")
    use_large_data_transport()
    assert "FASTDDS_BUILTIN_TRANSPORTS" not in os.environ


def test_core_commands_are_there_too(capsys: pytest.CaptureFixture[str]) -> None:
    from crossover_ros import cli

    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for name in ("map", "simulate", "train", "bench", "localize", "encoder", "localizer", "play", "evaluate", "demo"):
        assert name in told


def test_an_unknown_command_is_refused() -> None:
    from crossover_ros import cli

    with pytest.raises(SystemExit) as ended:
        cli.main(["dance"])
    assert ended.value.code == 2


def test_ros_arguments_are_told_from_ours() -> None:
    from crossover_ros.localize import split_ros_arguments

    given = ["a", "--remap", "/x:=/y", "--ros-args", "-r", "b:=c", "--", "d", "--ros-args", "-p", "e:=1"]
    own, ros = split_ros_arguments(given)
    assert own == ["a", "--remap", "/x:=/y", "d"]
    assert ros == ["--ros-args", "-r", "b:=c", "--", "--ros-args", "-p", "e:=1"]
    assert split_ros_arguments(["bag", "--", "x"]) == (["bag", "--", "x"], [])
