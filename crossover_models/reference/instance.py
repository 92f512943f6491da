"""Stages 0 and 1: one embedding for every object and modality (arXiv 2502.15011, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from crossover_models.encoders.heads import ProjectionHead
from crossover_models.reference.objects import FEATURE_DIMS, ObjectBatch, ObjectEncoder

EMBEDDING_DIM = 768
_MOST_HIDDEN = 768
"""Twice the hidden width of a head at most."""
_ORDER = ("point", "cad", "rgb", "referral")


class InstanceBaseline(nn.Module):
    """Stage 0: one projection head a modality (2.81 M parameters). State: ``modality_projections.*``.

    Args:
        dim: D.
        widths: of the front ends' features by modality; those of the paper unless given.
    """

    def __init__(self, dim: int = EMBEDDING_DIM, widths: Mapping[str, int] = FEATURE_DIMS) -> None:
        super().__init__()
        self.modality_projections = nn.ModuleDict(
            {name: ProjectionHead(widths[name], widths[name], dim) for name in _ORDER}
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
    distance normalization over padded slots, with which the official weights were trained; ``widths`` are of the front
    ends' features.
    """

    def __init__(
        self, dim: int = EMBEDDING_DIM, *, legacy: bool = False, widths: Mapping[str, int] = FEATURE_DIMS
    ) -> None:
        super().__init__()
        self.legacy = legacy
        self.modality_encoders = nn.ModuleDict(
            {name: ObjectEncoder(widths[name], attend=name == "point") for name in ("point", "cad")}
        )
        self.modality_projections = nn.ModuleDict(
            {name: ProjectionHead(widths[name], min(_MOST_HIDDEN, widths[name]), dim) for name in _ORDER}
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
