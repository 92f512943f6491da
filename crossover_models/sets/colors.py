"""Colors that tell places apart: palettes under a learned metric.

Shares of colors compared as they are say most about floors and walls, which half of all rooms have in common, and
nothing about which colors become which in another light. A small network learns both from palettes of the same rooms.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossover_models.sets.palette import COLORS
from crossover_models.sets.standardized import Standardized

_HIDDEN = 128
_DIRECT = 0.1
"""Of the direct way beside the hidden layer, whose inputs are ten times as large."""


class ColorNetwork(nn.Module):
    """Palettes -> unit vectors; before training as good as the palettes themselves."""

    dim = COLORS

    def __init__(self) -> None:
        super().__init__()
        self.standardized = Standardized(COLORS)
        self.direct = nn.Linear(COLORS, COLORS, bias=False)
        self.first, self.last = nn.Linear(COLORS, _HIDDEN), nn.Linear(_HIDDEN, COLORS)
        nn.init.eye_(self.direct.weight)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, palettes: Tensor, dropout: float = 0.0) -> Tensor:
        """(..., 64) of :func:`palette` -> (..., 64) of unit norm; zero where nothing has a color.

        Args:
            palettes: square roots of shares.
            dropout: of the hidden layer, in training.
        """
        there = (palettes > 0).any(dim=-1, keepdim=True)
        rows = self.standardized(palettes)
        hidden = functional.dropout(functional.gelu(self.first(rows)), dropout, dropout > 0.0)
        return functional.normalize(_DIRECT * self.direct(rows) + self.last(hidden), dim=-1, eps=1e-6) * there


def pooled_palette(palettes: Tensor, mask: Tensor) -> Tensor:
    """Palettes (B, V, 64) of pictures and which exist (B, V) -> (B, 64) of all of them together; zero without any."""
    keep = mask[..., None]
    return torch.sqrt((palettes.square() * keep).sum(dim=1) / keep.sum(dim=1).clamp(min=1))
