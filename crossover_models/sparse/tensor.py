"""Sparse voxel tensors: sorted packed coordinates, features, and the kernel maps computed on them so far."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

_FIELD_BITS = 16
_BIAS = 1 << (_FIELD_BITS - 1)
COORDINATE_LIMIT = _BIAS - 2048
"""Largest |coordinate|: 2048 below the field's range, so that adding a kernel offset never carries into the next."""
BATCH_LIMIT = 1 << 14


class SparseError(ValueError):
    """Coordinates or features that form no sparse tensor; the message names the field and the value."""


def pack(coordinates: Tensor) -> Tensor:
    """(N, 4) integer [batch, x, y, z] -> (N,) int64 keys, ordered as the coordinates are lexicographically.

    Keys are linear: ``pack(c + o) - pack(c)`` depends on the offset ``o`` alone (see :func:`pack_offset`).

    Raises:
        SparseError: a coordinate beyond :data:`COORDINATE_LIMIT` or a batch index beyond :data:`BATCH_LIMIT`.
    """
    c = coordinates.to(torch.int64)
    if c.ndim != 2 or c.shape[1] != 4:
        raise SparseError(f"coordinates: expected (N, 4) [batch, x, y, z], got {tuple(c.shape)}")
    farthest = int(c[:, 1:].abs().max()) if len(c) else 0
    if farthest > COORDINATE_LIMIT:
        raise SparseError(f"coordinates: |{farthest}| is beyond the limit of {COORDINATE_LIMIT} voxels")
    if len(c) and (int(c[:, 0].min()) < 0 or int(c[:, 0].max()) >= BATCH_LIMIT):
        raise SparseError(f"coordinates: batch indices must lie in [0, {BATCH_LIMIT})")
    batch, x, y, z = c[:, 0], c[:, 1] + _BIAS, c[:, 2] + _BIAS, c[:, 3] + _BIAS
    return (batch << 3 * _FIELD_BITS) | (x << 2 * _FIELD_BITS) | (y << _FIELD_BITS) | z


def pack_offset(offsets: Tensor) -> Tensor:
    """(K, 3) integer voxel offsets -> (K,) int64 to be added to keys."""
    o = offsets.to(torch.int64)
    return o[:, 0] * (1 << 2 * _FIELD_BITS) + o[:, 1] * (1 << _FIELD_BITS) + o[:, 2]


def unpack(keys: Tensor) -> Tensor:
    """(N,) keys -> (N, 4) int64 [batch, x, y, z]."""
    mask = (1 << _FIELD_BITS) - 1
    return torch.stack(
        [
            keys >> 3 * _FIELD_BITS,
            ((keys >> 2 * _FIELD_BITS) & mask) - _BIAS,
            ((keys >> _FIELD_BITS) & mask) - _BIAS,
            (keys & mask) - _BIAS,
        ],
        dim=1,
    )


KernelMap = list[tuple[Tensor, Tensor]]
"""One (input rows, output rows) pair of equally long int64 vectors a kernel offset."""


@dataclass
class CoordinateCache:
    """What one network pass computes once: coordinate sets by tensor stride, kernel maps.

    Maps are known by tensor stride, kernel, stride and whether the layer is ``forward``, ``cells`` or ``transposed``.
    """

    keys: dict[int, Tensor] = field(default_factory=dict)
    maps: dict[tuple[int, int, int, str], KernelMap] = field(default_factory=dict)


@dataclass(frozen=True)
class SparseTensor:
    """Features at occupied voxels.

    Attributes:
        keys: (N,) int64, sorted and unique (see :func:`pack`); coordinates are multiples of ``stride``.
        features: (N, C), row i at ``keys[i]``.
        stride: tensor stride, in voxels of the input.
        batch_size: number of scenes, including empty ones.
        cache: shared by all tensors that descend from one input.
    """

    keys: Tensor
    features: Tensor
    batch_size: int
    stride: int = 1
    cache: CoordinateCache = field(default_factory=CoordinateCache)

    @classmethod
    def from_coordinates(
        cls, coordinates: Tensor, features: Tensor, *, batch_size: int | None = None, average: bool = False
    ) -> SparseTensor:
        """Sort by coordinate; of several rows in one voxel keep the first, or with ``average`` their mean.

        Args:
            coordinates: (N, 4) integer [batch, x, y, z].
            features: (N, C) floating.
            batch_size: number of scenes; by default the largest batch index plus one.
            average: MinkowskiEngine's UNWEIGHTED_AVERAGE instead of one point a voxel.

        Raises:
            SparseError: shapes that do not agree, no voxel at all, or coordinates out of range.
        """
        if features.ndim != 2 or len(features) != len(coordinates):
            raise SparseError(f"features: expected ({len(coordinates)}, C), got {tuple(features.shape)}")
        if not len(coordinates):
            raise SparseError("coordinates: no voxel")
        keys, order = torch.sort(pack(coordinates), stable=True)
        unique, group, counts = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)
        if average:
            total = features.new_zeros(len(unique), features.shape[1]).index_add_(0, group, features[order])
            merged = total / counts[:, None].to(features.dtype)
        else:
            first = torch.cat([counts.new_zeros(1), counts.cumsum(0)[:-1]])
            merged = features[order[first]]
        size = int(unique[-1] >> 3 * _FIELD_BITS) + 1 if batch_size is None else batch_size
        tensor = cls(unique, merged, size)
        tensor.cache.keys[1] = unique
        return tensor

    @property
    def coordinates(self) -> Tensor:
        """(N, 4) int64 [batch, x, y, z]."""
        return unpack(self.keys)

    @property
    def batch_index(self) -> Tensor:
        """(N,) int64 scene of each voxel."""
        return self.keys >> 3 * _FIELD_BITS

    def with_features(self, features: Tensor) -> SparseTensor:
        """The same voxels with other features (N, C')."""
        return SparseTensor(self.keys, features, self.batch_size, self.stride, self.cache)
