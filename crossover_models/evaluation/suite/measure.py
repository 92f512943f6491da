"""One method, one task: outcomes for every pair of modalities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossover_models.evaluation.suite.outcome import Outcome
from crossover_models.evaluation.suite.scans import EvaluatedScans
from crossover_models.evaluation.tasks.instances import (
    InstanceTask,
    SceneObjects,
    instance_matching_by,
    matching_similarity,
    temporal_outcome,
)
from crossover_models.evaluation.tasks.method import MAP_ITEMS, PAIRS, ROBOT_ITEMS, Method
from crossover_models.evaluation.tasks.ranking import Array, Mask, TaskError
from crossover_models.evaluation.tasks.scenes import (
    CATEGORY_CUTS,
    INTRA_CUTS,
    SCENE_CUTS,
    TEMPORAL_CUTS,
    Task,
    category_recall_by,
    intra_category_by,
    scene_matching_by,
    temporal_scene_by,
)

INSTANCE_PAIRS = (("I", "P"), ("I", "R"), ("P", "R"), ("M", "P"), ("M", "R"), ("I", "M"))
TEMPORAL_PAIRS = (("P", "P"), ("I", "I"), ("I", "P"), ("I", "R"), ("P", "R"), ("I", "F"), ("P", "F"))
TEMPORAL_INSTANCE_PAIRS = (("P", "P"), ("I", "I"), ("I", "P"), ("I", "R"), ("P", "R"))
MISSING_QUERIES = ("I", "P", "F", "R", "I1", "I10", "Pd")
NOTHING, ANY = "none", "any"
"""Nothing is lost in the map; every place lost one modality, drawn at random."""
SEEN_AS = {"I1": "I", "I10": "I", "Pd": "P"}
_NEVER = -1e30
Outcomes = dict[str, Outcome | None]


@dataclass(frozen=True)
class Question:
    """What the tasks are asked of.

    Attributes:
        scans: the data.
        seed: of what is drawn (which modality a place lost).
        legacy: the reference's listing of the temporal scene task.
    """

    scans: EvaluatedScans
    seed: int = 0
    legacy: bool = False


def emergent(method: Method, query: str, gallery: str) -> bool:
    """Whether the two were never contrasted in the method's training, in either order; frames are images."""
    query, gallery = SEEN_AS.get(query, query), SEEN_AS.get(gallery, gallery)
    return (query, gallery) in method.emergent or (gallery, query) in method.emergent


def scene(method: Method, question: Question) -> Outcomes:
    """Scene retrieval for :data:`PAIRS`; None where the method cannot compare the two."""
    return {f"{a}-{b}": _matching(method, question, a, b) for a, b in PAIRS}


def robot(method: Method, question: Question) -> Outcomes:
    """What a robot sees against every modality of a map."""
    return {f"{a}-{b}": _matching(method, question, a, b) for a in ROBOT_ITEMS for b in MAP_ITEMS}


def category(method: Method, question: Question) -> Outcomes:
    """Another scan of the same type of room."""

    def ask(similarity: Array, present: Mask) -> Outcome:
        return _outcome(category_recall_by(similarity, present, question.scans.scans), CATEGORY_CUTS)

    return _for_pairs(method, question, ask)


def intra(method: Method, question: Question) -> Outcomes:
    """The own scan among those of its type."""

    def ask(similarity: Array, present: Mask) -> Outcome:
        task = intra_category_by(similarity, present, question.scans.scans)
        names = np.array([question.scans.scans.categories[i] for i in task.queries], dtype=np.str_)
        groups = np.unique(names, return_inverse=True)[1].astype(np.int64)
        return replace(_outcome(task, INTRA_CUTS), groups=groups)

    return _for_pairs(method, question, ask)


def temporal_scene(method: Method, question: Question) -> Outcomes:
    """A room's rescan among all scans."""
    out: Outcomes = {}
    for a, b in TEMPORAL_PAIRS:
        similarity = _similarity(method, question, a, b)
        out[f"{a}-{b}"] = None
        if similarity is not None:
            has = question.scans.has
            task = temporal_scene_by(similarity, has[a], has[b], question.scans.scans, legacy=question.legacy)
            out[f"{a}-{b}"] = _outcome(task, TEMPORAL_CUTS)
    return out


def instance(method: Method, question: Question) -> Outcomes:
    """The same object in another modality, within each scan."""
    data = question.scans
    rows = np.flatnonzero(data.places)
    out: Outcomes = {}
    for a, b in INSTANCE_PAIRS:
        queries, gallery = _objects(method, data, a, asking=True), _objects(method, data, b, asking=False)
        out[f"{a}-{b}"] = None
        if queries is not None and gallery is not None:
            task = instance_matching_by([matching_similarity(queries[r], gallery[r]) for r in rows])
            shares = {"r1": task.recalls[:, 0], "r3": task.recalls[:, 1]}
            out[f"{a}-{b}"] = _instances(task, rows, shares)
    return out


def temporal_instance(method: Method, question: Question) -> Outcomes:
    """The objects of a reference scan in its rescan; ``all``, ``static``, ``dynamic`` are recalls over objects."""
    data = question.scans
    rows = np.array([before for before, _ in data.rescans], dtype=np.int64)
    out: Outcomes = {}
    for a, b in TEMPORAL_INSTANCE_PAIRS:
        queries, gallery = _objects(method, data, a, asking=True), _objects(method, data, b, asking=False)
        out[f"{a}-{b}"] = None
        if queries is not None and gallery is not None:
            pairs = [(queries[before], gallery[after]) for before, after in data.rescans]
            out[f"{a}-{b}"] = _instances(temporal_outcome(pairs, data.moved), rows, {})
    return out


def missing(method: Method, question: Question) -> Outcomes:
    """Places with several modalities, and with one of them lost.

    A place's score is the mean, over the modalities that it has, of the query's similarity to each, less what this
    query has with that modality on average over the gallery: without that, a place would gain or lose by which
    modality it has. The query's own modality is not used: it is the same data.

    Returns:
        ``"I none"``, ``"I P"`` (places lack P), ..., ``"I any"``.
    """
    data = question.scans
    rng = np.random.default_rng(question.seed)
    drawn = {a: rng.random((len(MAP_ITEMS), len(data))) for a in MISSING_QUERIES}
    out: Outcomes = {}
    for a in MISSING_QUERIES:
        known: dict[str, Array] = {}
        for b in MAP_ITEMS:
            similarity = None if a == b else _similarity(method, question, a, b)
            if similarity is not None:
                known[b] = similarity
        has = {b: data.has[b] & data.places for b in known}
        for lost in (NOTHING, *MAP_ITEMS, ANY):
            out[f"{a} {lost}"] = None
            if len(known) < 2 or (lost in MAP_ITEMS and lost not in known):
                continue
            kept = {b: mask & (b != lost) for b, mask in has.items()}
            if lost == ANY:
                order = np.where(
                    np.stack(list(has.values())), np.stack([drawn[a][MAP_ITEMS.index(b)] for b in has]), -1.0
                )
                kept = {b: mask & (order.argmax(axis=0) != i) for i, (b, mask) in enumerate(has.items())}
            # Questions are the same whatever was lost: a place left with nothing cannot be found.
            asked = data.has[a] & data.places & np.any(list(has.values()), axis=0)
            task = scene_matching_by(_places(known, kept), asked)
            out[f"{a} {lost}"] = _outcome(task, SCENE_CUTS)
    return out


TASKS: Mapping[str, Callable[[Method, Question], Outcomes]] = {
    "scene": scene,
    "instance": instance,
    "category": category,
    "intra": intra,
    "temporal-scene": temporal_scene,
    "temporal-instance": temporal_instance,
    "missing": missing,
    "robot": robot,
}


def _places(known: Mapping[str, Array], kept: Mapping[str, Mask]) -> Array:
    total: NDArray[np.float64] | None = None
    count: NDArray[np.int64] | None = None
    for b, similarity in known.items():
        there = kept[b]
        values = np.where(similarity > _NEVER / 2, similarity.astype(np.float64), np.nan)
        with np.errstate(invalid="ignore"):
            seen = np.isfinite(values) & there
            middle = np.where(seen, values, 0.0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
        part = np.where(seen, values - middle[:, None], 0.0)
        total = part if total is None else total + part
        count = seen.astype(np.int64) if count is None else count + seen
    assert total is not None and count is not None
    return np.where(count > 0, total / np.maximum(count, 1), _NEVER).astype(np.float32)


def _matching(method: Method, question: Question, a: str, b: str) -> Outcome | None:
    similarity = _similarity(method, question, a, b)
    if similarity is None:
        return None
    data = question.scans
    return _outcome(scene_matching_by(similarity, data.has[a] & data.has[b] & data.places), SCENE_CUTS)


def _for_pairs(method: Method, question: Question, ask: Callable[[Array, Mask], Outcome]) -> Outcomes:
    out: Outcomes = {}
    for a, b in PAIRS:
        similarity, data = _similarity(method, question, a, b), question.scans
        out[f"{a}-{b}"] = None if similarity is None else ask(similarity, data.has[a] & data.has[b] & data.places)
    return out


def _similarity(method: Method, question: Question, a: str, b: str) -> Array | None:
    """(N, N), with rows and columns that the method lacks behind everything else.

    Raises:
        TaskError: another shape, or a value that is no number where the method has both.
    """
    if method.present(a) is None or method.present(b) is None:
        return None
    similarity = method.similarity(a, b)
    if similarity is None:
        return None
    number = len(question.scans)
    asks, answers = _mask(method, a, number), _mask(method, b, number)
    if similarity.shape != (number, number):
        raise TaskError(f"{method.name}: {a}-{b}: expected similarities {(number, number)}, got {similarity.shape}")
    there = asks[:, None] & answers[None, :]
    if not np.isfinite(similarity[there]).all():
        row = int(np.argmax((there & ~np.isfinite(similarity)).any(axis=1)))
        raise TaskError(f"{method.name}: {a}-{b}: similarities of {question.scans.scans.scan_ids[row]} are no numbers")
    return np.where(there, similarity, _NEVER).astype(np.float32)


def _mask(method: Method, item: str, number: int) -> Mask:
    mask = method.present(item)
    assert mask is not None
    if mask.shape != (number,):
        raise TaskError(f"{method.name}: {item}: expected a mask ({number},), got {mask.shape}")
    return mask


def _objects(method: Method, data: EvaluatedScans, item: str, *, asking: bool) -> tuple[SceneObjects, ...] | None:
    """Objects that the data show. One that the method lacks finds nothing, and is found behind all others.

    A further dimension does that: askers are one there, present answers zero and absent ones far below.
    """
    found = method.objects(item)
    if found is None:
        return None
    if len(found) != len(data):
        raise TaskError(f"{method.name}: {item}: objects of {len(found)} scans, expected {len(data)}")
    out = []
    for own, ids, shown in zip(found, data.object_ids, data.objects[item], strict=True):
        if own.object_ids != ids:
            raise TaskError(f"{method.name}: {item}: objects differ from the data's")
        there = own.present[:, None]
        known = np.where(there, own.embeddings, 0.0)
        extra = np.where(there, 1.0, 0.0) if asking else np.where(there, 0.0, _NEVER)
        out.append(SceneObjects(ids, np.concatenate([known, extra], axis=1).astype(np.float32), shown))
    return tuple(out)


def _outcome(task: Task, cuts: tuple[int, ...]) -> Outcome:
    one = np.ones(len(task.ranks))
    parts = {f"r{k}": ((task.ranks < k).astype(np.float64), one) for k in cuts}
    return Outcome(task.queries, parts, task.chance)


def _instances(task: InstanceTask, rows: NDArray[np.int64], shares: Mapping[str, NDArray[np.float64]]) -> Outcome:
    one = np.ones(len(task.scenes))
    parts = {name: (values, one) for name, values in shares.items()}
    for share in (25, 50, 75):
        parts[f"scene_r{share}"] = ((task.recalls[:, 0] >= share / 100).astype(np.float64), one)
    if not shares:
        for kind, found in task.found.items():
            parts[kind] = (found.astype(np.float64), task.asked[kind].astype(np.float64))
    return Outcome(rows[task.scenes], parts, {name: task.chance[name] for name in parts})
