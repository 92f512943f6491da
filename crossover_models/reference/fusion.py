"""Stage 2: the objects of a scene fused into one multi-modal scene vector F_S (arXiv 2502.15011, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossover_models.reference.objects import OBJECT_MODALITIES


class SceneFusion(nn.Module):
    """Mean over a scene's objects in each modality, then a weighted sum by the softmax of four learned scalars.

    State: ``weight`` (4, 1) in the order rgb, point, cad, referral.
    """

    def __init__(self, *, legacy: bool = False) -> None:
        super().__init__()
        self.legacy = legacy
        self.weight = nn.Parameter(torch.ones(len(OBJECT_MODALITIES), 1))

    def forward(self, embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Modality -> (B, O, D) embeddings and (B, O) masks -> (B, D).

        Weights are renormalized over the modalities that a scene has; with ``legacy`` they are not, as in the
        reference. A scene that has none is the zero vector.
        """
        first = next(iter(embeddings.values()))
        total, share = first.new_zeros(first.shape[0], first.shape[2]), first.new_zeros(first.shape[0], 1)
        weights = torch.softmax(self.weight[:, 0], dim=0)
        for weight, name in zip(weights, OBJECT_MODALITIES, strict=True):
            if name not in embeddings:
                continue
            mask = present[name].to(first.dtype)[..., None]
            mean = (embeddings[name] * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
            total = total + weight * functional.normalize(mean, dim=-1)
            share = share + weight * mask.amax(dim=1)
        return total if self.legacy else total / torch.where(share > 0, share, torch.ones_like(share))
