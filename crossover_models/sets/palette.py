"""How a place looks: shares of colors, which pooled features of a classifier no longer tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 4
COLORS = BINS**3


def palette(colors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colors (..., 3) uint8 RGB -> (64,) square roots of their shares; zero without any."""
    cells = colors.reshape(-1, 3).astype(np.int64) * BINS // 256
    counts = np.bincount((cells[:, 0] * BINS + cells[:, 1]) * BINS + cells[:, 2], minlength=COLORS)
    return np.sqrt(counts / max(1, len(cells))).astype(np.float32)
