"""Stage 3: the scene fusion as teacher and the unified encoders of raw data (arXiv 2502.15011, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from crossover_models.encoders.front_ends import FeatureSizes
from crossover_models.encoders.heads import ProjectionHead
from crossover_models.encoders.network import UnifiedNetwork
from crossover_models.encoders.profile import REFERENCE, EncoderProfile
from crossover_models.reference.fusion import SceneFusion
from crossover_models.reference.instance import InstanceCrossOver
from crossover_models.reference.objects import FEATURE_DIMS, ObjectBatch
from crossover_models.sparse import SparseBackend

REFERENCE_SIZES = FeatureSizes(view=3072, plan=1536, text=768)
"""DINOv2 ViT-g/14: [CLS; mean of patches] of a view, CLS of a floor plan; BLIP's text vector."""


class SceneCrossOver(UnifiedNetwork):
    """The whole model. Stage 1 is frozen while stage 3 trains; 80.0 M parameters are trainable then.

    State names as in the official scene checkpoints: those of :class:`UnifiedNetwork`, and
    ``objectwise_modality_encoder``, ``fusion`` and ``objectwise_mlp_head``. ``sizes`` and ``widths`` are of the front
    ends' features, for scenes and for objects.
    """

    def __init__(
        self,
        profile: EncoderProfile = REFERENCE,
        layers: SparseBackend | None = None,
        *,
        legacy: bool = False,
        sizes: FeatureSizes = REFERENCE_SIZES,
        widths: Mapping[str, int] = FEATURE_DIMS,
    ) -> None:
        super().__init__(profile, sizes, layers)
        dim = profile.embedding_dim
        self.objectwise_modality_encoder = InstanceCrossOver(dim, legacy=legacy, widths=widths)
        self.fusion = SceneFusion(legacy=legacy)
        self.objectwise_mlp_head = ProjectionHead(dim, dim, dim)
        self.objectwise_modality_encoder.requires_grad_(False)

    def fused(self, batch: ObjectBatch) -> Tensor:
        """F_S (B, D) of scenes given by their objects."""
        out: Tensor = self.objectwise_mlp_head(self.fusion(self.objectwise_modality_encoder(batch), batch.present))
        return out
