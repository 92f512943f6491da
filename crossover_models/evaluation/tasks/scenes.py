"""Scene retrieval tasks: the same scene, the same category, within a category, and after a change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.evaluation.tasks.ranking import Array, Mask, TaskError, chance, first_ranks, recalls, scores

SCENE_CUTS, CATEGORY_CUTS, INTRA_CUTS, TEMPORAL_CUTS = (1, 5, 10, 20), (1, 5, 10), (1, 3, 5), (1, 5, 10)


@dataclass(frozen=True)
class SceneSet:
    """Scans in the order of the data set.

    Attributes:
        scan_ids: (N,) unique.
        categories: (N,) type of room, "" where unknown.
        references: (N,) scan that each repeats, "" for a reference scan.
    """

    scan_ids: tuple[str, ...]
    categories: tuple[str, ...]
    references: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.scan_ids) == len(self.categories) == len(self.references):
            raise TaskError("scenes: scan_ids, categories and references differ in length")
        if len(set(self.scan_ids)) != len(self.scan_ids):
            raise TaskError("scan_ids: one occurs twice")


@dataclass(frozen=True)
class Task:
    """Outcome of a task: ``ranks`` (Q,) of the first right answer, recalls, and those of chance."""

    ranks: NDArray[np.int64]
    recalls: dict[str, float | None]
    chance: dict[str, float | None]


def _task(similarity: Array, right: Mask, cuts: Sequence[int], allowed: Mask | None = None) -> Task:
    ranks = first_ranks(similarity, right, allowed)
    return Task(ranks, recalls(ranks, cuts), chance(right, cuts, allowed))


def scene_matching(query: Array, gallery: Array, present: Mask) -> Task:
    """R@1/5/10/20 of finding the own scan among all scans that have both modalities.

    Args:
        query: (N, D) embeddings of one modality; rows that are absent are not read.
        gallery: (N, D) of the other.
        present: (N,) both exist.
    """
    similarity = scores(query[present], gallery[present])
    return _task(similarity, np.eye(len(similarity), dtype=np.bool_), SCENE_CUTS)


def category_recall(query: Array, gallery: Array, present: Mask, scans: SceneSet) -> Task:
    """R@1/5/10 of finding *another* scan of the same category; the own scan is taken out of the gallery.

    Scans of unknown category neither ask nor answer.
    """
    kept, names = _categorized(present, scans)
    similarity = scores(query[kept], gallery[kept])
    other = ~np.eye(len(names), dtype=np.bool_)
    return _task(similarity, names[:, None] == names[None, :], CATEGORY_CUTS, other)


def intra_category(query: Array, gallery: Array, present: Mask, scans: SceneSet) -> dict[str, float | None]:
    """R@1/3/5 of finding the own scan among those of its category: the unweighted mean over categories.

    A category with a single scan is left out: there is nothing to tell apart.
    """
    kept, names = _categorized(present, scans)
    similarity = scores(query[kept], gallery[kept])
    same = names[:, None] == names[None, :]
    ranks = first_ranks(similarity, np.eye(len(names), dtype=np.bool_), same)
    counted = [name for name in np.unique(names) if (names == name).sum() > 1]
    out: dict[str, float | None] = {}
    for k in INTRA_CUTS:
        values = [float((ranks[names == name] < k).mean()) for name in counted]
        out[f"r{k}"] = float(np.mean(values)) if values else None
    return out


def temporal_scene(query: Array, gallery: Array, present: Mask, scans: SceneSet, *, legacy: bool = False) -> Task:
    """R@1/5/10 of finding any rescan of a reference scan; the own scan is taken out of the gallery.

    Args:
        query: (N, D).
        gallery: (N, D).
        present: (N,) both exist.
        scans: which scan repeats which.
        legacy: list the ten best in the order of the data set, as the reference's code does; only its R@10 is then a
            rank.
    """
    kept = np.flatnonzero(present)
    ids = [scans.scan_ids[i] for i in kept]
    repeats = np.array([scans.references[i] for i in kept], dtype=object)
    right = np.array([repeats == scan_id for scan_id in ids], dtype=np.bool_).reshape(len(ids), len(ids))
    asks = np.array([not scans.references[i] for i in kept], dtype=np.bool_) & right.any(axis=1)
    similarity = scores(query[kept], gallery[kept])[asks]
    other = ~np.eye(len(ids), dtype=np.bool_)[asks]
    right = right[asks]
    if not legacy:
        return _task(similarity, right, TEMPORAL_CUTS, other)
    listed = np.where(other, similarity, -np.inf)
    last = np.sort(listed, axis=1)[:, -min(10, listed.shape[1])] if len(listed) else np.zeros(0)
    in_list = other & (listed >= last[:, None])
    # Position within the list in data-set order of the first right one.
    position = np.cumsum(in_list, axis=1) - 1
    first = np.where(in_list & right, position, len(ids)).min(axis=1, initial=len(ids)).astype(np.int64)
    return Task(first, recalls(first, TEMPORAL_CUTS), chance(right, TEMPORAL_CUTS, other))


def _categorized(present: Mask, scans: SceneSet) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    kept = np.array([i for i in np.flatnonzero(present) if scans.categories[i]], dtype=np.int64)
    return kept, np.array([scans.categories[i] for i in kept], dtype=np.str_)
