"""Trained peers on disk: heads and the frozen shape encoder in one safetensors file, JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from crossover_models.dataset.features import SceneFeatures
from crossover_models.encoders.checkpoint import load_strictly, read_tensors, save_tensors
from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.shapes import ShapeEncoder, frozen, rounded

SCHEMA_VERSION = 1
NETWORK, SHAPES = "network", "shapes"


def save_peer(
    path: Path, kind: str, network: nn.Module, shapes: ShapeEncoder, widths: Mapping[str, int], about: Mapping[str, Any]
) -> None:
    """Write what :func:`read_peer` and :func:`fill_peer` read, matrices as half precision."""
    state = {f"{NETWORK}.{n}": t for n, t in network.state_dict().items()}
    state |= {f"{SHAPES}.{n}": t for n, t in shapes.state_dict().items()}
    described = {"schema_version": SCHEMA_VERSION, "kind": kind, "widths": dict(widths)}
    save_tensors(path, rounded(state), {**described, **about})


def read_peer(path: Path | None, kind: str, official: str = "") -> tuple[dict[str, Tensor], dict[str, int]]:
    """Tensors, and the widths of the front ends' features that they are for.

    Args:
        path: safetensors file with its JSON beside it.
        kind: what it must be.
        official: why published weights of this system are refused.

    Raises:
        EncoderError: no file is named, it is unreadable, or not of this kind.
    """
    if path is None:
        raise EncoderError(f"--method: kind {kind} needs a checkpoint, as in NAME={kind}:FILE")
    if official and path.suffix in (".pt", ".pth", ".bin"):
        raise EncoderError(f"{path}: not a checkpoint of `crossover train`; {official}")
    state = read_tensors(path)
    beside = path.with_suffix(".json")
    try:
        about = json.loads(beside.read_text(encoding="utf-8"))
        found, version = about["kind"], about["schema_version"]
        widths = {str(name): int(width) for name, width in about["widths"].items()}
    except FileNotFoundError:
        why = f"; {official}" if official else ""
        raise EncoderError(f"{beside}: missing; a checkpoint is a .safetensors file with its .json{why}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EncoderError(f"{beside}: not a checkpoint's description: {error}") from None
    if found != kind or version != SCHEMA_VERSION:
        expected = f"expected {kind!r}, {SCHEMA_VERSION}"
        raise EncoderError(f"{beside}: kind {found!r}, schema_version {version!r}; {expected}")
    return state, widths


def fill_peer(path: Path, state: Mapping[str, Tensor], network: nn.Module) -> ShapeEncoder:
    """Load the network strictly and return the shape encoder that it was trained on.

    Raises:
        EncoderError: a tensor is missing, unexpected, reshaped or not finite; the first is named.
    """
    shapes = ShapeEncoder()
    for prefix, part in ((NETWORK, network), (SHAPES, shapes)):
        own = {n.removeprefix(f"{prefix}."): t for n, t in state.items() if n.startswith(f"{prefix}.")}
        load_strictly(part, own, f"{path}: {prefix}")
    extra = sorted(n for n in state if n.split(".")[0] not in (NETWORK, SHAPES))
    if extra:
        raise EncoderError(f"{path}: unexpected tensor {extra[0]}")
    network.eval().requires_grad_(False)
    return frozen(shapes)


def check_widths(path: Path, widths: Mapping[str, int], found: Mapping[str, int], scan: SceneFeatures) -> None:
    """Refuse features of other front ends.

    Raises:
        EncoderError: names the modality and both widths.
    """
    for name, width in widths.items():
        if found.get(name) != width:
            raise EncoderError(
                f"{path}: is for {name} features {width} wide, but those of {scan.scan_id} are {found.get(name)} wide"
            )
