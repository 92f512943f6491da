"""Instance retrieval tasks: the same object in another modality, or in a rescan after things moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from crossover_models.evaluation.tasks.ranking import Array, Mask, TaskError, first_ranks, scores

INSTANCE_CUTS, SHARES = (1, 3), (0.25, 0.5, 0.75)
MOVED_DEG, MOVED_M = 1.0, 0.05
KINDS = ("all", "static", "dynamic")


@dataclass(frozen=True)
class SceneObjects:
    """Objects of one scan in one modality: ids, embeddings (O, D) and which exist (O,)."""

    object_ids: tuple[str, ...]
    embeddings: Array
    present: Mask

    def __post_init__(self) -> None:
        if not len(self.object_ids) == len(self.embeddings) == len(self.present):
            raise TaskError("objects: ids, embeddings and mask differ in length")


@dataclass(frozen=True)
class InstanceTask:
    """Outcome of an instance task, scene by scene; S scenes asked something.

    Attributes:
        scenes: (S,) positions of these scenes in the task's input.
        recalls: (S, cuts) share of a scene's objects whose own object was among the first k.
        found, asked: kind of object -> (S,) how many were first, and how many asked.
        chance: figures of an order drawn at random.
        summary: figures of the task.
    """

    scenes: NDArray[np.int64]
    recalls: NDArray[np.float64]
    found: dict[str, NDArray[np.int64]]
    asked: dict[str, NDArray[np.int64]]
    chance: dict[str, float | None]
    summary: dict[str, float | None]


def instance_matching(scenes: Sequence[tuple[SceneObjects, SceneObjects]]) -> dict[str, float | None]:
    """R@1 and R@3 of finding the own object in the other modality, and the scene-level shares.

    Within a scene, among its objects that have both modalities: recall per scene, averaged over scenes (``r1``,
    ``r3``), and the share of scenes whose top-1 recall reaches 25, 50 and 75 % (``scene_r25``, ...).

    Args:
        scenes: for each scan its objects in the query's and in the gallery's modality, in the same order.
    """
    return instance_matching_by([matching_similarity(query, gallery) for query, gallery in scenes]).summary


def matching_similarity(query: SceneObjects, gallery: SceneObjects) -> Array:
    """Dot products (O, O) of a scene's O objects that have both modalities.

    Raises:
        TaskError: the two do not list the same objects, or an embedding is not finite.
    """
    if query.object_ids != gallery.object_ids:
        raise TaskError("objects: query and gallery list different objects")
    both = query.present & gallery.present
    return scores(query.embeddings[both], gallery.embeddings[both])


def instance_matching_by(similarities: Sequence[Array]) -> InstanceTask:
    """:func:`instance_matching` from each scene's similarities (O, O) of objects that have both modalities."""
    kept = [i for i, similarity in enumerate(similarities) if len(similarity)]
    rows, sizes = [], []
    for i in kept:
        ranks = first_ranks(similarities[i], np.eye(len(similarities[i]), dtype=np.bool_))
        rows.append([float((ranks < k).mean()) for k in INSTANCE_CUTS])
        sizes.append(len(ranks))
    values = np.array(rows, dtype=np.float64).reshape(len(rows), len(INSTANCE_CUTS))
    asked = np.array(sizes, dtype=np.int64)
    luck = _luck(asked, asked, INSTANCE_CUTS)
    found = np.rint(values[:, 0] * asked).astype(np.int64)
    summary = _summary(list(values), INSTANCE_CUTS)
    return InstanceTask(np.array(kept, np.int64), values, {"all": found}, {"all": asked}, luck, summary)


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
    return temporal_outcome(scenes, moved).summary


def temporal_outcome(
    scenes: Sequence[tuple[SceneObjects, SceneObjects]], moved: Sequence[frozenset[str]]
) -> InstanceTask:
    """:func:`temporal_instances`, scene by scene."""
    kept: list[int] = []
    sizes: list[int] = []
    hits: dict[str, list[int]] = {kind: [] for kind in KINDS}
    asked: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for index, ((before, after), shifted) in enumerate(zip(scenes, moved, strict=True)):
        there = {name: i for i, name in enumerate(np.array(after.object_ids, dtype=object)[after.present])}
        asks = [i for i, name in enumerate(before.object_ids) if before.present[i] and name in there]
        if not asks:
            continue
        similarity = scores(before.embeddings[asks], after.embeddings[after.present])
        right = np.zeros(similarity.shape, dtype=np.bool_)
        right[np.arange(len(asks)), [there[before.object_ids[i]] for i in asks]] = True
        found = first_ranks(similarity, right) < 1
        dynamic = np.array([before.object_ids[i] in shifted for i in asks], dtype=np.bool_)
        kept.append(index)
        sizes.append(similarity.shape[1])
        for kind, of_kind in zip(KINDS, (np.ones_like(dynamic), ~dynamic, dynamic), strict=True):
            hits[kind].append(int((found & of_kind).sum()))
            asked[kind].append(int(of_kind.sum()))
    number = {kind: np.array(values, dtype=np.int64) for kind, values in asked.items()}
    first = {kind: np.array(values, dtype=np.int64) for kind, values in hits.items()}
    recall = first["all"] / number["all"]
    summary = {key: value for key, value in _summary(list(recall[:, None]), (1,)).items() if key != "r1"}
    luck = {key: value for key, value in _luck(number["all"], np.array(sizes), (1,)).items() if key != "r1"}
    chances = 1.0 / np.array(sizes, dtype=np.float64)
    for kind in KINDS:
        total = int(number[kind].sum())
        summary[kind] = float(first[kind].sum() / total) if total else None
        luck[kind] = float((number[kind] * chances).sum() / total) if total else None
    return InstanceTask(np.array(kept, np.int64), recall[:, None], first, number, luck, summary)


def has_moved(T_scene_before: NDArray[np.float64], T_scene_after: NDArray[np.float64]) -> bool:
    """Whether an object turned by more than 1 deg or moved by more than 5 cm between two poses (4, 4) of one frame."""
    change = np.linalg.inv(T_scene_before) @ T_scene_after
    angle = np.degrees(np.arccos(np.clip((np.trace(change[:3, :3]) - 1.0) / 2.0, -1.0, 1.0)))
    shift = np.linalg.norm(T_scene_after[:3, 3] - T_scene_before[:3, 3])
    return bool(angle > MOVED_DEG or shift > MOVED_M)


def _luck(asked: NDArray[np.int64], sizes: NDArray[np.int64], cuts: Sequence[int]) -> dict[str, float | None]:
    """Expected figures of orders drawn at random, each of ``asked`` queries for itself among ``sizes`` objects."""
    names = [*(f"r{k}" for k in cuts), *(f"scene_r{round(100 * share)}" for share in SHARES)]
    if not len(asked):
        return dict.fromkeys(names)
    values = [float(np.minimum(1.0, k / sizes).mean()) for k in cuts]
    # At least this share of independent queries, each right with probability 1 / size.
    values += [float(np.mean(bdtrc(np.ceil(share * asked) - 1, asked, 1.0 / sizes))) for share in SHARES]
    return dict(zip(names, values, strict=True))


def _summary(per_scene: list[NDArray[np.float64]], cuts: Sequence[int]) -> dict[str, float | None]:
    names = [*(f"r{k}" for k in cuts), *(f"scene_r{round(100 * share)}" for share in SHARES)]
    if not per_scene:
        return dict.fromkeys(names)
    values = np.stack(per_scene)
    top = values[:, 0]
    shares = [float((top >= share).mean()) for share in SHARES]
    return dict(zip(names, [*(float(v) for v in values.mean(axis=0)), *shares], strict=True))
