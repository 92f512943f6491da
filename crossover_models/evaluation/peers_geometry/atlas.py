"""All levels of a map side by side in one raster, for localizers that know one map only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossover_models.estimate import LevelKey
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan

Array = NDArray[np.float64]

# Blank space between two levels: no return of a robot on one reaches the walls of another unnoticed.
GAP_M = 4.0


@dataclass(frozen=True)
class Atlas:
    """Levels laid out along x.

    Attributes:
        plan: the raster of all of them.
        levels: in their order.
        shifts: (L, 2) atlas position less map-frame position of each level, m.
        ends_m: (L,) atlas x at which a level's strip ends.
    """

    plan: FloorPlan
    levels: tuple[LevelKey, ...]
    shifts: Array
    ends_m: Array

    @classmethod
    def of(cls, plans: Mapping[LevelKey, FloorPlan]) -> Atlas:
        """Lay plans out, resampled to the finest resolution among them where they differ."""
        resolution = min(plan.resolution_m for plan in plans.values())
        gap = round(GAP_M / resolution)
        rasters = [_resampled(plan, resolution) for plan in plans.values()]
        rows = max(raster.shape[0] for raster in rasters)
        columns = gap + sum(raster.shape[1] + gap for raster in rasters)
        occupancy = np.full((rows, columns), UNKNOWN, dtype=np.int8)
        column, shifts, ends = gap, [], []
        for plan, raster in zip(plans.values(), rasters, strict=True):
            occupancy[: raster.shape[0], column : column + raster.shape[1]] = raster
            shifts.append([column * resolution - plan.origin_xy[0], -plan.origin_xy[1]])
            column += raster.shape[1] + gap
            ends.append((column - gap / 2) * resolution)
        return cls(FloorPlan(occupancy, resolution, (0.0, 0.0)), tuple(plans), np.array(shifts), np.array(ends))

    def level_index(self, points_xy: ArrayLike) -> NDArray[np.int64]:
        """(...,) index of the level at atlas positions (..., 2)."""
        x = np.asarray(points_xy, dtype=np.float64)[..., 0]
        return np.minimum(np.searchsorted(self.ends_m, x), len(self.levels) - 1)

    def to_level(self, pose: ArrayLike) -> tuple[LevelKey, Array]:
        """Level and pose (3,) in its map frame of an atlas pose (3,)."""
        value = np.asarray(pose, dtype=np.float64)
        k = int(self.level_index(value[:2]))
        return self.levels[k], value - [*self.shifts[k], 0.0]

    def from_level(self, level: LevelKey, pose: ArrayLike) -> Array:
        """Atlas pose (3,) of a pose (3,) in a level's map frame."""
        return np.asarray(np.add(pose, [*self.shifts[self.levels.index(level)], 0.0]))


def _resampled(plan: FloorPlan, resolution_m: float) -> NDArray[np.int8]:
    if abs(plan.resolution_m / resolution_m - 1.0) < 1e-6:
        return plan.occupancy
    rows, cols = (max(1, round(side / resolution_m)) for side in plan.size_m[::-1])
    grid = np.moveaxis(np.indices((rows, cols)), 0, -1)[..., ::-1]
    out = plan.value((grid + 0.5) * resolution_m + plan.origin_xy)
    assert {int(v) for v in np.unique(out)} <= {FREE, OCCUPIED, UNKNOWN}
    return out
