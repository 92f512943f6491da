"""Whether two looks, moments apart, are of the same surroundings; if not, the robot was carried or rode in a lift.

Odometry goes on as if nothing had happened, so only what is seen tells. Between two sweeps of a lidar at 10 Hz little
changes: in simulated buildings 0.91 and more of a sweep lay where the sweep before had returns, 0.71 and less where
the robot was set down elsewhere, or where the doors of a lift had closed or opened on another floor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from crossover_models.geometry import compose_se2, relative_se2
from crossover_models.observation import WallSlice

Array = NDArray[np.floating]
TOLERANCE_M = 0.2
# Fewer returns than this in directions both looked at say nothing.
LEAST_RETURNS = 10
# Single looks from farther apart than this differ by what comes into sight.
COMPARABLE_M = 0.3
_CELL_M = 0.1
_BINS = 120
_FARTHEST_M = 1e6
# More than twice the cells along either axis, so that both indices fit into one number.
_STRIDE = 1 << 26


def seen_before(points: Array, origin: Array, known: Array) -> float:
    """Share of returns that lie where returns were known to be.

    Only returns in directions that hold known ones too are counted: what a narrow field of view did not show before
    contradicts nothing.

    Args:
        points: (N, 2) returns, metres.
        origin: (2,) where they were seen from.
        known: (M, 2) earlier returns in the same frame.

    Returns:
        0..1, or 1 where fewer than 10 cells of 0.1 m with returns can be compared.
    """
    cells, old = _cells(points), _cells(known)
    if len(cells) < LEAST_RETURNS or len(old) < LEAST_RETURNS:
        return 1.0
    looked = np.zeros(_BINS, dtype=bool)
    looked[_bins(old - origin)] = True
    cells = cells[looked[_bins(cells - origin)]]
    if len(cells) < LEAST_RETURNS:
        return 1.0
    near, _ = cKDTree(old).query(cells, distance_upper_bound=TOLERANCE_M)
    return float(np.isfinite(near).mean())


def slice_seen_before(old: WallSlice, new: WallSlice) -> float:
    """:func:`seen_before` of a slice against an earlier one at odometry's relative pose.

    1 where there is nothing to compare, and for single scans taken more than :data:`COMPARABLE_M` apart; of
    accumulated sweeps most are in both slices.
    """
    if not len(new.origins) or not np.isfinite(new.origins[-1]).all():
        return 1.0
    step = relative_se2(new.T_odom_aligned, old.T_odom_aligned)
    if old.scans == 1 and float(np.hypot(step[0], step[1])) > COMPARABLE_M:
        return 1.0
    known = compose_se2(step, np.column_stack([old.points, np.zeros(len(old.points))]))[:, :2]
    return seen_before(new.points, new.origins[-1], known)


def _cells(points: Array) -> NDArray[np.float64]:
    """Centers (K, 2) of the cells that hold points, so that a wall nearby does not outvote one far away."""
    array = np.asarray(points, dtype=np.float64)
    usable = array[(np.abs(array) < _FARTHEST_M).all(axis=1)]
    cells = np.floor(usable / _CELL_M).astype(np.int64)
    # One number a cell: sorting rows takes five times as long, and this runs with every sweep.
    found = np.unique(cells[:, 0] * _STRIDE + cells[:, 1])
    rows = np.floor_divide(found + _STRIDE // 2, _STRIDE)
    return np.asarray((np.stack([rows, found - rows * _STRIDE], axis=1) + 0.5) * _CELL_M)


def _bins(offsets: Array) -> NDArray[np.int64]:
    bearing = np.arctan2(offsets[:, 1], offsets[:, 0])
    return np.asarray(np.floor((bearing + np.pi) / (2.0 * np.pi) * _BINS).astype(np.int64) % _BINS)
