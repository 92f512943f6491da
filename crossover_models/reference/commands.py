"""``crossover weights``: fetch models from the hub, turn official checkpoints into ours."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_command(subparsers: Any) -> None:
    """Add ``weights``."""
    parser = subparsers.add_parser("weights", help="fetch and import published weights")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="models that can be fetched, and which are here")
    listing.set_defaults(run=run_list)
    fetching = actions.add_parser(
        "fetch",
        help="download a model from the hub",
        description="Download a model from the Hugging Face hub into $CROSSOVER_WEIGHTS (or the user's cache). What "
        "is there already is not downloaded again.",
    )
    fetching.add_argument("name", help="as 'crossover weights list' prints them")
    fetching.set_defaults(run=run_fetch)
    importing = actions.add_parser(
        "import",
        help="check an official checkpoint and write it as ours",
        description="Recognize an official CrossOver checkpoint (instance baseline, instance or scene CrossOver) or "
        "I2P-MAE's weights by their tensors, load them strictly and write safetensors. A scene checkpoint also gives "
        "unified/reference.safetensors, which the nodes and 'crossover map build --checkpoint' open.",
    )
    importing.add_argument("source", type=Path, help="folder with model.safetensors, or a .safetensors or .pth file")
    importing.add_argument("--out", type=Path, required=True, help="folder to write")
    importing.set_defaults(run=run_import)


def run_list(_arguments: argparse.Namespace) -> int:
    """Print what can be fetched."""
    from rich.console import Console
    from rich.table import Table

    from crossover_models.encoders.hub import MODELS
    from crossover_models.encoders.weights_folder import weights_folder

    table = Table(title=f"Weights in {weights_folder()}")
    for column in ("name", "from", "what", "here"):
        table.add_column(column)
    for name, model in MODELS.items():
        here = (weights_folder() / name).is_dir()
        table.add_row(name, model.repository, model.purpose, "yes" if here else "no")
    Console().print(table)
    return 0


def run_fetch(arguments: argparse.Namespace) -> int:
    """Download one model."""
    from crossover_models.encoders.hub import fetch

    print(f"{arguments.name} is in {fetch(arguments.name)}")
    return 0


def run_import(arguments: argparse.Namespace) -> int:
    """Import one checkpoint."""
    from crossover_models.reference.importing import import_official

    kind, written = import_official(arguments.source, arguments.out)
    print(f"{arguments.source}: {kind}; wrote {', '.join(str(path) for path in written)}")
    return 0
