"""Models of a library in the place of parametric ones, the same for the same piece within a room."""

from __future__ import annotations

import numpy as np

from crossover_models.simulation.cad.library import FittedModel, FurnitureLibrary
from crossover_models.simulation.furniture import furniture_mesh


class Dresser:
    """Chooses a library's model for each parametric one of a room, so that four equal chairs stay four equal chairs."""

    def __init__(self, library: FurnitureLibrary, split: str, rng: np.random.Generator) -> None:
        self._library, self._split, self._rng = library, split, rng
        self._chosen: dict[tuple[str, int], FittedModel | None] = {}

    def dressed(self, category: str, model_index: int) -> FittedModel | None:
        """A model that fills the box of a parametric one; None where the library has none that fits."""
        key = (category, model_index)
        if key not in self._chosen:
            size = np.ptp(furniture_mesh(category, model_index).vertices, axis=0)
            self._chosen[key] = self._library.fitted(category, size, self._split, self._rng)
        return self._chosen[key]
