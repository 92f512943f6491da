"""Contrastive training of the unified encoders on cached rooms."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crossover_models.config import Settings, setting
from crossover_models.encoders.checkpoint import Checkpoint, load_strictly
from crossover_models.encoders.front_ends import FeatureSizes
from crossover_models.encoders.network import UnifiedNetwork
from crossover_models.encoders.profile import EncoderProfile
from crossover_models.training.batches import Batch, embed, training_batch
from crossover_models.training.errors import TrainingError as TrainingError
from crossover_models.training.loss import Temperature, all_pairs_loss
from crossover_models.training.recall import embed_rooms, mean_reciprocal_rank, recall_at, true_ranks
from crossover_models.training.room_sample import RoomSample
from crossover_models.training.state import TrainingState, load_state, save_state


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """Optimization, as the method page has it unless the description says otherwise."""

    epochs: int = setting(100, "passes over the rooms", minimum=1)
    batch: int = setting(96, "rooms a step", minimum=2)
    cloud_share: float = setting(0.34, "share of a batch's rooms that bring clouds", minimum=0.01, maximum=1.0)
    learning_rate: float = setting(1e-3, "peak of the schedule", minimum=1e-7)
    weight_decay: float = setting(0.05, "decoupled; more than the paper's 0.01, for far fewer rooms", minimum=0.0)
    clip: float = setting(1.0, "largest gradient norm", minimum=1e-3)
    warmup: float = setting(0.05, "share of steps with rising learning rate", minimum=0.0, maximum=0.5)
    feature_dropout: float = setting(0.3, "share of frozen features zeroed in training", minimum=0.0, maximum=0.9)
    validate_every: int = setting(5, "epochs between validations", minimum=1)
    patience: int = setting(12, "validations without a better one before stopping", minimum=1)
    seed: int = setting(0, "of initialization and of every random draw", minimum=0)


Report = Callable[[int, int, float, dict[str, Any] | None], None]
"""Called after each step with (steps done, steps in all, loss, validation entry or None)."""


def learning_rate(settings: TrainingSettings, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    rising = max(1, round(settings.warmup * steps))
    if step < rising:
        return settings.learning_rate * (step + 1) / rising
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _drop_features(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """Zero random frozen features, and scale the rest so that their mean stays."""

    def dropped(values: Tensor) -> Tensor:
        keep = torch.rand(values.shape, generator=generator) >= share
        return values * keep / (1.0 - share)

    views = {item: (dropped(values), mask) for item, (values, mask) in batch.views.items()}
    return Batch(views, dropped(batch.plans), dropped(batch.texts), batch.clouds, batch.present)


class _Trained(nn.Module):
    """The network together with the temperature that only training needs."""

    def __init__(self, network: UnifiedNetwork) -> None:
        super().__init__()
        self.network = network
        self.temperature = Temperature()


def _optimizer(module: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW without decay on vectors and scalars (norms, biases, temperature)."""
    matrices = [p for p in module.parameters() if p.ndim >= 2]
    others = [p for p in module.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))


def validate(network: UnifiedNetwork, profile: EncoderProfile, rooms: Sequence[RoomSample]) -> dict[str, float]:
    """Whole-gallery figures on the validation rooms."""
    embeddings = embed_rooms(network, profile, rooms)
    out = {"mrr": mean_reciprocal_rank(embeddings)}
    for query, gallery in (("I", "P"), ("P", "F"), ("I", "F"), ("F", "R"), ("Pr", "P"), ("Pr", "F"), ("Ir", "I")):
        out[f"{query}-{gallery}_r5"] = recall_at(true_ranks(embeddings[query], embeddings[gallery]), 5)
    return out


def run_key(
    profile: EncoderProfile, settings: TrainingSettings, rooms: Sequence[RoomSample], start: Checkpoint | None = None
) -> str:
    """Hash of what must agree for a run to be continued."""
    begun = None if start is None else start.description.get("fingerprint")
    parts = [profile.to_mapping(), settings.to_mapping(), [room.room_id for room in rooms], begun]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def train(
    profile: EncoderProfile,
    sizes: FeatureSizes,
    settings: TrainingSettings,
    rooms: Sequence[RoomSample],
    validation: Sequence[RoomSample],
    state_file: Path,
    report: Report | None = None,
    max_steps: int | None = None,
    start: Checkpoint | None = None,
) -> tuple[dict[str, Tensor], TrainingState]:
    """Train, or go on with what ``state_file`` holds; returns the best validation's weights and the run's state.

    Every random draw is a function of seed and step, so a continued run equals an uninterrupted one.

    Args:
        profile: sizes of the network.
        sizes: widths of the frozen features.
        settings: optimization.
        rooms: training rooms, at least a batch of them.
        validation: rooms of other buildings.
        state_file: where the state is kept; written at every validation.
        report: called after every step.
        max_steps: stop (and save) after so many steps of this call.
        start: weights to begin with instead of random ones.

    Raises:
        TrainingError: too few rooms, or a loss that is not finite (the saved state stays as it was).
        CacheError: a state file of another run.
        EncoderError: weights to begin with that do not fit.
    """
    if len(rooms) < settings.batch:
        raise TrainingError(f"rooms: {len(rooms)} are fewer than a batch of {settings.batch}")
    if len(validation) < 2:
        raise TrainingError(f"validation rooms: need at least 2, got {len(validation)}")
    torch.manual_seed(settings.seed)
    module = _Trained(UnifiedNetwork(profile, sizes))
    if start is not None:
        load_strictly(module.network, start.state, str(start.path))
    optimizer = _optimizer(module, settings)
    key = run_key(profile, settings, rooms, start)
    state = load_state(state_file, key, module, optimizer) if state_file.exists() else TrainingState()
    per_epoch = len(rooms) // settings.batch
    steps = settings.epochs * per_epoch
    lap, first = time.monotonic(), state.step
    module.train()
    while state.step < steps and not _stalled(state, settings):
        epoch, position = divmod(state.step, per_epoch)
        order = np.random.default_rng([settings.seed, 1, epoch]).permutation(len(rooms))
        chosen = [rooms[i] for i in order[position * settings.batch : (position + 1) * settings.batch]]
        rng = np.random.default_rng([settings.seed, 2, state.step])
        batch = training_batch(chosen, profile, rng, max(2, round(settings.cloud_share * settings.batch)))
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + state.step)
        loss = _loss(module, _drop_features(batch, settings.feature_dropout, generator))
        if not bool(torch.isfinite(loss)):
            value = float(loss.detach())
            raise TrainingError(f"loss: {value} at step {state.step}; the state of the last validation is kept")
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, state.step, steps)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(module.parameters(), settings.clip)
        optimizer.step()
        state.step += 1
        entry = None
        stop = max_steps is not None and state.step - first >= max_steps
        if state.step % (per_epoch * settings.validate_every) == 0 or state.step == steps:
            spent_s, lap = time.monotonic() - lap, time.monotonic()
            entry = _validated(state, module, profile, validation, float(loss.detach()), spent_s)
        if entry is not None or stop:
            save_state(state_file, key, state, module, optimizer)
        if report is not None:
            report(state.step, steps, float(loss.detach()), entry)
        if stop:
            break
    return state.best, state


def _loss(module: _Trained, batch: Batch) -> Tensor:
    return all_pairs_loss(embed(module.network, batch), batch.present, module.temperature())


def _validated(
    state: TrainingState,
    module: _Trained,
    profile: EncoderProfile,
    rooms: Sequence[RoomSample],
    loss: float,
    spent_s: float,
) -> dict[str, Any]:
    figures = validate(module.network, profile, rooms)
    scale = float(module.temperature().detach())
    entry = {"step": state.step, "loss": loss, "scale": scale, "spent_s": round(spent_s, 1), **figures}
    state.log.append(entry)
    if figures["mrr"] > state.best_score:
        state.best_score, state.best_step = figures["mrr"], state.step
        state.best = {name: t.detach().clone() for name, t in module.network.state_dict().items()}
    return entry


def _stalled(state: TrainingState, settings: TrainingSettings) -> bool:
    later = [entry for entry in state.log if entry["step"] > state.best_step]
    return len(later) >= settings.patience
