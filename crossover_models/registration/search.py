"""Global search of poses: exact branch and bound over all candidate levels at once, and the plain search it must equal.

Poses are cells of a square grid times evenly spaced headings. A pose's score is the mean log-likelihood of the
returns, each read at the nearest grid cell, less the weighted share of rays that cross a wall (Olson 2009, "Real-time
correlative scan matching"; Hess et al. 2016, "Real-time loop closure in 2D lidar SLAM", section V). A node is a square
window of 2^h x 2^h cells at one heading; its bound is the same mean over the field's maximum in that window, less the
penalty for the rays that cross a wall from wherever in the window they start: no pose of the window exceeds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from crossover_models.config import RegistrationSettings
from crossover_models.registration.grid import PIECE_CELLS, GridStack
from crossover_models.registration.rays import RayTable, ray_table, turned
from crossover_models.registration.returns import Returns

# Elements gathered at once: on a CPU index and values of a chunk stay in the cache; a GPU wants many.
CHUNK_ELEMENTS = {"cpu": 1 << 19}
CHUNK_ELEMENTS_GPU = 1 << 25
# Nodes expanded before the incumbent is looked at again: few at first, for a good incumbent soon, then many at once.
FIRST_BATCH = 32
BATCH_NODES = {"cpu": 2048}
BATCH_NODES_GPU = 1 << 16
# Windows are looked at in tiles of so many cells a side, at all headings: what a tile reads stays in the cache, where a
# pass over a large floor for each heading would read all of it anew.
TILE_CELLS = 256
# Returns are read in these parts: log-likelihoods are at most 0, so that what some of them sum to bounds the whole.
PARTS = (0.25, 0.5, 1.0)
# Rays tested at once for crossing walls.
RAY_GROUP = 15
# Bounds are float32 means: a child's may exceed its parent's by rounding.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Candidates:
    """Poses of the grid, best first.

    Attributes:
        grid: (N,) which grid of those searched.
        poses: (N, 3) in that level's map frame.
        scores: (N,) float32.
    """

    grid: NDArray[np.int64]
    poses: NDArray[np.float64]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)


class PoseSearch:
    """One search: the returns turned to every heading, ready to be laid over every grid.

    A node is a pair of int32: a heading, and where its window starts in the stack's buffers.

    Args:
        stack: the levels searched.
        allowed: one (rows, cols) bool a level: the cells where the robot may be.
        returns: what was seen.
        settings: steps and weights.
    """

    def __init__(
        self,
        stack: GridStack,
        allowed: Sequence[NDArray[np.bool_]],
        returns: Returns,
        settings: RegistrationSettings,
    ) -> None:
        self.stack, self.settings, self.device = stack, settings, stack.device
        self.height = stack.height
        headings = max(1, round(360.0 / settings.angular_step_deg))
        self.headings: NDArray[np.float64] = np.arange(headings, dtype=np.float64) * (2.0 * np.pi / headings)
        # Every part of them is spread over all bearings.
        order = np.concatenate([np.arange(k, len(returns), 4) for k in (0, 2, 1, 3)])
        cells = turned(returns.points[order], self.headings, stack.step_m, stack.radius_cells)
        offsets = torch.from_numpy(cells[..., 1] * np.int32(stack.stride) + cells[..., 0])
        ends = [round(part * len(returns)) for part in PARTS]
        self.points = len(returns)
        self.offsets = [
            offsets[:, low:high].contiguous().to(self.device)
            for low, high in zip([0, *ends[:-1]], ends, strict=True)
            if high > low
        ]
        rays = returns.every(settings.max_rays)
        self.rays = len(rays)
        # Groups of like length: few blocks of a table are beyond a ray's end.
        self.lines = [
            ray_table(part, self.headings, stack.step_m, stack.radius_cells, stack.stride, self.device)
            for part in (rays.by_length(RAY_GROUP) if settings.violation_weight > 0.0 else ())
        ]
        self.windows = stack.windows(allowed)
        self._chunk = CHUNK_ELEMENTS.get(self.device.type, CHUNK_ELEMENTS_GPU)
        self._batch = BATCH_NODES.get(self.device.type, BATCH_NODES_GPU)
        self.nodes_bounded = 0

    def branch_and_bound(self, margin: float = 0.0) -> Candidates:
        """All poses whose score is within ``margin`` of the best one's and not below ``settings.min_score``."""
        # Below the floor nothing is worth finding: data that fit nowhere would be searched to the last pose.
        self._threshold, self._margin = self.settings.min_score, margin
        self._found: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._descend(*self._bounded(self._nodes(self.height), self.height, self._threshold), self.height)
        return self._candidates(margin)

    def exhaustive(self, margin: float = 0.0) -> Candidates:
        """The same answer by scoring every pose: the oracle of :meth:`branch_and_bound`."""
        self._found = [self._bounded(nodes, 0, -np.inf) for nodes in torch.split(self._nodes(0), 1 << 16)]
        return self._candidates(margin)

    def _nodes(self, height: int) -> torch.Tensor:
        """(N, 2) int32 of all windows of 2^height cells that hold an allowed pose, at every heading."""
        starts = torch.nonzero(self.windows[height]).view(-1)
        tiles = starts // self.stack.stride // TILE_CELLS * self.stack.stride + starts % self.stack.stride // TILE_CELLS
        tiles, order = tiles.sort(stable=True)
        counts = torch.unique_consecutive(tiles, return_counts=True)[1]
        headings = torch.arange(len(self.headings), dtype=torch.int32, device=self.device).view(-1, 1)
        parts = []
        for part in torch.split(starts[order].to(torch.int32), counts.tolist()):
            size = (len(self.headings), len(part))
            parts.append(torch.stack([headings.expand(size), part.expand(size)], dim=-1).view(-1, 2))
        return torch.cat(parts) if parts else torch.empty((0, 2), dtype=torch.int32, device=self.device)

    def _gather(self, source: torch.Tensor, offsets: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
        """(N, P) values of ``source`` under each node's turned points; ``offsets`` is (headings, P)."""
        index = offsets.index_select(0, nodes[:, 0])
        index += nodes[:, 1, None]
        return source.index_select(0, index.view(-1)).view(index.shape)

    def _bounded(self, nodes: torch.Tensor, height: int, floor: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Nodes (M, 2) whose bound reaches the floor, and their bounds (M,); at height 0 those are the scores.

        A bound is the mean of the field's maxima over the node's windows, less the penalty for the rays that are
        blocked from every cell of the window.
        """
        self.nodes_bounded += len(nodes)
        if not len(nodes):
            return nodes, torch.empty(0, device=self.device)
        parts = [self._bound(part, height, floor) for part in torch.split(nodes, max(1, self._chunk // self.points))]
        return torch.cat([part for part, _ in parts]), torch.cat([bound for _, bound in parts])

    def _bound(self, nodes: torch.Tensor, height: int, floor: float) -> tuple[torch.Tensor, torch.Tensor]:
        """As :meth:`_bounded`; whatever was not looked at yet can only lower the bound, so that most need not be."""
        bound = torch.zeros(len(nodes), device=self.device)
        for offsets in self.offsets:
            bound = bound + self._gather(self.stack.fields[height], offsets, nodes).sum(dim=1) / self.points
            nodes, bound = _reaching(floor - ROUNDING, nodes, bound)
        unit = self.settings.violation_weight / self.rays
        # From a window as wide as a piece is long, next to no piece is blocked everywhere.
        for table in self.lines if 1 << height < PIECE_CELLS else ():
            bound = bound - unit * self._blocked(table, nodes, height)
            nodes, bound = _reaching(floor - ROUNDING, nodes, bound)
        return nodes, bound

    def _blocked(self, table: RayTable, nodes: torch.Tensor, height: int) -> torch.Tensor:
        """(N,) int32 number of a table's rays that cross a wall from every cell of each node's window."""
        hit = self._gather(self.stack.blocked[height], table.offsets, nodes)
        while hit.shape[1] > table.rays:
            # Halve the pieces; an odd one is joined with the first.
            low = hit.shape[1] // table.rays // 2 * table.rays
            joined = hit[:, :low] | hit[:, low : 2 * low]
            if hit.shape[1] > 2 * low:
                joined[:, : table.rays] |= hit[:, 2 * low :]
            hit = joined
        hit = hit & table.direction.index_select(0, nodes[:, 0])
        return (hit != 0).sum(dim=1, dtype=torch.int32)

    def _descend(self, nodes: torch.Tensor, bounds: torch.Tensor, height: int) -> None:
        """Depth first in batches, most promising first, so that the incumbent is good before the bulk is looked at."""
        if not len(nodes):
            return
        if height == 0:
            self._threshold = max(self._threshold, float(bounds.max()) - self._margin)
            self._found.append((nodes, bounds))
            return
        bounds, order = bounds.sort(descending=True, stable=True)
        nodes = nodes[order]
        start, size = 0, FIRST_BATCH
        while start < len(nodes):
            part, _ = _reaching(self._threshold - ROUNDING, nodes[start : start + size], bounds[start : start + size])
            start, size = start + size, min(4 * size, self._batch)
            if not len(part):
                return
            children = self._children(part, height - 1)
            self._descend(*self._bounded(children, height - 1, self._threshold), height - 1)

    def _children(self, nodes: torch.Tensor, height: int) -> torch.Tensor:
        """The windows of half the side inside each node that hold an allowed pose."""
        half, up = 1 << height, self.stack.stride << height
        steps = torch.tensor([[0, 0], [0, half], [0, up], [0, up + half]], dtype=torch.int32, device=self.device)
        children = (nodes[:, None] + steps).view(-1, 2)
        keep = torch.nonzero(self.windows[height].index_select(0, children[:, 1])).view(-1)
        return children.index_select(0, keep)

    def _candidates(self, margin: float) -> Candidates:
        if not any(len(part) for part, _ in self._found):
            return Candidates(np.empty(0, dtype=np.int64), np.empty((0, 3)), np.empty(0, dtype=np.float32))
        nodes = torch.cat([part for part, _ in self._found]).cpu().numpy().astype(np.int64)
        scores = torch.cat([part for _, part in self._found]).cpu().numpy()
        keep = np.flatnonzero(scores >= max(float(scores.max()) - margin, self.settings.min_score))
        grid, cells = self.stack.cells(nodes[keep, 1])
        # Ties in the order of the grid, so that both searches name the same pose.
        order = np.lexsort((cells[:, 1], cells[:, 0], nodes[keep, 0], grid, -scores[keep]))
        nodes, scores, grid, cells = nodes[keep][order], scores[keep][order], grid[order], cells[order]
        poses = np.empty((len(nodes), 3))
        for k, level in enumerate(self.stack.grids):
            poses[grid == k, :2] = level.position(cells[grid == k])
        poses[:, 2] = (self.headings[nodes[:, 0]] + np.pi) % (2 * np.pi) - np.pi
        return Candidates(grid, poses, scores.astype(np.float32))


def _reaching(floor: float, nodes: torch.Tensor, bounds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The nodes whose bound is not below the floor."""
    if floor == -np.inf:
        return nodes, bounds
    keep = torch.nonzero(bounds >= floor).view(-1)
    return nodes.index_select(0, keep), bounds.index_select(0, keep)
