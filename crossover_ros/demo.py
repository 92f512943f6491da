"""``crossover demo``: a building, a simulated robot, the real nodes over DDS, and a report of how it went."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover_models import __version__

if TYPE_CHECKING:
    from rich.progress import Progress

    from crossover_ros.encoder_source import Encoder
    from crossover_ros.live_run import LiveOutcome

DEFAULT_OUT = Path("build/demo")
DURATION_S = 80.0
MAP, RUN, STEPS, LOG = "building.xmap", "run", "steps.json", "nodes.log"
NO_FIX, NODES_FAILED = 3, 4
# The nodes' names of the topics to the bag's.
REMAPS = {"image": "/camera/image_raw", "camera_info": "/camera/camera_info"}


@dataclass(frozen=True)
class DemoOptions:
    """What the demo does.

    Attributes:
        out: directory of everything it makes.
        seed: of the building and of the run.
        duration_s: robot time.
        source: a map database to use in place of the demo building; None to make that.
        building, level: where the robot drives; empty for the first.
        levels, rooms_per_level, views: size of the demo building, and pictures of each room in its survey.
        params: parameter file of the nodes, if any.
        apply: the mid-run relocalize call replaces the belief.
        keep_going: an interrupt ends the run early, and what was recorded is reported.
    """

    out: Path = DEFAULT_OUT
    seed: int = 0
    duration_s: float = DURATION_S
    source: Path | None = None
    building: str = ""
    level: str = ""
    levels: int = 2
    rooms_per_level: int = 6
    views: int = 8
    params: Path | None = None
    apply: bool = False
    keep_going: bool = False


def add_command(subparsers: Any) -> None:
    """Add ``demo`` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="see it work: build a map, simulate a robot, localize it over ROS 2, write a report",
        description="Make a building and its map database, simulate a robot in it, start the real nodes, replay the "
        "robot's bag over DDS, call relocalize in mid-run, and write report.json and report.html. Finished steps are "
        "kept and not repeated. Exit status 3: the robot was never found; 4: the nodes failed.",
    )
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"directory of everything ({DEFAULT_OUT})")
    parser.add_argument("--seed", type=int, default=0, help="of the building and of the run (0)")
    parser.add_argument("--duration", type=float, default=DURATION_S, help=f"robot time, seconds ({DURATION_S:.0f})")
    parser.add_argument("--database", type=Path, help="drive in this map and make no demo building")
    parser.add_argument("--building", default="", help="drive in this building of the map")
    parser.add_argument("--level", default="", help="drive on this level")
    parser.add_argument("--params", type=Path, help="parameters of the nodes, as config/localize.yaml")
    parser.add_argument("--apply", action="store_true", help="the mid-run relocalize call replaces the belief")
    parser.add_argument("--fresh", action="store_true", help="repeat finished steps")
    parser.add_argument("--keep-going", action="store_true", help="after Ctrl-C in the run, report what was recorded")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover demo``."""
    options = DemoOptions(
        arguments.out,
        arguments.seed,
        arguments.duration,
        arguments.database,
        arguments.building,
        arguments.level,
        params=arguments.params,
        apply=arguments.apply,
        keep_going=arguments.keep_going,
    )
    if not 10.0 <= options.duration_s <= 3600.0:
        raise ValueError(f"duration: must be 10 to 3600 s, got {options.duration_s}")
    if options.seed < 0:
        raise ValueError(f"seed: must not be negative, got {options.seed}")
    if arguments.fresh:
        (options.out / STEPS).unlink(missing_ok=True)
    missing = [name for name in ("rclpy", "crossover_ros.msg") if find_spec(name) is None]
    if missing:
        raise ValueError(f"needs ROS 2, but {missing[0]} is not installed; 'crossover evaluate' does without")
    # A terminated demo stops its nodes, as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    return demo(options)


def demo(options: DemoOptions) -> int:
    """Run all steps and return the exit status.

    Raises:
        ValueError, OSError: a step that cannot be done; the message is one line.
    """
    import torch
    from rich.console import Console

    from crossover_models.encoders import load_encoder
    from crossover_ros.live_run import LiveRunError
    from crossover_ros.supervised import ChildDied

    began = time.monotonic()
    torch.set_num_threads(1)
    console = Console(stderr=True)
    options.out.mkdir(parents=True, exist_ok=True)
    with _progress(console) as progress:
        encoder = load_encoder()
        database = _make_map(options, encoder, progress)
        run_key = _make_run(options, database, progress)
        try:
            outcome = _run_nodes(options, database, encoder, progress, began)
        except (ChildDied, LiveRunError) as error:
            progress.stop()
            print(f"crossover demo: {error}", file=sys.stderr)
            return NODES_FAILED
    return _report(options, database, outcome, run_key, console)


# -- steps -------------------------------------------------------------------------------------------------------------


def _make_map(options: DemoOptions, encoder: Encoder, progress: Progress) -> Path:
    """The demo building's database, made unless it is there already."""
    from crossover_models.map_database.store import MapDatabase

    if options.source is not None:
        with MapDatabase.open(options.source, encoder.fingerprint):
            return options.source
    path = options.out / MAP
    key = {
        "version": __version__,
        "seed": options.seed,
        "levels": options.levels,
        "rooms": options.rooms_per_level,
        "views": options.views,
        "encoder": encoder.fingerprint,
    }
    if path.is_file() and _finished(options.out, "map") == key:
        progress.add_task("map database: kept from before", total=1, completed=1)
        return path
    import numpy as np
    from crossover_models.map_database.build import build_database

    from crossover_models.simulation.procedural import generate_building
    from crossover_models.simulation.survey import survey

    task = progress.add_task("survey the building", total=None)
    building = generate_building(
        options.seed,
        split="test",
        levels=options.levels,
        rooms_per_level=options.rooms_per_level,
        building_id="demo",
    )
    progress.update(task, total=sum(len(level.places) for level in building.levels))
    rng = np.random.default_rng(options.seed)
    building = survey(building, rng, options.views, progress=lambda _: progress.advance(task))
    task = progress.add_task("build the map database", total=None)
    build_database(building, encoder, path)
    progress.update(task, total=1, completed=1)
    _finish(options.out, "map", key)
    return path


def _make_run(options: DemoOptions, database_path: Path, progress: Progress) -> Mapping[str, Any]:
    """The simulated bag, made unless it is there already; returns its settings."""
    from crossover_models.map_database.store import MapDatabase
    from crossover_models.simulation.run import simulate
    from crossover_models.simulation.settings import RunSettings

    settings = RunSettings(seed=options.seed, duration_s=options.duration_s)
    with MapDatabase.open(database_path) as database:
        key = {
            "version": __version__,
            "database": database.fingerprint,
            "building": options.building,
            "level": options.level,
            **settings.to_mapping(),
        }
        directory = options.out / RUN
        if directory.is_dir() and _finished(options.out, "run") == key:
            progress.add_task("simulated run: kept from before", total=1, completed=1)
            return key
        task = progress.add_task("simulate the robot", total=options.duration_s)
        simulate(
            database,
            directory,
            settings,
            lambda s: progress.update(task, completed=s),
            building=options.building,
            level=options.level,
            overwrite=True,
        )
    _finish(options.out, "run", key)
    return key


def _run_nodes(
    options: DemoOptions, database_path: Path, encoder: Encoder, progress: Progress, began: float
) -> LiveOutcome:
    """The real nodes on the bag."""
    from crossover_models.evaluation.results import RECORD
    from crossover_models.evaluation.run_record import RunInfo
    from crossover_models.map_database.store import MapDatabase
    from crossover_ros.bag_reading import Bag
    from crossover_ros.live_run import LiveRun, run_live

    directory = options.out / RUN
    with Bag(directory) as bag, MapDatabase.open(database_path) as database:
        info = RunInfo(
            "CrossOver demo",
            "nodes",
            True,
            database.fingerprint,
            encoder.fingerprint,
            bag.started_ns,
            bag.finished_ns,
        )
    plan = LiveRun(
        directory,
        database_path,
        options.out / RECORD,
        options.out / LOG,
        info,
        REMAPS,
        relocalize_at_s=(info.finished_ns - info.started_ns) * 0.5e-9,
        apply=options.apply,
        params=options.params,
        keep_going=options.keep_going,
    )
    tasks: dict[str, Any] = {}

    def tell(step: str, done: float, total: float) -> None:
        if step not in tasks:
            for earlier in tasks.values():
                progress.update(earlier, total=1, completed=1)
            tasks[step] = progress.add_task(step, total=total)
        progress.update(tasks[step], completed=done)

    return run_live(plan, tell, began)


def _report(
    options: DemoOptions, database_path: Path, outcome: LiveOutcome, run_key: Mapping[str, Any], console: Any
) -> int:
    """Figures, page and table; the exit status."""
    from crossover_models.evaluation.ground_truth import TRUTH, read_truth
    from crossover_models.evaluation.judgement import judge
    from crossover_models.evaluation.metrics import metrics
    from crossover_models.evaluation.results import RECORD, show_results, write_results
    from crossover_models.evaluation.run_record import read_record
    from crossover_models.map_database.store import MapDatabase

    out = options.out
    with MapDatabase.open(database_path) as database:
        levels = [level.key for level in database.levels()]
        truth = read_truth(out / RUN / TRUTH, levels)
        record = read_record(out / RECORD)
        played_ns = record.info.started_ns + round(outcome.played_s * 1e9)
        if played_ns < record.info.finished_ns - 10**9:  # Interrupted: what was not played is no failure.
            record = replace(record, info=replace(record.info, finished_ns=played_ns))
        judgement = judge(record, truth, database.places())
        figures = metrics(judgement)
        figures["messages"] = dict(sorted(outcome.messages.items()))
        figures["refused_messages"] = dict(outcome.refused)
        figures["diagnostics"] = {name: text for name, (text, _) in sorted(outcome.diagnostics.items())}
        facts = [
            ("Command", f"crossover demo --seed {options.seed} --duration {options.duration_s:g}"),
            ("Map", f"{database_path} ({len(levels)} levels)"),
            ("Robot", f"{run_key['speed_m_s']} m/s, 16-beam lidar {run_key['lidar_hz']:g} Hz, drifting odometry"),
            ("Last diagnostics", "; ".join(f"{n}: {t}" for n, (t, _) in sorted(outcome.diagnostics.items()))),
        ]
        write_results(out, judgement, figures, database, facts)
    show_results(out, figures)
    if outcome.exit_status not in (0, 130):
        console.print(f"the nodes ended with status {outcome.exit_status}; their log: {out / LOG}")
    if not any(j.localized for j in judgement.estimates):
        print(f"crossover demo: the robot was never found; the nodes' log: {out / LOG}", file=sys.stderr)
        return NO_FIX
    return 0


# -- what is done already ----------------------------------------------------------------------------------------------


def _finished(out: Path, step: str) -> Any:
    """What a finished step was made from, or None."""
    try:
        steps = json.loads((out / STEPS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return steps.get(step) if isinstance(steps, dict) else None


def _finish(out: Path, step: str, key: Mapping[str, Any]) -> None:
    """Remember what a step was made from; a run made on another map is forgotten with it."""
    steps = {} if step == "map" else {"map": _finished(out, "map")}
    steps[step] = dict(key)
    scratch = out / f"{STEPS}.new"
    scratch.write_text(json.dumps(steps, indent=2) + "\n", encoding="utf-8")
    scratch.replace(out / STEPS)


@contextmanager
def _progress(console: Any) -> Iterator[Progress]:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    width = max(24, min(44, shutil.get_terminal_size().columns - 40))
    columns = (
        TextColumn("{task.description}", table_column=None),
        BarColumn(bar_width=max(10, width // 2)),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield progress
