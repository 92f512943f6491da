"""Registration of a wall slice against the plans of a database: search, align and rank; or follow from a pose."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from crossover_models.config import RegistrationSettings
from crossover_models.estimate import LevelKey, PoseFit
from crossover_models.floor_plan import FloorPlan, FloorPlanError
from crossover_models.geometry import wrap_angle
from crossover_models.observation import WallSlice
from crossover_models.registration.alignment import align, covariance
from crossover_models.registration.grid import GridStack, SearchGrid
from crossover_models.registration.likelihood_field import LikelihoodField
from crossover_models.registration.returns import Returns, usable_returns
from crossover_models.registration.search import Candidates, PoseSearch

Array = NDArray[np.float64]
Region = tuple[LevelKey, ArrayLike, float]
# Sets of levels whose rasters are kept ready for a search.
KEPT_STACKS = 3


class PlanMatcher:
    """Matches wall slices against floor plans; one per database.

    A plan that cannot be matched (no walls, nothing free) is left out of searches and named in ``unusable``.

    Args:
        plans: the levels' plans.
        settings: how to match.
        device: where the search runs; "cpu", "cuda", or "auto" for the GPU if there is one.
    """

    def __init__(
        self, plans: Mapping[LevelKey, FloorPlan], settings: RegistrationSettings, device: str = "cpu"
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.settings, self.device = settings, torch.device(device)
        self.unusable: dict[LevelKey, str] = {}
        self._fields: dict[LevelKey, LikelihoodField] = {}
        self._grids: dict[LevelKey, SearchGrid] = {}
        self._stacks: OrderedDict[tuple[LevelKey, ...], GridStack] = OrderedDict()
        for level, plan in plans.items():
            try:
                self._fields[level] = LikelihoodField(plan, settings)
            except FloorPlanError as error:
                self.unusable[level] = str(error)

    @property
    def levels(self) -> tuple[LevelKey, ...]:
        """The levels that can be matched."""
        return tuple(self._fields)

    def register(
        self,
        wall_slice: WallSlice,
        levels: Sequence[LevelKey] | None = None,
        regions: Sequence[Region] | None = None,
    ) -> tuple[PoseFit, ...]:
        """Find the poses, on all levels at once, at which the slice fits best.

        Exact over the search grid for every pose within ``settings.search_margin`` of the best; those are aligned
        finely, scored again and thinned by non-maximum suppression.

        Args:
            wall_slice: what was seen, in the aligned frame.
            levels: where to look; None for all.
            regions: (level, center_xy (2,) in its map frame, radius_m): positions to look at; None for all free space.

        Returns:
            At most ``settings.max_hypotheses`` fits, best first; none where nothing fits or the regions hold no free
            space.

        Raises:
            InsufficientStructure: fewer than ``settings.min_points`` usable returns.
            FloorPlanError: none of the levels asked for can be matched.
        """
        search, keys = self._search(wall_slice, levels, regions)
        if search is None:
            return ()
        return self._finish(search.branch_and_bound(self.settings.search_margin), keys, wall_slice)

    def register_exhaustively(
        self,
        wall_slice: WallSlice,
        levels: Sequence[LevelKey] | None = None,
        regions: Sequence[Region] | None = None,
    ) -> tuple[PoseFit, ...]:
        """As :meth:`register` by scoring every pose: the slow reference."""
        search, keys = self._search(wall_slice, levels, regions)
        if search is None:
            return ()
        return self._finish(search.exhaustive(self.settings.search_margin), keys, wall_slice)

    def refine(self, wall_slice: WallSlice, level: LevelKey, T_map_aligned: ArrayLike) -> PoseFit:
        """Align the slice from a predicted pose (3,) of its frame on a level's plan; no search.

        Raises:
            InsufficientStructure, FloorPlanError, ValueError: as :meth:`refine_all`.
        """
        return self.refine_all(wall_slice, level, _poses(T_map_aligned, (3,))[None])[0]

    def refine_all(self, wall_slice: WallSlice, level: LevelKey, T_map_aligned: ArrayLike) -> tuple[PoseFit, ...]:
        """Align the slice from each of several predicted poses (K, 3) at once; one fit a pose, in their order.

        Raises:
            InsufficientStructure: fewer than ``settings.min_points`` usable returns.
            FloorPlanError: the level is unknown or its plan cannot be matched.
            ValueError: the poses are not finite (K, 3).
        """
        starts = _poses(T_map_aligned, (-1, 3))
        returns = self._returns(wall_slice)
        field = self._field(level)
        return tuple(self._fits(level, field, returns, align(field, returns, starts)))

    def evaluate(self, wall_slice: WallSlice, level: LevelKey, T_map_aligned: ArrayLike) -> tuple[Array, Array, Array]:
        """Scores (K,), inlier fractions (K,) and free-space violations (K,) at poses (K, 3), as in PoseFit; no search.

        Raises:
            InsufficientStructure, FloorPlanError, ValueError: as :meth:`refine_all`.
        """
        poses = _poses(T_map_aligned, (-1, 3))
        return self._field(level).evaluate(self._returns(wall_slice), poses)

    def _returns(self, wall_slice: WallSlice) -> Returns:
        s = self.settings
        return usable_returns(wall_slice, s.min_points, s.max_points, s.max_radius_m)

    def _field(self, level: LevelKey) -> LikelihoodField:
        if level not in self._fields:
            raise FloorPlanError(f"level {'/'.join(level)}: {self.unusable.get(level, 'no plan of that name')}")
        return self._fields[level]

    def _search(
        self, wall_slice: WallSlice, levels: Sequence[LevelKey] | None, regions: Sequence[Region] | None
    ) -> tuple[PoseSearch | None, list[LevelKey]]:
        wanted = list(dict.fromkeys([*self._fields, *self.unusable] if levels is None else levels))
        keys = [level for level in wanted if level in self._fields]
        if not keys:
            self._field(wanted[0]) if wanted else None
            raise FloorPlanError("levels: none to search in")
        returns = self._returns(wall_slice)
        allowed = {level: self._allowed(level, regions) for level in keys}
        keys = [level for level in keys if allowed[level].any()]
        if not keys:
            return None, []
        return PoseSearch(self._stack(keys), [allowed[level] for level in keys], returns, self.settings), keys

    def _stack(self, keys: Sequence[LevelKey]) -> GridStack:
        """Of these levels; those searched last are kept, since a robot searches the same ones again and again."""
        wanted = tuple(keys)
        if wanted not in self._stacks:
            self._stacks[wanted] = GridStack([self._grid(level) for level in keys])
        self._stacks.move_to_end(wanted)
        while len(self._stacks) > KEPT_STACKS:
            self._stacks.popitem(last=False)
        return self._stacks[wanted]

    def _grid(self, level: LevelKey) -> SearchGrid:
        if level not in self._grids:
            self._grids[level] = SearchGrid(self._field(level), self.settings, self.device)
        return self._grids[level]

    def _allowed(self, level: LevelKey, regions: Sequence[Region] | None) -> NDArray[np.bool_]:
        grid = self._grid(level)
        if regions is None:
            return grid.free
        mine = [(np.asarray(center, dtype=np.float64), radius) for key, center, radius in regions if key == level]
        inside = np.zeros(grid.shape, dtype=bool)
        if mine:
            centers = grid.position(np.moveaxis(np.indices(grid.shape), 0, -1))
            for center, radius_m in mine:
                inside |= np.square(centers - center).sum(axis=-1) <= radius_m**2
        return inside & grid.free

    def _finish(self, candidates: Candidates, keys: Sequence[LevelKey], wall_slice: WallSlice) -> tuple[PoseFit, ...]:
        s, returns = self.settings, self._returns(wall_slice)
        if not len(candidates):
            return ()
        # Neighboring cells climb to the same maximum: one start for each is enough.
        starts = _suppress(
            candidates.grid, candidates.poses, s.suppression_m / 2, s.suppression_deg / 2, s.max_hypotheses * s.starts
        )
        fits: list[PoseFit] = []
        for k, level in enumerate(keys):
            poses = candidates.poses[starts[candidates.grid[starts] == k]]
            if len(poses):
                field = self._fields[level]
                fits += self._fits(level, field, returns, align(field, returns, poses))
        fits.sort(key=lambda fit: -fit.score)
        order = {level: k for k, level in enumerate(keys)}
        kept = _suppress(
            np.array([order[fit.level] for fit in fits]),
            np.stack([fit.T_map_aligned for fit in fits]),
            s.suppression_m,
            s.suppression_deg,
            s.max_hypotheses,
        )
        return tuple(fits[k] for k in kept)

    def _fits(self, level: LevelKey, field: LikelihoodField, returns: Returns, poses: Array) -> list[PoseFit]:
        scores, inliers, violations = field.evaluate(returns, poses)
        spread = covariance(field, returns, poses)
        poses = np.concatenate([poses[:, :2], wrap_angle(poses[:, 2:])], axis=1)
        return [
            PoseFit(level, pose, matrix, float(score), float(inlier), float(violation))
            for pose, matrix, score, inlier, violation in zip(poses, spread, scores, inliers, violations, strict=True)
        ]


def _poses(poses: ArrayLike, shape: tuple[int, ...]) -> Array:
    array = np.asarray(poses, dtype=np.float64)
    if array.ndim != len(shape) or array.shape[-1] != 3 or not np.isfinite(array).all():
        raise ValueError(f"T_map_aligned: expected finite [x, y, yaw], got {array.tolist()}")
    return array


def _suppress(
    group: NDArray[np.int64], poses: Array, distance_m: float, heading_deg: float, limit: int
) -> NDArray[np.int64]:
    """Indices, in order, of poses (N, 3), best first, that are not near a better one of the same group."""
    kept: list[int] = []
    open_ = np.ones(len(poses), dtype=bool)
    while len(kept) < limit and open_.any():
        k = int(np.argmax(open_))
        kept.append(k)
        offset = poses[:, :2] - poses[k, :2]
        near = np.hypot(offset[:, 0], offset[:, 1]) <= distance_m
        turned = np.abs(wrap_angle(poses[:, 2] - poses[k, 2])) <= np.deg2rad(heading_deg)
        open_ &= ~(near & turned & (group == group[k]))
        open_[k] = False
    return np.array(kept, dtype=np.int64)
