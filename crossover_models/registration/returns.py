"""The returns of a wall slice that a registration uses: finite, thinned evenly over space, few enough to be quick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.observation import WallSlice

# Cells on which returns are thinned, so that a wall near the sensor does not outvote one far from it.
THINNING_M = 0.1
# The end of a ray is near a wall in any case; only what lies before it says that space is free.
RAY_END_MARGIN_M = 0.3


class InsufficientStructure(ValueError):
    """Too few usable returns to say anything; the message names their number and the least that is needed."""


@dataclass(frozen=True)
class Returns:
    """What is matched against a plan.

    Attributes:
        points: (P, 2) float64 end points in the aligned frame, metres.
        origins: (P, 2) float64 where the sensor was when it saw each.
    """

    points: NDArray[np.float64]
    origins: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.points)

    def every(self, limit: int) -> Returns:
        """At most ``limit`` returns, evenly spread over their order."""
        if len(self) <= limit:
            return self
        keep = np.linspace(0, len(self) - 1, limit).round().astype(np.int64)
        return Returns(self.points[keep], self.origins[keep])

    def by_length(self, size: int) -> list[Returns]:
        """The same in groups of ``size`` of like length, shortest rays first."""
        span = self.points - self.origins
        order = np.argsort(np.hypot(span[:, 0], span[:, 1]), kind="stable")
        parts = np.array_split(order, max(1, len(order) // size))
        return [Returns(self.points[part], self.origins[part]) for part in parts]

    def ray_samples(self, spacing_m: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Points along the rays, from the sensor to just before the end.

        Returns:
            (P, S, 2) sample positions in the aligned frame and (P, S) which of them exist: rays differ in length.
        """
        span = self.points - self.origins
        length = np.hypot(span[:, 0], span[:, 1])
        # Even the shortest ray starts somewhere, and that is free.
        free = np.maximum(length - RAY_END_MARGIN_M, 1e-6)
        count = max(1, int(np.ceil(float(free.max(initial=0.0)) / spacing_m)))
        along = np.arange(count) * spacing_m
        inside = along[None] < free[:, None]
        direction = span / np.maximum(length, 1e-9)[:, None]
        return self.origins[:, None] + along[None, :, None] * direction[:, None], inside


def usable_returns(wall_slice: WallSlice, min_points: int, max_points: int, max_radius_m: float) -> Returns:
    """Select the returns of a slice that are matched.

    Returns that are not finite or farther than ``max_radius_m`` from the aligned frame's origin are left out; one a
    cell of 0.1 m is kept, then at most ``max_points``, evenly spread in order of sweep and bearing.

    Raises:
        InsufficientStructure: fewer than ``min_points`` remain.
    """
    points = np.asarray(wall_slice.points, dtype=np.float64)
    origins = np.asarray(wall_slice.origins, dtype=np.float64)[wall_slice.origin_index]
    usable = np.isfinite(points).all(axis=1) & np.isfinite(origins).all(axis=1)
    points, origins = points[usable], origins[usable]
    near = np.hypot(points[:, 0], points[:, 1]) <= max_radius_m
    points, origins = points[near], origins[near]
    order = np.asarray(wall_slice.origin_index)[usable][near]
    cells = np.floor(points / THINNING_M).astype(np.int64)
    first = np.unique(cells[:, 0] * 1_000_003 + cells[:, 1], return_index=True)[1]
    if len(first) < min_points:
        raise InsufficientStructure(
            f"wall slice: {len(first)} usable returns of {len(wall_slice.points)}, at least {min_points} are needed"
        )
    span = points[first] - origins[first]
    first = first[np.lexsort((np.arctan2(span[:, 1], span[:, 0]), order[first]))]
    return Returns(points[first], origins[first]).every(max_points)
