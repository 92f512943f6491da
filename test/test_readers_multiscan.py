"""MultiScan in its published layout: planted geometry, both kinds of depth streams, bad files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import write_real_sets as sets

from crossover_models.dataset.readers import ReaderError, ReaderOptions, open_reader


@pytest.fixture
def root(tmp_path: Path) -> Path:
    sets.write_multiscan(tmp_path / "set")
    return tmp_path / "set"


@pytest.mark.parametrize(("scan", "T"), [(sets.SCENE_0, np.eye(4)), (sets.SCENE_1, sets.T_FIRST_SECOND)])
def test_geometry_comes_out_as_planted(root: Path, scan: str, T: np.ndarray) -> None:
    reader = open_reader("multiscan", root)
    assert reader.scan_ids() == ((sets.SCENE_0, "val"), (sets.SCENE_1, "val"))
    scene = reader.read(scan).scene
    assert (scene.room_id, scene.category) == ("scene_00000", "kitchen")
    assert scene.reference_id == ("" if scan == sets.SCENE_0 else sets.SCENE_0)
    (cabinet,) = scene.objects
    assert cabinet.category == "wall cabinet" and cabinet.object_id == f"{scan}/2"
    # Its front is -y of the mesh: depth 0.4, width 1.2, height 1.
    np.testing.assert_allclose(cabinet.size_m, [0.4, 1.2, 1.0])
    expected = T @ sets.turned(-np.pi / 2, 1.0, 2.0, 0.0)
    np.testing.assert_allclose(cabinet.T_scene_object, expected, atol=1e-9)
    assert scene.cloud is not None and scene.cloud.instance is not None and scene.cloud.colors is not None
    assert scene.cloud.instance.tolist() == [-1] * 4 + [0] * 8
    assert scene.cloud.colors[6].tolist() == [6, 50, 60]
    floor = sets.moved(T, np.array([[0.0, 0, 0], [3, 0, 0], [3, 3, 0], [0, 3, 0]]))
    np.testing.assert_allclose(scene.cloud.points[:4], floor, atol=1e-6)


@pytest.mark.parametrize(("scan", "T"), [(sets.SCENE_0, np.eye(4)), (sets.SCENE_1, sets.T_FIRST_SECOND)])
def test_views_without_the_lost_one(root: Path, scan: str, T: np.ndarray) -> None:
    out = open_reader("multiscan", root).read(scan)
    assert len(out.scene.views) == 3 and out.left_out["frames without a pose"] == 1
    for view, i in zip(out.scene.views, (0, 1, 3), strict=True):
        expected = T @ sets.looking_down(1.0 + 0.05 * i, 2.0, 3.0)
        np.testing.assert_allclose(view.T_scene_camera, expected, atol=1e-6)
        np.testing.assert_allclose(view.intrinsics, [[40, 0, 15.5], [0, 40, 11.5], [0, 0, 1]])
        # The stream's depth says which frame it is; the video is lossy.
        assert view.depth_m is not None and view.depth_m[0, 0] == i and view.depth_m[5, 5] == 2.0
        assert np.abs(view.image[12, 16].astype(int) - [60 * i, 120, 200]).max() < 12


def test_depth_is_optional_and_so_is_the_video(root: Path) -> None:
    (root / sets.SCENE_0 / f"{sets.SCENE_0}.depth.zlib").unlink()
    view = open_reader("multiscan", root).read(sets.SCENE_0).scene.views[0]
    assert view.depth_m is None and view.instance is None and view.image.shape == (48, 64, 3)
    (root / sets.SCENE_0 / f"{sets.SCENE_0}.mp4").unlink()
    out = open_reader("multiscan", root).read(sets.SCENE_0)
    assert not out.scene.views and out.left_out["sequences (no .mp4 is there)"] == 1


def test_structure_is_an_object_only_when_asked_for(root: Path) -> None:
    scene = open_reader("multiscan", root, ReaderOptions(structure=True, views=0)).read(sets.SCENE_0).scene
    assert [o.category for o in scene.objects] == ["floor", "wall cabinet"]


def test_referrals_go_to_objects(root: Path, tmp_path: Path) -> None:
    said = [{"scan_id": sets.SCENE_0, "target_id": "2", "utterance": "the cabinet"}]
    (tmp_path / "rel.json").write_text(json.dumps(said))
    options = ReaderOptions(referrals=tmp_path / "rel.json", views=0)
    scene = open_reader("multiscan", root, options).read(sets.SCENE_0).scene
    assert [(r.target_id, r.utterance) for r in scene.referrals] == [(f"{sets.SCENE_0}/2", "the cabinet")]


@pytest.mark.parametrize(
    ("suffix", "keep", "says"),
    [
        (".ply", 0.7, "cut short"),
        (".annotations.json", 0.5, "not JSON"),
        (".align.json", 0.3, "not JSON"),
        (".jsonl", 0.1, "line 1"),
        (".depth.zlib", 0.3, "ends before frame"),
        (".mp4", 0.3, "ends before frame"),
    ],
)
def test_broken_files_are_named(root: Path, suffix: str, keep: float, says: str) -> None:
    path = root / sets.SCENE_0 / f"{sets.SCENE_0}{suffix}"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ReaderError, match=says) as error:
        open_reader("multiscan", root).read(sets.SCENE_0)
    assert path.name in str(error.value)


@pytest.mark.parametrize(
    ("suffix", "key"),
    [(".annotations.json", "label"), (".align.json", "coordinate_transform"), (".jsonl", "intrinsics")],
)
def test_a_missing_key_is_named(root: Path, suffix: str, key: str) -> None:
    path = root / sets.SCENE_0 / f"{sets.SCENE_0}{suffix}"
    path.write_text(path.read_text().replace(f'"{key}"', '"other"'))
    with pytest.raises(ReaderError, match=f"no '{key}'"):
        open_reader("multiscan", root).read(sets.SCENE_0)
