"""Training of the metric of colors: palettes of the same room's survey, drive and cloud are pulled together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from crossover_models.dataset.features import SceneFeatures
from crossover_models.evaluation.tasks.ranking import first_ranks
from crossover_models.sets.batches import MOST_FRAMES, Augment
from crossover_models.sets.colors import ColorNetwork, pooled_palette
from crossover_models.sets.palette import COLORS, palette
from crossover_models.training.distributed import gather
from crossover_models.training.loss import Temperature

ITEMS = ("I", "D", "P")
"""Pictures of the survey, of a drive, and the cloud."""
VALIDATED = (("I", "P"), ("D1", "I"), ("D", "I"), ("D1", "P"), ("D", "P"))
"""Query and gallery; "D1" is one frame of the drive."""
_DROPOUT = 0.2
Array = NDArray[np.float32]


class ColorModule(nn.Module):
    """The network with what only its training needs."""

    def __init__(self, network: ColorNetwork) -> None:
        super().__init__()
        self.network, self.temperature = network, Temperature()


def _pooled(palettes: Array) -> Array:
    """(V, 64) -> (64,); zero without any."""
    if not palettes.size:
        return np.zeros(COLORS, np.float32)
    rows = torch.from_numpy(palettes)[None]
    return np.asarray(pooled_palette(rows, torch.ones(1, len(palettes), dtype=torch.bool))[0].numpy())


def _of_cloud(scan: SceneFeatures, draw: Augment | None) -> Array:
    colored = scan.colored if draw is None else scan.colored & draw.part(scan.points)
    return palette(scan.colors[colored])


def drawn_palettes(scan: SceneFeatures, draw: Augment) -> Array:
    """(3, 64) of :data:`ITEMS`, each of a random part of what there is; zero where there is nothing."""
    survey = _pooled(scan.view_colors[draw.some(len(scan.view_colors))])
    drive = _pooled(scan.drive_colors[draw.contiguous(len(scan.drive_colors))])
    return np.stack([survey, drive, _of_cloud(scan, draw)])


def whole_palettes(scans: Sequence[SceneFeatures]) -> dict[str, Tensor]:
    """Item of :data:`VALIDATED` -> (N, 64), of all that there is."""
    items = {
        "I": [_pooled(scan.view_colors) for scan in scans],
        "D1": [_pooled(scan.drive_colors[:1]) for scan in scans],
        "D": [_pooled(scan.drive_colors[:MOST_FRAMES]) for scan in scans],
        "P": [_of_cloud(scan, None) for scan in scans],
    }
    return {item: torch.from_numpy(np.stack(rows)) for item, rows in items.items()}


class ColorStage:
    """Symmetric InfoNCE between every two of survey, drive and cloud; rescans of a room are no negatives."""

    name = "colors"

    def __init__(self, train: Sequence[SceneFeatures], val: Sequence[SceneFeatures]) -> None:
        self._train = [scan for scan in train if scan.view_colors.size or scan.colored.any()]
        if len(self._train) < 2:
            raise ValueError("features: fewer than two training scans have colors, nothing to learn from")
        self._seen = whole_palettes(val)
        rooms = {room: i for i, room in enumerate(dict.fromkeys(scan.room_id for scan in self._train))}
        self._rooms = torch.tensor([rooms[scan.room_id] for scan in self._train])
        network = ColorNetwork()
        rows = torch.cat(list(whole_palettes(self._train).values()))
        network.standardized.fit(rows[(rows > 0).any(dim=1)])
        self.own = ColorModule(network)
        self.module: nn.Module = self.own

    def rows(self) -> int:
        """Number of training scans with colors."""
        return len(self._train)

    def loss(self, rows: Sequence[int], rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """Mean over the pairs of items that some scans have."""
        draw = Augment(rng)
        palettes = torch.from_numpy(np.stack([drawn_palettes(self._train[i], draw) for i in rows]))
        device = self.own.network.direct.weight.device
        index = torch.as_tensor(list(rows))
        rooms = gather(self._rooms[index].float().to(device))
        there = gather((palettes > 0).any(dim=2).float().to(device)) > 0.5
        vectors = gather(self.own.network(palettes.to(device), _DROPOUT))
        twice = (rooms[:, None] == rooms[None, :]) & ~torch.eye(len(rooms), dtype=torch.bool, device=device)
        losses = [vectors.sum() * 0.0]
        for a, b in combinations(range(len(ITEMS)), 2):
            both = there[:, a] & there[:, b]
            if int(both.sum()) < 2:
                continue
            logits = self.own.temperature() * vectors[both, a] @ vectors[both, b].T
            logits = logits.masked_fill(twice[both][:, both], -torch.inf)
            own = torch.arange(len(logits), device=device)
            losses.append((functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2.0)
        return torch.stack(losses).sum() / max(1, len(losses) - 1)

    def validate(self) -> dict[str, float]:
        """See :func:`color_figures`; the score is their mean reciprocal rank."""
        return color_figures(self.own.network, self._seen)


def color_figures(network: ColorNetwork, palettes: dict[str, Tensor]) -> dict[str, float]:
    """R@1 of each of :data:`VALIDATED` ("I-P_r1") by colors alone, and "score", the mean of all reciprocal ranks."""
    device = network.direct.weight.device
    with torch.inference_mode():
        vectors = {item: network(rows.to(device)).cpu() for item, rows in palettes.items()}
    out: dict[str, float] = {}
    inverse = []
    for query, gallery in VALIDATED:
        both = (palettes[query] > 0).any(dim=1) & (palettes[gallery] > 0).any(dim=1)
        if not bool(both.any()):
            continue
        similarity = (vectors[query][both] @ vectors[gallery][both].T).numpy()
        ranks = first_ranks(similarity, np.eye(len(similarity), dtype=np.bool_))
        inverse.append(float((1.0 / (1.0 + ranks)).mean()))
        out[f"{query}-{gallery}_r1"] = float((ranks < 1).mean())
    return {"score": float(np.mean(inverse)) if inverse else 0.0, **out}
