"""Sparse layers against dense convolutions, and against MinkowskiEngine where it is installed."""

from __future__ import annotations

import importlib.util
import warnings

import pytest
import torch
from sparse_stacks import CHANNELS, LAYER_STACKS, assert_same, stack_results
from torch import Tensor
from torch.nn import functional
from write_sparse_golden import golden_results, read_golden

from crossover_models.sparse import SparseError, SparseTensor, backend, layers
from crossover_models.sparse.kernel_map import kernel_offsets
from crossover_models.sparse.tensor import COORDINATE_LIMIT, pack, pack_offset, unpack

SIZE = 12
SHIFT = -4  # the occupied box spans negative coordinates too, where flooring and truncation differ


def random_tensor(seed: int, channels: int = 3, occupancy: float = 0.3, batch: int = 2) -> tuple[SparseTensor, Tensor]:
    """A random sparse tensor and the same as a dense (batch, C, x, y, z) float64 array with origin at SHIFT."""
    generator = torch.Generator().manual_seed(seed)
    occupied = torch.rand(batch, SIZE, SIZE, SIZE, generator=generator) < occupancy
    coordinates = occupied.nonzero()
    features = torch.randn(len(coordinates), channels, generator=generator, dtype=torch.float64)
    dense = torch.zeros(batch, channels, SIZE, SIZE, SIZE, dtype=torch.float64)
    b, x, y, z = coordinates.T
    dense[b, :, x, y, z] = features
    shuffled = torch.randperm(len(coordinates), generator=generator)
    moved = coordinates + torch.tensor([0, SHIFT, SHIFT, SHIFT])
    return SparseTensor.from_coordinates(moved[shuffled], features[shuffled], batch_size=batch), dense


def dense_convolution(dense: Tensor, kernel: Tensor, size: int, stride: int) -> Tensor:
    """conv3d of torch with the kernel (K^3, in, out), x fastest; output index = out coordinate / stride, from SHIFT."""
    weight = kernel.reshape(size, size, size, *kernel.shape[1:]).permute(4, 3, 2, 1, 0)  # (out, in, x, y, z)
    before = size // 2 if size % 2 else 0
    after = size - 1 - before
    return functional.conv3d(functional.pad(dense, (before, after) * 3), weight, stride=stride)


def read_dense(dense: Tensor, x: SparseTensor, stride: int) -> Tensor:
    """Values (N, C) of a dense array of the given tensor stride at a sparse tensor's voxels."""
    b, i, j, k = x.coordinates.T
    cells = [torch.div(c - SHIFT, stride, rounding_mode="floor") for c in (i, j, k)]
    return dense[b, :, cells[0], cells[1], cells[2]]


def occupied_cells(dense: Tensor, stride: int) -> Tensor:
    """(batch, x, y, z) of the cells of a coarser grid that hold any voxel."""
    mask = (dense.abs().sum(1, keepdim=True) > 0).double()
    return functional.max_pool3d(mask, stride, stride)[:, 0].nonzero()


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (5, 1), (2, 1), (2, 2), (3, 2), (5, 2), (4, 2), (1, 2)])
def test_convolution_equals_dense(size: int, stride: int) -> None:
    x, dense = random_tensor(seed=size * 10 + stride)
    layer = layers.Convolution(3, 4, size, stride).double()
    out = layer(x)
    kernel = layer.kernel[None] if layer.kernel.ndim == 2 else layer.kernel
    expected = dense_convolution(dense, kernel, size, stride)
    assert torch.allclose(out.features, read_dense(expected, out, stride), atol=1e-12)
    assert out.stride == stride
    cells = occupied_cells(dense, stride)
    corners = cells * torch.tensor([1, stride, stride, stride]) + torch.tensor([0, SHIFT, SHIFT, SHIFT])
    assert torch.equal(out.coordinates, corners)


def test_stride_three_from_the_origin() -> None:
    x, dense = random_tensor(seed=5)
    c = x.coordinates + torch.tensor([0, -SHIFT, -SHIFT, -SHIFT])
    at_zero = SparseTensor.from_coordinates(c, x.features)
    layer = layers.Convolution(3, 2, 3, 3).double()
    out = layer(at_zero)
    b, i, j, k = out.coordinates.T
    expected = dense_convolution(dense, layer.kernel, 3, 3)[b, :, i // 3, j // 3, k // 3]
    assert torch.allclose(out.features, expected, atol=1e-12)


def test_second_layer_counts_in_tensor_strides() -> None:
    x, dense = random_tensor(seed=7)
    first, second = layers.Convolution(3, 4, 2, 2).double(), layers.Convolution(4, 2, 3, 2).double()
    out = second(first(x))
    middle = dense_convolution(dense, first.kernel, 2, 2)
    expected = dense_convolution(middle, second.kernel, 3, 2)
    assert out.stride == 4
    assert torch.allclose(out.features, read_dense(expected, out, 4), atol=1e-12)


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2)])
def test_transposed_equals_dense_at_the_encoders_voxels(size: int, stride: int) -> None:
    x, dense = random_tensor(seed=size)
    down, up = layers.Convolution(3, 4, 2, 2).double(), layers.ConvolutionTranspose(4, 2, size, stride).double()
    out = up(down(x))
    middle = dense_convolution(dense, down.kernel, 2, 2)
    weight = up.kernel.reshape(size, size, size, 4, 2).permute(3, 4, 2, 1, 0)  # (in, out, x, y, z)
    start = size // 2 if size % 2 else 0
    full = functional.conv_transpose3d(middle, weight, stride=stride)[:, :, start:, start:, start:]
    assert torch.equal(out.keys, x.keys)
    assert torch.allclose(out.features, read_dense(full, out, 1), atol=1e-12)


def test_transposed_without_an_encoder_covers_its_kernel() -> None:
    x = SparseTensor(pack(torch.tensor([[0, 4, 4, 4]])), torch.ones(1, 1), 1, stride=2)
    up = layers.ConvolutionTranspose(1, 1, 2, 2)
    out = up(x)
    assert torch.equal(out.coordinates[:, 1:], torch.cartesian_prod(*[torch.tensor([4, 5])] * 3))
    order = torch.argsort(pack_offset(kernel_offsets(2)))
    assert torch.equal(out.features[:, 0], up.kernel[order, 0, 0])


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (3, 1)])
def test_pools_see_only_occupied_voxels(size: int, stride: int) -> None:
    x, dense = random_tensor(seed=size + stride, channels=1)
    ones = torch.ones(size**3, 1, 1, dtype=torch.float64)
    mask = (dense != 0).double()
    mean = layers.AveragePool(size, stride)(x)
    total, count = dense_convolution(dense, ones, size, stride), dense_convolution(mask, ones, size, stride)
    assert torch.allclose(mean.features, read_dense(total / count.clamp(min=1), mean, stride), atol=1e-12)
    low = torch.where(mask > 0, dense, torch.full_like(dense, -1e9))
    before = size // 2 if size % 2 else 0
    padded = functional.pad(low, (before, size - 1 - before) * 3, value=-1e9)
    highest = layers.MaxPool(size, stride)(x)
    assert torch.equal(highest.features, read_dense(functional.max_pool3d(padded, size, stride), highest, stride))


def test_pointwise_shortcut_sees_only_the_corner() -> None:
    x = SparseTensor.from_coordinates(torch.tensor([[0, 0, 0, 0], [0, 3, 2, 2]]), torch.ones(2, 1))
    out = layers.Convolution(1, 1, 1, 2)(x)
    assert out.coordinates.tolist() == [[0, 0, 0, 0], [0, 2, 2, 2]]
    assert out.features[0, 0] != 0 and out.features[1, 0] == 0


def test_global_pool_keeps_the_order_of_scenes_and_empty_ones() -> None:
    c = torch.tensor([[2, 0, 0, 0], [0, 5, 5, 5], [2, 1, 0, 0]])
    x = SparseTensor.from_coordinates(c, torch.tensor([[1.0], [7.0], [3.0]]), batch_size=4)
    assert layers.GlobalAveragePool()(x)[:, 0].tolist() == [7.0, 0.0, 2.0, 0.0]


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (2, 2), (1, 2)])
def test_gradients(size: int, stride: int) -> None:
    x, _ = random_tensor(seed=3, channels=2, occupancy=0.02, batch=1)
    layer = layers.Convolution(2, 2, size, stride).double()

    def run(features: Tensor, kernel: Tensor) -> Tensor:
        state = {"kernel": kernel}
        out: SparseTensor = torch.func.functional_call(layer, state, (x.with_features(features),))
        return out.features

    kernel = layer.kernel.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(run, (x.features.clone().requires_grad_(), kernel))


def test_parameter_names_and_shapes() -> None:
    assert layers.Convolution(3, 8, 5, 2).state_dict()["kernel"].shape == (125, 3, 8)
    assert layers.Convolution(3, 8, 1, 2).state_dict()["kernel"].shape == (1, 3, 8)
    assert layers.Convolution(3, 8, 1, 1).state_dict()["kernel"].shape == (3, 8)
    names = ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked"]
    assert list(layers.BatchNorm(4).state_dict()) == names


def test_offsets_are_x_fastest() -> None:
    assert kernel_offsets(3)[:4].tolist() == [[-1, -1, -1], [0, -1, -1], [1, -1, -1], [-1, 0, -1]]
    assert kernel_offsets(2).tolist()[:3] == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]


def test_keys_are_linear_and_reversible() -> None:
    generator = torch.Generator().manual_seed(0)
    c = torch.randint(-COORDINATE_LIMIT, COORDINATE_LIMIT + 1, (500, 4), generator=generator)
    c[:, 0] = c[:, 0].abs() % 1000
    o = torch.randint(-2000, 2001, (500, 3), generator=generator)
    assert torch.equal(unpack(pack(c)), c)
    moved = c + torch.cat([torch.zeros(500, 1, dtype=torch.int64), o], dim=1)
    assert torch.equal(unpack(pack(c) + pack_offset(o)), moved)


def test_duplicates_keep_the_first_or_average() -> None:
    c = torch.tensor([[0, 1, 1, 1], [0, 0, 0, 0], [0, 1, 1, 1]])
    f = torch.tensor([[2.0], [5.0], [4.0]])
    assert SparseTensor.from_coordinates(c, f).features[:, 0].tolist() == [5.0, 2.0]
    assert SparseTensor.from_coordinates(c, f, average=True).features[:, 0].tolist() == [5.0, 3.0]


def test_refuses_what_is_no_tensor() -> None:
    with pytest.raises(SparseError, match="no voxel"):
        SparseTensor.from_coordinates(torch.zeros(0, 4, dtype=torch.int64), torch.zeros(0, 1))
    with pytest.raises(SparseError, match="beyond the limit"):
        SparseTensor.from_coordinates(torch.tensor([[0, COORDINATE_LIMIT + 1, 0, 0]]), torch.ones(1, 1))
    with pytest.raises(SparseError, match="features"):
        SparseTensor.from_coordinates(torch.zeros(2, 4, dtype=torch.int64), torch.ones(3, 1))
    with pytest.raises(SparseError, match="batch"):
        SparseTensor.from_coordinates(torch.tensor([[-1, 0, 0, 0]]), torch.ones(1, 1))
    with pytest.raises(ValueError, match="torch or minkowski"):
        backend("spconv")


def minkowski_or_skip() -> None:
    if importlib.util.find_spec("MinkowskiEngine") is None:
        reason = "MinkowskiEngine is not installed: equality with it was NOT tested (dense convolutions were)"
        warnings.warn(reason, stacklevel=2)
        pytest.skip(reason)


@pytest.mark.parametrize("stack", LAYER_STACKS)
def test_equals_minkowski_engine(stack: str) -> None:
    minkowski_or_skip()
    source, _ = random_tensor(seed=1, channels=CHANNELS)
    features = source.features.float()
    assert_same(*(stack_results(name, stack, source.coordinates, features) for name in ("torch", "minkowski")))


@pytest.mark.parametrize("stack", LAYER_STACKS)
def test_equals_what_minkowski_engine_once_gave(stack: str) -> None:
    golden = read_golden()
    ours = stack_results("torch", stack, golden["coordinates"].to(torch.int64), golden["features"])
    begin = f"{stack}/"
    assert_same(ours, {name.removeprefix(begin): t for name, t in golden.items() if name.startswith(begin)})


def test_golden_results_are_those_of_the_installed_minkowski_engine() -> None:
    minkowski_or_skip()
    golden, now = read_golden(), golden_results()
    assert golden.keys() == now.keys()
    for name, tensor in now.items():
        assert torch.allclose(golden[name].double(), tensor.double(), atol=1e-4, rtol=1e-4), name
