"""Simulated place codes with the spread of real ones, for measuring indexes at sizes that no survey has.

Measured on 762 places of simulated buildings encoded by the shipped weights (256-D, five modalities): mean vector of
norm .53 to .59; half, 90 and 99 % of the variance about it lie in 1-3, 5-11 and 15-34 dimensions; eigenvalues fall as
k^-2.3 to k^-2.8. Uniform directions, the usual stand-in, have none of that: all pairs are then equally far.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MEAN_NORM = 0.53
# Eigenvalues within a kind of room fall as k^-2: a little slower than measured, which makes neighbors harder to tell.
AMPLITUDE_EXPONENT = -1.0
KINDS = 24
# Of the deviation from the mean: how far kinds of rooms are apart, and what no other place shares.
KIND_SHARE, OWN_NOISE = 0.6, 0.02
# A look at a place, against how places of one kind differ.
LOOK_NOISE = 0.1
_CHUNK = 50_000


class PlantedCodes:
    """Draws unit vectors; equal seeds draw equal vectors, whatever the number drawn in one call of a fresh object."""

    def __init__(self, dim: int, seed: int = 0) -> None:
        self.dim = dim
        self._rng = np.random.default_rng([seed, dim])
        basis, _ = np.linalg.qr(self._rng.normal(size=(dim, min(dim, 64))))
        amplitude = np.arange(1, basis.shape[1] + 1.0) ** AMPLITUDE_EXPONENT
        amplitude *= np.sqrt((1.0 - MEAN_NORM**2) * (1.0 - KIND_SHARE) / (amplitude**2).sum())
        self._spread = (basis * amplitude).astype(np.float32)
        mean = self._rng.normal(size=dim)
        self._mean = (MEAN_NORM * mean / np.linalg.norm(mean)).astype(np.float32)
        kinds = self._rng.normal(size=(KINDS, basis.shape[1])) @ (basis * amplitude).T
        kinds *= np.sqrt((1.0 - MEAN_NORM**2) * KIND_SHARE) / np.linalg.norm(kinds, axis=1, keepdims=True)
        self._kinds = kinds.astype(np.float32)

    def draw(self, count: int) -> NDArray[np.float32]:
        """(count, D) float32 unit vectors of as many places."""
        return np.concatenate(list(self.chunks(count))) if count else np.zeros((0, self.dim), dtype=np.float32)

    def chunks(self, count: int) -> Iterator[NDArray[np.float32]]:
        """The same in pieces, so that a large set need not be in memory."""
        for begin in range(0, count, _CHUNK):
            n = min(_CHUNK, count - begin)
            kind = self._rng.integers(0, KINDS, n)
            latent = self._rng.standard_normal((n, self._spread.shape[1]), dtype=np.float32)
            own = self._rng.standard_normal((n, self.dim), dtype=np.float32) * np.float32(OWN_NOISE / np.sqrt(self.dim))
            yield _unit(self._mean + self._kinds[kind] + latent @ self._spread.T + own)

    def looks(self, places: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, D) queries: what an encoder might say of another look at these places (n, D)."""
        latent = self._rng.standard_normal((len(places), self._spread.shape[1]), dtype=np.float32)
        return _unit(places + np.float32(LOOK_NOISE) * (latent @ self._spread.T))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
