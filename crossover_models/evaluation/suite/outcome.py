"""What a method did in a task, query by query, so that intervals and means over seeds come from the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.evaluation.tasks.ranking import TaskError

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """Q queries (or scenes). A figure is the sum of its numerators by the sum of its denominators.

    Attributes:
        scans: (Q,) row of the scan that each belongs to.
        parts: figure -> numerators and denominators, (Q,) each.
        chance: figure -> what an order drawn at random reaches.
        groups: (Q,) a figure is then the unweighted mean of the groups' figures; None for one group.
        seeds: outcomes that this one is the mean of, if any.
    """

    scans: NDArray[np.int64]
    parts: dict[str, tuple[Values, Values]]
    chance: dict[str, float | None]
    groups: NDArray[np.int64] | None = None
    seeds: tuple[Outcome, ...] = ()

    def figures(self, weights: Values) -> dict[str, Values]:
        """Each figure (B,) under weights (B, N) of the N scans, nan where it does not exist."""
        mine = weights[:, self.scans]
        groups = np.zeros(len(self.scans), np.int64) if self.groups is None else self.groups
        out = {}
        for name, (above, below) in self.parts.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                each = [
                    (mine[:, groups == g] @ above[groups == g]) / (mine[:, groups == g] @ below[groups == g])
                    for g in np.unique(groups)
                ]
            out[name] = _mean(np.stack(each)) if each else np.full(len(weights), np.nan)
        return out


def mean_over_seeds(outcomes: Sequence[Outcome]) -> Outcome:
    """Outcomes of one method trained several times, on the same queries, as one.

    Raises:
        TaskError: the queries differ.
    """
    first = outcomes[0]
    if len(outcomes) == 1:
        return first
    for other in outcomes[1:]:
        if not np.array_equal(first.scans, other.scans) or first.parts.keys() != other.parts.keys():
            raise TaskError("seeds of one method: they were asked different queries")
    parts = {}
    for name in first.parts:
        above = np.mean([o.parts[name][0] for o in outcomes], axis=0)
        below = np.mean([o.parts[name][1] for o in outcomes], axis=0)
        parts[name] = (above, below)
    return Outcome(first.scans, parts, first.chance, first.groups, tuple(outcomes))


def _mean(values: Values) -> Values:
    """Mean over axis 0 of what exists, nan where nothing does."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), dtype=np.float64)
