"""Bootstrap over rooms: the same rooms are drawn for every method and pair, so that differences have intervals too."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossover_models.evaluation.buildings.intervals import RESAMPLES, quantile

METHOD = "percentile bootstrap over rooms, 95 %; galleries stay whole"
Values = NDArray[np.float64]


class Resamples:
    """How often each scan counts: row 0 once each, the others as its room was drawn with replacement (Efron 1979).

    A room's rescans are drawn with it. Only questions are drawn anew: the gallery they are asked of stays whole, for
    a place that is twice in a gallery would be its own wrong answer.
    """

    def __init__(self, rooms: Sequence[str], seed: int, resamples: int = RESAMPLES) -> None:
        names, room = np.unique(np.array(rooms, dtype=np.str_), return_inverse=True)
        drawn = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
        counts = np.stack([np.bincount(row, minlength=len(names)) for row in drawn])
        self.rooms = len(names)
        self.weights: Values = np.concatenate([np.ones((1, len(names))), counts])[:, room].astype(np.float64)


def value(samples: Values) -> float | None:
    """The figure itself, of samples (1 + B,) as :class:`Resamples` orders them; None where it does not exist."""
    return float(samples[0]) if math.isfinite(samples[0]) else None


def interval(samples: Values, rooms: int) -> tuple[float, float] | None:
    """95 % interval of the figure: 2.5th and 97.5th percentile, each one of the samples.

    None of fewer than two rooms, and where the figure does not exist in over half of the samples.
    """
    drawn = samples[1:][np.isfinite(samples[1:])]
    if rooms < 2 or 2 * len(drawn) < len(samples) - 1 or value(samples) is None:
        return None
    values = drawn.tolist()
    return quantile(values, 0.025), quantile(values, 0.975)


def described(name: str, samples: Values, rooms: int) -> dict[str, float | list[float] | None]:
    """``name`` and ``name_interval`` for JSON."""
    ends = interval(samples, rooms)
    return {
        name: rounded(value(samples)),
        f"{name}_interval": None if ends is None else [rounded(e) or 0.0 for e in ends],
    }


def rounded(number: float | None) -> float | None:
    """To a hundredth of a per cent of a per cent: what a JSON file is read for."""
    return None if number is None else round(number, 6)
