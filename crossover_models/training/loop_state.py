"""The whole state of a run of a stage in one file: a killed run goes on at the same step with the same numbers."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from crossover_models.dataset.scene_file import write_whole
from crossover_models.training.errors import CacheError

SCHEMA_VERSION = 1
KEY = "key"
"""Name of the hash in a run's identity that tells a person nothing."""


@dataclass
class TrainingState:
    """What a run is, apart from its settings.

    Attributes:
        step: optimizer steps done.
        best_score: of the best validation so far.
        best_step: where that was.
        best: the module's state there, on the CPU; empty before the first validation.
        log: one entry a validation.
    """

    step: int = 0
    best_score: float = float("-inf")
    best_step: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)


def save_state(
    path: Path,
    identity: Mapping[str, Any],
    state: TrainingState,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> None:
    """Write everything into one safetensors file, which is whole or the previous one at any moment.

    Args:
        path: of the file.
        identity: plain values of everything that decides the run's numbers; :func:`load_state` compares it.
        state, module, optimizer, scaler: what to write.

    Raises:
        OSError: it cannot be written; the previous one stays.
    """
    tensors = {f"model.{name}": tensor for name, tensor in module.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    # A copy each: safetensors refuses tensors that share memory, and tied weights do.
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    about = {
        "schema_version": SCHEMA_VERSION,
        "identity": dict(identity),
        "step": state.step,
        "best_score": state.best_score,
        "best_step": state.best_step,
        "log": state.log,
        "scaler": scaler.state_dict(),
    }
    described = json.dumps(about)
    metadata = {"about": described, "crc32": str(_checksum(described, tensors))}
    write_whole(path, save(tensors, metadata))


def load_state(
    path: Path,
    identity: Mapping[str, Any],
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> TrainingState:
    """Put weights, moments and scale back and return the rest.

    Raises:
        CacheError: not a file, damaged, of another schema version, or of a run with other settings or data.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors: dict[str, Tensor] = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        if metadata["crc32"] != str(_checksum(metadata["about"], tensors)):
            raise CacheError(f"{path}: damaged: its content is not what was written; remove it to begin again")
        about = json.loads(metadata["about"])
        if about["schema_version"] != SCHEMA_VERSION:
            raise CacheError(f"{path}: schema_version {about['schema_version']}, this program reads {SCHEMA_VERSION}")
    except CacheError:
        raise
    except (SafetensorError, KeyError, OSError, ValueError) as error:
        raise CacheError(f"{path}: damaged or not a training state ({error}); remove it to begin again") from None
    for name, value in identity.items():
        if about["identity"].get(name) != value:
            was = about["identity"].get(name)
            told = "other data or another design" if name == KEY else f"{name} {was}, not {value}"
            raise CacheError(f"{path}: is of a run with {told}; choose another --out or remove it")
    try:
        return _restored(tensors, about, module, optimizer, scaler)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise CacheError(f"{path}: does not fit the module that is trained ({reason})") from None


def _restored(
    tensors: dict[str, Tensor],
    about: dict[str, Any],
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> TrainingState:
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
    if scaler.is_enabled():
        scaler.load_state_dict(about["scaler"])
    return TrainingState(about["step"], about["best_score"], about["best_step"], groups["best"], about["log"])


def _checksum(described: str, tensors: dict[str, Tensor]) -> int:
    total = zlib.crc32(described.encode())
    for name in sorted(tensors):
        total = zlib.crc32(name.encode(), total)
        total = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, total)
    return total
