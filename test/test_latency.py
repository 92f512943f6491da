"""The benchmark of latency: its figures from passes of known latencies, and one short drive through both routes."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from crossover_models.stage_clock import STAGES, StageTime
from crossover_ros.cli import main
from crossover_ros.latency.figures import Latency, Pass, stages_table, whole_table

STAGE = StageTime(10, 5.0, 6.0, 7.0, 0.5)


def one(route: str, latencies_ms: list[float], cpu_s: float = 4.0) -> Pass:
    stages = {"encode": STAGE, "localizer publish": STAGE}
    return Pass(route, {"image": latencies_ms}, stages, cpu_s, 10.0, {"image": 9}, {"encoder image": 2})


def shown(latency: Latency) -> str:
    out = io.StringIO()
    console = Console(file=out, width=120)
    console.print(whole_table(latency))
    console.print(stages_table(latency))
    return out.getvalue()


def test_the_typical_drive_is_the_one_with_the_median_median() -> None:
    passes = [one("nodes", [t, t, 400.0]) for t in (30.0, 10.0, 20.0)] + [one("core", [10.0])]
    latency = Latency(passes)
    typical = latency.typical("nodes")
    assert typical is not None and typical.all_ms[0] == 20.0
    written = json.loads(json.dumps(latency.as_json()))
    assert written["sensor_to_result_ms"]["p50"] == 20.0
    assert written["cores"] == pytest.approx(0.4)
    assert written["dropped"] == {"encoder image": 2}
    assert set(written["stages"]) == {"encode", "localizer publish"}
    assert len(written["passes"]) == 4


def test_the_ratio_is_of_pairs_of_drives() -> None:
    passes = [one("nodes", [20.0]), one("core", [10.0]), one("nodes", [60.0]), one("core", [20.0])]
    written = Latency(passes).as_json()
    assert written["ros_over_core_of_pairs"] == [2.0, 3.0] and written["ros_over_core"] == 2.5
    assert "2.50 (2.00 to 3.00)" in shown(Latency(passes))


def test_a_route_without_an_answer_has_no_figures_and_is_no_zero() -> None:
    latency = Latency([one("nodes", []), one("core", [1.0])])
    assert latency.as_json()["sensor_to_result_ms"] == {"p50": None, "p95": None, "p99": None}
    assert latency.as_json()["ros_over_core"] is None
    assert "localizer publish" in shown(latency)


def test_bad_arguments_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "latency", "--json", str(tmp_path / "x.json")]
    assert main([*command, "--duration", "1"]) == 2
    assert "duration: " in capsys.readouterr().err
    assert main([*command, "--repeat", "0"]) == 2
    assert "repeat: " in capsys.readouterr().err


def test_a_short_drive_through_nodes_and_core_times_every_stage(tmp_path: Path) -> None:
    database, path = tmp_path / "small.xmap", tmp_path / "latency.json"
    assert main(["map", "build", "procedural:3:1:3", "--out", str(database)]) == 0
    command = ["bench", "latency", "--json", str(path), "--out", str(tmp_path / "out"), "--database", str(database)]
    assert main([*command, "--repeat", "1", "--duration", "12", "--camera-hz", "1", "--lidar-hz", "5"]) == 0
    written = json.loads(path.read_text(encoding="utf-8"))
    nodes, core = written["passes"]
    assert (nodes["route"], core["route"]) == ("nodes", "core")
    plain = {name.rpartition(" ")[2] for name in written["stages"]}
    assert plain == set(STAGES)
    assert all(stage["count"] > 0 and stage["p50_ms"] <= stage["p99_ms"] for stage in written["stages"].values())
    assert nodes["sent"] == pytest.approx({"image": 12, "points": 60}, abs=2)
    for one_pass in written["passes"]:
        assert one_pass["answers"] > 0 and 0.0 < one_pass["cores"] < 4.0
        # From a stamp to its answer no less can pass than the stages of that answer take.
        assert 1.0 < one_pass["sensor_to_result_ms"]["p50"] <= one_pass["sensor_to_result_ms"]["p99"]
    assert written["ros_over_core"] > 0.0 and written["gpu"] == "not measured"


def test_the_nodes_run_apart_from_a_robots_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crossover_ros.latency import node_run

    class NotStartedError(Exception):
        pass

    def seen(*_: object) -> None:
        raise NotStartedError(os.environ["ROS_DOMAIN_ID"], os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"])

    monkeypatch.setattr(node_run, "Supervised", seen)
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.delenv(name)
    with pytest.raises(NotStartedError) as caught:
        node_run.drive_nodes(tmp_path, tmp_path, 1.0, 5.0, "", tmp_path / "nodes.log")
    domain, reach = caught.value.args
    assert int(domain) > 0 and reach == "LOCALHOST"


def test_sensors_and_cpu_have_rows_of_their_own() -> None:
    nodes = Pass("nodes", {"image": [10.0], "points": [70.0]}, {}, 6.0, 10.0, {}, {})
    text = shown(Latency([nodes, one("core", [20.0])]))
    assert "points: p50 / p99 (ms) │ 70 / 70" in " ".join(text.split())
    assert "nodes over core, CPU │ 1.50 (1.50 to 1.50)" in " ".join(text.split())
