"""Colors: what is compared, what is learned of them, and that nothing is made of nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sets_features import TINY, sets_rooms, tiny_model

from crossover_models.cli import main
from crossover_models.dataset.features import SceneFeatures, save_features
from crossover_models.encoders.errors import EncoderError
from crossover_models.sets.color_stage import ColorStage, color_figures, whole_palettes
from crossover_models.sets.colors import ColorNetwork, pooled_palette
from crossover_models.sets.colors_command import load_colors
from crossover_models.sets.palette import palette
from crossover_models.sets.stage import SetsModule, similarities
from crossover_models.training.loop import run_stage
from crossover_models.training.settings import TrainingSettings

SETTINGS = TrainingSettings(epochs=60, batch=48, learning_rate=5e-3, validate_every=60, device="cpu", tensorboard=False)
WALLS = 0.85
"""Share of a room's pixels that are of the same white everywhere."""


def _shown(room: np.ndarray, light: np.ndarray, rng: np.random.Generator, count: int = 3000) -> np.ndarray:
    """Pixels (count, 3) of a room that is mostly white, under some light."""
    pixels = np.where(rng.random((count, 1)) < WALLS, 235.0, room[rng.integers(len(room), size=count)])
    return np.clip(pixels * light + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)


def tinted_rooms(count: int, split: str, seed: int) -> list[SceneFeatures]:
    """Rooms of few furniture colors among much white; pictures are warm, clouds cold."""
    rng = np.random.default_rng(seed)
    out = []
    for scan in sets_rooms(count, split, seed).scans:
        room = rng.uniform(20, 230, (4, 3))
        warm, cold = np.array([1.0, 0.85, 0.65]), np.array([0.7, 0.85, 1.0])
        cloud = _shown(room, cold, rng, len(scan.points))
        views = np.stack([palette(_shown(room, warm, rng)) for _ in range(max(1, len(scan.views)))])
        drive = np.stack([palette(_shown(room, warm, rng)) for _ in range(max(1, len(scan.drive_views)))])
        colored = np.ones(len(scan.points), dtype=np.bool_)
        out.append(replace(scan, view_colors=views, drive_colors=drive, colors=cloud, colored=colored))
    return out


def test_untrained_it_compares_the_palettes_themselves() -> None:
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(np.stack([palette(rng.integers(0, 256, (200, 3)).astype(np.uint8)) for _ in range(6)]))
    vectors = ColorNetwork()(rows)
    assert torch.allclose(vectors @ vectors.T, rows @ rows.T, atol=1e-5)


def test_nothing_colored_is_no_color() -> None:
    network = ColorNetwork()
    torch.nn.init.normal_(network.last.bias)
    rows = torch.zeros(2, 64)
    rows[1, 3] = 1.0
    vectors = network(rows)
    assert not vectors[0].any() and abs(float(vectors[1].norm().detach()) - 1.0) < 1e-5


def test_pictures_pool_to_the_palette_of_all_their_pixels() -> None:
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (50, 3)).astype(np.uint8) for _ in range(3)]
    rows = torch.from_numpy(np.stack([palette(p) for p in pictures]))[None]
    seen = torch.tensor([[True, True, False]])
    expected = palette(np.concatenate(pictures[:2]))
    np.testing.assert_allclose(pooled_palette(rows, seen)[0].numpy(), expected, atol=1e-6)
    assert not pooled_palette(rows, torch.zeros(1, 3, dtype=torch.bool)).any()


def test_it_learns_what_white_walls_and_another_light_hide(tmp_path: Path) -> None:
    train, val = tinted_rooms(60, "train", 0), tinted_rooms(40, "val", 1)
    torch.manual_seed(0)
    stage = ColorStage(train, val)
    before = color_figures(ColorNetwork(), whole_palettes(val))
    run_stage(stage, SETTINGS, tmp_path, "key")
    after = stage.validate()
    assert before["I-P_r1"] < 0.4 < 0.6 < after["I-P_r1"]
    assert after["score"] > before["score"] + 0.1


def test_uncolored_scans_do_not_count(tmp_path: Path) -> None:
    train = tinted_rooms(8, "train", 0)
    bare = [
        replace(
            scan,
            view_colors=np.zeros((0, 0), np.float32),
            drive_colors=np.zeros((0, 0), np.float32),
            colored=np.zeros(len(scan.points), np.bool_),
        )
        for scan in train
    ]
    stage = ColorStage([*train, *bare], bare)
    assert stage.rows() == 8
    assert stage.validate() == {"score": 0.0}
    with pytest.raises(ValueError, match="fewer than two"):
        ColorStage(bare, bare)
    mixed = [replace(train[0], colored=np.zeros(len(train[0].points), np.bool_)), *train[1:]]
    value = ColorStage(mixed, bare).loss(range(8), np.random.default_rng(0), torch.Generator())
    assert torch.isfinite(value)


def test_the_score_of_two_places_counts_their_colors_where_both_have_them() -> None:
    rooms = tinted_rooms(6, "val", 3)
    model, sources = tiny_model(sets_rooms(6, "val", 3))
    module = SetsModule(model.network, model.scores)
    with_colors = similarities(module, rooms, sources)[0]
    torch.nn.init.constant_(model.scores.log_colors, -30.0)
    without = similarities(module, rooms, sources)[0]
    differs = {pair: not np.allclose(with_colors[pair], without[pair], atol=1e-4) for pair in with_colors}
    # A drive's cloud comes without colors.
    colored = {"I", "I1", "I10", "P"}
    assert differs == {(q, g): {q, g} <= colored for q, g in with_colors}
    off, sources = tiny_model(sets_rooms(6, "val", 3), TINY.with_flat({"appearance": False}))
    assert off.network.images(*_views(rooms[0], off), torch.ones(1, 2, dtype=torch.bool)).colors is None


def _views(scan: SceneFeatures, model) -> tuple[torch.Tensor, ...]:
    zeros = (torch.zeros(1, 2, width) for width in (scan.views.shape[1], scan.view_objects.shape[1], 64))
    return *zeros, torch.zeros(1, 4)


def test_the_command_trains_resumes_and_writes_what_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, seed in (("train", 0), ("val", 1)):
        for scan in tinted_rooms(6, split, seed):
            path = tmp_path / "features" / "features" / split / f"{scan.scan_id}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_features(path, scan, "key")
    words = ["train", "colors", "--features", str(tmp_path / "features"), "--out", str(tmp_path / "out")]
    words += ["--epochs", "2", "--batch", "6", "--device", "cpu", "--no-tensorboard"]
    assert main(words) == 0
    assert "as the palettes are" in capsys.readouterr().out
    network = load_colors(tmp_path / "out" / "colors.safetensors")
    assert not any(p.requires_grad for p in network.parameters())
    (tmp_path / "out" / "colors.safetensors").write_bytes(b"no")
    with pytest.raises(EncoderError, match=r"colors\.safetensors"):
        load_colors(tmp_path / "out" / "colors.safetensors")
