"""``crossover evaluate``: a bag through the core without ROS, faster than real time, with a report."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from crossover_models.config import ConfigError, Settings
from crossover_ros.settings import EncoderNodeSettings, LocalizerNodeSettings

if TYPE_CHECKING:
    from crossover_models.map_database.store import MapDatabase
    from crossover_ros.bag_reading import Topics
    from crossover_ros.encoder_source import Encoder
    from crossover_ros.replay import ReplayCounts

DEFAULT_OUT = Path("build/evaluation")


@dataclass(frozen=True)
class NodeSettings:
    """Settings of the two nodes, as in config/localize.yaml."""

    encoder: EncoderNodeSettings
    localizer: LocalizerNodeSettings


def add_command(subparsers: Any) -> None:
    """Add ``evaluate`` to the command line."""
    parser = subparsers.add_parser(
        "evaluate",
        help="replay a bag through the core, without ROS, and report how well it was localized",
        description="Replay a rosbag2 (MCAP, SQLite) or a ROS 1 bag through the same conversions and stages as the "
        "nodes, and write a record of the run, the trajectory and, with a ground truth, a report.",
    )
    parser.add_argument("bag", type=Path, help="bag, or a directory written by 'crossover simulate'")
    parser.add_argument("--database", type=Path, required=True, help="map database of 'crossover map build'")
    parser.add_argument("--ground-truth", type=Path, help="true trajectory (TUM); default: the simulation's, if any")
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
    for kind in ("image", "points", "scan", "odom"):
        parser.add_argument(f"--{kind}", default="", metavar="TOPIC", help=f"topic of the {kind}; default: by type")
    parser.set_defaults(run=run)


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover evaluate``."""
    import torch

    from crossover_models.encoders import load_encoder
    from crossover_models.evaluation.ground_truth import read_truth, truth_beside
    from crossover_models.evaluation.judgement import judge
    from crossover_models.evaluation.metrics import metrics, mirror_twins
    from crossover_models.evaluation.results import ESTIMATED, RECORD, show_results, write_estimated, write_results
    from crossover_models.evaluation.run_record import read_record
    from crossover_models.map_database.store import MapDatabase
    from crossover_ros.bag_reading import Topics

    began = time.monotonic()
    torch.set_num_threads(1)
    settings = node_settings(arguments.params, arguments.set)
    encoder = load_encoder(settings.encoder.checkpoint, settings.encoder.device)
    if arguments.answers is not None:
        return _write_answers(arguments, settings, encoder)
    out: Path = arguments.out
    with MapDatabase.open(arguments.database, encoder.fingerprint) as database:
        simulated = truth_beside(arguments.bag)
        truth_path = arguments.ground_truth or simulated
        levels = [level.key for level in database.levels()]
        truth = read_truth(truth_path, levels, arguments.level) if truth_path is not None else None
        out.mkdir(parents=True, exist_ok=True)
        counts = replay_bag(
            arguments.bag,
            database,
            encoder,
            settings,
            out / RECORD,
            Topics(arguments.image, arguments.points, arguments.scan, arguments.odom),
            duration_s=arguments.duration,
            cloud_rate_hz=arguments.cloud_rate,
            simulated=simulated is not None,
            began=began,
        )
        record = read_record(out / RECORD)
        if truth is None:
            fixes = write_estimated(out / ESTIMATED, record)
            print(f"no ground truth; {fixes} announced poses in {out / ESTIMATED}, all else in {out / RECORD}")
            return 0
        places = database.places()
        twins = mirror_twins(places, *arguments.twins) if arguments.twins else None
        judgement = judge(record, truth, places)
        figures = metrics(judgement, twins)
        figures["messages"] = dict(sorted(counts.taken.items()))
        figures["dropped"] = dict(sorted(counts.dropped.items()))
        facts = (
            ("Bag", str(arguments.bag)),
            ("Map", str(arguments.database)),
            ("Latency", "computation only: a replay waits for nothing"),
        )
        write_results(out, judgement, figures, database, facts)
    show_results(out, figures, arguments.json)
    return 0


def _write_answers(arguments: argparse.Namespace, settings: NodeSettings, encoder: Encoder) -> int:
    """Replay without a truth and leave only what a benchmark judges."""
    import tempfile

    from crossover_models.evaluation.buildings.answers import write_answers
    from crossover_models.evaluation.results import RECORD
    from crossover_models.evaluation.run_record import read_record
    from crossover_models.map_database.store import MapDatabase
    from crossover_ros.bag_reading import Topics

    arguments.answers.mkdir(parents=True, exist_ok=True)
    topics = Topics(arguments.image, arguments.points, arguments.scan, arguments.odom)
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


def replay_bag(
    bag_path: Path,
    database: MapDatabase,
    encoder: Encoder,
    settings: NodeSettings,
    record: Path,
    topics: Topics | None = None,
    *,
    duration_s: float | None = None,
    cloud_rate_hz: float = 2.5,
    simulated: bool = False,
    began: float | None = None,
    relocalize: bool = True,
    lidar_required: bool = True,
) -> ReplayCounts:
    """Replay a bag into a record and return the counts of messages.

    Args:
        bag_path: the bag.
        database: of the same encoder.
        encoder: the unified encoders.
        settings: of both nodes.
        record: file to write.
        topics: overrides of the topics guessed by type.
        duration_s: replay only so much of the bag's time.
        cloud_rate_hz: local clouds encoded a second of the bag's time at most.
        simulated: the sensor data come from a simulation.
        began: ``time.monotonic()`` from which wall time counts; None for now.
        relocalize: ask ``relocalize`` once, in the middle.
        lidar_required: refuse a bag without lidar.

    Raises:
        BagError: as :class:`crossover_ros.bag_reading.Bag`.
        LocalizerError: the settings name a building or level that is not in the database.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from crossover_models.evaluation.run_record import RunInfo, RunWriter
    from crossover_models.localizer import Localizer
    from crossover_models.perception import Perception
    from crossover_ros.bag_reading import Bag
    from crossover_ros.replay import Replay

    began = time.monotonic() if began is None else began
    with Bag(bag_path, topics, lidar_required=lidar_required) as bag:
        localizer = Localizer(database, settings.localizer, encoder.encode_text)
        end_ns = bag.finished_ns
        if duration_s is not None:
            end_ns = min(end_ns, bag.started_ns + round(duration_s * 1e9))
        info = RunInfo(
            bag_path.name,
            "replay",
            simulated,
            database.fingerprint,
            encoder.fingerprint,
            bag.started_ns,
            end_ns,
        )
        span_s = (end_ns - bag.started_ns) * 1e-9
        columns = (TextColumn("replay"), BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f} s"))
        with RunWriter(record, info) as writer, Progress(*columns, TimeElapsedColumn(), transient=True) as bar:
            task = bar.add_task("replay", total=span_s)
            replay = Replay(Perception(encoder, settings.encoder), localizer, settings.encoder, writer, cloud_rate_hz)
            replay.run(bag, duration_s, span_s / 2 if relocalize else None, lambda s: bar.update(task, completed=s))
            writer.end(time.monotonic() - began)
        return replay.counts


def node_settings(path: Path | None, changes: Sequence[str] = ()) -> NodeSettings:
    """Settings of both nodes from a parameter file and ``NODE.NAME=VALUE`` changes.

    Raises:
        ConfigError: not such a file, an unknown node, setting or value.
        OSError: the file cannot be read.
    """
    values: dict[str, Mapping[str, Any]] = {}
    if path is not None:
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
        if not isinstance(loaded, Mapping):
            raise ConfigError(f"{path}: expected nodes with ros__parameters, got {type(loaded).__name__}")
        for node, group in loaded.items():
            if not isinstance(group, Mapping) or not isinstance(group.get("ros__parameters"), Mapping):
                raise ConfigError(f"{path}: {node}: expected a group ros__parameters")
            values[str(node)] = group["ros__parameters"]
    built: dict[str, Settings] = {"encoder": EncoderNodeSettings(), "localizer": LocalizerNodeSettings()}
    for node, group in values.items():
        if node not in built:
            raise ConfigError(f"{path}: {node}: unknown node; known: {', '.join(built)}")
        built[node] = type(built[node]).from_mapping({k: v for k, v in group.items() if k != "use_sim_time"})
    for change in changes:
        name, equals, text = change.partition("=")
        node, _, key = name.partition(".")
        if not equals or node not in built or not key:
            raise ConfigError(f"--set {change}: expected encoder.NAME=VALUE or localizer.NAME=VALUE")
        built[node] = built[node].with_flat({key: yaml.safe_load(text)})
    encoder, localizer = built["encoder"], built["localizer"]
    assert isinstance(encoder, EncoderNodeSettings)
    assert isinstance(localizer, LocalizerNodeSettings)
    return NodeSettings(encoder, localizer)
