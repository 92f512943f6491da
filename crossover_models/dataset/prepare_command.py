"""``crossover data prepare``: a published data set, read in its own layout, as a data set directory."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from crossover_models.threads import use_threads


def add_commands(subparsers: Any) -> None:
    """Add ``prepare`` to the argparse subparsers object of ``crossover data``."""
    from crossover_models.dataset.readers import DATASETS

    parser = subparsers.add_parser(
        "prepare",
        help="read a published data set in its own layout",
        description="Read a published data set in its own layout and write a data set directory: repeat the command to "
        "go on with an interrupted one. Broken scans are named, skipped, listed in failed.json, and tried again when "
        "the command is repeated.",
    )
    parser.add_argument("dataset", metavar="DATASET", help=f"one of {', '.join(sorted(DATASETS))}")
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder with the published files")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory to write")
    parser.add_argument("--workers", type=int, default=1, metavar="W", help="processes (default 1)")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only N scans, spread over the set")
    parser.add_argument("--views", type=int, default=20, metavar="V", help="RGB views a scan (default 20)")
    parser.add_argument("--referrals", type=Path, metavar="FILE", help="SceneVerse's sentences: a file or a folder")
    parser.add_argument("--scan2cad", type=Path, metavar="FILE", help="scannet: Scan2CAD's full_annotations.json")
    parser.add_argument("--shapenet", type=Path, metavar="DIR", help="scannet: folder of ShapeNetCore.v2")
    parser.add_argument("--scenecad", type=Path, metavar="DIR", help="scannet: SceneCAD's folder of layouts")
    parser.add_argument(
        "--structure", action="store_true", help="walls, floors and ceilings are objects too, as in the paper's tables"
    )
    parser.set_defaults(run=run, resumes=True)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover data prepare``."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from crossover_models.dataset.prepare import FAILED, PrepareJob, ScanOutcome, prepare
    from crossover_models.dataset.readers import ReaderOptions
    from crossover_models.dataset.store import SPLITS

    use_threads(1)
    options = ReaderOptions(**{option.name: getattr(arguments, option.name) for option in fields(ReaderOptions)})
    job = PrepareJob(arguments.dataset, arguments.root, arguments.out, options, arguments.workers, arguments.limit)
    console = Console(stderr=True, markup=False, highlight=False)
    columns = (
        TextColumn("prepare {task.fields[scan]}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("scans, {task.fields[failed]} broken"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=console)
    task = progress.add_task("", total=None, scan="", failed=0)
    broken = 0

    def begun(done: int, count: int) -> None:
        progress.start()
        progress.update(task, completed=done, total=count)

    def tell(outcome: ScanOutcome, done: int, count: int) -> None:
        nonlocal broken
        if outcome.failure:
            broken += 1
            progress.console.print(f"{outcome.scan_id}: skipped: {outcome.failure}", soft_wrap=True)
        progress.update(task, completed=done, total=count, scan=outcome.scan_id, failed=broken)

    try:
        report = prepare(job, tell, begun)
    finally:
        if progress.live.is_started:
            progress.stop()
    counts = ", ".join(f"{len((report.info.scans or {})[split])} {split}" for split in SPLITS)
    print(f"{arguments.out}: {report.info.source}: {counts} ({report.done} written now, {report.kept} already there)")
    for what, count in sorted(report.left_out.items()):
        console.print(f"left out: {what}: {count}")
    if report.failed:
        console.print(f"{len(report.failed)} broken scans are listed in {arguments.out / FAILED}")
    return 0
