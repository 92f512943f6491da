"""Methods that embed objects one by one: a scene is the mean of its objects, and nothing of how they stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from crossover_models.dataset.features import SceneFeatures
from crossover_models.evaluation.tasks.instances import SceneObjects
from crossover_models.evaluation.tasks.ranking import Array, Mask

MODALITIES: Mapping[str, str] = {"I": "rgb", "P": "point", "M": "cad", "R": "referral"}
"""Items whose objects are embedded, and the modality of these."""
Embedded = tuple[Array, Mask]
"""Unit vectors (K, D) of a scan's K objects, and which exist (K,)."""
Objects = Callable[[SceneFeatures], Mapping[str, Embedded]]
"""Modality -> its objects of one scan."""
Whole = Callable[[SceneFeatures], Mapping[str, Array]]
"""Item -> (D,) of what is embedded without objects (floor plan, frames); an absent item has no key."""


class ObjectwiseMethod:
    """Embeddings of objects, averaged for scenes (arXiv 2502.15011, section 4.2).

    Args:
        name: in tables and JSON.
        emergent: pairs that its training never contrasted.
        scans: of a split.
        objects: embeds the objects of a scan.
        whole: embeds what has no objects.
    """

    def __init__(
        self,
        name: str,
        emergent: frozenset[tuple[str, str]],
        scans: Sequence[SceneFeatures],
        objects: Objects,
        whole: Whole | None = None,
    ) -> None:
        self.name, self.emergent = name, emergent
        embedded = [objects(scan) for scan in scans]
        self._objects: dict[str, tuple[SceneObjects, ...]] = {}
        rows: dict[str, list[Array | None]] = {}
        for item, modality in MODALITIES.items():
            if modality not in embedded[0]:
                continue
            found = [of_scan[modality] for of_scan in embedded]
            self._objects[item] = tuple(
                SceneObjects(scan.object_ids, vectors, present)
                for scan, (vectors, present) in zip(scans, found, strict=True)
            )
            rows[item] = [mean_of_objects(vectors, present) for vectors, present in found]
        for number, scan in enumerate(scans):
            for item, vector in ({} if whole is None else whole(scan)).items():
                rows.setdefault(item, [None] * len(scans))[number] = _unit(vector)
        self._present = {item: np.array([row is not None for row in found], np.bool_) for item, found in rows.items()}
        width = next(vectors.shape[1] for vectors, _ in embedded[0].values())
        nothing = np.zeros(width, np.float32)
        self._vectors = {
            item: np.stack([nothing if row is None else row for row in found]) for item, found in rows.items()
        }

    def present(self, item: str) -> Mask | None:
        """(N,) which scans have any of it."""
        return self._present.get(item)

    def similarity(self, query: str, gallery: str) -> Array | None:
        """(N, N) cosines."""
        if query not in self._vectors or gallery not in self._vectors:
            return None
        return np.asarray(self._vectors[query] @ self._vectors[gallery].T, dtype=np.float32)

    def vectors(self, item: str) -> Array | None:
        """(N, D) unit vectors, zero for what is absent."""
        return self._vectors.get(item)

    def objects(self, item: str) -> tuple[SceneObjects, ...] | None:
        """Of each scan."""
        return self._objects.get(item)


def mean_of_objects(vectors: Array, present: Mask) -> Array | None:
    """(D,) unit vector of (K, D) objects; None without any."""
    return _unit(vectors[present].mean(axis=0)) if present.any() else None


def _unit(vector: Array) -> Array:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), dtype=np.float32)


def apart(*pairs: str) -> frozenset[tuple[str, str]]:
    """``"P-F"``, ... -> pairs in both orders."""
    both = [tuple(pair.split("-")) for pair in pairs]
    return frozenset((a, b) for x, y in both for a, b in ((x, y), (y, x)))
