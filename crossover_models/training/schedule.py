"""Which scans a step is made of, with which draws and learning rate: functions of seed and step only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from crossover_models.training.errors import TrainingError
from crossover_models.training.settings import TrainingSettings


@dataclass(frozen=True)
class Schedule:
    """The plan of a run, the same for each of its processes and after each interruption.

    Attributes:
        settings: of the run.
        rows: number of training scans.
        rank: which process this is.
        world: of how many.

    Raises:
        TrainingError: a batch larger than the data, or one that the processes cannot share.
    """

    settings: TrainingSettings
    rows: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        batch = self.settings.batch
        if self.rows < batch:
            raise TrainingError(f"batch: {batch} scans a batch, but there are only {self.rows} to train with")
        if batch % self.world:
            raise TrainingError(f"batch: {batch} scans cannot be shared by {self.world} processes equally")

    @property
    def batches(self) -> int:
        """Whole batches of an epoch; the scans left over are others in each epoch."""
        return self.rows // self.settings.batch

    @property
    def steps(self) -> int:
        """Optimizer steps of the run."""
        return max(1, self.settings.epochs * self.batches // self.settings.accumulate)

    def epochs_done(self, step: int) -> int:
        """Whole epochs after so many steps."""
        return step * self.settings.accumulate // self.batches

    def validates(self, step: int) -> bool:
        """Whether a validation follows the step that makes it ``step`` steps."""
        every = self.settings.validate_every
        return step == self.steps or self.epochs_done(step) // every > self.epochs_done(step - 1) // every

    def numbers(self, step: int) -> range:
        """Numbers of the batches of the step after ``step`` steps."""
        return range(step * self.settings.accumulate, (step + 1) * self.settings.accumulate)

    def share(self, number: int) -> list[int]:
        """Rows of batch ``number`` that are this process's."""
        epoch, position = divmod(number, self.batches)
        order = np.random.default_rng([self.settings.seed, 1, epoch]).permutation(self.rows)
        each = self.settings.batch // self.world
        start = position * self.settings.batch + self.rank * each
        return [int(row) for row in order[start : start + each]]

    def draws(self, number: int) -> tuple[np.random.Generator, torch.Generator, int]:
        """Generators for batch ``number`` in this process, and a seed for dropout layers."""
        where = [self.settings.seed, number, self.rank]
        torch_seed, dropout_seed = (_seed([kind, *where]) for kind in (3, 4))
        return np.random.default_rng([2, *where]), torch.Generator().manual_seed(torch_seed), dropout_seed

    def learning_rate(self, step: int) -> float:
        """Of the step after ``step`` steps: linear warm-up, then half a cosine down to zero."""
        peak, rising = self.settings.learning_rate, max(1, round(self.settings.warmup * self.steps))
        if step < rising:
            return peak * (step + 1) / rising
        return peak * 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(1, self.steps - rising)))


def _seed(entropy: Sequence[int]) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))
