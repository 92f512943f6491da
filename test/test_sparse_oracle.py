"""Every kind of sparse layer, its gradients included, against dense convolutions masked to the occupied voxels."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from crossover_models.encoders.profile import SparseResNetSettings
from crossover_models.encoders.resnet import BasicBlock, SparseResNet
from crossover_models.sparse import SparseTensor, TorchBackend, backend, layers
from crossover_models.sparse.kernel_map import kernel_offsets, match
from crossover_models.sparse.tensor import pack

# A multiple of every tensor stride used, so that voxels of all grids start at the array's first cell.
ORIGIN = -12
SIZE = 24
MARGIN = 4  # empty border: what a transposed kernel spreads stays inside


@dataclass(frozen=True)
class Dense:
    """Values (B, C, X, Y, Z) and occupancy (B, 1, X, Y, Z) of a grid of ``stride`` voxels, first cell at ORIGIN."""

    values: Tensor
    mask: Tensor
    stride: int
    encoder_masks: dict[int, Tensor]  # by stride: a transposed layer returns to voxels the network already had

    def at(self, x: SparseTensor) -> Tensor:
        b, i, j, k = x.coordinates.T
        cells = [torch.div(c - ORIGIN, self.stride, rounding_mode="floor") for c in (i, j, k)]
        return self.values[b, :, cells[0], cells[1], cells[2]]

    def coordinates(self) -> Tensor:
        cells = self.mask[:, 0].nonzero()
        scale = torch.tensor([1, self.stride, self.stride, self.stride])
        return cells * scale + torch.tensor([0, ORIGIN, ORIGIN, ORIGIN])

    def onto(self, values: Tensor, mask: Tensor, stride: int) -> Dense:
        return Dense(values * mask, mask, stride, {**self.encoder_masks, stride: mask})


def padding(size: int, pool_stride: int = 0) -> tuple[int, int]:
    """Cells before and after; pooling with as large a kernel as stride takes cells, not a centered window."""
    before = size // 2 if size % 2 and size != pool_stride else 0
    return before, size - 1 - before


def weights(kernel: Tensor, size: int) -> Tensor:
    """(K^3, in, out) or (in, out), x fastest -> (out, in, x, y, z)."""
    full = kernel.reshape(size, size, size, *kernel.shape[-2:])
    return full.permute(4, 3, 2, 1, 0)


def coarser(x: Dense, stride: int) -> Tensor:
    return x.mask if stride == 1 else functional.max_pool3d(x.mask, stride, stride)


def windows(values: Tensor, kernel: Tensor, size: int, stride: int, pool_stride: int = 0) -> Tensor:
    padded = functional.pad(values, padding(size, pool_stride) * 3)
    return functional.conv3d(padded, weights(kernel, size), stride=stride)


def dense_convolution(x: Dense, kernel: Tensor, size: int, stride: int) -> Dense:
    return x.onto(windows(x.values, kernel, size, stride), coarser(x, stride), x.stride * stride)


def dense_transposed(x: Dense, kernel: Tensor, size: int, stride: int) -> Dense:
    start = padding(size)[0]
    shape = [stride * side for side in x.values.shape[2:]]

    def spread(values: Tensor, weight: Tensor) -> Tensor:
        full = functional.conv_transpose3d(values, weight.transpose(0, 1), stride=stride)
        short = [max(0, start + side - have) for side, have in zip(shape, full.shape[2:], strict=True)]
        full = functional.pad(full, (0, short[2], 0, short[1], 0, short[0]))
        return full[:, :, start : start + shape[0], start : start + shape[1], start : start + shape[2]]

    target = x.stride // stride
    mask = x.encoder_masks.get(target)
    if mask is None:
        mask = (spread(x.mask, torch.ones(1, 1, size, size, size, dtype=x.mask.dtype)) > 0).to(x.mask.dtype)
    return x.onto(spread(x.values, weights(kernel, size)), mask, target)


def dense_average(x: Dense, size: int, stride: int) -> Dense:
    channels = x.values.shape[1]
    one = torch.ones(size**3, 1, 1, dtype=x.values.dtype)
    total = torch.cat([windows(x.values[:, c : c + 1], one, size, stride, stride) for c in range(channels)], dim=1)
    return x.onto(
        total / windows(x.mask, one, size, stride, stride).clamp(min=1), coarser(x, stride), x.stride * stride
    )


def dense_maximum(x: Dense, size: int, stride: int) -> Dense:
    low = torch.where(x.mask > 0, x.values, -1e9)
    highest = functional.max_pool3d(functional.pad(low, padding(size, stride) * 3, value=-1e9), size, stride)
    # A kernel smaller than its stride can miss all voxels of a cell: zero, as for averages.
    return x.onto(torch.where(highest > -1e9, highest, 0.0), coarser(x, stride), x.stride * stride)


def dense_global(x: Dense) -> Tensor:
    return x.values.sum((2, 3, 4)) / x.mask.sum((2, 3, 4)).clamp(min=1)


ORACLES = {
    "convolution": dense_convolution,
    "convolution_transpose": dense_transposed,
    "average_pool": dense_average,
    "max_pool": dense_maximum,
}


def scenes(seed: int, channels: int = 3, occupancy: float = 0.15) -> tuple[Tensor, Tensor]:
    """Shuffled coordinates (N, 4) of three scenes, the middle one empty, and features (N, C) float64."""
    generator = torch.Generator().manual_seed(seed)
    inner = SIZE - 2 * MARGIN
    occupied = torch.rand(3, inner, inner, inner, generator=generator) < occupancy
    occupied[1] = False
    coordinates = occupied.nonzero() + torch.tensor([0, *[ORIGIN + MARGIN] * 3])
    coordinates = coordinates[torch.randperm(len(coordinates), generator=generator)]
    features = torch.randn(len(coordinates), channels, generator=generator, dtype=torch.float64)
    return coordinates, features


def both(coordinates: Tensor, features: Tensor) -> tuple[SparseTensor, Dense]:
    """The sparse tensor and its dense twin; gradients of either reach ``features``."""
    b, i, j, k = coordinates.T
    index = (b, i - ORIGIN, j - ORIGIN, k - ORIGIN)
    values = features.new_zeros(3, SIZE, SIZE, SIZE, features.shape[1]).index_put(index, features)
    mask = features.new_zeros(3, 1, SIZE, SIZE, SIZE)
    mask[b, 0, index[1], index[2], index[3]] = 1.0
    return (
        SparseTensor.from_coordinates(coordinates, features, batch_size=3),
        Dense(values.permute(0, 4, 1, 2, 3), mask, 1, {1: mask}),
    )


CONVOLUTIONS = [("convolution", size, stride) for size in (1, 2, 3, 4, 5) for stride in (1, 2, 3)]
TRANSPOSED = [
    [("convolution", stride, stride), ("convolution_transpose", size, stride)]
    for size, stride in ((1, 1), (3, 1), (1, 2), (2, 2), (3, 2), (4, 2), (5, 2), (3, 3), (2, 3), (5, 3))
]
POOLS = [(kind, size, stride) for kind in ("average_pool", "max_pool") for size in (2, 3, 4) for stride in (1, 2, 3)]
CHAINS = [
    [("convolution", 5, 2), ("average_pool", 2, 2), ("convolution", 3, 1), ("convolution", 3, 3)],
    [("convolution", 3, 3), ("convolution", 2, 2), ("convolution", 1, 2), ("convolution", 3, 1)],
    [("convolution", 2, 2), ("convolution", 2, 2), ("convolution_transpose", 3, 2), ("convolution_transpose", 2, 2)],
    [("max_pool", 3, 2), ("convolution", 3, 3), ("convolution_transpose", 2, 3), ("convolution", 3, 1)],
]
STACKS = [[layer] for layer in CONVOLUTIONS + POOLS] + TRANSPOSED + CHAINS


def name(stack: list[tuple[str, int, int]]) -> str:
    return " ".join(f"{kind} k{size}s{stride}" for kind, size, stride in stack)


@pytest.mark.parametrize("stack", STACKS, ids=name)
def test_layers_and_gradients_equal_masked_dense_ones(stack: list[tuple[str, int, int]]) -> None:
    coordinates, features = scenes(seed=len(name(stack)))
    features.requires_grad_()
    sparse, dense = both(coordinates, features)
    make, parameters = TorchBackend(), []
    for kind, size, stride in stack:
        layer = getattr(make, kind)(*((3, 3) if kind.startswith("conv") else ()), size, stride).double()
        sparse = layer(sparse)
        parameters += layer.parameters()
        dense = ORACLES[kind](dense, *layer.parameters(), size, stride)
    assert torch.equal(sparse.coordinates, dense.coordinates())
    assert sparse.stride == dense.stride
    assert torch.allclose(sparse.features, dense.at(sparse), atol=1e-12, rtol=1e-10)
    pooled = layers.GlobalAveragePool()(sparse)
    assert torch.allclose(pooled, dense_global(dense), atol=1e-12, rtol=1e-10)
    assert not pooled[1].any()

    # Any weighting of rows will do; the pooled part tests the gradient of global pooling too.
    weighting = torch.randn(sparse.features.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ours = torch.autograd.grad((sparse.features * weighting).sum() + pooled.square().sum(), [features, *parameters])
    loss = (dense.at(sparse) * weighting).sum() + dense_global(dense).square().sum()
    for mine, expected in zip(ours, torch.autograd.grad(loss, [features, *parameters]), strict=True):
        assert expected.abs().max() > 0
        assert torch.allclose(mine, expected, atol=1e-11, rtol=1e-9)


def test_transposed_without_an_encoder_equals_dense_on_all_that_its_kernel_covers() -> None:
    coordinates, features = scenes(seed=9, occupancy=0.03)
    coarse = coordinates.clone()
    coarse[:, 1:] = torch.div(coarse[:, 1:], 2, rounding_mode="floor") * 2
    coarse = torch.unique(coarse, dim=0)
    for size in (2, 3, 4):
        values = features[: len(coarse)].clone().requires_grad_()
        x = SparseTensor(pack(coarse), values, 3, stride=2)
        b, i, j, k = coarse.T
        cells = [(c - ORIGIN) // 2 for c in (i, j, k)]
        grid = values.new_zeros(3, SIZE // 2, SIZE // 2, SIZE // 2, 3).index_put((b, *cells), values)
        mask = torch.zeros(3, 1, SIZE // 2, SIZE // 2, SIZE // 2, dtype=torch.float64)
        mask[b, 0, cells[0], cells[1], cells[2]] = 1.0
        layer = layers.ConvolutionTranspose(3, 2, size, 2).double()
        out = layer(x)
        expected = dense_transposed(Dense(grid.permute(0, 4, 1, 2, 3), mask, 2, {}), layer.kernel, size, 2)
        assert torch.equal(out.coordinates, expected.coordinates())
        assert torch.allclose(out.features, expected.at(out), atol=1e-12)
        mine = torch.autograd.grad(out.features.square().sum(), [values, layer.kernel])
        theirs = torch.autograd.grad(expected.values.square().sum(), [values, layer.kernel])
        assert all(torch.allclose(a, b, atol=1e-11) for a, b in zip(mine, theirs, strict=True))


def dense_norm(x: Dense, norm: nn.BatchNorm1d) -> Dense:
    """Batch normalization over occupied cells only."""
    rows = x.mask[:, 0].bool()
    values = x.values.permute(0, 2, 3, 4, 1)
    normed = functional.batch_norm(values[rows], None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
    return x.onto(torch.zeros_like(values).index_put(rows.nonzero(as_tuple=True), normed).permute(0, 4, 1, 2, 3),
                  x.mask, x.stride)  # fmt: skip


@pytest.mark.parametrize(("stride", "shortcut"), [(1, False), (1, True), (2, True), (3, True)])
def test_residual_block_with_its_strided_shortcut(stride: int, shortcut: bool) -> None:
    coordinates, features = scenes(seed=4)
    features.requires_grad_()
    sparse, x = both(coordinates, features)
    width = 4 if shortcut else 3
    block = BasicBlock(TorchBackend(), 3, width, stride, shortcut).double().train()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    out = block(sparse)
    inner = dense_norm(dense_convolution(x, block.conv1.kernel, 3, stride), block.norm1.bn)
    inner = inner.onto(torch.relu(inner.values), inner.mask, inner.stride)
    inner = dense_norm(dense_convolution(inner, block.conv2.kernel, 3, 1), block.norm2.bn)
    other = x
    if shortcut:
        other = dense_norm(dense_convolution(x, block.downsample[0].kernel, 1, stride), block.downsample[1].bn)
    expected = inner.onto(torch.relu(inner.values + other.values), inner.mask, inner.stride)
    assert torch.equal(out.coordinates, expected.coordinates())
    assert torch.allclose(out.features, expected.at(out), atol=1e-10)
    leaves = [features, *block.parameters()]
    mine = torch.autograd.grad(out.features.square().sum(), leaves)
    theirs = torch.autograd.grad(expected.values.square().sum(), leaves)
    for a, b in zip(mine, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-9 * max(1.0, float(b.abs().max())))


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_kernel_maps_equal_looking_every_voxel_up(size: int, step: int) -> None:
    coordinates, _ = scenes(seed=size, occupancy=0.3)
    inputs, outputs = coordinates.clone(), coordinates[::3].clone()
    for c in (inputs, outputs):
        c[:, 1:] = torch.div(c[:, 1:], step, rounding_mode="floor") * step
    # The last keys of all lie beyond every input, so that some are looked for past the end.
    in_keys, out_keys = pack(inputs).unique(), torch.cat([pack(outputs), pack(inputs).max()[None] + step]).unique()
    offsets = kernel_offsets(size) * step
    row_of = {tuple(c): row for row, c in enumerate(torch.unique(inputs, dim=0).tolist())}
    out_coordinates = SparseTensor(out_keys, torch.zeros(len(out_keys), 1), 3).coordinates.tolist()
    shuffled = torch.randperm(len(offsets), generator=torch.Generator().manual_seed(0))
    for offset, (rows, out_rows) in zip(
        offsets[shuffled].tolist(), match(in_keys, out_keys, offsets[shuffled], step), strict=True
    ):
        wanted = [(b, x + offset[0], y + offset[1], z + offset[2]) for b, x, y, z in out_coordinates]
        expected = [(row_of[c], out) for out, c in enumerate(wanted) if c in row_of]
        assert list(zip(rows.tolist(), out_rows.tolist(), strict=True)) == expected


def test_network_equals_minkowski_engine() -> None:
    if importlib.util.find_spec("MinkowskiEngine") is None:
        pytest.skip("MinkowskiEngine is not installed: no network was compared with it")
    settings = SparseResNetSettings(
        in_channels=3, stem_channels=8, stem_kernel=5, stem_pool=True, channels="8,12,16,16", blocks="2,1,1,1",
        strides="2,2,2,2", last_channels=16, last_stride=3,
    )  # fmt: skip
    coordinates, features = scenes(seed=2, occupancy=0.3)
    coordinates[:, 0] //= 2  # MinkowskiEngine knows no scene without voxels
    networks = [SparseResNet(settings, backend(kind)) for kind in ("torch", "minkowski")]
    networks[1].load_state_dict(networks[0].state_dict(), strict=True)
    outputs = [network.eval()(coordinates, features.float(), 2) for network in networks]
    assert torch.allclose(outputs[0], outputs[1], atol=1e-5)
    for network, output in zip(networks, outputs, strict=True):
        output.square().sum().backward()
        assert all(p.grad is not None for p in network.parameters())
    for (label, a), (_, b) in zip(networks[0].named_parameters(), networks[1].named_parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-4 * max(1e-3, float(a.grad.abs().max()))), label
