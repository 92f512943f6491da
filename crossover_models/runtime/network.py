"""What every back end offers of a frozen image network, and what it takes to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

# Least cosine of a back end's maps with those of PyTorch in 32 bits on the CPU.
LEAST_COSINE = 0.995


class ImageNetwork(Protocol):
    """Pictures to feature maps, on one back end."""

    name: str

    def __call__(self, batch: NDArray[np.float32]) -> tuple[Tensor, ...]:
        """Normalized pictures (V, 3, H, W) -> float32 maps (V, C, h, w), finest first."""


def agreement(maps: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """The least cosine of any map of any picture with the reference's; 0 where one is not finite or all zero."""
    least = 1.0
    for ours, theirs in zip(maps, reference, strict=True):
        a, b = ours.flatten(1).double().cpu(), theirs.flatten(1).double().cpu()
        lengths = a.norm(dim=1) * b.norm(dim=1)
        cosine = (a * b).sum(dim=1) / lengths
        cosine[~cosine.isfinite()] = 0.0
        least = min(least, float(cosine.min()))
    return least
