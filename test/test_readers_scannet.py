"""The ScanNet reader on a tiny set in the published layout: planted geometry comes out, and broken files are named."""

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
from crossover_models.dataset.readers.frames import spread_views, usable_poses
from crossover_models.dataset.readers.scan2cad import PlacedModel, Scan2Cad, matched
from crossover_models.dataset.readers.scannet import ScanNetReader
from crossover_models.dataset.readers.scenecad import read_layout
from crossover_models.dataset.readers.sceneverse import SceneVerse
from crossover_models.dataset.readers.sens import SensFile
from crossover_models.dataset.readers.shapenet import thinned
from crossover_models.geometry import inverse_se3, se3_from_quaternion, transform_points_se3
from crossover_models.observation import Modality

SCAN = "scene0000_00"
TOLERANCE_M = 2e-5
"""Poses are float32 or six decimals in the published files."""


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


def test_splits_are_the_published_lists_and_only_scans_that_are_there(published: Path) -> None:
    reader = open_reader("scannet", published)
    assert reader.scan_ids() == (
        ("scene0000_00", "train"),
        ("scene0000_01", "train"),
        ("scene0001_00", "val"),
        ("scene0707_00", "test"),
    )


def test_a_scan_has_every_modality_and_says_what_it_left_out(published: Path) -> None:
    read = open_reader("scannet", published, options(published)).read(SCAN)
    scene = read.scene
    assert scene.present == frozenset(
        {Modality.IMAGE, Modality.POINT_CLOUD, Modality.MESH, Modality.FLOOR_PLAN, Modality.TEXT}
    )
    assert (scene.split, scene.category, scene.source) == ("train", "office", "ScanNet v2")
    assert dict(read.left_out) == {
        "CAD meshes that ShapeNet's folder lacks": 1,
        "CAD models of no annotated object": 1,
        "frames without a pose": 1,
        "referrals to no object": 2,
    }


def test_rescans_share_the_room_but_no_object(published: Path) -> None:
    reader = open_reader("scannet", published)
    first, again, other = (reader.read(s).scene for s in planted.SCANS[:3])
    assert first.room_id == again.room_id == "scene0000" != other.room_id
    assert (first.reference_id, again.reference_id, other.reference_id) == ("", "scene0000_00", "")
    # ScanNet numbers a rescan's objects anew.
    assert not {o.object_id for o in first.objects} & {o.object_id for o in again.objects}


def test_the_cloud_is_in_the_scene_frame_with_the_sensors_colors(published: Path) -> None:
    cloud = open_reader("scannet", published).read(SCAN).scene.cloud
    points, of = planted.mesh_points()
    assert cloud is not None and cloud.colors is not None and cloud.instance is not None
    assert_allclose(cloud.points, points, atol=TOLERANCE_M)
    assert (cloud.colors[of == 2] == planted.COLORS[2]).all()
    assert (cloud.instance[of == 2] == 0).all() and (cloud.instance[of == 3] == 1).all()
    assert (cloud.instance[(of < 2)] == -1).all()


def test_an_objects_box_is_the_planted_one(published: Path) -> None:
    scene = open_reader("scannet", published).read(SCAN).scene
    assert [(o.object_id, o.category) for o in scene.objects] == [
        ("scene0000_00/2", "desk"),
        ("scene0000_00/3", "office chair"),
        ("scene0000_00/4", "lamp"),
    ]
    desk = scene.objects[0]
    assert_allclose(desk.T_scene_object[:3, 3], [1.6, 0.8, 0.0], atol=TOLERANCE_M)
    assert_allclose(desk.size_m, [1.2, 0.6, 0.75], atol=TOLERANCE_M)
    assert desk.cad is None and desk.cad_id == ""


def test_a_cad_model_has_the_planted_pose_and_its_mesh_stands_in_its_box(published: Path) -> None:
    chair = open_reader("scannet", published, options(published)).read(SCAN).scene.objects[1]
    assert_allclose(chair.T_scene_object, planted.T_SCENE_CHAIR, atol=TOLERANCE_M)
    assert_allclose(chair.size_m, planted.CHAIR_SIZE, atol=TOLERANCE_M)
    assert chair.cad is not None and chair.cad_id == f"shapenet/{planted.CATEGORY}/{planted.CHAIR}"
    x, y, z = planted.CHAIR_SIZE
    assert_allclose(chair.cad.vertices.min(axis=0), [-x / 2, -y / 2, 0.0], atol=TOLERANCE_M)
    assert_allclose(chair.cad.vertices.max(axis=0), [x / 2, y / 2, z], atol=TOLERANCE_M)
    # The back stands up where ShapeNet's z is high, and forward is -z: so it is at the rear.
    back = chair.cad.vertices[chair.cad.vertices[:, 2] > 0.8 * z]
    assert (back[:, 0] < 0).all()


def test_without_shapenet_an_object_keeps_the_annotated_pose_and_has_no_mesh(published: Path) -> None:
    chair = open_reader("scannet", published, options(published, shapenet=None)).read(SCAN).scene.objects[1]
    assert_allclose(chair.T_scene_object, planted.T_SCENE_CHAIR, atol=TOLERANCE_M)
    assert_allclose(chair.size_m, planted.CHAIR_SIZE, atol=TOLERANCE_M)
    assert chair.cad is None and chair.cad_id == ""


@pytest.mark.parametrize("scan_id", planted.SCANS[:2])
def test_views_have_planted_poses_depth_and_picture(published: Path, scan_id: str) -> None:
    views = open_reader("scannet", published).read(scan_id).scene.views
    assert len(views) == 2
    for view, frame in zip(views, (0, 2), strict=True):
        expected = planted.T_SCENE_CAMERA[frame]
        assert expected is not None and view.depth_m is not None
        assert_allclose(view.T_scene_camera, expected, atol=TOLERANCE_M)
        assert_allclose(view.intrinsics, planted.DEPTH_K)
        assert_allclose(view.depth_m, planted.depth_picture(frame) / 1000.0, atol=1e-6)
        assert view.image.shape == (24, 32, 3)
        left, right = view.image[:, :14].reshape(-1, 3), view.image[:, 18:].reshape(-1, 3)
        assert_allclose(left.mean(axis=0), [200, 40 + 60 * frame, 30], atol=4)
        assert_allclose(right.mean(axis=0), [30, 40 + 60 * frame, 200], atol=4)
        # Depth, intrinsics and pose together: what is straight below is the floor.
        row, column = np.mgrid[5:20, 5:30]
        rays = np.stack([(column - 15.5) / 30, (row - 11.5) / 30, np.ones_like(row)], axis=-1)
        seen = transform_points_se3(view.T_scene_camera, (rays * view.depth_m[5:20, 5:30, None]).reshape(-1, 3))
        assert_allclose(seen[:, 2], 0.0, atol=1e-4)


def test_a_pictures_instances_are_the_objects_indices(published: Path) -> None:
    view = open_reader("scannet", published).read(SCAN).scene.views[0]
    assert view.instance is not None
    assert (view.instance[:, :15] == 0).all()
    assert (view.instance[:, 17:] == -1).all()  # the floor, which is no object


def test_structure_is_an_object_when_asked_for(published: Path) -> None:
    scene = open_reader("scannet", published, ReaderOptions(structure=True)).read(SCAN).scene
    assert [o.category for o in scene.objects] == ["wall", "floor", "desk", "office chair", "lamp"]
    assert scene.cloud is not None and scene.cloud.instance is not None
    assert (scene.cloud.instance == planted.mesh_points()[1]).all()


def test_the_layout_gives_outline_and_plan(published: Path) -> None:
    scene = open_reader("scannet", published, options(published)).read(SCAN).scene
    assert scene.polygon is not None
    shift = int(np.abs(scene.polygon - planted.CORNERS[0]).sum(axis=1).argmin())
    assert_allclose(np.roll(scene.polygon, -shift, axis=0), planted.CORNERS, atol=1e-4)
    furnished, line = scene.plans
    assert (furnished.style, line.style) == ("furnished", "line")

    def grey(plan: Any, x: float, y: float) -> int:
        column, row = ((np.array([x, y]) - plan.origin_xy) / plan.resolution_m).astype(int)
        return int(plan.image[row, column])

    for wall in ((2.0, 0.0), (4.0, 1.0), (2.5, 2.6), (1.0, 2.0)):
        assert grey(furnished, *wall) == grey(line, *wall) == 0
    assert grey(furnished, 1.6, 0.8) < 255 == grey(line, 1.6, 0.8)  # the desk
    assert grey(furnished, 2.6, 1.4) < 255  # the chair
    assert grey(furnished, 3.6, 2.6) == 255  # the lamp hangs above the cut
    assert grey(furnished, 0.5, 2.6) == grey(furnished, 0.4, 1.6) == 255


def test_referrals_and_captions_of_the_scan(published: Path) -> None:
    scene = open_reader("scannet", published, options(published)).read(SCAN).scene
    assert {(r.target_id, r.utterance) for r in scene.referrals} == {
        ("scene0000_00/3", "the office chair that is next to the desk"),
        ("scene0000_00/2", "the desk below the lamp"),
        ("scene0000_00/4", "a yellow lamp, up high"),
    }
    assert scene.description == ("an office with a desk and a chair",)


def test_a_hidden_test_scan_has_no_labels_and_its_floor_is_still_at_zero(published: Path) -> None:
    read = open_reader("scannet", published, options(published)).read("scene0707_00")
    assert read.scene.objects == () and read.scene.category == "" and read.scene.plans == ()
    assert read.scene.cloud is not None and read.scene.cloud.instance is None
    floor = read.scene.cloud.points[planted.mesh_points()[1] == 1]
    assert_allclose(floor[:, 2], 0.0, atol=1e-3)
    assert read.left_out["axis alignment"] == 1


def test_walls_and_floor_are_not_furniture_of_the_plan_even_as_objects(published: Path) -> None:
    plans = [
        open_reader("scannet", published, options(published, structure=structure)).read(SCAN).scene.plans[0]
        for structure in (False, True)
    ]
    assert (plans[0].image == plans[1].image).all()


def test_turning_counts_as_much_as_a_long_way() -> None:
    poses = np.tile(np.eye(4), (41, 1, 1))
    poses[:, 0, 3] = np.linspace(0.0, 1000.0, 41)
    poses[20] = se3_from_quaternion([500.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0])
    assert 20 in spread_views(poses, 3)


def test_views_are_spread_and_as_many_as_asked_for(published: Path) -> None:
    rng = np.random.default_rng(3)
    poses = np.array([se3_from_quaternion(rng.normal(size=3), rng.normal(size=4)) for _ in range(60)])
    poses[30:, :3, 3] = poses[30, :3, 3] + rng.normal(size=(30, 3)) * 1e-3
    poses[30:, :3, :3] = poses[30, :3, :3]
    chosen = spread_views(poses, 12)
    assert chosen == sorted(set(chosen)) and len(chosen) == 12
    assert sum(i >= 30 for i in chosen) == 1  # thirty copies of one place are worth one view
    assert spread_views(poses, 100) == list(range(60)) and spread_views(poses, 0) == []
    assert len(open_reader("scannet", published, ReaderOptions(views=1)).read(SCAN).scene.views) == 1
    assert open_reader("scannet", published, ReaderOptions(views=0)).read(SCAN).left_out == {}


def test_lost_tracking_and_what_is_no_rotation_are_no_poses() -> None:
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[1] = -np.inf
    poses[2, 0, 3] = np.nan
    poses[3, :3, :3] *= 2.0
    poses[4, 0, 0] = -1.0
    assert usable_poses(poses).tolist() == [True, False, False, False, False]


def test_models_go_to_the_boxes_they_overlap_most_each_once() -> None:
    def model(x: float) -> PlacedModel:
        T = np.eye(4)
        T[0, 3] = x
        return PlacedModel(T, np.ones(3), None, "")

    boxes = [np.array([[x - 0.5, -0.5, 0.0], [x + 0.5, 0.5, 1.0]]) for x in (0.0, 0.9, 5.0)]
    assert matched([model(0.6), model(0.1), model(9.0)], boxes) == {0: 1, 1: 0}


def test_a_thinned_model_keeps_its_extents() -> None:
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 80)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    points = np.c_[grid, np.sin(9 * grid[:, 0])]
    corner = np.array([i * 80 + j for i in range(79) for j in range(79)])
    faces = np.concatenate([np.c_[corner, corner + 80, corner + 1], np.c_[corner + 1, corner + 80, corner + 81]])
    fewer_points, fewer = thinned(points, faces, 3000)
    assert 500 < len(fewer) <= 3000
    used = fewer_points[np.unique(fewer)]
    assert_allclose(used.min(axis=0), points.min(axis=0))
    assert_allclose(used.max(axis=0), points.max(axis=0))
    assert thinned(points, faces, len(faces))[1] is faces


# What is broken is named.


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
