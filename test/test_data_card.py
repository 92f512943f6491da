"""Baselines that learn nothing, the data card and the pictures, on planted scenes with known answers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from crossover_models.cli import main
from crossover_models.dataset.scene import PlanDrawing, Scene, SceneObject, ScenePoints, View
from crossover_models.dataset.scene_file import save_scene
from crossover_models.dataset.store import DataSet, DataSetInfo, begin, finish, scene_path
from crossover_models.dataset.trivial import (
    color_histogram,
    plan_similarity,
    trivial_features,
    trivial_recalls,
    type_similarity,
)
from crossover_models.simulation.furniture import furniture_mesh


def room(index: int, yaw: float = 0.0, split: str = "train") -> Scene:
    """A rectangular room of its own size with its own color, types and an inner wall."""
    rng = np.random.default_rng(index)
    width, depth = 3.0 + 0.45 * (index % 5), 2.6 + 0.5 * (index // 5)
    t = np.linspace(0.0, 1.0, 120)
    edges = [np.stack([t * width, 0 * t], 1), np.stack([t * width, 0 * t + depth], 1)]
    edges += [np.stack([0 * t, t * depth], 1), np.stack([0 * t + width, t * depth], 1)]
    edges += [np.stack([0 * t + width * 0.4, t * depth * 0.5], 1)]
    walls = np.concatenate(edges) - [width / 2, depth / 2]
    cos, sin = np.cos(yaw), np.sin(yaw)
    turned = walls @ np.array([[cos, sin], [-sin, cos]])
    points = np.concatenate([np.c_[turned, np.full(len(turned), z)] for z in (0.6, 1.0, 1.4)]).astype(np.float32)
    color = rng.integers(0, 256, 3).astype(np.uint8)
    drawing = np.full((140, 160), 255, np.uint8)
    cells = np.floor(np.add(walls, [4.0, 3.5]) / 0.05).astype(int)
    drawing[cells[:, 1], cells[:, 0]] = 0
    image = np.tile(color, (12, 16, 1))
    names = ["chair", "bed", "sofa", "table", "lamp", "vase"]
    kinds = [n for k, n in enumerate(names) if (index + 1) >> k & 1]
    objects = tuple(
        SceneObject(f"o{i}", kind, np.eye(4), np.ones(3), furniture_mesh("chair", index), f"parametric/c/{index}")
        for i, kind in enumerate(kinds)
    )
    picture = np.arange(12 * 16).reshape(12, 16) % len(kinds)
    return Scene(
        f"r{index}", f"r{index}", f"b{index}", "office", split, "simulated: planted",
        views=(View(image, np.eye(4), np.eye(3), None, picture.astype(np.int32)),),
        cloud=ScenePoints(points, np.tile(color, (len(points), 1)), None, np.zeros(len(points), np.int32)),
        objects=objects,
        plans=(PlanDrawing(drawing, "line", 0.05, (-4.0, -3.5)),),
        description=("It holds " + " and ".join(f"a {kind}" for kind in kinds) + ".",),
    )  # fmt: skip


def test_walls_find_their_plan_at_any_yaw() -> None:
    features = [trivial_features(room(i, yaw=np.deg2rad(15.0 * (3 * i + 1)))) for i in range(12)]
    similarity = plan_similarity(features)
    assert (similarity.argmax(axis=1) == np.arange(12)).mean() > 0.9
    assert np.diag(similarity).min() > 0.5


def test_a_plan_of_another_scale_does_not_fit() -> None:
    true = room(3)
    larger = replace(true, plans=(replace(true.plans[0], resolution_m=0.065),))
    similarity = plan_similarity([trivial_features(true), trivial_features(larger)])
    assert similarity[0, 0] > similarity[0, 1] + 0.2


def test_equal_colors_are_recognized_and_repainted_rooms_are_not() -> None:
    same = trivial_recalls([trivial_features(room(i)) for i in range(14)])
    assert same["color I-P"]["r1"] > 0.9 and same["color I-P"]["n"] == 14
    assert same["color I-P"]["chance"] == pytest.approx(1 / 14)
    other = [room(i) for i in range(14)]
    shuffled = [replace(a, cloud=b.cloud) for a, b in zip(other, other[5:] + other[:5], strict=True)]
    assert trivial_recalls([trivial_features(s) for s in shuffled])["color I-P"]["r1"] < 0.3


def test_types_named_find_types_seen() -> None:
    figures = trivial_recalls([trivial_features(room(i)) for i in range(20)])
    assert figures["types I-R"]["r1"] == 1.0 and figures["types M-R"]["r1"] == 1.0
    # The cloud's labels name the first object only.
    assert figures["types P-R"]["r1"] < 0.5


def test_rare_types_weigh_more() -> None:
    common, rare = Counter({"chair": 1}), Counter({"chair": 1, "piano": 1})
    similarity = type_similarity([rare], [common, rare, common, common])
    assert similarity[0].argmax() == 1 and similarity[0, 1] > similarity[0, 0] + 0.3


def test_histograms_are_unit_vectors_and_tell_colors_apart() -> None:
    red, blue = np.full((9, 9, 3), [255, 0, 0], np.uint8), np.full((9, 9, 3), [0, 0, 255], np.uint8)
    a, b = color_histogram(red), color_histogram(blue)
    assert a @ a == pytest.approx(1.0) and a @ b == 0.0


def test_absent_modalities_are_left_out() -> None:
    bare = replace(room(1), cloud=None, plans=(), description=(), views=())
    features = trivial_features(bare)
    assert features.walls is None and features.plan is None and set(features.types) == {"M"}
    assert trivial_recalls([features, trivial_features(room(2))]) == {}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    begin(folder, DataSetInfo("simulated", "crossover data make --rooms 6", {"seed": 0, "missing": 0.1}))
    scans: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for i in range(6):
        split = ("train", "train", "train", "train", "val", "test")[i]
        scene = room(i, split=split)
        if i == 1:
            scene = replace(scene, cloud=None, plans=(), views=())
        save_scene(scene_path(folder, split, scene.scan_id), scene)
        scans[split].append(scene.scan_id)
    finish(folder, scans, {})
    assert DataSet.open(folder).scan_ids("train") == ("r0", "r1", "r2", "r3")
    return folder


def test_the_card_says_what_is_there(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card, figures = tmp_path / "out" / "card.md", tmp_path / "f.json"
    assert main(["data", "card", str(data), "--out", str(card), "--json", str(figures)]) == 0
    text = card.read_text()
    for words in (
        "**simulated**",
        "| rooms | 4 | 1 | 1 |",
        "crossover data make --rooms 6",
        "| scans with point cloud | 3",
        "color I-P",
        "| missing | 0.1 |",
        "No room, building or CAD model is in two splits",
    ):
        assert words in text, words
    for line in text.splitlines():
        if line.startswith("!["):
            assert (card.parent / line.split("(")[1].rstrip(")")).is_file()
    assert json.loads(figures.read_text())["train"]["color I-P"]["n"] == 3
    assert "Methods that learn nothing" in capsys.readouterr().out


def test_pictures_show_scans(data: Path, tmp_path: Path) -> None:
    assert main(["data", "show", str(data), "--out", str(tmp_path / "a.png")]) == 0
    assert main(["data", "show", str(data), "--out", str(tmp_path / "b.png"), "--scan", "r1"]) == 0
    sheet, one = (cv2.imread(str(tmp_path / name)) for name in ("a.png", "b.png"))
    assert sheet is not None and one is not None and len(np.unique(sheet.reshape(-1, 3), axis=0)) > 50
    assert main(["data", "show", str(data), "--out", str(tmp_path / "c.png"), "--scan", "nobody"]) == 2
    assert main(["data", "show", str(data), "--out", str(tmp_path / "c.png"), "--scans", "0"]) == 2


def test_a_picture_of_no_known_kind_is_one_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", str(data), "--out", str(tmp_path / "a.xyz"), "--scans", "1"]) == 2
    assert capsys.readouterr().err.strip().endswith("a.xyz: must end in one of .png, .jpg, .jpeg")
    assert not list(tmp_path.glob("a.xyz*"))
