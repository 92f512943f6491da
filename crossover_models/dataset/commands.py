"""``crossover data``: make, check and describe data sets."""

from __future__ import annotations

import argparse
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

# Each adds commands of its own; all import in milliseconds.
_MORE = (
    "crossover_models.dataset.prepare_command",
    "crossover_models.dataset.features_command",
    "crossover_models.dataset.card_commands",
)
_FLAGS = ("rooms", "seed", "library", "rescans", "missing", "views", "clutter", "procthor_share")


def add_command(subparsers: Any) -> None:
    """Add ``data``."""
    parser = subparsers.add_parser("data", help="data sets to train on and to be measured on")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    making = actions.add_parser(
        "make",
        help="make a simulated data set",
        description="Make simulated rooms with every modality. Stopped at any time, the same command goes on; the "
        "same seed gives the same bytes.",
    )
    making.add_argument("--out", type=Path, required=True, help="folder of the data set")
    making.add_argument("--rooms", type=int, help="rooms over all splits (default: 100)")
    making.add_argument("--seed", type=int, help="seed of everything drawn (default: 0)")
    making.add_argument("--procthor", type=Path, help="folder with train.jsonl.gz, val.jsonl.gz, asset-database.json")
    making.add_argument("--procthor-share", type=float, help="share of rooms laid out by ProcTHOR, where given")
    making.add_argument("--library", choices=("auto", "sweet-home", "parametric"), help="furniture (default: auto)")
    making.add_argument("--rescans", type=float, help="share of rooms scanned again after things moved")
    making.add_argument("--missing", type=float, help="rate at which each modality is withheld")
    making.add_argument("--views", type=int, help="pictures of a room")
    making.add_argument("--clutter", type=float, help="share of surfaces with small things on them")
    making.add_argument("--settings", type=Path, help="YAML file with more settings")
    making.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    making.set_defaults(run=run_make, resumes=True)
    digest = actions.add_parser("digest", help="check every scene and print a hash over all of them")
    digest.add_argument("folder", type=Path)
    digest.set_defaults(run=run_digest)
    info = actions.add_parser("info", help="what a data set holds and what it weighs")
    info.add_argument("folder", type=Path)
    info.set_defaults(run=run_info)
    for name in _MORE:
        import_module(name).add_commands(actions)


def run_make(arguments: argparse.Namespace) -> int:
    """Make a data set and print what it holds."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from crossover_models.dataset.make import make_data_set
    from crossover_models.dataset.settings import MakeSettings

    if arguments.workers < 1:
        raise ValueError(f"--workers: need at least 1, got {arguments.workers}")
    if arguments.procthor is None and arguments.procthor_share is not None:
        raise ValueError("--procthor-share: needs --procthor FOLDER to take rooms from")
    base = MakeSettings() if arguments.settings is None else MakeSettings.from_yaml(arguments.settings)
    given = {name: getattr(arguments, name) for name in _FLAGS if getattr(arguments, name) is not None}
    settings = base.with_flat(given)
    columns = (
        TextColumn("rooms"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}  {task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    bar = Progress(*columns, console=console)
    task = bar.add_task("rooms", total=settings.rooms, rate="")
    start: list[int] = []

    def report(done: int, total: int) -> None:
        # Shown only once there is progress, so that a refused set says nothing but why.
        bar.start()
        start.append(done)
        elapsed = bar.tasks[task].elapsed or 0.0
        rate = f"{60.0 * (done - start[0]) / elapsed:.1f} rooms/min" if elapsed > 1.0 and done > start[0] else ""
        bar.update(task, completed=done, total=total, rate=rate)

    try:
        make_data_set(
            arguments.out,
            settings,
            shlex.join(["crossover", *sys.argv[1:]]),
            procthor=arguments.procthor,
            workers=arguments.workers,
            progress=report,
        )
    finally:
        if bar.live.is_started:
            bar.stop()
    arguments.folder = arguments.out
    return run_info(arguments)


def run_digest(arguments: argparse.Namespace) -> int:
    """Print the digest."""
    from crossover_models.dataset.store import DataSet

    print(DataSet.open(arguments.folder).digest())
    return 0


def run_info(arguments: argparse.Namespace) -> int:
    """Print the tables."""
    from crossover_models.dataset.info import show_info
    from crossover_models.dataset.store import DataSet

    show_info(DataSet.open(arguments.folder))
    return 0
