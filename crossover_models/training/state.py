"""The whole state of a training run in one file: a killed run goes on at the same step with the same numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from crossover_models.training.room_sample import CacheError


@dataclass
class TrainingState:
    """What a run is, apart from its settings.

    Attributes:
        step: optimizer steps done.
        best_score: of the best validation so far.
        best_step: where that was.
        best: its network weights.
        log: one entry a validation.
    """

    step: int = 0
    best_score: float = float("-inf")
    best_step: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)


def save_state(path: Path, key: str, state: TrainingState, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write everything into one safetensors file, which is whole or the previous one at any moment."""
    tensors = {f"model.{name}": tensor for name, tensor in module.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    moments = optimizer.state_dict()["state"]
    for index, values in moments.items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    about = {
        "key": key,
        "step": state.step,
        "best_score": state.best_score,
        "best_step": state.best_step,
        "log": state.log,
    }
    partial = path.with_name(path.name + ".partial")
    save_file({n: t.detach().contiguous() for n, t in tensors.items()}, partial, metadata={"about": json.dumps(about)})
    partial.replace(path)


def load_state(path: Path, key: str, module: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
    """Put weights and moments back and return the rest.

    Raises:
        CacheError: unreadable, or of a run with other settings.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            about = json.loads((stream.metadata() or {})["about"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, KeyError, OSError, json.JSONDecodeError) as error:
        raise CacheError(f"{path}: not a readable training state ({error})") from None
    if about["key"] != key:
        raise CacheError(f"{path}: is of a run with other settings; choose another --out or remove it")
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}}
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, rest = name.split(".", 1)
        if kind == "optimizer":
            index, moment = rest.split(".", 1)
            moments.setdefault(int(index), {})[moment] = tensor
        else:
            groups[kind][rest] = tensor
    module.load_state_dict(groups["model"])
    restored = optimizer.state_dict()
    restored["state"] = moments
    optimizer.load_state_dict(restored)
    return TrainingState(about["step"], about["best_score"], about["best_step"], groups["best"], about["log"])
