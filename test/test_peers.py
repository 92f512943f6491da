"""Peers: what they compare, what they were never taught, and what they refuse, on planted rooms."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scene_features import synthetic_features
from sets_features import sets_rooms

from crossover_models.cli import main
from crossover_models.dataset.features import SceneFeatures, save_features
from crossover_models.dataset.features_make import features_path
from crossover_models.dataset.trivial import type_similarity
from crossover_models.encoders.errors import EncoderError
from crossover_models.encoders.shapes import ShapeEncoder, load_shapes, save_shapes
from crossover_models.evaluation.peers.aligned_file import save_peer
from crossover_models.evaluation.peers.alignment import AlignmentStage, Recipe, object_table
from crossover_models.evaluation.peers.baseline import open_baseline
from crossover_models.evaluation.peers.living_scenes import LivingScenesStage, described, open_living_scenes, sizes
from crossover_models.evaluation.peers.objectwise import MODALITIES, ObjectwiseMethod, apart, mean_of_objects
from crossover_models.evaluation.peers.pointbind import POINTBIND, open_pointbind
from crossover_models.evaluation.peers.trivial import baseline_of, open_colors, open_layouts, open_trivial, open_types
from crossover_models.evaluation.peers.ulip import ULIP2, open_ulip
from crossover_models.evaluation.tasks.method import PAIRS, Method
from crossover_models.evaluation.tasks.ranking import first_ranks
from crossover_models.reference.instance import InstanceBaseline
from crossover_models.training.feature_set import FeatureSet
from crossover_models.training.loop import run_stage
from crossover_models.training.object_batch import ObjectSource
from crossover_models.training.settings import TrainingSettings
from crossover_models.training.stages.checkpoint import StageModel, empty_network, save_stage

QUICK = TrainingSettings(epochs=20, batch=32, learning_rate=2e-3, validate_every=20, tensorboard=False, device="cpu")


@pytest.fixture(scope="module")
def shapes() -> ShapeEncoder:
    torch.manual_seed(0)
    return ShapeEncoder()


@pytest.fixture(scope="module")
def rooms() -> FeatureSet:
    return sets_rooms(8, cad_points=32, object_points=30)


def r1(method: Method, query: str, gallery: str) -> float:
    a, b, similarity = method.present(query), method.present(gallery), method.similarity(query, gallery)
    assert a is not None and b is not None and similarity is not None
    both = np.flatnonzero(a & b)
    ranks = first_ranks(similarity[np.ix_(both, both)], np.eye(len(both), dtype=np.bool_))
    return float((ranks < 1).mean())


# What learns nothing


def test_colors_and_layouts_find_planted_rooms(rooms: FeatureSet) -> None:
    method = open_trivial(None, rooms)
    assert r1(method, "I", "P") > 0.9
    assert r1(method, "I10", "P") > 0.9
    assert r1(method, "P", "F") > 0.7
    assert r1(method, "F", "P") > 0.7
    assert method.similarity("I", "F") is None
    assert method.similarity("Pd", "R") is None


def test_layouts_are_found_at_any_quarter_turn(rooms: FeatureSet) -> None:
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    turned = FeatureSet(tuple(replace(s, points=s.points @ turn.T) for s in rooms), "turned")
    before = open_layouts(None, rooms).similarity("P", "F")
    after = open_layouts(None, turned).similarity("P", "F")
    assert before is not None and after is not None
    np.testing.assert_allclose(before, after, atol=0.12)
    assert (before.argmax(axis=1) == after.argmax(axis=1)).mean() > 0.8


def test_types_are_cosines_of_what_each_modality_shows(rooms: FeatureSet) -> None:
    scans = [replace(s, object_crops=np.where(np.arange(len(s.object_ids)) == 0, 0, 2).astype(np.int32)) for s in rooms]
    method = open_types(None, FeatureSet(tuple(scans), "one object unseen"))
    seen = [Counter(s.object_categories[1:]) for s in scans]
    said = [Counter(s.object_categories) for s in scans]
    found = method.similarity("I", "R")
    assert found is not None
    np.testing.assert_allclose(found, type_similarity(seen, said), atol=1e-6)


def test_what_lacks_evidence_is_behind_everything(rooms: FeatureSet) -> None:
    bare = replace(rooms.scans[3], colored=np.zeros_like(rooms.scans[3].colored))
    scans = (*rooms.scans[:3], bare, *rooms.scans[4:])
    method = open_colors(None, FeatureSet(scans, "one without colors"))
    present, similarity = method.present("P"), method.similarity("I", "P")
    assert present is not None and similarity is not None
    assert not present[3] and present.sum() == len(scans) - 1
    assert (similarity[:, 3] < np.delete(similarity, 3, axis=1).min()).all()
    assert method.present("R") is None


def test_each_pair_has_at_most_one_baseline() -> None:
    table = {f"{a}-{b}": baseline_of(a, b) for a, b in PAIRS}
    assert table == {
        "I-P": "colors", "I-R": "types", "P-R": "types", "I-F": None, "P-F": "layouts", "R-F": "types",
        "M-P": "types", "M-F": "layouts", "M-R": "types", "I-M": "types",
    }  # fmt: skip


def test_baselines_have_no_checkpoint(rooms: FeatureSet, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no checkpoint"):
        open_trivial(tmp_path / "x.safetensors", rooms)


# Object by object


def test_a_scene_is_the_mean_of_its_present_objects(rooms: FeatureSet) -> None:
    rng = np.random.default_rng(0)
    table = {s.scan_id: rng.normal(size=(len(s.object_ids), 5)).astype(np.float32) for s in rooms}
    there = {s.scan_id: np.arange(len(s.object_ids)) % 2 == 0 for s in rooms}
    gone = rooms.scans[2].scan_id
    there[gone][:] = False
    method = ObjectwiseMethod(
        "x", frozenset(), rooms.scans, lambda s: {"rgb": (table[s.scan_id], there[s.scan_id])}, _first_plan
    )
    vectors, present = method.vectors("I"), method.present("I")
    assert vectors is not None and present is not None
    for row, scan in enumerate(rooms):
        kept = table[scan.scan_id][there[scan.scan_id]]
        if scan.scan_id == gone:
            assert not present[row] and not vectors[row].any()
        else:
            mean = kept.mean(axis=0)
            np.testing.assert_allclose(vectors[row], mean / np.linalg.norm(mean), rtol=1e-5)
    similarity, plans = method.similarity("I", "F"), method.vectors("F")
    assert similarity is not None and plans is not None
    np.testing.assert_allclose(similarity, vectors @ plans.T, rtol=1e-5, atol=1e-6)
    assert method.similarity("I", "P") is None and method.objects("F") is None
    assert mean_of_objects(np.ones((2, 3), np.float32), np.zeros(2, np.bool_)) is None


def _first_plan(scan: SceneFeatures) -> dict[str, np.ndarray]:
    return {"F": scan.plans[0, :5]}


def test_pairs_count_in_both_orders() -> None:
    assert apart("P-F") == {("P", "F"), ("F", "P")}
    assert ("P", "R") in POINTBIND.emergent and ("P", "R") not in ULIP2.emergent


# Points aligned with pictures and words


def _stage(recipe: Recipe, shapes: ShapeEncoder, train: FeatureSet, val: FeatureSet | None = None) -> AlignmentStage:
    torch.manual_seed(1)
    return AlignmentStage(recipe, train.scans, (val or train).scans, ObjectSource(shapes))


def _gradients(stage: AlignmentStage) -> dict[str, torch.Tensor]:
    stage.module.eval()
    stage.module.zero_grad()
    loss = stage.loss(range(stage.rows()), np.random.default_rng(0), torch.Generator())
    torch.autograd.backward(loss)
    return {n: p.grad.clone() for n, p in stage.module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("recipe", [ULIP2, POINTBIND], ids=lambda r: r.kind)
def test_points_do_not_move_the_space_that_they_are_bound_to(recipe: Recipe, shapes: ShapeEncoder) -> None:
    scans = synthetic_features(rooms=3)
    without = FeatureSet(tuple(replace(s, instance=np.full_like(s.instance, -1)) for s in scans), "no points")
    without = FeatureSet(tuple(replace(s, object_cad=np.full_like(s.object_cad, -1)) for s in without), "no shapes")
    full, bare = _gradients(_stage(recipe, shapes, scans)), _gradients(_stage(recipe, shapes, without))
    for name in full:
        if name.startswith(("heads.rgb", "heads.referral")) or name == "temperature.log_scale":
            torch.testing.assert_close(full[name], bare[name])
    assert float(full["heads.point.4.weight"].abs().sum()) > 0.0


def test_only_ulip_binds_points_to_words(shapes: ShapeEncoder) -> None:
    scans = synthetic_features(rooms=3)
    # Every second object keeps its words, so that the rows are the same ones.
    other = FeatureSet(tuple(replace(s, referrals=s.referrals[::-1].copy()) for s in scans), "other words")
    points = "heads.point.4.weight"
    for recipe, same in ((POINTBIND, True), (ULIP2, False)):
        a, b = (_gradients(_stage(recipe, shapes, each))[points] for each in (scans, other))
        assert torch.allclose(a, b) is same


def test_alignment_learns_what_belongs_together(shapes: ShapeEncoder, tmp_path: Path) -> None:
    train, val = synthetic_features(rooms=24), synthetic_features(rooms=12, split="val")
    stage = _stage(ULIP2, shapes, train, val)
    before = stage.validate()
    trained = run_stage(stage, QUICK, tmp_path / "run", "key")
    after = trained.state.log[-1]
    assert after["I-R_r1"] > 0.7 > before["I-R_r1"] + 0.3
    assert after["I-P_r1"] > 1.0 / 12
    stage.network.load_state_dict(trained.best_state)
    save_peer(tmp_path / "u.safetensors", "ulip2", stage.network, shapes, ObjectSource(shapes).widths(val.scans[0]), {})
    opened = open_ulip(tmp_path / "u.safetensors", val)
    assert r1(opened, "I", "R") == pytest.approx(after["I-R_r1"], abs=0.05)
    assert opened.present("I1") is not None and opened.present("F") is not None and opened.present("Pd") is None
    objects = opened.objects("M")
    assert objects is not None
    assert [o.object_ids for o in objects] == [s.object_ids for s in val]


def test_objects_with_one_modality_are_not_trained_on(shapes: ShapeEncoder) -> None:
    scan = synthetic_features(rooms=1).scans[0]
    lone = replace(
        scan, object_crops=0 * scan.object_crops, object_cad=np.full_like(scan.object_cad, -1),
        referrals=scan.referrals[:2], referral_objects=scan.referral_objects[:2],
    )  # fmt: skip
    table = object_table([lone], ObjectSource(shapes))
    assert len(table) == 1
    assert {name: bool(table.present[name][0]) for name in MODALITIES.values()} == {
        "rgb": False, "point": True, "cad": False, "referral": True,
    }  # fmt: skip


@pytest.fixture
def saved(shapes: ShapeEncoder, rooms: FeatureSet, tmp_path: Path) -> Path:
    stage = _stage(ULIP2, shapes, rooms)
    path = tmp_path / "ulip.safetensors"
    save_peer(path, "ulip2", stage.network, shapes, ObjectSource(shapes).widths(rooms.scans[0]), {"seed": 1})
    return path


def test_damaged_and_foreign_checkpoints_are_named(saved: Path, rooms: FeatureSet) -> None:
    with pytest.raises(EncoderError, match=r"'ulip2'.*expected 'pointbind'"):
        open_pointbind(saved, rooms)
    with pytest.raises(EncoderError, match="needs a checkpoint"):
        open_ulip(None, rooms)
    with pytest.raises(EncoderError, match="Point-BERT"):
        open_ulip(saved.with_suffix(".pt"), rooms)
    wider = FeatureSet(tuple(replace(s, referrals=np.pad(s.referrals, ((0, 0), (0, 1)))) for s in rooms), "wider")
    with pytest.raises(EncoderError, match="referral features 24 wide, but those of train_000 are 25 wide"):
        open_ulip(saved, wider)
    state = load_file(saved)
    weight = state.pop("network.heads.point.0.weight")
    save_file(state, saved)
    with pytest.raises(EncoderError, match=r"missing tensor heads\.point\.0\.weight"):
        open_ulip(saved, rooms)
    save_file({**state, "network.heads.point.0.weight": weight, "other.x": weight.clone()}, saved)
    with pytest.raises(EncoderError, match=r"unexpected tensor other\.x"):
        open_ulip(saved, rooms)
    saved.with_suffix(".json").unlink()
    with pytest.raises(EncoderError, match=r"ulip\.json: missing"):
        open_ulip(saved, rooms)


def test_a_description_without_a_width_is_refused(saved: Path, rooms: FeatureSet) -> None:
    beside = saved.with_suffix(".json")
    about = json.loads(beside.read_text())
    del about["widths"]["rgb"]
    beside.write_text(json.dumps(about))
    with pytest.raises(EncoderError, match="widths: lacks 'rgb'"):
        open_ulip(saved, rooms)


# Objects found again


def test_sizes_are_the_same_at_any_turn() -> None:
    rng = np.random.default_rng(0)
    points = (rng.uniform(-1, 1, (200, 3)) * [0.8, 0.3, 0.5]).astype(np.float32)
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]], np.float32)
    np.testing.assert_allclose(sizes(points), sizes(points @ turn.T + np.float32(3.0)), atol=1e-4)
    assert not np.allclose(sizes(points), sizes(1.5 * points), atol=0.1)


def test_descriptors_ignore_quarter_turns_and_categories(shapes: ShapeEncoder) -> None:
    scan = synthetic_features(rooms=1).scans[0]
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    turned = replace(scan, points=scan.points @ turn.T, object_categories=("thing",) * len(scan.object_ids))
    (a, there), (b, _) = described(scan, shapes), described(turned, shapes)
    assert there.all()
    np.testing.assert_allclose(a, b, atol=2e-3)
    assert np.abs(a[0] - a[1]).max() > 0.05


def test_living_scenes_finds_objects_in_rescans(shapes: ShapeEncoder, tmp_path: Path) -> None:
    train, val = synthetic_features(rooms=8, rescans=4), synthetic_features(rooms=6, rescans=6, split="val")
    stage = LivingScenesStage(train.scans, val.scans, shapes, 0)
    before = stage.validate()["P-P_r1"]
    trained = run_stage(stage, replace(QUICK, epochs=12, batch=8, validate_every=12), tmp_path / "run", "key")
    # One of about five objects is right by chance.
    assert trained.state.log[-1]["P-P_r1"] > max(0.55, before)
    path = tmp_path / "l.safetensors"
    stage.network.load_state_dict(trained.best_state)
    save_peer(path, "living_scenes", stage.network, shapes, {"point": 260}, {})
    method = open_living_scenes(path, val)
    assert method.objects("P") is not None
    assert all(method.objects(item) is None and method.present(item) is None for item in ("I", "M", "R", "F"))
    save_peer(path, "living_scenes", stage.network, shapes, {"point": 261}, {})
    with pytest.raises(EncoderError, match="261"):
        open_living_scenes(path, val)


def test_living_scenes_needs_instance_points(shapes: ShapeEncoder) -> None:
    scans = synthetic_features(rooms=2)
    blind = tuple(replace(s, instance=np.full_like(s.instance, -1)) for s in scans)
    with pytest.raises(ValueError, match="no training scan knows"):
        LivingScenesStage(blind, blind, shapes, 0)


# The published instance stages


def _saved_stage(path: Path, kind: str, rooms: FeatureSet, shapes: ShapeEncoder) -> StageModel:
    from crossover_models.encoders.front_ends import FeatureSizes
    from crossover_models.encoders.profile import SMALL

    first, widths = rooms.scans[0], ObjectSource(shapes).widths(rooms.scans[0])
    front = FeatureSizes(first.views.shape[1], first.plans.shape[1], first.texts.shape[1])
    torch.manual_seed(0)
    network = empty_network(kind, SMALL, front, widths, False)
    model = StageModel(kind, SMALL, front, widths, False, [], network, shapes)
    save_stage(path, model, {})
    return model


def test_the_baseline_is_its_heads_over_each_object(rooms: FeatureSet, shapes: ShapeEncoder, tmp_path: Path) -> None:
    path = tmp_path / "b.safetensors"
    model = _saved_stage(path, "baseline", rooms, shapes)
    assert isinstance(model.network, InstanceBaseline)
    method = open_baseline(path, rooms)
    assert ("P", "R") in method.emergent and ("I", "P") not in method.emergent
    objects = method.objects("I")
    assert objects is not None
    for own, scan in zip(objects, rooms, strict=True):
        with torch.inference_mode():
            wanted = model.network.modality_projections["rgb"](torch.from_numpy(scan.object_views)).numpy()
        np.testing.assert_allclose(own.embeddings, wanted, atol=2e-3)


def test_scene_stages_are_no_baseline(rooms: FeatureSet, shapes: ShapeEncoder, tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    _saved_stage(path, "scene", rooms, shapes)
    with pytest.raises(EncoderError, match="of stage scene"):
        open_baseline(path, rooms)
    with pytest.raises(EncoderError, match="needs a checkpoint"):
        open_baseline(None, rooms)


# The commands


@pytest.mark.parametrize(("peer", "opener"), [("pointbind", open_pointbind), ("living-scenes", open_living_scenes)])
def test_commands_train_and_go_on(
    peer: str, opener: object, shapes: ShapeEncoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    val = synthetic_features(rooms=3, rescans=2, split="val")
    for scans in (synthetic_features(rooms=4), val):
        for scan in scans:
            path = features_path(tmp_path, scan.split, scan.scan_id)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_features(path, scan, "key")
    save_shapes(tmp_path / "shapes.safetensors", shapes, {})
    load_shapes(tmp_path / "shapes.safetensors")
    command = ["train", peer, "--features", str(tmp_path), "--shapes", str(tmp_path / "shapes.safetensors")]
    command += ["--out", str(tmp_path / "out"), "--epochs", "2", "--batch", "4", "--no-tensorboard", "--device", "cpu"]
    for _ in range(2):
        assert main(command) == 0
    assert "R@1 on validation" in capsys.readouterr().out
    assert callable(opener)
    method = opener(tmp_path / "out" / f"{peer}.safetensors", val)
    assert method.objects("P") is not None
    assert main([*command[:-2], "--seed", "1"]) == 2
    assert "seed" in capsys.readouterr().err
