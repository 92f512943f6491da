"""Bootstrap intervals: runs are drawn anew with replacement, so that instants of one run never count as independent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

METHOD = "percentile bootstrap over runs, 95 %"
RESAMPLES = 1000

Run = TypeVar("Run")


def bootstrap(
    runs: Sequence[Run],
    figures: Callable[[Sequence[Run]], Mapping[str, float | None]],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> dict[str, tuple[float, float] | None]:
    """95 % interval (2.5th and 97.5th percentile, each one of the samples) of each figure (Efron 1979).

    An infinite figure (the time to a fix that never came) is a sample like any other, so that an end may be infinite.
    None where there are fewer than two runs, or where a figure does not exist (None) in over half of the samples;
    samples in which it does not exist are otherwise left out.
    """
    if len(runs) < 2:
        return dict.fromkeys(figures(runs))
    samples: dict[str, list[float]] = {}
    for drawn in rng.integers(len(runs), size=(resamples, len(runs))):
        for name, value in figures([runs[int(k)] for k in drawn]).items():
            values = samples.setdefault(name, [])
            if value is not None:
                values.append(float(value))
    out: dict[str, tuple[float, float] | None] = {}
    for name, values in samples.items():
        if 2 * len(values) < resamples:
            out[name] = None
            continue
        out[name] = (quantile(values, 0.025), quantile(values, 0.975))
    return out


def quantile(values: Sequence[float], q: float) -> float:
    """The ceil(q n)-th smallest value, the mean with its neighbor where q n is whole and q is a half.

    Never between a finite and an infinite value, where interpolation has no answer.
    """
    ordered = sorted(values)
    at = round(q * len(ordered), 9)
    k = max(math.ceil(at) - 1, 0)
    if q == 0.5 and at == int(at):
        return float((ordered[k] + ordered[k + 1]) / 2.0)
    return float(ordered[k])
