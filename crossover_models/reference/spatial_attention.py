"""Self-attention among the objects of a scene, biased by where they stand (arXiv 2502.15011, stage 1).

The bias is the one of ViL3DRel (Chen et al. 2022, section 3.2): each query object weighs the geometry of every pair.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PAIR_FEATURES = 5
_LEAST_DISTANCE = 1e-10
_LEAST_GATE = 1e-6


def pair_geometry(centers: Tensor, mask: Tensor, legacy: bool = False) -> Tensor:
    """Relative positions of all pairs of objects.

    Args:
        centers: (B, O, 3) metres.
        mask: (B, O) bool, which objects exist.
        legacy: take the largest distance over padded slots too, as the reference's code does (its weights saw that).

    Returns:
        (B, O, O, 5) ``[d/d_max, dz/d, d_xy/d, dy/d_xy, dx/d_xy]`` with delta = c_query - c_key; the query is the first
        of the two object axes.
    """
    delta = centers[:, :, None, :] - centers[:, None, :, :]
    distance = torch.sqrt(delta.square().sum(-1) + _LEAST_DISTANCE)
    planar = torch.sqrt(delta[..., :2].square().sum(-1) + _LEAST_DISTANCE)
    counted = distance
    if not legacy:
        both = mask[:, :, None] & mask[:, None, :]
        counted = torch.where(both, distance, torch.zeros_like(distance))
    largest = counted.amax(dim=(1, 2), keepdim=True).clamp(min=_LEAST_DISTANCE**0.5)
    return torch.stack(
        [
            distance / largest,
            delta[..., 2] / distance,
            planar / distance,
            delta[..., 1] / planar,
            delta[..., 0] / planar,
        ],
        dim=-1,
    )


class SpatialSelfAttention(nn.Module):
    """Multi-head attention with ``softmax(Q K^T / sqrt(d) + log max(g, 1e-6))``, g = sigmoid(w . geometry + b).

    State: ``w_qs``, ``w_ks``, ``w_vs``, ``fc``, ``lang_cond_fc`` (heads * 6 rows: of each head the bias, then five
    weights) and ``layer_norm``. Residual and normalization are inside.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads: {heads} do not divide the width {width}")
        self.heads = heads
        self.w_qs = nn.Linear(width, width)
        self.w_ks = nn.Linear(width, width)
        self.w_vs = nn.Linear(width, width)
        self.fc = nn.Linear(width, width)
        self.lang_cond_fc = nn.Linear(width, heads * (PAIR_FEATURES + 1))
        self.layer_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, geometry: Tensor, mask: Tensor) -> Tensor:
        """(B, O, W), geometry (B, O, O, 5), mask (B, O) -> (B, O, W); keys that do not exist get no attention.

        Rows of a scene without any object are finite but mean nothing.
        """
        batch, objects, width = x.shape

        def split(values: Tensor) -> Tensor:
            return values.view(batch, objects, self.heads, -1).transpose(1, 2)

        query, key, value = split(self.w_qs(x)), split(self.w_ks(x)), split(self.w_vs(x))
        scores = query @ key.transpose(-1, -2) / (width // self.heads) ** 0.5
        weights = split(self.lang_cond_fc(x))
        bias, slope = weights[..., :1], weights[..., 1:]
        gate = torch.sigmoid(torch.einsum("bhqf,bqkf->bhqk", slope, geometry) + bias)
        scores = scores + torch.log(gate.clamp(min=_LEAST_GATE))
        # The lowest finite number, not -inf: a scene without objects would give NaN, which spreads through gradients.
        scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
        mixed = (torch.softmax(scores, dim=-1) @ value).transpose(1, 2).reshape(batch, objects, width)
        out: Tensor = self.layer_norm(self.dropout(self.fc(mixed)) + x)
        return out


class SpatialLayer(nn.Module):
    """Spatial self-attention and a feed-forward network, each with residual and normalization after it.

    State: ``self_attn.*``, ``linear1``, ``linear2``, ``norm1``, ``norm2``.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.self_attn = SpatialSelfAttention(width, heads, dropout)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, geometry: Tensor, mask: Tensor) -> Tensor:
        """(B, O, W) -> (B, O, W)."""
        x = self.norm1(x + self.dropout(self.self_attn(x, geometry, mask)))
        fed = self.linear2(self.dropout(functional.gelu(self.linear1(x))))
        out: Tensor = self.norm2(x + self.dropout(fed))
        return out
