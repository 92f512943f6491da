"""Annotated boxes and labelled points as scene objects, and where the floor of a labelled scan lies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossover_models.dataset.scene import SceneObject
from crossover_models.geometry import transform_points_se3

STRUCTURE = frozenset({"wall", "floor", "ceiling"})
"""Labels of the room itself, not of what is in it."""
_LOW_PERCENT = 1.0
_ORTHONORMAL = 0.01


def box_object(
    object_id: str,
    category: str,
    T_scene_scan: NDArray[np.float64],
    centroid: ArrayLike,
    axes: ArrayLike,
    lengths: ArrayLike,
    front: ArrayLike | None = None,
) -> SceneObject:
    """An oriented box as an object whose canonical frame lies along the box's axes.

    Args:
        object_id: see :class:`SceneObject`.
        category: likewise.
        T_scene_scan: (4, 4).
        centroid: (3,) middle of the box, scan frame, metres.
        axes: (3, 3) unit axes of the box in the scan frame, one a *row*.
        lengths: (3,) full side lengths along them, metres.
        front: (3,) where its front points, scan frame; None where nobody said: then along the longer of its level
            sides' normals, that is towards the box's long side.

    Raises:
        ValueError: values that are no numbers, a box without extents, or axes that are not orthonormal.
    """
    middle, rows, sides = (np.asarray(v, dtype=np.float64) for v in (centroid, axes, lengths))
    middle, rows, sides = middle.reshape(3), rows.reshape(3, 3), sides.reshape(3)
    if not all(np.isfinite(v).all() for v in (middle, rows, sides)):
        raise ValueError("box: a value is no number")
    if (sides <= 0).any():
        raise ValueError(f"box: side lengths {sides.tolist()}")
    if np.abs(rows @ rows.T - np.eye(3)).max() > _ORTHONORMAL:
        raise ValueError("box: axes are not orthonormal")
    rows = rows @ T_scene_scan[:3, :3].T
    up = int(np.abs(rows[:, 2]).argmax())
    level = [i for i in range(3) if i != up]
    z = rows[up] * (1.0 if rows[up, 2] >= 0 else -1.0)
    if front is None:
        forward = min(level, key=lambda i: sides[i])
        x = rows[forward]
    else:
        towards = T_scene_scan[:3, :3] @ np.asarray(front, dtype=np.float64).reshape(3)
        forward = max(level, key=lambda i: abs(float(rows[i] @ towards)))
        x = rows[forward] * (1.0 if rows[forward] @ towards >= 0 else -1.0)
    sideways = next(i for i in level if i != forward)
    T = np.eye(4)
    T[:3, 0], T[:3, 1], T[:3, 2] = x, np.cross(z, x), z
    T[:3, 3] = transform_points_se3(T_scene_scan, middle[None])[0] - z * sides[up] / 2.0
    return SceneObject(object_id, category, T, sides[[forward, sideways, up]])


def points_object(object_id: str, category: str, points: NDArray[np.float64]) -> SceneObject:
    """Labelled points (N, 3), scene frame, N >= 1, as an object with their bounds along the scene's axes."""
    low, high = points.min(axis=0), points.max(axis=0)
    T = np.eye(4)
    T[:3, 3] = (low[0] + high[0]) / 2.0, (low[1] + high[1]) / 2.0, low[2]
    return SceneObject(object_id, category, T, high - low)


def inside_boxes(points: NDArray[np.float64], objects: Sequence[SceneObject]) -> NDArray[np.int32]:
    """(N,) index of the smallest object's box that a point (N, 3), scene frame, lies in; -1 for none."""
    out = np.full(len(points), -1, dtype=np.int32)
    for i in sorted(range(len(objects)), key=lambda i: -float(np.prod(objects[i].size_m))):
        T, size = objects[i].T_scene_object, objects[i].size_m
        local = (points - T[:3, 3]) @ T[:3, :3]
        inside = (np.abs(local[:, :2]) <= size[:2] / 2.0).all(axis=1) & (local[:, 2] >= 0) & (local[:, 2] <= size[2])
        out[inside] = i
    return out


def floor_height(heights: NDArray[np.float64], on_floor: NDArray[np.bool_]) -> float:
    """Height of the floor: the median of what is labelled so, or the lowest percent of all heights (N,), N >= 1."""
    if on_floor.any():
        return float(np.median(heights[on_floor]))
    return float(np.percentile(heights, _LOW_PERCENT))
