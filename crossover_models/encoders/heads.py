"""Projection heads of CrossOver, with the reference's parameter names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ProjectionHead(nn.Sequential):
    """H(in, hid, out) = Linear(in, hid/2), ReLU, LayerNorm, Dropout(0), Linear(hid/2, out), L2 normalization.

    State: ``0`` Linear, ``2`` LayerNorm (eps 1e-12), ``4`` Linear (out, in), each with a bias.
    """

    def __init__(self, in_dim: int, hidden: int, out_dim: int) -> None:
        width = hidden // 2
        super().__init__(
            nn.Linear(in_dim, width),
            nn.ReLU(),
            nn.LayerNorm(width, eps=1e-12),
            nn.Dropout(0.0),
            nn.Linear(width, out_dim),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, in) -> (B, out), unit norm."""
        for layer in self:
            features = layer(features)
        return functional.normalize(features, dim=-1)


class FrameNetwork(nn.Module):
    """Per-view network of the 2D encoder: Linear, GELU, Linear on each view's vector, then the mean over views.

    State: ``mlp_layers.0`` and ``mlp_layers.3``.
    """

    def __init__(self, in_dim: int, hidden: int, out_dim: int) -> None:
        super().__init__()
        self.mlp_layers = nn.Sequential(
            nn.Linear(in_dim, hidden), nn.GELU(), nn.Dropout(0.0), nn.Linear(hidden, out_dim)
        )

    def forward(self, views: Tensor, mask: Tensor) -> Tensor:
        """Views (B, V, in) and which of them exist (B, V) -> (B, out); a row without views is zero."""
        each = self.mlp_layers(views) * mask[..., None].to(views.dtype)
        count = mask.sum(dim=1, keepdim=True).clamp(min=1).to(views.dtype)
        return torch.sum(each, dim=1) / count
