"""The paper's instance methods: stage 0 (a head a modality) and stage 1 (objects aware of each other)."""

from __future__ import annotations

from pathlib import Path

import torch

from crossover_models.dataset.features import SceneFeatures
from crossover_models.encoders.errors import EncoderError
from crossover_models.evaluation.peers.aligned_file import check_widths
from crossover_models.evaluation.peers.objectwise import Embedded, ObjectwiseMethod, apart
from crossover_models.reference.scene import SceneCrossOver
from crossover_models.training.feature_set import FeatureSet
from crossover_models.training.object_batch import ObjectSource
from crossover_models.training.stages.checkpoint import open_stage

_NAMES = {"baseline": "instance baseline", "instance": "instance CrossOver"}


def open_baseline(path: Path | None, features: FeatureSet, scenes: Path | None = None) -> ObjectwiseMethod:
    """A checkpoint of ``crossover train baseline`` (or ``instance``) over the scans of a split.

    Raises:
        EncoderError: no checkpoint, a damaged one, one of a scene stage, or of other front ends.
    """
    if path is None:
        raise EncoderError("--method: kind baseline needs a checkpoint, as in NAME=baseline:FILE")
    model = open_stage(path)
    network = model.network
    if isinstance(network, SceneCrossOver):
        raise EncoderError(f"{path}: is of stage {model.kind}; kind baseline takes those of stages baseline, instance")
    source = ObjectSource(model.shapes)
    check_widths(path, model.widths, source.widths(features.scans[0]), features.scans[0])

    def objects(scan: SceneFeatures) -> dict[str, Embedded]:
        count = len(scan.object_ids)
        batch = source.batch([scan])
        with torch.inference_mode():
            found = network(batch)
        return {
            name: (vectors[0, :count].float().numpy(), batch.present[name][0, :count].numpy())
            for name, vectors in found.items()
        }

    return ObjectwiseMethod(_NAMES[model.kind], apart("P-R", "M-P", "M-R"), features.scans, objects)
