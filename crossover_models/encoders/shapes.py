"""Shape of an object from its points: the frozen front end of profile `edge` where the reference has I2P-MAE.

Points are put into the cells of a grid, a small PointNet makes one vector of each cell, and three-dimensional
convolutions look at ever larger neighborhoods; no neighbor is searched, so a CPU needs about a millisecond an object.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crossover_models.dataset.features import Array, SceneFeatures
from crossover_models.encoders.checkpoint import load_strictly, read_tensors, save_tensors

SHAPE_DIM = 256
SHAPE_POINTS = 512
"""Points of an object that the encoder sees."""
LEAST_POINTS = 10
"""With fewer points in the cloud an object has no shape."""
LOCATION_DIM = 6
_GRID = 16
_WIDTHS = (32, 48, 96, 160)
_GROUPS = 8
_RADIUS_EPS = 1e-9


def unit_sphere(points: Tensor) -> Tensor:
    """(B, P, 3) centered on their mean, greatest radius 1; what is one point alone stays at the origin."""
    centered = points - points.mean(dim=1, keepdim=True)
    radius = centered.square().sum(dim=2, keepdim=True).amax(dim=1, keepdim=True).sqrt()
    scaled: Tensor = centered / radius.clamp(min=_RADIUS_EPS)
    return scaled


class ShapeEncoder(nn.Module):
    """PointNet (Qi et al. 2017) within the cells of a 16-grid, three strided convolutions, pooling over each level.

    Every shape is normalized by itself, so that a thin cloud weighs as much as a dense one.

    State: ``cell.*`` and ``cell_norm.*`` of the points, ``convolutions.{0,1,2}.*``, ``norms.{0,1,2}.*``, ``head.*``,
    ``head_norm.*``.
    """

    def __init__(self, dim: int = SHAPE_DIM) -> None:
        super().__init__()
        self.dim = dim
        first = _WIDTHS[0]
        self.cell = nn.ModuleList([nn.Linear(6, first), nn.Linear(first, first)])
        self.cell_norm = nn.LayerNorm(first)
        pairs = list(itertools.pairwise(_WIDTHS))
        self.convolutions = nn.ModuleList([nn.Conv3d(a, b, 3, stride=2, padding=1, bias=False) for a, b in pairs])
        self.norms = nn.ModuleList([nn.GroupNorm(_GROUPS, b) for _, b in pairs])
        # Of the last grid (2 x 2 x 2) each level is pooled by itself: what is up does not change when an object turns.
        self.head = nn.Linear(4 * _WIDTHS[-1] + _WIDTHS[-2], dim)
        self.head_norm = nn.LayerNorm(dim)

    def forward(self, points: Tensor) -> Tensor:
        """Points (B, P, 3), any P >= 1, z up -> (B, dim); they are centered and scaled here.

        Raises:
            ValueError: another shape.
        """
        if points.ndim != 3 or points.shape[1] < 1 or points.shape[2] != 3:
            raise ValueError(f"points: expected (B, P, 3) with P >= 1, got {tuple(points.shape)}")
        x = self._cells(unit_sphere(points))
        middle = x
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            middle, x = x, torch.relu(norm(convolution(x)))
        levels = x.permute(0, 2, 1, 3, 4).flatten(3)
        pooled = [levels.amax(dim=3).flatten(1), levels.mean(dim=3).flatten(1), middle.flatten(2).amax(dim=2)]
        out: Tensor = self.head_norm(self.head(torch.cat(pooled, dim=1)))
        return out

    def _cells(self, points: Tensor) -> Tensor:
        """(B, P, 3) in the unit ball -> (B, C, 16, 16, 16) by z, y, x: the greatest of a cell's points, or zero."""
        batch = len(points)
        scaled = (points + 1.0) * (_GRID / 2)
        cells = scaled.floor().clamp(0, _GRID - 1)
        inside = scaled - cells - 0.5
        h = torch.relu(self.cell[0](torch.cat([points, inside], dim=2)))
        h = torch.relu(self.cell_norm(self.cell[1](h).flatten(0, 1)))
        steps = cells.new_tensor([1, _GRID, _GRID * _GRID])
        flat = (cells @ steps).long() + _GRID**3 * torch.arange(batch, device=points.device)[:, None]
        grid = h.new_zeros(batch * _GRID**3, h.shape[1])
        # Nothing is below zero after the rectifier, so an empty cell is never greater than a point.
        grid = grid.scatter_reduce(0, flat.reshape(-1, 1).expand(-1, h.shape[1]), h, "amax")
        return grid.reshape(batch, _GRID, _GRID, _GRID, -1).permute(0, 4, 1, 2, 3)


def save_shapes(path: Path, encoder: ShapeEncoder, about: Mapping[str, object]) -> None:
    """Write the weights (matrices as half precision) and beside them a JSON that says what they are."""
    save_tensors(path, rounded(encoder.state_dict()), about)


def rounded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state with its matrices in half precision, as it is written."""
    return {n: t.half() if t.is_floating_point() and t.ndim >= 2 else t for n, t in state.items()}


def load_shapes(path: Path) -> ShapeEncoder:
    """The frozen encoder of a file that :func:`save_shapes` wrote.

    Raises:
        EncoderError: no such file, or a tensor is missing, unexpected or of another shape; the first is named.
    """
    encoder = ShapeEncoder()
    load_strictly(encoder, read_tensors(path), str(path))
    return frozen(encoder)


def frozen(encoder: ShapeEncoder) -> ShapeEncoder:
    """The same encoder, in evaluation mode and without gradients."""
    encoder.eval().requires_grad_(False)
    return encoder


def spread(points: Array, count: int) -> Array:
    """``count`` of (N, 3) points, evenly along their order (cached clouds are ordered by cell); repeated where fewer.

    Raises:
        ValueError: no points.
    """
    if not len(points):
        raise ValueError("points: none to choose from")
    return points[np.arange(count) * len(points) // count] if len(points) >= count else np.resize(points, (count, 3))


def object_points(scene: SceneFeatures, count: int = SHAPE_POINTS) -> tuple[Array, NDArray[np.bool_]]:
    """Each object's own points of the cloud, as the shape encoder takes them.

    Returns:
        (K, count, 3) centered on their mean, greatest radius 1, zero for absent ones; (K,) which objects have at
        least :data:`LEAST_POINTS`.
    """
    objects = len(scene.object_ids)
    out = np.zeros((objects, count, 3), dtype=np.float32)
    present = np.zeros(objects, dtype=np.bool_)
    for i, own in enumerate(own_points(scene)):
        if len(own) >= LEAST_POINTS:
            centered = own - own.mean(axis=0)
            radius = float(np.linalg.norm(centered, axis=1).max())
            out[i] = spread(centered / np.float32(max(radius, _RADIUS_EPS)), count)
            present[i] = True
    return out, present


def object_locations(scene: SceneFeatures) -> dict[str, Array]:
    """Where objects are: "point" of their points in the cloud, "cad" of their posed models.

    Returns:
        (K, 6) each: [mean xyz, extents along the scene's axes], metres; zero for objects without points or model.
    """
    objects = len(scene.object_ids)
    point, cad = (np.zeros((objects, LOCATION_DIM), dtype=np.float32) for _ in range(2))
    for i, own in enumerate(own_points(scene)):
        if len(own) >= LEAST_POINTS:
            point[i] = _location(own)
        row = int(scene.object_cad[i])
        if row >= 0:
            cad[i] = _location(posed_model(scene.cad_points[row], scene.object_poses[i], scene.object_sizes[i]))
    return {"point": point, "cad": cad}


def posed_model(model: Array, T_scene_object: Array, size_m: Array) -> Array:
    """Points (P, 3) of a model of any scale -> in the scene frame, metres.

    Args:
        model: along the object's axes (x forward, z up).
        T_scene_object: (4, 4), footprint centered, z = 0 below.
        size_m: (3,) extents along the object's axes.
    """
    low, high = model.min(axis=0), model.max(axis=0)
    extents = high - low
    # One scale: the longest side is the one that rounding moves least.
    longest = int(extents.argmax())
    scale = size_m[longest] / max(float(extents[longest]), _RADIUS_EPS)
    foot = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]], dtype=np.float32)
    placed: Array = scale * (model - foot) @ T_scene_object[:3, :3].T + T_scene_object[:3, 3]
    return placed.astype(np.float32)


def _location(points: Array) -> Array:
    return np.concatenate([points.mean(axis=0), points.max(axis=0) - points.min(axis=0)]).astype(np.float32)


def own_points(scene: SceneFeatures) -> list[Array]:
    """Points (n, 3) of each object, in the cloud's order."""
    order = np.argsort(scene.instance, kind="stable")
    edges = np.searchsorted(scene.instance[order], np.arange(len(scene.object_ids) + 1))
    return [scene.points[order[a:b]] for a, b in itertools.pairwise(edges)]
