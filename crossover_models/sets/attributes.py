"""What can be said of a room with yes or no: which objects are there and how many, how large it is, what it is for.

Every modality predicts these of the *whole* room, so what it cannot see stays at the share of rooms that have it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.features import SceneFeatures

_COUNTS = (1, 2, 4)
_AREAS_M2 = (6, 9, 12, 16, 20, 26, 34, 45)
_LENGTHS_M = (3, 4, 5, 6, 7.5, 9, 12)
_WIDTHS_M = (2, 2.5, 3, 3.5, 4, 5, 6)
_OBJECTS = (5, 8, 12, 16, 24)
_RARE = 0.03
"""Share of rooms below which, or above whose complement, an attribute tells nothing that could be learned."""


@dataclass(frozen=True)
class Attributes:
    """Questions with the share of training rooms that answer yes.

    Attributes:
        keys: (A,) category, ``"area"``, ``"length"``, ``"width"``, ``"objects"`` or ``"type <room type>"``.
        thresholds: (A,) the answer is yes from this value on.
        rates: (A,) in (0, 1).
    """

    keys: tuple[str, ...]
    thresholds: tuple[float, ...]
    rates: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def answers(self, scan: SceneFeatures) -> NDArray[np.float32]:
        """(A,) 1, 0, or NaN where the scan does not say."""
        known = _measured(scan)
        out = np.full(len(self), np.nan, dtype=np.float32)
        for i, (key, threshold) in enumerate(zip(self.keys, self.thresholds, strict=True)):
            value = known.get(key, known["else"])
            if value is not None and not (key.startswith("type ") and not scan.category):
                out[i] = float(value >= threshold)
        if not len(scan.outline):
            out[[i for i, key in enumerate(self.keys) if key in ("area", "length", "width")]] = np.nan
        return out

    def to_json(self) -> str:
        """For a checkpoint's description."""
        rows = zip(self.keys, self.thresholds, self.rates, strict=True)
        return json.dumps([[key, threshold, round(rate, 5)] for key, threshold, rate in rows])

    @staticmethod
    def from_json(text: str) -> Attributes:
        """What :meth:`to_json` gave.

        Raises:
            ValueError: no such text.
        """
        try:
            rows = [(str(key), float(threshold), float(rate)) for key, threshold, rate in json.loads(text)]
        except (TypeError, ValueError) as error:
            raise ValueError(f"attributes: {error}") from None
        if not rows or not all(0.0 < rate < 1.0 for _, _, rate in rows):
            raise ValueError("attributes: none, or a rate outside (0, 1)")
        keys, thresholds, rates = zip(*rows, strict=True)
        return Attributes(keys, thresholds, rates)


def common_attributes(scans: Sequence[SceneFeatures], categories: Sequence[str]) -> Attributes:
    """Those questions that between 3 % and 97 % of the scans answer with yes."""
    types = sorted({f"type {scan.category}" for scan in scans if scan.category})
    asked = [(name, float(count)) for name in categories for count in _COUNTS] + [(name, 1.0) for name in types]
    sizes = (("area", _AREAS_M2), ("length", _LENGTHS_M), ("width", _WIDTHS_M), ("objects", _OBJECTS))
    asked += [(key, float(value)) for key, values in sizes for value in values]
    keys, thresholds = zip(*asked, strict=True)
    every = Attributes(keys, thresholds, (0.5,) * len(asked))
    table = np.stack([every.answers(scan) for scan in scans])
    known = np.isfinite(table)
    rates = np.where(known, table, 0.0).sum(axis=0) / np.maximum(1, known.sum(axis=0))
    kept = [i for i, rate in enumerate(rates) if _RARE <= rate <= 1.0 - _RARE]
    return Attributes(
        tuple(keys[i] for i in kept), tuple(thresholds[i] for i in kept), tuple(float(rates[i]) for i in kept)
    )


def _measured(scan: SceneFeatures) -> dict[str, float | None]:
    known: dict[str, float | None] = dict(Counter(scan.object_categories))
    known["objects"] = float(len(scan.object_categories))
    known["else"] = 0.0
    if scan.category:
        known[f"type {scan.category}"] = 1.0
    if len(scan.outline):
        known["area"], known["length"], known["width"] = outline_size(scan.outline.astype(np.float64))
    return known


def outline_size(outline: NDArray[np.float64]) -> tuple[float, float, float]:
    """Area (m2), and length and width (m) of the smallest rectangle around an outline (N, 2)."""
    import cv2

    x, y = outline[:, 0], outline[:, 1]
    area = 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))
    _, sides, _ = cv2.minAreaRect(outline.astype(np.float32))
    return area, float(max(sides)), float(min(sides))
