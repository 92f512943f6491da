"""Global search of poses: exact branch and bound over all candidate levels at once, and the plain search it must equal.

Poses are cells of a square grid times evenly spaced headings. A pose's score is the mean log-likelihood of the
returns, each read at the nearest grid cell, less the weighted share of rays that cross a wall (Olson 2009, "Real-time
correlative scan matching"; Hess et al. 2016, "Real-time loop closure in 2D lidar SLAM", section V). A node is a square
window of 2^h x 2^h cells at one heading; its bound is the same mean over the field's maximum in that window, which no
pose of the window exceeds, and the penalty only lowers scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from crossover_models.config import RegistrationSettings
from crossover_models.registration.grid import SearchGrid
from crossover_models.registration.returns import Returns

# Elements gathered at once: index and values of a chunk stay in the cache.
CHUNK_ELEMENTS = 1 << 19
# Nodes expanded before the incumbent is looked at again: few at first, for a good incumbent soon, then many at once.
FIRST_BATCH = 32
BATCH_NODES = 2048
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

    Args:
        grids: the levels searched; all with the same cell size, height and device.
        allowed: one (rows, cols) bool a grid: the cells where the robot may be.
        returns: what was seen.
        settings: steps and weights.
    """

    def __init__(
        self,
        grids: Sequence[SearchGrid],
        allowed: Sequence[NDArray[np.bool_]],
        returns: Returns,
        settings: RegistrationSettings,
    ) -> None:
        self.grids, self.settings = grids, settings
        self.device, self.height, self.step_m = grids[0].device, grids[0].height, grids[0].step_m
        headings = max(1, round(360.0 / settings.angular_step_deg))
        self.headings: NDArray[np.float64] = np.arange(headings, dtype=np.float64) * (2.0 * np.pi / headings)
        self.points = len(returns)
        radius = grids[0].radius_cells
        turned = _turned(returns.points, self.headings, self.step_m, radius)
        rays = returns.every(settings.max_rays)
        self.rays = len(rays)
        # Groups of like length: few samples of the table do not exist, and those are read at the ray's start.
        groups = []
        for part in rays.by_length(RAY_GROUP):
            samples, exists = part.ray_samples(self.step_m)
            samples = np.where(exists[..., None], samples, samples[:, :1])
            groups.append((exists.shape, _turned(samples.reshape(-1, 2), self.headings, self.step_m, radius)))
        # Flat buffers of all grids, one after the other; a node's index is where its window starts in them.
        self.base = np.cumsum([0, *(grid.cells for grid in grids)])
        self.fields = [torch.cat([grid.fields[h] for grid in grids]) for h in range(self.height + 1)]
        self.walls = torch.cat([grid.walls for grid in grids])
        self.offsets = torch.stack([self._offsets(turned, grid) for grid in grids])
        self.lines = [(shape, torch.stack([self._offsets(lines, grid) for grid in grids])) for shape, lines in groups]
        self.allowed = [_window_any(mask, self.height) for mask in allowed]
        self.leaves_scored = 0
        self.nodes_bounded = 0

    def branch_and_bound(self, margin: float = 0.0) -> Candidates:
        """All poses whose score is within ``margin`` of the best one's and not below ``settings.min_score``."""
        # Below the floor nothing is worth finding: data that fit nowhere would be searched to the last pose.
        self._threshold = self.settings.min_score
        self._margin = margin
        self._found: list[tuple[torch.Tensor, torch.Tensor]] = []
        nodes = self._nodes(self.height)
        bounds = self._bounds(nodes, self.height)
        self._descend(nodes, bounds, self.height)
        return self._candidates(margin)

    def exhaustive(self, margin: float = 0.0) -> Candidates:
        """The same answer by scoring every pose: the oracle of :meth:`branch_and_bound`."""
        self._found = []
        for nodes in torch.split(self._nodes(0), 1 << 16):
            field = self._bounds(nodes, 0)
            self._found.append(self._penalize(nodes, field, -np.inf))
        return self._candidates(margin)

    def _nodes(self, height: int) -> torch.Tensor:
        """(N, 4) int32 [grid, heading, row, col] of all windows of 2^height cells that hold an allowed pose."""
        parts = []
        for k, masks in enumerate(self.allowed):
            rows, cols = np.nonzero(masks[height])
            count, size = len(self.headings), 1 << height
            block = np.empty((count, len(rows), 4), dtype=np.int32)
            block[..., 0], block[..., 1] = k, np.arange(count)[:, None]
            block[..., 2], block[..., 3] = rows * size, cols * size
            parts.append(block.reshape(-1, 4))
        return torch.from_numpy(np.concatenate(parts)).to(self.device)

    def _start(self, nodes: torch.Tensor) -> torch.Tensor:
        """(N,) int32 index of each node's lower corner in the flat buffers."""
        index = torch.empty(len(nodes), dtype=torch.int32, device=self.device)
        for k, grid in enumerate(self.grids):
            rows = slice(None) if len(self.grids) == 1 else nodes[:, 0] == k
            row, col = nodes[rows, 2] + grid.radius_cells, nodes[rows, 3] + grid.radius_cells
            index[rows] = row * grid.stride + col + int(self.base[k])
        return index

    def _gather(self, source: torch.Tensor, table: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
        """(N, P) values of ``source`` under each node's turned points; ``table`` is (grids, headings, P)."""
        turned = table.view(-1, table.shape[-1]).index_select(0, nodes[:, 0] * len(self.headings) + nodes[:, 1])
        turned += self._start(nodes)[:, None]
        return source.index_select(0, turned.view(-1)).view(turned.shape)

    def _bounds(self, nodes: torch.Tensor, height: int) -> torch.Tensor:
        """(N,) mean of the field's maxima over each node's windows; at height 0 the mean log-likelihood itself."""
        chunk = max(1, CHUNK_ELEMENTS // self.points)
        self.nodes_bounded += len(nodes)
        parts = [
            self._gather(self.fields[height], self.offsets, part).mean(dim=1) for part in torch.split(nodes, chunk)
        ]
        return torch.cat(parts) if parts else torch.empty(0, device=self.device)

    def _penalize(
        self, nodes: torch.Tensor, field: torch.Tensor, threshold: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Leaves (M, 4) whose score, the field's (N,) less the share of rays that cross a wall, reaches the threshold.

        A group of rays at a time: what the rays seen so far cost already bounds the score.
        """
        self.leaves_scored += len(nodes)
        unit = self.settings.violation_weight / self.rays
        crossed = torch.zeros(len(nodes), dtype=torch.int32, device=self.device)
        for shape, table in self.lines if unit > 0.0 else ():
            chunk = max(1, CHUNK_ELEMENTS // table.shape[-1])
            crossed += torch.cat(
                [
                    self._gather(self.walls, table, part).view(-1, *shape).amax(dim=2).sum(dim=1, dtype=torch.int32)
                    for part in torch.split(nodes, chunk)
                ]
            )
            keep = field - unit * crossed >= threshold
            nodes, field, crossed = nodes[keep], field[keep], crossed[keep]
            if not len(nodes):
                break
        return nodes, field - unit * crossed

    def _descend(self, nodes: torch.Tensor, bounds: torch.Tensor, height: int) -> None:
        """Depth first in batches, most promising first, so that the incumbent is good before the bulk is looked at."""
        if not len(nodes):
            return
        bounds, order = bounds.sort(descending=True, stable=True)
        nodes = nodes[order]
        start, size = 0, FIRST_BATCH
        while start < len(nodes):
            part, bound = nodes[start : start + size], bounds[start : start + size]
            start, size = start + size, min(4 * size, BATCH_NODES)
            keep = bound >= self._threshold - ROUNDING
            if not keep.any():
                return
            part, bound = part[keep], bound[keep]
            if height == 0:
                part, scores = self._penalize(part, bound, self._threshold)
                if len(part):
                    self._threshold = max(self._threshold, float(scores.max()) - self._margin)
                    self._found.append((part, scores))
            else:
                children = self._children(part, height - 1)
                self._descend(children, self._bounds(children, height - 1), height - 1)

    def _children(self, nodes: torch.Tensor, height: int) -> torch.Tensor:
        """The windows of half the side inside each node that hold an allowed pose."""
        half = 1 << height
        steps = torch.tensor([[0, 0, 0, 0], [0, 0, 0, half], [0, 0, half, 0], [0, 0, half, half]], dtype=torch.int32)
        children = (nodes[:, None] + steps.to(self.device)).view(-1, 4)
        keep = torch.zeros(len(children), dtype=torch.bool, device=self.device)
        for k, masks in enumerate(self.allowed):
            mask = torch.from_numpy(masks[height]).to(self.device)
            mine = children[:, 0] == k
            row, col = children[mine, 2].long() >> height, children[mine, 3].long() >> height
            keep[mine] = mask[row.clamp(max=mask.shape[0] - 1), col.clamp(max=mask.shape[1] - 1)] & (
                (row < mask.shape[0]) & (col < mask.shape[1])
            )
        return children[keep]

    def _candidates(self, margin: float) -> Candidates:
        if not any(len(part) for part, _ in self._found):
            return Candidates(np.empty(0, dtype=np.int64), np.empty((0, 3)), np.empty(0, dtype=np.float32))
        nodes = torch.cat([part for part, _ in self._found]).cpu().numpy().astype(np.int64)
        scores = torch.cat([part for _, part in self._found]).cpu().numpy()
        keep = np.flatnonzero(scores >= max(float(scores.max()) - margin, self.settings.min_score))
        # Ties in the order of the grid, so that both searches name the same pose.
        order = keep[np.lexsort((*nodes[keep].T[::-1], -scores[keep]))]
        nodes, scores = nodes[order], scores[order]
        poses = np.empty((len(nodes), 3))
        for k, grid in enumerate(self.grids):
            mine = nodes[:, 0] == k
            poses[mine, :2] = grid.position(nodes[mine, 2:])
        poses[:, 2] = (self.headings[nodes[:, 1]] + np.pi) % (2 * np.pi) - np.pi
        return Candidates(nodes[:, 0], poses, scores.astype(np.float32))

    def _offsets(self, turned: NDArray[np.int32], grid: SearchGrid) -> torch.Tensor:
        return torch.from_numpy(turned[..., 1] * np.int32(grid.stride) + turned[..., 0]).to(self.device)


def _turned(
    points: NDArray[np.float64], headings: NDArray[np.float64], step_m: float, radius_cells: int
) -> NDArray[np.int32]:
    """(A, P, 2) points (P, 2) turned to every heading (A,), in whole cells (x, y)."""
    cos, sin = np.cos(headings)[:, None], np.sin(headings)[:, None]
    x = cos * points[:, 0] - sin * points[:, 1]
    y = sin * points[:, 0] + cos * points[:, 1]
    cells = np.rint(np.stack([x, y], axis=-1) / step_m).astype(np.int32)
    return np.clip(cells, -radius_cells, radius_cells)


def _window_any(mask: NDArray[np.bool_], height: int) -> list[NDArray[np.bool_]]:
    """Whether any cell of each aligned window of 2^h x 2^h cells is set, for h = 0..height."""
    out = [mask]
    for _ in range(height):
        last = np.pad(out[-1], [(0, out[-1].shape[0] % 2), (0, out[-1].shape[1] % 2)])
        out.append(last[0::2, 0::2] | last[1::2, 0::2] | last[0::2, 1::2] | last[1::2, 1::2])
    return out
