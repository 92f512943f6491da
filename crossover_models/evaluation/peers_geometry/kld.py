"""KLD-sampling: how many particles are enough (Fox 2003, "Adapting the sample size in particle filters")."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray


def kld_sample_size(bins: ArrayLike, epsilon: float, delta: float) -> NDArray[np.float64]:
    """Particles (...,) that are enough when ``bins`` (...,) bins of the state space have support.

    With them the Kullback-Leibler divergence from the true posterior stays below ``epsilon`` with probability
    1 - ``delta``.

    Equation 8.14 and table 8.4 of Probabilistic Robotics, with the Wilson-Hilferty approximation of the chi-square
    quantile; a single bin needs one particle.
    """
    k = np.asarray(bins, dtype=np.float64) - 1.0
    positive = np.maximum(k, 1.0)
    spread = 2.0 / (9.0 * positive)
    size = positive / (2.0 * epsilon) * (1.0 - spread + np.sqrt(spread) * NormalDist().inv_cdf(1.0 - delta)) ** 3
    return np.where(k >= 1.0, size, 1.0)


def enough(poses: NDArray[np.float64], bin_m: float, bin_rad: float, epsilon: float, delta: float, least: int) -> int:
    """How many of the poses (N, 3), taken in their order, the loop of table 8.4 draws before it stops; at most N."""
    cells = np.floor(poses / [bin_m, bin_m, bin_rad]).astype(np.int64)
    cells -= cells.min(axis=0)
    extent = cells.max(axis=0) + 1
    key = (cells[:, 0] * extent[1] + cells[:, 1]) * extent[2] + cells[:, 2]
    first = np.zeros(len(poses), dtype=np.int64)
    first[np.unique(key, return_index=True)[1]] = 1
    drawn = np.arange(1, len(poses) + 1)
    stop = (drawn >= kld_sample_size(np.cumsum(first), epsilon, delta)) & (drawn >= least)
    return int(np.argmax(stop)) + 1 if stop.any() else len(poses)
