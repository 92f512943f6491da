"""Stage 3: the scene fusion as teacher and the unified encoders of raw data (arXiv 2502.15011, section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from crossover_models.encoders.heads import FrameNetwork, ProjectionHead
from crossover_models.encoders.profile import REFERENCE_3D, SparseResNetSettings
from crossover_models.encoders.resnet import SparseResNet
from crossover_models.reference.fusion import SceneFusion
from crossover_models.reference.instance import EMBEDDING_DIM, InstanceCrossOver
from crossover_models.reference.objects import ObjectBatch
from crossover_models.sparse import SparseBackend

VIEW_DIM, PLAN_DIM, TEXT_DIM = 3072, 1536, 768
"""DINOv2 ViT-g/14: [CLS; mean of patches] of a view, CLS of a floor plan; BLIP's text vector."""


class SceneCrossOver(nn.Module):
    """The whole model. Stage 1 is frozen while stage 3 trains; 80.0 M parameters are trainable then.

    State names as in the official scene checkpoints.
    """

    def __init__(
        self,
        dim: int = EMBEDDING_DIM,
        backbone: SparseResNetSettings = REFERENCE_3D,
        layers: SparseBackend | None = None,
        *,
        legacy: bool = False,
    ) -> None:
        super().__init__()
        self.objectwise_modality_encoder = InstanceCrossOver(dim, legacy=legacy)
        self.fusion = SceneFusion(legacy=legacy)
        self.objectwise_mlp_head = ProjectionHead(dim, 768, dim)
        self.encoder1D_mlp_head = ProjectionHead(TEXT_DIM, 768, dim)
        self.frame_mlp = FrameNetwork(VIEW_DIM, PLAN_DIM, PLAN_DIM)
        self.encoder2D_mlp_head = ProjectionHead(PLAN_DIM, 768, dim)
        self.encoder3D = SparseResNet(backbone, layers)
        self.encoder3D_mlp_head = ProjectionHead(backbone.last_channels, 512, dim)
        self.objectwise_modality_encoder.requires_grad_(False)

    def fused(self, batch: ObjectBatch) -> Tensor:
        """F_S (B, D) of scenes given by their objects."""
        out: Tensor = self.objectwise_mlp_head(self.fusion(self.objectwise_modality_encoder(batch), batch.present))
        return out

    def text(self, features: Tensor) -> Tensor:
        """Text vectors (B, 768) -> (B, D)."""
        out: Tensor = self.encoder1D_mlp_head(features)
        return out

    def images(self, views: Tensor, mask: Tensor) -> Tensor:
        """View vectors (B, V, 3072) and which exist (B, V) -> (B, D)."""
        out: Tensor = self.encoder2D_mlp_head(self.frame_mlp(views, mask))
        return out

    def floor_plan(self, features: Tensor) -> Tensor:
        """Plan vectors (B, 1536) -> (B, D)."""
        out: Tensor = self.encoder2D_mlp_head(features)
        return out

    def points(self, coordinates: Tensor, features: Tensor, batch_size: int) -> Tensor:
        """Voxels (N, 4) [batch, x, y, z] and RGB (N, 3) -> (batch_size, D)."""
        out: Tensor = self.encoder3D_mlp_head(self.encoder3D(coordinates, features, batch_size))
        return out
