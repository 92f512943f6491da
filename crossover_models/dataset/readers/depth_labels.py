"""Instance pictures by measured depth: a pixel is of the object whose labelled point lies where it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from crossover_models.dataset.scene import View
from crossover_models.geometry import transform_points_se3

REACH_M = 0.06
"""A pixel farther from every labelled point is of nothing."""
_CELL_M = 0.02


class DepthLabels:
    """Labelled points of a scan to look pixels up in.

    Args:
        points: (N, 3), scene frame, metres.
        instance: (N,) int32 index of an object, -1 for none.
    """

    def __init__(self, points: NDArray[np.float64], instance: NDArray[np.int32]) -> None:
        cells = np.floor(points / _CELL_M).astype(np.int64)
        _, kept = np.unique(cells, axis=0, return_index=True)
        self._tree = cKDTree(points[kept])
        self._instance = np.append(instance[kept], np.int32(-1))

    def of_picture(
        self, depth_m: NDArray[np.float32], intrinsics: NDArray[np.float64], T_scene_camera: NDArray[np.float64]
    ) -> NDArray[np.int32]:
        """(H, W) object of each pixel of a depth picture (H, W), -1 where nothing was measured or none is near."""
        out = np.full(depth_m.shape, -1, dtype=np.int32)
        rows, cols = np.nonzero(depth_m > 0)
        z = depth_m[rows, cols].astype(np.float64)
        rays = np.stack([cols, rows, np.ones(len(rows))], axis=1) @ np.linalg.inv(intrinsics).T
        _, nearest = self._tree.query(
            transform_points_se3(T_scene_camera, rays * z[:, None]), distance_upper_bound=REACH_M
        )
        out[rows, cols] = self._instance[nearest]
        return out


def labelled_views(views: Sequence[View], labels: DepthLabels) -> tuple[View, ...]:
    """Views with instance pictures, where they have depth."""
    return tuple(
        view
        if view.depth_m is None
        else replace(view, instance=labels.of_picture(view.depth_m, view.intrinsics, view.T_scene_camera))
        for view in views
    )
