"""What methods that learn nothing reach: if one of them is near 100 %, the data have a shortcut.

Color histograms compare colors, plan correlation lays a cloud's walls on a plan at any yaw and shift, object-type sets
compare the types that are there (by the data's own labels, which no method gets) with the types that a text names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from crossover_models.dataset.scene import PlanDrawing, Scene
from crossover_models.evaluation.tasks.ranking import first_ranks, recalls

CUTS = (1, 5, 10)
PARTS = ("views", "depth", "cloud", "meshes", "plans", "drive")
YAWS = 24
_BINS = 6
_CELL_M, _CELLS = 0.15, 96
_BAND_M = (0.4, 1.9)
_DARK = 110

Array = NDArray[np.float32]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TrivialFeatures:
    """Of one scan; None or empty where a modality is missing.

    Attributes:
        colors: item -> histogram; items are "I", "I1" (one view), "D" (a drive's frames), "D1", "P" and "M".
        walls: (YAWS, H, W // 2 + 1) spectra of the cloud's wall raster at every yaw, unit norm.
        plan: (H, W // 2 + 1) spectrum of the first drawing's ink, unit norm.
        types: item -> how many objects of each type: "I", "I1", "P", "M" by labels, "R" by what the text names.
    """

    scan_id: str
    colors: dict[str, Array]
    walls: NDArray[np.complex64] | None
    plan: NDArray[np.complex64] | None
    types: dict[str, Counter[str]]


def color_histogram(colors: NDArray[np.uint8]) -> Array:
    """Square roots of the shares of colors (..., 3) in a grid of RGB: dot products are Bhattacharyya coefficients."""
    cells = colors.reshape(-1, 3).astype(np.int64) * _BINS // 256
    flat = (cells[:, 0] * _BINS + cells[:, 1]) * _BINS + cells[:, 2]
    counts = np.bincount(flat, minlength=_BINS**3) / max(1, len(flat))
    return np.sqrt(counts).astype(np.float32)


def layout_spectrum(points: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> NDArray[np.complex64]:
    """Spectrum of a raster of points (N, 2), metres, N >= 1, about their middle: blurred a little, mean 0, norm 1."""
    import cv2

    points = _centered(points)
    half = _CELLS * _CELL_M / 2
    grid = np.histogram2d(
        points[:, 1], points[:, 0], bins=_CELLS, range=[[-half, half], [-half, half]], weights=weights
    )[0]
    # A wall is a wall, however many points lie on it.
    most = float(np.quantile(grid[grid > 0], 0.5)) if (grid > 0).any() else 1.0
    smooth = np.asarray(cv2.GaussianBlur(np.minimum(grid, most), (0, 0), 0.8), dtype=np.float64)
    smooth -= smooth.mean()
    norm = float(np.linalg.norm(smooth))
    return np.asarray(np.fft.rfft2(smooth / max(norm, 1e-9)), dtype=np.complex64)


def _centered(points: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.quantile(points, [0.01, 0.99], axis=0)
    return np.asarray(points - (low + high) / 2, dtype=np.float64)


def wall_spectra(scene: Scene) -> NDArray[np.complex64] | None:
    """Of the scene's cloud, see :func:`cloud_spectra`."""
    return None if scene.cloud is None else cloud_spectra(scene.cloud.points)


def cloud_spectra(points: NDArray[np.float32]) -> NDArray[np.complex64] | None:
    """Of points (N, 3), z = 0 on the floor, at :data:`YAWS` yaws; None with under 20 at wall height."""
    xyz = points.astype(np.float64)
    band = xyz[(xyz[:, 2] > _BAND_M[0]) & (xyz[:, 2] < _BAND_M[1])]
    if len(band) < 20:
        return None
    out = []
    for k in range(YAWS):
        angle = 2 * np.pi * k / YAWS
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        out.append(layout_spectrum(band[:, :2] @ turn.T))
    return np.stack(out)


def ink_spectrum(plan: PlanDrawing) -> NDArray[np.complex64]:
    """Of what is drawn: what is darker than its paper."""
    grey = plan.image if plan.image.ndim == 2 else plan.image.mean(axis=2)
    paper = float(np.median(grey))
    ink = np.abs(grey.astype(np.float64) - paper) > _DARK if plan.style != "occupancy" else grey < _DARK
    if not ink.any():
        ink = np.abs(grey.astype(np.float64) - paper) > 20
    rows, cols = np.nonzero(ink) if ink.any() else (np.zeros(1, int), np.zeros(1, int))
    return layout_spectrum(np.stack([cols, rows], axis=1) * plan.resolution_m)


def trivial_features(scene: Scene) -> TrivialFeatures:
    """Everything the baselines compare, of one scan read with :data:`PARTS`."""
    colors: dict[str, Array] = {}
    for item, views in (("I", scene.views), ("D", scene.drive.views if scene.drive is not None else ())):
        if views:
            histograms = [color_histogram(view.image) for view in views]
            colors[item], colors[f"{item}1"] = np.mean(histograms, axis=0), histograms[0]
    cloud = scene.cloud
    if cloud is not None and cloud.colors is not None:
        kept = cloud.colors if cloud.colored is None else cloud.colors[cloud.colored]
        if len(kept):
            colors["P"] = color_histogram(kept)
    paints = [o.cad.face_colors for o in scene.objects if o.cad is not None and o.cad.face_colors is not None]
    if paints:
        colors["M"] = color_histogram(np.concatenate(paints))
    return TrivialFeatures(
        scene.scan_id,
        colors,
        wall_spectra(scene),
        ink_spectrum(scene.plans[0]) if scene.plans else None,
        _types(scene),
    )


def _types(scene: Scene) -> dict[str, Counter[str]]:
    names = [o.category for o in scene.objects]
    out: dict[str, Counter[str]] = {}

    def of(indices: set[int]) -> Counter[str]:
        return Counter(names[i] for i in indices if 0 <= i < len(names))

    labeled = [v.instance for v in scene.views if v.instance is not None]
    if labeled:
        out["I"] = of({int(i) for picture in labeled for i in np.unique(picture)})
        out["I1"] = of({int(i) for i in np.unique(labeled[0])})
    if scene.cloud is not None and scene.cloud.instance is not None:
        out["P"] = of({int(i) for i in np.unique(scene.cloud.instance)})
    if any(o.cad is not None for o in scene.objects):
        out["M"] = Counter(o.category for o in scene.objects if o.cad is not None)
    if scene.description or scene.referrals:
        text = " ".join((*scene.description, *(r.utterance for r in scene.referrals))).lower()
        found = Counter({name: len(re.findall(rf"\b{re.escape(name)}s?\b", text)) for name in _known(scene)})
        out["R"] = +found
    return out


def _known(scene: Scene) -> set[str]:
    """Types that a text may name; a room's own are enough, for nothing else can be in its text."""
    return {o.category for o in scene.objects if o.category}


def trivial_recalls(
    features: Sequence[TrivialFeatures], progress: Progress | None = None
) -> dict[str, dict[str, float]]:
    """Recall@1, 5 and 10 of each baseline and pair among the scans given, with ``n`` queries and ``chance``.

    Keys are ``"color I-P"``, ``"plan P-F"``, ``"types I-R"`` and so on.
    """
    out: dict[str, dict[str, float]] = {}
    for a, b in (("I", "P"), ("I1", "P"), ("M", "I"), ("M", "P"), ("D", "I"), ("D1", "I"), ("D1", "P")):
        rows = [f for f in features if a in f.colors and b in f.colors]
        if len(rows) > 1:
            similarity = np.stack([f.colors[a] for f in rows]) @ np.stack([f.colors[b] for f in rows]).T
            out[f"color {a}-{b}"] = _figures(similarity)
    pairs = [f for f in features if f.walls is not None and f.plan is not None]
    if len(pairs) > 1:
        out["plan P-F"] = _figures(plan_similarity(pairs, progress))
    for a, b in (("I", "R"), ("I1", "R"), ("P", "R"), ("M", "R")):
        rows = [f for f in features if f.types.get(a) and f.types.get(b)]
        if len(rows) > 1:
            out[f"types {a}-{b}"] = _figures(type_similarity([f.types[a] for f in rows], [f.types[b] for f in rows]))
    return out


def plan_similarity(features: Sequence[TrivialFeatures], progress: Progress | None = None) -> Array:
    """(N, N) largest correlation of each cloud (row) with each plan (column) over yaw and shift."""
    number = len(features)
    plans = np.stack([f.plan for f in features if f.plan is not None])
    best = np.full((number, number), -np.inf, dtype=np.float32)
    for i, feature in enumerate(features):
        assert feature.walls is not None
        best[i] = best_correlations(feature.walls, plans)
        if progress is not None:
            progress(i + 1, number)
    return best


def best_correlations(walls: NDArray[np.complex64], plans: NDArray[np.complex64]) -> Array:
    """(N,) largest correlation of one cloud's spectra (yaws, H, W // 2 + 1) with each plan's (N, H, W // 2 + 1)."""
    best = np.full(len(plans), -np.inf, dtype=np.float32)
    for spectrum in walls:
        correlation = fft.irfft2(plans * np.conj(spectrum), s=(_CELLS, _CELLS))
        best = np.maximum(best, correlation.max(axis=(1, 2)))
    return best


def type_similarity(queries: Sequence[Counter[str]], gallery: Sequence[Counter[str]]) -> Array:
    """(N, M) cosines of type counts, rare types weighing more."""
    names = sorted({name for counts in (*queries, *gallery) for name in counts})
    table = [np.array([[min(c[n], 4) for n in names] for c in side], dtype=np.float64) for side in (queries, gallery)]
    rare = np.log((1.0 + len(gallery)) / (1.0 + (table[1] > 0).sum(axis=0))) + 1e-3
    rows = [side * rare / np.maximum(np.linalg.norm(side * rare, axis=1, keepdims=True), 1e-9) for side in table]
    return np.asarray(rows[0] @ rows[1].T, dtype=np.float32)


def _figures(similarity: Array) -> dict[str, float]:
    ranks = first_ranks(similarity, np.eye(len(similarity), dtype=np.bool_))
    found = {name: float(value) for name, value in recalls(ranks, CUTS).items() if value is not None}
    return {**found, "n": float(len(ranks)), "chance": 1.0 / len(ranks)}
