"""Instance retrieval tasks: the same object in another modality, or in a rescan after things moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.evaluation.tasks.ranking import Array, Mask, TaskError, first_ranks, scores

INSTANCE_CUTS, SHARES = (1, 3), (0.25, 0.5, 0.75)
MOVED_DEG, MOVED_M = 1.0, 0.05


@dataclass(frozen=True)
class SceneObjects:
    """Objects of one scan in one modality: ids, embeddings (O, D) and which exist (O,)."""

    object_ids: tuple[str, ...]
    embeddings: Array
    present: Mask

    def __post_init__(self) -> None:
        if not len(self.object_ids) == len(self.embeddings) == len(self.present):
            raise TaskError("objects: ids, embeddings and mask differ in length")


def instance_matching(scenes: Sequence[tuple[SceneObjects, SceneObjects]]) -> dict[str, float | None]:
    """R@1 and R@3 of finding the own object in the other modality, and the scene-level shares.

    Within a scene, among its objects that have both modalities: recall per scene, averaged over scenes (``r1``,
    ``r3``), and the share of scenes whose top-1 recall reaches 25, 50 and 75 % (``scene_r25``, ...).

    Args:
        scenes: for each scan its objects in the query's and in the gallery's modality, in the same order.
    """
    per_scene: list[NDArray[np.float64]] = []
    for query, gallery in scenes:
        if query.object_ids != gallery.object_ids:
            raise TaskError("objects: query and gallery list different objects")
        both = query.present & gallery.present
        if not both.any():
            continue
        similarity = scores(query.embeddings[both], gallery.embeddings[both])
        ranks = first_ranks(similarity, np.eye(len(similarity), dtype=np.bool_))
        per_scene.append(np.array([(ranks < k).mean() for k in INSTANCE_CUTS]))
    return _summary(per_scene, INSTANCE_CUTS)


def temporal_instances(
    scenes: Sequence[tuple[SceneObjects, SceneObjects]], moved: Sequence[frozenset[str]]
) -> dict[str, float | None]:
    """Finding the objects of a reference scan in its rescan, matched by id; absent objects of the rescan stay answers.

    Args:
        scenes: reference and rescan.
        moved: for each pair the ids of objects that moved (see :func:`has_moved`).

    Returns:
        ``scene_r25``, ``scene_r50``, ``scene_r75`` and the recall over ``all``, ``static`` and ``dynamic`` objects.
    """
    per_scene: list[NDArray[np.float64]] = []
    hits: dict[str, list[bool]] = {"all": [], "static": [], "dynamic": []}
    for (before, after), shifted in zip(scenes, moved, strict=True):
        there = {name: i for i, name in enumerate(np.array(after.object_ids, dtype=object)[after.present])}
        asks = [i for i, name in enumerate(before.object_ids) if before.present[i] and name in there]
        if not asks:
            continue
        similarity = scores(before.embeddings[asks], after.embeddings[after.present])
        right = np.zeros(similarity.shape, dtype=np.bool_)
        right[np.arange(len(asks)), [there[before.object_ids[i]] for i in asks]] = True
        found = first_ranks(similarity, right) < 1
        per_scene.append(np.array([found.mean()]))
        for i, hit in zip(asks, found, strict=True):
            for kind in ("all", "dynamic" if before.object_ids[i] in shifted else "static"):
                hits[kind].append(bool(hit))
    out = {k: v for k, v in _summary(per_scene, (1,)).items() if k != "r1"}
    return out | {kind: float(np.mean(values)) if values else None for kind, values in hits.items()}


def has_moved(T_scene_before: NDArray[np.float64], T_scene_after: NDArray[np.float64]) -> bool:
    """Whether an object turned by more than 1 deg or moved by more than 5 cm between two poses (4, 4) of one frame."""
    change = np.linalg.inv(T_scene_before) @ T_scene_after
    angle = np.degrees(np.arccos(np.clip((np.trace(change[:3, :3]) - 1.0) / 2.0, -1.0, 1.0)))
    shift = np.linalg.norm(T_scene_after[:3, 3] - T_scene_before[:3, 3])
    return bool(angle > MOVED_DEG or shift > MOVED_M)


def _summary(per_scene: list[NDArray[np.float64]], cuts: Sequence[int]) -> dict[str, float | None]:
    names = [*(f"r{k}" for k in cuts), *(f"scene_r{round(100 * share)}" for share in SHARES)]
    if not per_scene:
        return dict.fromkeys(names)
    values = np.stack(per_scene)
    top = values[:, 0]
    shares = [float((top >= share).mean()) for share in SHARES]
    return dict(zip(names, [*(float(v) for v in values.mean(axis=0)), *shares], strict=True))
