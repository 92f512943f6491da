"""A small random encoder with explicit sets for tests: the real network on front ends that need no weights."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from encoder_fakes import LetterFrontEnd
from numpy.typing import NDArray
from scene_features import CATEGORIES
from sets_features import TINY
from torch import Tensor

from crossover_models.encoders.efficientnet import pooled_view
from crossover_models.encoders.front_ends import FeatureSizes
from crossover_models.sets.attributes import Attributes
from crossover_models.sets.checkpoint import SetsModel, new_model
from crossover_models.sets.encoder import SetsEncoder
from crossover_models.sets.settings import SetsSettings

ATTRIBUTES = Attributes(
    (*CATEGORIES, "area", "type kitchen"), (*(1.0 for _ in CATEGORIES), 12.0, 1.0), tuple(np.linspace(0.1, 0.8, 8))
)


class MapFrontEnd:
    """Shrunken pictures as maps; pooled as the real one's."""

    name = "efficientnet-lite0"
    view_dim, plan_dim = 2560, 1280
    weights_sha256 = "maps"

    def maps(self, images: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
        """(V, 112, 14, 14) and (V, 1280, 7, 7)."""
        return self._map(images, 14, 112), self._map(images, 7, 1280)

    def views(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """(V, 2560)."""
        return pooled_view(self.maps(images)[1])

    def plans(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """(V, 1280)."""
        return self.maps(images)[1].mean(dim=(2, 3))

    def _map(self, images: Sequence[NDArray[np.uint8]], side: int, channels: int) -> Tensor:
        small = [cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).mean(axis=2) / 255.0 for image in images]
        phases = torch.linspace(0.0, 9.0, channels)[None, :, None, None]
        return torch.sin(torch.from_numpy(np.stack(small).astype(np.float32))[:, None] * 5.0 + phases)


def random_model(seed: int = 0, text_dim: int = LetterFrontEnd.dim, settings: SetsSettings = TINY) -> SetsModel:
    """A model with random weights on the real image front end's widths."""
    torch.manual_seed(seed)
    model = new_model(settings, FeatureSizes(2560, 1280, text_dim), CATEGORIES, ATTRIBUTES)
    for part in model.parts().values():
        part.eval().requires_grad_(False)
    return model


def random_encoder(seed: int = 0) -> SetsEncoder:
    """The encoder of such a model."""
    return SetsEncoder(random_model(seed), MapFrontEnd(), LetterFrontEnd(), "tiny")
