"""The trainable part of the unified encoders: CrossOver's stage 3 (arXiv 2502.15011, section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from crossover_models.encoders.front_ends import FeatureSizes
from crossover_models.encoders.heads import FrameNetwork, ProjectionHead
from crossover_models.encoders.profile import EncoderProfile
from crossover_models.encoders.resnet import SparseResNet
from crossover_models.sparse import SparseBackend


class UnifiedNetwork(nn.Module):
    """One encoder a dimensionality: text (1D), images and floor plans with one shared head (2D), points (3D).

    State names as in the reference's scene checkpoint: ``encoder1D_mlp_head``, ``frame_mlp``, ``encoder2D_mlp_head``,
    ``encoder3D``, ``encoder3D_mlp_head``.
    """

    def __init__(self, profile: EncoderProfile, sizes: FeatureSizes, layers: SparseBackend | None = None) -> None:
        super().__init__()
        dim = profile.embedding_dim
        self.encoder1D_mlp_head = ProjectionHead(sizes.text, profile.text_hidden, dim)
        self.frame_mlp = FrameNetwork(sizes.view, profile.frame_hidden, sizes.plan)
        self.encoder2D_mlp_head = ProjectionHead(sizes.plan, profile.image_hidden, dim)
        self.encoder3D = SparseResNet(profile.backbone, layers)
        self.encoder3D_mlp_head = ProjectionHead(profile.backbone.last_channels, profile.cloud_hidden, dim)

    def text(self, features: Tensor) -> Tensor:
        """Text vectors (B, text) -> (B, D)."""
        out: Tensor = self.encoder1D_mlp_head(features)
        return out

    def images(self, views: Tensor, mask: Tensor) -> Tensor:
        """View vectors (B, V, view) and which exist (B, V) -> (B, D)."""
        out: Tensor = self.encoder2D_mlp_head(self.frame_mlp(views, mask))
        return out

    def floor_plan(self, features: Tensor) -> Tensor:
        """Plan vectors (B, plan) -> (B, D), through the head that images use."""
        out: Tensor = self.encoder2D_mlp_head(features)
        return out

    def points(self, coordinates: Tensor, features: Tensor, batch_size: int) -> Tensor:
        """Voxels (N, 4) [batch, x, y, z] and features (N, C) -> (batch_size, D)."""
        out: Tensor = self.encoder3D_mlp_head(self.encoder3D(coordinates, features, batch_size))
        return out
