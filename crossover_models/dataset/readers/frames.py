"""Frames of an RGB-D sequence as views: spread over the poses, color brought onto the depth camera's pixels."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.scene import View
from crossover_models.geometry import quaternion_from_matrix

WIDEST_PX = 640
"""Color pictures without depth are made at most this wide."""


class Frames(Protocol):
    """An RGB-D sequence; pictures are decoded only when asked for."""

    @property
    def T_world_camera(self) -> NDArray[np.float64]:
        """(N, 4, 4) float64; not finite where tracking was lost."""
        ...

    @property
    def color_intrinsics(self) -> NDArray[np.float64]:
        """(3, 3), pixel centers at integers."""
        ...

    @property
    def depth_intrinsics(self) -> NDArray[np.float64]:
        """(3, 3), pixel centers at integers."""
        ...

    def name(self, index: int) -> str:
        """Number of a frame in the publishers' files."""
        ...

    def color(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""
        ...

    def depth_m(self, index: int) -> NDArray[np.float32] | None:
        """(h, w) float32 metres, 0 where nothing was measured; None where there is no depth in the color camera."""
        ...


def usable_poses(T_world_camera: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) whether each of (N, 4, 4) is a pose: finite, its rotation orthonormal to 1 % and right-handed."""
    rotation = np.nan_to_num(T_world_camera[:, :3, :3], nan=0.0, posinf=0.0, neginf=0.0)
    orthonormal = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2)) < 0.01
    finite = np.isfinite(T_world_camera).all(axis=(1, 2))
    return np.asarray(finite & orthonormal & (np.linalg.det(rotation) > 0))


def spread_views(T_world_camera: NDArray[np.float64], count: int) -> list[int]:
    """Indices of ``count`` poses that are spread the most, in order; all where there are not more.

    Farthest-point sampling over position and unit quaternion (w >= 0), each of the seven dimensions scaled to [0, 1]
    (CrossOver, supplement: sampling of views); it starts at the first pose, so that it repeats.

    Args:
        T_world_camera: (N, 4, 4), all of them poses.
        count: how many are wanted.
    """
    if len(T_world_camera) <= count:
        return list(range(len(T_world_camera)))
    if count == 0:
        return []
    q = np.array([quaternion_from_matrix(T[:3, :3]) for T in T_world_camera])
    coordinates = np.concatenate([T_world_camera[:, :3, 3], q], axis=1)
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    coordinates = (coordinates - low) / np.where(high > low, high - low, 1.0)
    chosen = [0]
    distance = np.full(len(coordinates), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.linalg.norm(coordinates - coordinates[chosen[-1]], axis=1))
        distance[chosen] = -1.0
        chosen.append(int(distance.argmax()))
    return sorted(chosen)


def scaled_intrinsics(
    intrinsics: NDArray[np.float64], size: tuple[int, int], new_size: tuple[int, int]
) -> NDArray[np.float64]:
    """Intrinsics (3, 3) of a picture of ``size`` (width, height) after it is resized to ``new_size``."""
    x, y = new_size[0] / size[0], new_size[1] / size[1]
    out = intrinsics.astype(np.float64).copy()
    out[0, :2] *= x
    out[1, :2] *= y
    out[0, 2] = (intrinsics[0, 2] + 0.5) * x - 0.5
    out[1, 2] = (intrinsics[1, 2] + 0.5) * y - 0.5
    return out


def frame_view(
    frames: Frames,
    index: int,
    T_scene_world: NDArray[np.float64],
    instance: NDArray[np.int32] | None = None,
) -> View:
    """One frame as a view on the depth camera's pixels, whose depth stays as measured.

    Args:
        frames: the sequence.
        index: of the frame.
        T_scene_world: (4, 4) pose of the sequence's world in the scene.
        instance: (H, W) on the *color* camera's pixels, -1 for none; the nearest one is taken.
    """
    color, depth = frames.color(index), frames.depth_m(index)
    source = (color.shape[1], color.shape[0])
    if depth is None:
        width = min(WIDEST_PX, source[0])
        size = (width, max(1, round(source[1] * width / source[0])))
        target = scaled_intrinsics(frames.color_intrinsics, source, size)
    else:
        size, target = (depth.shape[1], depth.shape[0]), frames.depth_intrinsics.astype(np.float64)
    seen = None if instance is None else _nearest(instance, frames.color_intrinsics, target, size)
    image = _resampled(color, frames.color_intrinsics, target, size)
    return View(image, T_scene_world @ frames.T_world_camera[index], target, depth, seen)


def _resampled(
    image: NDArray[np.uint8], source: NDArray[np.float64], target: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Picture of a camera ``source`` as the camera ``target`` at the same place sees it; black where it saw nothing."""
    shape = (image.shape[1], image.shape[0])
    if shape == size and np.allclose(source, target, atol=1e-6):
        return image
    shrink = max(1.0, min(source[0, 0] / target[0, 0], source[1, 1] / target[1, 1]))
    small = (max(1, round(shape[0] / shrink)), max(1, round(shape[1] / shrink)))
    if small != shape:
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    warp = _pixels(scaled_intrinsics(source, shape, small), target)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, warp, size, flags=flags, borderMode=cv2.BORDER_CONSTANT), dtype=np.uint8)


def _nearest(
    instance: NDArray[np.int32], source: NDArray[np.float64], target: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.int32]:
    warp = _pixels(source, target)
    column = np.rint(warp[0, 0] * np.arange(size[0]) + warp[0, 2]).astype(np.int64)
    row = np.rint(warp[1, 1] * np.arange(size[1]) + warp[1, 2]).astype(np.int64)
    height, width = instance.shape
    out: NDArray[np.int32] = instance[
        np.clip(row, 0, height - 1)[:, None], np.clip(column, 0, width - 1)[None, :]
    ].copy()
    out[(row < 0) | (row >= height)] = -1
    out[:, (column < 0) | (column >= width)] = -1
    return out


def _pixels(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3): a pixel of ``target`` -> the pixel of ``source`` on the same ray."""
    x, y = source[0, 0] / target[0, 0], source[1, 1] / target[1, 1]
    return np.array([[x, 0.0, source[0, 2] - x * target[0, 2]], [0.0, y, source[1, 2] - y * target[1, 2]]])
