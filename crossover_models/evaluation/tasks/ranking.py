"""Ranks in a gallery: what every recall of the paper's tasks is made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


class TaskError(ValueError):
    """Inputs that form no task; the message names the field and the value."""


def scores(query: Array, gallery: Array) -> Array:
    """Dot products (Q, G) of embeddings (Q, D) and (G, D).

    Raises:
        TaskError: shapes that do not agree, or a value that is not finite.
    """
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise TaskError(f"embeddings: expected (Q, D) and (G, D), got {query.shape} and {gallery.shape}")
    for name, values in (("query", query), ("gallery", gallery)):
        if not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values).all(axis=1)))
            raise TaskError(f"{name}: row {row} is not finite; leave absent rows out by their mask")
    return np.asarray(query @ gallery.T, dtype=np.float32)


def first_ranks(similarity: Array, right: Mask, allowed: Mask | None = None) -> NDArray[np.int64]:
    """Rank (0 is first) of each query's best right answer.

    Ties count against the query: a constant embedding ranks last, never first. A query without a right answer among
    the allowed ones ranks behind the whole gallery.

    Args:
        similarity: (Q, G).
        right: (Q, G) which answers are right.
        allowed: (Q, G) which answers count at all; None for all.
    """
    if right.shape != similarity.shape or (allowed is not None and allowed.shape != similarity.shape):
        raise TaskError(f"right, allowed: expected {similarity.shape}, got {right.shape}")
    counted = np.ones_like(right) if allowed is None else allowed
    good, bad = right & counted, counted & ~right
    best = np.where(good, similarity, -np.inf).max(axis=1, initial=-np.inf)
    ahead = (bad & (similarity >= best[:, None])).sum(axis=1)
    return np.asarray(np.where(good.any(axis=1), ahead, similarity.shape[1]), dtype=np.int64)


def recalls(ranks: NDArray[np.int64], cuts: Sequence[int]) -> dict[str, float | None]:
    """``r1``, ``r5``, ...: share of ranks below each cut; None without any query."""
    return {f"r{k}": float((ranks < k).mean()) if len(ranks) else None for k in cuts}


def chance(right: Mask, cuts: Sequence[int], allowed: Mask | None = None) -> dict[str, float | None]:
    """Recalls of an order drawn at random: 1 - C(G - n, k) / C(G, k) with n right ones of G, averaged over queries."""
    counted = np.ones_like(right) if allowed is None else allowed
    number, good = counted.sum(axis=1), (right & counted).sum(axis=1)
    out: dict[str, float | None] = {}
    for k in cuts:
        missed = np.ones(len(right))
        for i in range(k):
            left = number - i
            missed *= np.where(left > 0, np.clip((left - good) / np.maximum(left, 1), 0.0, 1.0), 1.0)
        out[f"r{k}"] = float((1.0 - missed).mean()) if len(right) else None
    return out
