"""Training of the shape encoder: categories of CAD models and of objects' clouds, and which cloud is of which model."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from crossover_models.dataset.features import Array, FeaturesError
from crossover_models.encoders.shapes import SHAPE_POINTS, ShapeEncoder, object_points, spread
from crossover_models.training.feature_set import FeatureSet
from crossover_models.training.loss import Temperature

_BANK_POINTS = 1024
_SMOOTHING = 0.1
_CONTRAST = 0.5
_LEAST_KEPT = 0.5
"""Share of an object that a cut leaves at least."""
_FEWEST = 24
"""Different points of a thinned object."""
_TILT, _STRETCH, _JITTER = 0.05, 0.12, 0.015
_EVALUATED_AT_ONCE = 128


@dataclass(frozen=True)
class ShapeSet:
    """Objects of a split that have a model or enough points.

    Attributes:
        points: (M, 1024, 3) of models and clouds, centered, greatest radius 1.
        cad, cloud: (I,) row of ``points``, -1 where the object has none.
        labels: (I,) index into the categories, -1 for one that is not among them.
        model_ids: (I,) equal for objects of the same model; objects without one have an id of their own.
        scans: (I,) index of the scan.
        fingerprints: SHA-256 of every model, to tell unseen ones.
    """

    points: Array
    cad: NDArray[np.int64]
    cloud: NDArray[np.int64]
    labels: NDArray[np.int64]
    model_ids: NDArray[np.int64]
    scans: NDArray[np.int64]
    fingerprints: frozenset[bytes]

    def __len__(self) -> int:
        return len(self.labels)


def known_categories(features: FeatureSet) -> tuple[str, ...]:
    """Categories of a split's objects, sorted."""
    return tuple(sorted({name for scan in features for name in scan.object_categories if name}))


def shape_set(features: FeatureSet, categories: Sequence[str], seen: Collection[bytes] = ()) -> ShapeSet:
    """Collect a split's shapes; objects whose model is among ``seen`` (fingerprints of another split) are left out.

    Raises:
        FeaturesError: no object has a model or enough points.
    """
    index = {name: i for i, name in enumerate(categories)}
    bank: list[Array] = []
    rows: list[tuple[int, int, int, int, int]] = []
    ids: dict[bytes, int] = {}
    fingerprints: set[bytes] = set()
    for number, scan in enumerate(features):
        clouds, present = object_points(scan, _BANK_POINTS)
        prints = [hashlib.sha256(model.tobytes()).digest() for model in scan.cad_points]
        fingerprints.update(prints)
        first = len(bank)
        bank += [spread(model, _BANK_POINTS) for model in scan.cad_points]
        for i, name in enumerate(scan.object_categories):
            row = int(scan.object_cad[i])
            if row >= 0 and prints[row] in seen:
                continue
            cad, cloud = (first + row if row >= 0 else -1), -1
            if present[i]:
                cloud = len(bank)
                bank.append(clouds[i])
            if cad < 0 and cloud < 0:
                continue
            same = prints[row] if row >= 0 else f"{number} {i}".encode()
            rows.append((cad, cloud, index.get(name, -1), ids.setdefault(same, len(ids)), number))
    if not rows:
        raise FeaturesError(f"{features.source}: no object has a CAD model or enough points of the cloud")
    cads, of_clouds, labels, model_ids, scans = np.array(rows, dtype=np.int64).T
    return ShapeSet(np.stack(bank), cads, of_clouds, labels, model_ids, scans, frozenset(fingerprints))


def augmented(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Shapes (B, P, 3) as they may be seen elsewhere -> (B, count, 3).

    Each is cut by a half-space, thinned, turned about z, tilted a little, stretched and made noisy.
    """
    batch, number, _ = points.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(batch, *shape, generator=generator)

    # What is left of a random plane; objects are seen from the side more often than from above.
    normal = torch.randn(batch, 3, generator=generator) * torch.tensor([1.0, 1.0, 0.5])
    order = (points @ normal[..., None]).squeeze(2).argsort(dim=1)
    kept = (uniform(_LEAST_KEPT, 1.5).clamp(max=1.0) * number).long().clamp(min=1)
    places = (uniform(0.0, 1.0, count) * kept[:, None]).long().clamp(max=number - 1)
    # Repeating the first few of them is a thinner cloud.
    different = torch.exp(uniform(float(np.log(_FEWEST)), float(np.log(2 * count)))).long()
    places = places.gather(1, torch.arange(count) % different[:, None].clamp(max=count))
    chosen = points.gather(1, order.gather(1, places)[..., None].expand(-1, -1, 3))
    angle, zero, one = uniform(0.0, 2 * torch.pi), torch.zeros(batch), torch.ones(batch)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).reshape(-1, 3, 3)
    tilt = torch.eye(3) + _TILT * torch.randn(batch, 3, 3, generator=generator)
    stretch = uniform(1.0 - _STRETCH, 1.0 + _STRETCH, 1, 3)
    jitter = _JITTER * torch.randn(batch, count, 3, generator=generator)
    return (chosen * stretch) @ (tilt @ turn).transpose(1, 2) + jitter


class ShapeClassifier(nn.Module):
    """The encoder with what only its training needs: a category head and a temperature."""

    def __init__(self, categories: int) -> None:
        super().__init__()
        self.encoder = ShapeEncoder()
        self.dropout = nn.Dropout(0.3)
        self.classes = nn.Linear(self.encoder.dim, categories)
        self.temperature = Temperature()

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P, 3) -> (B, 256) shapes, (B, C) logits."""
        shapes = self.encoder(points)
        return shapes, self.classes(self.dropout(shapes))


class ShapeStage:
    """Cross-entropy of two views of each object, its model and its cloud where it has both, and their contrast.

    The contrast keeps what tells objects of one category apart, which a classifier may throw away.
    """

    name = "shapes"

    def __init__(self, train: ShapeSet, validation: ShapeSet, categories: int) -> None:
        self._train, self._validation = train, validation
        self.network = ShapeClassifier(categories)
        self.module: nn.Module = self.network

    def rows(self) -> int:
        """Number of training objects."""
        return len(self._train)

    def loss(self, rows: Sequence[int], rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """Mean over the objects."""
        data, chosen = self._train, np.asarray(rows)
        device = self.network.classes.weight.device
        cad, cloud = data.cad[chosen], data.cloud[chosen]
        views = (np.where(cad >= 0, cad, cloud), np.where(cloud >= 0, cloud, cad))
        seen = [augmented(torch.from_numpy(data.points[view]), SHAPE_POINTS, generator) for view in views]
        shapes, logits = self.network(torch.cat(seen).to(device))
        labels = torch.from_numpy(data.labels[chosen]).to(device)
        classified = functional.cross_entropy(
            logits.float(), labels.repeat(2), ignore_index=-1, label_smoothing=_SMOOTHING
        )
        ids = torch.from_numpy(data.model_ids[chosen]).to(device)
        a, b = functional.normalize(shapes.float(), dim=1).chunk(2)
        return classified + _CONTRAST * self._contrast(a, b, ids)

    def _contrast(self, a: Tensor, b: Tensor, ids: Tensor) -> Tensor:
        """Symmetric InfoNCE in which objects of the same model are no negatives of each other."""
        diagonal = torch.eye(len(a), dtype=torch.bool, device=a.device)
        same = (ids[:, None] == ids[None, :]) & ~diagonal
        logits = (self.network.temperature() * a @ b.T).masked_fill(same, -torch.inf)
        own = torch.arange(len(a), device=a.device)
        return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2

    def validate(self) -> dict[str, float]:
        """See :func:`shape_figures`; the score is the mean of both accuracies."""
        figures = shape_figures(self.network, self._validation)
        there = [figures[name] for name in ("cad_top1", "cloud_top1") if name in figures]
        return {"score": float(np.mean(there)), **figures}


def shape_figures(network: ShapeClassifier, data: ShapeSet) -> dict[str, float]:
    """How well shapes are told apart.

    Returns:
        "cad_top1", "cloud_top1": share of models (each once) and of clouds whose category is right; a category
        unknown in training is wrong. "match_r1": share of clouds to which, of the models of its scan's objects, the
        own one is closest, untrained for it beyond the contrast, with "match_chance". What no object allows is absent.
        "models", "clouds", "matched": how many.
    """
    needed = np.unique(np.concatenate([data.cad, data.cloud]))
    needed = needed[needed >= 0]
    shapes = np.zeros((len(data.points), network.encoder.dim), dtype=np.float32)
    predicted = np.full(len(data.points), -2)
    network.eval()
    device = network.classes.weight.device
    with torch.inference_mode():
        for start in range(0, len(needed), _EVALUATED_AT_ONCE):
            some = needed[start : start + _EVALUATED_AT_ONCE]
            points = np.stack([spread(p, SHAPE_POINTS) for p in data.points[some]])
            features, logits = network(torch.from_numpy(points).to(device))
            shapes[some] = functional.normalize(features.float(), dim=1).cpu().numpy()
            predicted[some] = logits.argmax(dim=1).cpu().numpy()
    figures: dict[str, float] = {}
    with_cad = np.flatnonzero(data.cad >= 0)
    _, once = np.unique(data.model_ids[with_cad], return_index=True)
    for name, count, rows, of in (
        ("cad_top1", "models", with_cad[once], data.cad),
        ("cloud_top1", "clouds", np.flatnonzero(data.cloud >= 0), data.cloud),
    ):
        figures[count] = float(len(rows))
        if len(rows):
            figures[name] = float((predicted[of[rows]] == data.labels[rows]).mean())
    return {**figures, **_matches(shapes, data)}


def _matches(shapes: Array, data: ShapeSet) -> dict[str, float]:
    right, chance = [], []
    both = (data.cad >= 0) & (data.cloud >= 0)
    for scan in np.unique(data.scans[both]):
        rows = np.flatnonzero(both & (data.scans == scan))
        ids, first = np.unique(data.model_ids[rows], return_index=True)
        if len(ids) < 2:
            continue
        best = ids[(shapes[data.cloud[rows]] @ shapes[data.cad[rows[first]]].T).argmax(axis=1)]
        right += (best == data.model_ids[rows]).tolist()
        chance += [1.0 / len(ids)] * len(rows)
    if not right:
        return {"matched": 0.0}
    return {"matched": float(len(right)), "match_r1": float(np.mean(right)), "match_chance": float(np.mean(chance))}
