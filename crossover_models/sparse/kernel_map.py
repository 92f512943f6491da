"""Which input voxel meets which output voxel under which kernel offset (MinkowskiEngine's conventions).

Offset index = ix + K*iy + K^2*iz, x fastest. An odd kernel is centered, an even one spans 0..K-1; offsets are multiples
of the input's tensor stride. A strided layer's outputs are the unique ``floor(c / s) * s`` of its inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from crossover_models.sparse.tensor import KernelMap, SparseTensor, pack, pack_offset, unpack


def kernel_offsets(kernel_size: int, *, centered: bool = True) -> Tensor:
    """(K^3, 3) int64 offsets in units of the tensor stride, x fastest; odd kernels not ``centered`` start at 0 too."""
    start = -(kernel_size // 2) if centered and kernel_size % 2 else 0
    steps = torch.arange(start, start + kernel_size)
    z, y, x = torch.meshgrid(steps, steps, steps, indexing="ij")
    return torch.stack([x.ravel(), y.ravel(), z.ravel()], dim=1)


def strided_keys(x: SparseTensor, stride: int) -> Tensor:
    """(M,) sorted keys of the outputs of a layer of ``stride`` on ``x``; cached by tensor stride."""
    target = x.stride * stride
    known = x.cache.keys.get(target)
    if known is None:
        c = unpack(x.keys)
        c[:, 1:] = torch.div(c[:, 1:], target, rounding_mode="floor") * target
        known = x.cache.keys[target] = torch.unique(pack(c))
    return known


def match(in_keys: Tensor, out_keys: Tensor, offsets: Tensor, step: int) -> KernelMap:
    """For every offset (K, 3), in voxels, the rows with ``in = out + offset``.

    Only the first offset of a column along z is searched for: z is the keys' last field, so once the place of a key is
    known, that of the key one ``step`` above is the next row where the first was there, and the same where it was not.

    Args:
        in_keys: (N,) sorted, of voxels at multiples of ``step``.
        out_keys: (M,) sorted, likewise.
        offsets: (K, 3) int64, multiples of ``step``.
        step: tensor stride of the inputs, in voxels.
    """
    shifts: list[int] = pack_offset(offsets).tolist()
    pairs: dict[int, tuple[Tensor, Tensor]] = {}
    row = hit = out_keys  # of the shift before; set by the first search
    before: int | None = None
    for shift in sorted(shifts):
        wanted = out_keys + shift
        row = torch.searchsorted(in_keys, wanted) if before is None or shift != before + step else row + hit
        hit = in_keys[row.clamp(max=len(in_keys) - 1)] == wanted
        out_rows = hit.nonzero()[:, 0]
        pairs[shift] = (row.index_select(0, out_rows), out_rows)
        before = shift
    return [pairs[shift] for shift in shifts]


def forward_map(x: SparseTensor, kernel_size: int, stride: int, *, pooling: bool = False) -> tuple[Tensor, KernelMap]:
    """Output keys (M,) and kernel map of a convolution or pooling layer on ``x``; cached.

    Pooling with as large a kernel as stride takes whole cells, 0..K-1 from the output's corner, even where K is odd.
    """
    cells = pooling and kernel_size == stride
    out_keys = x.keys if stride == 1 else strided_keys(x, stride)
    name = (x.stride, kernel_size, stride, "cells" if cells else "forward")
    known = x.cache.maps.get(name)
    if known is None:
        offsets = kernel_offsets(kernel_size, centered=not cells) * x.stride
        if stride == 1 and kernel_size % 2:
            # The map of -o is the map of o with its sides exchanged, so half the look-ups do: those of whole columns.
            lower = (pack_offset(offsets) < 0).nonzero()[:, 0]
            everyone = torch.arange(len(x.keys), device=x.keys.device)
            known = [(everyone, everyone)] * len(offsets)
            for k, (inside, out) in zip(lower.tolist(), match(x.keys, x.keys, offsets[lower], x.stride), strict=True):
                known[k], known[-1 - k] = (inside, out), (out, inside)
        else:
            known = match(x.keys, out_keys, offsets, x.stride)
        x.cache.maps[name] = known
    return out_keys, known


def transposed_map(x: SparseTensor, kernel_size: int, stride: int) -> tuple[Tensor, KernelMap]:
    """Output keys (M,) and map of a transposed layer: ``out = in + offset`` on the finer grid of ``x.stride / stride``.

    Outputs are the voxels that the network already had at that stride (what a U-Net wants), otherwise every voxel that
    a kernel placed on an input covers.

    Raises:
        ValueError: the tensor stride is no multiple of ``stride``.
    """
    if x.stride % stride:
        raise ValueError(f"stride: tensor stride {x.stride} is no multiple of {stride}")
    target = x.stride // stride
    offsets = kernel_offsets(kernel_size) * target
    out_keys = x.cache.keys.get(target)
    if out_keys is None:
        spread = x.keys[None, :] + pack_offset(offsets).to(x.keys.device)[:, None]
        out_keys = x.cache.keys[target] = torch.unique(spread)
    name = (x.stride, kernel_size, stride, "transposed")
    known = x.cache.maps.get(name)
    if known is None:
        known = [(coarse, fine) for fine, coarse in match(out_keys, x.keys, offsets, target)]
        x.cache.maps[name] = known
    return out_keys, known
