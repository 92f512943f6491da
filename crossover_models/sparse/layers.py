"""Sparse layers in plain PyTorch, with MinkowskiEngine's semantics and parameter names.

Parameters: a convolution has ``kernel`` (K^3, in, out), or (in, out) for kernel 1 with stride 1, and no bias; a batch
norm keeps its tensors under ``bn.``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from crossover_models.sparse.kernel_map import forward_map, transposed_map
from crossover_models.sparse.tensor import KernelMap, SparseTensor


class _GatherMultiplyAdd(torch.autograd.Function):
    """``out[j] += features[i] W_k`` over the pairs (i, j) of every offset k, with its gradient written out.

    Left to autograd, every offset's gather would make a gradient of all rows: a third of the time of a training step.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel: Tensor, pairs: KernelMap, rows: int) -> Tensor:
        ctx.save_for_backward(features, kernel)
        ctx.pairs = pairs
        out = features.new_zeros(rows, kernel.shape[2])
        for weight, (in_rows, out_rows) in zip(kernel, pairs, strict=True):
            if len(in_rows):
                out.index_add_(0, out_rows, features.index_select(0, in_rows) @ weight)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        features, kernel = ctx.saved_tensors
        to_features, to_kernel = torch.zeros_like(features), torch.zeros_like(kernel)
        for k, (in_rows, out_rows) in enumerate(ctx.pairs):
            if len(in_rows):
                gradient = gradients[0].index_select(0, out_rows)
                to_kernel[k] = features.index_select(0, in_rows).T @ gradient
                to_features.index_add_(0, in_rows, gradient @ kernel[k].T)
        return to_features, to_kernel, None, None


def apply_kernel(features: Tensor, kernel: Tensor, pairs: KernelMap, rows: int) -> Tensor:
    """Gather, multiply, add: (N, in) features and (K, in, out) kernel -> (rows, out)."""
    run: Any = _GatherMultiplyAdd.apply
    out: Tensor = run(features, kernel, pairs, rows)
    return out


class _Kernel(nn.Module):
    """What convolution and transposed convolution share: the weights."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride
        pointwise = kernel_size == 1 and stride == 1
        shape = (in_channels, out_channels) if pointwise else (kernel_size**3, in_channels, out_channels)
        self.kernel = nn.Parameter(torch.empty(shape))
        # He et al. 2015 for ReLU; about half of a surface's 27 neighbors are empty, so the fan counts occupied ones.
        fan = in_channels * (kernel_size**3 if kernel_size == 1 else kernel_size**3 / 2)
        nn.init.normal_(self.kernel, std=math.sqrt(2.0 / fan))

    def extra_repr(self) -> str:
        """Shape for printing."""
        return f"{tuple(self.kernel.shape)}, kernel_size={self.kernel_size}, stride={self.stride}"


class Convolution(_Kernel):
    """Sparse convolution: ``out[u] = sum_k in[u + o_k] W_k`` over occupied inputs."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, in) at stride t -> (M, out) at stride t * stride."""
        if self.kernel.ndim == 2:
            return x.with_features(x.features @ self.kernel)
        keys, pairs = forward_map(x, self.kernel_size, self.stride)
        features = apply_kernel(x.features, self.kernel, pairs, len(keys))
        return SparseTensor(keys, features, x.batch_size, x.stride * self.stride, x.cache)


class ConvolutionTranspose(_Kernel):
    """Transposed sparse convolution: ``out[u + o_k] += in[u] W_k`` on the grid ``stride`` times finer."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, in) at stride t -> (M, out) at stride t / stride."""
        if self.kernel.ndim == 2:
            return x.with_features(x.features @ self.kernel)
        keys, pairs = transposed_map(x, self.kernel_size, self.stride)
        features = apply_kernel(x.features, self.kernel, pairs, len(keys))
        return SparseTensor(keys, features, x.batch_size, x.stride // self.stride, x.cache)


class AveragePool(nn.Module):
    """Mean over the occupied voxels under the kernel."""

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C) at stride t -> (M, C) at stride t * stride."""
        keys, pairs = forward_map(x, self.kernel_size, self.stride, pooling=True)
        total = x.features.new_zeros(len(keys), x.features.shape[1])
        count = x.features.new_zeros(len(keys), 1)
        for in_rows, out_rows in pairs:
            total = total.index_add(0, out_rows, x.features.index_select(0, in_rows))
            count.index_add_(0, out_rows, count.new_ones(len(out_rows), 1))
        return SparseTensor(keys, total / count.clamp(min=1), x.batch_size, x.stride * self.stride, x.cache)


class MaxPool(nn.Module):
    """Maximum over the occupied voxels under the kernel.

    Zero where a kernel smaller than its stride meets none (MinkowskiEngine leaves the most negative number there).
    """

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C) at stride t -> (M, C) at stride t * stride."""
        keys, pairs = forward_map(x, self.kernel_size, self.stride, pooling=True)
        in_rows, out_rows = (torch.cat(side) for side in zip(*pairs, strict=True))
        index = out_rows[:, None].expand(-1, x.features.shape[1])
        start = x.features.new_zeros(len(keys), x.features.shape[1])
        features = start.scatter_reduce(0, index, x.features[in_rows], "amax", include_self=False)
        return SparseTensor(keys, features, x.batch_size, x.stride * self.stride, x.cache)


class GlobalAveragePool(nn.Module):
    """Mean over each scene's voxels."""

    def forward(self, x: SparseTensor) -> Tensor:
        """(N, C) -> (batch_size, C), row b for scene b; zero for a scene without voxels."""
        total = x.features.new_zeros(x.batch_size, x.features.shape[1]).index_add(0, x.batch_index, x.features)
        count = torch.bincount(x.batch_index, minlength=x.batch_size).clamp(min=1)
        return total / count[:, None].to(total.dtype)


class BatchNorm(nn.Module):
    """Batch normalization over voxels; its tensors are named ``bn.*``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C) -> (N, C)."""
        return x.with_features(self.bn(x.features))


class ReLU(nn.Module):
    """Rectifier on features."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C) -> (N, C)."""
        return x.with_features(torch.relu(x.features))
