"""Late interaction: how well two sets of codes go together, beyond the dot product of their global vectors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LEAST_PROBABILITY = 0.01
"""Posteriors nearer to no or yes count as this near."""
REACH = 4
"""Cells of 0.4 m that layouts may be shifted."""


def attribute_scores(query: Tensor, gallery: Tensor, rates: Tensor) -> Tensor:
    """Log-likelihood ratios (Q, G, A): both see the same room, against two rooms drawn at random.

    Each attribute is a coin of known rate r seen through two noisy views with posteriors p and q:
    ``log(p q / r + (1 - p) (1 - q) / (1 - r))``. Where one of them knows nothing (p = r) it is zero.

    Args:
        query: (Q, A) logits.
        gallery: (G, A) logits.
        rates: (A,) shares of rooms.
    """
    p, q = (torch.sigmoid(x).clamp(LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY) for x in (query, gallery))
    yes = p[:, None, :] * (q / rates)[None, :, :]
    no = (1.0 - p)[:, None, :] * ((1.0 - q) / (1.0 - rates))[None, :, :]
    return torch.log(yes + no)


def layout_scores(query: Tensor, gallery: Tensor, reach: int) -> Tensor:
    """Largest correlation (Q, G) of layouts over the four quarter turns and shifts up to ``reach`` cells.

    Args:
        query: (Q, C, H, W).
        gallery: (G, C, H, W).
        reach: in cells of the layouts.
    """
    number, _, height, width = gallery.shape
    flat = query.flatten(1)
    best: Tensor | None = None
    for turn in range(4):
        turned = torch.rot90(gallery, turn, dims=(2, 3))
        padded = functional.pad(turned, (reach, reach, reach, reach))
        for dy in range(2 * reach + 1):
            for dx in range(2 * reach + 1):
                moved = padded[:, :, dy : dy + height, dx : dx + width].reshape(number, -1)
                score = flat @ moved.T
                best = score if best is None else torch.maximum(best, score)
    assert best is not None
    return best
