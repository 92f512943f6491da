"""Stages 0 and 1: one embedding for every object and modality (arXiv 2502.15011, section 3.1)."""

from __future__ import annotations

from torch import Tensor, nn

from crossover_models.encoders.heads import ProjectionHead
from crossover_models.reference.objects import FEATURE_DIMS, ObjectBatch, ObjectEncoder

EMBEDDING_DIM = 768


class InstanceBaseline(nn.Module):
    """Stage 0: one projection head a modality (2.81 M parameters). State: ``modality_projections.*``."""

    def __init__(self, dim: int = EMBEDDING_DIM) -> None:
        super().__init__()
        widths = {"point": 384, "cad": 384, "rgb": 1536, "referral": 768}
        self.modality_projections = nn.ModuleDict(
            {name: ProjectionHead(FEATURE_DIMS[name], hidden, dim) for name, hidden in widths.items()}
        )

    def forward(self, batch: ObjectBatch) -> dict[str, Tensor]:
        """Modality -> (B, O, D) unit vectors; rows of absent objects are zero."""
        return {
            name: self.modality_projections[name](features) * batch.present[name][..., None]
            for name, features in batch.features.items()
        }


class InstanceCrossOver(nn.Module):
    """Stage 1: points and CAD through spatial encoders, then a head a modality (19.62 M parameters).

    State: ``modality_encoders.{point,cad}.*`` and ``modality_projections.*``. ``legacy`` repeats the reference's
    distance normalization over padded slots, with which the official weights were trained.
    """

    def __init__(self, dim: int = EMBEDDING_DIM, *, legacy: bool = False) -> None:
        super().__init__()
        self.legacy = legacy
        self.modality_encoders = nn.ModuleDict(
            {"point": ObjectEncoder(attend=True), "cad": ObjectEncoder(attend=False)}
        )
        widths = {"point": 384, "cad": 384, "rgb": 768, "referral": 768}
        self.modality_projections = nn.ModuleDict(
            {name: ProjectionHead(FEATURE_DIMS[name], hidden, dim) for name, hidden in widths.items()}
        )

    def forward(self, batch: ObjectBatch) -> dict[str, Tensor]:
        """Modality -> (B, O, D) unit vectors; rows of absent objects are zero.

        Raises:
            ValueError: points or CAD without their locations.
        """
        out = {}
        for name, features in batch.features.items():
            mask, x = batch.present[name], features
            if name in self.modality_encoders:
                if name not in batch.locations:
                    raise ValueError(f"locations[{name}]: missing; the {name} encoder needs where the objects are")
                x = self.modality_encoders[name](features, batch.locations[name], mask, self.legacy)
            out[name] = self.modality_projections[name](x) * mask[..., None]
        return out
