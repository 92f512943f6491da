"""What a place is to the localizer: a global vector, the posterior of its attributes, its layout from above."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Codes:
    """Codes of B places in one modality.

    Attributes:
        vector: (B, D) unit norm.
        attributes: (B, A) logits.
        layout: (B, C, 32, 32) unit norm over everything, cells of 0.4 m, up to quarter turns; None where the modality
            has none (images, text).
    """

    vector: Tensor
    attributes: Tensor
    layout: Tensor | None = None
