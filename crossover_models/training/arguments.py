"""Options of the ``crossover train`` commands: one for each training setting."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

from crossover_models.training.settings import TrainingSettings


def add_training_arguments(parser: argparse.ArgumentParser, defaults: TrainingSettings | None = None) -> None:
    """Add ``--epochs``, ``--batch`` and so on; ``defaults`` are what the help names."""
    group = parser.add_argument_group("optimization")
    for name, item, value in (defaults or TrainingSettings()).flat():
        kind: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
        if not isinstance(value, bool):
            kind = {"type": type(value), "choices": item.metadata["choices"] or None}
        told = item.metadata["description"]
        group.add_argument(f"--{name.replace('_', '-')}", default=None, help=f"{told} (default: {value})", **kind)


def training_settings(arguments: argparse.Namespace, defaults: TrainingSettings | None = None) -> TrainingSettings:
    """``defaults`` with what the command line changes.

    Raises:
        ConfigError: a value out of range.
    """
    given = {item.name: getattr(arguments, item.name) for item in fields(TrainingSettings)}
    changes = {name: value for name, value in given.items() if value is not None}
    return (defaults or TrainingSettings()).with_flat(changes)
