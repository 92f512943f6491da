"""From cached features to what the network is fed: a random part of each scan in training, all of it otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossover_models.dataset.features import SceneFeatures
from crossover_models.encoders.inputs import Voxels, voxelize
from crossover_models.encoders.profile import SparseResNetSettings
from crossover_models.sets.palette import palette
from crossover_models.sets.raster import points_raster, upright_heading

LEAST_POINTS = 50
RADIUS_M = 8.0
_CAD_FULL = 3.0
"""Points of CAD models in a cell and band from which it counts as full: there are fewer than in a cloud."""
Array = NDArray[np.float32]


@dataclass(frozen=True)
class ViewsInput:
    """Pictures of one place: features (V, view), evidence (V, 2C), palettes (V, 64), what the poses say (4,)."""

    features: Array
    evidence: Array
    colors: Array
    geometry: Array


@dataclass(frozen=True)
class CloudInput:
    """A cloud of one place: voxels, their category or -1 (N,), palette (64,), raster (4, 64, 64) uint8."""

    voxels: Voxels
    labels: NDArray[np.int64]
    colors: Array
    raster: NDArray[np.uint8]


@dataclass(frozen=True)
class MeshInput:
    """CAD models of one place: shape features and geometry (K, F), categories or -1 (K,), raster (4, 64, 64) uint8."""

    shapes: Array
    labels: NDArray[np.int64]
    raster: NDArray[np.uint8]


@dataclass(frozen=True)
class PlanInput:
    """A floor plan around one place: features (plan,), raster (2, 64, 64) uint8."""

    features: Array
    raster: NDArray[np.uint8]


def view_geometry(poses: NDArray[np.float32]) -> Array:
    """(V, 4, 4) camera poses in any gravity-aligned frame -> (4,): how far they lie apart, how far they look around.

    Long and short extent of the positions over 5 m, the length of the mean viewing direction, a tenth of their number;
    none of them changes with the frame.
    """
    if not len(poses):
        return np.zeros(4, dtype=np.float32)
    xy = poses[:, :2, 3].astype(np.float64)
    centered = xy - xy.mean(axis=0)
    axes = np.linalg.svd(centered, full_matrices=False)[2] if len(xy) > 1 else np.eye(2)
    along = centered @ axes.T
    spans = np.zeros(2)
    spans[: along.shape[1]] = np.ptp(along, axis=0)
    looks = poses[:, :2, 2].astype(np.float64)
    looks /= np.maximum(1e-9, np.linalg.norm(looks, axis=1, keepdims=True))
    return np.array([*(spans / 5.0), np.linalg.norm(looks.mean(axis=0)), len(poses) / 10.0], dtype=np.float32)


def views_input(scan: SceneFeatures, rows: NDArray[np.int64], drive: bool) -> ViewsInput | None:
    """The chosen pictures of a scan's survey or drive; None without any."""
    if not len(rows):
        return None
    names = ("drive_views", "drive_objects", "drive_colors", "drive_poses")
    names = names if drive else ("views", "view_objects", "view_colors", "view_poses")
    features, evidence, colors, poses = (getattr(scan, name)[rows] for name in names)
    return ViewsInput(features, evidence, colors, view_geometry(poses))


def cloud_input(
    points: Array,
    colors: NDArray[np.uint8] | None,
    labels: NDArray[np.int64] | None,
    backbone: SparseResNetSettings,
    turn_rad: float = 0.0,
    heading_rad: float | None = None,
    least: int = LEAST_POINTS,
) -> CloudInput | None:
    """A cloud (N, 3), metres, z = 0 on the floor; None where too little of it is there.

    Args:
        points: gravity-aligned.
        colors: (N, 3) uint8 RGB or None.
        labels: (N,) category of each point or -1; None where unknown.
        backbone: says how large a voxel is.
        turn_rad: further turn after the alignment with the walls.
        heading_rad: of the walls, where it is known.
        least: fewer points than this are too little.
    """
    if len(points) < least:
        return None
    heading = upright_heading(points) if heading_rad is None else heading_rad
    voxels = voxelize(points, colors, backbone.voxel_m, RADIUS_M, turn_rad, labels, heading)
    known = voxels.labels if voxels.labels is not None else np.full(len(voxels.coordinates), -1, np.int64)
    seen = palette(colors) if colors is not None else palette(np.zeros((0, 3), np.uint8))
    return CloudInput(voxels, known, seen, points_raster(points, heading=heading))


def mesh_input(
    scan: SceneFeatures,
    shapes: Array,
    categories: dict[str, int],
    kept: NDArray[np.bool_] | None = None,
    raster: NDArray[np.uint8] | None = None,
) -> MeshInput | None:
    """The CAD models of a scan; None without any.

    Args:
        scan: its objects.
        shapes: (C, F) frozen features of ``scan.cad_points``.
        categories: name -> index.
        kept: (K,) objects to use, or None for all.
        raster: of all of them, where it was made before.
    """
    chosen = scan.object_cad >= 0 if kept is None else (scan.object_cad >= 0) & kept
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return None
    geometry = object_geometry(scan.object_sizes[rows], scan.object_poses[rows])
    labels = np.array([categories.get(scan.object_categories[i], -1) for i in rows], dtype=np.int64)
    if raster is None:
        raster = mesh_raster(np.concatenate([posed_points(scan, int(i)) for i in rows]))
    return MeshInput(
        np.concatenate([shapes[scan.object_cad[rows]], geometry], axis=1).astype(np.float32), labels, raster
    )


def object_geometry(sizes: Array, poses: Array) -> Array:
    """Sizes (K, 3), metres, and poses (K, 4, 4), z = 0 on the floor -> (K, 5): size, log of volume, height below."""
    volume = np.log(np.prod(sizes, axis=1, keepdims=True) + 1e-3) / 3.0
    return np.concatenate([sizes, volume, poses[:, 2, 3][:, None]], axis=1)


def mesh_raster(points: Array) -> NDArray[np.uint8]:
    """Raster of points on CAD models (N, 3) where they stand, metres, z = 0 on the floor."""
    return points_raster(points, _CAD_FULL)


def posed_points(scan: SceneFeatures, index: int) -> Array:
    """(P, 3) points on an object's CAD model where it stands, scene frame, metres."""
    model = scan.cad_points[scan.object_cad[index]]
    return placed(model, scan.object_sizes[index], scan.object_poses[index])


def placed(model: Array, size_m: Array, pose: Array) -> Array:
    """Points (P, 3) on a model of any scale -> where an object of a size (3,) and pose (4, 4) has them, metres."""
    low, high = model.min(axis=0), model.max(axis=0)
    # Normalized points have lost their size; the object's own gives it back, its footprint centered, its base at 0.
    scaled = (model - (low + high) / 2.0) * (size_m / np.maximum(high - low, 1e-6))
    scaled[:, 2] += size_m[2] / 2.0
    return np.asarray(scaled @ pose[:3, :3].T + pose[:3, 3], dtype=np.float32)


def padded(rows: Sequence[Array | None], width: int) -> tuple[Tensor, Tensor]:
    """Rows (n, width) each, None for none -> (B, N, width) and which exist (B, N); N is at least 1."""
    most = max(1, max((len(r) for r in rows if r is not None), default=1))
    out = torch.zeros(len(rows), most, width)
    mask = torch.zeros(len(rows), most, dtype=torch.bool)
    for i, row in enumerate(rows):
        if row is not None and len(row):
            out[i, : len(row)] = torch.from_numpy(np.ascontiguousarray(row, dtype=np.float32))
            mask[i, : len(row)] = True
    return out, mask


def stacked(rasters: Sequence[NDArray[np.uint8]]) -> Tensor:
    """(B, C, 64, 64) in 0..1."""
    return torch.from_numpy(np.stack(rasters).astype(np.float32) / 255.0)
