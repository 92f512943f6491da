"""Evidence that is repeated and not new: what is seen from one spot, or of one room, counts once and is only refined.

Looks at a place err together: the same furniture that the map does not hold, the same half of a room in view. Summed
like independent ones they decide between twins by chance. Here their mean counts, and shrunk towards nothing by some
imagined looks that tell nothing, so that a single look is not yet the whole of what the place can say.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass
class _Entry:
    total: float = 0.0
    looks: int = 0
    counted: float = 0.0


class RepeatedEvidence:
    """Means of what was told of each hypothesis, by key; rows are hypotheses, in the order of the belief.

    Args:
        shrinkage: imagined looks without information.
    """

    def __init__(self, shrinkage: float) -> None:
        self.shrinkage = shrinkage
        self._rows: list[dict[Hashable, _Entry]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def clear(self) -> None:
        """Begin anew, with as many rows: what was counted stays counted in the belief, what comes now is new."""
        self._rows = [{} for _ in self._rows]

    def resize(self, rows: int) -> None:
        """Add rows that nothing was told of, or drop the last ones."""
        self._rows = self._rows[:rows] + [{} for _ in range(rows - len(self._rows))]

    def extend(self, other: RepeatedEvidence) -> None:
        """Add another's rows."""
        self._rows += other._rows

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows in this order."""
        self._rows = [self._rows[k] for k in rows]

    def tell(self, keys: Sequence[Hashable], values: Array, deadband: float = 0.0) -> Array:
        """Take in one look and return by how much (H,) the log-likelihoods change, in nats.

        Args:
            keys: of what each hypothesis says was looked at, or from where.
            values: (H,) log-likelihood of the look under each, against a common reference.
            deadband: nats of the mean that are no evidence.
        """
        change = np.zeros(len(self._rows))
        for k, (row, key, value) in enumerate(zip(self._rows, keys, values.tolist(), strict=True)):
            entry = row.setdefault(key, _Entry())
            entry.total, entry.looks = entry.total + value, entry.looks + 1
            mean = entry.total / entry.looks
            beyond = np.sign(mean) * max(abs(mean) - deadband, 0.0)
            counts = float(beyond) * entry.looks / (entry.looks + self.shrinkage)
            change[k], entry.counted = counts - entry.counted, counts
        return change
