"""The encoder of I2P-MAE (Zhang et al. 2023), the reference's frozen front end of object points and CAD models.

A pyramid of three scales: points are grouped, each group becomes a token, tokens attend within a radius, and the next
scale groups the tokens. State names are those of the published weights, ``h_encoder.*``; nothing is masked here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossover_models.encoders.shapes import unit_sphere

POINTS = 1024


@dataclass(frozen=True)
class PyramidSettings:
    """Sizes of the scales, finest first; the defaults are the published ones."""

    groups: tuple[int, ...] = (512, 256, 64)
    neighbors: tuple[int, ...] = (48, 24, 24)
    dims: tuple[int, ...] = (96, 192, 384)
    radii: tuple[float, ...] = (0.24, 0.48, 0.96)
    depth: int = 5
    heads: int = 6


def farthest_points(points: Tensor, count: int) -> Tensor:
    """Indices (B, count) of a farthest-point sample of (B, N, 3) that begins with the first point."""
    batch, number, _ = points.shape
    chosen = torch.zeros(batch, count, dtype=torch.int64, device=points.device)
    nearest = points.new_full((batch, number), torch.inf)
    rows = torch.arange(batch, device=points.device)
    last = chosen[:, 0]
    for k in range(1, count):
        nearest = torch.minimum(nearest, (points - points[rows, last][:, None]).square().sum(-1))
        last = chosen[:, k] = nearest.argmax(dim=1)
    return chosen


class TokenEmbed(nn.Module):
    """A group of points or tokens into one token: a small PointNet. State: ``first_conv``, ``second_conv``."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        raw = in_dim == 3
        hidden, middle, last = (128, 256, 512) if raw else (in_dim, in_dim, out_dim)

        def pair(a: int, b: int, c: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv1d(a, b, 1), nn.BatchNorm1d(b), nn.ReLU(), nn.Conv1d(b, c, 1))

        self.first_conv = pair(in_dim, hidden, middle)
        self.second_conv = pair(2 * middle, last, out_dim)

    def forward(self, groups: Tensor) -> Tensor:
        """(B, G, K, C) -> (B, G, out)."""
        batch, count, size, width = groups.shape
        each = self.first_conv(groups.reshape(batch * count, size, width).transpose(1, 2))
        everyone = each.amax(dim=2, keepdim=True).expand(-1, -1, size)
        out: Tensor = self.second_conv(torch.cat([everyone, each], dim=1)).amax(dim=2)
        return out.view(batch, count, -1)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed[:, None])
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), _Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width), _Mlp(width)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), allowed)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class _Scale(nn.Module):
    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([_Block(width, heads) for _ in range(depth)])

    def forward(self, x: Tensor, position: Tensor, allowed: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x + position, allowed)
        return x


class _Pyramid(nn.Module):
    def __init__(self, settings: PyramidSettings) -> None:
        super().__init__()
        dims = settings.dims
        inputs = (3, *dims[:-1])
        self.token_embed = nn.ModuleList([TokenEmbed(a, b) for a, b in zip(inputs, dims, strict=True)])
        self.encoder_pos_embeds = nn.ModuleList(
            [nn.Sequential(nn.Linear(3, d), nn.GELU(), nn.Linear(d, d)) for d in dims]
        )
        self.encoder_blocks = nn.ModuleList([_Scale(d, settings.depth, settings.heads) for d in dims])
        self.encoder_norms = nn.ModuleList([nn.LayerNorm(d) for d in dims])


class I2PMAE(nn.Module):
    """Points of an object into one vector: mean plus maximum over the tokens of the coarsest scale."""

    def __init__(self, settings: PyramidSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or PyramidSettings()
        self.h_encoder = _Pyramid(self.settings)

    @property
    def dim(self) -> int:
        """Width of the vector."""
        return self.settings.dims[-1]

    def forward(self, points: Tensor) -> Tensor:
        """(B, N, 3), N at least the finest scale's groups, any unit -> (B, dim)."""
        s, h = self.settings, self.h_encoder
        centers, tokens = unit_sphere(points), points
        for i, (groups, neighbors, radius) in enumerate(zip(s.groups, s.neighbors, s.radii, strict=True)):
            before = centers
            picked = farthest_points(before, groups)
            centers = torch.gather(before, 1, picked[..., None].expand(-1, -1, 3))
            nearest = torch.cdist(centers, before).topk(neighbors, dim=-1, largest=False).indices
            rows = torch.arange(len(points), device=points.device)[:, None, None]
            grouped = before[rows, nearest] - centers[:, :, None] if i == 0 else tokens[rows, nearest]
            allowed = torch.cdist(centers, centers) < radius
            tokens = h.encoder_blocks[i](h.token_embed[i](grouped), h.encoder_pos_embeds[i](centers), allowed)
        # Only the last scale is read; the finer scales' norms are in the weights and serve I2P-MAE's decoder.
        last = h.encoder_norms[-1](tokens)
        out: Tensor = last.mean(dim=1) + last.amax(dim=1)
        return out
