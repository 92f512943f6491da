"""Official weights into checkpoints of ours: recognized by their tensors, loaded strictly, never unpickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crossover_models.encoders.checkpoint import load_strictly, read_tensors, save_checkpoint, save_tensors
from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.profile import REFERENCE
from crossover_models.encoders.weights_folder import file_sha256
from crossover_models.reference.i2pmae import I2PMAE
from crossover_models.reference.instance import InstanceBaseline, InstanceCrossOver
from crossover_models.reference.scene import SceneCrossOver

UNIFIED_PARTS = ("encoder1D_mlp_head.", "frame_mlp.", "encoder2D_mlp_head.", "encoder3D.", "encoder3D_mlp_head.")
_KINDS: tuple[tuple[str, str, Callable[[], nn.Module]], ...] = (
    ("scene_crossover", "fusion.weight", SceneCrossOver),
    ("instance_crossover", "modality_encoders.point.loc_layers.0.0.weight", InstanceCrossOver),
    ("instance_baseline", "modality_projections.point.0.weight", InstanceBaseline),
    ("i2pmae", "h_encoder.token_embed.0.first_conv.0.weight", I2PMAE),
)


def read_official(source: Path) -> dict[str, Tensor]:
    """Tensors of an official checkpoint: a folder with ``model.safetensors``, that file, or I2P-MAE's ``.pth``.

    Raises:
        EncoderError: no such file, unreadable, or a ``.pth`` that holds anything but tensors.
    """
    path = source / "model.safetensors" if source.is_dir() else source
    if path.suffix == ".safetensors":
        return read_tensors(path)
    if not path.is_file():
        raise EncoderError(f"{path}: no such checkpoint")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch.load raises nearly anything on a damaged file; all of it means that this is no checkpoint.
        raise EncoderError(f"{path}: not a file of tensors: {str(error).splitlines()[0]}") from None
    state = loaded.get("base_model", loaded.get("model", loaded)) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise EncoderError(f"{path}: holds no dictionary of tensors")
    names = {name.removeprefix("module.").removeprefix("MAE_encoder."): tensor for name, tensor in state.items()}
    # The decoder of masked pre-training is not part of the front end.
    encoder = {name: tensor for name, tensor in names.items() if name.startswith("h_encoder.")}
    return encoder or names


def kind_of(state: Mapping[str, Tensor], source: str) -> tuple[str, Callable[[], nn.Module]]:
    """Which of the published networks the tensors are of, and how an empty one is made.

    Raises:
        EncoderError: none of them.
    """
    for kind, mark, make in _KINDS:
        if mark in state:
            return kind, make
    known = ", ".join(kind for kind, _, _ in _KINDS)
    raise EncoderError(f"{source}: none of {known}; its first tensor is {next(iter(state), 'missing')}")


def import_official(source: Path, out: Path) -> tuple[str, list[Path]]:
    """Check an official checkpoint and write it into ``out``; returns its kind and the files written.

    A scene checkpoint gives two: the whole network, and its unified encoders as a checkpoint that the nodes open.

    Raises:
        EncoderError: tensors are missing, unexpected, of another shape or not finite; the first is named.
    """
    state = read_official(source)
    kind, make = kind_of(state, str(source))
    network = make()
    load_strictly(network, state, str(source))
    path = source / "model.safetensors" if source.is_dir() else source
    about: dict[str, Any] = {"imported_from": source.name, "source_sha256": file_sha256(path), "kind": kind}
    whole = out / f"{kind}.safetensors"
    save_tensors(whole, state, about)
    written = [whole]
    if kind == "scene_crossover":
        unified = {name: tensor for name, tensor in state.items() if name.startswith(UNIFIED_PARTS)}
        written.append(out / "unified" / "reference.safetensors")
        save_checkpoint(written[-1], REFERENCE, unified, about)
    return kind, written
