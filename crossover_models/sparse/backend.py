"""One door to sparse convolution: networks are built from a backend, so that they do not know which one runs.

``"torch"`` is ours and always there; ``"minkowski"`` is MinkowskiEngine where it is installed. Both give modules with
the same parameter names and shapes, so a checkpoint fits either.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from crossover_models.sparse import layers
from crossover_models.sparse.tensor import SparseTensor


class SparseBackend(Protocol):
    """Factories of layers, and the two ends of a network."""

    name: str

    def tensor(self, coordinates: Tensor, features: Tensor, batch_size: int) -> Any:
        """(N, 4) integer [batch, x, y, z] unique, (N, C) -> the backend's sparse tensor."""

    def arrays(self, x: Any) -> tuple[Tensor, Tensor]:
        """Coordinates (N, 4) int64 and features (N, C), sorted by coordinate."""

    def convolution(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Module:
        """Convolution without bias."""

    def convolution_transpose(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> nn.Module:
        """Transposed convolution without bias."""

    def batch_norm(self, channels: int) -> nn.Module:
        """Batch normalization, tensors under ``bn.``."""

    def relu(self) -> nn.Module:
        """Rectifier."""

    def average_pool(self, kernel_size: int, stride: int) -> nn.Module:
        """Mean over occupied voxels."""

    def max_pool(self, kernel_size: int, stride: int) -> nn.Module:
        """Maximum over occupied voxels."""

    def global_average_pool(self, x: Any, batch_size: int) -> Tensor:
        """(batch_size, C), row b for scene b."""

    def add(self, x: Any, y: Any) -> Any:
        """Sum of two tensors on the same voxels."""


class TorchBackend:
    """Our layers (:mod:`crossover_models.sparse.layers`)."""

    name = "torch"

    def tensor(self, coordinates: Tensor, features: Tensor, batch_size: int) -> SparseTensor:
        """(N, 4) integer [batch, x, y, z], (N, C) -> sparse tensor.

        Raises:
            SparseError: see :meth:`SparseTensor.from_coordinates`.
        """
        return SparseTensor.from_coordinates(coordinates, features, batch_size=batch_size)

    def arrays(self, x: SparseTensor) -> tuple[Tensor, Tensor]:
        """Coordinates (N, 4) int64 and features (N, C), sorted by coordinate."""
        return x.coordinates, x.features

    def convolution(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Module:
        """Convolution without bias."""
        return layers.Convolution(in_channels, out_channels, kernel_size, stride)

    def convolution_transpose(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> nn.Module:
        """Transposed convolution without bias."""
        return layers.ConvolutionTranspose(in_channels, out_channels, kernel_size, stride)

    def batch_norm(self, channels: int) -> nn.Module:
        """Batch normalization, tensors under ``bn.``."""
        return layers.BatchNorm(channels)

    def relu(self) -> nn.Module:
        """Rectifier."""
        return layers.ReLU()

    def average_pool(self, kernel_size: int, stride: int) -> nn.Module:
        """Mean over occupied voxels."""
        return layers.AveragePool(kernel_size, stride)

    def max_pool(self, kernel_size: int, stride: int) -> nn.Module:
        """Maximum over occupied voxels."""
        return layers.MaxPool(kernel_size, stride)

    def global_average_pool(self, x: SparseTensor, batch_size: int) -> Tensor:
        """(batch_size, C), row b for scene b."""
        pooled: Tensor = layers.GlobalAveragePool()(x)
        return pooled

    def add(self, x: SparseTensor, y: SparseTensor) -> SparseTensor:
        """Sum of two tensors on the same voxels."""
        return x.with_features(x.features + y.features)


def backend(name: str = "torch") -> SparseBackend:
    """The backend of a name: ``"torch"`` or ``"minkowski"``.

    Raises:
        ValueError: unknown name.
        ImportError: MinkowskiEngine was asked for and is not installed.
    """
    if name == "torch":
        return TorchBackend()
    if name == "minkowski":
        from crossover_models.sparse.minkowski import MinkowskiBackend

        return MinkowskiBackend()
    raise ValueError(f"sparse backend: must be torch or minkowski, got {name!r}")
