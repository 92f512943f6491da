"""What the training loop asks of a stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn


class Stage(Protocol):
    """One thing to train, with its training scans and its validation.

    The loop moves ``module`` to its device; tensors of ``loss`` are made there. Everything that changes from step to
    step (a queue of negatives, say) is a buffer of ``module``, or it would be lost when a run is killed.

    Attributes:
        name: in messages, logs and file names.
        module: everything trained, temperature included; what is frozen has ``requires_grad`` False, and stays in
            evaluation mode.
    """

    name: str
    module: nn.Module

    def rows(self) -> int:
        """Number of training scans."""

    def loss(self, rows: Sequence[int], rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """Mean loss (scalar) of these training scans.

        Draws are made with ``rng`` and ``generator`` (on the CPU) only; dropout layers may use torch's own generator,
        which the loop seeds. With several processes each is asked for its share of a batch, and the loss to return is
        the mean over that share; :func:`crossover_models.training.distributed.gather` gives the whole batch's rows to
        contrast with.
        """

    def validate(self) -> dict[str, float]:
        """Whole-gallery figures; of "score" the highest is kept. Asked of the first process only: no gathering."""
