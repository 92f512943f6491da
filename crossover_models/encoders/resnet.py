"""Sparse ResNet classifier, the 3D backbone of CrossOver (He et al. 2016 on Choy et al. 2019's convolutions)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from crossover_models.encoders.profile import SparseResNetSettings
from crossover_models.sparse import SparseBackend, TorchBackend


class BasicBlock(nn.Module):
    """conv3, norm, ReLU, conv3, norm, plus shortcut; ReLU. A 1x1 shortcut where stride or width change."""

    def __init__(self, layers: SparseBackend, in_channels: int, channels: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.conv1 = layers.convolution(in_channels, channels, 3, stride)
        self.norm1 = layers.batch_norm(channels)
        self.conv2 = layers.convolution(channels, channels, 3)
        self.norm2 = layers.batch_norm(channels)
        self.relu = layers.relu()
        self.downsample = (
            nn.Sequential(layers.convolution(in_channels, channels, 1, stride), layers.batch_norm(channels))
            if shortcut
            else None
        )
        self._layers = layers

    def forward(self, x: Any) -> Any:
        """Sparse tensor -> sparse tensor of ``stride`` times its tensor stride."""
        out = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        residual = x if self.downsample is None else self.downsample(x)
        return self.relu(self._layers.add(out, residual))


class SparseResNet(nn.Module):
    """Stem of stride 2, optional average pool, four stages, last convolution of kernel 3, global average pool.

    State names as in the reference: ``conv1``, ``bn1``, ``layer{1..4}.{b}``, ``conv5``, ``bn5``. Each stage starts with
    a block whose shortcut is projected.
    """

    def __init__(self, settings: SparseResNetSettings, layers: SparseBackend | None = None) -> None:
        super().__init__()
        self._layers = layers or TorchBackend()
        make = self._layers
        self.conv1 = make.convolution(settings.in_channels, settings.stem_channels, settings.stem_kernel, 2)
        self.bn1 = make.batch_norm(settings.stem_channels)
        self.relu = make.relu()
        self.pool = make.average_pool(2, 2) if settings.stem_pool else None
        width = settings.stem_channels
        self.stages: list[nn.Module] = []
        for number, (channels, blocks, stride) in enumerate(settings.stages(), start=1):
            stage = nn.Sequential(
                *[
                    BasicBlock(make, width if b == 0 else channels, channels, stride if b == 0 else 1, shortcut=b == 0)
                    for b in range(blocks)
                ]
            )
            self.add_module(f"layer{number}", stage)
            self.stages.append(stage)
            width = channels
        self.conv5 = make.convolution(width, settings.last_channels, 3, settings.last_stride)
        self.bn5 = make.batch_norm(settings.last_channels)

    def forward(self, coordinates: Tensor, features: Tensor, batch_size: int) -> Tensor:
        """Voxels (N, 4) integer [batch, x, y, z] and features (N, C) -> (batch_size, last_channels)."""
        x = self.relu(self.bn1(self.conv1(self._layers.tensor(coordinates, features, batch_size))))
        if self.pool is not None:
            x = self.pool(x)
        for stage in self.stages:
            x = stage(x)
        x = self.relu(self.bn5(self.conv5(x)))
        return self._layers.global_average_pool(x, batch_size)
