"""LivingScenes (Zhu et al., arXiv 2312.09138), small and ours: an object is found again in a later scan by its shape.

The published system learns SO(3)-equivariant shape codes and matches their invariant part, in one modality and without
categories. Gravity is known here, so a code invariant to turns about z will do: frozen shapes of an object's points at
several turns, averaged, and its size, through a head that learned to tell the objects of a room apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crossover_models.dataset.features import Array, FeaturesError, SceneFeatures
from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.heads import ProjectionHead
from crossover_models.encoders.shapes import (
    LEAST_POINTS,
    SHAPE_DIM,
    SHAPE_POINTS,
    ShapeEncoder,
    frozen,
    own_points,
    spread,
)
from crossover_models.evaluation.peers.aligned_file import fill_peer, read_peer
from crossover_models.evaluation.peers.objectwise import Embedded, ObjectwiseMethod
from crossover_models.evaluation.tasks.instances import SceneObjects, temporal_instances
from crossover_models.training.distributed import gather
from crossover_models.training.feature_set import FeatureSet
from crossover_models.training.loss import Temperature, pair_loss
from crossover_models.training.shapes import augmented

KIND, NAME = "living_scenes", "LivingScenes (small, ours)"
TURNS, SIZES, DIM = 4, 4, 128
WIDTHS: Mapping[str, int] = {"point": SHAPE_DIM + SIZES}
_HIDDEN = 512
_SIZE_WEIGHT = 2.0
_LEAST_M = 0.02
_AT_ONCE = 64
_STRETCH = 0.1
"""By how much sizes of the same object may differ from scan to scan."""


def sizes(points: Array) -> Array:
    """(4,) of an object's points (n, 3), the same however it is turned about z: logs of lengths in metres.

    Spread along both main directions seen from above, height, and height of the middle above the lowest point.
    """
    p = points.astype(np.float64)
    across = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(p[:, :2].T)), 0.0))
    low, high = p[:, 2].min(), p[:, 2].max()
    lengths = np.array([across[1], across[0], high - low, p[:, 2].mean() - low])
    return np.asarray(_SIZE_WEIGHT * np.log(np.maximum(lengths, _LEAST_M)), dtype=np.float32)


def descriptors(points: Array, size: Array, encoder: ShapeEncoder) -> Array:
    """(B, P, 3) of objects and (B, 4) of their sizes -> (B, 260): mean shape over :data:`TURNS` turns, and the size."""
    out = [np.zeros((0, WIDTHS["point"]), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(points), _AT_ONCE):
            x, y, z = torch.from_numpy(points[start : start + _AT_ONCE]).unbind(dim=2)
            turns = [(x, y), (-y, x), (-x, -y), (y, -x)]
            shapes = torch.stack([encoder(torch.stack([a, b, z], dim=2)) for a, b in turns]).mean(dim=0)
            out.append(np.concatenate([shapes.float().numpy(), size[start : start + _AT_ONCE]], axis=1))
    return np.concatenate(out)


def described(scan: SceneFeatures, encoder: ShapeEncoder) -> tuple[Array, NDArray[np.bool_]]:
    """(K, 260) of a scan's objects, zero where absent; (K,) which have points."""
    points = own_points(scan)
    present = np.array([len(own) >= LEAST_POINTS for own in points], np.bool_)
    out = np.zeros((len(points), WIDTHS["point"]), np.float32)
    kept = [own for own in points if len(own) >= LEAST_POINTS]
    if kept:
        shapes = np.stack([spread(own - own.mean(axis=0), SHAPE_POINTS) for own in kept])
        out[present] = descriptors(shapes, np.stack([sizes(own) for own in kept]), encoder)
    return out, present


class LivingScenesNetwork(nn.Module):
    """State: ``head.*`` and a temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.1)
        self.head = ProjectionHead(WIDTHS["point"], _HIDDEN, DIM)
        self.temperature = Temperature()

    def forward(self, features: Tensor) -> Tensor:
        """(B, 260) -> (B, 128) unit vectors."""
        out: Tensor = self.head(self.dropout(features))
        return out


class LivingScenesStage:
    """An object and itself in the room's other scan, or where there is none as it might be scanned again.

    Raises:
        FeaturesError: no training scan knows its objects' points.
    """

    name = KIND

    def __init__(
        self, train: Sequence[SceneFeatures], val: Sequence[SceneFeatures], shapes: ShapeEncoder, seed: int
    ) -> None:
        encoder = frozen(shapes)
        self.network = LivingScenesNetwork()
        self.module: nn.Module = self.network
        self._val, self._val_found = val, [described(scan, encoder) for scan in val]
        found = [described(scan, encoder) for scan in train]
        if not any(present.any() for _, present in found):
            raise FeaturesError("living-scenes: no training scan knows which points of its cloud are of which object")
        generator = torch.Generator().manual_seed(seed)
        self._first = [features[present] for features, present in found]
        again = [_again(scan, encoder, generator) for scan in train]
        for row, other in _partners(train):
            ids = {name: i for i, name in enumerate(train[other].object_ids)}
            features, present = found[other]
            here = np.flatnonzero(found[row][1])
            for place, index in enumerate(here):
                there = ids.get(train[row].object_ids[index], -1)
                if there >= 0 and present[there]:
                    again[row][place] = features[there]
        self._again = again

    def rows(self) -> int:
        """Number of training scans."""
        return len(self._first)

    def loss(self, rows: Sequence[int], rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """Mean over the objects of these scans, all of them negatives of each other."""
        device = self.network.temperature.log_scale.device
        pair = []
        for table in (self._first, self._again):
            features = np.concatenate([table[row] for row in rows])
            stretch = np.log1p(rng.uniform(-_STRETCH, _STRETCH, (len(features), SIZES)))
            features[:, SHAPE_DIM:] += _SIZE_WEIGHT * stretch
            pair.append(gather(self.network(torch.from_numpy(features).to(device)).float()))
        there = torch.ones(len(pair[0]), dtype=torch.bool, device=device)
        return pair_loss(pair[0], pair[1], there, there, self.network.temperature())

    def validate(self) -> dict[str, float]:
        """Share of the objects of reference scans that are found in their rescans; that is the score, 0 without any."""
        pairs = _partners(self._val, rescans=True)
        objects = {}
        for row in {row for pair in pairs for row in pair}:
            vectors, present = _embedded(self.network, self._val_found[row])
            objects[row] = SceneObjects(self._val[row].object_ids, vectors, present)
        figures = temporal_instances([(objects[a], objects[b]) for a, b in pairs], [frozenset()] * len(pairs))
        found = figures["all"]
        return {"score": 0.0 if found is None else found, "P-P_r1": 0.0 if found is None else found}


def _again(scan: SceneFeatures, encoder: ShapeEncoder, generator: torch.Generator) -> Array:
    """(O, 260) of the objects with points as another scan might show them."""
    kept = [own for own in own_points(scan) if len(own) >= LEAST_POINTS]
    if not kept:
        return np.zeros((0, WIDTHS["point"]), np.float32)
    dense = np.stack([spread(_unit(own), 2 * SHAPE_POINTS) for own in kept])
    seen = augmented(torch.from_numpy(dense), SHAPE_POINTS, generator).numpy()
    return descriptors(seen, np.stack([sizes(own) for own in kept]), encoder)


def _unit(points: Array) -> Array:
    centered = points - points.mean(axis=0)
    return np.asarray(centered / max(float(np.linalg.norm(centered, axis=1).max()), 1e-9), dtype=np.float32)


def _partners(scans: Sequence[SceneFeatures], rescans: bool = False) -> list[tuple[int, int]]:
    """Rows of a scan and of its rescan; both ways unless only (reference, rescan) are asked for."""
    ids = {scan.scan_id: row for row, scan in enumerate(scans)}
    pairs = [(ids[scan.reference_id], row) for row, scan in enumerate(scans) if scan.reference_id in ids]
    return pairs if rescans else pairs + [(b, a) for a, b in pairs]


def _embedded(network: LivingScenesNetwork, found: tuple[Array, NDArray[np.bool_]]) -> Embedded:
    features, present = found
    device = network.temperature.log_scale.device
    with torch.inference_mode():
        return network(torch.from_numpy(features).to(device)).float().cpu().numpy(), present


def open_living_scenes(path: Path | None, features: FeatureSet, scenes: Path | None = None) -> ObjectwiseMethod:
    """A checkpoint of ``crossover train living-scenes`` over the scans of a split; it knows points alone.

    Raises:
        EncoderError: no checkpoint, or one of another kind or of other sizes.
    """
    state, widths = read_peer(path, KIND)
    assert path is not None
    if widths != dict(WIDTHS):
        raise EncoderError(f"{path.with_suffix('.json')}: widths: {widths}, this program has {dict(WIDTHS)}")
    network = LivingScenesNetwork()
    encoder = fill_peer(path, state, network)

    def objects(scan: SceneFeatures) -> dict[str, Embedded]:
        return {"point": _embedded(network, described(scan, encoder))}

    return ObjectwiseMethod(NAME, frozenset(), features.scans, objects)
