"""The 3D backbone with a category for every voxel: what is where, before anything is pooled."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crossover_models.encoders.profile import SparseResNetSettings
from crossover_models.encoders.resnet import SparseResNet
from crossover_models.sparse import SparseTensor
from crossover_models.sparse.layers import GlobalAveragePool
from crossover_models.sparse.tensor import pack, unpack

_LOGIT_SPAN = 4.0


class CloudNetwork(nn.Module):
    """Sparse ResNet; features of all its levels meet at the finest to name categories."""

    def __init__(self, settings: SparseResNetSettings, categories: int, width: int = 96) -> None:
        super().__init__()
        self.backbone = SparseResNet(settings)
        self.categories = categories
        self.pooled = settings.last_channels
        self.levels = nn.ModuleList([nn.Linear(channels, width) for channels, _, _ in settings.stages()])
        self.name = nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Linear(width, categories + 1))

    def forward(self, coordinates: Tensor, features: Tensor, batch_size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Voxels (N, 4) [batch, x, y, z] and features (N, C) -> vectors, evidence, logits, keys.

        Returns:
            vectors (B, pooled); evidence (B, 2 categories): the largest log-odds over the voxels and the logarithm of
            the expected number of voxels; logits (M, categories + 1) of the M voxels of the first stage, the last of
            them "no object"; their packed coordinates (M,).
        """
        net = self.backbone
        x = net.relu(net.bn1(net.conv1(SparseTensor.from_coordinates(coordinates, features, batch_size=batch_size))))
        levels = []
        for stage in net.stages:
            x = stage(x)
            levels.append(x)
        last = net.relu(net.bn5(net.conv5(x)))
        vectors: Tensor = GlobalAveragePool()(last)
        finest = levels[0]
        hidden = self.levels[0](finest.features)
        for level, layer in zip(levels[1:], list(self.levels)[1:], strict=True):
            hidden = hidden + layer(level.features)[rows_above(finest.keys, level.keys, level.stride)]
        logits: Tensor = self.name(hidden)
        return vectors, self._evidence(logits, finest.batch_index, batch_size), logits, finest.keys

    def _evidence(self, logits: Tensor, batch: Tensor, batch_size: int) -> Tensor:
        odds = (logits[:, :-1] - logits[:, -1:]) / _LOGIT_SPAN
        index = batch[:, None].expand_as(odds)
        most = odds.new_full((batch_size, self.categories), -2.0).scatter_reduce(0, index, odds, "amax")
        mass = odds.new_zeros(batch_size, self.categories).index_add(0, batch, torch.softmax(logits, dim=1)[:, :-1])
        return torch.cat([most, torch.log1p(mass) / 2.0], dim=1)


def rows_above(fine: Tensor, coarse: Tensor, stride: int) -> Tensor:
    """(N,) row in ``coarse`` (M,) of the voxel of ``stride`` that each of ``fine`` (N,) lies in; both packed keys.

    Rows of voxels that ``coarse`` lacks mean nothing.
    """
    c = unpack(fine)
    c[:, 1:] = torch.div(c[:, 1:], stride, rounding_mode="floor") * stride
    return torch.searchsorted(coarse, pack(c)).clamp(max=len(coarse) - 1)


def coarse_labels(coordinates: Tensor, labels: Tensor, keys: Tensor, stride: int) -> Tensor:
    """Labels (M,) of coarse voxels ``keys`` from those (N,) of fine ones: the largest, so that objects win over -1."""
    rows = rows_above(pack(coordinates), keys, stride)
    out = labels.new_full((len(keys),), -1)
    return out.scatter_reduce(0, rows, labels, "amax")
