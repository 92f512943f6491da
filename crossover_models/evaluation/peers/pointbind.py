"""PointBind (Guo et al., arXiv 2309.00615), small and ours: points bound to pictures alone, words come along.

That is how ImageBind binds its own modalities; the published training of the points uses words beside pictures.
"""

from __future__ import annotations

from pathlib import Path

from crossover_models.evaluation.peers.aligned_open import open_aligned
from crossover_models.evaluation.peers.alignment import Recipe
from crossover_models.evaluation.peers.objectwise import ObjectwiseMethod
from crossover_models.training.feature_set import FeatureSet

POINTBIND = Recipe(
    "pointbind",
    "PointBind (small, ours)",
    ("rgb",),
    "the published PointBind weights need crops and words through ImageBind-huge, which no profile here makes",
)


def open_pointbind(path: Path | None, features: FeatureSet, scenes: Path | None = None) -> ObjectwiseMethod:
    """A checkpoint of ``crossover train pointbind`` over the scans of a split.

    Raises:
        EncoderError: no checkpoint, one of another kind or of other front ends, or the published weights.
    """
    return open_aligned(POINTBIND, path, features)
