"""What the 3D and image encoders are fed, checked: pictures, voxels, surface points of meshes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Mesh
from crossover_models.encoders.alignment import wall_heading
from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.profile import EncoderProfile

_HEIGHT_SCALE_M = 2.0
_LEAST_POINTS_ON_MESHES = 200
_COLOR_CHANNELS = 3


@dataclass(frozen=True)
class Voxels:
    """A voxelized cloud.

    Attributes:
        coordinates: (N, 3) int64, unique, in voxels.
        features: (N, 5) float32: one, mean height over 2 m, mean red, green and blue in -1..1, or 0 without color.
        labels: (N,) int64 largest label of a voxel's points, or None where points had none.
    """

    coordinates: NDArray[np.int64]
    features: NDArray[np.float32]
    labels: NDArray[np.int64] | None = None


def checked_images(images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """The views of a place, each (H, W, 3) uint8 RGB with at least one pixel.

    Raises:
        EncoderError: no view, or one that is no such picture; names its index, shape and type.
    """
    if isinstance(images, np.ndarray) and images.ndim == 3:
        raise EncoderError("images: expected a sequence of (H, W, 3) pictures, got a single picture")
    if not len(images):
        raise EncoderError("images: no view; a place without images has no image embedding")
    for index, image in enumerate(images):
        if (
            not isinstance(image, np.ndarray)
            or image.ndim != 3
            or image.shape[2] != 3
            or image.dtype != np.uint8
            or not image.size
        ):
            got = f"{image.shape} {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
            raise EncoderError(f"images[{index}]: expected non-empty (H, W, 3) uint8 RGB, got {got}")
    return list(images)


def checked_cloud(points: NDArray[np.float32], colors: NDArray[np.uint8] | None) -> NDArray[np.float32]:
    """The points (N, 3) of a cloud with at least one.

    Raises:
        EncoderError: no point, a point that is not finite, or shapes that do not agree.
    """
    p = np.asarray(points)
    if p.ndim != 2 or p.shape[1] != 3:
        raise EncoderError(f"points: expected (N, 3), got {p.shape}")
    if not len(p):
        raise EncoderError("points: empty cloud")
    if not np.issubdtype(p.dtype, np.floating):
        raise EncoderError(f"points: expected floating-point metres, got {p.dtype}")
    finite = np.isfinite(p).all(axis=1)
    if not finite.all():
        raise EncoderError(f"points: {int((~finite).sum())} of {len(p)} points are not finite")
    if colors is not None and (colors.shape != p.shape or colors.dtype != np.uint8):
        raise EncoderError(f"colors: expected {p.shape} uint8, got {colors.shape} {colors.dtype}")
    return p


def voxelize(
    points: NDArray[np.float32],
    colors: NDArray[np.uint8] | None,
    voxel_m: float,
    radius_m: float,
    turn_rad: float = 0.0,
    labels: NDArray[np.int64] | None = None,
    heading_rad: float | None = None,
) -> Voxels:
    """Voxels of a gravity-aligned cloud.

    The cloud is moved so that its median lies at x = y = 0 and turned so that its walls are square to x and y, so its
    pose in the map does not matter but for quarter turns; z stays.

    Args:
        points: (N, 3), metres, z = 0 on the floor.
        colors: (N, 3) uint8 RGB or None.
        voxel_m: side of a voxel.
        radius_m: points farther than this from the median, in the plane or in height, are dropped.
        turn_rad: further turn after the alignment (training draws some).
        labels: (N,) of the points, -1 for none.
        heading_rad: of the walls, where it is known; else it is found.

    Raises:
        EncoderError: no point, a point that is not finite, or shapes that do not agree.
    """
    p = checked_cloud(points, colors)
    middle = np.median(p, axis=0)
    offset = p - middle
    near = (np.hypot(offset[:, 0], offset[:, 1]) <= radius_m) & (np.abs(offset[:, 2]) <= radius_m)
    if not near.any():
        # Two far groups put the median between them: keep the one around the point nearest to it.
        anchor = offset[np.argmin(np.hypot(offset[:, 0], offset[:, 1]))]
        near = np.linalg.norm(offset - anchor, axis=1) <= radius_m
    kept = offset[near]
    kept[:, 2] = p[near, 2]
    yaw = (wall_heading(kept[:, :2]) if heading_rad is None else heading_rad) - turn_rad
    cos, sin = np.cos(yaw), np.sin(yaw)
    kept[:, :2] = kept[:, :2] @ np.array([[cos, -sin], [sin, cos]])
    cells = np.floor(kept / voxel_m).astype(np.int64)
    low = cells.min(axis=0)
    span = cells.max(axis=0) - low + 1
    flat = ((cells[:, 0] - low[0]) * span[1] + cells[:, 1] - low[1]) * span[2] + cells[:, 2] - low[2]
    unique, first, group, count = np.unique(flat, return_index=True, return_inverse=True, return_counts=True)
    features = np.zeros((len(unique), 5), dtype=np.float32)
    features[:, 0] = 1.0
    features[:, 1] = np.bincount(group, kept[:, 2]) / count / _HEIGHT_SCALE_M
    if colors is not None:
        chosen = colors[near]
        for channel in range(3):
            features[:, 2 + channel] = np.bincount(group, chosen[:, channel]) / count / 127.5 - 1.0
    if labels is None:
        return Voxels(cells[first], features)
    largest = np.full(len(unique), -1, dtype=np.int64)
    np.maximum.at(largest, group, labels[near])
    return Voxels(cells[first], features, largest)


def surface_points(
    meshes: Sequence[Mesh], points_per_m2: float, max_points: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    """Evenly spread points (N, 3) on triangles, and their colors (N, 3) where *every* mesh has some.

    Systematic sampling along the triangles' cumulated area with a low-discrepancy sequence inside each, so the same
    meshes always give the same points.

    Raises:
        EncoderError: no mesh, or no area.
    """
    if not len(meshes):
        raise EncoderError("meshes: no mesh; a place without CAD models has no mesh embedding")
    corners = np.concatenate([mesh.vertices[mesh.faces].astype(np.float64) for mesh in meshes])
    if not len(corners):
        raise EncoderError("meshes: no triangle")
    edge_a, edge_b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = 0.5 * np.linalg.norm(np.cross(edge_a, edge_b), axis=1)
    total = float(area.sum())
    if not (np.isfinite(total) and total > 1e-9):
        raise EncoderError(f"meshes: {len(corners)} triangles have {total} m2 of surface")
    number = int(np.clip(total * points_per_m2, _LEAST_POINTS_ON_MESHES, max_points))
    position = (np.arange(number) + 0.5) / number * total
    face = np.minimum(np.searchsorted(np.cumsum(area), position), len(area) - 1)
    # Roberts' R2 sequence, folded into the triangle.
    step = np.arange(1, number + 1)[:, None] * np.array([0.7548776662466927, 0.5698402909980532]) % 1.0
    fold = step.sum(axis=1) > 1.0
    step[fold] = 1.0 - step[fold]
    points = corners[face, 0] + step[:, :1] * edge_a[face] + step[:, 1:] * edge_b[face]
    colors = None
    if all(mesh.face_colors is not None for mesh in meshes):
        palette = np.concatenate([mesh.face_colors for mesh in meshes if mesh.face_colors is not None])
        colors = palette[face].astype(np.uint8)
    return points.astype(np.float32), colors


def cloud_voxels(
    profile: EncoderProfile,
    points: NDArray[np.float32],
    colors: NDArray[np.uint8] | None,
    turn_rad: float = 0.0,
) -> Voxels:
    """:func:`voxelize` with a profile's sizes and channels: all five, or the colors alone as the reference."""
    voxels = voxelize(points, colors, profile.backbone.voxel_m, profile.cloud_radius_m, turn_rad)
    if profile.backbone.in_channels == _COLOR_CHANNELS:
        return Voxels(voxels.coordinates, np.ascontiguousarray(voxels.features[:, -_COLOR_CHANNELS:]))
    return voxels
