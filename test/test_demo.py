"""The demo: children that are watched, steps that are not repeated, and the whole of it in small over real DDS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from crossover_models.evaluation.metrics import DEFINITIONS
from crossover_ros import demo_steps
from crossover_ros.supervised import ChildDied, Supervised

HAS_ROS = find_spec("rclpy") is not None


def child(tmp_path: Path, code: str) -> Supervised:
    return Supervised("child", [sys.executable, "-S", "-c", code], tmp_path / "child.log")


def wait_until(condition: object, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_child_that_dies_is_reported_with_its_status_and_the_end_of_its_log(tmp_path: Path) -> None:
    with child(tmp_path, "import sys; print('one line'); sys.exit('the map is gone')") as running:
        with pytest.raises(ChildDied, match=r"(?s)exit status 1.*one line\n  the map is gone"):
            wait_until(lambda: running.check())
        assert running.stop() == 1


def test_a_living_child_is_interrupted_and_may_clean_up(tmp_path: Path) -> None:
    code = "import time\ntry:\n print('up'); time.sleep(60)\nexcept KeyboardInterrupt:\n print('cleaned up')"
    with child(tmp_path, code) as running:
        wait_until(lambda: "up" in running.log.read_text())
        running.check()
        assert running.stop() == 0
    assert "cleaned up" in running.tail()


def test_a_child_that_will_not_go_is_killed_with_all_it_started(tmp_path: Path) -> None:
    code = (
        "import signal, subprocess, sys, time\n"
        "for n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, signal.SIG_IGN)\n"
        "p = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])\n"
        "print('pid', p.pid); time.sleep(60)"
    )
    with child(tmp_path, code) as running:
        wait_until(lambda: "pid" in running.log.read_text())
        assert running.stop(patience_s=0.5) < 0
    grandchild = int(running.log.read_text().split()[1])
    wait_until(lambda: not alive(grandchild))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_step_is_finished_only_with_the_same_settings_and_a_new_map_forgets_the_run(tmp_path: Path) -> None:
    assert demo_steps.finished(tmp_path, "map") is None
    demo_steps.finish(tmp_path, "map", {"seed": 1})
    demo_steps.finish(tmp_path, "run", {"speed": 0.6})
    assert demo_steps.finished(tmp_path, "map") == {"seed": 1}
    assert demo_steps.finished(tmp_path, "run") == {"speed": 0.6}
    demo_steps.finish(tmp_path, "map", {"seed": 2})
    assert demo_steps.finished(tmp_path, "run") is None
    (tmp_path / demo_steps.STEPS).write_text('{"map"')
    assert demo_steps.finished(tmp_path, "map") is None


def test_the_demo_in_small_over_real_dds(tmp_path: Path) -> None:
    if not HAS_ROS:
        pytest.skip("SKIPPED: rclpy is not installed, the demo was not run over DDS")
    code = (
        "import sys; from pathlib import Path; from crossover_ros.demo import DemoOptions, demo; "
        "sys.exit(demo(DemoOptions(Path(sys.argv[1]), seed=3, duration_s=10.0, levels=1, rooms_per_level=3, views=1)))"
    )
    # A process of its own, for rclpy's context is global to one, and in the demo's own domain.
    environment = {key: value for key, value in os.environ.items() if key != "ROS_DOMAIN_ID"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads((tmp_path / "report.json").read_text())
    assert list(figures)[: len(DEFINITIONS)] == list(DEFINITIONS)
    assert figures["simulated"] is True
    assert figures["source"] == "nodes"
    assert figures["places"] == 4
    assert figures["time_to_fix_s"] is not None
    assert figures["relocalize_s"] is not None
    assert figures["latency_ms_p50"] > 0
    assert figures["messages"]["localization"] > 5
    assert figures["refused_messages"] == {}
    for name in ("report.html", "run.jsonl", "estimated.tum", "true.tum", "nodes.log"):
        assert (tmp_path / name).stat().st_size > 0
    assert "Time to fix" in done.stdout
    # The same bag by the same door without ROS, in two processes: not a figure differs but those of a stopwatch.
    told = [evaluated(tmp_path, name, environment) for name in ("first", "second")]
    assert told[0].pop("digest") == told[1].pop("digest") and told[0] == told[1]
    assert set(figures) - {"diagnostics", "refused_messages"} <= {*told[0], *TIMED}
    # Nothing of it stays behind.
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path) in command_line(path)]


TIMED = {"latency_ms_p50", "latency_ms_p99", "relocalize_s", "wall_s"}


def evaluated(demo: Path, name: str, environment: dict[str, str]) -> dict[str, object]:
    """Figures of ``crossover evaluate`` on the demo's bag, less what a stopwatch measured."""
    arguments = ["evaluate", demo / "run", "--database", demo / "building.xmap", "--out", demo / name]
    command = [sys.executable, "-m", "crossover_ros.cli", *map(str, arguments), "--duration", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (demo / name / "report.html").stat().st_size > 100_000
    figures = json.loads((demo / name / "report.json").read_text())
    for call in figures["relocalize_calls"]:
        assert call.pop("elapsed_s") > 0
    assert all(figures.pop(key) is not None for key in TIMED)
    return dict(figures)


def command_line(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
