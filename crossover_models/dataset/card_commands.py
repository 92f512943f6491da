"""``crossover data card`` and ``crossover data show``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_commands(subparsers: Any) -> None:
    """Add ``card`` and ``show`` to the argparse subparsers object of ``crossover data``."""
    card = subparsers.add_parser(
        "card",
        help="write the data card: contents, trivial baselines, pictures",
        description="Write a data card in Markdown, with pictures of every modality beside it, and print what color "
        "histograms, plan correlation and object-type sets reach on every split.",
    )
    card.add_argument("folder", type=Path, help="data set")
    card.add_argument("--out", type=Path, default=Path("build/data-card.md"), help="file (build/data-card.md)")
    card.add_argument("--json", type=Path, help="write the baselines' figures here too")
    card.set_defaults(run=run_card)
    show = subparsers.add_parser("show", help="a picture of random scans, or of one scan with every modality")
    show.add_argument("folder", type=Path, help="data set")
    show.add_argument("--out", type=Path, required=True, help="picture to write")
    show.add_argument("--scan", default="", metavar="ID", help="one scan with everything it has")
    show.add_argument("--scans", type=int, default=24, help="random scans on the sheet (default: 24)")
    show.add_argument("--seed", type=int, default=0, help="which ones (default: 0)")
    show.add_argument("--split", default=None, help="of one split only")
    show.set_defaults(run=run_show)


def run_card(arguments: argparse.Namespace) -> int:
    """Write the card and print the baselines."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Table

    from crossover_models.dataset.card import write_card
    from crossover_models.dataset.store import SPLITS, DataSet

    data = DataSet.open(arguments.folder)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), transient=True) as bar:
        task = bar.add_task("reading", total=len(data.scan_ids()))
        figures = write_card(
            data, arguments.out, lambda what, k, n: bar.update(task, description=what, completed=k, total=n)
        )
    table = Table(title=f"Methods that learn nothing, R@1 [%], {data.folder}")
    table.add_column("baseline, query-gallery")
    for split in SPLITS:
        table.add_column(split, justify="right")
    for name in dict.fromkeys(name for split in SPLITS for name in figures[split]):
        cells = [figures[split].get(name) for split in SPLITS]
        table.add_row(name, *("" if c is None else f"{100 * c['r1']:.0f} of {c['n']:.0f}" for c in cells))
    table.add_row(
        "chance",
        *(f"{100 * max(v['chance'] for v in its.values()):.1f}" if (its := figures[s]) else "" for s in SPLITS),
    )
    Console().print(table)
    print(f"wrote {arguments.out}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Write a picture."""
    from crossover_models.dataset.picture import PARTS, scan_picture, sheet, write_picture
    from crossover_models.dataset.store import DataSet

    if arguments.scans < 1:
        raise ValueError(f"--scans: need at least 1, got {arguments.scans}")
    data = DataSet.open(arguments.folder)
    if arguments.scan:
        picture = scan_picture(data.load(arguments.scan, PARTS))
    else:
        picture = sheet(data, arguments.scans, arguments.seed, arguments.split)
    write_picture(arguments.out, picture)
    print(f"wrote {arguments.out} ({picture.shape[1]} x {picture.shape[0]} px)")
    return 0
