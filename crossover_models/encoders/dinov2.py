"""DINOv2 (Oquab et al. 2024): the reference's frozen 2D features, read from a folder in the hub's format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.weights_folder import file_sha256

SIZES = {"small": 12, "base": 12, "large": 24, "giant": 40}
"""Size -> number of blocks; the reference uses giant."""
_REFERENCE_BLOCK, _REFERENCE_DEPTH = 31, 40
_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)
_BATCH = 8


def value_block(depth: int) -> int:
    """Index of the block whose attention values are read: 31 of the giant's 40, as deep in the other sizes."""
    return min(depth - 1, depth * _REFERENCE_BLOCK // _REFERENCE_DEPTH)


class DinoV2:
    """Attention *values* of one block, every token normalized; a view is [CLS; mean of patches], a floor plan CLS.

    Args:
        folder: ``config.json`` and ``model.safetensors`` as the hub has them.
        name: what profiles call it.
        device: torch device.

    Raises:
        EncoderError: a file is missing, is no DINOv2 without registers, or its weights do not fit.
    """

    def __init__(self, folder: Path, name: str, device: str = "cpu") -> None:
        from transformers import Dinov2Config

        self.name, self._folder, self._device = name, folder, device
        path = folder / "config.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            kind = values["model_type"]
            self._config: Any = Dinov2Config(**values)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EncoderError(f"{path}: not the configuration of a DINOv2: {error}") from None
        if kind != "dinov2":
            raise EncoderError(f"{path}: model_type {kind!r}, expected dinov2 (without registers)")
        self._block = value_block(int(self._config.num_hidden_layers))
        width = int(self._config.hidden_size)
        self.view_dim, self.plan_dim = 2 * width, width

    @property
    def weights_sha256(self) -> str:
        """Hash of the weights file."""
        return file_sha256(self._folder / "model.safetensors")

    @cached_property
    def _model(self) -> Any:
        from transformers import Dinov2Model

        from crossover_models.encoders.checkpoint import load_strictly, read_tensors

        model: Any = Dinov2Model(self._config)
        path = self._folder / "model.safetensors"
        load_strictly(model, _present_names(read_tensors(path)), str(path))
        # Blocks after the one that is read would be computed for nothing.
        model.encoder.layer = model.encoder.layer[: self._block + 1]
        return model.eval().requires_grad_(False).to(self._device)

    def _tokens(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """(V, 1 + patches, width), unit norm, CLS first."""
        model, seen = self._model, []
        hook = model.encoder.layer[self._block].attention.v_proj.register_forward_hook(
            lambda _module, _inputs, output: seen.append(output)
        )
        out = []
        try:
            for start in range(0, len(images), _BATCH):
                pixels = np.stack([_pixels(image) for image in images[start : start + _BATCH]])
                with torch.inference_mode():
                    model(pixel_values=torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self._device))
                out.append(functional.normalize(seen.pop().float(), dim=-1))
        finally:
            hook.remove()
        return torch.cat(out)

    def views(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Pictures, each (H, W, 3) uint8 RGB -> (V, 2 width)."""
        tokens = self._tokens(images)
        return torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1)

    def plans(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Drawings, each (H, W, 3) uint8 RGB -> (V, width)."""
        return self._tokens(images)[:, 0]


def _pixels(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(224, 224, 3): the whole picture, bicubic, ImageNet statistics."""
    small = Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC)
    return np.asarray((np.asarray(small, dtype=np.float32) / 255.0 - _MEAN) / _STD, dtype=np.float32)


_RENAMED = (
    (".attention.attention.query.", ".attention.q_proj."),
    (".attention.attention.key.", ".attention.k_proj."),
    (".attention.attention.value.", ".attention.v_proj."),
    (".attention.output.dense.", ".attention.o_proj."),
)


def _present_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a hub file under the names of the installed transformers; files keep those of their time."""
    out = {}
    for name, tensor in state.items():
        short = name.removeprefix("dinov2.")
        for old, new in _RENAMED:
            short = short.replace(old, new)
        out[short] = tensor
    return out
