"""Colors, layouts and types of objects as methods: if one of them is near 100 %, the data have a shortcut.

With the data set's folder at hand the pictures, meshes and sentences themselves are compared; without it, what the
feature cache keeps of them. Types are the data's own labels, which no other method gets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.features import SceneFeatures
from crossover_models.dataset.store import DataSet, DataSetError
from crossover_models.dataset.trivial import (
    PARTS,
    best_correlations,
    cloud_spectra,
    layout_spectrum,
    trivial_features,
    type_similarity,
)
from crossover_models.encoders.shapes import posed_model
from crossover_models.evaluation.tasks.instances import SceneObjects
from crossover_models.evaluation.tasks.ranking import Array, Mask
from crossover_models.sets.palette import palette
from crossover_models.sets.raster import CELL_M
from crossover_models.training.feature_set import FeatureSet

Spectra = NDArray[np.complex64]
BASELINES = ("colors", "layouts", "types")
ROBOT_FRAMES = 10
_UNKNOWN = -2.0
"""Similarity of what lacks the evidence: below every cosine."""
_PICTURES, _LAYOUTS = frozenset(("I", "I1", "I10")), frozenset(("P", "Pd", "M", "F"))


@dataclass(frozen=True)
class Evidence:
    """What a scan gives away without any learning; items that lack it have no key.

    Attributes:
        colors: item -> square roots of the shares of colors.
        turned: "P", "Pd", "M" -> (yaws, H, W // 2 + 1) spectra of what stands upright, at every yaw.
        layouts: "P", "Pd", "M", "F" -> (H, W // 2 + 1) spectrum as it is.
        types: item -> how many objects of each type.
    """

    colors: dict[str, Array]
    turned: dict[str, Spectra]
    layouts: dict[str, Spectra]
    types: dict[str, Counter[str]]

    def has(self, baseline: str, item: str) -> bool:
        """Whether a baseline can say something of an item."""
        if baseline == "types":
            return bool(self.types.get(item))
        return item in (self.colors if baseline == "colors" else self.layouts)


def evidence(scan: SceneFeatures, data: DataSet | None = None, baselines: Collection[str] = BASELINES) -> Evidence:
    """Of one scan, for these baselines; with ``data`` from the scan itself where it is better than its features.

    Raises:
        DataSetError: the data set has no such scan.
        SceneError: its file is damaged.
    """
    colors: dict[str, Array] = {}
    types: dict[str, Counter[str]] = {}
    plan: Spectra | None = None
    if data is not None:
        seen = trivial_features(data.load(scan.scan_id, PARTS))
        # There a single picture is one of the survey; a robot's single picture is the first of its drive.
        named = {"I": "I", "I1": "D1", "I10": "D", "P": "P", "M": "M"}
        colors = {item: seen.colors[name] for item, name in named.items() if name in seen.colors}
        types = {item: counts for item, counts in seen.types.items() if item != "I1"}
        plan = seen.plan
    else:
        if "colors" in baselines:
            colors = _cached_colors(scan)
        if "types" in baselines:
            types = _labels(scan)
        if "layouts" in baselines:
            plan = _drawn(scan)
    turned: dict[str, Spectra] = {}
    if "layouts" in baselines:
        for item, points in (("P", scan.points), ("Pd", scan.drive_points), ("M", _models(scan))):
            spectra = cloud_spectra(points)
            if spectra is not None:
                turned[item] = spectra
    layouts: dict[str, Spectra] = {item: spectra[0] for item, spectra in turned.items()}
    if plan is not None:
        layouts["F"] = plan
    return Evidence(colors, turned, layouts, types)


def _models(scan: SceneFeatures) -> Array:
    """(N, 3) points of the posed CAD models, scene frame, metres."""
    parts = [
        posed_model(scan.cad_points[row], scan.object_poses[i], scan.object_sizes[i])
        for i, row in enumerate(scan.object_cad)
        if row >= 0
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 3), np.float32)


def _drawn(scan: SceneFeatures) -> Spectra | None:
    """Of the ink of the first plan's raster."""
    if not len(scan.plan_rasters):
        return None
    ink = scan.plan_rasters[0, 0]
    rows, columns = np.nonzero(ink)
    if not len(rows):
        return None
    at = np.stack([columns, rows], axis=1).astype(np.float64)
    return layout_spectrum(at * CELL_M, ink[rows, columns].astype(np.float64))


def _cached_colors(scan: SceneFeatures) -> dict[str, Array]:
    out = {}
    for item, frames in (("I", scan.view_colors), ("I1", scan.drive_colors[:1]), ("I10", scan.drive_colors)):
        if frames.size:
            out[item] = np.asarray(frames[:ROBOT_FRAMES].mean(axis=0) if item == "I10" else frames.mean(axis=0))
    if scan.colored.any():
        out["P"] = palette(scan.colors[scan.colored])
    return out


def _labels(scan: SceneFeatures) -> dict[str, Counter[str]]:
    """Types of the objects that each modality shows; a text's are those that its referrals are about."""
    names = scan.object_categories
    seen = np.unique(scan.instance[scan.instance >= 0])
    return {
        "I": Counter(names[i] for i in np.flatnonzero(scan.object_crops > 0)),
        "P": Counter(names[i] for i in seen),
        "M": Counter(names[i] for i in np.flatnonzero(scan.object_cad >= 0)),
        "R": Counter(names[i] for i in np.unique(scan.referral_objects)),
    }


def baseline_of(query: str, gallery: str) -> str | None:
    """Which baseline :class:`TrivialMethod` uses for a pair where it may use any; None where none applies."""
    pair = {query, gallery}
    if "R" in pair:
        return "types"
    if pair <= _LAYOUTS and pair != {"P", "M"}:
        return "layouts"
    if pair <= _PICTURES | {"P"}:
        return "colors"
    return "types" if pair <= {"I", "P", "M"} else None


class TrivialMethod:
    """One baseline, or for every pair the one that :func:`baseline_of` names.

    Args:
        scans: of a split.
        only: one of :data:`BASELINES`; None for all.
        data: where the scans are from, where it is at hand.
    """

    emergent: frozenset[tuple[str, str]] = frozenset()

    def __init__(self, scans: Sequence[SceneFeatures], only: str | None = None, data: DataSet | None = None) -> None:
        self.name = "trivial" if only is None else f"trivial: {only}"
        self._only = only
        self._used = BASELINES if only is None else (only,)
        self._found = [evidence(scan, data, self._used) for scan in scans]

    def present(self, item: str) -> Mask | None:
        """(N,) which scans have evidence of the item for any of the baselines."""
        mask = np.array([any(found.has(name, item) for name in self._used) for found in self._found], np.bool_)
        return mask if mask.any() else None

    def similarity(self, query: str, gallery: str) -> Array | None:
        """(N, N): Bhattacharyya coefficients, correlations or cosines of type counts."""
        baseline = self._only or baseline_of(query, gallery)
        if baseline is None:
            return None
        asks = np.array([found.has(baseline, query) for found in self._found], np.bool_)
        if baseline == "layouts":
            asks &= np.array([query == "F" or query in found.turned for found in self._found])
        answers = np.array([found.has(baseline, gallery) for found in self._found], np.bool_)
        out = np.full((len(asks), len(answers)), _UNKNOWN, np.float32)
        if not asks.any() or not answers.any():
            return None
        rows = [found for found, there in zip(self._found, asks, strict=True) if there]
        columns = [found for found, there in zip(self._found, answers, strict=True) if there]
        out[np.ix_(asks, answers)] = _compared(baseline, rows, query, columns, gallery)
        return out

    def vectors(self, item: str) -> Array | None:
        """None: spectra and counts are no embeddings."""
        return None

    def objects(self, item: str) -> tuple[SceneObjects, ...] | None:
        """None."""
        return None


def _compared(baseline: str, rows: Sequence[Evidence], query: str, columns: Sequence[Evidence], gallery: str) -> Array:
    if baseline == "colors":
        return np.stack([r.colors[query] for r in rows]) @ np.stack([c.colors[gallery] for c in columns]).T
    if baseline == "types":
        return type_similarity([r.types[query] for r in rows], [c.types[gallery] for c in columns])
    # A drawing is not turned: what it is compared with is.
    if query == "F" and gallery != "F":
        return _compared(baseline, columns, gallery, rows, query).T
    layouts = np.stack([c.layouts[gallery] for c in columns])
    return np.stack(
        [best_correlations(r.turned[query] if query != "F" else r.layouts["F"][None], layouts) for r in rows]
    )


def open_trivial(path: Path | None, features: FeatureSet, scenes: Path | None = None) -> TrivialMethod:
    """For every pair the baseline that applies.

    Raises:
        ValueError: a checkpoint is named: there is nothing to load.
        DataSetError: ``scenes`` is no data set, or lacks a scan.
    """
    return _opened(path, features, scenes, None)


def open_colors(path: Path | None, features: FeatureSet, scenes: Path | None = None) -> TrivialMethod:
    """Histograms of colors alone; raises as :func:`open_trivial`."""
    return _opened(path, features, scenes, "colors")


def open_layouts(path: Path | None, features: FeatureSet, scenes: Path | None = None) -> TrivialMethod:
    """Correlation of walls and plans alone; raises as :func:`open_trivial`."""
    return _opened(path, features, scenes, "layouts")


def open_types(path: Path | None, features: FeatureSet, scenes: Path | None = None) -> TrivialMethod:
    """Sets of true types alone; raises as :func:`open_trivial`."""
    return _opened(path, features, scenes, "types")


def _opened(path: Path | None, features: FeatureSet, scenes: Path | None, only: str | None) -> TrivialMethod:
    if path is not None:
        raise ValueError(f"{path}: baselines that learn nothing have no checkpoint")
    data = None if scenes is None else DataSet.open(scenes)
    if data is not None:
        known = set(data.scan_ids())
        for scan in features:
            if scan.scan_id not in known:
                raise DataSetError(f"{scenes}: has no scan {scan.scan_id}; is it the data set of these features?")
    return TrivialMethod(features.scans, only, data)
