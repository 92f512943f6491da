"""Frozen feature extractors behind one interface, and the ones that a name means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.profile import EncoderProfile
from crossover_models.encoders.weights_folder import model_folder


@dataclass(frozen=True)
class FeatureSizes:
    """Widths of the frozen vectors: of a view, of a floor plan (the shared head's input) and of a text."""

    view: int
    plan: int
    text: int


class ImageFrontEnd(Protocol):
    """2D features of RGB pictures."""

    name: str
    view_dim: int
    plan_dim: int

    @property
    def weights_sha256(self) -> str:
        """Hash of the frozen weights; part of the encoder's fingerprint."""

    def views(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Pictures, each (H, W, 3) uint8 RGB -> (V, view_dim), what a view of a scene contributes."""

    def plans(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Drawings, each (H, W, 3) uint8 RGB -> (V, plan_dim), what goes straight into the shared head."""


class TextFrontEnd(Protocol):
    """1D features of sentences."""

    name: str
    dim: int

    @property
    def weights_sha256(self) -> str:
        """Hash of the frozen weights; part of the encoder's fingerprint."""

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> (B, dim)."""


def open_front_ends(profile: EncoderProfile, device: str = "cpu") -> tuple[ImageFrontEnd, TextFrontEnd]:
    """The front ends that a profile names; their weights are read at first use.

    Raises:
        EncoderError: a name that nothing answers to, or weights that come in no wheel and were not fetched.
    """
    return _open_image(profile.image_front_end, device), _open_text(profile.text_front_end, device)


def _open_image(name: str, device: str) -> ImageFrontEnd:
    from crossover_models.encoders.dinov2 import SIZES, DinoV2
    from crossover_models.encoders.efficientnet import EfficientNetLite0

    known = [EfficientNetLite0.name, *(f"dinov2-{size}" for size in SIZES)]
    if name not in known:
        raise EncoderError(f"image_front_end: unknown {name!r}; known: {', '.join(known)}")
    return (
        EfficientNetLite0(device, live=True)
        if name == EfficientNetLite0.name
        else DinoV2(model_folder(name), name, device)
    )


def _open_text(name: str, device: str) -> TextFrontEnd:
    from crossover_models.encoders.blip import BlipText
    from crossover_models.encoders.minilm import MiniLM

    known = [MiniLM.name, "blip-large"]
    if name not in known:
        raise EncoderError(f"text_front_end: unknown {name!r}; known: {', '.join(known)}")
    return MiniLM(device) if name == MiniLM.name else BlipText(model_folder(name), name, device)
