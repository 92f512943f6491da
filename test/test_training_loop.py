"""The training loop: equal to a plain one, the same after interruptions, on one process or two, refusing rubbish."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from toy_stage import SETTINGS, Together, ToyStage

from crossover_models.config import ConfigError
from crossover_models.training.arguments import add_training_arguments, training_settings
from crossover_models.training.errors import CacheError, TrainingError
from crossover_models.training.loop import StepReport, run_stage
from crossover_models.training.progress import stage_bar
from crossover_models.training.schedule import Schedule
from crossover_models.training.settings import TrainingSettings

TOY = Path(__file__).parent / "toy_stage.py"


def lines(folder: Path) -> list[dict[str, object]]:
    """The log without the times."""
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in entry.items() if name != "spent_s"} for entry in entries]


def assert_alike(entries: list[dict[str, object]], others: list[dict[str, object]]) -> None:
    """The same log but for rounding."""
    for entry, other in zip(entries, others, strict=True):
        assert entry == {n: v if n == "kind" else pytest.approx(v, rel=1e-3) for n, v in other.items()}


def assert_same_run(folder: Path, other: Path) -> None:
    """Bit-equal weights, moments and best weights, and the same log."""
    a, b = load_file(folder / "state.safetensors"), load_file(other / "state.safetensors")
    assert a.keys() == b.keys()
    assert any(name.startswith("optimizer.") for name in a) and any(name.startswith("best.") for name in a)
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name
    assert lines(folder) == lines(other)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    run_stage(ToyStage(), SETTINGS, folder, "key")
    return folder


class Linear:
    """Least squares: its loss is a mean over rows, so that batches add up."""

    name = "linear"

    def __init__(self, rows: int = 16, spoiled: dict[int, float] | None = None) -> None:
        rng = np.random.default_rng(5)
        self.module: nn.Module = nn.Linear(3, 2)
        nn.init.constant_(self.module.weight, 0.5)  # type: ignore[arg-type]
        nn.init.constant_(self.module.bias, 0.25)  # type: ignore[arg-type]
        self.x = torch.from_numpy(rng.normal(size=(rows, 3)).astype(np.float32))
        self.y = torch.from_numpy(rng.normal(size=(rows, 2)).astype(np.float32))
        self.spoiled, self.scores, self.calls = spoiled or {}, [0.5], 0

    def rows(self) -> int:
        return len(self.x)

    def loss(self, rows: Sequence[int], rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        chosen = list(rows)
        factor = self.spoiled.get(self.calls, 1.0)
        self.calls += 1
        return (self.module(self.x[chosen]) - self.y[chosen]).square().mean() * factor

    def validate(self) -> dict[str, float]:
        return {"score": self.scores.pop(0) if len(self.scores) > 1 else self.scores[0]}


PLAIN = replace(SETTINGS, epochs=4, batch=8, accumulate=1, clip=0.1, weight_decay=0.1)


def test_equals_a_plain_loop(tmp_path: Path) -> None:
    seen: list[StepReport] = []
    stage = Linear()
    run_stage(stage, PLAIN, tmp_path, "key", seen.append)
    plain = Linear()
    weight, bias = plain.module.parameters()
    groups = [{"params": [weight], "weight_decay": 0.1}, {"params": [bias], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    steps = 8
    for step in range(steps):
        order = np.random.default_rng([0, 1, step // 2]).permutation(16)[step % 2 * 8 :][:8].tolist()
        # One step of warm-up, for 5 % of 8 are less than one.
        rate = 1e-2 if step == 0 else 1e-2 * 0.5 * (1 + math.cos(math.pi * (step - 1) / (steps - 1)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss = (plain.module(plain.x[order]) - plain.y[order]).square().mean()
        torch.autograd.backward(loss)
        norm = torch.sqrt(weight.grad.square().sum() + bias.grad.square().sum())
        assert norm > 0.1  # clipping is at work
        for parameter in (weight, bias):
            parameter.grad *= 0.1 / (norm + 1e-6)
        optimizer.step()
        assert seen[step].loss == pytest.approx(loss.item()) and seen[step].learning_rate == pytest.approx(rate)
        assert (seen[step].step, seen[step].steps) == (step + 1, steps)
        logged = [entry for entry in lines(tmp_path) if entry["kind"] == "step"][step]
        assert logged["gradient_norm"] == pytest.approx(norm.item())
    torch.testing.assert_close(stage.module.state_dict(), plain.module.state_dict())
    assert len(seen) == steps


def test_vectors_do_not_decay(tmp_path: Path) -> None:
    stage = Linear(spoiled={0: 0.0})
    run_stage(stage, replace(PLAIN, epochs=1, batch=16), tmp_path, "key")
    assert torch.equal(stage.module.bias, torch.full((2,), 0.25))
    torch.testing.assert_close(stage.module.weight, torch.full((2, 3), 0.5 * (1 - 1e-2 * 0.1)))


def test_two_batches_of_four_are_one_of_eight(tmp_path: Path) -> None:
    one, two = Linear(), Linear()
    run_stage(one, PLAIN, tmp_path / "one", "key")
    run_stage(two, replace(PLAIN, batch=4, accumulate=2), tmp_path / "two", "key")
    torch.testing.assert_close(one.module.state_dict(), two.module.state_dict())
    assert two.calls == 2 * one.calls == 16
    assert_alike(lines(tmp_path / "one"), lines(tmp_path / "two"))


def test_learns_and_gives_back_the_best(tmp_path: Path) -> None:
    stage = ToyStage(rooms=64)
    trained = run_stage(stage, replace(SETTINGS, epochs=12, batch=32, accumulate=1), tmp_path, "key")
    scores = [entry["score"] for entry in trained.state.log]
    assert scores[0] < 0.6 < 0.8 < trained.state.best_score == max(scores)
    stage.module.load_state_dict(trained.best_state)
    stage.module.eval()
    assert stage.validate()["score"] == trained.state.best_score
    assert len(scores) == 12 and trained.state.step == 24


def test_frozen_parts_stay(tmp_path: Path) -> None:
    stage = ToyStage()
    before = {name: tensor.clone() for name, tensor in stage.module.frozen.state_dict().items()}
    run_stage(stage, SETTINGS, tmp_path, "key")
    assert all(torch.equal(tensor, before[name]) for name, tensor in stage.module.frozen.state_dict().items())
    assert stage.module.seen.item() == 18 and stage.module.drop.training is False


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_goes_on_with_the_same_numbers(tmp_path: Path, precision: str) -> None:
    settings = replace(SETTINGS, precision=precision, save_every=100)
    run_stage(ToyStage(), settings, tmp_path / "whole", "key")
    for piece, steps in enumerate((1, 2, 1, 3, 100)):
        stage = ToyStage(seed=piece)  # when it goes on, the saved weights count, not those it would begin with
        trained = run_stage(stage, settings, tmp_path / "pieces", "key", max_steps=steps)
    assert trained.state.step == 9
    assert_same_run(tmp_path / "pieces", tmp_path / "whole")
    asked = stage.asked
    run_stage(stage, settings, tmp_path / "pieces", "key")
    assert stage.asked == asked  # a finished run is not trained further


def test_precisions_differ(tmp_path: Path) -> None:
    weights = []
    for precision in ("auto", "float32", "bfloat16", "float16"):
        trained = run_stage(ToyStage(), replace(SETTINGS, precision=precision), tmp_path / precision, "key")
        weights.append(trained.best_state["views.weight"])
    assert torch.equal(weights[0], weights[1])
    for other in weights[2:]:
        assert not torch.equal(other, weights[1])
        torch.testing.assert_close(other, weights[1], rtol=0.0, atol=0.1)


class Halves(Linear):
    """Whose product with 300 overflows halves, on the way back, at first."""

    def loss(self, rows: Sequence[int], rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        return super().loss(rows, rng, generator) * 300.0


def test_a_step_that_overflows_halves_is_left_out(tmp_path: Path) -> None:
    stage = Halves()
    settings = replace(PLAIN, precision="float16", epochs=20)
    run_stage(stage, settings, tmp_path, "key", max_steps=1)
    assert torch.equal(stage.module.bias, torch.full((2,), 0.25))
    run_stage(stage, settings, tmp_path, "key")
    assert not torch.equal(stage.module.bias, torch.full((2,), 0.25)) and stage.module.bias.isfinite().all()
    straight = Halves()
    run_stage(straight, settings, tmp_path / "straight", "key")
    assert torch.equal(stage.module.bias, straight.module.bias)


def killed(folder: Path, how: str) -> None:
    """Run until the process is killed as ``how`` says."""
    done = subprocess.run([sys.executable, TOY, folder, how], env=environment(), timeout=600, check=False)
    assert done.returncode == -signal.SIGKILL


def environment() -> dict[str, str]:
    paths = [str(TOY.parent), str(TOY.parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def test_killed_between_saves_and_within_one_it_goes_on_with_the_same_numbers(tmp_path: Path, whole: Path) -> None:
    killed(tmp_path, "kill-at-5")
    assert lines(tmp_path)[-1]["step"] == 5  # told of a step that was not saved
    killed(tmp_path, "kill-in-save-2")
    assert (tmp_path / "state.safetensors.partial").exists()
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('rubbish\n{"kind": "step", "st')
    trained = run_stage(ToyStage(), SETTINGS, tmp_path, "key")
    assert trained.state.step == 9
    assert_same_run(tmp_path, whole)


def test_two_processes_are_one_with_the_whole_batch(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    with subprocess.Popen([*program, TOY, tmp_path, "together"], env=environment()) as both:
        try:
            assert both.wait(timeout=600) == 0
        finally:
            both.terminate()  # it ends its processes too; killed, it would leave them behind
    one = Together()
    alone = run_stage(one, SETTINGS, tmp_path / "alone", "key")
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert [a + b for a, b in zip(first["asked"], second["asked"], strict=True)] == one.asked
    assert first["scores"] == second["scores"] == [entry["score"] for entry in alone.state.log]
    assert first["weights"] == second["weights"] and first["again"] == second["again"] == 9
    # Threads that outlive the processes' group abort the interpreter's end now and then.
    assert first["threads"] == second["threads"] == 0
    # Rows of 1 and 2 processes: each place is weighted by both processes' sums.
    assert first["gradient"] == second["gradient"] == [[2.0, 2.0], [4.0, 4.0], [6.0, 6.0]]
    a, b = (load_file(tmp_path / name / "state.safetensors") for name in ("first", "alone"))
    for name, tensor in a.items():
        torch.testing.assert_close(tensor, b[name], rtol=1e-3, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")
    assert_alike(lines(tmp_path / "first"), lines(tmp_path / "alone"))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_shares_make_up_batches_and_batches_epochs(world: int) -> None:
    settings = replace(SETTINGS, batch=8, accumulate=3, epochs=9)
    plans = [Schedule(settings, 27, rank, world) for rank in range(world)]
    assert plans[0].batches == 3 and plans[0].steps == 9
    for epoch in range(3):
        batches = [[row for plan in plans for row in plan.share(3 * epoch + i)] for i in range(3)]
        assert len({row for batch in batches for row in batch}) == 24 and all(len(batch) == 8 for batch in batches)
        assert batches == [Schedule(settings, 27).share(3 * epoch + i) for i in range(3)]
    assert Schedule(settings, 27).share(0) != Schedule(replace(settings, seed=1), 27).share(0)
    draws = {(plan.draws(n)[0].integers(1 << 40), plan.draws(n)[1].initial_seed()) for plan in plans for n in range(9)}
    assert len(draws) == 9 * world


def test_validates_once_in_so_many_epochs_and_at_the_end() -> None:
    plan = Schedule(replace(SETTINGS, epochs=5, batch=8, accumulate=2, validate_every=2), 24)
    # 15 batches are 7 steps, with whole epochs after the batches 3, 6, 9, ...: even ones after step 3 and 6.
    assert [step for step in range(1, 8) if plan.validates(step)] == [3, 6, 7]


def test_stops_when_nothing_gets_better(tmp_path: Path) -> None:
    stage = Linear()
    stage.scores = [0.1, 0.3, 0.3, 0.2, 0.1, 0.9]
    trained = run_stage(stage, replace(PLAIN, epochs=20, patience=3), tmp_path, "key")
    assert [entry["score"] for entry in trained.state.log] == [0.1, 0.3, 0.3, 0.2, 0.1]
    assert (trained.state.best_score, trained.state.best_step) == (0.3, 4)
    then = Linear()
    run_stage(then, replace(PLAIN, epochs=20), tmp_path / "then", "key", max_steps=4)
    assert torch.equal(trained.best_state["weight"], then.module.weight)
    calls = stage.calls
    assert run_stage(stage, replace(PLAIN, epochs=20, patience=3), tmp_path, "key").state.step == 10
    assert stage.calls == calls


def test_events_and_lines_say_the_same_also_of_a_continued_run(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    settings = replace(SETTINGS, tensorboard=True)
    run_stage(ToyStage(), settings, tmp_path, "key", max_steps=4)
    saved = (tmp_path / "state.safetensors").read_bytes()
    run_stage(ToyStage(), settings, tmp_path, "key", max_steps=3)
    (tmp_path / "state.safetensors").write_bytes(saved)  # as if killed before that was saved
    run_stage(ToyStage(), settings, tmp_path, "key")
    events = accumulator.EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    for tag, kind, name in (("toy step/loss", "step", "loss"), ("toy validation/score", "validation", "score")):
        told = [(e["step"], pytest.approx(e[name])) for e in lines(tmp_path) if e["kind"] == kind]
        assert [(event.step, event.value) for event in events.Scalars(tag)] == told
    assert [e["step"] for e in lines(tmp_path) if e["kind"] == "step"] == list(range(1, 10))


def test_events_without_tensorboard_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(TrainingError, match="tensorboard: not installed"):
        run_stage(ToyStage(), replace(SETTINGS, tensorboard=True), tmp_path, "key")


def test_figures_that_are_no_numbers_are_null_in_the_log(tmp_path: Path) -> None:
    stage = Linear()
    stage.validate = lambda: {"score": 0.5, "empty": math.nan}  # type: ignore[method-assign]
    run_stage(stage, PLAIN, tmp_path, "key")
    assert "NaN" not in (tmp_path / "log.jsonl").read_text()
    assert lines(tmp_path)[-1]["empty"] is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_keeps_the_saved_state(tmp_path: Path, value: float) -> None:
    stage = Linear(spoiled={5: value})
    settings = replace(PLAIN, save_every=3, validate_every=100)
    with pytest.raises(TrainingError, match=rf"linear: loss: {value} at step 5; the last saved state is kept"):
        run_stage(stage, settings, tmp_path, "key")
    healed = Linear()
    run_stage(healed, settings, tmp_path, "key")
    straight = Linear()
    run_stage(straight, settings, tmp_path / "straight", "key")
    assert healed.calls == 5
    assert torch.equal(healed.module.weight, straight.module.weight)


class _Spoil(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        return gradients[0] * math.nan


def test_a_gradient_that_is_no_number_is_named(tmp_path: Path) -> None:
    class Spoiled(Linear):
        def loss(self, rows: Sequence[int], rng: np.random.Generator, generator: torch.Generator) -> Tensor:
            return _Spoil.apply(super().loss(rows, rng, generator))  # type: ignore[no-any-return, no-untyped-call]

    stage = Spoiled()
    with pytest.raises(TrainingError, match="linear: gradient: nan at step 0"):
        run_stage(stage, PLAIN, tmp_path, "key")
    assert stage.module.weight.isfinite().all()


@pytest.mark.parametrize("figures", [{"score": math.nan}, {"recall": 1.0}])
def test_a_validation_without_a_score_is_named(tmp_path: Path, figures: dict[str, float]) -> None:
    stage = Linear()
    stage.validate = lambda: figures  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"linear: score: (nan|None) at step 2"):
        run_stage(stage, PLAIN, tmp_path, "key")


def test_a_loss_without_parameters_is_named(tmp_path: Path) -> None:
    stage = Linear()
    stage.loss = lambda *_: torch.zeros(())  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match="linear: loss: no parameter has an influence on it at step 0"):
        run_stage(stage, PLAIN, tmp_path, "key")
    stage.module.requires_grad_(False)
    with pytest.raises(TrainingError, match="every parameter is frozen"):
        run_stage(stage, PLAIN, tmp_path, "key")


def damaged(content: bytes) -> list[bytes]:
    flipped = bytearray(content)
    flipped[-100] ^= 1
    header = content.replace(b'\\"best_step\\": ', b'\\"best_step\\":1', 1)
    assert header != content
    return [b"", b"rubbish", content[: len(content) // 2], bytes(flipped), header]


def test_a_damaged_state_is_named_and_left_as_it_is(tmp_path: Path, whole: Path) -> None:
    path = tmp_path / "state.safetensors"
    for content in damaged((whole / "state.safetensors").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(CacheError, match=rf"{path}: damaged"):
            run_stage(ToyStage(), SETTINGS, tmp_path, "key")
        assert path.read_bytes() == content


def test_a_state_of_another_run_is_refused(tmp_path: Path, whole: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes((whole / "state.safetensors").read_bytes())
    with pytest.raises(CacheError, match="other data or another design"):
        run_stage(ToyStage(), SETTINGS, tmp_path, "other")
    with pytest.raises(CacheError, match=r"is of a run with learning_rate 0.01, not 0.02"):
        run_stage(ToyStage(), replace(SETTINGS, learning_rate=0.02), tmp_path, "key")
    with pytest.raises(CacheError, match=r"precision float32, not bfloat16"):
        run_stage(ToyStage(), replace(SETTINGS, precision="bfloat16"), tmp_path, "key")
    wider = ToyStage()
    wider.module.plans = nn.Linear(32, 17)
    with pytest.raises(CacheError, match="does not fit the module"):
        run_stage(wider, SETTINGS, tmp_path, "key")
    # How often it saves and logs is free.
    assert run_stage(ToyStage(), replace(SETTINGS, save_every=7, log_every=3), tmp_path, "key").state.step == 9


def test_refusals_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="batch: 64 scans a batch, but there are only 24"):
        run_stage(ToyStage(), TrainingSettings(), tmp_path, "key")
    with pytest.raises(TrainingError, match="batch: 8 scans cannot be shared by 3 processes"):
        Schedule(SETTINGS, 24, 0, 3)
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="device: cuda, but there are 0 GPUs"):
            run_stage(ToyStage(), replace(SETTINGS, device="cuda"), tmp_path, "key")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        run_stage(ToyStage(), SETTINGS, tmp_path / "file" / "folder", "key")


def test_a_full_disk_keeps_the_saved_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path) -> None:
    run_stage(ToyStage(), SETTINGS, tmp_path, "key", max_steps=3)
    before = (tmp_path / "state.safetensors").read_bytes()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            run_stage(ToyStage(), SETTINGS, tmp_path, "key")
    assert (tmp_path / "state.safetensors").read_bytes() == before
    run_stage(ToyStage(), SETTINGS, tmp_path, "key")
    assert_same_run(tmp_path, whole)


def test_random_numbers_of_the_caller_are_left_alone(tmp_path: Path) -> None:
    stage = ToyStage()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    run_stage(stage, SETTINGS, tmp_path, "key", max_steps=2)
    assert torch.equal(torch.rand(4), expected)


def test_options_are_the_settings() -> None:
    parser = argparse.ArgumentParser()
    defaults = replace(TrainingSettings(), epochs=7)
    add_training_arguments(parser, defaults)
    given = ["--batch=12", "--accumulate=3", "--precision=bfloat16", "--learning-rate=0.5", "--no-tensorboard"]
    expected = replace(defaults, batch=12, accumulate=3, precision="bfloat16", learning_rate=0.5, tensorboard=False)
    assert training_settings(parser.parse_args(given), defaults) == expected
    assert training_settings(parser.parse_args([])) == TrainingSettings()
    with pytest.raises(ConfigError, match="batch: must be at least 1, got 0"):
        training_settings(parser.parse_args(["--batch", "0"]))
    with pytest.raises(SystemExit):
        parser.parse_args(["--precision", "float8"])
    assert "--patience" in parser.format_help() and "(default: 7)" in parser.format_help()


def test_the_bar_tells_loss_and_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = Linear()
    with stage_bar("linear stage") as report:
        run_stage(stage, PLAIN, tmp_path, "key", report)
    told = " ".join(capsys.readouterr().out.split())
    assert "linear stage" in told and "8/8" in told and "validation 0.500" in told
