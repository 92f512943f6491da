"""Exact t-SNE for some hundred points (van der Maaten and Hinton 2008), from a start that involves no chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossover_models.evaluation.tasks.ranking import TaskError

Values = NDArray[np.float64]
MOST = 2000
_STEPS, _EARLY_STEPS, _EARLY = 400, 100, 12.0
_TINY = 1e-12


def tsne(points: NDArray[np.float32], perplexity: float = 20.0) -> Values:
    """Places (N, 2) of points (N, D) such that neighbors stay neighbors; the start is the first two principal axes.

    Raises:
        TaskError: fewer than 4 or more than :data:`MOST` points, or one that is not finite.
    """
    if not 4 <= len(points) <= MOST:
        raise TaskError(f"t-SNE: expected 4 to {MOST} points, got {len(points)}")
    if not np.isfinite(points).all():
        raise TaskError("t-SNE: a point is not finite")
    centered = points.astype(np.float64) - points.mean(axis=0)
    wanted = affinities(_squared(centered), min(perplexity, (len(points) - 1) / 3.0))
    left, scale, _ = np.linalg.svd(centered, full_matrices=False)
    out = np.zeros((len(points), 2))
    out[:, : min(2, len(scale))] = (left * scale)[:, :2]
    out *= 1e-2 / max(float(out.std()), _TINY)
    speed, gain = np.zeros_like(out), np.ones_like(out)
    rate = max(len(points) / _EARLY, 50.0)
    for step in range(_STEPS):
        early = step < _EARLY_STEPS
        near = 1.0 / (1.0 + _squared(out))
        np.fill_diagonal(near, 0.0)
        reached = near / max(float(near.sum()), _TINY)
        pull = ((_EARLY if early else 1.0) * wanted - reached) * near
        slope = 4.0 * (pull.sum(axis=1)[:, None] * out - pull @ out)
        gain = np.clip(np.where(np.sign(slope) == np.sign(speed), gain * 0.8, gain + 0.2), 0.01, None)
        speed = (0.5 if early else 0.8) * speed - rate * gain * slope
        out = out + speed
        out -= out.mean(axis=0)
    return out


def affinities(squared: Values, perplexity: float) -> Values:
    """Joint probabilities (N, N), symmetric, sum 1: Gaussians as wide as ``perplexity`` neighbors at every point."""
    number = len(squared)
    others = ~np.eye(number, dtype=np.bool_)
    shifted = squared - np.where(others, squared, np.inf).min(axis=1, keepdims=True)
    low, high = np.zeros(number), np.full(number, np.inf)
    precision = np.full(number, 1.0 / max(float(squared[others].mean()), _TINY))
    for _ in range(60):
        weight = np.where(others, np.exp(-np.clip(shifted * precision[:, None], 0.0, 700.0)), 0.0)
        share = weight / weight.sum(axis=1, keepdims=True)
        entropy = -(share * np.log(np.maximum(share, _TINY))).sum(axis=1)
        wide = entropy > np.log(perplexity)
        low, high = np.where(wide, precision, low), np.where(wide, high, precision)
        precision = np.where(np.isinf(high), 2.0 * precision, (low + np.where(np.isinf(high), 0.0, high)) / 2.0)
    return np.asarray((share + share.T) / (2.0 * number), dtype=np.float64)


def _squared(points: Values) -> Values:
    """Squared distances (N, N)."""
    norms = (points**2).sum(axis=1)
    return np.asarray(np.maximum(norms[:, None] + norms[None, :] - 2.0 * points @ points.T, 0.0), dtype=np.float64)
