"""Stages 0 and 1: embeddings of objects, contrasted within each scene with the image as anchor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from crossover_models.dataset.features import SceneFeatures
from crossover_models.reference.instance import InstanceBaseline, InstanceCrossOver
from crossover_models.reference.objects import OBJECT_MODALITIES, ObjectBatch
from crossover_models.training.loss import INITIAL_SCALE, Temperature
from crossover_models.training.object_batch import ObjectSource
from crossover_models.training.stages.inputs import check_contrasted

ANCHOR = "rgb"


class ObjectModule(nn.Module):
    """The network and the temperature that only training needs."""

    def __init__(self, network: InstanceBaseline | InstanceCrossOver) -> None:
        super().__init__()
        self.network = network
        self.temperature = Temperature()


def within_scenes(
    a: Tensor, b: Tensor, has_a: Tensor, has_b: Tensor, scale: Tensor | float, legacy: bool = False
) -> Tensor:
    """Symmetric InfoNCE of objects within their scenes, mean over the objects that have both (arXiv 2502.15011, eq. 1).

    Args:
        a: (B, O, D) unit norm, zero where absent.
        b: (B, O, D).
        has_a: (B, O) bool.
        has_b: (B, O) bool.
        scale: inverse temperature.
        legacy: let absent objects be negatives, as the reference's code does.
    """
    logits = scale * a @ b.transpose(1, 2)
    both = has_a & has_b
    objects = logits.shape[1]
    own = torch.eye(objects, dtype=torch.bool, device=a.device)
    target = torch.arange(objects, device=a.device).expand(len(a), -1)
    total = logits.new_zeros(())
    for values, columns in ((logits, has_b), (logits.transpose(1, 2), has_a)):
        if not legacy:
            values = values.masked_fill(~(columns[:, None, :] | own), -torch.inf)
        rows = functional.cross_entropy(values.flatten(0, 1), target.flatten(), reduction="none")
        total = total + torch.where(both.flatten(), rows, torch.zeros_like(rows)).sum()
    return total / (2 * both.sum().clamp(min=1))


class ObjectStage:
    """Stage 0 with :class:`InstanceBaseline`, stage 1 with :class:`InstanceCrossOver`.

    Raises:
        TrainingError: fewer than two training scans have objects of a modality.
    """

    def __init__(
        self,
        name: str,
        network: InstanceBaseline | InstanceCrossOver,
        train: Sequence[SceneFeatures],
        val: Sequence[SceneFeatures],
        source: ObjectSource,
        legacy: bool = False,
    ) -> None:
        self.name = name
        self._own = ObjectModule(network)
        self.module: nn.Module = self._own
        if legacy:
            self._own.temperature.requires_grad_(False)
        self._train, self._val, self._source, self._legacy = train, val, source, legacy
        check_contrasted(OBJECT_MODALITIES, [source.present(scan) for scan in train])

    def rows(self) -> int:
        """Number of training scans."""
        return len(self._train)

    def loss(self, rows: Sequence[int], rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """Image against point, cad and referral, summed."""
        device = next(self.module.parameters()).device
        batch = self._source.batch([self._train[i] for i in rows], device)
        return self.contrast(self._own.network(batch), batch)

    def contrast(self, embeddings: Mapping[str, Tensor], batch: ObjectBatch) -> Tensor:
        """The loss of embeddings (B, O, D) by modality."""
        scale = torch.tensor(INITIAL_SCALE) if self._legacy else self._own.temperature()
        losses = [
            within_scenes(
                embeddings[ANCHOR], embeddings[name], batch.present[ANCHOR], batch.present[name], scale, self._legacy
            )
            for name in OBJECT_MODALITIES
            if name != ANCHOR
        ]
        return torch.stack(losses).sum()

    def validate(self) -> dict[str, float]:
        """R@1 within scenes of each pair of modalities, averaged over objects; their mean is the score."""
        self.module.eval()
        device = next(self.module.parameters()).device
        hits: dict[str, list[float]] = {}
        with torch.inference_mode():
            for scan in self._val:
                batch = self._source.batch([scan], device)
                out = self._own.network(batch)
                for i, a in enumerate(OBJECT_MODALITIES):
                    for b in OBJECT_MODALITIES[i + 1 :]:
                        both = batch.present[a][0] & batch.present[b][0]
                        if int(both.sum()) < 2:
                            continue
                        scores = out[a][0][both] @ out[b][0][both].T
                        right = scores.argmax(dim=1) == torch.arange(len(scores), device=device)
                        hits.setdefault(f"{a}-{b}_r1", []).extend(right.float().tolist())
        self.module.train()
        figures = {name: float(np.mean(values)) for name, values in hits.items()}
        return {"score": float(np.mean(list(figures.values()))) if figures else 0.0, **figures}
