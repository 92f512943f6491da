"""Shapes of objects: the encoder's cells and invariances, what it is shown of a scan, its training and its file."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scene_features import CATEGORIES, synthetic_features
from torch import Tensor
from torch.nn import functional

from crossover_models.dataset.features import FeaturesError, save_features
from crossover_models.dataset.features_make import FOLDER
from crossover_models.encoders import EncoderError
from crossover_models.encoders.checkpoint import read_tensors, save_tensors
from crossover_models.encoders.shapes import (
    LEAST_POINTS,
    ShapeEncoder,
    frozen,
    load_shapes,
    object_locations,
    object_points,
    posed_model,
    save_shapes,
    spread,
    unit_sphere,
)
from crossover_models.training import shapes
from crossover_models.training.feature_set import FeatureSet
from crossover_models.training.loop import run_stage
from crossover_models.training.settings import TrainingSettings
from crossover_models.training.shapes import ShapeStage, augmented, known_categories, shape_figures, shape_set
from crossover_models.training.shapes_command import FILE, add_shapes


@pytest.fixture(scope="module")
def encoder() -> ShapeEncoder:
    """Untrained."""
    torch.manual_seed(0)
    return frozen(ShapeEncoder())


@pytest.fixture(scope="module")
def features() -> FeatureSet:
    return synthetic_features(rooms=6)


def test_cells_hold_the_greatest_of_their_points(encoder: ShapeEncoder) -> None:
    points = unit_sphere(torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(1)))
    grid = encoder._cells(points)
    expected = torch.zeros(2, 32, 16, 16, 16)
    for b in range(2):
        for p in points[b]:
            x, y, z = (min(int((v + 1) * 8), 15) for v in p.tolist())
            inside = (p + 1) * 8 - torch.tensor([x, y, z]) - 0.5
            h = torch.relu(encoder.cell[0](torch.cat([p, inside])))
            h = torch.relu(encoder.cell_norm(encoder.cell[1](h)[None]))[0]
            expected[b, :, z, y, x] = torch.maximum(expected[b, :, z, y, x], h)
    torch.testing.assert_close(grid, expected)


def test_place_size_order_and_repetition_change_nothing(encoder: ShapeEncoder) -> None:
    generator = torch.Generator().manual_seed(2)
    points = torch.randn(3, 64, 3, generator=generator)
    before = encoder(points)
    assert before.shape == (3, 256)
    order = torch.randperm(64, generator=generator)
    for same in (points[:, order], 7.0 * points, points.repeat(1, 3, 1)):
        torch.testing.assert_close(encoder(same), before, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(encoder(points[1:2]), before[1:2])
    moved = encoder(points + torch.tensor([3.0, -2.0, 1.0]))
    assert functional.cosine_similarity(moved, before).min() > 0.999
    assert functional.cosine_similarity(encoder(points * torch.tensor([1.0, 1.0, 4.0])), before).max() < 0.999


def test_one_point_is_a_shape_and_none_is_refused(encoder: ShapeEncoder) -> None:
    assert torch.isfinite(encoder(torch.ones(1, 1, 3))).all()
    for wrong in (torch.ones(5, 3), torch.ones(2, 0, 3), torch.ones(2, 9, 4)):
        with pytest.raises(ValueError, match=r"points: expected \(B, P, 3\)"):
            encoder(wrong)


def test_file_keeps_the_shapes_and_what_is_wrong_with_it_is_named(encoder: ShapeEncoder, tmp_path: Path) -> None:
    path = tmp_path / "shapes.safetensors"
    save_shapes(path, encoder, {"what": "test"})
    assert path.stat().st_size < 2e6
    points = torch.randn(4, 50, 3, generator=torch.Generator().manual_seed(3))
    loaded = load_shapes(path)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    torch.testing.assert_close(loaded(points), encoder(points), atol=2e-2, rtol=0)
    state = read_tensors(path)
    for change, message in (
        ({n: t for n, t in state.items() if n != "head.weight"}, r"missing tensor head.weight"),
        ({**state, "head.bias": torch.zeros(3)}, r"tensor head.bias has shape \(3,\), expected \(256,\)"),
    ):
        save_tensors(path, change, {})
        with pytest.raises(EncoderError, match=message):
            load_shapes(path)
    with pytest.raises(EncoderError, match="no such checkpoint"):
        load_shapes(tmp_path / "nothing.safetensors")


def test_points_are_taken_evenly_or_repeated() -> None:
    points = np.arange(30, dtype=np.float32).reshape(10, 3)
    assert np.array_equal(spread(points, 5), points[::2])
    assert np.array_equal(spread(points, 25), np.concatenate([points, points, points[:5]]))
    with pytest.raises(ValueError, match="points: none"):
        spread(points[:0], 5)


def test_object_points_are_its_own_and_normalized(features: FeatureSet) -> None:
    scan = features.scans[0]
    instance = scan.instance.copy()
    few = np.flatnonzero(instance == 0)
    instance[few[LEAST_POINTS - 1 :]] = -1
    instance[np.flatnonzero(instance == 1)[LEAST_POINTS:]] = -1
    scan = replace(scan, instance=instance)
    points, present = object_points(scan, 60)
    assert points.shape == (len(scan.object_ids), 60, 3)
    assert present.tolist() == [False] + [True] * (len(present) - 1)
    assert not points[0].any()
    own = scan.points[instance == 2]
    centered = own - own.mean(axis=0)
    np.testing.assert_allclose(points[2], centered / np.linalg.norm(centered, axis=1).max(), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(points[1:], axis=2).max(axis=1), 1.0, atol=1e-5)
    assert len(np.unique(points[1], axis=0)) == LEAST_POINTS
    location = object_locations(scan)["point"]
    assert not location[0].any()
    np.testing.assert_allclose(location[2], [*own.mean(axis=0), *np.ptp(own, axis=0)], atol=1e-5)


def test_model_stands_where_its_pose_says(features: FeatureSet) -> None:
    corners = np.stack(np.meshgrid([0, 1], [0, 2], [0, 3]), axis=-1).reshape(-1, 3).astype(np.float32)
    pose = np.eye(4, dtype=np.float32)
    pose[:2, :2] = [[0, -1], [1, 0]]
    pose[:3, 3] = [5, 6, 0.5]
    placed = posed_model(corners / 9 - 0.2, pose, np.array([0.5, 1.0, 1.5], np.float32))
    np.testing.assert_allclose(placed[0], [5.5, 5.75, 0.5], atol=1e-5)
    np.testing.assert_allclose(placed.min(axis=0), [4.5, 5.75, 0.5], atol=1e-5)
    np.testing.assert_allclose(placed.max(axis=0), [5.5, 6.25, 2.0], atol=1e-5)
    for scan in features:
        where = object_locations(scan)
        has_cad = scan.object_cad >= 0
        assert not where["cad"][~has_cad].any()
        assert np.abs(where["cad"] - where["point"])[has_cad].max() < 0.45
        assert np.abs(where["cad"] - where["point"])[has_cad].mean() < 0.1


def test_scan_without_cloud_or_models_has_no_shapes(features: FeatureSet) -> None:
    scan = features.scans[0]
    none = np.full(len(scan.object_ids), -1, np.int32)
    bare = replace(
        scan, points=scan.points[:0], instance=scan.instance[:0], object_cad=none, cad_points=scan.cad_points[:0]
    )
    points, present = object_points(bare, 16)
    assert points.shape == (len(none), 16, 3)
    assert not present.any()
    assert not any(where.any() for where in object_locations(bare).values())
    with pytest.raises(FeaturesError, match="no object has a CAD model or enough points"):
        shape_set(FeatureSet((bare,), "bare"), CATEGORIES)


def test_augmented_shapes_are_turned_cut_thinned_and_repeatable() -> None:
    points = unit_sphere(torch.randn(400, 200, 3, generator=torch.Generator().manual_seed(4)))
    seen = augmented(points, 64, torch.Generator().manual_seed(5))
    assert seen.shape == (400, 64, 3)
    assert torch.equal(seen, augmented(points, 64, torch.Generator().manual_seed(5)))
    assert not torch.equal(seen, augmented(points, 64, torch.Generator().manual_seed(6)))
    assert seen.norm(dim=2).max() < 1.6
    # A pole along x comes to point anywhere about z, and stays level but for the tilt.
    pole = torch.zeros(400, 200, 3)
    pole[:, :, 0] = torch.linspace(-1, 1, 200)
    ends = augmented(pole, 64, torch.Generator().manual_seed(7))
    reach = ends.abs().amax(dim=1)
    assert (reach[:, 1] > reach[:, 0]).float().mean() == pytest.approx(0.5, abs=0.1)
    assert reach[:, 2].max() < 0.35
    assert reach[:, 2].mean() < 0.12
    # Cut poles are not centered, whole ones nearly are; both occur.
    off = ends.mean(dim=1).norm(dim=1) / ends.norm(dim=2).amax(dim=1)
    assert (off > 0.25).float().mean() > 0.1
    assert (off < 0.15).float().mean() > 0.3


def test_set_numbers_models_and_leaves_out_seen_ones(features: FeatureSet) -> None:
    first = features.scans[0]
    cad = first.object_cad.copy()
    cad[1] = cad[0]
    twice = FeatureSet((replace(first, object_cad=cad), *features.scans[1:]), "twice")
    categories = known_categories(twice)
    assert list(categories) == sorted(CATEGORIES)
    data = shape_set(twice, categories[1:])
    assert len(data) == sum(len(scan.object_ids) for scan in features)
    assert (data.labels == -1).sum() == sum(s.object_categories.count(categories[0]) for s in features)
    assert data.model_ids[0] == data.model_ids[1]
    assert len(np.unique(data.model_ids)) == len(data) - 1
    assert len(data.fingerprints) == sum(len(scan.cad_points) for scan in features)
    seen = shape_set(FeatureSet((first,), "first"), categories).fingerprints
    rest = shape_set(twice, categories, seen)
    without = int(((first.object_cad < 0) & (np.arange(len(cad)) != 1)).sum())
    assert (rest.scans == 0).sum() == without
    assert (rest.cad[rest.scans == 0] == -1).all()


class _Extents(torch.nn.Module):
    """In place of the network: the shape is its flattened extents, the category the longest axis."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = argparse.Namespace(dim=3)
        self.classes = torch.nn.Linear(1, 1)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        extents = points.amax(dim=1) - points.amin(dim=1)
        return extents - extents.mean(dim=1, keepdim=True), extents


def test_figures_are_what_a_plain_count_gives() -> None:
    rng = np.random.default_rng(0)
    scan = synthetic_features(rooms=1, objects=6, seed=3).scans[0]
    objects = len(scan.object_ids)
    stretch = 0.2 + np.eye(3)[np.arange(objects) % 3]
    models = rng.uniform(-1, 1, (objects, 100, 3)) * stretch[:, None]
    clouds = np.roll(models, -1, axis=0)
    clouds[0] = models[0]
    scan = replace(
        scan,
        object_categories=tuple("xyz"[i % 3] for i in range(objects)),
        object_cad=np.arange(objects, dtype=np.int32),
        cad_points=models.astype(np.float32),
        points=clouds.reshape(-1, 3).astype(np.float32),
        instance=np.repeat(np.arange(objects, dtype=np.int32), 100),
    )
    figures = shape_figures(_Extents(), shape_set(FeatureSet((scan,), "planted"), ("x", "y", "z")))  # type: ignore[arg-type]
    assert figures["models"] == figures["clouds"] == figures["matched"] == objects
    assert figures["cad_top1"] == 1.0
    assert figures["cloud_top1"] == figures["match_r1"] == pytest.approx(1 / objects)
    assert figures["match_chance"] == pytest.approx(1 / objects)
    shared = replace(scan, object_cad=np.maximum(scan.object_cad, 1))
    figures = shape_figures(_Extents(), shape_set(FeatureSet((shared,), "shared"), ("x", "y", "z")))  # type: ignore[arg-type]
    assert figures["models"] == objects - 1
    assert figures["clouds"] == objects


def test_objects_of_one_model_are_no_negatives_of_each_other(features: FeatureSet) -> None:
    data = shape_set(features, CATEGORIES)
    stage = ShapeStage(data, data, len(CATEGORIES))
    a, b = functional.normalize(torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0)), dim=2)
    s = stage.network.temperature().item()
    logits = (s * a @ b.T).double()
    left = {0: [0, 2, 3], 1: [1, 2, 3], 2: [0, 1, 2, 3], 3: [0, 1, 2, 3]}
    total = 0.0
    for i, others in left.items():
        for one in (logits[i], logits[:, i]):
            total += (one[others].logsumexp(0) - one[i]).item()
    loss = stage._contrast(a, b, torch.tensor([5, 5, 1, 2]))
    assert loss.item() == pytest.approx(total / 8, rel=1e-4)


def test_learns_what_it_sees_again(features: FeatureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "augmented", lambda points, count, generator: points[:, :count])
    categories = known_categories(features)
    train = shape_set(features, categories)
    torch.manual_seed(0)
    stage = ShapeStage(train, train, len(categories))
    before = stage.validate()["score"]
    settings = TrainingSettings(
        epochs=10, batch=12, learning_rate=3e-3, warmup=0.2, validate_every=10, tensorboard=False
    )
    trained = run_stage(stage, settings, tmp_path, "key")
    assert before < 0.5
    assert trained.state.best_score > 0.7


def _command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_shapes(parser.add_subparsers())
    parsed = parser.parse_args(["shapes", *arguments])
    return int(parsed.run(parsed))


def test_command_trains_measures_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split, rooms in (("train", 4), ("val", 2), ("test", 2)):
        folder = tmp_path / "features" / FOLDER / split
        folder.mkdir(parents=True)
        for scan in synthetic_features(split=split, rooms=rooms):
            save_features(folder / f"{scan.scan_id}.safetensors", scan, "key")
    given = ["--features", str(tmp_path / "features"), "--out", str(tmp_path / "out")]
    fast = ["--epochs", "1", "--batch", "8", "--no-tensorboard"]
    assert _command(*given, *fast) == 0
    about = json.loads((tmp_path / "out" / FILE).with_suffix(".json").read_text())
    assert set(about["figures"]) == {"val", "test"}
    assert 0.0 <= about["figures"]["test"]["cad_top1"] <= 1.0
    assert about["training"]["seed"] == 0
    written = (tmp_path / "out" / FILE).read_bytes()
    assert "Shapes of unseen models" in capsys.readouterr().out
    assert _command(*given, *fast) == 0
    assert (tmp_path / "out" / FILE).read_bytes() == written
    load_shapes(tmp_path / "out" / FILE)
    with pytest.raises(FeaturesError, match="no features of split 'train'"):
        _command("--features", str(tmp_path / "none"), "--out", str(tmp_path / "out"))
