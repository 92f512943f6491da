"""The one training loop: any stage, on one or several processes, resumable at any moment."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crossover_models.training.distributed import (
    Processes,
    average_gradients,
    from_first,
    join,
    mean_of_all,
    share_buffers,
    share_weights,
)
from crossover_models.training.errors import TrainingError
from crossover_models.training.log import RunLog
from crossover_models.training.loop_state import KEY, TrainingState, load_state, save_state
from crossover_models.training.precision import Precision
from crossover_models.training.schedule import Schedule
from crossover_models.training.settings import TrainingSettings
from crossover_models.training.stage import Stage

STATE_FILE = "state.safetensors"
SCORE = "score"


@dataclass(frozen=True)
class StepReport:
    """A step that was made.

    Attributes:
        step: steps done.
        steps: of the whole run.
        loss: mean over its scans.
        learning_rate: of the step.
        entry: figures of the validation that followed it, or None.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    entry: Mapping[str, Any] | None


Report = Callable[[StepReport], None]


@dataclass(frozen=True)
class Trained:
    """What a run came to.

    Attributes:
        best_state: the module's state at the best validation, on the CPU; empty before the first validation. The
            stage's module itself is left as after the last step.
        state: of the run; its log has every validation.
    """

    best_state: dict[str, Tensor]
    state: TrainingState


def run_stage(
    stage: Stage,
    settings: TrainingSettings,
    folder: Path,
    key: str,
    report: Report | None = None,
    max_steps: int | None = None,
) -> Trained:
    """Train a stage, or go on with what ``folder`` holds; a finished run is returned as it is.

    Every random draw is a function of seed and step, so a continued run equals an uninterrupted one bit by bit (on a
    GPU as far as its kernels are deterministic). Under torchrun every process calls it with the same arguments and a
    folder they share.

    Args:
        stage: what to train.
        settings: optimization.
        folder: of the state (``state.safetensors``), the log (``log.jsonl``) and the event files (``events``).
        key: hash of everything else that decides the run: data, architecture, weights to begin with.
        report: called after every step, in the first process only.
        max_steps: stop, and save, after so many steps of this call.

    Raises:
        TrainingError: a batch that does not fit the data or the processes; a loss, gradient or score that is no
            number (the last saved state is kept); a loss on which no parameter has an influence; no such device.
        CacheError: a damaged state, or one of another run.
        OSError: the folder cannot be written; what it held is kept.
    """
    processes = join(settings.device)
    with torch.random.fork_rng([processes.device] if processes.device.type == "cuda" else []):
        return _Run(stage, settings, folder, key, processes).train(report, max_steps)


class _Run:
    """A run of one stage in one process."""

    def __init__(self, stage: Stage, settings: TrainingSettings, folder: Path, key: str, processes: Processes) -> None:
        self.stage, self.settings, self.folder, self.processes = stage, settings, folder, processes
        self.schedule = Schedule(settings, stage.rows(), processes.rank, processes.world)
        self.precision = Precision(settings, processes.device)
        stage.module.to(processes.device)
        self.trained = [p for p in stage.module.parameters() if p.requires_grad]
        if not self.trained:
            raise TrainingError(f"{stage.name}: every parameter is frozen; there is nothing to train")
        self.optimizer = _optimizer(self.trained, settings)
        share_weights(stage.module)
        self.identity = {
            "stage": stage.name,
            **settings.deciding(),
            "precision": self.precision.name,
            "scans": stage.rows(),
            "processes": processes.world,
            KEY: key,
        }
        self.file = folder / STATE_FILE
        self.state = TrainingState()
        if self.file.exists():
            self.state = load_state(self.file, self.identity, stage.module, self.optimizer, self.precision.scaler)
        if from_first({"step": self.state.step}, processes.device)["step"] != self.state.step:
            raise TrainingError(f"{self.file}: seen by some of the processes only; they need a folder in common")

    def train(self, report: Report | None, max_steps: int | None) -> Trained:
        state, first = self.state, self.state.step
        if self._finished():
            return Trained(state.best, state)
        with ExitStack() as stack:
            log = None
            if self.processes.first:
                events = self.settings.tensorboard
                log = stack.enter_context(RunLog(self.folder, self.stage.name, state.step, events))
            lap = time.monotonic()
            while not self._finished():
                rate = self.schedule.learning_rate(state.step)
                loss, norm = self._step(rate)
                entry = None
                if self.schedule.validates(state.step):
                    spent_s, lap = round(time.monotonic() - lap, 3), time.monotonic()
                    entry = self._validated(loss, spent_s)
                stop = max_steps is not None and state.step - first >= max_steps
                # The log first: what it tells of steps that were not saved is removed when the run goes on.
                if log is not None:
                    if state.step % self.settings.log_every == 0:
                        figures = {"loss": loss, "learning_rate": rate, "gradient_norm": norm}
                        log.write("step", {"step": state.step, **figures})
                    if entry is not None:
                        log.write("validation", entry)
                if self.processes.first and (entry is not None or stop or state.step % self.settings.save_every == 0):
                    self._save()
                if report is not None and self.processes.first:
                    report(StepReport(state.step, self.schedule.steps, loss, rate, entry))
                if stop:
                    break
        return Trained(state.best, state)

    def _step(self, rate: float) -> tuple[float, float]:
        """One optimizer step; returns its loss, the mean over processes, and the gradient's norm before clipping."""
        module, scaler, step = self.stage.module, self.precision.scaler, self.state.step
        _set_training(module)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.processes.device)
        for number in self.schedule.numbers(step):
            rng, generator, dropout_seed = self.schedule.draws(number)
            torch.manual_seed(dropout_seed)
            with self.precision.forward():
                loss = self.stage.loss(self.schedule.share(number), rng, generator) / self.settings.accumulate
            if not loss.requires_grad:
                raise TrainingError(
                    f"{self.stage.name}: loss: no parameter has an influence on it at step {step}; is a modality that "
                    "it contrasts absent from all scans of the batch?"
                )
            torch.autograd.backward(scaler.scale(loss))
            total += loss.detach()
        average_gradients(module)
        value = mean_of_all(total)
        if not math.isfinite(value):
            raise TrainingError(f"{self.stage.name}: loss: {value} at step {step}; the last saved state is kept")
        scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.trained, self.settings.clip))
        if not math.isfinite(norm) and not self.precision.halves:
            raise TrainingError(f"{self.stage.name}: gradient: {norm} at step {step}; the last saved state is kept")
        scaler.step(self.optimizer)
        scaler.update()
        share_buffers(module)
        self.state.step += 1
        return value, norm

    def _validated(self, loss: float, spent_s: float) -> dict[str, Any]:
        """Validate in the first process, tell the others, and keep the module's state if it is the best."""
        module, state = self.stage.module, self.state
        figures: dict[str, Any] = {}
        if self.processes.first:
            module.eval()
            with torch.no_grad():
                figures = {name: float(value) for name, value in self.stage.validate().items()}
        figures = from_first(figures, self.processes.device)
        score = figures.get(SCORE, math.nan)
        if not math.isfinite(score):
            raise TrainingError(
                f"{self.stage.name}: {SCORE}: {figures.get(SCORE)} at step {state.step}; the last saved state is kept"
            )
        entry = {"step": state.step, "loss": loss, "spent_s": spent_s, **figures}
        state.log.append(entry)
        if score > state.best_score:
            state.best_score, state.best_step = score, state.step
            state.best = {name: t.detach().to("cpu", copy=True) for name, t in module.state_dict().items()}
        return entry

    def _save(self) -> None:
        scaler = self.precision.scaler
        save_state(self.file, self.identity, self.state, self.stage.module, self.optimizer, scaler)

    def _finished(self) -> bool:
        later = [entry for entry in self.state.log if entry["step"] > self.state.best_step]
        return self.state.step >= self.schedule.steps or len(later) >= self.settings.patience


def _optimizer(trained: list[nn.Parameter], settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW without decay on vectors and scalars (norms, biases, temperature)."""
    matrices = [p for p in trained if p.ndim >= 2]
    others = [p for p in trained if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))


def _set_training(module: nn.Module) -> None:
    """Training mode, but for parts that have parameters and none that is trained."""
    module.train()
    for part in module.modules():
        parameters = list(part.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            part.eval()
