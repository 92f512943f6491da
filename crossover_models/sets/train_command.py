"""``crossover train sets``: our design on cached features, from random weights to a checkpoint."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from crossover_models.threads import use_threads
from crossover_models.training.arguments import add_training_arguments, training_settings
from crossover_models.training.settings import TrainingSettings

DEFAULTS = TrainingSettings(
    epochs=16, batch=48, learning_rate=1.5e-3, weight_decay=0.05, validate_every=4, save_every=20
)
_SWITCHES = ("objects", "layout", "tokens", "appearance")


def add_sets(subparsers: Any) -> None:
    """Add ``sets`` to the subcommands of ``train``."""
    parser = subparsers.add_parser("sets", help="our design: explicit objects, layouts and colors (profile edge)")
    parser.add_argument("--features", type=Path, required=True, metavar="DIR", help="of `crossover data features`")
    parser.add_argument("--recognizer", type=Path, required=True, metavar="FILE", help="the one of the features")
    parser.add_argument("--shapes", type=Path, required=True, metavar="FILE", help="of `crossover train shapes`")
    parser.add_argument(
        "--colors", type=Path, metavar="FILE", help="of `crossover train colors`; without, palettes compare as they are"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="state, log and checkpoint")
    parser.add_argument("--name", default="edge", help="of the checkpoint's files (default: edge)")
    parser.add_argument(
        "--withhold", nargs="*", default=[], metavar="A-B", help="pairs of I, P, M, F, R that are never contrasted"
    )
    parser.add_argument("--unmasked", action="store_true", help="let absent items be negatives, as the reference does")
    for name in _SWITCHES:
        parser.add_argument(f"--no-{name}", dest=name, action="store_false", help=f"without {name} (ablation)")
    parser.add_argument("--scans", type=int, default=None, metavar="N", help="first N training scans only")
    parser.add_argument(
        "--heads-from", type=Path, metavar="FILE", help="go on from a checkpoint; clouds' and rasters' networks stay"
    )
    add_training_arguments(parser, DEFAULTS)
    parser.set_defaults(run=run, resumes=True)


def withheld_pairs(texts: list[str]) -> frozenset[frozenset[str]]:
    """``["R-F"]`` -> {{"R", "F"}}.

    Raises:
        ValueError: not two of I, P, M, F, R.
    """
    out = set()
    for text in texts:
        pair = frozenset(text.split("-"))
        if len(pair) != 2 or not pair <= set("IPMFR"):
            raise ValueError(f"--withhold: expected two of I, P, M, F, R as in R-F, got {text!r}")
        out.add(pair)
    return frozenset(out)


def run(arguments: argparse.Namespace) -> int:
    """Train or go on training, and write the checkpoint."""
    withheld = withheld_pairs(arguments.withhold)
    import torch

    from crossover_models.encoders.checkpoint import load_strictly
    from crossover_models.encoders.front_ends import FeatureSizes
    from crossover_models.encoders.shapes import load_shapes
    from crossover_models.sets.attributes import common_attributes
    from crossover_models.sets.batches import Sources
    from crossover_models.sets.checkpoint import load_model, new_model
    from crossover_models.sets.colors_command import load_colors
    from crossover_models.sets.heads import HeadsStage
    from crossover_models.sets.method import cad_shapes
    from crossover_models.sets.recognition import open_recognizer
    from crossover_models.sets.settings import SetsSettings
    from crossover_models.sets.stage import SetsModule, SetsStage, fit_inputs
    from crossover_models.training.feature_set import FeatureSet
    from crossover_models.training.loop import run_stage
    from crossover_models.training.progress import stage_bar

    use_threads(1)
    settings = SetsSettings().with_flat({name: getattr(arguments, name) for name in _SWITCHES})
    optimization = training_settings(arguments, DEFAULTS)
    train = FeatureSet.open(arguments.features, "train", arguments.scans)
    val = FeatureSet.open(arguments.features, "val")
    recognizer = open_recognizer(arguments.recognizer)
    first = train.scans[0]
    seen = max(scan.view_objects.shape[1] for scan in train)
    if seen != 2 * len(recognizer.categories):
        raise ValueError(
            f"--recognizer: has {len(recognizer.categories)} categories, but the features' view_objects are {seen} wide"
        )
    shapes = load_shapes(arguments.shapes)
    attributes = common_attributes(train.scans, recognizer.categories)
    sizes = FeatureSizes(first.views.shape[1], first.plans.shape[1], first.texts.shape[1])
    torch.manual_seed(optimization.seed)
    model = new_model(settings, sizes, recognizer.categories, attributes, recognizer.network, shapes)
    sources = Sources(settings, recognizer.categories, cad_shapes([*train, *val], shapes))
    fit_inputs(model.network, train.scans, sources)
    kind: type[SetsStage] = SetsStage
    if arguments.heads_from is not None:
        kind, begun = HeadsStage, load_model(arguments.heads_from)[0]
        for part in ("network", "scores"):
            load_strictly(getattr(model, part), getattr(begun, part).state_dict(), str(arguments.heads_from))
    if arguments.colors is not None:
        load_strictly(model.network.colors, load_colors(arguments.colors).state_dict(), str(arguments.colors))
    module = SetsModule(model.network, model.scores)
    stage = kind(module, train.scans, val.scans, sources, attributes, withheld, arguments.unmasked)
    key = _key(settings, recognizer.sha256, attributes.to_json(), [scan.scan_id for scan in train], arguments)
    with stage_bar(stage.name) as report:
        trained = run_stage(stage, optimization, arguments.out, key, report)
    module.load_state_dict(trained.best_state)
    path = arguments.out / f"{arguments.name}.safetensors"
    about: dict[str, Any] = {
        "name": arguments.name,
        "seed": optimization.seed,
        "withheld": sorted(sorted(pair) for pair in withheld),
        "scans": {"train": len(train), "val": len(val)},
        "rooms": {"train": len({s.room_id for s in train}), "val": len({s.room_id for s in val})},
        "training": {
            **optimization.to_mapping(),
            "steps": trained.state.step,
            "best_step": trained.state.best_step,
            "log": trained.state.log,
        },
    }
    about["command"] = _command(arguments, optimization)
    about["calibration"] = calibrated(module, val, sources)
    finish(path, model, about, arguments.features)
    best = trained.state.best_score
    print(f"wrote {path} and its .json: mean reciprocal rank on validation {best:.3f}, step {trained.state.best_step}")
    return 0


def calibrated(module: Any, val: Any, sources: Any) -> dict[str, float]:
    """Fit what each part of a score counts on the validation scans; mean loss before and after."""
    import torch

    from crossover_models.sets.calibration import calibrate
    from crossover_models.sets.stage import all_codes

    codes, present = all_codes(module, val.scans, sources)
    names = sorted({scan.room_id for scan in val})
    return calibrate(module.scores, codes, present, torch.tensor([names.index(scan.room_id) for scan in val]))


def finish(path: Path, model: Any, about: dict[str, Any], features: Path) -> None:
    """Write a model; then measure exactly the weights that were written, and put that and their fingerprint beside."""
    from crossover_models.dataset.features_make import FOLDER
    from crossover_models.sets.checkpoint import load_model, save_model
    from crossover_models.sets.encoder import open_sets_encoder
    from crossover_models.sets.method import test_figures
    from crossover_models.training.feature_set import FeatureSet

    save_model(path, model, about)
    rounded, _ = load_model(path)
    if (features / FOLDER / "test").is_dir():
        about = {**about, "test": test_figures(rounded, FeatureSet.open(features, "test"))}
    save_model(path, rounded, {**about, "fingerprint": open_sets_encoder(path).fingerprint})


def _command(arguments: argparse.Namespace, optimization: TrainingSettings) -> str:
    words = ["crossover train sets --features DIR --recognizer FILE --shapes FILE --out DIR"]
    words += [f"--no-{name}" for name in _SWITCHES if not getattr(arguments, name)]
    words += ["--unmasked"] * arguments.unmasked
    words += ["--withhold", *arguments.withhold] if arguments.withhold else []
    words += [] if arguments.heads_from is None else ["--heads-from FILE"]
    words += [] if arguments.colors is None else ["--colors FILE"]
    words += [] if arguments.scans is None else ["--scans", str(arguments.scans)]
    changed = dict(optimization.to_mapping())
    words += [
        f"--{name.replace('_', '-')} {changed[name]}"
        for name in ("epochs", "batch", "learning_rate", "weight_decay", "seed")
    ]
    return " ".join(words)


def _key(settings: Any, recognizer: str, attributes: str, scans: list[str], arguments: Any) -> str:
    shapes = hashlib.sha256(arguments.shapes.read_bytes()).hexdigest()
    parts = [settings.to_mapping(), recognizer, shapes, attributes, scans, arguments.withhold, arguments.unmasked]
    for path in (arguments.heads_from, arguments.colors):
        if path is not None:
            parts.append(hashlib.sha256(path.read_bytes()).hexdigest())
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
