"""A point cloud made of a floor plan: its walls, drawn up to the ceiling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossover_models.floor_plan import OCCUPIED, FloorPlan
from crossover_models.observation import LocalCloud

# Heights, above the floor, of what is compared: clear of the floor and of what lies on it, below a low ceiling.
LOW_M, HIGH_M = 0.3, 2.2


def extruded_cloud(plan: FloorPlan, height_m: float, spacing_m: float = 0.1) -> NDArray[np.float32]:
    """(N, 3) points in the level's map frame, m: the faces of all walls, from :data:`LOW_M` to their height.

    Faces are occupied cells with a neighbor that is not, for a lidar does not see inside of a wall. The height is that
    of the level, at most :data:`HIGH_M`.
    """
    wall = np.pad(plan.occupancy == OCCUPIED, 1)
    inside = wall[:-2, 1:-1] & wall[2:, 1:-1] & wall[1:-1, :-2] & wall[1:-1, 2:]
    cells = np.argwhere(wall[1:-1, 1:-1] & ~inside)
    ground = plan.position(cells)
    _, first = np.unique(np.floor(ground / spacing_m).astype(np.int64), axis=0, return_index=True)
    ground = ground[np.sort(first)]
    top = min(max(height_m, LOW_M + spacing_m), HIGH_M)
    heights = np.arange(LOW_M, top + 1e-9, spacing_m)
    points = np.concatenate([np.repeat(ground, len(heights), axis=0), np.tile(heights, len(ground))[:, None]], axis=1)
    return points.astype(np.float32)


def map_cloud(plan: FloorPlan, height_m: float, scan: NDArray[np.floating] | None) -> NDArray[np.float32]:
    """(N, 3) what a level looks like at these heights: as it was scanned, or else its plan extruded."""
    if scan is None or not len(scan):
        return extruded_cloud(plan, height_m)
    band = (scan[:, 2] >= LOW_M) & (scan[:, 2] <= HIGH_M)
    return np.ascontiguousarray(scan[band], dtype=np.float32)


def upright(cloud: LocalCloud, floor_below_base_m: float = 0.0) -> NDArray[np.float32]:
    """(N, 3) points of a local cloud at the heights of :func:`extruded_cloud`, z above the floor."""
    points = cloud.points + np.array([0.0, 0.0, floor_below_base_m], dtype=np.float32)
    return np.ascontiguousarray(points[(points[:, 2] >= LOW_M) & (points[:, 2] <= HIGH_M)])
