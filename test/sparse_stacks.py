"""Small stacks of sparse layers whose results are compared between backends and with checked-in ones."""

from __future__ import annotations

import torch
from torch import Tensor

from crossover_models.sparse import backend

SCENES = 2
CHANNELS = 2

LAYER_STACKS = {
    "k3s1": [("convolution", 3, 1)],
    "k5s1": [("convolution", 5, 1)],
    "k2s1": [("convolution", 2, 1)],
    "k1s1": [("convolution", 1, 1)],
    "k2s2": [("convolution", 2, 2)],
    "k3s2": [("convolution", 3, 2)],
    "k5s2": [("convolution", 5, 2)],
    "k1s2": [("convolution", 1, 2)],
    "k3s3": [("convolution", 3, 3)],
    "k4s1": [("convolution", 4, 1)],
    "k4s2": [("convolution", 4, 2)],
    "k2s3": [("convolution", 2, 3)],
    "k5s3": [("convolution", 5, 3)],
    "k1s3": [("convolution", 1, 3)],
    "k2s2 transposed k4s2": [("convolution", 2, 2), ("convolution_transpose", 4, 2)],
    "k3s3 transposed k3s3": [("convolution", 3, 3), ("convolution_transpose", 3, 3)],
    "k2s2 transposed k3s1": [("convolution", 2, 2), ("convolution_transpose", 3, 1)],
    "average k3s1": [("average_pool", 3, 1)],
    "average k3s3": [("average_pool", 3, 3)],
    "average k5s3": [("average_pool", 5, 3)],
    "average k2s1": [("average_pool", 2, 1)],
    "max k3s1": [("max_pool", 3, 1)],
    "max k3s3": [("max_pool", 3, 3)],
    "max k2s1": [("max_pool", 2, 1)],
    "k5s2 average k2s2 k3s2": [("convolution", 5, 2), ("average_pool", 2, 2), ("convolution", 3, 2)],
    "k2s2 k3s2": [("convolution", 2, 2), ("convolution", 3, 2)],
    "k2s2 transposed k2s2": [("convolution", 2, 2), ("convolution_transpose", 2, 2)],
    "k2s2 transposed k3s2": [("convolution", 2, 2), ("convolution_transpose", 3, 2)],
    "average k2s2": [("average_pool", 2, 2)],
    "average k3s2": [("average_pool", 3, 2)],
    "max k2s2": [("max_pool", 2, 2)],
    "max k3s2": [("max_pool", 3, 2)],
}


def voxels(count: int = 120) -> tuple[Tensor, Tensor]:
    """Voxels (N, 4) of two scenes around the origin, shuffled, and features (N, CHANNELS) float32."""
    generator = torch.Generator().manual_seed(5)
    c = torch.randint(-4, 4, (count, 3), generator=generator)
    scene = torch.randint(0, SCENES, (count, 1), generator=generator)
    c = torch.unique(torch.cat([scene, c], dim=1), dim=0)
    c = c[torch.randperm(len(c), generator=generator)]
    return c, torch.randn(len(c), CHANNELS, generator=generator)


def stack_results(backend_name: str, stack: str, coordinates: Tensor, features: Tensor) -> dict[str, Tensor]:
    """Everything a stack gives: output voxels, features, pooled vectors, gradients of the input and of each kernel.

    Kernels are filled by a formula, so that no generator of random numbers needs to stay as it is.
    """
    side = backend(backend_name)
    source = features.clone().requires_grad_()
    x = side.tensor(coordinates, source, SCENES)
    kernels = []
    for kind, size, stride in LAYER_STACKS[stack]:
        layer = getattr(side, kind)(*((CHANNELS, CHANNELS) if kind.startswith("conv") else ()), size, stride)
        for parameter in layer.parameters():
            wave = torch.cos(1.7 * torch.arange(parameter.numel(), dtype=torch.float64) + len(kernels))
            with torch.no_grad():
                parameter.copy_(wave.reshape(parameter.shape))
            kernels.append(parameter)
        x = layer(x)
    out, values = side.arrays(x)
    pooled = side.global_average_pool(x, SCENES)
    (values.square().sum() + pooled.sum()).backward()
    assert source.grad is not None
    results = {"voxels": out, "features": values, "pooled": pooled, "gradient": source.grad}
    for number, kernel in enumerate(kernels):
        assert kernel.grad is not None
        results[f"kernel{number}"] = kernel.grad
    return {name: tensor.detach().clone().contiguous() for name, tensor in results.items()}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert torch.equal(ours["voxels"], theirs["voxels"].to(torch.int64))
    for name in ours.keys() - {"voxels"}:
        mine, other = ours[name], theirs[name]
        scale = float(other.abs().max())
        assert mine.shape == other.shape and scale > 0, name
        assert torch.allclose(mine, other, atol=1e-5 * scale, rtol=1e-5), name
