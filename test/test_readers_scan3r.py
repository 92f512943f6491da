"""3RScan in its published layout: planted geometry, a rescan with a moved chair, bad files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import write_real_sets as sets

from crossover_models.dataset.readers import ReaderError, ReaderOptions, open_reader
from crossover_models.dataset.scene import Scene, SceneObject

SHIFT = sets.turned(0.0, 0.0, 0.0, -sets.FLOOR_Z)


def read(root: Path, scan: str, options: ReaderOptions | None = None) -> Scene:
    return open_reader("scan3r", root, options).read(scan).scene


def thing(scene: Scene, object_id: str) -> SceneObject:
    return next(o for o in scene.objects if o.object_id == object_id)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    sets.write_scan3r(tmp_path / "set")
    return tmp_path / "set"


def test_scans_have_their_room_and_its_split(root: Path) -> None:
    reader = open_reader("scan3r", root)
    assert reader.scan_ids() == ((sets.REFERENCE, "val"), (sets.RESCAN, "val"), (sets.HIDDEN, "test"))
    first, second = read(root, sets.REFERENCE), read(root, sets.RESCAN)
    assert (first.room_id, first.reference_id) == (sets.REFERENCE, "")
    assert (second.room_id, second.reference_id) == (sets.REFERENCE, sets.REFERENCE)


def test_geometry_comes_out_as_planted(root: Path) -> None:
    scene = read(root, sets.REFERENCE)
    assert [(o.object_id, o.category) for o in scene.objects] == [("2", "table"), ("5", "chair")]
    table = thing(scene, "2")
    np.testing.assert_allclose(table.size_m, [1.2, 0.8, 0.7], atol=1e-6)
    np.testing.assert_allclose(table.T_scene_object, sets.turned(0, 3.0, 2.0, 0.0), atol=1e-6)
    assert scene.cloud is not None and scene.cloud.instance is not None and scene.cloud.colors is not None
    np.testing.assert_allclose(scene.cloud.points[scene.cloud.instance == 0], sets.moved(SHIFT, sets.TABLE), atol=1e-5)
    assert (scene.cloud.instance[:4] == -1).all()


def test_colors_are_the_cameras_never_the_labels(root: Path) -> None:
    cloud = read(root, sets.REFERENCE).cloud
    assert cloud is not None and cloud.colors is not None
    expected = [sets.SEEN_RGB[1]] * 4 + [sets.SEEN_RGB[2]] * 8 + [sets.SEEN_RGB[5]] * 8
    np.testing.assert_array_equal(cloud.colors, expected)
    (root / sets.REFERENCE / "mesh.refined_0.png").unlink()
    bare = open_reader("scan3r", root).read(sets.REFERENCE)
    assert bare.scene.cloud is not None and bare.scene.cloud.colors is None
    assert any("textures" in what for what in bare.left_out)


def test_what_stayed_has_the_same_pose_and_what_was_moved_has_its_move(root: Path) -> None:
    first, second = read(root, sets.REFERENCE), read(root, sets.RESCAN)
    np.testing.assert_allclose(thing(first, "2").T_scene_object, thing(second, "2").T_scene_object, atol=1e-5)
    move = SHIFT @ sets.MOVE @ np.linalg.inv(SHIFT)
    np.testing.assert_allclose(thing(second, "5").T_scene_object, move @ thing(first, "5").T_scene_object, atol=1e-5)
    assert thing(second, "9").category == "lamp"
    assert second.cloud is not None and second.cloud.instance is not None
    seen = second.cloud.points[second.cloud.instance == 1]
    np.testing.assert_allclose(seen, sets.moved(SHIFT @ sets.MOVE, sets.CHAIR), atol=1e-5)


def test_a_move_that_does_not_fit_its_points_is_not_believed(root: Path) -> None:
    rooms = json.loads((root / "3RScan.json").read_text())
    rooms[0]["scans"][0]["rigid"][0]["transform"][12] += 5.0
    (root / "3RScan.json").write_text(json.dumps(rooms))
    out = open_reader("scan3r", root).read(sets.RESCAN)
    assert out.left_out["objects that are not where the published moves put them"] == 1
    center = sets.moved(SHIFT @ sets.MOVE, sets.CHAIR).mean(axis=0)
    np.testing.assert_allclose(thing(out.scene, "5").T_scene_object[:2, 3], center[:2], atol=1e-5)


@pytest.mark.parametrize("packed", [False, True])
def test_views_without_the_lost_one(tmp_path: Path, packed: bool) -> None:
    sets.write_scan3r(tmp_path, packed)
    for scan in (sets.REFERENCE, sets.RESCAN):
        out = open_reader("scan3r", tmp_path).read(scan)
        assert len(out.scene.views) == 3 and out.left_out["frames without a pose"] == 1
        view = out.scene.views[0]
        np.testing.assert_allclose(view.T_scene_camera, sets.looking_down(2.4, 1.6, 2.7), atol=1e-6)
        np.testing.assert_allclose(view.intrinsics, [[40, 0, 15.5], [0, 40, 11.5], [0, 0, 1]])
        assert view.depth_m is not None and view.depth_m[0, 0] == 0 and view.depth_m[5, 5] == 2.0
        assert view.image.shape == (24, 32, 3)
        assert np.abs(view.image[12, 16].astype(int) - [200, 100, 0]).max() < 6
        # The table's corner (2.4, 1.6, 0.7) is where the middle of the picture looks.
        assert view.instance is not None and view.instance[12, 16] == 0 and view.instance[0, 0] == -1


def test_referrals_go_to_objects(root: Path, tmp_path: Path) -> None:
    said = [
        {"scan_id": sets.RESCAN, "target_id": 5, "utterance": "the chair"},
        {"scan_id": sets.RESCAN, "target_id": 1, "utterance": "the floor"},
    ]
    (tmp_path / "rel.json").write_text(json.dumps(said))
    options = ReaderOptions(referrals=tmp_path / "rel.json", views=0)
    out = open_reader("scan3r", root, options).read(sets.RESCAN)
    assert [(r.target_id, r.utterance) for r in out.scene.referrals] == [("5", "the chair")]
    assert out.left_out["referrals to no object"] == 1


def test_the_hidden_test_set_has_no_labels(root: Path) -> None:
    scene = read(root, sets.HIDDEN)
    assert not scene.objects and scene.cloud is not None and scene.cloud.instance is None
    assert len(scene.cloud.points) == 20 and len(scene.views) == 3


@pytest.mark.parametrize(
    ("name", "cut", "says"),
    [
        ("labels.instances.annotated.v2.ply", 0.8, "cut short"),
        ("semseg.v2.json", 0.5, "not JSON"),
        ("mesh.refined_0.png", 0.4, "damaged picture"),
        ("sequence/frame-000000.color.jpg", 0.1, "damaged picture"),
        ("sequence/_info.txt", 0.4, "m_calibrationColorIntrinsic"),
    ],
)
def test_broken_files_are_named(root: Path, name: str, cut: float, says: str) -> None:
    path = root / sets.REFERENCE / name
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(ReaderError, match=says) as error:
        read(root, sets.REFERENCE)
    assert Path(name).name in str(error.value)


@pytest.mark.parametrize("field", ["type", "reference", "scans"])
def test_a_missing_key_is_named(root: Path, field: str) -> None:
    rooms = json.loads((root / "3RScan.json").read_text())
    del rooms[0][field]
    (root / "3RScan.json").write_text(json.dumps(rooms))
    with pytest.raises(ReaderError, match=f"room 0: no or an unknown '{field}'"):
        open_reader("scan3r", root)


def test_a_row_by_row_matrix_is_refused(root: Path) -> None:
    rooms = json.loads((root / "3RScan.json").read_text())
    values = rooms[0]["scans"][0]["transform"]
    rooms[0]["scans"][0]["transform"] = np.reshape(values, (4, 4)).T.reshape(-1).tolist()
    (root / "3RScan.json").write_text(json.dumps(rooms))
    with pytest.raises(ReaderError, match="column by column"):
        open_reader("scan3r", root)
