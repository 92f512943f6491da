"""The belief's poses as hypotheses, with the places that they lie in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossover_models.belief import Belief
from crossover_models.estimate import Hypothesis
from crossover_models.places import PlaceMap


def hypotheses_of(belief: Belief, poses: NDArray[np.float64], places: PlaceMap) -> tuple[Hypothesis, ...]:
    """All hypotheses of a belief at ``poses`` (H, 3), best first."""
    out = []
    for k, pose in enumerate(poses):
        fit, place = belief.fits[k], places.at(belief.levels[k], pose[:2])
        out.append(
            Hypothesis(
                belief.levels[k],
                pose.copy(),
                belief.covariance[k].copy(),
                float(belief.weight[k]),
                score=fit.score if fit else float("nan"),
                inlier_fraction=fit.inlier_fraction if fit else float("nan"),
                free_space_violation=fit.free_space_violation if fit else float("nan"),
                place_id=place.place_id if place else "",
                place_name=place.name if place else "",
            )
        )
    return tuple(out)
