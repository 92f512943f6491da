"""``crossover train baseline|instance|scene|unified``: the published design, stage by stage, on cached features."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from crossover_models.threads import use_threads
from crossover_models.training.arguments import add_training_arguments, training_settings
from crossover_models.training.settings import TrainingSettings

STAGES = {
    "baseline": ("stage 0: a projection head a modality, for objects", TrainingSettings(epochs=150, batch=64)),
    "instance": ("stage 1: objects aware of each other", TrainingSettings(epochs=300, batch=16)),
    "scene": ("stage 2: fusion of a scene's objects; --from of stage 1", TrainingSettings(epochs=100, batch=16)),
    "unified": (
        "stage 3: encoders of raw data against the fused scene; --from of stage 1 or 2",
        TrainingSettings(epochs=300, batch=16),
    ),
}


def add_stages(subparsers: Any) -> None:
    """Add the four to the subcommands of ``train``."""
    for name, (told, defaults) in STAGES.items():
        parser = subparsers.add_parser(name, help=f"the published design, {told}")
        parser.add_argument("--features", type=Path, required=True, metavar="DIR", help="of `crossover data features`")
        parser.add_argument("--shapes", type=Path, required=True, metavar="FILE", help="of `crossover train shapes`")
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="state, log and checkpoint")
        parser.add_argument("--profile", default="small", help="sizes of the encoders (default: small)")
        parser.add_argument("--scans", type=int, default=None, metavar="N", help="first N training scans only")
        if name in ("scene", "unified"):
            parser.add_argument("--from", dest="start", type=Path, required=True, metavar="FILE", help="stage before")
        if name == "unified":
            parser.add_argument("--all-pairs", action="store_true", help="contrast every pair of raw data as well")
            parser.add_argument("--no-scene-level", dest="scene_level", action="store_false", help="images are anchor")
            parser.add_argument("--no-floor-plan", dest="floor_plan", action="store_false", help="without floor plans")
        parser.add_argument(
            "--legacy", action="store_true", help="absent items are negatives, the temperature is fixed, as published"
        )
        add_training_arguments(parser, defaults)
        parser.set_defaults(run=run, stage=name, resumes=True)


def run(arguments: argparse.Namespace) -> int:
    """Train or go on training one stage, and write its checkpoint."""
    import torch

    from crossover_models.encoders.shapes import load_shapes
    from crossover_models.training.feature_set import FeatureSet
    from crossover_models.training.loop import run_stage
    from crossover_models.training.object_batch import ObjectSource
    from crossover_models.training.progress import stage_bar
    from crossover_models.training.stages.checkpoint import StageModel, new_stage_model, save_stage

    use_threads(1)
    name = arguments.stage
    optimization = training_settings(arguments, STAGES[name][1])
    train = FeatureSet.open(arguments.features, "train", arguments.scans)
    val = FeatureSet.open(arguments.features, "val")
    shapes = load_shapes(arguments.shapes)
    source = ObjectSource(shapes)
    torch.manual_seed(optimization.seed)
    model: StageModel = new_stage_model(name, arguments, train, source, shapes)
    stage = model.stage(arguments, train.scans, val.scans, source)
    with stage_bar(name) as report:
        trained = run_stage(stage, optimization, arguments.out, _key(arguments, train), report)
    stage.module.load_state_dict(trained.best_state)
    about = {
        "seed": optimization.seed,
        "scans": {"train": len(train), "val": len(val)},
        "training": {
            **optimization.to_mapping(),
            "steps": trained.state.step,
            "best_step": trained.state.best_step,
            "log": trained.state.log,
        },
    }
    path = arguments.out / f"{name}.safetensors"
    save_stage(path, model, about)
    print(f"wrote {path} and its .json: score on validation {trained.state.best_score:.3f}")
    return 0


def _key(arguments: argparse.Namespace, train: Any) -> str:
    files = [arguments.shapes, *([arguments.start] if getattr(arguments, "start", None) else [])]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    options = [getattr(arguments, n, None) for n in ("profile", "all_pairs", "scene_level", "floor_plan", "legacy")]
    parts = [arguments.stage, hashes, options, [scan.scan_id for scan in train]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
