"""The published design learns what is there, and nothing where nothing is (stages 0 to 3)."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scene_features import shuffled, synthetic_features

from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.front_ends import FeatureSizes
from crossover_models.encoders.profile import EncoderProfile, SparseResNetSettings
from crossover_models.encoders.shapes import ShapeEncoder
from crossover_models.reference.instance import InstanceBaseline, InstanceCrossOver
from crossover_models.reference.method import ReferenceMethod, open_reference
from crossover_models.reference.scene import SceneCrossOver
from crossover_models.training.errors import TrainingError
from crossover_models.training.feature_set import FeatureSet
from crossover_models.training.loop import run_stage
from crossover_models.training.loss import pair_loss
from crossover_models.training.object_batch import ObjectSource
from crossover_models.training.settings import TrainingSettings
from crossover_models.training.stages.checkpoint import StageModel, new_stage_model, open_stage, save_stage
from crossover_models.training.stages.inputs import augmented, scene_text, unified_batch
from crossover_models.training.stages.objects import ObjectStage, within_scenes
from crossover_models.training.stages.scene import FUSED, SceneStage

TINY = EncoderProfile(
    name="tiny",
    embedding_dim=32,
    text_hidden=64,
    frame_hidden=32,
    image_hidden=64,
    cloud_hidden=32,
    backbone=SparseResNetSettings(voxel_m=0.3, stem_channels=4, channels="8,8,8,16", last_channels=16),
)


@pytest.fixture(scope="module")
def source() -> ObjectSource:
    torch.manual_seed(0)
    return ObjectSource(ShapeEncoder(32), 64)


def _settings(epochs: int, batch: int, rate: float = 3e-3) -> TrainingSettings:
    return TrainingSettings(
        epochs=epochs, batch=batch, learning_rate=rate, validate_every=epochs, device="cpu", tensorboard=False
    )


def _sizes(features: FeatureSet) -> FeatureSizes:
    first = features.scans[0]
    return FeatureSizes(first.views.shape[1], first.plans.shape[1], first.texts.shape[1])


def _scene(features: FeatureSet, source: ObjectSource, **options) -> SceneStage:
    torch.manual_seed(1)
    legacy = options.get("legacy", False)
    network = SceneCrossOver(TINY, legacy=legacy, sizes=_sizes(features), widths=source.widths(features.scans[0]))
    return SceneStage(network, features.scans, features.scans, source, TINY, **options)


def test_contrast_within_scenes_is_that_of_plain_loops() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = (torch.nn.functional.normalize(torch.randn(3, 4, 5, generator=g), dim=2) for _ in range(2))
    has_a, has_b = torch.rand(3, 4, generator=g) < 0.7, torch.rand(3, 4, generator=g) < 0.7
    terms = []
    for s in range(3):
        for i in range(4):
            if has_a[s, i] and has_b[s, i]:
                for x, y, there in ((a, b, has_b), (b, a, has_a)):
                    logits = [7.0 * float(x[s, i] @ y[s, j]) for j in range(4) if there[s, j]]
                    own = 7.0 * float(x[s, i] @ y[s, i])
                    terms.append(np.log(np.exp(logits).sum()) - own)
    loss = within_scenes(a, b, has_a, has_b, 7.0)
    assert np.isclose(float(loss), np.mean(terms), atol=1e-5)
    assert float(within_scenes(a, b, has_a, has_b, 7.0, legacy=True)) > float(loss)


def test_objects_of_eight_scenes_are_learned_by_heart(tmp_path: Path, source: ObjectSource) -> None:
    rooms = synthetic_features(rooms=8)
    for number, kind in enumerate((InstanceBaseline, InstanceCrossOver)):
        torch.manual_seed(0)
        network = kind(32, widths=source.widths(rooms.scans[0]))
        stage = ObjectStage("objects", network, rooms.scans, rooms.scans, source)
        run_stage(stage, _settings(80, 8), tmp_path / str(number), "key")
        assert stage.validate()["rgb-referral_r1"] > 0.9


def test_eight_scenes_are_learned_by_heart(tmp_path: Path, source: ObjectSource) -> None:
    rooms = synthetic_features(rooms=8)
    stage = _scene(rooms, source)
    assert stage.validate()["score"] < 0.7
    run_stage(stage, _settings(80, 8, 5e-3), tmp_path, "key")
    figures = stage.validate()
    assert figures["score"] > 0.75 and figures["rgb-referral_r1"] >= 0.75


def test_shuffled_pairs_give_chance(tmp_path: Path, source: ObjectSource) -> None:
    train, val = shuffled(synthetic_features(rooms=24)), shuffled(synthetic_features(rooms=24, split="val"), seed=1)
    stage = _scene(train, source)
    run_stage(stage, _settings(10, 12), tmp_path, "key")
    stage._val = val.scans
    figures = stage.validate()
    found = [figures[f"{pair}_r1"] for pair in ("rgb-referral", "rgb-point", "rgb-floor_plan", "point-floor_plan")]
    assert np.mean(found) < 0.15


@pytest.mark.parametrize("name", ["rgb", "point", "floor_plan", "referral"])
def test_an_absent_modality_changes_no_other_row(source: ObjectSource, name: str) -> None:
    rooms = synthetic_features(rooms=5)
    stage = _scene(rooms, source)
    stage.module.eval()
    with torch.no_grad():
        embeddings, present = stage.embeddings(rooms.scans, None)
        present[name][2] = False
        before = stage.contrast(embeddings, present)
        embeddings[name] = embeddings[name].clone()
        embeddings[name][2] = embeddings[FUSED][0]
        assert torch.equal(before, stage.contrast(embeddings, present))
        stage._legacy = True
        present[name][2] = True
        assert not torch.equal(before, stage.contrast(embeddings, present))


def test_legacy_keeps_absent_columns() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = (torch.nn.functional.normalize(torch.randn(4, 3, generator=g), dim=1) for _ in range(2))
    every, some = torch.ones(4, dtype=torch.bool), torch.tensor([True, True, True, False])
    scale = torch.tensor(5.0)
    masked = pair_loss(a, b, every, some, scale)
    assert pair_loss(a, b, every, some, scale, columns=False) > masked


def test_fusion_alone_trains_nothing_else(source: ObjectSource) -> None:
    rooms = synthetic_features(rooms=4)
    stage = _scene(rooms, source, fusion_only=True)
    torch.autograd.backward(stage.loss(range(4), np.random.default_rng(0), torch.Generator()))
    touched = {n.split(".")[1] for n, p in stage.module.named_parameters() if p.grad is not None and n != "temperature"}
    assert touched <= {"fusion", "objectwise_mlp_head", "log_scale"} and "fusion" in touched


def test_options_are_rows_of_the_ablation(source: ObjectSource) -> None:
    rooms = synthetic_features(rooms=4)
    assert _scene(rooms, source).pairs == [(FUSED, n) for n in ("rgb", "point", "floor_plan", "referral")]
    assert ("floor_plan" in {n for p in _scene(rooms, source, floor_plan=False).pairs for n in p}) is False
    assert {a for a, _ in _scene(rooms, source, scene_level=False).pairs} == {"rgb"}
    assert len(_scene(rooms, source, all_pairs=True).pairs) == 10
    legacy = _scene(rooms, source, legacy=True)
    assert not any(p.requires_grad for p in legacy._own.temperature.parameters())


def test_the_frozen_object_level_stays_as_it_is(tmp_path: Path, source: ObjectSource) -> None:
    rooms = synthetic_features(rooms=4)
    stage = _scene(rooms, source)
    before = {n: t.clone() for n, t in stage._own.network.objectwise_modality_encoder.state_dict().items()}
    run_stage(stage, _settings(2, 4), tmp_path, "key")
    assert all(
        torch.equal(t, before[n]) for n, t in stage._own.network.objectwise_modality_encoder.state_dict().items()
    )
    assert not stage._own.network.objectwise_modality_encoder.training


def test_nothing_at_all_is_no_crash(source: ObjectSource) -> None:
    rooms = synthetic_features(rooms=3)
    empty = [
        replace(s, points=s.points[:0], colors=s.colors[:0], colored=s.colored[:0], instance=s.instance[:0])
        for s in rooms
    ]
    stage = _scene(FeatureSet((*rooms, *empty), "half of it empty"), source)
    assert torch.isfinite(stage.loss(range(3, 6), np.random.default_rng(0), torch.Generator()))


def test_a_modality_that_no_training_scan_has_is_named(source: ObjectSource) -> None:
    rooms = synthetic_features(rooms=3)
    plans = FeatureSet(tuple(replace(s, plans=s.plans[:0]) for s in rooms), "planless")
    with pytest.raises(TrainingError, match="floor_plan: 0 of 3 training scans have it"):
        _scene(plans, source)
    assert _scene(plans, source, floor_plan=False).rows() == 3
    models = [replace(s, object_cad=np.full_like(s.object_cad, -1)) for s in rooms.scans[1:]]
    some = (rooms.scans[0], *models)
    with pytest.raises(TrainingError, match="cad: 1 of 3 training scans have it"):
        ObjectStage("x", InstanceBaseline(32, widths=source.widths(some[0])), some, some, source)
    with pytest.raises(TrainingError, match="cad: 1 of 3 training scans have it"):
        _scene(FeatureSet(some, "few models"), source, fusion_only=True)


def test_published_augmentation_stays_in_its_bounds() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-3, 3, (2000, 3)).astype(np.float32)
    for seed in range(10):
        out = augmented(points, np.random.default_rng(seed))
        assert out.shape == points.shape and np.isfinite(out).all()
        same = (out == out[np.unique(out, axis=0, return_counts=True)[1].argmax()]).all(axis=1).mean()
        assert same < 0.2
        assert 0.75 < np.linalg.norm(out, axis=1).mean() / np.linalg.norm(points, axis=1).mean() < 1.35


def test_text_of_a_scene_is_a_unit_vector_or_none() -> None:
    scan = synthetic_features(rooms=1).scans[0]
    assert np.isclose(np.linalg.norm(scene_text(scan)), 1.0, atol=1e-5)
    assert scene_text(replace(scan, texts=scan.texts[:0], referrals=scan.referrals[:0])) is None


def test_a_robot_sees_one_frame_or_ten() -> None:
    scans = synthetic_features(rooms=2).scans
    assert unified_batch(scans, TINY, None, "I1").views[1].sum().item() == 2
    assert not unified_batch(scans, TINY, None, "I1").present["point"].any()
    assert unified_batch(scans, TINY, None, "I10").views[1].sum().item() == sum(len(s.drive_views[:10]) for s in scans)
    assert not torch.equal(unified_batch(scans, TINY, None, "Pd").clouds[0], unified_batch(scans, TINY, None).clouds[0])


@pytest.fixture
def saved(tmp_path: Path, source: ObjectSource) -> Path:
    rooms = synthetic_features(rooms=4)
    widths, sizes = source.widths(rooms.scans[0]), _sizes(rooms)
    for kind, network in (
        ("instance", InstanceCrossOver(32, widths=widths)),
        ("unified", SceneCrossOver(TINY, sizes=sizes, widths=widths)),
    ):
        model = StageModel(kind, TINY, sizes, widths, False, [(FUSED, "rgb")], network, source._shapes)
        save_stage(tmp_path / f"{kind}.safetensors", model, {})
    return tmp_path


def test_a_stage_is_opened_as_it_was_written(saved: Path) -> None:
    model = open_stage(saved / "unified.safetensors")
    assert model.pairs == [(FUSED, "rgb")] and not model.network.training
    rooms = synthetic_features(rooms=4)
    method = ReferenceMethod(model, rooms)
    for item in ("I", "P", "F", "R", "M", "I1", "I10", "Pd"):
        vectors, there = method.vectors(item), method.present(item)
        assert np.allclose(np.linalg.norm(vectors[there], axis=1), 1.0, atol=1e-4), item
    assert method.similarity("I", "P").shape == (4, 4)
    assert len(method.objects("M")) == 4 and method.objects("F") is None


def test_features_of_other_front_ends_are_refused(saved: Path) -> None:
    rooms = synthetic_features(rooms=2)
    wider = FeatureSet(
        tuple(
            replace(s, texts=np.pad(s.texts, ((0, 0), (0, 8))), referrals=np.pad(s.referrals, ((0, 0), (0, 8))))
            for s in rooms
        ),
        "wider texts",
    )
    assert open_reference(saved / "unified.safetensors", rooms).present("I").all()
    with pytest.raises(EncoderError, match=r"unified\.safetensors: is for referral features \d+ wide"):
        open_reference(saved / "unified.safetensors", wider)
    with pytest.raises(EncoderError, match="stage instance: embeds no raw data"):
        open_reference(saved / "instance.safetensors", rooms)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("fusion.weight"), r"missing tensor fusion\.weight"),
        (lambda s: s.update({"fusion.weight": torch.zeros(5, 1)}), r"fusion\.weight has shape \(5, 1\)"),
        (lambda s: s["fusion.weight"].fill_(float("inf")), r"fusion\.weight is not finite"),
    ],
)
def test_a_damaged_stage_is_named(saved: Path, change, message: str) -> None:
    path = saved / "unified.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)
    with pytest.raises(EncoderError, match=message):
        open_stage(path)


def test_another_embedding_size_is_refused(saved: Path) -> None:
    beside = saved / "unified.json"
    about = json.loads(beside.read_text())
    about["profile"]["embedding_dim"] = 64
    beside.write_text(json.dumps(about))
    with pytest.raises(EncoderError, match="expected"):
        open_stage(saved / "unified.safetensors")


def test_stages_start_after_the_right_one(saved: Path, source: ObjectSource) -> None:
    rooms = synthetic_features(rooms=4)
    arguments = argparse.Namespace(profile="small", legacy=False, start=saved / "unified.safetensors")
    with pytest.raises(TrainingError, match=r"--from: .* is of stage unified; stage scene starts after instance"):
        new_stage_model("scene", arguments, rooms, source, source._shapes)
    arguments = argparse.Namespace(profile="huge", legacy=False, start=None)
    with pytest.raises(TrainingError, match="--profile: unknown 'huge'"):
        new_stage_model("instance", arguments, rooms, source, source._shapes)
