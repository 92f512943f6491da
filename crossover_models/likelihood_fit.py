"""Fit of what retrieval's scores are worth: a conditional logit model over looks whose place is known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from crossover_models.likelihood import SHRINKAGE, RetrievalLikelihood, log_mean_exp
from crossover_models.observation import Modality

Array = NDArray[np.float64]
# Weight, in stays at a place, of remaining at the plain mean over modalities: few buildings tell little, and
# modalities of one map say much the same.
HOLD, PLAIN = 10.0, 0.2


class FitError(ValueError):
    """Looks that nothing can be fitted on."""


@dataclass(frozen=True)
class Look:
    """Scores of one look at a place of the map.

    Attributes:
        visit: looks of one stay at one place have one number; another stay has another.
        query: what the look was made of.
        scores: modality of the map -> (P,) centered scores of all its places, NaN where a place lacks it.
        true: row of the place the robot was at.
    """

    visit: int
    query: Modality
    scores: Mapping[Modality, Array]
    true: int


def fit_likelihood(looks: Sequence[Look], fingerprint: str, facts: Mapping[str, Any]) -> RetrievalLikelihood:
    """Weights that make the probabilities of places true, for each modality of query that was looked with.

    What is fitted is what the belief uses: the shrunk running mean over the looks of a stay. The log-likelihood of
    being at no place is fitted with the true place taken out of each second row.

    Raises:
        FitError: no looks.
    """
    if not looks:
        raise FitError("looks: none to fit on")
    weights: dict[tuple[Modality, Modality], float] = {}
    none: dict[Modality, float] = {}
    told: dict[str, Any] = {}
    for query in dict.fromkeys(look.query for look in looks):
        mine = [look for look in looks if look.query == query]
        modalities = [m for m in Modality if any(m in look.scores for look in mine)]
        rows = stays(mine, modalities)
        found, level, before, after, top1 = _fit(rows, len(modalities))
        weights |= {(query, m): float(w) for m, w in zip(modalities, found, strict=True)}
        none[query] = level
        told[query.value] = {
            "looks": len(mine),
            "visits": len({look.visit for look in mine}),
            "places": float(np.mean([len(row.features) for row in rows])),
            "nats_uniform": round(before, 4),
            "nats_fitted": round(after, 4),
            "top1_of_stays": round(top1, 4),
        }
    return RetrievalLikelihood(fingerprint, weights, none, {**facts, "fit": told})


@dataclass(frozen=True)
class Row:
    """(P, F) features after a look, the row of the true place, and what the look counts: 1 for all of a stay."""

    features: Array
    true: int
    counts: float


def stays(looks: Sequence[Look], modalities: Collection[Modality]) -> list[Row]:
    """What a belief knows after each look: means of the scores over the stay so far, shrunk."""
    sums: dict[int, tuple[Array, int]] = {}
    out: list[tuple[int, Array, int]] = []
    for look in looks:
        absent = np.zeros(len(next(iter(look.scores.values()))))
        features = np.stack([np.nan_to_num(look.scores.get(m, absent)) for m in modalities], axis=1)
        before, count = sums.get(look.visit, (np.zeros_like(features), 0))
        sums[look.visit] = before + features, count + 1
        out.append((look.visit, sums[look.visit][0] / (count + 1 + SHRINKAGE), look.true))
    return [Row(features, true, 1.0 / sums[visit][1]) for visit, features, true in out]


def _fit(rows: Sequence[Row], count: int) -> tuple[Array, float, float, float, float]:
    """Weights (F,) and the level of "none"; nats a stay before and after; share of looks whose best place is true."""

    def surprise(w: Array) -> tuple[float, Array]:
        away = w - PLAIN
        total, gradient = 0.5 * HOLD * float(away @ away), HOLD * away
        for row in rows:
            value, slope = _surprise(row.features, row.true, w)
            total, gradient = total + row.counts * value, gradient + row.counts * slope
        return total, gradient

    bounds = [(0.0, None)] * count
    w = np.asarray(minimize(surprise, np.full(count, PLAIN), jac=True, method="L-BFGS-B", bounds=bounds).x)
    counts = np.array([row.counts for row in rows])
    before = float(np.average([np.log(len(row.features)) for row in rows], weights=counts))
    after = float(np.average([_surprise(row.features, row.true, w)[0] for row in rows], weights=counts))
    top1 = float(np.average([int(np.argmax(row.features @ w)) == row.true for row in rows], weights=counts))
    return w, _fit_none(rows, w), before, after, top1


def _fit_none(rows: Sequence[Row], w: Array) -> float:
    """Log-likelihood of being at no place: each row is told once as it is, once with its true place out of the map."""
    pairs = []
    for row in rows:
        logits = row.features @ w
        if len(logits) > 1:
            pairs.append((log_mean_exp(logits), log_mean_exp(np.delete(logits, row.true)), row.counts))

    def surprise(level: float) -> float:
        told = (
            counts * (np.logaddexp(0.0, level - at) + np.logaddexp(0.0, gone - level)) for at, gone, counts in pairs
        )
        return float(sum(told))

    return float(minimize_scalar(surprise, bounds=(-10.0, 10.0), method="bounded").x) if pairs else 0.0


def _surprise(features: Array, true: int, w: Array) -> tuple[float, Array]:
    """Negative log-probability (nats) of the true row of features (P, F), and its gradient."""
    logits = features @ w
    total = log_mean_exp(logits) + np.log(len(logits))
    share = np.exp(logits - total)
    return float(total - logits[true]), share @ features - features[true]
