"""``crossover train``: rooms, training, test figures, checkpoint, by one command that may be killed and repeated."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

_PROFILES = ("small",)
_SETTINGS = ("epochs", "batch", "cloud_share", "validate_every")


def add_small(subparsers: Any) -> None:
    """Add ``small`` to the subcommands of ``train``."""
    parser = subparsers.add_parser("small", help="the published design without objects, on rooms made on the way")
    parser.add_argument("--out", type=Path, required=True, help="directory of rooms, state, log and checkpoint")
    parser.add_argument("--rooms", type=int, default=600, help="training rooms (default: 600)")
    parser.add_argument("--val-rooms", type=int, default=64, help="validation rooms (default: 64)")
    parser.add_argument("--test-rooms", type=int, default=100, help="test rooms (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="seed of rooms, initialization and batches (default: 0)")
    parser.add_argument("--epochs", type=int, default=None, help="passes over the rooms")
    parser.add_argument("--batch", type=int, default=None, help="rooms a step")
    parser.add_argument("--cloud-share", type=float, default=None, help="share of a step's rooms that bring clouds")
    parser.add_argument("--validate-every", type=int, default=None, help="epochs between validations")
    parser.add_argument("--start", default=None, metavar="CHECKPOINT", help="weights to begin with")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.set_defaults(run=run, profile=_PROFILES[0])


def run(arguments: argparse.Namespace) -> int:
    """Generate what is missing, train or go on training, test, and write the checkpoint."""
    for name, least in (("rooms", 2), ("val_rooms", 2), ("test_rooms", 10), ("seed", 0), ("threads", 1)):
        value = getattr(arguments, name)
        if value < least:
            raise ValueError(f"--{name.replace('_', '-')}: must be at least {least}, got {value}")
    import torch

    from crossover_models.encoders.checkpoint import load_checkpoint
    from crossover_models.encoders.front_ends import FeatureSizes, open_front_ends
    from crossover_models.encoders.profile import SMALL
    from crossover_models.evaluation.retrieval import print_figures
    from crossover_models.training.generate import RoomSource
    from crossover_models.training.progress import rooms_with_progress, training_bar
    from crossover_models.training.trainer import TrainingSettings, train

    torch.set_num_threads(arguments.threads)
    front_ends = open_front_ends(SMALL)
    sizes = FeatureSizes(front_ends[0].view_dim, front_ends[0].plan_dim, front_ends[1].dim)
    counts = {"train": arguments.rooms, "val": arguments.val_rooms, "test": arguments.test_rooms}
    sources = [RoomSource(split, rooms, arguments.seed) for split, rooms in counts.items()]
    rooms, validation, test = rooms_with_progress(sources, SMALL, front_ends, arguments.out / "rooms")
    changes = {name: getattr(arguments, name) for name in _SETTINGS if getattr(arguments, name) is not None}
    settings = TrainingSettings().with_flat({"seed": arguments.seed, **changes})
    start = None if arguments.start is None else load_checkpoint(arguments.start)
    with training_bar() as report:
        file = arguments.out / "state.safetensors"
        best, state = train(SMALL, sizes, settings, rooms, validation, file, report, start=start)
    (arguments.out / "log.json").write_text(json.dumps(state.log, indent=1) + "\n", encoding="utf-8")
    about = {
        "command": _command(arguments),
        "seed": arguments.seed,
        "rooms": counts,
        "start": None if start is None else _origin(start.description),
        "training": {
            **settings.to_mapping(),
            "steps": state.step,
            "best_step": state.best_step,
            "seconds": round(sum(entry["spent_s"] for entry in state.log), 1),
            "log": state.log,
        },
    }
    path = write_checkpoint(arguments.out / f"{SMALL.name}.safetensors", SMALL, front_ends, best, about, test)
    description = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    print_figures(description["test"])
    print(f"wrote {path} and {path.with_suffix('.json')}, fingerprint {description['fingerprint']}")
    return 0


def _origin(description: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint's description says of how it was made, without its logs and figures."""
    origin = {name: description.get(name) for name in ("fingerprint", "command", "seed", "rooms", "start")}
    settings = description.get("training", {})
    return {**origin, "training": {name: value for name, value in settings.items() if name != "log"}}


def _command(arguments: argparse.Namespace) -> str:
    words = ["crossover", "train", arguments.profile]
    for name in ("rooms", "val_rooms", "test_rooms", "seed", *_SETTINGS):
        value = getattr(arguments, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    if arguments.start is not None:
        words += ["--start", "CHECKPOINT"]
    return " ".join([*words, "--out", "DIR"])


def write_checkpoint(
    path: Path, profile: Any, front_ends: tuple[Any, Any], state: Any, about: dict[str, Any], test: Any
) -> Path:
    """Round weights to half precision, test exactly those, and write them with their description.

    Args:
        path: safetensors file to write.
        profile: EncoderProfile.
        front_ends: image and text front end.
        state: name -> tensor of the trained network.
        about: what goes into the description beside profile, fingerprint and test figures.
        test: rooms of the test split.
    """
    import torch

    from crossover_models.encoders.checkpoint import fingerprint, save_checkpoint
    from crossover_models.encoders.front_ends import FeatureSizes
    from crossover_models.encoders.network import UnifiedNetwork
    from crossover_models.evaluation.retrieval import retrieval_figures

    # Weights as half precision (13 MB instead of 26); statistics and biases stay as they are.
    rounded = {
        name: tensor.to(torch.float16) if tensor.is_floating_point() and tensor.ndim >= 2 else tensor
        for name, tensor in state.items()
    }
    network = UnifiedNetwork(profile, FeatureSizes(front_ends[0].view_dim, front_ends[0].plan_dim, front_ends[1].dim))
    network.load_state_dict(rounded)
    figures = retrieval_figures(network, profile, test)
    described = {"fingerprint": fingerprint(profile, rounded, *front_ends), **about, "test": figures}
    save_checkpoint(path, profile, rounded, described)
    return path
