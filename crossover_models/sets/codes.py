"""What a place is to the localizer: a global vector, the posterior of its attributes, its colors, its layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Codes:
    """Codes of B places in one modality.

    Attributes:
        vector: (B, D) unit norm.
        attributes: (B, A) logits.
        layout: (B, C, 32, 32) unit norm over everything, cells of 0.4 m, up to quarter turns; None where the modality
            has none (images, text).
        colors: (B, K) unit norm, zero where nothing had a color; None where the modality has none (CAD models, floor
            plans, text).
    """

    vector: Tensor
    attributes: Tensor
    layout: Tensor | None = None
    colors: Tensor | None = None

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Codes:
        """The same change made to each tensor that is there."""
        layout, colors = (None if part is None else change(part) for part in (self.layout, self.colors))
        return Codes(change(self.vector), change(self.attributes), layout, colors)

    @staticmethod
    def joined(parts: Sequence[Codes]) -> Codes:
        """All places of several codes of one modality, in order."""
        layouts = [part.layout for part in parts if part.layout is not None]
        colors = [part.colors for part in parts if part.colors is not None]
        return Codes(
            torch.cat([part.vector for part in parts]),
            torch.cat([part.attributes for part in parts]),
            torch.cat(layouts) if layouts else None,
            torch.cat(colors) if colors else None,
        )
