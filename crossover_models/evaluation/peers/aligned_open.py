"""A trained alignment opened on the scans of a split."""

from __future__ import annotations

from pathlib import Path

from crossover_models.encoders.errors import EncoderError
from crossover_models.evaluation.peers.aligned_file import check_widths, fill_peer, read_peer
from crossover_models.evaluation.peers.alignment import AlignmentNetwork, Recipe, aligned_method
from crossover_models.evaluation.peers.objectwise import ObjectwiseMethod
from crossover_models.training.feature_set import FeatureSet
from crossover_models.training.object_batch import ObjectSource


def open_aligned(recipe: Recipe, path: Path | None, features: FeatureSet) -> ObjectwiseMethod:
    """The method of a checkpoint that ``crossover train`` wrote for a recipe.

    Raises:
        EncoderError: no checkpoint, one of another kind or of other front ends, or the published weights.
    """
    state, widths = read_peer(path, recipe.kind, recipe.official)
    assert path is not None
    try:
        network = AlignmentNetwork(widths)
    except KeyError as error:
        raise EncoderError(f"{path.with_suffix('.json')}: widths: lacks {error}") from None
    source = ObjectSource(fill_peer(path, state, network))
    check_widths(path, widths, source.widths(features.scans[0]), features.scans[0])
    return aligned_method(recipe, network, source, features.scans)
