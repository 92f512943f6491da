"""MinkowskiEngine behind our interface. Importing this module needs it; nothing else here does."""

from __future__ import annotations

import collections
import collections.abc
from typing import Any

import torch
from torch import Tensor, nn

# MinkowskiEngine 0.5.4 still looks for the abstract classes where Python 3.9 had them.
if not hasattr(collections, "Sequence"):
    collections.Sequence = collections.abc.Sequence  # type: ignore[attr-defined]

import MinkowskiEngine

from crossover_models.sparse.tensor import pack

_DIMENSION = 3


class MinkowskiBackend:
    """Layers of MinkowskiEngine."""

    name = "minkowski"

    def tensor(self, coordinates: Tensor, features: Tensor, batch_size: int) -> Any:
        """(N, 4) integer [batch, x, y, z] unique, (N, C) -> MinkowskiEngine.SparseTensor."""
        return MinkowskiEngine.SparseTensor(features=features, coordinates=coordinates.to(torch.int32).contiguous())

    def arrays(self, x: Any) -> tuple[Tensor, Tensor]:
        """Coordinates (N, 4) int64 and features (N, C), sorted by coordinate."""
        coordinates = x.C.to(torch.int64)
        order = torch.argsort(pack(coordinates))
        return coordinates[order], x.F[order]

    def convolution(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Module:
        """Convolution without bias."""
        layer: nn.Module = MinkowskiEngine.MinkowskiConvolution(
            in_channels, out_channels, kernel_size=kernel_size, stride=stride, bias=False, dimension=_DIMENSION
        )
        return layer

    def convolution_transpose(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> nn.Module:
        """Transposed convolution without bias."""
        layer: nn.Module = MinkowskiEngine.MinkowskiConvolutionTranspose(
            in_channels, out_channels, kernel_size=kernel_size, stride=stride, bias=False, dimension=_DIMENSION
        )
        return layer

    def batch_norm(self, channels: int) -> nn.Module:
        """Batch normalization, tensors under ``bn.``."""
        layer: nn.Module = MinkowskiEngine.MinkowskiBatchNorm(channels)
        return layer

    def relu(self) -> nn.Module:
        """Rectifier."""
        layer: nn.Module = MinkowskiEngine.MinkowskiReLU()
        return layer

    def average_pool(self, kernel_size: int, stride: int) -> nn.Module:
        """Mean over occupied voxels."""
        pooling = MinkowskiEngine.MinkowskiAvgPooling
        layer: nn.Module = pooling(kernel_size=kernel_size, stride=stride, dimension=_DIMENSION)
        return layer

    def max_pool(self, kernel_size: int, stride: int) -> nn.Module:
        """Maximum over occupied voxels."""
        pooling = MinkowskiEngine.MinkowskiMaxPooling
        layer: nn.Module = pooling(kernel_size=kernel_size, stride=stride, dimension=_DIMENSION)
        return layer

    def global_average_pool(self, x: Any, batch_size: int) -> Tensor:
        """(batch_size, C), row b for scene b: MinkowskiEngine may return the scenes in another order."""
        pooled = MinkowskiEngine.MinkowskiGlobalAvgPooling()(x)
        out: Tensor = pooled.F.new_zeros(batch_size, pooled.F.shape[1])
        return out.index_copy(0, pooled.C[:, 0].to(torch.int64), pooled.F)

    def add(self, x: Any, y: Any) -> Any:
        """Sum of two tensors on the same voxels."""
        return x + y
