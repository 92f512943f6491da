"""What the data say of the questions: who may ask, who is a place, which scan repeats which and what moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossover_models.dataset.features import SceneFeatures
from crossover_models.encoders.shapes import LEAST_POINTS
from crossover_models.evaluation.tasks.instances import has_moved
from crossover_models.evaluation.tasks.ranking import Mask
from crossover_models.evaluation.tasks.scenes import SceneSet
from crossover_models.training.feature_set import FeatureSet


@dataclass(frozen=True)
class EvaluatedScans:
    """The N scans of a split; the same questions are asked of every method.

    A method that lacks what the data have does not escape the question: its answer is the last one.

    Attributes:
        scans: ids, types of room, references.
        rooms: (N,) room of each.
        places: (N,) scans that stand in the gallery of the scene tasks.
        has: item -> (N,) the data have it.
        objects: item in I, P, M, R -> for each scan (K,) which objects the data show.
        object_ids: for each scan its K objects.
        rescans: (reference, rescan) rows.
        moved: for each of these the ids of objects that moved.
    """

    scans: SceneSet
    rooms: tuple[str, ...]
    places: Mask
    has: dict[str, Mask]
    objects: dict[str, tuple[Mask, ...]]
    object_ids: tuple[tuple[str, ...], ...]
    rescans: tuple[tuple[int, int], ...]
    moved: tuple[frozenset[str], ...]

    def __len__(self) -> int:
        return len(self.rooms)


def evaluated_scans(features: FeatureSet, rescans_are_places: bool = False) -> EvaluatedScans:
    """Read them off the features.

    Args:
        features: a split.
        rescans_are_places: every scan stands in the gallery, as the reference's code has it, though a room's rescan
            is then a wrong answer; otherwise each room stands there once, by its first scan.
    """
    scans = features.scans
    ids = [scan.scan_id for scan in scans]
    first: dict[str, int] = {}
    for row in sorted(range(len(scans)), key=lambda r: (bool(scans[r].reference_id), r)):
        first.setdefault(scans[row].room_id, row)
    places = np.zeros(len(scans), np.bool_)
    places[list(range(len(scans))) if rescans_are_places else list(first.values())] = True
    pairs = [(ids.index(s.reference_id), row) for row, s in enumerate(scans) if s.reference_id in ids]
    return EvaluatedScans(
        SceneSet(tuple(ids), tuple(s.category for s in scans), tuple(s.reference_id for s in scans)),
        tuple(s.room_id for s in scans),
        places,
        {item: np.array([_has(s, item) for s in scans], np.bool_) for item in _HAS},
        {item: tuple(_shows(s, item) for s in scans) for item in ("I", "P", "M", "R")},
        tuple(s.object_ids for s in scans),
        tuple(pairs),
        tuple(_moved(scans[a], scans[b]) for a, b in pairs),
    )


_HAS = {
    "I": "views",
    "P": "points",
    "M": "cad_points",
    "F": "plans",
    "R": "texts",
    "I1": "drive_views",
    "I10": "drive_views",
    "Pd": "drive_points",
}


def _has(scan: SceneFeatures, item: str) -> bool:
    return len(getattr(scan, _HAS[item])) > 0


def _shows(scan: SceneFeatures, item: str) -> Mask:
    if item == "I":
        return np.asarray(scan.object_crops > 0, np.bool_)
    if item == "M":
        return np.asarray(scan.object_cad >= 0, np.bool_)
    rows, least = (scan.instance, LEAST_POINTS) if item == "P" else (scan.referral_objects, 1)
    return np.asarray(np.bincount(rows[rows >= 0], minlength=len(scan.object_ids)) >= least, np.bool_)


def _moved(before: SceneFeatures, after: SceneFeatures) -> frozenset[str]:
    there = {name: i for i, name in enumerate(after.object_ids)}
    return frozenset(
        name
        for i, name in enumerate(before.object_ids)
        if name in there
        and has_moved(before.object_poses[i].astype(np.float64), after.object_poses[there[name]].astype(np.float64))
    )
