"""Fits of the belief's constants on validation drives: how often retrieval errs, what furniture is worth, what is said.

Each has a definition, so that nobody has to choose it by looking at a benchmark:

- the share of places at which retrieval goes wrong is the weight of a uniform part in a mixture with the fitted
  likelihoods, by maximum likelihood; places are alike to it where their codes differ by less than its logarithm;
- what the ends of a slice's rays at the map's furniture are worth is a conditional logit between the true pose and
  poses that fit the plan as well;
- a pose may be announced at the probability at which poses of the belief are right in :data:`SURE` of the cases, by a
  logistic calibration (Platt 1999) that is held at the belief's own word; :data:`SURER` bounds it from above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit

from crossover_models.likelihood import RetrievalLikelihood, log_mean_exp
from crossover_models.likelihood_fit import FitError, Look, stays

Array = NDArray[np.float64]
# Share of poses that are right at the level of announcement, at least and at most: most are announced well above it.
SURE, SURER = 0.95, 0.99
LEAST_OUTLIERS, MOST_OUTLIERS = 1e-3, 0.5
# The announcement is held at the belief's own word, furniture at worth nothing, by so many imagined drives.
HELD_DRIVES = 2.0
# Two looks from one drive are hardly two: all of a drive count as so many.
LOOKS_OF_A_DRIVE = 4.0


@dataclass(frozen=True)
class Believed:
    """The belief's best pose at one moment of a drive, before anything is announced."""

    drive: int
    probability: float
    right: bool


@dataclass(frozen=True)
class Furnished:
    """Shares (4,) of outcomes of a slice's rays at the true pose, and (K, 4) at poses that fit the plan as well."""

    drive: int
    right: Array
    wrong: Array


def fit_outliers(looks: Sequence[Look], likelihood: RetrievalLikelihood) -> float:
    """Share of places at which retrieval goes wrong, whatever its scores.

    Raises:
        FitError: no looks.
    """
    if not looks:
        raise FitError("looks: none to fit on")
    found: list[tuple[float, float]] = []
    for query in dict.fromkeys(look.query for look in looks):
        mine = [look for look in looks if look.query == query]
        modalities = tuple(dict.fromkeys(m for look in mine for m in look.scores))
        weights = np.array([likelihood.weights.get((query, m), 0.0) for m in modalities])
        for row in stays(mine, modalities):
            nats = row.features @ weights
            found.append((float(np.exp(nats[row.true] - log_mean_exp(nats))), row.counts))
    ratio, counts = np.array(found).T

    def surprise(share: float) -> float:
        return float(-(counts * np.log((1.0 - share) * ratio + share)).sum())

    return float(minimize_scalar(surprise, bounds=(LEAST_OUTLIERS, MOST_OUTLIERS), method="bounded").x)


def fit_furniture(samples: Sequence[Furnished], names: Sequence[str], rays: float) -> dict[str, float]:
    """What each outcome of a ray is worth, in nats; ``rays`` independent ones are counted of a slice.

    The mean likelihood at wrong poses is 1: furniture speaks neither for nor against a pose about which it says as much
    as about any other.

    Raises:
        FitError: nothing to compare.
    """
    usable = [sample for sample in samples if len(sample.wrong)]
    if not usable:
        raise FitError("furniture: no slice with a wrong pose that fits as well")
    drives, of_drive = np.unique([sample.drive for sample in usable], return_inverse=True)
    weight = LOOKS_OF_A_DRIVE / np.bincount(of_drive, minlength=len(drives))[of_drive]

    def surprise(w: Array) -> float:
        total = 0.5 * HELD_DRIVES * float(w @ w)
        for sample, counts in zip(usable, weight, strict=True):
            nats = rays * np.array([sample.right, *sample.wrong]) @ w
            total += float(counts) * (log_mean_exp(nats) + np.log(len(nats)) - float(nats[0]))
        return total

    w = np.asarray(minimize(surprise, np.zeros(len(names)), method="BFGS").x)
    means = np.array([np.exp(rays * sample.wrong @ w).mean() for sample in usable])
    level = float(np.log(np.average(means, weights=weight))) / rays
    return {name: round(float(value) - level, 3) for name, value in zip(names, w, strict=True)}


def fit_announcement(samples: Sequence[Believed]) -> Mapping[str, float]:
    """Probabilities ``least`` and ``most`` between which a pose is to be announced, and what they rest on.

    Raises:
        FitError: no samples.
    """
    if not samples:
        raise FitError("announcement: no pose of a belief to fit on")
    drives, of_drive = np.unique([sample.drive for sample in samples], return_inverse=True)
    weight = LOOKS_OF_A_DRIVE / np.bincount(of_drive, minlength=len(drives))[of_drive]
    said = logit(np.clip([sample.probability for sample in samples], 1e-3, 1 - 1e-3))
    sign = np.where([sample.right for sample in samples], 1.0, -1.0)

    def surprise(ab: Array) -> float:
        told = sign * (ab[0] + ab[1] * said)
        held = 0.5 * HELD_DRIVES * LOOKS_OF_A_DRIVE * float(ab[0] ** 2 + (ab[1] - 1.0) ** 2)
        return held + float((weight * np.logaddexp(0.0, -told)).sum())

    a, b = np.asarray(minimize(surprise, np.array([0.0, 1.0]), method="BFGS").x).tolist()
    wrong = [sample.probability for sample in samples if not sample.right]
    least, most = (float(expit((logit(share) - a) / max(b, 1e-3))) for share in (SURE, SURER))
    return {
        "least": round(least, 3),
        "most": round(most, 3),
        "offset": round(a, 3),
        "slope": round(b, 3),
        "samples": float(len(samples)),
        "drives": float(len(drives)),
        "largest_wrong": round(max(wrong, default=0.0), 3),
    }
