"""Training of the network with explicit sets: contrast of whole scores, and what is known of every part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from crossover_models.dataset.features import SceneFeatures
from crossover_models.encoders.front_ends import FeatureSizes
from crossover_models.evaluation.tasks.method import MAP_ITEMS, PAIRS, ROBOT_ITEMS
from crossover_models.evaluation.tasks.ranking import first_ranks
from crossover_models.sets import batches
from crossover_models.sets.attributes import Attributes
from crossover_models.sets.cloud import coarse_labels
from crossover_models.sets.codes import Codes
from crossover_models.sets.inputs import CloudInput, padded
from crossover_models.sets.network import OBJECT_GEOMETRY, SetsNetwork
from crossover_models.sets.scores import ScoreNetwork
from crossover_models.sets.scoring import REACH
from crossover_models.training.distributed import gather

ITEMS = {"I": "I", "D": "I", "P": "P", "M": "M", "F": "F", "R": "R"}
"""Items of a batch and their kind; "D" are frames of a drive."""
CONTRASTED = tuple((a, b) for i, a in enumerate(ITEMS) for b in tuple(ITEMS)[i + 1 :])
TRAINED_REACH = 2
"""Cells of 0.4 m that layouts may be shifted in training, where it is done more often than in :data:`REACH`."""
_SAME_CATEGORY = 2.0
"""Weight of a negative of the same room type: those are what one is mistaken for."""
_QUEUE = 256
_VECTOR, _ATTRIBUTES, _VOXELS, _OBJECTS = 0.5, 3.0, 0.5, 0.3
"""Weights of the losses beside the contrast of whole scores."""
_NO_OBJECT = 0.3


class SetsModule(nn.Module):
    """Network and scores; and the last global vectors of each item as further negatives."""

    queue: Tensor
    queue_rows: Tensor

    def __init__(self, network: SetsNetwork, scores: ScoreNetwork) -> None:
        super().__init__()
        self.network, self.scores = network, scores
        self.register_buffer("queue", torch.zeros(len(ITEMS), _QUEUE, network.settings.embedding_dim))
        self.register_buffer("queue_rows", torch.full((len(ITEMS), _QUEUE), -1, dtype=torch.int64))

    def push(self, item: int, vectors: Tensor, rows: Tensor) -> None:
        """Put vectors (B, D) of scans ``rows`` (B,) in, the oldest fall out."""
        self.queue[item] = torch.cat([vectors.detach(), self.queue[item]])[:_QUEUE]
        self.queue_rows[item] = torch.cat([rows, self.queue_rows[item]])[:_QUEUE]


class SetsStage:
    """Every pair of items is contrasted, but for ``withheld`` ones, by whole scores and by vectors alone."""

    name = "sets"

    def __init__(
        self,
        module: SetsModule,
        train: Sequence[SceneFeatures],
        val: Sequence[SceneFeatures],
        sources: batches.Sources,
        attributes: Attributes,
        withheld: frozenset[frozenset[str]] = frozenset(),
        legacy_columns: bool = False,
    ) -> None:
        self.module: nn.Module = module
        self._own, self._train, self._val, self._sources = module, train, val, sources
        self._answers = torch.from_numpy(np.stack([attributes.answers(scan) for scan in train]))
        names = sorted({scan.category for scan in train})
        self._types = torch.tensor([names.index(scan.category) for scan in train])
        rooms = {room: i for i, room in enumerate(dict.fromkeys(scan.room_id for scan in train))}
        self._rooms = torch.tensor([rooms[scan.room_id] for scan in train])
        self._pairs = [(a, b) for a, b in CONTRASTED if frozenset((ITEMS[a], ITEMS[b])) not in withheld]
        self._legacy = legacy_columns

    def rows(self) -> int:
        """Number of training scans."""
        return len(self._train)

    def loss(self, rows: Sequence[int], rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """Mean over the scans: contrast, attributes, categories of voxels and of CAD models."""
        codes, present, extra = self._encoded(rows, batches.Augment(rng))
        index = torch.as_tensor(list(rows), dtype=torch.int64)
        answers = self._answers[index]
        known = torch.isfinite(answers)
        losses = [extra]
        for item, code in codes.items():
            if not self._own.network.settings.objects:
                continue
            there = present[item][:, None] & known
            each = functional.binary_cross_entropy_with_logits(
                code.attributes, torch.nan_to_num(answers), reduction="none"
            )
            losses.append(_ATTRIBUTES / len(codes) * (each * there).sum() / there.sum().clamp(min=1))
        codes = {item: code.mapped(gather) for item, code in codes.items()}
        present = {item: gather(mask.float()) > 0.5 for item, mask in present.items()}
        index = gather(index.float()).long()
        contrasts = [self._contrast(a, b, codes, present, index) for a, b in self._pairs]
        losses.append(torch.stack(contrasts).mean())
        if self._own.training:
            for number, item in enumerate(ITEMS):
                self._own.push(number, codes[item].vector, torch.where(present[item], self._rooms[index], -1))
        return torch.stack(losses).sum()

    def _encoded(
        self, rows: Sequence[int], draw: batches.Augment
    ) -> tuple[dict[str, Codes], dict[str, Tensor], Tensor]:
        """Codes of training scans by item, which exist, and the loss on categories."""
        return encode(self._own.network, [self._train[i] for i in rows], self._sources, draw)

    def _contrast(
        self, a: str, b: str, codes: Mapping[str, Codes], present: Mapping[str, Tensor], index: Tensor
    ) -> Tensor:
        both = present[a] & present[b]
        if int(both.sum()) < 2:
            return codes[a].vector.sum() * 0.0
        scores = self._own.scores
        whole = scores(codes[a], ITEMS[a], codes[b], ITEMS[b], TRAINED_REACH)
        vectors = scores.scale(ITEMS[a], ITEMS[b]) * (codes[a].vector @ codes[b].vector.T)
        total: Tensor = whole.new_zeros(())
        types, rooms = self._types[index], self._rooms[index]
        own = torch.eye(len(index), dtype=torch.bool)
        harder = torch.where((types[:, None] == types[None, :]) & ~own, np.log(_SAME_CATEGORY), 0.0)
        twice = (rooms[:, None] == rooms[None, :]) & ~own
        for flip, (query, gallery) in enumerate(((a, b), (b, a))):
            # Columns of absent items, and rescans of the same room, are no negatives.
            closed = twice if self._legacy else twice | ~(present[gallery][None, :] | own)
            logits = [(s.T if flip else s) + harder for s in (whole, vectors)]
            logits = [s.masked_fill(closed, -torch.inf) for s in logits]
            number = tuple(ITEMS).index(gallery)
            queued = scores.scale(ITEMS[a], ITEMS[b]) * (codes[query].vector @ self._own.queue[number].clone().T)
            known = self._own.queue_rows[number]
            stale = (known < 0)[None, :] | (known[None, :] == rooms[:, None])
            logits[1] = torch.cat([logits[1], queued.masked_fill(stale, -torch.inf)], dim=1)
            target = torch.arange(len(index))
            for weight, values in zip((1.0, _VECTOR), logits, strict=True):
                rows = functional.cross_entropy(values, target, reduction="none")
                total = total + weight * (rows * both).sum() / both.sum() / 2.0
        return total

    def validate(self) -> dict[str, float]:
        """R@1 of every pair over the validation scans, and the mean reciprocal rank as score."""
        matrices, present = similarities(self._own, self._val, self._sources)
        out: dict[str, float] = {}
        inverse = []
        for (query, gallery), matrix in matrices.items():
            both = present[query] & present[gallery]
            ranks = first_ranks(matrix[np.ix_(both, both)], np.eye(int(both.sum()), dtype=np.bool_))
            if len(ranks):
                inverse.append(float((1.0 / (1.0 + ranks)).mean()))
                out[f"{query}-{gallery}_r1"] = float((ranks < 1).mean())
        return {"score": float(np.mean(inverse)), **out}


def encode(
    network: SetsNetwork,
    scans: Sequence[SceneFeatures],
    sources: batches.Sources,
    draw: batches.Augment | None,
    items: Sequence[str] = tuple(ITEMS),
) -> tuple[dict[str, Codes], dict[str, Tensor], Tensor]:
    """Codes of scans by item, (B,) which exist, and the loss on categories of voxels and CAD models.

    Items are those of :data:`ITEMS`, or "I1", "I10" and "Pd" of :data:`ROBOT_ITEMS`. Codes of what is absent mean
    nothing.
    """
    widths = FeatureSizes(scans[0].views.shape[1], scans[0].plans.shape[1], scans[0].texts.shape[1])
    evidence = max(s.view_objects.shape[1] for s in scans)
    codes: dict[str, Codes] = {}
    present: dict[str, Tensor] = {}
    extra = torch.zeros(())
    for item in items:
        if item in ("I", "D", "I1", "I10"):
            frames = {"I1": 1}.get(item, batches.MOST_FRAMES)
            seen = [batches.survey(s, draw) if item == "I" else batches.drive(s, draw, frames) for s in scans]
            codes[item] = network.images(*batches.views_tensors(seen, (widths.view, evidence)))
            present[item] = torch.tensor([v is not None for v in seen])
        elif item in ("P", "Pd"):
            clouds = [batches.cloud(s, sources, draw, item == "Pd") for s in scans]
            codes[item], extra_voxels = _clouds(network, clouds, draw)
            present[item] = torch.tensor([c is not None for c in clouds])
            extra = extra + extra_voxels
        elif item == "M":
            meshes = [batches.mesh(s, sources, draw) for s in scans]
            shape_dim = next(iter(sources.shapes.values())).shape[1]
            shapes, mask, rasters, labels = batches.mesh_tensors(meshes, shape_dim + OBJECT_GEOMETRY, draw)
            codes[item], logits = network.mesh(shapes, mask, network.laid(rasters, "points"))
            present[item] = mask.any(dim=1)
            extra = extra + category_loss(network, logits, labels)
        elif item == "F":
            plans = [batches.plan(s, draw) for s in scans]
            features, rasters = batches.plan_tensors(plans, widths.plan)
            codes[item] = network.floor_plan(features, network.laid(rasters, "plan"))
            present[item] = torch.tensor([p is not None for p in plans])
        elif item == "R":
            said, mask = padded([batches.sentences(s, draw) for s in scans], widths.text)
            codes[item] = network.text(said, mask)
            present[item] = mask.any(dim=1)
    return codes, present, extra


def category_loss(network: SetsNetwork, logits: Tensor, labels: Tensor) -> Tensor:
    """Of CAD models: logits (B, K, C) against labels (B, K), -1 for those of no known category."""
    if not network.settings.objects or not bool((labels >= 0).any()):
        return logits.new_zeros(())
    return _OBJECTS * functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-1)


def _clouds(
    network: SetsNetwork, clouds: Sequence[CloudInput | None], draw: batches.Augment | None
) -> tuple[Codes, Tensor]:
    """Codes (B), zero where there is no cloud, and the loss on the voxels' categories."""
    rows = [i for i, c in enumerate(clouds) if c is not None]
    there = [c for c in clouds if c is not None]
    if not there:
        settings, zero = network.settings, torch.zeros(())
        layout = torch.zeros(len(clouds), settings.layout_channels, 32, 32) if settings.layout else None
        attributes = torch.zeros(len(clouds), network.to_attributes.out_features)
        seen = torch.zeros(len(clouds), network.colors.dim) if settings.appearance else None
        return Codes(torch.zeros(len(clouds), settings.embedding_dim), attributes, layout, seen), zero
    coordinates, features, colors, rasters, labels = batches.cloud_tensors(there, draw)
    code, logits, keys = network.points(coordinates, features, colors, rasters)
    extra = logits.new_zeros(())
    if network.settings.objects and bool((labels >= 0).any()):
        stride = 2
        coarse = coarse_labels(coordinates, labels, keys, stride)
        # Clouds without any label are of a drive, where nobody knows.
        batch = keys >> 48
        labeled = torch.zeros(len(there), dtype=torch.bool)
        labeled[batch[coarse >= 0]] = True
        weight = logits.new_ones(network.clouds.categories + 1)
        weight[-1] = _NO_OBJECT
        target = torch.where(coarse >= 0, coarse, network.clouds.categories)
        kept = labeled[batch]
        extra = _VOXELS * functional.cross_entropy(logits[kept], target[kept], weight)
    at = torch.tensor(rows)

    def spread(values: Tensor) -> Tensor:
        return values.new_zeros(len(clouds), *values.shape[1:]).index_copy(0, at, values)

    return code.mapped(spread), extra


def fit_inputs(network: SetsNetwork, scans: Sequence[SceneFeatures], sources: batches.Sources) -> None:
    """Standardize the network's inputs by those of the training scans."""

    def rows(parts: Sequence[NDArray[np.float32]]) -> Tensor:
        return torch.from_numpy(np.concatenate([part for part in parts if len(part)]))

    network.sentences.standardized.fit(rows([scan.texts for scan in scans] + [scan.referrals for scan in scans]))
    seen = ["views"]
    seen += ["view_objects"] if network.settings.objects else []
    seen += ["view_colors"] if network.settings.appearance else []
    network.views.standardized.fit(torch.cat([rows([getattr(s, name) for s in scans]) for name in seen], dim=1))
    meshes = [batches.mesh(scan, sources, None) for scan in scans]
    shapes = [mesh.shapes for mesh in meshes if mesh is not None]
    if shapes:
        network.objects.standardized.fit(rows(shapes))
    network.plan_standardized.fit(rows([scan.plans for scan in scans]))


def all_codes(
    module: SetsModule, scans: Sequence[SceneFeatures], sources: batches.Sources, chunk: int = 32
) -> tuple[dict[str, Codes], dict[str, NDArray[np.bool_]]]:
    """Codes of all map and robot items of all scans, and which exist; in evaluation mode."""
    training = module.training
    module.eval()
    items = (*MAP_ITEMS, *ROBOT_ITEMS)
    parts: dict[str, list[Codes]] = {}
    masks: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for start in range(0, len(scans), chunk):
            codes, present, _ = encode(module.network, scans[start : start + chunk], sources, None, items)
            for item in items:
                parts.setdefault(item, []).append(codes[item])
                masks.setdefault(item, []).append(present[item])
    module.train(training)
    return {item: Codes.joined(rows) for item, rows in parts.items()}, {
        item: torch.cat(rows).numpy() for item, rows in masks.items()
    }


def kind_of(item: str) -> str:
    """Modality of an item: "I1" and "I10" are images, "Pd" points."""
    return {"I1": "I", "I10": "I", "Pd": "P", "D": "I"}.get(item, item)


def similarities(
    module: SetsModule, scans: Sequence[SceneFeatures], sources: batches.Sources
) -> tuple[dict[tuple[str, str], NDArray[np.float32]], dict[str, NDArray[np.bool_]]]:
    """Score matrices (N, N) of the published pairs and of what a robot sees against the map; and which items exist."""
    codes, present = all_codes(module, scans, sources)
    asked = [*PAIRS, *((q, g) for q in ROBOT_ITEMS for g in MAP_ITEMS)]
    out = {}
    with torch.inference_mode():
        for query, gallery in asked:
            out[query, gallery] = module.scores(
                codes[query], kind_of(query), codes[gallery], kind_of(gallery), REACH
            ).numpy()
    return out, present
