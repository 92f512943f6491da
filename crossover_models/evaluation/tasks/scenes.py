"""Scene retrieval tasks: the same scene, the same category, within a category, and after a change.

Each task has two faces: embeddings, compared by dot products, and ``..._by`` a matrix of similarities of all scans, for
methods that compare otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    """Outcome of a task.

    Attributes:
        ranks: (Q,) of the first right answer, 0 is first.
        recalls: by cut.
        chance: those of an order drawn at random.
        queries: (Q,) rows of the scans that ask.
    """

    ranks: NDArray[np.int64]
    recalls: dict[str, float | None]
    chance: dict[str, float | None]
    queries: NDArray[np.int64]


def scene_matching(query: Array, gallery: Array, present: Mask) -> Task:
    """R@1/5/10/20 of finding the own scan among all scans that have both modalities.

    Args:
        query: (N, D) embeddings of one modality; rows that are absent are not read.
        gallery: (N, D) of the other.
        present: (N,) both exist.
    """
    return scene_matching_by(_similarity(query, gallery, present), present)


def scene_matching_by(similarity: Array, present: Mask) -> Task:
    """:func:`scene_matching` from similarities (N, N); rows and columns of absent scans are not read."""
    kept = np.flatnonzero(present)
    return _task(_block(similarity, kept), np.eye(len(kept), dtype=np.bool_), SCENE_CUTS, kept)


def category_recall(query: Array, gallery: Array, present: Mask, scans: SceneSet) -> Task:
    """R@1/5/10 of finding *another* scan of the same category; the own scan is taken out of the gallery.

    Scans of unknown category neither ask nor answer.
    """
    return category_recall_by(_similarity(query, gallery, present), present, scans)


def category_recall_by(similarity: Array, present: Mask, scans: SceneSet) -> Task:
    """:func:`category_recall` from similarities (N, N)."""
    kept, names = _categorized(present, scans)
    other = ~np.eye(len(names), dtype=np.bool_)
    return _task(_block(similarity, kept), names[:, None] == names[None, :], CATEGORY_CUTS, kept, other)


def intra_category(query: Array, gallery: Array, present: Mask, scans: SceneSet) -> dict[str, float | None]:
    """R@1/3/5 of finding the own scan among those of its category: the unweighted mean over categories.

    A category with a single scan is left out: there is nothing to tell apart.
    """
    return intra_category_by(_similarity(query, gallery, present), present, scans).recalls


def intra_category_by(similarity: Array, present: Mask, scans: SceneSet) -> Task:
    """:func:`intra_category` from similarities (N, N); only scans of categories that count ask."""
    kept, names = _categorized(present, scans)
    same = names[:, None] == names[None, :]
    asks = same.sum(axis=1) > 1
    kept, names, same = kept[asks], names[asks], same[np.ix_(asks, asks)]
    own = np.eye(len(kept), dtype=np.bool_)
    task = _task(_block(similarity, kept), own, INTRA_CUTS, kept, same)
    groups = [names == name for name in np.unique(names)]
    found, luck = (
        [recalls(task.ranks[g], INTRA_CUTS) for g in groups],
        [chance(own[g], INTRA_CUTS, same[g]) for g in groups],
    )
    return replace(task, recalls=_mean(found, task.recalls), chance=_mean(luck, task.chance))


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
    return temporal_scene_by(_similarity(query, gallery, present), present, present, scans, legacy=legacy)


def temporal_scene_by(
    similarity: Array, asking: Mask, answering: Mask, scans: SceneSet, *, legacy: bool = False
) -> Task:
    """:func:`temporal_scene` from similarities (N, N).

    Args:
        similarity: (N, N).
        asking: (N,) scans with the query's modality; of these only reference scans whose rescan answers ask.
        answering: (N,) scans with the gallery's.
        scans: which scan repeats which.
        legacy: see :func:`temporal_scene`.
    """
    kept = np.flatnonzero(answering)
    repeats = np.array([scans.references[i] for i in kept], dtype=object)
    asks = np.array(
        [i for i in np.flatnonzero(asking) if not scans.references[i] and (repeats == scans.scan_ids[i]).any()],
        dtype=np.int64,
    )
    right = np.array([repeats == scans.scan_ids[i] for i in asks], dtype=np.bool_).reshape(len(asks), len(kept))
    block, other = _block(similarity, asks, kept), asks[:, None] != kept[None, :]
    if not legacy:
        return _task(block, right, TEMPORAL_CUTS, asks, other)
    listed = np.where(other, block, -np.inf)
    last = np.sort(listed, axis=1)[:, -min(10, listed.shape[1])] if len(listed) else np.zeros(0)
    in_list = other & (listed >= last[:, None])
    # Position within the list in data-set order of the first right one.
    position = np.cumsum(in_list, axis=1) - 1
    first = np.where(in_list & right, position, len(kept)).min(axis=1, initial=len(kept)).astype(np.int64)
    return Task(first, recalls(first, TEMPORAL_CUTS), chance(right, TEMPORAL_CUTS, other), asks)


def _task(
    similarity: Array, right: Mask, cuts: Sequence[int], queries: NDArray[np.int64], allowed: Mask | None = None
) -> Task:
    ranks = first_ranks(similarity, right, allowed)
    return Task(ranks, recalls(ranks, cuts), chance(right, cuts, allowed), queries)


def _similarity(query: Array, gallery: Array, present: Mask) -> Array:
    """Dot products (N, N) of present rows, zero elsewhere, where nobody looks."""
    out = np.zeros((len(present), len(present)), dtype=np.float32)
    out[np.ix_(present, present)] = scores(query[present], gallery[present])
    return out


def _block(similarity: Array, rows: NDArray[np.int64], columns: NDArray[np.int64] | None = None) -> Array:
    taken = np.asarray(similarity[np.ix_(rows, rows if columns is None else columns)], dtype=np.float32)
    if not np.isfinite(taken).all():
        row = int(rows[int(np.argmin(np.isfinite(taken).all(axis=1)))])
        raise TaskError(f"similarity: row {row} is not finite though both of its modalities are there")
    return taken


def _mean(figures: Sequence[dict[str, float | None]], keys: dict[str, float | None]) -> dict[str, float | None]:
    values = {key: [f for one in figures if (f := one[key]) is not None] for key in keys}
    return {key: float(np.mean(some)) if some else None for key, some in values.items()}


def _categorized(present: Mask, scans: SceneSet) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    kept = np.array([i for i in np.flatnonzero(present) if scans.categories[i]], dtype=np.int64)
    return kept, np.array([scans.categories[i] for i in kept], dtype=np.str_)
