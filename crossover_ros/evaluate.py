"""``crossover evaluate``: how well a localizer does on a bag, through the core alone or through the live nodes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover_models.threads import use_threads
from crossover_ros.node_settings import NodeSettings, node_settings

if TYPE_CHECKING:
    from crossover_models.evaluation.run_record import RunRecord
    from crossover_models.evaluation.trajectory import Trajectory
    from crossover_models.map_database.store import MapDatabase
    from crossover_ros.bag_topics import Topics

DEFAULT_OUT = Path("build/evaluation")
START, RUNNING = "start", "running"
LOG = "nodes.log"


def add_command(subparsers: Any) -> None:
    """Add ``evaluate`` to the command line."""
    parser = subparsers.add_parser(
        "evaluate",
        help="replay a bag through the core, without ROS, and report how well it was localized",
        description="Replay a rosbag2 (MCAP, SQLite) or a ROS 1 bag through the same conversions and stages as the "
        "nodes, and write a record of the run, the trajectory and, with a ground truth, a report. Two replays of a bag "
        "differ in nothing but what a stopwatch says: report.json's digest is the same.",
    )
    parser.add_argument("bag", type=Path, help="bag, or a directory written by 'crossover simulate'")
    parser.add_argument("--database", type=Path, required=True, help="map database of 'crossover map build'")
    parser.add_argument("--ground-truth", type=_path, help="true trajectory (TUM); default: the simulation's, if any")
    parser.add_argument("--level", default="", help="BUILDING/LEVEL of the ground truth, where no run.json says it")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"directory of the results ({DEFAULT_OUT})")
    parser.add_argument("--json", type=Path, help="write the figures to this file too; - for stdout")
    parser.add_argument(
        "--answers",
        type=Path,
        metavar="DIR",
        help="write trajectory.txt and places.jsonl, as 'crossover bench buildings' judges them, and no report; reads "
        "no ground truth, and a bag without lidar will do",
    )
    parser.add_argument("--duration", type=_positive, help="replay only so many seconds")
    parser.add_argument("--params", type=Path, help="parameters as in config/localize.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NODE.NAME=VALUE", help="e.g. localizer.belief.null_score=-0.8"
    )
    parser.add_argument("--cloud-rate", type=_positive, default=2.5, help="local clouds encoded a second at most")
    parser.add_argument(
        "--twins", nargs=2, metavar=("A", "B"), help="how names of places in two mirror-twin flats begin"
    )
    parser.add_argument(
        "--live",
        nargs="?",
        const=START,
        choices=(START, RUNNING),
        help="through the real nodes over ROS 2 instead, by the bag's clock: start them (default), or play to those "
        "that are running on simulated time, as evaluate.launch.py does",
    )
    parser.add_argument("--rate", type=_positive, default=1.0, help="speed of --live; 2 is twice as fast (1)")
    for kind in ("image", "points", "scan", "odom", "depth"):
        parser.add_argument(f"--{kind}", default="", metavar="TOPIC", help=f"topic of the {kind}; default: by type")
    parser.set_defaults(run=run)


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return value


def _path(text: str) -> Path | None:
    """A path; None for the empty text that a launch file passes where nothing was given."""
    return Path(text) if text else None


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover evaluate``."""
    from crossover_models.evaluation.ground_truth import read_truth, truth_beside
    from crossover_models.map_database.store import MapDatabase
    from crossover_ros.bag_topics import Topics

    began = time.monotonic()
    settings = node_settings(arguments.params, arguments.set)
    topics = Topics(arguments.image, arguments.points, arguments.scan, arguments.odom, arguments.depth)
    if arguments.answers is not None:
        return _write_answers(arguments, settings, topics)
    with MapDatabase.open(arguments.database) as database:
        simulated = truth_beside(arguments.bag)
        truth_path = arguments.ground_truth or simulated
        levels = [level.key for level in database.levels()]
        truth = read_truth(truth_path, levels, arguments.level) if truth_path is not None else None
        arguments.out.mkdir(parents=True, exist_ok=True)
        make = _live if arguments.live else _offline
        record, counts = make(arguments, settings, topics, database, simulated is not None, began)
        return _report(arguments, settings, topics, database, record, truth, counts)


def _offline(
    arguments: argparse.Namespace,
    settings: NodeSettings,
    topics: Topics,
    database: MapDatabase,
    simulated: bool,
    began: float,
) -> tuple[RunRecord, Mapping[str, Any]]:
    """Through the core: the record, and what became of the messages."""
    from crossover_models.encoders import load_encoder
    from crossover_models.evaluation.digest import record_digest
    from crossover_models.evaluation.results import RECORD
    from crossover_models.evaluation.run_record import read_record
    from crossover_models.map_database.store import MapDatabase
    from crossover_ros.offline_run import replay_bag

    use_threads(1)
    encoder = load_encoder(settings.encoder.checkpoint, settings.encoder.device)
    with MapDatabase.open(database.path, encoder.fingerprint) as matching:
        counts = replay_bag(
            arguments.bag,
            matching,
            encoder,
            settings,
            arguments.out / RECORD,
            topics,
            duration_s=arguments.duration,
            cloud_rate_hz=arguments.cloud_rate,
            simulated=simulated,
            began=began,
        )
    digest = record_digest(arguments.out / RECORD)
    record = read_record(arguments.out / RECORD)
    return record, {
        "digest": digest,
        "messages": dict(sorted(counts.taken.items())),
        "dropped": dict(sorted(counts.dropped.items())),
    }


def _live(
    arguments: argparse.Namespace,
    settings: NodeSettings,
    topics: Topics,
    database: MapDatabase,
    simulated: bool,
    began: float,
) -> tuple[RunRecord, Mapping[str, Any]]:
    """Through the nodes over DDS: the record, and what became of the messages."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from crossover_models.evaluation.results import RECORD
    from crossover_models.evaluation.run_record import RunInfo, read_record
    from crossover_ros.bag_reading import Bag
    from crossover_ros.live_run import LiveRun, LiveRunError, require_ros, run_live
    from crossover_ros.supervised import ChildDied

    require_ros()
    with Bag(arguments.bag, topics) as bag:
        end_ns = bag.finished_ns
        if arguments.duration is not None:
            end_ns = min(end_ns, bag.started_ns + round(arguments.duration * 1e9))
        fingerprints = (database.fingerprint, database.encoder_fingerprint)
        info = RunInfo(arguments.bag.name, "nodes", simulated, *fingerprints, bag.started_ns, end_ns)
        remaps = bag.remaps
    plan = LiveRun(
        bag=arguments.bag,
        database=arguments.database,
        record=arguments.out / RECORD,
        log=arguments.out / LOG,
        info=info,
        remaps=remaps,
        duration_s=arguments.duration or 0.0,
        rate=arguments.rate,
        relocalize_at_s=(end_ns - info.started_ns) * 0.5e-9,
        params=arguments.params,
        changes=tuple(arguments.set),
        start_nodes=arguments.live == START,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f} s"))
    with Progress(*columns, TimeElapsedColumn(), transient=True) as bar:
        task = bar.add_task("start the nodes", total=1.0)

        def tell(step: str, done: float, total: float) -> None:
            bar.update(task, description=step, completed=done, total=total)

        try:
            outcome = run_live(plan, tell, began)
        except (ChildDied, LiveRunError) as error:
            raise ValueError(str(error)) from None
    more = {
        "messages": dict(sorted(outcome.messages.items())),
        "refused_messages": dict(outcome.refused),
        "diagnostics": {name: text for name, (text, _) in sorted(outcome.diagnostics.items())},
    }
    return read_record(plan.record), more


def _report(
    arguments: argparse.Namespace,
    settings: NodeSettings,
    topics: Topics,
    database: MapDatabase,
    record: RunRecord,
    truth: Trajectory | None,
    counts: Mapping[str, Any],
) -> int:
    """Judge the record where there is a truth, and leave everything in the directory of the results."""
    from crossover_models.evaluation.events import events
    from crossover_models.evaluation.judgement import judge
    from crossover_models.evaluation.metrics import metrics, mirror_twins
    from crossover_models.evaluation.results import ESTIMATED, RECORD, show_results, write_estimated, write_results
    from crossover_ros.bag_reading import Bag
    from crossover_ros.evidence import EvidenceCollector

    out: Path = arguments.out
    if truth is None:
        fixes = write_estimated(out / ESTIMATED, record)
        print(f"no ground truth; {fixes} announced poses in {out / ESTIMATED}, all else in {out / RECORD}")
        return 0
    places = database.places()
    twins = mirror_twins(places, *arguments.twins) if arguments.twins else None
    judgement = judge(record, truth, places)
    figures = {**metrics(judgement, twins), **counts}
    facts = (
        ("Bag", str(arguments.bag)),
        ("Map", str(arguments.database)),
        ("Latency", "computation only: a replay waits for nothing" if not arguments.live else "stamp to message"),
    )
    moments = [event.stamp_ns for event in events(judgement)]
    with Bag(arguments.bag, topics) as bag:
        evidence = EvidenceCollector(moments, settings.encoder).collect(bag)
    write_results(out, judgement, figures, database, facts, evidence)
    show_results(out, figures, arguments.json)
    return 0


def _write_answers(arguments: argparse.Namespace, settings: NodeSettings, topics: Topics) -> int:
    """Replay without a truth and leave only what a benchmark judges."""
    import tempfile

    from crossover_models.encoders import load_encoder
    from crossover_models.evaluation.buildings.answers import write_answers
    from crossover_models.evaluation.results import RECORD
    from crossover_models.evaluation.run_record import read_record
    from crossover_models.map_database.store import MapDatabase
    from crossover_ros.offline_run import replay_bag

    use_threads(1)
    encoder = load_encoder(settings.encoder.checkpoint, settings.encoder.device)
    arguments.answers.mkdir(parents=True, exist_ok=True)
    with (
        MapDatabase.open(arguments.database, encoder.fingerprint) as database,
        tempfile.TemporaryDirectory(dir=arguments.answers) as scratch,
    ):
        record = Path(scratch) / RECORD
        replay_bag(
            arguments.bag,
            database,
            encoder,
            settings,
            record,
            topics,
            duration_s=arguments.duration,
            cloud_rate_hz=arguments.cloud_rate,
            relocalize=False,
            lidar_required=False,
        )
        announced = write_answers(arguments.answers, read_record(record))
    print(f"{announced} announced poses in {arguments.answers}")
    return 0
