"""The published design as the evaluation sees it: unit vectors of raw data, and of objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crossover_models.encoders.errors import EncoderError
from crossover_models.evaluation.peers.aligned_file import check_widths
from crossover_models.evaluation.tasks.instances import SceneObjects
from crossover_models.evaluation.tasks.method import MAP_ITEMS, ROBOT_ITEMS
from crossover_models.evaluation.tasks.ranking import Array, Mask
from crossover_models.reference.instance import InstanceCrossOver
from crossover_models.reference.objects import ObjectBatch
from crossover_models.reference.scene import SceneCrossOver
from crossover_models.training.feature_set import FeatureSet
from crossover_models.training.object_batch import ObjectSource
from crossover_models.training.stages.checkpoint import StageModel, open_stage
from crossover_models.training.stages.inputs import unified_batch
from crossover_models.training.stages.scene import FUSED, unified_embeddings

NAMES = {"I": "rgb", "P": "point", "F": "floor_plan", "R": "referral", "M": "cad"}
_KINDS = {"I1": "I", "I10": "I", "Pd": "P"}
_CHUNK = 32


class ReferenceMethod:
    """Vectors of every scan and item, compared by dot product.

    CAD models have no unified encoder in the paper: their vector is that of the fused scene with nothing but CAD.
    """

    def __init__(self, model: StageModel, features: FeatureSet) -> None:
        if not isinstance(model.network, SceneCrossOver):
            raise EncoderError(f"stage {model.kind}: embeds no raw data; evaluate the one of stage unified")
        self.name = "reference"
        self._network, self._model = model.network, model
        self._source = ObjectSource(model.shapes)
        contrasted = {frozenset(pair) for pair in model.pairs}
        # Every raw modality meets the fused scene, whose own anchor is the image; so what meets an image is trained.
        contrasted |= {frozenset(("rgb", name)) for pair in model.pairs if FUSED in pair for name in NAMES.values()}
        pairs = [(a, b) for a in MAP_ITEMS for b in MAP_ITEMS if a != b]
        self.emergent = frozenset((a, b) for a, b in pairs if frozenset((NAMES[a], NAMES[b])) not in contrasted)
        self._vectors: dict[str, Array] = {}
        self._present: dict[str, Mask] = {}
        self._features = features
        self._encode(features)

    def _encode(self, features: FeatureSet) -> None:
        parts: dict[str, list[Tensor]] = {}
        masks: dict[str, list[Tensor]] = {}

        def put(item: str, values: Tensor, present: Tensor) -> None:
            parts.setdefault(item, []).append(values)
            masks.setdefault(item, []).append(present)

        with torch.inference_mode():
            for start in range(0, len(features), _CHUNK):
                scans = features.scans[start : start + _CHUNK]
                for item in ("", *ROBOT_ITEMS):
                    batch = unified_batch(scans, self._model.profile, None, item)
                    out = unified_embeddings(self._network, batch)
                    for kind in ("I", "P", "F", "R") if not item else (_KINDS[item],):
                        put(item or kind, out[NAMES[kind]], batch.present[NAMES[kind]])
                put("M", *self._cad(self._source.batch(scans)))
        self._vectors = {item: torch.cat(rows).numpy() for item, rows in parts.items()}
        self._present = {item: torch.cat(rows).numpy() for item, rows in masks.items()}

    def _cad(self, objects: ObjectBatch) -> tuple[Tensor, Tensor]:
        encoder: InstanceCrossOver = self._network.objectwise_modality_encoder
        embedded = {"cad": encoder(objects)["cad"]}
        out = self._network.objectwise_mlp_head(self._network.fusion(embedded, objects.present))
        return out, objects.present["cad"].any(dim=1)

    def present(self, item: str) -> Mask | None:
        """(N,) which scans have the item."""
        return self._present.get(item)

    def similarity(self, query: str, gallery: str) -> Array | None:
        """(N, N) dot products."""
        if query not in self._vectors or gallery not in self._vectors:
            return None
        return np.asarray(self._vectors[query] @ self._vectors[gallery].T, dtype=np.float32)

    def vectors(self, item: str) -> Array | None:
        """(N, D)."""
        return self._vectors.get(item)

    def objects(self, item: str) -> tuple[SceneObjects, ...] | None:
        """Embeddings of stage 1 for I, P, M and R."""
        if item not in NAMES or item == "F":
            return None
        encoder = self._network.objectwise_modality_encoder
        return embedded_objects(encoder, self._source, self._features, NAMES[item])


def embedded_objects(
    encoder: torch.nn.Module, source: ObjectSource, features: FeatureSet, modality: str
) -> tuple[SceneObjects, ...]:
    """Objects of every scan in one of rgb, point, cad and referral, by a network of stage 0 or 1."""
    out = []
    with torch.inference_mode():
        for scan in features:
            batch = source.batch([scan])
            count = len(scan.object_ids)
            vectors = encoder(batch)[modality][0, :count].numpy()
            out.append(SceneObjects(scan.object_ids, vectors, batch.present[modality][0, :count].numpy()))
    return tuple(out)


def open_reference(path: Path | None, features: FeatureSet, scenes: Path | None = None) -> ReferenceMethod:
    """The method of a checkpoint of stage 3 over the scans of a split.

    Raises:
        ValueError: no checkpoint is named.
        EncoderError: it is unreadable, of another stage, or of other front ends than the features.
    """
    if path is None:
        raise ValueError("--method reference: needs a checkpoint of `crossover train unified`")
    model, first = open_stage(path), features.scans[0]
    sizes = {"view": model.sizes.view, "plan": model.sizes.plan, "text": model.sizes.text}
    found = {"view": first.views.shape[1], "plan": first.plans.shape[1], "text": first.texts.shape[1]}
    widths = {**model.widths, **sizes}
    check_widths(path, widths, {**ObjectSource(model.shapes).widths(first), **found}, first)
    return ReferenceMethod(model, features)
