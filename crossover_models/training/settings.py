"""How a stage is optimized; the same settings for every stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crossover_models.config import Settings, setting

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda")
_FREE = ("save_every", "log_every", "device", "tensorboard", "precision")
"""Settings that a run may change when it goes on, and the precision, which counts as what it comes to."""


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """Optimization as published (arXiv 2502.15011) where the paper says how; epochs are passes over the scans."""

    epochs: int = setting(100, "passes over the scans", minimum=1)
    batch: int = setting(64, "scans contrasted with each other, over all processes", minimum=1)
    accumulate: int = setting(1, "batches a step", minimum=1)
    learning_rate: float = setting(1e-3, "peak of the schedule", minimum=1e-7)
    weight_decay: float = setting(0.01, "decoupled; vectors and scalars have none", minimum=0.0)
    clip: float = setting(1.0, "largest gradient norm", minimum=1e-3)
    warmup: float = setting(0.05, "share of steps with rising learning rate", minimum=0.0, maximum=0.5)
    precision: str = setting("auto", "of the forward pass; auto is bfloat16 on a GPU", choices=PRECISIONS)
    device: str = setting("auto", "where to train; auto is a GPU where there is one", choices=DEVICES)
    validate_every: int = setting(5, "epochs between validations", minimum=1)
    patience: int = setting(12, "validations without a better one before stopping", minimum=1)
    save_every: int = setting(100, "steps between saved states; every validation saves too", minimum=1)
    log_every: int = setting(10, "steps between lines of the log", minimum=1)
    seed: int = setting(0, "of every random draw", minimum=0)
    tensorboard: bool = setting(True, "write event files")

    def deciding(self) -> dict[str, Any]:
        """Those settings on which a run's numbers depend."""
        return {name: value for name, value in self.to_mapping().items() if name not in _FREE}
