"""``crossover train`` and ``crossover bench retrieval`` from start to end, on cached toy rooms and small encoders."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from encoder_fakes import SIZES, TINY, LetterFrontEnd, PixelFrontEnd, open_tiny
from test_training import make_room

from crossover_models.encoders import EncoderError
from crossover_models.encoders.checkpoint import load_checkpoint
from crossover_models.encoders.network import UnifiedNetwork
from crossover_models.evaluation import retrieval
from crossover_models.training import commands
from crossover_models.training.generate import RoomSource, cache_key
from crossover_models.training.room_sample import save_samples
from crossover_models.training.trainer import TrainingSettings, train

COUNTS = {"train": 100, "val": 6, "test": 12}


@pytest.fixture
def toy_rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's directory whose rooms are cached already, and commands that use the tiny encoders."""
    front_ends = (PixelFrontEnd(), LetterFrontEnd())
    monkeypatch.setattr("crossover_models.encoders.front_ends.open_front_ends", lambda *_: front_ends)
    monkeypatch.setattr("crossover_models.encoders.unified.open_front_ends", lambda *_: front_ends)
    monkeypatch.setattr("crossover_models.encoders.profile.SMALL", TINY)
    for number, (split, count) in enumerate(COUNTS.items()):
        source = RoomSource(split, count, 0)
        rooms = [make_room(i, seed=number) for i in range(count)]
        file = tmp_path / "rooms" / f"{split}_{source.building_seed(0)}.safetensors"
        save_samples(file, rooms, cache_key(source, TINY, *front_ends))
    return tmp_path


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    commands.add_command(subparsers)
    retrieval.add_command(subparsers)
    return parser.parse_args(words)


def run_training(folder: Path, *more: str) -> dict:  # type: ignore[type-arg]
    words = ("train", "small", "--rooms", "100", "--val-rooms", "6", "--test-rooms", "12", "--epochs", "5")
    arguments = parse(*words, "--out", str(folder), *more)
    assert arguments.run(arguments) == 0
    found: dict = json.loads((folder / "tiny.json").read_text())  # type: ignore[type-arg]
    return found


def test_train_writes_a_checkpoint_that_says_how_it_was_made(
    toy_rooms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    description = run_training(toy_rooms)
    encoder = open_tiny(toy_rooms / "tiny.safetensors")
    assert encoder.fingerprint == description["fingerprint"]
    assert description["command"].startswith("crossover train small --rooms 100 --val-rooms 6 --test-rooms 12 --seed 0")
    assert description["rooms"] == COUNTS and description["seed"] == 0 and description["start"] is None
    assert description["training"]["steps"] == 5 and description["training"]["log"][-1]["step"] == 5
    assert description["test"]["chance"] == {"r1": 0.0833, "r5": 0.4167, "r10": 0.8333}
    assert description["test"]["pairs"]["I-P"]["n"] == 12
    assert str(toy_rooms) not in json.dumps(description)
    assert "floor plan" in capsys.readouterr().out

    before = (toy_rooms / "tiny.safetensors").read_bytes()
    assert run_training(toy_rooms)["fingerprint"] == description["fingerprint"]
    assert (toy_rooms / "tiny.safetensors").read_bytes() == before, "a finished run, repeated, changed its result"

    where = ("--checkpoint", str(toy_rooms / "tiny.safetensors"), "--cache", str(toy_rooms / "rooms"))
    bench = parse("retrieval", "--rooms", "12", *where, "--json", str(toy_rooms / "deep" / "r.json"))
    assert bench.run(bench) == 0
    figures = json.loads((toy_rooms / "deep" / "r.json").read_text())
    assert figures.pop("fingerprint") == description["fingerprint"]
    assert figures == description["test"], "the bench must repeat the figures that are shipped"


def test_training_starts_from_given_weights(toy_rooms: Path) -> None:
    first = run_training(toy_rooms)
    start = toy_rooms / "start.safetensors"
    (toy_rooms / "tiny.safetensors").rename(start)
    (toy_rooms / "tiny.json").rename(start.with_suffix(".json"))
    (toy_rooms / "state.safetensors").unlink()
    second = run_training(toy_rooms, "--start", str(start))
    assert second["start"]["fingerprint"] == first["fingerprint"] != second["fingerprint"]
    assert second["training"]["log"][0]["loss"] < first["training"]["log"][0]["loss"]
    other = load_checkpoint(str(start))
    other.state.pop("encoder3D.conv1.kernel")
    rooms = [make_room(i) for i in range(4)]
    with pytest.raises(EncoderError, match=r"encoder3D\.conv1\.kernel"):
        train(TINY, SIZES, TrainingSettings(batch=2), rooms, rooms, toy_rooms / "none", start=other)


@pytest.mark.parametrize(("option", "value"), [("--rooms", "0"), ("--test-rooms", "5"), ("--seed", "-1")])
def test_train_refuses_counts_that_make_no_sense(toy_rooms: Path, option: str, value: str) -> None:
    arguments = parse("train", "small", "--out", str(toy_rooms), option, value)
    with pytest.raises(ValueError, match=f"{option}.*{value}"):
        arguments.run(arguments)


def test_bench_refuses_too_few_rooms() -> None:
    arguments = parse("retrieval", "--rooms", "3")
    with pytest.raises(ValueError, match=r"--rooms.*3"):
        arguments.run(arguments)


def test_figures_leave_absent_modalities_out_and_rank_histograms() -> None:
    rooms = [make_room(i) for i in range(12)]
    colors = np.eye(12, 64, dtype=np.float32)
    rooms = [
        replace(room, survey_colors=c[None], robot_colors=c[None], mesh_colors=c)
        for room, c in zip(rooms, colors, strict=True)
    ]
    rooms[3] = replace(rooms[3], mesh_points=np.zeros((0, 3), np.float32), mesh_object=np.zeros(0, np.int32))
    figures = retrieval.retrieval_figures(UnifiedNetwork(TINY, SIZES), TINY, rooms)
    assert figures["pairs"]["M-F"]["n"] == 11 and figures["pairs"]["I-F"]["n"] == 12
    assert figures["trivial"]["Ir-I"]["r1"] == 1.0
    assert {"Ir1-I", "Ir-I", "Pr-P"} <= set(figures["robot"])
