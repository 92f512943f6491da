"""Broken files of the published layouts: the file and what is wrong with it are named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import write_scannet as planted
from numpy.testing import assert_allclose

from crossover_models.dataset.readers import ReaderError, ReaderOptions, open_reader
from crossover_models.dataset.readers.scan2cad import Scan2Cad
from crossover_models.dataset.readers.scannet import ScanNetReader
from crossover_models.dataset.readers.scenecad import read_layout
from crossover_models.dataset.readers.sceneverse import SceneVerse
from crossover_models.dataset.readers.sens import SensFile
from crossover_models.geometry import inverse_se3
from crossover_models.observation import Modality

SCAN = "scene0000_00"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scannet")
    planted.write_scannet(root)
    return root


@pytest.fixture
def root(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "root"))


def options(root: Path, **more: Any) -> ReaderOptions:
    given = {
        "referrals": root / "annotations" / "refer",
        "scan2cad": root / "full_annotations.json",
        "shapenet": root / "ShapeNetCore.v2",
        "scenecad": root / "scannet_planes",
    }
    return ReaderOptions(**(given | more))


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def scan_file(root: Path, suffix: str) -> Path:
    return root / "scans" / SCAN / f"{SCAN}{suffix}"


SEGS, AGGREGATION = "_vh_clean_2.0.010000.segs.json", ".aggregation.json"


@pytest.mark.parametrize("cut", [3, 100, 500, -1])
def test_a_sens_cut_short_is_named(root: Path, cut: int) -> None:
    path = scan_file(root, ".sens")
    # The eight bytes of the IMU's frames are not needed.
    path.write_bytes(path.read_bytes()[: cut if cut > 0 else -9])
    with pytest.raises(ReaderError, match=r"scene0000_00\.sens: cut short"):
        open_reader("scannet", root).read(SCAN)


def test_a_sens_cut_between_two_frames_is_named(root: Path) -> None:
    path = scan_file(root, ".sens")
    with SensFile(path) as sens:
        start, color_bytes, depth_bytes = sens._frames[1]
    path.write_bytes(path.read_bytes()[: start + color_bytes + depth_bytes + 20])
    with pytest.raises(ReaderError, match="cut short: 3 frames announced, 2 are there"):
        SensFile(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "version 3"),
        ({"color_kind": 5}, "color compression 5; known: 0 .raw., 1 .png., 2 .jpeg."),
        ({"depth_kind": 2}, "depth compression 2"),
        ({"color_kind": 0}, "frame 0: color has"),
        ({"depth_kind": 0}, "frame 0: depth has"),
    ],
)
def test_another_kind_of_sens_is_refused(root: Path, change: dict[str, int], message: str) -> None:
    scan_file(root, ".sens").write_bytes(planted.sens_bytes(**change))
    with pytest.raises(ReaderError, match=message):
        open_reader("scannet", root).read(SCAN)


def test_a_damaged_picture_of_a_sens_is_named_with_its_frame(root: Path) -> None:
    path = scan_file(root, ".sens")
    data = bytearray(path.read_bytes())
    with SensFile(path) as sens:
        start, color_bytes, _ = sens._frames[2]
    data[start + color_bytes : start + color_bytes + 4] = b"\0\0\0\0"
    path.write_bytes(data)
    with SensFile(path) as sens, pytest.raises(ReaderError, match="frame 2: depth"):
        sens.depth_m(2)
    data[start : start + 4] = b"\0\0\0\0"
    path.write_bytes(data)
    with SensFile(path) as sens, pytest.raises(ReaderError, match="frame 2: the color picture is no jpeg"):
        sens.color(2)


def test_a_scan_without_a_sequence_has_no_views_and_says_so(root: Path) -> None:
    scan_file(root, ".sens").unlink()
    read = open_reader("scannet", root).read(SCAN)
    assert read.scene.views == () and Modality.IMAGE not in read.scene.present
    assert any("sequences" in what for what in read.left_out)


@pytest.mark.parametrize(
    ("suffix", "change", "message"),
    [
        (SEGS, lambda c: c["segIndices"].pop(), "vertices, the mesh has"),
        (SEGS, lambda c: c.pop("segIndices"), "no list segIndices"),
        (AGGREGATION, lambda c: c["segGroups"][2]["segments"].append(31), "object 2 has segment 31, which"),
        (AGGREGATION, lambda c: c["segGroups"][1].update(label="hovercraft"), "object 1: label 'hovercraft' is not in"),
        (AGGREGATION, lambda c: c["segGroups"][1].update(objectId=0), "objectId 0 occurs twice"),
        (AGGREGATION, lambda c: c["segGroups"][1].pop("segments"), "lacks objectId, label or segments"),
        (AGGREGATION, lambda c: c.pop("segGroups"), "no list segGroups"),
    ],
)
def test_labels_that_contradict_the_mesh_are_named(
    root: Path, suffix: str, change: Callable[[Any], None], message: str
) -> None:
    edit_json(scan_file(root, suffix), change)
    with pytest.raises(ReaderError, match=message) as caught:
        open_reader("scannet", root).read(SCAN)
    assert suffix in str(caught.value)


@pytest.mark.parametrize("suffix", [SEGS, AGGREGATION, ".txt"])
def test_a_missing_file_of_a_scan_is_named(root: Path, suffix: str) -> None:
    scan_file(root, suffix).unlink()
    with pytest.raises(ReaderError, match=rf"{SCAN}{suffix}: no such file"):
        open_reader("scannet", root).read(SCAN)


def test_only_a_hidden_test_scan_may_lack_its_labels(root: Path) -> None:
    for suffix in (SEGS, AGGREGATION):
        scan_file(root, suffix).unlink()
    with pytest.raises(ReaderError, match="no such file"):
        open_reader("scannet", root).read(SCAN)


@pytest.mark.parametrize("suffix", [SEGS, AGGREGATION])
def test_corrupt_json_is_named_with_its_place(root: Path, suffix: str) -> None:
    path = scan_file(root, suffix)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ReaderError, match=r"not JSON: .* line 1, column \d+"):
        open_reader("scannet", root).read(SCAN)


def test_a_mesh_that_is_no_ply_is_named(root: Path) -> None:
    path = scan_file(root, "_vh_clean_2.ply")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ValueError, match=path.name):
        open_reader("scannet", root).read(SCAN)


def test_an_axis_alignment_that_is_no_rigid_motion_is_refused(root: Path) -> None:
    path = scan_file(root, ".txt")
    lines = path.read_text().splitlines()
    for bad, message in (("axisAlignment = 1 2 3", "expected 16"), ("axisAlignment =" + " 1" * 16, "rigid motion")):
        path.write_text("\n".join([bad, *lines[1:]]))
        with pytest.raises(ReaderError, match=rf"axisAlignment: .*{message}"):
            open_reader("scannet", root).read(SCAN)


def test_roots_without_the_files_say_which_was_looked_for(root: Path) -> None:
    with pytest.raises(ReaderError, match="no such folder"):
        open_reader("scannet", root / "nowhere")
    shutil.rmtree(root / "scans")
    shutil.rmtree(root / "scans_test")
    with pytest.raises(ReaderError, match=r"scans: no folder of a listed scan, e\.g\. scene0000_00"):
        open_reader("scannet", root)
    (root / "scannetv2-labels.combined.tsv").unlink()
    (root / "scans" / SCAN).mkdir(parents=True)
    with pytest.raises(ReaderError, match=r"no scannetv2-labels\.combined\.tsv"):
        open_reader("scannet", root)
    for split in ("train", "val", "test"):
        (root / f"scannetv2_{split}.txt").unlink()
    with pytest.raises(ReaderError, match=r"none of scannetv2_train\.txt"):
        open_reader("scannet", root)


def test_options_of_other_data_sets_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScanNetReader, "uses", frozenset({"views"}))
    with pytest.raises(ReaderError, match="--referrals: scannet has no use for it; it goes by views"):
        open_reader("scannet", root, options(root))


def test_unknown_names_and_options_are_refused(root: Path) -> None:
    with pytest.raises(ReaderError, match=r"unknown 'scanet'; known: .*scannet"):
        open_reader("scanet", root)
    with pytest.raises(ReaderError, match=r"--scan2cad: .*no such file"):
        open_reader("scannet", root, ReaderOptions(scan2cad=root / "none.json"))
    with pytest.raises(ReaderError, match="--shapenet: needs --scan2cad"):
        open_reader("scannet", root, ReaderOptions(shapenet=root / "ShapeNetCore.v2"))
    with pytest.raises(ReaderError, match="views: must be 0 or more"):
        ReaderOptions(views=-1)
    with pytest.raises(ReaderError, match="no scan 'scene0404_00'"):
        open_reader("scannet", root).read("scene0404_00")
    assert ScanNetReader.uses >= {"views", "scan2cad"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[0].pop("trs"), "scan scene0000_00: KeyError: 'trs'"),
        (lambda c: c[0]["aligned_models"][0]["trs"].update(scale=[1, 2]), "expected 3 numbers"),
        (lambda c: c[0]["aligned_models"][0]["trs"].update(rotation=[0, 0, 0, 0]), "scene0000_00"),
        (lambda c: c[0]["trs"].update(scale=[1, 2, 1]), "not one positive number"),
    ],
)
def test_a_broken_scan2cad_names_the_scan(root: Path, change: Callable[[Any], None], message: str) -> None:
    path = root / "full_annotations.json"
    edit_json(path, change)
    with pytest.raises(ReaderError, match=message):
        Scan2Cad(path)


def test_a_model_that_is_no_obj_breaks_only_the_scans_that_have_it(root: Path) -> None:
    path = root / "ShapeNetCore.v2" / planted.CATEGORY / planted.CHAIR / "models" / "model_normalized.obj"
    path.write_text("v 0 0 0\n")
    reader = open_reader("scannet", root, options(root))
    with pytest.raises(ReaderError, match=r"model_normalized\.obj"):
        reader.read(SCAN)
    assert reader.read("scene0000_01").scene.objects


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("verts"), "verts"),
        (lambda c: c["edges"].append([0, 99]), "edges: corner 99 of 12"),
        (lambda c: c["edges"].append([0, 1, 2]), "an edge has not two ends"),
        (lambda c: c.pop("quads"), "quads: expected lists"),
        (lambda c: c["verts"].append([0, float("nan"), 0]), "verts: a value is no number"),
    ],
)
def test_a_broken_layout_names_the_field(root: Path, change: Callable[[Any], None], message: str) -> None:
    path = root / "scannet_planes" / f"{SCAN}.json"
    edit_json(path, change)
    with pytest.raises(ReaderError, match=message):
        read_layout(path, np.eye(4))


def test_a_layout_whose_floor_is_missing_takes_the_ring_of_its_edges(root: Path) -> None:
    path = root / "scannet_planes" / f"{SCAN}.json"
    edit_json(path, lambda c: c.update(quads=[]))
    polygon = read_layout(path, planted.T_SCENE_SCAN).polygon
    assert polygon is not None and len(polygon) == len(planted.CORNERS)
    edit_json(path, lambda c: c.update(edges=c["edges"][2:]))
    assert read_layout(path, planted.T_SCENE_SCAN).polygon is None


def test_broken_sentences_are_named(tmp_path: Path) -> None:
    path = tmp_path / "ssg.json"
    path.write_text(json.dumps([{"scan_id": "a", "target_id": 1, "utterance": "x"}, {"scan_id": "a"}]))
    with pytest.raises(ReaderError, match="entry 1: no scan_id or no utterance"):
        SceneVerse(path)
    path.write_text(json.dumps([{"scan_id": "a", "target_id": [1], "utterance": "x"}]))
    with pytest.raises(ReaderError, match="entry 0: target_id"):
        SceneVerse(path)
    path.write_text("{}")
    with pytest.raises(ReaderError, match="expected a list"):
        SceneVerse(path)
    with pytest.raises(ReaderError, match="no file with a list"):
        SceneVerse(tmp_path)
    lines = tmp_path / "x.jsonl"
    lines.write_text('{"scan_id": "a", "target_id": 1, "utterance": "x"}\n{"scan')
    with pytest.raises(ReaderError, match="line 2 is not JSON"):
        SceneVerse(lines)


def test_frames_without_a_pose_are_counted_not_used(root: Path) -> None:
    folder = root / "scans" / "scene0000_01"
    (folder / "pose" / "0.txt").unlink()
    read = open_reader("scannet", root).read("scene0000_01")
    assert len(read.scene.views) == 1 and read.left_out["frames without a pose"] == 2
    (folder / "pose" / "2.txt").write_text("1 2 3\n")
    with pytest.raises(ReaderError, match=r"2\.txt: expected a 4 x 4 matrix"):
        open_reader("scannet", root).read("scene0000_01")


def test_smaller_exported_pictures_have_smaller_intrinsics(root: Path) -> None:
    import cv2

    folder = root / "scans" / "scene0000_01"
    shutil.rmtree(folder / "depth")
    shutil.rmtree(folder / "intrinsic")
    for path in (folder / "color").iterdir():
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (32, 24), interpolation=cv2.INTER_AREA))
    view = open_reader("scannet", root).read("scene0000_01").scene.views[0]
    assert view.image.shape == (24, 32, 3) and view.depth_m is None
    assert_allclose(view.intrinsics, [[30.0, 0, 15.5], [0, 30.0, 11.5], [0, 0, 1]])
    assert_allclose(inverse_se3(view.T_scene_camera)[:3, :3], np.diag([1.0, -1.0, -1.0]), atol=1e-5)
