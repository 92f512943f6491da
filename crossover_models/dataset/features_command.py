"""``crossover data features``: compact caches of frozen features."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from crossover_models.threads import use_threads


def add_commands(subparsers: Any) -> None:
    """Add ``features`` to the argparse subparsers object of ``crossover data``."""
    parser = subparsers.add_parser(
        "features",
        help="compact caches of frozen features",
        description="Encode every scan of a data set with a profile's frozen front ends and keep features, thinned "
        "points and objects in one small file a scan. Repeat the command to go on; damaged files are named and made "
        "again.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="data set directory")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the features")
    parser.add_argument("--profile", default="small", metavar="NAME", help="small, base or reference (default: small)")
    parser.add_argument("--workers", type=int, default=1, metavar="W", help="processes (default: 1)")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="torch device of the front ends (default: cpu)")
    parser.add_argument("--spacing", type=float, metavar="M", help="grid on which clouds are thinned, m")
    parser.add_argument("--crops", type=int, metavar="N", help="pictures of an object, 0 for none")
    parser.add_argument("--cad-points", type=int, metavar="N", help="points on a CAD model")
    parser.add_argument("--precision", metavar="NAME", help="of the 2D front end: float32 (default) or bfloat16")
    parser.add_argument("--referrals", type=int, metavar="N", help="sentences about single objects, at most")
    parser.add_argument(
        "--recognizer", type=Path, metavar="FILE", help="checkpoint that recognizes objects in pictures (.safetensors)"
    )
    parser.set_defaults(run=run, resumes=True)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover data features``."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from crossover_models.dataset.extract import FeatureSettings
    from crossover_models.dataset.features_make import REFERENCE_MB, FeaturesJob, ScanFeatures, make_features

    use_threads(1)
    names = {"spacing_m": arguments.spacing} | {
        n: getattr(arguments, n) for n in ("crops", "cad_points", "referrals", "precision")
    }
    assert set(names) == {f.name for f in fields(FeatureSettings)}
    settings = FeatureSettings().with_flat({name: value for name, value in names.items() if value is not None})
    job = FeaturesJob(
        arguments.folder,
        arguments.out,
        arguments.profile,
        settings,
        arguments.workers,
        arguments.device,
        arguments.recognizer,
    )
    console = Console(stderr=True, markup=False, highlight=False)
    columns = (
        TextColumn("features {task.fields[scan]}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("scans"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=console)
    task = progress.add_task("", total=None, scan="")

    def tell(outcome: ScanFeatures, done: int, count: int) -> None:
        # Shown only once there is progress, so that a refused job says nothing but why.
        progress.start()
        if outcome.remade:
            progress.console.print(f"{outcome.scan_id}: made again: {outcome.remade}", soft_wrap=True)
        progress.update(task, completed=done, total=count, scan=outcome.scan_id)

    try:
        report = make_features(job, tell)
    finally:
        if progress.live.is_started:
            progress.stop()
    print(
        f"{arguments.out}: {report.made + report.kept} scans ({report.made} made now, {report.kept} already there), "
        f"{report.mb_a_scan:.3f} MB a scan (largest {report.largest_mb:.3f}); CrossOver's own preparation keeps "
        f"{REFERENCE_MB:g} MB a scan, {REFERENCE_MB / report.mb_a_scan:.0f} times as much"
    )
    return 0
