"""A method whose answers are made up: noisy copies of each room's latent vector, in every modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crossover_models.evaluation.suite.scans import evaluated_scans
from crossover_models.evaluation.tasks.instances import SceneObjects
from crossover_models.evaluation.tasks.ranking import Array, Mask
from crossover_models.training.feature_set import FeatureSet

DIM = 16


class PlantedMethod:
    """``noise`` by item; items without one are not embedded. ``blind``: rows of scans that it lacks, of any item."""

    def __init__(
        self,
        features: FeatureSet,
        noise: dict[str, float],
        seed: int = 0,
        emergent: frozenset[tuple[str, str]] = frozenset(),
        blind: tuple[int, ...] = (),
        objects: bool = True,
    ) -> None:
        self.name, self.emergent = "planted", emergent
        data = evaluated_scans(features)
        self._ids = data.object_ids
        rng, truth = np.random.default_rng(seed), np.random.default_rng(99)
        rooms = {room: truth.normal(size=DIM) for room in dict.fromkeys(data.rooms)}
        latents = np.stack([rooms[room] for room in data.rooms])
        things = [
            np.stack([np.random.default_rng([5, *f"{r}{o}".encode()]).normal(size=DIM) for o in ids])
            for r, ids in zip(data.rooms, data.object_ids, strict=True)
        ]
        self._vectors, self._present, self._objects = {}, {}, {}
        for item, size in noise.items():
            noisy = latents + size * rng.normal(size=latents.shape)
            self._vectors[item] = (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)
            self._present[item] = data.has[item].copy()
            self._present[item][list(blind)] = False
            if objects and item in data.objects:
                self._objects[item] = tuple(
                    SceneObjects(ids, (t + size * rng.normal(size=t.shape)).astype(np.float32), shown)
                    for ids, t, shown in zip(data.object_ids, things, data.objects[item], strict=True)
                )

    def present(self, item: str) -> Mask | None:
        return self._present.get(item)

    def similarity(self, query: str, gallery: str) -> Array | None:
        if query not in self._vectors or gallery not in self._vectors:
            return None
        out = self._vectors[query] @ self._vectors[gallery].T
        out[~self._present[query]] = np.nan
        out[:, ~self._present[gallery]] = np.inf
        return out

    def vectors(self, item: str) -> Array | None:
        return self._vectors.get(item)

    def objects(self, item: str) -> tuple[SceneObjects, ...] | None:
        return self._objects.get(item)


EVERYTHING = dict.fromkeys(("I", "P", "M", "F", "R", "I1", "I10", "Pd"), 1.0)


def open_planted(checkpoint: Path | None, features: FeatureSet, scenes: Path | None) -> PlantedMethod:
    """The checkpoint's name is ``NOISE-SEED``."""
    noise, seed = ("1.0", "0") if checkpoint is None else checkpoint.name.split("-")
    return PlantedMethod(features, dict.fromkeys(EVERYTHING, float(noise)), int(seed), frozenset({("P", "R")}))
