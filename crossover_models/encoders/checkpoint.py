"""Weights on disk: one safetensors file of the trainable part, and beside it what they mean, as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.front_ends import ImageFrontEnd, TextFrontEnd
from crossover_models.encoders.profile import EncoderProfile

SCHEMA_VERSION = 1
SHIPPED = Path(__file__).resolve().parent.parent / "weights" / "edge.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A profile with its weights; ``description`` is the whole JSON (training command, seed, figures)."""

    profile: EncoderProfile
    state: dict[str, Tensor]
    description: dict[str, Any]
    path: Path


def fingerprint(profile: EncoderProfile, state: Mapping[str, Tensor], image: ImageFrontEnd, text: TextFrontEnd) -> str:
    """First 16 hex digits of the SHA-256 over settings, front ends' weights and every trained tensor.

    Embeddings of encoders with different fingerprints must never be compared.
    """
    digest = hashlib.sha256()
    front_ends = {"image": [image.name, image.weights_sha256], "text": [text.name, text.weights_sha256]}
    header = {"schema": SCHEMA_VERSION, "profile": profile.to_mapping(), "front_ends": front_ends}
    digest.update(json.dumps(header, sort_keys=True).encode())
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def save_checkpoint(path: Path, profile: EncoderProfile, state: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write ``path`` (safetensors) and the JSON beside it; each is whole or absent at any moment."""
    save_tensors(path, state, {"schema_version": SCHEMA_VERSION, "profile": profile.to_mapping(), **about})


def save_tensors(path: Path, state: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and, beside them, a JSON that says what they are; each is whole or absent at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(about, indent=2)
    partial = path.with_name(path.name + ".partial")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, partial)
    partial.chmod(0o644)
    partial.replace(path)
    partial = path.with_suffix(".json.partial")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path.with_suffix(".json"))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file.

    Raises:
        EncoderError: no such file, or it is truncated or no safetensors file.
    """
    if not path.is_file():
        raise EncoderError(f"{path}: no such checkpoint")
    try:
        return dict(load_file(path))
    except (SafetensorError, ValueError) as error:
        raise EncoderError(f"{path}: not a readable safetensors file: {error}") from None


def find_checkpoint(name: str) -> Path:
    """The file that a setting means: empty for the shipped one, a file, or a directory that holds exactly one.

    Raises:
        EncoderError: a directory with none or several, or no such path.
    """
    if not name:
        return SHIPPED
    path = Path(name)
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.safetensors"))
    if len(found) != 1:
        listed = ", ".join(p.name for p in found) or "none"
        raise EncoderError(f"checkpoint: {path} must hold one .safetensors file, found {listed}")
    return found[0]


def checkpoint_kind(path: Path) -> str:
    """What the JSON beside a checkpoint says that it is; "" for the published design, or where nothing can be read."""
    try:
        described = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(described.get("kind", "")) if isinstance(described, dict) else ""


def load_checkpoint(name: str = "") -> Checkpoint:
    """Read weights and description; see :func:`find_checkpoint` for ``name``.

    Raises:
        EncoderError: unreadable, of another schema version, or with settings that do not hold.
    """
    path = find_checkpoint(name)
    state = read_tensors(path)
    beside = path.with_suffix(".json")
    try:
        description = json.loads(beside.read_text(encoding="utf-8"))
        version = description["schema_version"]
        if version != SCHEMA_VERSION:
            raise EncoderError(f"{beside}: schema_version {version}, this version reads {SCHEMA_VERSION}")
        profile = EncoderProfile.from_mapping(description["profile"])
    except FileNotFoundError:
        raise EncoderError(f"{beside}: missing; a checkpoint is a .safetensors file with its .json") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, EncoderError):
            raise
        raise EncoderError(f"{beside}: not a checkpoint's description: {error}") from None
    return Checkpoint(profile, state, description, path)


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load every tensor by name and shape.

    Raises:
        EncoderError: a tensor is missing, unexpected, of another shape or not finite; the first of them is named.
    """
    wanted = module.state_dict()
    problems = [f"missing tensor {name} {tuple(tensor.shape)}" for name, tensor in wanted.items() if name not in state]
    extra = {name: tensor for name, tensor in state.items() if name not in wanted}
    problems += [f"unexpected tensor {name} {tuple(tensor.shape)}" for name, tensor in extra.items()]
    problems += [
        f"tensor {name} has shape {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    problems += [
        f"tensor {name} is not finite"
        for name, tensor in state.items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise EncoderError(f"{source}: {problems[0]}{more}")
    module.load_state_dict(dict(state))
