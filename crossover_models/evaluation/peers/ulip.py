"""ULIP-2 (Xue et al., arXiv 2305.08275), small and ours: points aligned with pictures and words of the same object."""

from __future__ import annotations

from pathlib import Path

from crossover_models.evaluation.peers.aligned_open import open_aligned
from crossover_models.evaluation.peers.alignment import Recipe
from crossover_models.evaluation.peers.objectwise import ObjectwiseMethod
from crossover_models.training.feature_set import FeatureSet

ULIP2 = Recipe(
    "ulip2",
    "ULIP-2 (small, ours)",
    ("rgb", "referral"),
    "the published ULIP-2 weights need Point-BERT on 10,000 colored points and crops and words through OpenCLIP "
    "ViT-bigG-14, which no profile here makes",
)


def open_ulip(path: Path | None, features: FeatureSet, scenes: Path | None = None) -> ObjectwiseMethod:
    """A checkpoint of ``crossover train ulip`` over the scans of a split.

    Raises:
        EncoderError: no checkpoint, one of another kind or of other front ends, or the published weights.
    """
    return open_aligned(ULIP2, path, features)
