"""The parametric furniture as a library."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from crossover_models.simulation.cad.library import (
    MOST_STRETCH,
    NEAREST,
    FittedModel,
    checked_size,
    scaled_to,
    shape_distance,
)
from crossover_models.simulation.furniture import (
    CATEGORIES,
    LOOSE_CATEGORIES,
    POOL_SIZE,
    furniture_mesh,
    furniture_size,
    model_id,
    split_of_model,
)

_LOOKED_AT = 16


class ParametricLibrary:
    """Models of :mod:`crossover_models.simulation.furniture`, scaled to the box that is asked for."""

    name = "parametric"

    def fitted(self, category: str, size_m: ArrayLike, split: str, rng: np.random.Generator) -> FittedModel | None:
        """One of the nearest in shape among a few drawn models of the split."""
        wanted = checked_size(size_m)
        if category not in CATEGORIES and category not in LOOSE_CATEGORIES:
            return None
        pool = [i for i in range(POOL_SIZE) if split_of_model(i) == split]
        drawn = [pool[int(i)] for i in rng.choice(len(pool), min(_LOOKED_AT, len(pool)), replace=False)]
        sizes = np.array([furniture_size(category, index) for index in drawn])
        distance = shape_distance(sizes, wanted)
        nearest = np.argsort(distance, kind="stable")[:NEAREST]
        chosen = int(nearest[int(rng.integers(len(nearest)))])
        if distance[chosen] > np.log(MOST_STRETCH):
            chosen = int(nearest[0])
        mesh = scaled_to(furniture_mesh(category, drawn[chosen]), wanted)
        return FittedModel(mesh, f"parametric/{model_id(category, drawn[chosen])}")

    def credits(self, model_ids: Sequence[str]) -> tuple[str, ...]:
        """None: they are our own."""
        return ()
