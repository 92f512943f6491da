"""Mixed precision: which type the forward pass has, and the scale of the loss that halves need."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from crossover_models.training.settings import TrainingSettings

_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Precision:
    """Precision of a run on a device.

    Attributes:
        name: float32, bfloat16 or float16.
        scaler: of the loss; it does nothing but for float16.
    """

    def __init__(self, settings: TrainingSettings, device: torch.device) -> None:
        automatic = "bfloat16" if device.type == "cuda" else "float32"
        self.name = automatic if settings.precision == "auto" else settings.precision
        self._device = device.type
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.halves)

    @property
    def halves(self) -> bool:
        """Whether a step may be left out because its scaled gradients overflow."""
        return self.name == "float16"

    def forward(self) -> AbstractContextManager[object]:
        """Context of a forward pass."""
        dtype = _TYPES[self.name]
        return torch.autocast(self._device, dtype=dtype, enabled=dtype != torch.float32)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Context in which nothing is rounded to halves: for similarities and losses inside a stage's forward pass."""
    return torch.autocast(device.type, enabled=False)
