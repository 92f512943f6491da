"""``crossover eval``: files, tables, pictures and page of one run, and what users may get wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from planted_method import EVERYTHING, PlantedMethod, open_planted
from planted_scene import planted_scene
from scene_features import synthetic_features

from crossover_models.cli import main
from crossover_models.dataset.features import save_features
from crossover_models.dataset.features_make import features_path
from crossover_models.dataset.scene_file import save_scene
from crossover_models.dataset.store import DataSet, DataSetInfo, begin, finish, scene_path
from crossover_models.evaluation.suite import methods
from crossover_models.evaluation.suite.methods import OPENERS, MethodError, Named, read_systems
from crossover_models.evaluation.suite.page import page
from crossover_models.evaluation.suite.retrieval_sheet import retrieval_sheet
from crossover_models.evaluation.suite.scans import evaluated_scans
from crossover_models.evaluation.suite.sheets import cell
from crossover_models.evaluation.suite.tsne import affinities, tsne
from crossover_models.evaluation.tasks.ranking import TaskError

METHODS = ["--method", "ours=planted:0.4-0", "--method", "ours=planted:0.4-1", "--method", "reference=planted:1.5-2"]


@pytest.fixture(autouse=True)
def planted_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPENERS, "planted", open_planted)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    for scan in synthetic_features(rooms=10, rescans=3, split="test"):
        save_features(features_path(folder, "test", scan.scan_id), scan, "key")
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    ids = [scan.scan_id for scan in synthetic_features(rooms=10, rescans=3, split="test")]
    begin(folder, DataSetInfo("simulated", "crossover data make", {"rooms": 10}))
    for name in ids:
        save_scene(scene_path(folder, "test", name), planted_scene(name, "test"))
    finish(folder, {"train": [], "val": [], "test": ids}, {})
    return folder


def test_one_command_writes_figures_pictures_and_page(
    cache: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    markdown, figures = tmp_path / "docs" / "results.md", tmp_path / "figures.json"
    command = ["eval", "--suite", "paper", "--dataset", str(cache), *METHODS, "--scenes", str(scenes)]
    command += ["--ablation", "no layout=planted:0.8-3", "--json", str(figures), "--markdown", str(markdown)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    found = json.loads(figures.read_text())
    assert (tmp_path / "out" / "results.json").read_text() == figures.read_text()
    assert set(found["pairs"]["I-P"]) == {"ours", "reference", "chance"}
    assert found["methods"]["ours"] == {"kind": "planted", "checkpoints": ["0.4-0", "0.4-1"], "emergent": ["P-R"]}
    assert {"instance", "category", "intra", "temporal_scene", "temporal_instance", "missing", "robot"} <= found.keys()
    assert found["rooms"] == 10 and found["scans"] == 13 and found["provenance"]["simulated"] is True
    text = markdown.read_text()
    for word in (
        "simulated",
        "## Ablation",
        "no layout",
        "## Targets",
        "P-R",
        "results-pictures/similarities-ours.png",
    ):
        assert word in text
    assert str(tmp_path) not in text and str(tmp_path) not in figures.read_text()
    for line in text.splitlines():
        if line.startswith("!["):
            picture = cv2.imread(str(markdown.parent / line.partition("](")[2][:-1]))
            assert picture is not None and picture.std() > 5.0, line
    kinds = {name.split("-")[0] for _, name in found["pictures"]}
    assert kinds == {"sheet", "similarities", "t"} and len(found["pictures"]) == 6 + 4
    shown = capsys.readouterr().out
    for title in (
        "Scene retrieval",
        "Temporal instance matching",
        "Places with a modality lost",
        "Targets",
        "Ablation",
    ):
        assert title in shown
    # The page again from the figures alone, pictures and all.
    markdown.unlink()
    assert main(["eval", "--from-json", str(figures), "--markdown", str(markdown)]) == 0
    assert markdown.read_text() == text


def test_one_task_alone(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "intra", "--dataset", str(cache), *METHODS, "--json", "-"]) == 0
    output = capsys.readouterr()
    found = json.loads(output.out)
    assert "intra" in found and "pairs" not in found and found["targets"] == []
    assert "Intra-category retrieval" in output.err


def test_methods_of_a_file(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "systems.yaml"
    file.write_text("methods:\n  ours: [planted:0.4-0, planted:0.4-1]\nablation:\n  less: planted:0.9-0\n")
    named, rows = read_systems(file)
    assert named == tuple(Named("ours", "planted", tmp_path / f"0.4-{k}") for k in (0, 1))
    assert [row.name for row in rows] == ["less"]
    assert main(["eval", "scene", "--dataset", str(cache), "--systems", str(file), "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pairs"]["I-P"]["ours"]["seeds"] == 2 and "less" in found["ablation"]["I-P"]
    for content, told in (("- a\n", "expected the keys"), ("methods: [a]\n", "expected name"), ("{", "cannot be read")):
        file.write_text(content)
        with pytest.raises(MethodError, match=told):
            read_systems(file)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["scene", "--method", "ours"], "--method ours: expected NAME=KIND:CHECKPOINT"),
        (["scene", "--method", "a=nothing:x"], "unknown kind 'nothing', expected one of reference, sets"),
        (["scene", "--method", "chance=planted"], "chance is a row of its own"),
        (["scene", "--method", "a=planted", "--method", "a=trivial"], "seeds of one method are of one kind"),
        (["scene"], "--method: name at least one"),
        (["scene", "--suite", "paper", "--method", "a=planted"], "TASK or --suite"),
        ([], "TASK or --suite"),
        (["scene", "--method", "a=planted", "--split", "val"], "no features of split 'val'"),
        (["scene", "--method", "a=planted", "--most", "1"], "--most: expected at least 2"),
        (["scene", "--method", "a=planted", "--seed", "-1"], "--seed: must not be negative"),
        (["scene", "--method", "a=planted", "--scenes", "nowhere"], "nowhere: no data set"),
        (["scene", "--method", "a=sets"], "needs a checkpoint"),
        (["scene", "--from-json", "nowhere.json"], "nowhere.json"),
    ],
)
def test_what_users_get_wrong_is_one_line(
    arguments: list[str], told: str, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", *arguments, "--dataset", str(cache)]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_a_kind_whose_module_is_missing_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(OPENERS, "gone", methods._later("crossover_models.no_such_module", "open"))
    assert main(["eval", "scene", "--dataset", str(cache), "--method", "a=gone:x"]) == 2
    assert "kind gone needs crossover_models.no_such_module" in capsys.readouterr().err


def test_figures_of_another_version_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "old.json"
    for content, told in (
        ('{"schema_version": 0}', "schema_version 0"),
        ("{", "no JSON"),
        ("[]", "schema_version None"),
    ):
        file.write_text(content)
        assert main(["eval", "--from-json", str(file)]) == 2
        assert told in capsys.readouterr().err


def test_every_kind_can_be_imported() -> None:
    for kind, opener in OPENERS.items():
        with pytest.raises((ValueError, OSError)):
            opener(Path("nowhere.safetensors"), synthetic_features(rooms=2), None)
        assert kind


def test_cells_say_value_spread_and_interval() -> None:
    figures = {"r1": 0.4123, "r1_interval": [0.36, 0.468], "r1_spread": 0.008}
    assert cell(figures, "r1") == "41.2 ±0.8 (36-47)" and cell(figures, "r1", brief=True) == "41.2"
    assert cell({"d": -0.1, "d_interval": [-0.15, -0.04]}, "d") == "-10.0 (-15 to -4)"
    assert cell({"r1": None}, "r1") == cell({}, "r1") == "-"


def test_a_page_shows_names_as_they_are(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "scene", "--dataset", str(cache), "--method", "a_b|c*=planted:0.5-0", "--json", "-"]
    assert main(command) == 0
    text = page(json.loads(capsys.readouterr().out))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert "| query-gallery | a\\_b\\|c\\* | chance |" in rows


def test_a_sheet_frames_the_right_place(scenes: Path) -> None:
    features = synthetic_features(rooms=10, rescans=3, split="test")
    data, method = evaluated_scans(features), PlantedMethod(features, dict.fromkeys(EVERYTHING, 0.0))
    for pair in (("I", "P"), ("P", "F"), ("I10", "R"), ("I1", "M"), ("Pd", "I")):
        picture = retrieval_sheet(method, data, DataSet.open(scenes), pair, queries=3)
        assert picture is not None
        green = (picture == (0, 140, 90)).all(axis=2).any(axis=0)
        # A perfect method is right at the first place, and nowhere else.
        assert np.array_equal(np.unique(np.flatnonzero(green) // (picture.shape[1] // 6)), [1]), pair
    assert retrieval_sheet(PlantedMethod(features, {"I": 0.1}), data, DataSet.open(scenes), ("I", "P")) is None


def test_tsne_keeps_clusters_together() -> None:
    rng = np.random.default_rng(1)
    middles = rng.normal(size=(5, 20)) * 4
    labels = np.repeat(np.arange(5), 24)
    points = (middles[labels] + rng.normal(size=(120, 20))).astype(np.float32)
    spots = tsne(points)
    distance = np.linalg.norm(spots[:, None] - spots[None], axis=2) + 1e9 * np.eye(120)
    assert (labels[distance.argmin(axis=1)] == labels).mean() > 0.97
    assert np.array_equal(spots, tsne(points))
    with pytest.raises(TaskError, match="got 3"):
        tsne(points[:3])
    with pytest.raises(TaskError, match="not finite"):
        tsne(np.full((9, 3), np.nan, np.float32))
    assert np.isfinite(tsne(np.zeros((6, 3), np.float32))).all()


def test_affinities_are_as_wide_as_asked() -> None:
    points = np.random.default_rng(2).normal(size=(60, 4))
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    joint = affinities(squared, 12.0)
    assert np.allclose(joint, joint.T) and joint.sum() == pytest.approx(1.0) and (np.diag(joint) == 0).all()
    # A regular ring: rows are alike, so each row of the joint probabilities is the conditional one.
    angle = np.arange(60) * 2 * np.pi / 60
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    share = 60 * affinities(((ring[:, None] - ring[None]) ** 2).sum(axis=2), 12.0)[0]
    entropy = -(share[share > 0] * np.log(share[share > 0])).sum()
    assert np.exp(entropy) == pytest.approx(12.0, rel=1e-3)


def test_a_scan_that_the_data_set_lacks_is_named(cache: Path, scenes: Path, capsys: Any, tmp_path: Path) -> None:
    other = tmp_path / "cache"
    for scan in synthetic_features(rooms=4, split="test"):
        save_features(features_path(other, "test", "x" + scan.scan_id), replace(scan, scan_id="x" + scan.scan_id), "k")
    command = ["eval", "scene", "--dataset", str(other), "--method", "a=planted:0.1-0", "--scenes", str(scenes)]
    assert main([*command, "--out", str(tmp_path)]) == 2
    assert "xtest_00" in capsys.readouterr().err
