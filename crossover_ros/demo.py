"""``crossover demo``: a building, a simulated robot, the real nodes over DDS, and a report of how it went."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover_models.threads import use_threads
from crossover_ros.demo_steps import DEFAULT_OUT, DURATION_S, RUN, STEPS, DemoOptions, make_map, make_run
from crossover_ros.live_run import require_ros

if TYPE_CHECKING:
    from rich.progress import Progress

    from crossover_models.encoders import SceneEncoder
    from crossover_ros.live_run import LiveOutcome

LOG = "nodes.log"
NO_FIX, NODES_FAILED = 3, 4


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
    parser.add_argument("--checkpoint", default="", help="encoders; default: the shipped ones")
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
        checkpoint=arguments.checkpoint,
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
    require_ros()
    # A terminated demo stops its nodes, as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    return demo(options)


def demo(options: DemoOptions) -> int:
    """Run all steps and return the exit status.

    Raises:
        ValueError, OSError: a step that cannot be done; the message is one line.
    """
    from rich.console import Console

    from crossover_models.encoders import load_encoder
    from crossover_ros.live_run import LiveRunError
    from crossover_ros.supervised import ChildDied

    began = time.monotonic()
    use_threads(1)
    console = Console(stderr=True)
    options.out.mkdir(parents=True, exist_ok=True)
    with _progress(console) as progress:
        encoder = load_encoder(options.checkpoint)
        database = make_map(options, encoder, progress)
        run_key = make_run(options, database, progress)
        try:
            outcome = _run_nodes(options, database, encoder, progress, began)
        except (ChildDied, LiveRunError) as error:
            progress.stop()
            print(f"crossover demo: {error}", file=sys.stderr)
            return NODES_FAILED
    return _report(options, database, outcome, run_key, console)


def _run_nodes(
    options: DemoOptions, database_path: Path, encoder: SceneEncoder, progress: Progress, began: float
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
        remaps = bag.remaps
    plan = LiveRun(
        directory,
        database_path,
        options.out / RECORD,
        options.out / LOG,
        info,
        remaps,
        relocalize_at_s=(info.finished_ns - info.started_ns) * 0.5e-9,
        apply=options.apply,
        checkpoint=options.checkpoint,
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
    from crossover_models.evaluation.events import events
    from crossover_models.evaluation.ground_truth import TRUTH, read_truth
    from crossover_models.evaluation.judgement import judge
    from crossover_models.evaluation.metrics import metrics
    from crossover_models.evaluation.results import RECORD, show_results, write_results
    from crossover_models.evaluation.run_record import read_record
    from crossover_models.map_database.store import MapDatabase
    from crossover_ros.bag_reading import Bag
    from crossover_ros.evidence import EvidenceCollector
    from crossover_ros.node_settings import node_settings

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
        with Bag(out / RUN) as bag:
            moments = [event.stamp_ns for event in events(judgement)]
            evidence = EvidenceCollector(moments, node_settings(options.params).encoder).collect(bag)
        write_results(out, judgement, figures, database, facts, evidence)
    show_results(out, figures)
    if outcome.exit_status not in (0, 130):
        console.print(f"the nodes ended with status {outcome.exit_status}; their log: {out / LOG}")
    if not any(j.localized for j in judgement.estimates):
        print(f"crossover demo: the robot was never found; the nodes' log: {out / LOG}", file=sys.stderr)
        return NO_FIX
    return 0


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
