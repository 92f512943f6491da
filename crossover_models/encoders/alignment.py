"""The direction of the walls, so that clouds and plans of one room meet the encoders turned alike.

Ours, not CrossOver's: a small sparse network spends most of a short training on learning that headings do not matter
(rooms it told apart in 20 steps at one heading stayed at chance for 90 at random ones), and walls give them away up to
quarter turns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BIN_M = 0.1
_MOST_POINTS = 3000
_COARSE_RAD = np.deg2rad(2.0)
_FINE_RAD = np.deg2rad(0.5)


def wall_heading(points_xy: NDArray[np.floating]) -> float:
    """Heading in [0, pi/2), modulo a quarter turn, of the axes on which projections of points pile up most, radians.

    Walls and cabinets project onto one bin of the axis they are square to, so the sum of squared counts peaks there.

    Args:
        points_xy: (N, 2) metres, N >= 1; evenly thinned to 3000.
    """
    points = np.asarray(points_xy[:: max(1, -(-len(points_xy) // _MOST_POINTS))], dtype=np.float64)
    points = points - points.mean(axis=0)
    best = _peak(points, np.arange(0.0, np.pi / 2, _COARSE_RAD))
    return _peak(points, best + np.arange(-4, 5) * _FINE_RAD) % (np.pi / 2)


def _peak(points: NDArray[np.float64], headings: NDArray[np.float64]) -> float:
    """The candidate with the sharpest histograms; the first of equals."""
    cos, sin = np.cos(headings)[:, None], np.sin(headings)[:, None]
    x, y = points[:, 0], points[:, 1]
    along = np.concatenate([cos * x + sin * y, cos * y - sin * x])
    bins = np.floor(along / _BIN_M).astype(np.int64)
    bins -= bins.min()
    width = int(bins.max()) + 1
    bins += np.arange(len(bins))[:, None] * width
    counts = np.bincount(bins.ravel(), minlength=len(bins) * width).reshape(len(bins), width)
    score = np.square(counts, dtype=np.float64).sum(axis=1)
    return float(headings[int(np.argmax(score[: len(headings)] + score[len(headings) :]))])
