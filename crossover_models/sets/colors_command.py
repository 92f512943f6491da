"""``crossover train colors``: the metric in which palettes of places are compared."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover_models.threads import use_threads
from crossover_models.training.arguments import add_training_arguments, training_settings
from crossover_models.training.settings import TrainingSettings

if TYPE_CHECKING:
    from crossover_models.sets.colors import ColorNetwork

FILE = "colors.safetensors"
DEFAULTS = TrainingSettings(epochs=50, batch=128, learning_rate=3e-3, weight_decay=0.01, validate_every=10)


def add_colors(subparsers: Any) -> None:
    """Add ``colors`` to the subcommands of ``train``."""
    parser = subparsers.add_parser("colors", help="how colors of places are compared (part of profile edge)")
    parser.add_argument("--features", type=Path, required=True, metavar="DIR", help="of `crossover data features`")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=f"state, log and {FILE}")
    add_training_arguments(parser, DEFAULTS)
    parser.set_defaults(run=run, resumes=True)


def run(arguments: argparse.Namespace) -> int:
    """Train or go on training, and write the network."""
    import torch

    from crossover_models.encoders.checkpoint import save_tensors
    from crossover_models.sets.color_stage import ColorStage
    from crossover_models.training.distributed import is_first
    from crossover_models.training.feature_set import FeatureSet
    from crossover_models.training.loop import run_stage
    from crossover_models.training.progress import stage_bar

    use_threads(1)
    settings = training_settings(arguments, DEFAULTS)
    train, val = (FeatureSet.open(arguments.features, split) for split in ("train", "val"))
    torch.manual_seed(settings.seed)
    stage = ColorStage(train.scans, val.scans)
    before = stage.validate()
    key = hashlib.sha256(json.dumps([scan.scan_id for scan in train]).encode()).hexdigest()
    with stage_bar(stage.name) as report:
        trained = run_stage(stage, settings, arguments.out, key, report)
    if not is_first():
        return 0
    stage.own.load_state_dict(trained.best_state)
    about = {"kind": "colors", "training": {**settings.to_mapping(), "scans": len(train), "log": trained.state.log}}
    after = stage.validate()
    about |= {"figures": {"val": after, "val_before_training": before}}
    save_tensors(arguments.out / FILE, stage.own.network.state_dict(), about)
    print(
        f"wrote {arguments.out / FILE}: mean reciprocal rank on validation {before['score']:.3f} as the palettes are, "
        f"{after['score']:.3f} now"
    )
    return 0


def load_colors(path: Path) -> ColorNetwork:
    """The frozen network of a file that ``crossover train colors`` wrote.

    Raises:
        EncoderError: no such file, or a tensor is missing, unexpected or of another shape; the first is named.
    """
    from crossover_models.encoders.checkpoint import load_strictly, read_tensors
    from crossover_models.sets.colors import ColorNetwork

    network = ColorNetwork()
    load_strictly(network, read_tensors(path), str(path))
    return network.eval().requires_grad_(False)
