"""The furniture of a map at the height of the wall slice: what tells storeys and rooms of one plan apart.

A plan draws no furniture, so storeys that share a plan fit alike. Where a map holds meshes of what stands in its rooms
(a survey, CAD, IFC), each ray of a slice tries them: it ends on a piece, or passes through where one should stand, or
ends in the open where nothing is drawn. Furniture moves, so each of that happens at right poses too, only less often
or more: the log-likelihood of a slice is the mean of the logarithms of these ratios over its rays, counted as often as
there are independent rays in a slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Mesh
from crossover_models.estimate import LevelKey
from crossover_models.floor_plan import OCCUPIED, FloorPlan
from crossover_models.geometry import compose_se2
from crossover_models.observation import WallSlice

Array = NDArray[np.float64]
# Heights above the floor of the slices (accumulation.slice_min_m and slice_max_m), m.
LOW_M, HIGH_M = 0.9, 2.2
# A return this near a wall or a piece is on it; a ray tries pieces up to that far before its end.
ON_WALL_M, ON_PIECE_M, BEFORE_END_M = 0.2, 0.15, 0.25
STEP_M, REACH_M, RAYS = 0.12, 8.0, 90
# Rays of a slice that err independently: a moved cupboard takes a sheaf of them along.
INDEPENDENT_RAYS = 12.0
LARGEST_NATS = 5.0
# Ends of a ray: on a wall; on a piece; beyond a piece that it passed through; in the open.
OUTCOMES = ("wall", "piece", "through", "open")
# Logarithms of how much more often each happens at the right pose than at wrong ones that fit the plan alike. Chosen by
# hand and bolder nowhere but for "through" than what `crossover calibrate` fits on 164 slices of validation drives
# (facts of weights/edge.likelihood.json: 0.23, 1.10, -0.30, -1.16), which is kept until the benchmark has seen it.
RATIOS: Mapping[str, float] = {"wall": 0.05, "piece": 1.0, "through": -0.8, "open": -0.3}


class FurnitureField:
    """Where furniture stands on each level; levels without any are left out.

    Args:
        levels: level -> its plan and the meshes on it, in its map frame.
    """

    def __init__(self, levels: Iterable[tuple[LevelKey, FloorPlan, Iterable[Mesh]]]) -> None:
        self._plans: dict[LevelKey, FloorPlan] = {}
        self._inside: dict[LevelKey, NDArray[np.bool_]] = {}
        self._away_m: dict[LevelKey, NDArray[np.float32]] = {}
        for level, plan, meshes in levels:
            raster = np.zeros(plan.occupancy.shape, dtype=np.uint8)
            for mesh in meshes:
                _draw(raster, plan, mesh)
            if raster.any() and (plan.occupancy == OCCUPIED).any():
                self._plans[level] = plan
                self._inside[level] = cv2.erode(raster, np.ones((3, 3), np.uint8)).astype(bool)
                away = cv2.distanceTransform(1 - raster, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
                self._away_m[level] = np.asarray(away * plan.resolution_m, dtype=np.float32)

    @property
    def levels(self) -> tuple[LevelKey, ...]:
        """Levels with furniture."""
        return tuple(self._plans)

    def nats(self, wall_slice: WallSlice, levels: list[LevelKey], poses: Array) -> Array:
        """(H,) log-likelihood of a slice at poses (H, 3) of its frame, against any pose that fits the plan as well."""
        out = np.zeros(len(poses))
        ratios = np.array([RATIOS[name] for name in OUTCOMES])
        for level in dict.fromkeys(levels):
            rows = np.array([k for k, key in enumerate(levels) if key == level])
            shares = self.outcomes(wall_slice, level, poses[rows])
            if shares is not None:
                out[rows] = INDEPENDENT_RAYS * (shares @ ratios)
        return np.clip(out, -LARGEST_NATS, LARGEST_NATS)

    def outcomes(self, wall_slice: WallSlice, level: LevelKey, poses: Array) -> Array | None:
        """(K, 4) shares of :data:`OUTCOMES` among the rays at poses (K, 3); None without furniture or rays."""
        plan = self._plans.get(level)
        ends = np.asarray(wall_slice.points, dtype=np.float64)
        starts = np.asarray(wall_slice.origins, dtype=np.float64)[wall_slice.origin_index]
        length = np.hypot(*(ends - starts).T) if len(ends) else np.zeros(0)
        usable = np.flatnonzero(np.isfinite(length) & (length > STEP_M) & (length < REACH_M))
        if plan is None or not len(usable):
            return None
        if len(usable) > RAYS:
            usable = usable[np.linspace(0, len(usable) - 1, RAYS).astype(np.int64)]
        ends, starts, length = ends[usable], starts[usable], length[usable]
        steps = np.arange(STEP_M, REACH_M, STEP_M)
        along = starts[:, None] + (ends - starts)[:, None] * (steps / length[:, None])[..., None]
        tried = steps[None, :] < length[:, None] - BEFORE_END_M
        shares = np.zeros((len(poses), len(OUTCOMES)))
        for k, pose in enumerate(poses):
            passed = self._at(self._inside[level], plan, _moved(pose, along), False)
            through = (passed & tried).any(axis=1)
            placed = _moved(pose, ends)
            on_wall = self._at(plan.distance_m, plan, placed, np.inf) <= ON_WALL_M
            on_piece = self._at(self._away_m[level], plan, placed, np.inf) <= ON_PIECE_M
            outcome = np.select([through, on_wall, on_piece], [2, 0, 1], 3)
            shares[k] = np.bincount(outcome, minlength=len(OUTCOMES)) / len(outcome)
        return shares

    @staticmethod
    def _at(raster: NDArray[Any], plan: FloorPlan, points: Array, outside: float) -> NDArray[Any]:
        """Values of a raster of the plan's cells at map-frame points (..., 2)."""
        cells = plan.cell(points)
        rows, cols = raster.shape
        inside = ((cells >= 0) & (cells < (rows, cols))).all(axis=-1)
        values = raster[np.clip(cells[..., 0], 0, rows - 1), np.clip(cells[..., 1], 0, cols - 1)]
        return np.where(inside, values, outside)


def _moved(pose: Array, points: Array) -> Array:
    """Points (..., 2) of the slice's frame in the map's."""
    flat = points.reshape(-1, 2)
    return np.asarray(compose_se2(pose, np.column_stack([flat, np.zeros(len(flat))]))[:, :2].reshape(points.shape))


def _draw(raster: NDArray[np.uint8], plan: FloorPlan, mesh: Mesh) -> None:
    """Fill the footprint of what of a mesh reaches into the slice."""
    corners = np.asarray(mesh.vertices, dtype=np.float64)[mesh.faces]
    reaches = (corners[:, :, 2].max(axis=1) > LOW_M) & (corners[:, :, 2].min(axis=1) < HIGH_M)
    for triangle in plan.cell(corners[reaches][:, :, :2])[..., ::-1].astype(np.int32):
        cv2.fillConvexPoly(raster, np.ascontiguousarray(triangle), 1)
        cv2.polylines(raster, [np.ascontiguousarray(triangle)], True, 1)
