"""Where a robot can drive on a level, and the way from one place to another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from crossover_models.building import Mesh
from crossover_models.floor_plan import FREE, FloorPlan

ROBOT_HEIGHT_M = 1.0
_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))


class NoRoute(ValueError):
    """No way for the robot; the message says from where to where."""


def footprint(mesh: Mesh) -> NDArray[np.float32] | None:
    """Convex outline (N, 2) of what a robot could hit of a piece of furniture, None if it could drive below."""
    low = mesh.vertices[mesh.vertices[:, 2] < ROBOT_HEIGHT_M]
    if len(low) < 3:
        return None
    return np.asarray(cv2.convexHull(np.ascontiguousarray(low[:, :2])), dtype=np.float32)[:, 0]


def _pixels(plan: FloorPlan, mesh: Mesh) -> NDArray[np.int32] | None:
    """Footprint as (col, row) cells, for drawing."""
    outline = footprint(mesh)
    if outline is None:
        return None
    return np.round((outline - plan.origin_xy) / plan.resolution_m - 0.5).astype(np.int32)


def _distance(free: NDArray[np.uint8], edge: int = 0) -> NDArray[np.float32]:
    """Cells to the nearest zero; beyond the raster lie ones if ``edge``, else zeros."""
    padded = np.pad(free, 1, constant_values=edge)
    field = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(field[1:-1, 1:-1], dtype=np.float32)


class DrivableGround:
    """Free floor of a level: inside, off the walls, off the furniture.

    Attributes:
        plan: the level's plan.
        radius_m: of the robot.
        labels: (rows, cols) connected regions in which the robot's center can move, 0 where it cannot be.
    """

    def __init__(self, plan: FloorPlan, obstacles: Sequence[Mesh], radius_m: float) -> None:
        free = (plan.occupancy == FREE).astype(np.uint8)
        for mesh in obstacles:
            outline = _pixels(plan, mesh)
            if outline is not None:
                cv2.fillConvexPoly(free, outline, 0)
        self._set(plan, radius_m, free, (_distance(free) * plan.resolution_m > radius_m).astype(np.uint8))

    def _set(self, plan: FloorPlan, radius_m: float, free: NDArray[np.uint8], drivable: NDArray[np.uint8]) -> None:
        self.plan, self.radius_m, self._free, self._drivable = plan, radius_m, free, drivable
        _, labels = cv2.connectedComponents(drivable, connectivity=4)
        self.labels = np.asarray(labels, dtype=np.int32)

    @cached_property
    def clearance_m(self) -> NDArray[np.float32]:
        """(rows, cols) distance to the nearest cell that is not free."""
        return np.asarray(_distance(self._free) * self.plan.resolution_m, dtype=np.float32)

    def with_obstacle(self, mesh: Mesh) -> DrivableGround:
        """The ground with one more piece of furniture on it; only the piece's surroundings are measured again."""
        outline = _pixels(self.plan, mesh)
        if outline is None:
            return self
        margin = int(np.ceil(self.radius_m / self.plan.resolution_m)) + 2
        low = np.clip(outline.min(axis=0) - margin, 0, self.labels.shape[::-1])
        high = np.clip(outline.max(axis=0) + margin + 1, 0, self.labels.shape[::-1])
        window = (slice(low[1], high[1]), slice(low[0], high[0]))
        free, drivable = self._free.copy(), self._drivable.copy()
        cv2.fillConvexPoly(free, outline, 0)
        off = np.ones(tuple((high - low)[::-1]), dtype=np.uint8)
        cv2.fillConvexPoly(off, outline - low.astype(np.int32), 0)
        if off.size:
            drivable[window] &= (_distance(off, edge=1) * self.plan.resolution_m > self.radius_m).astype(np.uint8)
        other = DrivableGround.__new__(DrivableGround)
        other._set(self.plan, self.radius_m, free, drivable)
        return other

    def label_at(self, point_xy: ArrayLike) -> int:
        """Region of a map-frame point, 0 where the robot cannot be."""
        row, col = self.plan.cell(point_xy)
        rows, cols = self.labels.shape
        return int(self.labels[row, col]) if 0 <= row < rows and 0 <= col < cols else 0

    def main_region(self, polygons: Sequence[NDArray[np.float64]] = ()) -> int:
        """The region with most floor inside the polygons (the places: not the yard around the house), or overall.

        Raises:
            NoRoute: the robot fits nowhere there.
        """
        labels = self.labels[self._inside(polygons)] if polygons else self.labels.ravel()
        sizes = np.bincount(labels, minlength=2)
        if not sizes[1:].any():
            raise NoRoute(f"radius_m: a robot of {self.radius_m} m fits nowhere on this level")
        return int(np.argmax(sizes[1:])) + 1

    def cells_in(self, polygon: NDArray[np.float64], label: int) -> NDArray[np.int64]:
        """(N, 2) (row, col) cells of a region inside a map-frame polygon."""
        return np.argwhere(self._inside([polygon]) & (self.labels == label))

    def _inside(self, polygons: Sequence[NDArray[np.float64]]) -> NDArray[np.bool_]:
        mask = np.zeros(self.labels.shape, dtype=np.uint8)
        for polygon in polygons:
            pixels = np.round((polygon - self.plan.origin_xy) / self.plan.resolution_m - 0.5).astype(np.int32)
            cv2.fillPoly(mask, [pixels], 1)
        return mask > 0


class Roadmap:
    """Shortest ways over the cells of one region of the ground, with a liking for the middle of free space."""

    def __init__(self, ground: DrivableGround, label: int) -> None:
        self.ground, self.label = ground, label
        self._cells = np.argwhere(ground.labels == label)
        self._node = np.full(ground.labels.shape, -1, dtype=np.int64)
        self._node[self._cells[:, 0], self._cells[:, 1]] = np.arange(len(self._cells))
        spare = ground.clearance_m[self._cells[:, 0], self._cells[:, 1]] - ground.radius_m
        price = 1.0 + 0.12 / (0.06 + np.maximum(spare, 0.0))
        heads, tails, costs = [], [], []
        padded = np.pad(self._node, 1, constant_values=-1)
        for dr, dc in _STEPS:
            other = padded[self._cells[:, 0] + 1 + dr, self._cells[:, 1] + 1 + dc]
            here = np.flatnonzero(other >= 0)
            heads.append(here)
            tails.append(other[here])
            costs.append(np.hypot(dr, dc) * 0.5 * (price[here] + price[other[here]]))
        n = len(self._cells)
        edges = (np.concatenate(costs), (np.concatenate(heads), np.concatenate(tails)))
        self._graph = sparse.csr_matrix(edges, shape=(n, n))

    def path(self, start_xy: ArrayLike, goal_xy: ArrayLike) -> NDArray[np.float64]:
        """Way-points (N, 2), map frame, from the cell of the start to that of the goal, straightened.

        Raises:
            NoRoute: one of them is not in the region.
        """
        ends = []
        for point in (start_xy, goal_xy):
            row, col = self.ground.plan.cell(point)
            node = int(self._node[row, col])
            if node < 0:
                raise NoRoute(f"no way to ({float(np.asarray(point)[0]):.2f}, {float(np.asarray(point)[1]):.2f}) m")
            ends.append(node)
        _, before = dijkstra(self._graph, directed=False, indices=np.array(ends[1]), return_predecessors=True)
        nodes = [ends[0]]
        while nodes[-1] != ends[1]:
            nodes.append(int(before[nodes[-1]]))
        return self._straightened(self.ground.plan.position(self._cells[nodes]))

    def _straightened(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        kept, i = [points[0]], 0
        while i < len(points) - 1:
            j = min(len(points) - 1, i + 60)
            while j > i + 1 and not self._clear(points[i], points[j], points[i : j + 1]):
                j -= max(1, (j - i) // 6)
            kept.append(points[j])
            i = j
        return np.array(kept)

    def _clear(self, a: NDArray[np.float64], b: NDArray[np.float64], between: NDArray[np.float64]) -> bool:
        """A straight line is no nearer to obstacles than the cells it replaces (up to comfortable 0.2 m)."""
        steps = max(2, int(np.hypot(*(b - a)) / (0.5 * self.ground.plan.resolution_m)))
        line = self.ground.plan.cell(a + (b - a) * np.linspace(0.0, 1.0, steps)[:, None])
        cells = self.ground.plan.cell(between)
        along = float(self.ground.clearance_m[cells[:, 0], cells[:, 1]].min())
        straight = float(self.ground.clearance_m[line[:, 0], line[:, 1]].min())
        return straight >= min(along - 0.02, self.ground.radius_m + 0.2)
