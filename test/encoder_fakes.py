"""Small random encoders for tests: the real network on front ends that need no weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossover_models.encoders.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from crossover_models.encoders.front_ends import FeatureSizes
from crossover_models.encoders.network import UnifiedNetwork
from crossover_models.encoders.profile import EncoderProfile, SparseResNetSettings
from crossover_models.encoders.unified import UnifiedEncoder

TINY = EncoderProfile(
    name="tiny",
    embedding_dim=16,
    text_hidden=32,
    frame_hidden=32,
    image_hidden=32,
    cloud_hidden=32,
    plan_pixels=64,
    backbone=SparseResNetSettings(voxel_m=0.25, stem_channels=8, channels="8,8,16,16", last_channels=16),
)
SIZES = FeatureSizes(view=24, plan=12, text=10)


class PixelFrontEnd:
    """Shrunken pictures as features."""

    name = "efficientnet-lite0"
    view_dim, plan_dim = SIZES.view, SIZES.plan
    weights_sha256 = "pixels"

    def views(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """(V, 24)."""
        return self._features(images, 4, 2)

    def plans(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """(V, 12)."""
        return self._features(images, 2, 2)

    def _features(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> Tensor:
        small = [cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).ravel() / 255.0 for image in images]
        return torch.from_numpy(np.stack(small).astype(np.float32))


class LetterFrontEnd:
    """Counts of letters as features."""

    name = "minilm-l6"
    dim = SIZES.text
    weights_sha256 = "letters"

    def texts(self, texts: Sequence[str]) -> Tensor:
        """(B, 10)."""
        counts = [[float(text.lower().count(letter)) for letter in "aeioutnrsl"] for text in texts]
        return torch.nn.functional.normalize(torch.tensor(counts) + 0.1, dim=1)


def tiny_state(seed: int = 0) -> dict[str, Tensor]:
    """Random weights of the tiny profile."""
    torch.manual_seed(seed)
    return dict(UnifiedNetwork(TINY, SIZES).state_dict())


def save_tiny(path: Path, state: dict[str, Tensor] | None = None) -> Path:
    """A checkpoint of the tiny profile on disk."""
    state = tiny_state() if state is None else state
    mark = fingerprint(TINY, state, PixelFrontEnd(), LetterFrontEnd())
    save_checkpoint(path, TINY, state, {"fingerprint": mark})
    return path


def open_tiny(path: Path) -> UnifiedEncoder:
    """The encoder of such a checkpoint."""
    return UnifiedEncoder(load_checkpoint(str(path)), PixelFrontEnd(), LetterFrontEnd())
