"""``crossover train shapes``: the frozen encoder of objects' points, trained on CAD models and clouds."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from crossover_models.threads import use_threads

FILE = "shapes.safetensors"


def add_shapes(subparsers: Any) -> None:
    """Add ``shapes`` to the subcommands of ``train``."""
    from crossover_models.training.arguments import add_training_arguments

    parser = subparsers.add_parser(
        "shapes",
        help="shapes of objects, from features with CAD models or instance points",
        description="Train the encoder of objects' points on the training split of a feature cache, select it on the "
        "validation split, and measure it on both and on the test split where there is one. Repeat to go on.",
    )
    parser.add_argument("--features", type=Path, required=True, metavar="DIR", help="from `crossover data features`")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=f"state, log and {FILE}")
    add_training_arguments(parser, _defaults())
    parser.set_defaults(run=run, resumes=True)


def _defaults() -> Any:
    from crossover_models.training.settings import TrainingSettings

    return TrainingSettings(epochs=14, batch=64, learning_rate=2e-3, weight_decay=0.05, validate_every=2)


def run(arguments: argparse.Namespace) -> int:
    """Train or go on training, measure what is written, and write it."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from crossover_models.dataset.features_make import FOLDER
    from crossover_models.encoders.shapes import rounded, save_shapes
    from crossover_models.training.arguments import training_settings
    from crossover_models.training.distributed import is_first
    from crossover_models.training.feature_set import FeatureSet
    from crossover_models.training.loop import run_stage
    from crossover_models.training.progress import stage_bar
    from crossover_models.training.shapes import ShapeStage, known_categories, shape_figures, shape_set

    use_threads(1)
    settings = training_settings(arguments, _defaults())
    scans = FeatureSet.open(arguments.features, "train")
    categories = known_categories(scans)
    train = shape_set(scans, categories)
    sets = {"val": shape_set(FeatureSet.open(arguments.features, "val"), categories, train.fingerprints)}
    torch.manual_seed(settings.seed)
    stage = ShapeStage(train, sets["val"], len(categories))
    digest = hashlib.sha256(json.dumps(categories).encode())
    for array in (train.points, train.cad, train.cloud, train.labels):
        digest.update(array.tobytes())
    with stage_bar(stage.name) as report:
        trained = run_stage(stage, settings, arguments.out, digest.hexdigest(), report)
    if not is_first():
        return 0
    network = stage.network
    network.load_state_dict(rounded(trained.best_state))
    if (arguments.features / FOLDER / "test").is_dir():
        sets["test"] = shape_set(FeatureSet.open(arguments.features, "test"), categories, train.fingerprints)
    else:
        Console().print("no test split: figures are of the validation split, on which the weights were selected")
    figures = {split: shape_figures(network, data) for split, data in sets.items()}
    about = {
        "what": "encoder of objects' shapes",
        "categories": categories,
        "training": {**settings.to_mapping(), "objects": len(train), "models": len(train.fingerprints)},
        "figures": figures,
        "log": trained.state.log,
    }
    save_shapes(arguments.out / FILE, network.encoder, about)
    table = Table(title="Shapes of unseen models (share of them, %)")
    for column in ("split", "models", "category of a model", "clouds", "category of a cloud", "its model", "by chance"):
        table.add_column(column, justify="right")
    for split, its in figures.items():
        shares = [
            f"{100 * its[n]:.1f}" if n in its else "" for n in ("cad_top1", "cloud_top1", "match_r1", "match_chance")
        ]
        table.add_row(split, f"{its['models']:.0f}", shares[0], f"{its['clouds']:.0f}", *shares[1:])
    Console().print(table)
    print(f"wrote {arguments.out / FILE}")
    return 0
