"""Objects of a scene as stage 1 sees them, and its encoders of points and CAD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossover_models.encoders.heads import ProjectionHead
from crossover_models.reference.spatial_attention import SpatialLayer, pair_geometry

OBJECT_MODALITIES = ("rgb", "point", "cad", "referral")
"""In the order of the reference's fusion weights."""
FEATURE_DIMS: Mapping[str, int] = {"rgb": 1536, "point": 384, "cad": 384, "referral": 768}
LOCATION_DIM = 6
_HEAD_DIM = 32
"""Width of an attention head; the published 384 have 12 of them."""


@dataclass(frozen=True)
class ObjectBatch:
    """Frozen features of the objects of B scenes, padded to O slots.

    Attributes:
        features: modality -> (B, O, dim of the modality).
        present: modality -> (B, O) bool; an object may lack any modality.
        locations: modality ("point", "cad") -> (B, O, 6) [mean xyz, extents], metres.
    """

    features: dict[str, Tensor]
    present: dict[str, Tensor]
    locations: dict[str, Tensor]

    def __post_init__(self) -> None:
        for modality, values in self.features.items():
            if modality not in FEATURE_DIMS:
                raise ValueError(f"features: unknown modality {modality!r}; known: {', '.join(OBJECT_MODALITIES)}")
            mask = self.present.get(modality)
            if mask is None or mask.shape != values.shape[:2] or mask.dtype != torch.bool:
                shape = None if mask is None else tuple(mask.shape)
                raise ValueError(f"present[{modality}]: expected {tuple(values.shape[:2])} bool, got {shape}")


class ObjectEncoder(nn.Module):
    """Features of a scene's objects made aware of each other: four spatial layers, the location added before each.

    For CAD the reference builds the layers and does not run them (``attend=False``): there the location embedding is
    added four times. ``point_mlp`` is in the checkpoints and never used; it is kept so that they load strictly.
    """

    def __init__(self, width: int = 384, hidden: int = 2048, layers: int = 4, *, attend: bool) -> None:
        super().__init__()
        heads = max(1, width // _HEAD_DIM)
        self.attend = attend
        self.point_mlp = ProjectionHead(width // 2, width // 2, width)
        self.loc_layers = nn.ModuleList([nn.Sequential(nn.Linear(LOCATION_DIM, width), nn.LayerNorm(width))])
        self.spatial_encoder = nn.ModuleList([SpatialLayer(width, heads, hidden) for _ in range(layers)])
        self.dropout = nn.Dropout(0.1)

    def forward(self, features: Tensor, locations: Tensor, mask: Tensor, legacy: bool = False) -> Tensor:
        """(B, O, W) features, (B, O, 6) locations, (B, O) mask -> (B, O, W)."""
        x: Tensor = self.dropout(features)
        where: Tensor = self.loc_layers[0](locations)
        if not self.attend:
            return x + len(self.spatial_encoder) * where
        geometry = pair_geometry(locations[..., :3], mask, legacy)
        for layer in self.spatial_encoder:
            x = layer(x + where, geometry, mask)
        return x
