"""``crossover train``: every network that is trained, each by its own subcommand that may be killed and repeated."""

from __future__ import annotations

from importlib import import_module
from typing import Any

SUBCOMMANDS = (
    "crossover_models.training.recognizer_command:add_recognizer",
    "crossover_models.training.shapes_command:add_shapes",
    "crossover_models.sets.colors_command:add_colors",
    "crossover_models.sets.train_command:add_sets",
    "crossover_models.training.stages.commands:add_stages",
    "crossover_models.evaluation.peers.train_command:add_peers",
)


def add_command(subparsers: Any) -> None:
    """Add ``train``."""
    parser = subparsers.add_parser("train", help="train the encoders, and what they are compared with")
    networks = parser.add_subparsers(required=True, metavar="NETWORK")
    for name in SUBCOMMANDS:
        module, function = name.split(":")
        getattr(import_module(module), function)(networks)
