"""The ScanNet reader on a tiny set in the published layout: planted geometry comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import write_scannet as planted
from numpy.testing import assert_allclose

from crossover_models.dataset.readers import ReaderOptions, open_reader
from crossover_models.dataset.readers.frames import spread_views, usable_poses
from crossover_models.dataset.readers.scan2cad import PlacedModel, matched
from crossover_models.dataset.readers.shapenet import thinned
from crossover_models.geometry import se3_from_quaternion, transform_points_se3
from crossover_models.observation import Modality

SCAN = "scene0000_00"
TOLERANCE_M = 2e-5
"""Poses are float32 or six decimals in the published files."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scannet")
    planted.write_scannet(root)
    return root


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
