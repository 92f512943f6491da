"""``crossover bench latency``: from a sensor's stamp to the answer, through the nodes and through the core in turn."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover_models.threads import use_threads

if TYPE_CHECKING:
    from crossover_ros.latency.figures import Pass

LIDAR_HZ, CAMERA_HZ = 10.0, 5.0
FAILED = 4


def add_command(benchmarks: Any) -> None:
    """Add the benchmark to the argparse subparsers object of ``crossover bench``."""
    parser = benchmarks.add_parser(
        "latency",
        help="from sensor stamp to result, stage by stage, over DDS and without ROS",
        description="Simulates a drive with a lidar and a camera, plays it in real time to both nodes over DDS, and "
        "times every stage and every answer; the same through the core without ROS, in turn, so that the ratio holds "
        "on a machine whose speed drifts. Figures of absolute time assume a machine that is not busy.",
    )
    parser.add_argument("--json", type=Path, required=True, help="file for the figures")
    parser.add_argument("--out", type=Path, default=Path("build/latency"), help="map, run and logs (build/latency)")
    parser.add_argument("--database", type=Path, help="drive in this map and make no demo building")
    parser.add_argument("--duration", type=float, default=40.0, metavar="S", help="length of a drive, s (40)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="drives through each route (3)")
    parser.add_argument("--lidar-hz", type=float, default=LIDAR_HZ, help=f"sweeps a second, Hz ({LIDAR_HZ:.0f})")
    parser.add_argument("--camera-hz", type=float, default=CAMERA_HZ, help=f"frames a second, Hz ({CAMERA_HZ:.0f})")
    parser.add_argument("--checkpoint", default="", help="encoders; default: the shipped ones")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print both tables and write the JSON."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from crossover_ros.latency.figures import Latency, stages_table, whole_table
    from crossover_ros.live_run import require_ros
    from crossover_ros.localize import use_large_data_transport

    if not 5.0 <= arguments.duration <= 3600.0:
        raise ValueError(f"duration: must be 5 to 3600 s, got {arguments.duration}")
    if not 1 <= arguments.repeat <= 100:
        raise ValueError(f"repeat: must be 1 to 100, got {arguments.repeat}")
    require_ros()
    use_large_data_transport()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            passes = _drive(arguments, progress)
    except RuntimeError as error:  # LatencyError, ChildDied
        print(f"crossover bench latency: {error}", file=sys.stderr)
        return FAILED
    latency = Latency(passes, _machine(arguments))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(latency.as_json(), indent=2) + "\n", encoding="utf-8")
    shown = Console()
    shown.print(whole_table(latency))
    shown.print(stages_table(latency))
    shown.print(
        f"simulated; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; figures in {arguments.json}"
    )
    return 0


def _drive(arguments: argparse.Namespace, progress: Any) -> list[Pass]:
    """Both routes in turn."""
    from crossover_ros.latency.node_run import drive_nodes

    passes: list[Pass] = []
    database, bag = _prepare(arguments, progress)
    for number in range(arguments.repeat):
        task = progress.add_task(f"nodes, drive {number + 1} of {arguments.repeat}", total=arguments.duration)

        def tell(seconds: float, task: Any = task) -> None:
            progress.update(task, completed=seconds)

        log, fastest_hz = arguments.out / f"nodes-{number}.log", 1.2 * arguments.camera_hz
        passes.append(drive_nodes(bag, database, arguments.duration, fastest_hz, arguments.checkpoint, log, tell))
        task = progress.add_task(f"core, drive {number + 1} of {arguments.repeat}", total=None)
        passes.append(_core(arguments, bag, database))
        progress.update(task, total=1, completed=1)
    return passes


def _prepare(arguments: argparse.Namespace, progress: Any) -> tuple[Path, Path]:
    """Map and bag of the drive, kept from an earlier run with the same settings."""
    from crossover_models.encoders import load_encoder
    from crossover_models.map_database.store import MapDatabase
    from crossover_models.simulation.run import simulate
    from crossover_models.simulation.settings import RunSettings
    from crossover_ros.demo_steps import DemoOptions, finish, finished, make_map

    use_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    options = DemoOptions(arguments.out, source=arguments.database, checkpoint=arguments.checkpoint)
    path = make_map(options, load_encoder(arguments.checkpoint, "cpu"), progress)
    settings = RunSettings(
        seed=0,
        duration_s=arguments.duration,
        lidar_hz=arguments.lidar_hz,
        camera_hz=arguments.camera_hz,
        # Half a sweep off, as cameras that nobody synchronized; stamps then say whose answer an answer is.
        camera_phase_s=0.5 / arguments.lidar_hz,
    )
    directory = arguments.out / "run"
    with MapDatabase.open(path) as database:
        key = {"database": database.fingerprint, **settings.to_mapping()}
        if not directory.is_dir() or finished(arguments.out, "run") != key:
            task = progress.add_task("simulate the robot", total=arguments.duration)
            simulate(database, directory, settings, lambda s: progress.update(task, completed=s), overwrite=True)
            finish(arguments.out, "run", key)
    return path, directory


def _core(arguments: argparse.Namespace, bag: Path, database: Path) -> Pass:
    from crossover_models.stage_clock import StageTime
    from crossover_ros.latency.figures import Pass

    command = [sys.executable, "-m", "crossover_ros.latency.core_run", str(bag), str(database)]
    command += ["--duration", str(arguments.duration)]
    command += ["--checkpoint", arguments.checkpoint] if arguments.checkpoint else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        told = done.stderr.strip().splitlines()
        raise RuntimeError(f"the core's drive failed: {told[-1] if told else f'exit status {done.returncode}'}")
    values = json.loads(done.stdout.splitlines()[-1])
    stages = {name: StageTime(**stage) for name, stage in values.pop("stages").items()}
    return Pass(stages=stages, **values)


def _machine(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "load_average": list(os.getloadavg()),
        "python": platform.python_version(),
        "lidar_hz": arguments.lidar_hz,
        "camera_hz": arguments.camera_hz,
        "duration_s": arguments.duration,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
