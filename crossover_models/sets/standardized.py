"""Inputs of a network without what all of them have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LEAST_SPREAD, _MOST_DEVIATION = 1e-2, 6.0


class Standardized(nn.Module):
    """Inputs with the mean and the spread of the training scans taken out, each number by its own.

    Frozen features share a large common part; with it every room starts out, and may end, at the same code.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))

    def fit(self, rows: Tensor) -> None:
        """Take mean and spread from rows (N, inputs)."""
        self.mean.copy_(rows.mean(dim=0))
        self.spread.copy_(rows.std(dim=0).clamp(min=_LEAST_SPREAD))

    def forward(self, rows: Tensor) -> Tensor:
        """(..., inputs) -> the same shape."""
        return ((rows - self.mean) / self.spread).clamp(-_MOST_DEVIATION, _MOST_DEVIATION)
