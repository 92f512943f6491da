"""Stages 2 and 3: the fused scene, and the unified encoders of raw data contrasted with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from crossover_models.dataset.features import SceneFeatures
from crossover_models.encoders.profile import EncoderProfile
from crossover_models.evaluation.tasks.ranking import first_ranks
from crossover_models.reference.objects import OBJECT_MODALITIES, ObjectBatch
from crossover_models.reference.scene import SceneCrossOver
from crossover_models.training.distributed import gather
from crossover_models.training.loss import INITIAL_SCALE, Temperature, pair_loss
from crossover_models.training.object_batch import ObjectSource
from crossover_models.training.stages.inputs import UNIFIED, UnifiedBatch, check_contrasted, raw_present, unified_batch

FUSED = "fused"
_CHUNK = 32


class SceneModule(nn.Module):
    """The network, whose object level stays frozen, and the temperature that only training needs."""

    def __init__(self, network: SceneCrossOver) -> None:
        super().__init__()
        self.network = network
        self.temperature = Temperature()

    def train(self, mode: bool = True) -> SceneModule:
        """As usual, but the frozen object level stays in evaluation mode."""
        super().train(mode)
        self.network.objectwise_modality_encoder.eval()
        return self


def unified_embeddings(network: SceneCrossOver, batch: UnifiedBatch) -> dict[str, Tensor]:
    """Name -> (B, D) unit vectors of raw data; rows of what is absent mean nothing."""
    texts = network.text(batch.texts)
    points = texts.new_zeros(texts.shape)
    if len(batch.cloud_rows):
        encoded = network.points(*batch.clouds, len(batch.cloud_rows))
        points = points.index_copy(0, batch.cloud_rows, encoded.to(points.dtype))
    return {
        "rgb": network.images(*batch.views),
        "point": points,
        "floor_plan": network.floor_plan(batch.plans),
        "referral": texts,
    }


class SceneStage:
    """F_S against raw data over the scenes of a batch (arXiv 2502.15011, section 3.3); options are ablation rows.

    Args:
        network: its object level is trained already.
        train, val: scans.
        source: of their objects.
        profile: of the unified encoders.
        fusion_only: stage 2: F_S against each modality's mean of objects, nothing of raw data.
        all_pairs: contrast raw data of every pair as well.
        scene_level: without it F_S is dropped and images are the anchor.
        floor_plan: without it floor plans are never contrasted.
        legacy: absent items are negatives and the temperature is fixed, as in the reference's code.

    Raises:
        TrainingError: fewer than two training scans have a contrasted modality.
    """

    def __init__(
        self,
        network: SceneCrossOver,
        train: Sequence[SceneFeatures],
        val: Sequence[SceneFeatures],
        source: ObjectSource,
        profile: EncoderProfile,
        *,
        fusion_only: bool = False,
        all_pairs: bool = False,
        scene_level: bool = True,
        floor_plan: bool = True,
        legacy: bool = False,
    ) -> None:
        self.name = "scene" if fusion_only else "unified"
        self._own = SceneModule(network)
        self.module: nn.Module = self._own
        if legacy:
            self._own.temperature.requires_grad_(False)
        if fusion_only:
            for part in (network.encoder1D_mlp_head, network.frame_mlp, network.encoder2D_mlp_head):
                part.requires_grad_(False)
            network.encoder3D.requires_grad_(False)
            network.encoder3D_mlp_head.requires_grad_(False)
        self._train, self._val, self._source, self._profile = train, val, source, profile
        self._fusion_only, self._legacy = fusion_only, legacy
        contrasted = [name for name in UNIFIED if floor_plan or name != "floor_plan"]
        anchor = FUSED if scene_level else "rgb"
        self.pairs = [(anchor, name) for name in contrasted if name != anchor]
        if all_pairs:
            self.pairs += [
                (a, b) for i, a in enumerate(contrasted) for b in contrasted[i + 1 :] if (a, b) not in self.pairs
            ]
        if fusion_only:
            self.pairs = [(FUSED, name) for name in OBJECT_MODALITIES]
        names = list(dict.fromkeys(name for pair in self.pairs for name in pair if name != FUSED))
        check_contrasted(names, [source.present(scan) if fusion_only else raw_present(scan) for scan in train])

    def rows(self) -> int:
        """Number of training scans."""
        return len(self._train)

    def loss(self, rows: Sequence[int], rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """Sum over the contrasted pairs."""
        scans = [self._train[i] for i in rows]
        embeddings, present = self.embeddings(scans, rng)
        return self.contrast(embeddings, present)

    def embeddings(
        self, scans: Sequence[SceneFeatures], rng: np.random.Generator | None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Name -> (B, D), and (B,) which exist, of F_S and of everything contrasted with it."""
        network = self._own.network
        device = next(network.parameters()).device
        objects = self._source.batch(scans, device)
        out, present = _fused(network, objects)
        if self._fusion_only:
            return out, present
        batch = unified_batch(scans, self._profile, rng)
        raw = unified_embeddings(network, _to(batch, device))
        return out | raw, present | {name: mask.to(device) for name, mask in batch.present.items()}

    def contrast(self, embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """The loss of embeddings (B, D) over all processes' scans."""
        scale = torch.tensor(INITIAL_SCALE) if self._legacy else self._own.temperature()
        names = {name for pair in self.pairs for name in pair}
        rows = {name: gather(embeddings[name]) for name in names}
        masks = {name: gather(present[name].float()) > 0.5 for name in names}
        if self._legacy:
            # Absent items are zero vectors among the negatives there.
            rows = {name: values * masks[name][:, None] for name, values in rows.items()}
        return torch.stack(
            [pair_loss(rows[a], rows[b], masks[a], masks[b], scale, columns=not self._legacy) for a, b in self.pairs]
        ).sum()

    def validate(self) -> dict[str, float]:
        """R@1 over the whole gallery of each pair of raw data, and the mean reciprocal rank as score."""
        training = self.module.training
        self.module.eval()
        parts: dict[str, list[Tensor]] = {}
        masks: dict[str, list[Tensor]] = {}
        with torch.inference_mode():
            for start in range(0, len(self._val), _CHUNK):
                embeddings, present = self.embeddings(self._val[start : start + _CHUNK], None)
                for name in embeddings:
                    parts.setdefault(name, []).append(embeddings[name])
                    masks.setdefault(name, []).append(present[name])
        self.module.train(training)
        rows = {name: torch.cat(values).float().cpu().numpy() for name, values in parts.items()}
        there = {name: torch.cat(values).cpu().numpy() for name, values in masks.items()}
        names = OBJECT_MODALITIES if self._fusion_only else UNIFIED
        asked = [(FUSED, name) for name in names] if self._fusion_only else []
        asked += [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]] if not self._fusion_only else []
        out, inverse = {}, []
        for a, b in asked:
            both = there[a] & there[b]
            ranks = first_ranks(rows[a][both] @ rows[b][both].T, np.eye(int(both.sum()), dtype=np.bool_))
            if len(ranks):
                inverse.append(float((1.0 / (1.0 + ranks)).mean()))
                out[f"{a}-{b}_r1"] = float((ranks < 1).mean())
        return {"score": float(np.mean(inverse)) if inverse else 0.0, **out}


def _fused(network: SceneCrossOver, objects: ObjectBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """F_S and each modality's mean of objects, (B, D) unit vectors, and which exist."""
    with torch.no_grad():
        embedded = network.objectwise_modality_encoder(objects)
    out = {FUSED: network.objectwise_mlp_head(network.fusion(embedded, objects.present))}
    present = {FUSED: torch.stack([mask.any(dim=1) for mask in objects.present.values()]).any(dim=0)}
    for name, values in embedded.items():
        mask = objects.present[name][..., None].to(values.dtype)
        out[name] = nn.functional.normalize((values * mask).sum(dim=1), dim=1)
        present[name] = objects.present[name].any(dim=1)
    return out, present


def _to(batch: UnifiedBatch, device: torch.device) -> UnifiedBatch:
    return UnifiedBatch(
        (batch.views[0].to(device), batch.views[1].to(device)),
        batch.plans.to(device),
        batch.texts.to(device),
        (batch.clouds[0].to(device), batch.clouds[1].to(device)),
        batch.cloud_rows.to(device),
        {name: mask.to(device) for name, mask in batch.present.items()},
    )
