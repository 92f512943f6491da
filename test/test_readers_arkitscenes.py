"""ARKitScenes in its published layouts: planted geometry, lost tracking, bad files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import write_real_sets as sets

from crossover_models.dataset.readers import ReaderError, ReaderOptions, open_reader

FLOOR_Z = -1.2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    sets.write_arkitscenes(tmp_path / "set")
    return tmp_path / "set"


def folder(root: Path) -> Path:
    return root / "3dod" / "Training" / sets.VIDEO


@pytest.mark.parametrize("raw", [False, True])
def test_geometry_comes_out_as_planted(tmp_path: Path, raw: bool) -> None:
    sets.write_arkitscenes(tmp_path, raw)
    reader = open_reader("arkitscenes", tmp_path)
    assert reader.scan_ids() == ((sets.VIDEO, "train"),)
    scene = reader.read(sets.VIDEO).scene
    assert (scene.room_id, scene.source) == (sets.VISIT, "ARKitScenes")
    (bed,) = scene.objects
    assert (bed.object_id, bed.category) == ("f00d", "bed")
    # Forward is the direction of the shorter level side: the box's second axis.
    np.testing.assert_allclose(bed.size_m, [1.5, 2.0, 0.6])
    T = bed.T_scene_object
    x, y, z = sets.BED_CENTER
    np.testing.assert_allclose(T[:3, 3], [x, y, z - 0.3 - FLOOR_Z], atol=1e-6)
    np.testing.assert_allclose(T[:3, 0], [-np.sin(sets.BED_YAW), np.cos(sets.BED_YAW), 0], atol=1e-9)
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(T[:3, :3]) > 0
    assert scene.cloud is not None and scene.cloud.instance is not None and scene.cloud.colors is not None
    assert (scene.cloud.instance[:8] == 0).all() and scene.cloud.colors[3].tolist() == [3, 7, 9]
    # Of the floor, only what lies inside the box's outline touches it: the box stands on the floor.
    assert abs(np.median(scene.cloud.points[8:, 2])) < 1e-6


def test_views_without_the_lost_one(root: Path) -> None:
    out = open_reader("arkitscenes", root).read(sets.VIDEO)
    assert len(out.scene.views) == 3 and out.left_out["pictures without a pose"] == 1
    view = out.scene.views[1]
    np.testing.assert_allclose(view.T_scene_camera, sets.looking_down(1.1, 2.0, 1.4 - FLOOR_Z), atol=1e-6)
    np.testing.assert_allclose(view.intrinsics, [[40, 0, 15.5], [0, 41, 11.5], [0, 0, 1]])
    assert view.image[0, 0].tolist() == [20, 10, 5]
    assert view.depth_m is not None and (view.depth_m == 2.0).all()
    assert view.instance is not None and (view.instance < 1).all()


def test_pictures_far_from_any_pose_are_left_out(root: Path) -> None:
    path = folder(root) / f"{sets.VIDEO}_frames" / "lowres_wide.traj"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:1]) + "\n")
    out = open_reader("arkitscenes", root).read(sets.VIDEO)
    assert len(out.scene.views) == 1 and out.left_out["pictures without a pose"] == 3


def test_a_skipped_annotation_gives_no_objects(root: Path) -> None:
    path = folder(root) / f"{sets.VIDEO}_3dod_annotation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "skipped": True}))
    out = open_reader("arkitscenes", root).read(sets.VIDEO)
    assert not out.scene.objects and out.scene.cloud is not None and out.scene.cloud.instance is None


@pytest.mark.parametrize("key", ["uid", "label", "segments"])
def test_a_missing_key_is_named(root: Path, key: str) -> None:
    path = folder(root) / f"{sets.VIDEO}_3dod_annotation.json"
    content = json.loads(path.read_text())
    del content["data"][0][key]
    path.write_text(json.dumps(content))
    with pytest.raises(ReaderError, match=f"data 0: no '{key}'"):
        open_reader("arkitscenes", root).read(sets.VIDEO)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (f"{sets.VIDEO}_3dod_mesh.ply", None, "cut short"),
        (f"{sets.VIDEO}_frames/lowres_wide.traj", b"6845.7 0 0 0\n", "seven numbers"),
        (f"{sets.VIDEO}_frames/lowres_wide_intrinsics/{sets.VIDEO}_6845.701.pincam", b"32 24 40\n", "focal lengths"),
        (f"{sets.VIDEO}_frames/lowres_wide/{sets.VIDEO}_6845.700.png", b"", "damaged picture"),
        (f"{sets.VIDEO}_frames/lowres_depth/{sets.VIDEO}_6845.700.png", b"PNG", "damaged picture"),
    ],
)
def test_broken_files_are_named(root: Path, name: str, content: bytes | None, says: str) -> None:
    path = folder(root) / name
    path.write_bytes(path.read_bytes()[:600] if content is None else content)
    with pytest.raises(ReaderError, match=says) as error:
        open_reader("arkitscenes", root).read(sets.VIDEO)
    assert path.name in str(error.value)


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match=r"no Training/VIDEO/VIDEO_3dod_mesh\.ply"):
        open_reader("arkitscenes", tmp_path)
    with pytest.raises(ReaderError, match="--structure: arkitscenes has no use"):
        open_reader("arkitscenes", tmp_path, ReaderOptions(structure=True))
