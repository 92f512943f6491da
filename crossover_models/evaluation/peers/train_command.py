"""``crossover train ulip|pointbind|living-scenes``: the peers that learn, on the same features as ours."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from crossover_models.threads import use_threads
from crossover_models.training.settings import TrainingSettings

ALIGNMENT = TrainingSettings(epochs=40, batch=256, learning_rate=1e-3, weight_decay=0.05, validate_every=2, patience=8)
LIVING_SCENES = TrainingSettings(epochs=30, batch=16, learning_rate=1e-3, weight_decay=0.05, validate_every=3)
_TOLD = {
    "ulip": ("ULIP-2 (small, ours): objects' points aligned with their pictures and words", ALIGNMENT),
    "pointbind": ("PointBind (small, ours): objects' points bound to their pictures", ALIGNMENT),
    "living-scenes": ("LivingScenes (small, ours): objects found again in a later scan by shape", LIVING_SCENES),
}


def add_peers(subparsers: Any) -> None:
    """Add the peers to the subcommands of ``train``."""
    from crossover_models.training.arguments import add_training_arguments

    for name, (told, defaults) in _TOLD.items():
        parser = subparsers.add_parser(name, help=told, description=f"{told}. Repeat to go on.")
        parser.add_argument("--features", type=Path, required=True, metavar="DIR", help="of `crossover data features`")
        parser.add_argument("--shapes", type=Path, required=True, metavar="FILE", help="of `crossover train shapes`")
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="state, log and checkpoint")
        parser.add_argument("--scans", type=int, default=None, metavar="N", help="first N training scans only")
        add_training_arguments(parser, defaults)
        parser.set_defaults(run=run, resumes=True, peer=name)


def run(arguments: argparse.Namespace) -> int:
    """Train or go on training, and write the checkpoint."""
    import torch

    from crossover_models.encoders.shapes import load_shapes
    from crossover_models.evaluation.peers.aligned_file import save_peer
    from crossover_models.evaluation.peers.alignment import AlignmentStage
    from crossover_models.evaluation.peers.living_scenes import KIND, WIDTHS, LivingScenesStage
    from crossover_models.evaluation.peers.pointbind import POINTBIND
    from crossover_models.evaluation.peers.ulip import ULIP2
    from crossover_models.training.arguments import training_settings
    from crossover_models.training.distributed import is_first
    from crossover_models.training.feature_set import FeatureSet
    from crossover_models.training.loop import run_stage
    from crossover_models.training.object_batch import ObjectSource
    from crossover_models.training.progress import stage_bar

    use_threads(1)
    settings = training_settings(arguments, _TOLD[arguments.peer][1])
    train = FeatureSet.open(arguments.features, "train", arguments.scans)
    val = FeatureSet.open(arguments.features, "val")
    shapes = load_shapes(arguments.shapes)
    torch.manual_seed(settings.seed)
    stage: AlignmentStage | LivingScenesStage
    if arguments.peer == "living-scenes":
        stage = LivingScenesStage(train.scans, val.scans, shapes, settings.seed)
        kind, widths = KIND, dict(WIDTHS)
    else:
        recipe = ULIP2 if arguments.peer == "ulip" else POINTBIND
        source = ObjectSource(shapes)
        stage = AlignmentStage(recipe, train.scans, val.scans, source)
        kind, widths = recipe.kind, source.widths(train.scans[0])
    digest = hashlib.sha256(arguments.shapes.read_bytes())
    digest.update(json.dumps([kind, [scan.scan_id for scan in train], [scan.scan_id for scan in val]]).encode())
    for scan in train:
        for array in (scan.object_views, scan.referrals, scan.points, scan.instance, scan.cad_points):
            digest.update(array.tobytes())
    with stage_bar(stage.name) as report:
        trained = run_stage(stage, settings, arguments.out, digest.hexdigest(), report)
    if not is_first():
        return 0
    stage.network.load_state_dict(trained.best_state)
    path = arguments.out / f"{arguments.peer}.safetensors"
    about = {
        "seed": settings.seed,
        "scans": {"train": len(train), "val": len(val)},
        "training": {**settings.to_mapping(), "steps": trained.state.step, "best_step": trained.state.best_step},
        "log": trained.state.log,
    }
    save_peer(path, kind, stage.network, shapes, widths, about)
    best = next(entry for entry in trained.state.log if entry["step"] == trained.state.best_step)
    told = ", ".join(f"{name[:-3]} {100 * value:.1f}" for name, value in best.items() if name.endswith("_r1"))
    print(f"wrote {path} and its .json; R@1 on validation (%): {told}; step {trained.state.best_step}")
    return 0
