"""A small stage on synthetic rooms for tests of the training loop, and the programs that those tests kill or share.

Run as a program: ``toy_stage.py FOLDER HOW``, HOW being ``kill-at-STEP``, ``kill-in-save-NUMBER``, ``together``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scene_features import synthetic_features
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from crossover_models.training import loop, loop_state
from crossover_models.training.distributed import gather, is_first, part
from crossover_models.training.loop import StepReport, run_stage
from crossover_models.training.loss import Temperature, pair_loss
from crossover_models.training.precision import full_precision
from crossover_models.training.settings import TrainingSettings

SETTINGS = TrainingSettings(
    epochs=6, batch=8, accumulate=2, validate_every=1, save_every=2, log_every=1, learning_rate=1e-2, tensorboard=False
)
"""Of 24 rooms: 3 batches an epoch, 9 steps, of which every other one ends within an epoch."""


class Toy(nn.Module):
    """Linear heads with dropout, a frozen norm with running means, and a buffer that every step changes."""

    def __init__(self, noise: float) -> None:
        super().__init__()
        self.frozen = nn.BatchNorm1d(48).requires_grad_(False)
        self.drop = nn.Dropout(0.1 if noise else 0.0)
        self.views, self.plans = nn.Linear(48, 16), nn.Linear(32, 16)
        self.temperature = Temperature()
        self.seen = nn.Buffer(torch.zeros(1))


class ToyStage:
    """Views against plans, with noise on the features from both generators."""

    name = "toy"

    def __init__(self, noise: float = 0.1, rooms: int = 24, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.noise, self.module = noise, Toy(noise)
        self.training, self.validation = synthetic_features(rooms=rooms), synthetic_features(split="val")
        self.asked: list[list[int]] = []

    def rows(self) -> int:
        return len(self.training)

    def embeddings(
        self, scans: Sequence, rng: np.random.Generator | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        views = torch.from_numpy(np.stack([scan.views.mean(axis=0) for scan in scans]))
        plans = torch.from_numpy(np.stack([scan.plans.mean(axis=0) for scan in scans]))
        if rng is not None and generator is not None:
            views = views + self.noise * torch.from_numpy(rng.normal(size=views.shape).astype(np.float32))
            plans = plans + self.noise * torch.randn(plans.shape, generator=generator)
        m = self.module
        return normalize(m.views(m.drop(m.frozen(views))).float()), normalize(m.plans(m.drop(plans)).float())

    def loss(self, rows: Sequence[int], rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        self.asked.append(list(rows))
        a, b = (gather(x) for x in self.embeddings([self.training.scans[i] for i in rows], rng, generator))
        self.module.seen += 1
        everywhere = torch.ones(len(a), dtype=torch.bool)
        with full_precision(a.device):
            return pair_loss(a, b, everywhere, everywhere, self.module.temperature())

    def validate(self) -> dict[str, float]:
        a, b = self.embeddings(self.validation.scans)
        right = (a @ b.T).argmax(dim=1) == torch.arange(len(a))
        return {"score": float(right.float().mean()), "scale": float(self.module.temperature().detach())}


def kill_at(step: int) -> loop.Report:
    """A report that ends the process, as a machine that loses power does, right after that step."""

    def report(made: StepReport) -> None:
        if made.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return report


def kill_in_save(number: int) -> None:
    """End the process in the midst of its ``number``-th saved state: half of it is written."""
    count = 0

    def write(path: Path, content: bytes) -> None:
        nonlocal count
        count += 1
        if count == number:
            path.with_name(path.name + ".partial").write_bytes(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        whole(path, content)

    whole, loop_state.write_whole = loop_state.write_whole, write


def gathered_gradient() -> Tensor:
    """Of a sum over all processes' rows, weighted by their place, with 1 and 2 rows: 1, 2 and 3, twice."""
    rank = int(os.environ["RANK"])
    rows = torch.ones(rank + 1, 2, requires_grad=True)
    everything = gather(rows)
    weights = torch.arange(1.0, len(everything) + 1)[:, None]
    torch.autograd.backward((everything * weights).sum())
    assert rows.grad is not None
    return gather(rows.grad)


class Together(ToyStage):
    """Without noise, and a process's loss is that of its own rows alone: two make of it what one does."""

    def __init__(self) -> None:
        super().__init__(noise=0.0)

    def loss(self, rows: Sequence[int], rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        if "RANK" in os.environ and not hasattr(self, "gradient"):
            self.gradient = gathered_gradient()
        self.asked.append(list(rows))
        a, b = self.embeddings([self.training.scans[i] for i in rows], rng, generator)
        self.module.seen += 1
        own = int(os.environ.get("RANK", "0")) * len(rows) + torch.arange(len(rows))
        logits = [self.module.temperature() * x @ gather(y).T for x, y in ((a, b), (b, a))]
        return sum((cross_entropy(x, own) for x in logits), torch.zeros(())) / 2


def main(folder: Path, how: str) -> None:
    torch.set_num_threads(1)
    if how == "together":
        torch.manual_seed(int(os.environ["RANK"]))
        stage = Together()
        if not is_first():
            nn.init.zeros_(stage.module.views.weight)
        trained = run_stage(stage, SETTINGS, folder / "first", "key")
        again = run_stage(Together(), SETTINGS, folder / "first", "key")
        told = {
            "scores": [entry["score"] for entry in trained.state.log],
            "again": again.state.step,
            "asked": stage.asked,
            "gradient": stage.gradient.tolist(),
            "weights": stage.module.views.weight.detach().sum().item(),
        }
        part()
        names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
        told["threads"] = sum("gloo" in name for name in names)
        (folder / f"rank{os.environ['RANK']}.json").write_text(json.dumps(told))
        return
    number = int(how.rsplit("-", 1)[1])
    if how.startswith("kill-in-save"):
        kill_in_save(number)
    run_stage(ToyStage(), SETTINGS, folder, "key", kill_at(number) if how.startswith("kill-at") else None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
