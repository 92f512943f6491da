"""A trained network with explicit sets as the evaluation sees it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crossover_models.dataset.features import SceneFeatures
from crossover_models.encoders.shapes import ShapeEncoder
from crossover_models.evaluation.tasks.instances import SceneObjects
from crossover_models.evaluation.tasks.method import MAP_ITEMS, PAIRS, ROBOT_ITEMS
from crossover_models.evaluation.tasks.ranking import Array, Mask, first_ranks
from crossover_models.sets.batches import Sources
from crossover_models.sets.checkpoint import SetsModel, load_model
from crossover_models.sets.scoring import REACH
from crossover_models.sets.stage import SetsModule, all_codes, kind_of
from crossover_models.training.feature_set import FeatureSet

_CAD_STRIDE = 2
"""Every second cached point of a CAD model is looked at."""


def cad_shapes(scans: Sequence[SceneFeatures], encoder: ShapeEncoder) -> dict[str, NDArray[np.float32]]:
    """Scan id -> (C, F) frozen features of its CAD models."""
    out = {}
    with torch.inference_mode():
        for scan in scans:
            points = torch.from_numpy(scan.cad_points[:, ::_CAD_STRIDE])
            out[scan.scan_id] = encoder(points).numpy() if len(points) else np.zeros((0, encoder.dim), np.float32)
    return out


class SetsMethod:
    """Codes of every scan and item, scored by late interaction."""

    emergent: frozenset[tuple[str, str]]

    def __init__(self, model: SetsModel, features: FeatureSet, withheld: Sequence[Sequence[str]] = ()) -> None:
        self.name = "ours"
        apart = {frozenset(pair) for pair in withheld}
        self.emergent = frozenset((a, b) for pair in apart for a in pair for b in pair if a != b)
        sources = Sources(model.settings, model.categories, cad_shapes(features.scans, model.shapes))
        self._module = SetsModule(model.network, model.scores).eval()
        self._codes, self._present = all_codes(self._module, features.scans, sources)

    def present(self, item: str) -> Mask | None:
        """(N,) which scans have the item."""
        return self._present.get(item)

    def similarity(self, query: str, gallery: str) -> Array | None:
        """(N, N) in nats, see :class:`ScoreNetwork`."""
        if query not in self._codes or gallery not in self._codes:
            return None
        with torch.inference_mode():
            return np.asarray(
                self._module.scores(
                    self._codes[query], kind_of(query), self._codes[gallery], kind_of(gallery), REACH
                ).numpy(),
                dtype=np.float32,
            )

    def vectors(self, item: str) -> Array | None:
        """(N, D) global vectors."""
        return self._codes[item].vector.numpy() if item in self._codes else None

    def objects(self, item: str) -> tuple[SceneObjects, ...] | None:
        """None: objects are compared as sets, not one by one."""
        return None


def open_sets(path: Path | None, features: FeatureSet, scenes: Path | None = None) -> SetsMethod:
    """The method of a checkpoint over the scans of a split.

    Raises:
        ValueError: no checkpoint is named.
        EncoderError: it is unreadable or does not fit.
    """
    if path is None:
        raise ValueError("--method sets: needs a checkpoint")
    model, about = load_model(path)
    return SetsMethod(model, features, about.get("withheld", ()))


def test_figures(model: SetsModel, features: FeatureSet) -> dict[str, Any]:
    """Recall at 1, 5 and 10 of whole-gallery search among the scans of a split, as a checkpoint's description has it.

    Returns:
        ``scans``; ``pairs``, "query-gallery" of the published pairs and of what a robot sees against the map, each with
        ``r1``, ``r5``, ``r10`` and the number of queries ``n``.
    """
    method = SetsMethod(model, features)
    pairs: dict[str, dict[str, float]] = {}
    for query, gallery in [*PAIRS, *((q, g) for q in ROBOT_ITEMS for g in MAP_ITEMS)]:
        both = method._present[query] & method._present[gallery]
        similarity = method.similarity(query, gallery)
        assert similarity is not None
        ranks = first_ranks(similarity[np.ix_(both, both)], np.eye(int(both.sum()), dtype=np.bool_))
        found = {f"r{k}": round(float((ranks < k).mean()), 4) for k in (1, 5, 10)} if len(ranks) else {}
        pairs[f"{query}-{gallery}"] = {**found, "n": len(ranks)}
    return {"scans": len(features), "pairs": pairs}
