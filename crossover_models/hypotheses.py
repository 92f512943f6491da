"""The belief's poses as hypotheses, with the places that they lie in, and what all of them say of the places."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from crossover_models.belief import Belief
from crossover_models.estimate import Hypothesis, LevelKey, PlaceProbability
from crossover_models.places import PlaceMap

# A pose that is less probable is taken to be where its mean is.
SPREAD_FROM = 0.01


def hypotheses_of(belief: Belief, poses: NDArray[np.float64], places: PlaceMap) -> tuple[Hypothesis, ...]:
    """All hypotheses of a belief at ``poses`` (H, 3), best first."""
    return tuple(_hypothesis(belief, k, pose, places, {}) for k, pose in enumerate(poses))


def hypotheses_and_places(
    belief: Belief, poses: NDArray[np.float64], places: PlaceMap
) -> tuple[tuple[Hypothesis, ...], tuple[PlaceProbability, ...]]:
    """All hypotheses of a belief at ``poses`` (H, 3), and the probabilities of the places; best first, both.

    A place has the mass of all poses over it: of a pose beside a door, each of the two rooms has a share, and two poses
    that differ in heading name one room together.
    """
    hypotheses = []
    mass: list[tuple[LevelKey, str, float]] = []
    for k, pose in enumerate(poses):
        level, weight = belief.levels[k], float(belief.weight[k])
        shares = places.shares(level, pose[:2], belief.covariance[k, :2, :2]) if weight >= SPREAD_FROM else {}
        hypotheses.append(_hypothesis(belief, k, pose, places, shares))
        mass += [(level, name, weight * share) for name, share in (shares or {hypotheses[-1].place_id: 1.0}).items()]
    return tuple(hypotheses), summed(mass)


def summed(mass: Iterable[tuple[LevelKey, str, float]]) -> tuple[PlaceProbability, ...]:
    """Mass by place, best first."""
    total: dict[tuple[LevelKey, str], float] = {}
    for level, place_id, value in mass:
        total[level, place_id] = total.get((level, place_id), 0.0) + value
    best_first = sorted(total.items(), key=lambda entry: -entry[1])
    return tuple(PlaceProbability(level, place_id, value) for (level, place_id), value in best_first)


def _hypothesis(
    belief: Belief, k: int, pose: NDArray[np.float64], places: PlaceMap, shares: dict[str, float]
) -> Hypothesis:
    fit, place = belief.fits[k], places.at(belief.levels[k], pose[:2])
    place_id = place.place_id if place else ""
    return Hypothesis(
        belief.levels[k],
        pose.copy(),
        belief.covariance[k].copy(),
        float(belief.weight[k]),
        score=fit.score if fit else float("nan"),
        inlier_fraction=fit.inlier_fraction if fit else float("nan"),
        free_space_violation=fit.free_space_violation if fit else float("nan"),
        place_id=place_id,
        place_name=place.name if place else "",
        place_share=shares.get(place_id, 0.0) if shares else 1.0,
    )
