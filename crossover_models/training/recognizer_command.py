"""``crossover train recognizer``: the head that names objects in pictures, trained on rendered instance ids."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from crossover_models.threads import use_threads


def add_recognizer(subparsers: Any) -> None:
    """Add ``recognizer`` to the subcommands of ``train``."""
    parser = subparsers.add_parser("recognizer", help="objects in pictures, from a data set with instance ids")
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="data set with pictures")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="maps, state, log and checkpoint")
    parser.add_argument("--epochs", type=int, default=8, help="passes over the pictures (default: 8)")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run, resumes=True)


def run(arguments: argparse.Namespace) -> int:
    """Make the maps, train or go on training, and write the checkpoint."""
    import torch

    from crossover_models.dataset.store import DataSet
    from crossover_models.sets.recognition import save_recognizer
    from crossover_models.sets.recognizer import ObjectRecognizer
    from crossover_models.training.loop import run_stage
    from crossover_models.training.progress import scans_bar, stage_bar
    from crossover_models.training.recognizer import RecognizerStage, known_categories, seen_objects
    from crossover_models.training.settings import TrainingSettings

    use_threads(1)
    data = DataSet.open(arguments.dataset)
    categories = known_categories(data)
    parts = []
    for split in ("train", "val"):
        with scans_bar(f"pictures of {split}") as tell:
            parts.append(seen_objects(data, split, categories, arguments.out / "maps", tell))
    torch.manual_seed(arguments.seed)
    stage = RecognizerStage(ObjectRecognizer(len(categories)), parts[0], parts[1])
    settings = TrainingSettings(
        epochs=arguments.epochs,
        batch=32,
        learning_rate=2e-3,
        weight_decay=0.02,
        validate_every=2,
        seed=arguments.seed,
        device="cpu",
    )
    key = hashlib.sha256(json.dumps([categories, len(parts[0].mid), len(parts[1].mid)]).encode()).hexdigest()
    with stage_bar(stage.name) as report:
        trained = run_stage(stage, settings, arguments.out, key, report)
    path = arguments.out / "recognizer.safetensors"
    about = {
        "training": {**settings.to_mapping(), "pictures": len(parts[0].mid), "log": trained.state.log},
        "dataset": json.loads((arguments.dataset / "dataset.json").read_text(encoding="utf-8"))["settings"],
    }
    rounded = {n: t.half() if t.is_floating_point() and t.ndim >= 2 else t for n, t in trained.best_state.items()}
    save_recognizer(path, rounded, categories, about)
    print(f"wrote {path}: {len(categories)} categories, mean AUC by picture {trained.state.best_score:.3f}")
    return 0
