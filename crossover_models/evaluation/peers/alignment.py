"""Points of objects aligned with frozen pictures and words of the same objects: ULIP-2 and PointBind, small.

The published systems bind a point encoder to an image-text space that was learned before, from millions of pictures.
The front ends here share no space, so heads for pictures and words learn one from the training objects, and points
follow: no gradient of the points' contrast reaches these heads. CAD models are clouds of points to both systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crossover_models.dataset.features import Array, SceneFeatures
from crossover_models.encoders.heads import ProjectionHead
from crossover_models.evaluation.peers.objectwise import MODALITIES, Embedded, ObjectwiseMethod, apart
from crossover_models.evaluation.tasks.ranking import first_ranks
from crossover_models.training.distributed import gather
from crossover_models.training.loss import Temperature, pair_loss
from crossover_models.training.object_batch import ObjectSource

DIM = 256
_HIDDEN = 1024
_DROPOUT = 0.1
_POINTS = ("point", "cad")
_SELECTED_BY = (("I", "P"), ("I", "R"), ("P", "R"), ("M", "P"), ("M", "R"), ("I", "M"))
FRAMES = {"I1": 1, "I10": 10}


@dataclass(frozen=True)
class Recipe:
    """What a system binds its points to.

    Attributes:
        kind: in checkpoints and on the command line.
        name: in tables.
        targets: modalities that points are contrasted with.
        official: what the published weights need that is not here, for whoever names them.
    """

    kind: str
    name: str
    targets: tuple[str, ...]
    official: str

    @property
    def emergent(self) -> frozenset[tuple[str, str]]:
        """Pairs that are never contrasted."""
        by_text = () if "referral" in self.targets else ("P-R", "M-R")
        return apart("I-F", "P-F", "R-F", "M-F", "M-P", *by_text)


@dataclass(frozen=True)
class ObjectTable:
    """Frozen features of the O objects of several scans.

    Attributes:
        features: modality -> (O, width), zero where absent.
        present: modality -> (O,) bool.
        scans: (O,) index of the scan.
    """

    features: dict[str, Array]
    present: dict[str, NDArray[np.bool_]]
    scans: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scans)


def object_table(scans: Sequence[SceneFeatures], source: ObjectSource) -> ObjectTable:
    """Objects that have two modalities or more, of all scans."""
    made = [source.objects(scan) for scan in scans]
    numbers = np.repeat(np.arange(len(scans)), [len(one.present["rgb"]) for one in made])
    features = {name: np.concatenate([one.features[name] for one in made]) for name in MODALITIES.values()}
    present = {name: np.concatenate([one.present[name] for one in made]) for name in MODALITIES.values()}
    kept = np.sum(list(present.values()), axis=0) >= 2
    return ObjectTable(
        {name: values[kept] for name, values in features.items()},
        {name: values[kept] for name, values in present.items()},
        numbers[kept].astype(np.int64),
    )


class AlignmentNetwork(nn.Module):
    """Heads for pictures, words and points. State: ``heads.{rgb,referral,point}.*``, two temperatures."""

    def __init__(self, widths: dict[str, int], dim: int = DIM) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {name: ProjectionHead(widths[name], _HIDDEN, dim) for name in ("rgb", "referral", "point")}
        )
        self.dropout = nn.Dropout(_DROPOUT)
        self.temperature, self.points_temperature = Temperature(), Temperature()

    def forward(self, modality: str, features: Tensor) -> Tensor:
        """(B, width) of "rgb", "referral", "point" or "cad" -> (B, D) unit vectors."""
        out: Tensor = self.heads["point" if modality in _POINTS else modality](self.dropout(features))
        return out


class AlignmentStage:
    """Pictures with words, and points with the targets of a recipe, over objects of all scenes."""

    def __init__(
        self, recipe: Recipe, train: Sequence[SceneFeatures], val: Sequence[SceneFeatures], source: ObjectSource
    ) -> None:
        self.name, self._recipe = recipe.kind, recipe
        self.network = AlignmentNetwork(source.widths(train[0]))
        self.module: nn.Module = self.network
        self._table, self._val, self._source = object_table(train, source), val, source

    def rows(self) -> int:
        """Number of training objects."""
        return len(self._table)

    def loss(self, rows: Sequence[int], rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """Sum of the contrasts, each a mean over the objects that have both sides."""
        device = self.network.temperature.log_scale.device
        chosen = np.asarray(rows)
        vectors, masks = {}, {}
        for name in MODALITIES.values():
            features = torch.from_numpy(self._table.features[name][chosen]).to(device)
            vectors[name] = gather(self.network(name, features).float())
            masks[name] = gather(torch.from_numpy(self._table.present[name][chosen]).to(device).float()) > 0.5
        scale = self.network.temperature()
        total = pair_loss(vectors["rgb"], vectors["referral"], masks["rgb"], masks["referral"], scale)
        scale = self.network.points_temperature()
        for points in _POINTS:
            for target in self._recipe.targets:
                fixed = vectors[target].detach()
                total = total + pair_loss(vectors[points], fixed, masks[points], masks[target], scale)
        return total

    def validate(self) -> dict[str, float]:
        """R@1 of scene retrieval for every pair of object modalities; the score is their mean reciprocal rank."""
        method = aligned_method(self._recipe, self.network, self._source, self._val)
        out, inverse = {}, []
        for query, gallery in _SELECTED_BY:
            a, b, similarity = method.present(query), method.present(gallery), method.similarity(query, gallery)
            assert a is not None and b is not None and similarity is not None
            both = np.flatnonzero(a & b)
            if len(both) < 2:
                continue
            ranks = first_ranks(similarity[np.ix_(both, both)], np.eye(len(both), dtype=np.bool_))
            out[f"{query}-{gallery}_r1"] = float((ranks < 1).mean())
            inverse.append(float((1.0 / (1.0 + ranks)).mean()))
        return {"score": float(np.mean(inverse)) if inverse else 0.0, **out}


def aligned_method(
    recipe: Recipe, network: AlignmentNetwork, source: ObjectSource, scans: Sequence[SceneFeatures]
) -> ObjectwiseMethod:
    """The network over the scans of a split.

    Floor plans and a robot's frames are pictures to these systems and pass the pictures' head whole; the first part
    of a view's features is what a crop or a plan has.
    """
    training = network.training
    network.eval()
    device = network.temperature.log_scale.device

    def embed(modality: str, features: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(network(modality, torch.from_numpy(features).to(device)).float().cpu().numpy())

    def objects(scan: SceneFeatures) -> dict[str, Embedded]:
        one = source.objects(scan)
        return {name: (embed(name, one.features[name]), one.present[name]) for name in MODALITIES.values()}

    def whole(scan: SceneFeatures) -> dict[str, Array]:
        frames = scan.drive_views[:, : scan.plans.shape[1]]
        seen = {item: frames[:count] for item, count in FRAMES.items() if len(frames)}
        if len(scan.plans):
            seen["F"] = scan.plans[:1]
        return {item: embed("rgb", features).mean(axis=0) for item, features in seen.items()}

    method = ObjectwiseMethod(recipe.name, recipe.emergent, scans, objects, whole)
    network.train(training)
    return method
