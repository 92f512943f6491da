"""Batches for the network with explicit sets: all of each scan, or a random part as a robot would see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossover_models.dataset.features import SceneFeatures
from crossover_models.sets.inputs import (
    CloudInput,
    MeshInput,
    PlanInput,
    ViewsInput,
    cloud_input,
    mesh_input,
    mesh_raster,
    padded,
    posed_points,
    stacked,
    views_input,
)
from crossover_models.sets.palette import COLORS
from crossover_models.sets.raster import BANDS_M, CELLS, PLAN_CHANNELS, upright_heading
from crossover_models.sets.settings import SetsSettings

MOST_REFERRALS = 10
MOST_FRAMES = 10
_KEPT = 0.9
"""Share of items that are not dropped in training."""
_COLORED = 0.7
_PARTIAL = 0.5
_DRIVE_CLOUD = 0.4
_UNPOSED = 0.3
"""Share of pictures whose poses nobody kept."""
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Sources:
    """What does not change from step to step: sizes, categories, and the frozen shapes of each scan's CAD models."""

    settings: SetsSettings
    categories: tuple[str, ...]
    shapes: dict[str, Array]
    _headings: dict[int, float] = field(default_factory=dict)
    _rasters: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    def heading(self, points: Array) -> float:
        """Heading of the walls in a whole cloud, found once."""
        if id(points) not in self._headings:
            self._headings[id(points)] = upright_heading(points)
        return self._headings[id(points)]

    def mesh_raster(self, scan: SceneFeatures) -> NDArray[np.uint8] | None:
        """Raster of all CAD models of a scan, made once."""
        if id(scan) not in self._rasters:
            rows = np.flatnonzero(scan.object_cad >= 0).tolist()
            if not rows:
                return None
            self._rasters[id(scan)] = mesh_raster(np.concatenate([posed_points(scan, i) for i in rows]))
        return self._rasters[id(scan)]

    @property
    def index(self) -> dict[str, int]:
        """Category -> its number."""
        return {name: i for i, name in enumerate(self.categories)}


class Augment:
    """Random parts of a scan; every draw comes from one generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def keeps(self) -> bool:
        """Modality dropout."""
        return bool(self.rng.random() < _KEPT)

    def row(self, count: int) -> int | None:
        """Any of so many; None without any, or when dropped."""
        return int(self.rng.integers(count)) if count and self.keeps() else None

    def some(self, count: int) -> NDArray[np.int64]:
        """Any 1 to ``count`` of so many, in order."""
        chosen = self.rng.permutation(count)[: int(self.rng.integers(1, count + 1))] if count else np.zeros(0, int)
        return np.sort(chosen).astype(np.int64)

    def contiguous(self, count: int) -> NDArray[np.int64]:
        """1 to 10 that follow each other."""
        if not count:
            return np.zeros(0, dtype=np.int64)
        length = int(self.rng.integers(1, min(MOST_FRAMES, count) + 1))
        return np.arange(length, dtype=np.int64) + int(self.rng.integers(0, count - length + 1))

    def part(self, points: Array) -> NDArray[np.bool_]:
        """Half of the time what lies on one side of an upright plane: a robot seldom sees the whole room."""
        if not len(points) or self.rng.random() >= _PARTIAL:
            return np.ones(len(points), dtype=np.bool_)
        direction = self.rng.uniform(0.0, 2.0 * np.pi)
        along = points[:, 0] * np.cos(direction) + points[:, 1] * np.sin(direction)
        return np.asarray(along <= np.quantile(along, self.rng.uniform(0.5, 1.0)), dtype=np.bool_)

    def noisy(self, points: Array) -> Array:
        """Another size by up to 3 % and 1 cm of noise."""
        return np.asarray(
            points * self.rng.uniform(0.97, 1.03) + self.rng.normal(0, 0.01, points.shape), dtype=np.float32
        )

    def unposed(self, seen: ViewsInput | None) -> ViewsInput | None:
        """The same pictures, sometimes without what their poses say."""
        if seen is None or self.rng.random() >= _UNPOSED:
            return seen
        return replace(seen, geometry=np.zeros_like(seen.geometry))

    def turn(self) -> float:
        """A quarter turn, which the alignment with the walls leaves open, and what it gets wrong, radians."""
        return float(self.rng.integers(4) * np.pi / 2 + self.rng.normal(0.0, np.deg2rad(3.0)))

    def turned(self, raster: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A quarter turn and a shift of up to 3 cells."""
        out = np.rot90(raster, int(self.rng.integers(4)), axes=(1, 2))
        dy, dx = (int(v) for v in self.rng.integers(-3, 4, 2))
        padded_out = np.pad(out, ((0, 0), (3, 3), (3, 3)))
        return np.ascontiguousarray(padded_out[:, 3 + dy : 3 + dy + CELLS, 3 + dx : 3 + dx + CELLS])


def survey(scan: SceneFeatures, draw: Augment | None) -> ViewsInput | None:
    """Pictures of the map."""
    if draw is None:
        return views_input(scan, np.arange(len(scan.views)), False)
    return draw.unposed(views_input(scan, draw.some(len(scan.views)), False)) if draw.keeps() else None


def drive(scan: SceneFeatures, draw: Augment | None, frames: int = MOST_FRAMES) -> ViewsInput | None:
    """The first ``frames`` pictures of a robot's drive, or any that follow each other."""
    if draw is None:
        return views_input(scan, np.arange(min(frames, len(scan.drive_views))), True)
    return draw.unposed(views_input(scan, draw.contiguous(len(scan.drive_views)), True)) if draw.keeps() else None


def cloud(scan: SceneFeatures, sources: Sources, draw: Augment | None, driven: bool = False) -> CloudInput | None:
    """The scan's cloud, or with ``driven`` that of the drive; in training a part of either."""
    backbone = sources.settings.backbone
    if draw is None:
        if driven:
            return cloud_input(scan.drive_points, None, None, backbone)
        return cloud_input(scan.points, _colors(scan), _labels(scan, sources), backbone)
    if not draw.keeps():
        return None
    if len(scan.drive_points) and draw.rng.random() < _DRIVE_CLOUD:
        kept = draw.part(scan.drive_points)
        points = draw.noisy(scan.drive_points[kept])
        return cloud_input(points, None, None, backbone, draw.turn(), sources.heading(scan.drive_points))
    if not len(scan.points):
        return None
    kept = draw.part(scan.points)
    colors = _colors(scan) if draw.rng.random() < _COLORED else None
    labels = _labels(scan, sources)[kept]
    points = draw.noisy(scan.points[kept])
    seen = None if colors is None else colors[kept]
    return cloud_input(points, seen, labels, backbone, draw.turn(), sources.heading(scan.points))


def _colors(scan: SceneFeatures) -> NDArray[np.uint8] | None:
    return scan.colors if scan.colored.any() else None


def _labels(scan: SceneFeatures, sources: Sources) -> NDArray[np.int64]:
    names = np.array([sources.index.get(name, -1) for name in scan.object_categories] + [-1], dtype=np.int64)
    return names[scan.instance]


def mesh(scan: SceneFeatures, sources: Sources, draw: Augment | None) -> MeshInput | None:
    """CAD models; in training each is left out one time in seven."""
    shapes = sources.shapes[scan.scan_id]
    if draw is None:
        return mesh_input(scan, shapes, sources.index, raster=sources.mesh_raster(scan))
    kept = draw.rng.random(len(scan.object_ids)) < 0.85
    return mesh_input(scan, shapes, sources.index, kept, sources.mesh_raster(scan)) if draw.keeps() else None


def plan(scan: SceneFeatures, draw: Augment | None) -> PlanInput | None:
    """The first floor plan, or any of them."""
    if not len(scan.plans) or (draw is not None and not draw.keeps()):
        return None
    row = 0 if draw is None else int(draw.rng.integers(len(scan.plans)))
    raster = scan.plan_rasters[row]
    return PlanInput(scan.plans[row], raster if draw is None else draw.turned(raster))


def sentences(scan: SceneFeatures, draw: Augment | None) -> Array | None:
    """The description, and up to 10 referrals; in training any of them."""
    said = np.concatenate([scan.texts[1:], scan.referrals[:MOST_REFERRALS]])
    if draw is None:
        return said if len(said) else None
    said = np.concatenate([scan.texts[1:], scan.referrals])
    if not len(said) or not draw.keeps():
        return None
    return said[draw.some(len(said))[: len(scan.texts) - 1 + MOST_REFERRALS]]


def views_tensors(rows: Sequence[ViewsInput | None], widths: tuple[int, int]) -> tuple[Tensor, ...]:
    """Features, evidence, palettes, geometry and mask as :meth:`SetsNetwork.images` takes them."""
    features, mask = padded([None if r is None else r.features for r in rows], widths[0])
    evidence, _ = padded([None if r is None else r.evidence for r in rows], widths[1])
    colors, _ = padded([None if r is None else r.colors for r in rows], COLORS)
    geometry = torch.from_numpy(np.stack([np.zeros(4, np.float32) if r is None else r.geometry for r in rows]))
    return features, evidence, colors, geometry, mask


def cloud_tensors(rows: Sequence[CloudInput], draw: Augment | None) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Voxels, features, palettes, rasters as :meth:`SetsNetwork.points` takes them, and labels (N,); none is absent."""
    coordinates = np.concatenate(
        [np.pad(r.voxels.coordinates, ((0, 0), (1, 0)), constant_values=i) for i, r in enumerate(rows)]
    )
    rasters = [r.raster if draw is None else draw.turned(r.raster) for r in rows]
    return (
        torch.from_numpy(coordinates),
        torch.from_numpy(np.concatenate([r.voxels.features for r in rows])),
        torch.from_numpy(np.stack([r.colors for r in rows])),
        stacked(rasters),
        torch.from_numpy(np.concatenate([r.labels for r in rows])),
    )


def mesh_tensors(
    rows: Sequence[MeshInput | None], width: int, draw: Augment | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Shapes, mask, rasters as :meth:`SetsNetwork.mesh` takes them, and labels (B, K)."""
    shapes, mask = padded([None if r is None else r.shapes for r in rows], width)
    labels = torch.full(mask.shape, -1, dtype=torch.int64)
    for i, r in enumerate(rows):
        if r is not None:
            labels[i, : len(r.labels)] = torch.from_numpy(r.labels)
    empty = np.zeros((len(BANDS_M) - 1, CELLS, CELLS), np.uint8)
    rasters = [empty if r is None else (r.raster if draw is None else draw.turned(r.raster)) for r in rows]
    return shapes, mask, stacked(rasters), labels


def plan_tensors(rows: Sequence[PlanInput | None], width: int) -> tuple[Tensor, Tensor]:
    """Features and rasters as :meth:`SetsNetwork.floor_plan` takes them; zero for absent ones."""
    features = torch.from_numpy(np.stack([np.zeros(width, np.float32) if r is None else r.features for r in rows]))
    empty = np.zeros((PLAN_CHANNELS, CELLS, CELLS), np.uint8)
    return features, stacked([empty if r is None else r.raster for r in rows])
