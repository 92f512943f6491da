"""Structured3D in its published layout: planted geometry in millimetres, a plan with its door, bad files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import write_real_sets as sets

from crossover_models.dataset.readers import ReaderError, open_reader
from crossover_models.dataset.readers.structured3d import _split

SCAN = f"{sets.HOUSE}_{sets.ROOM}"
MIDDLE = np.array([3.0, 2.5])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    sets.write_structured3d(tmp_path / "set")
    return tmp_path / "set"


def test_a_room_is_a_scan(root: Path) -> None:
    reader = open_reader("structured3d", root)
    assert reader.scan_ids() == ((SCAN, "val"),)
    assert [_split(n) for n in (0, 2999, 3000, 3249, 3250, 3499)] == ["train", "train", "val", "val", "test", "test"]
    scene = reader.read(SCAN).scene
    assert (scene.building_id, scene.category) == (sets.HOUSE, "living room")
    assert scene.polygon is not None
    corners = {tuple(np.round(p, 6)) for p in scene.polygon}
    assert corners == {(-2, -1.5), (2, -1.5), (2, 1.5), (-2, 1.5)}


def test_objects_are_those_of_the_room_that_pictures_name(root: Path) -> None:
    out = open_reader("structured3d", root).read(SCAN)
    (sofa,) = out.scene.objects
    assert (sofa.object_id, sofa.category) == ("12", "sofa")
    np.testing.assert_allclose(sofa.size_m, [0.9, 1.8, 0.8])
    x, y = np.array([1.0, 1.0]) + sets.SOFA_CENTER[:2] - MIDDLE
    expected = sets.turned(sets.SOFA_YAW + np.pi / 2, x, y, 0.0)
    np.testing.assert_allclose(sofa.T_scene_object, expected, atol=1e-9)
    assert out.left_out == {"objects that no picture shows (what they are is unknown)": 1}


def test_views_and_the_cloud_they_show(root: Path) -> None:
    scene = open_reader("structured3d", root).read(SCAN).scene
    assert len(scene.views) == 2
    view = scene.views[1]
    x, y = np.array([1.1, 1.0]) + sets.SOFA_CENTER[:2] - MIDDLE
    np.testing.assert_allclose(view.T_scene_camera, sets.looking_down(x, y, sets.EYE_Z), atol=1e-6)
    np.testing.assert_allclose(view.intrinsics, [[20, 0, 15.5], [0, 20, 11.5], [0, 0, 1]], atol=1e-6)
    assert view.image[10, 12].tolist() == [250, 2, 1]
    assert view.instance is not None and view.instance[10, 12] == 0 and view.instance[0, 0] == -1
    cloud = scene.cloud
    assert cloud is not None and cloud.instance is not None and cloud.colors is not None
    np.testing.assert_allclose(cloud.points[cloud.instance == 0][:, 2], 0.8, atol=1e-6)
    np.testing.assert_allclose(cloud.points[cloud.instance == -1][:, 2], 0.0, atol=1e-6)
    assert (cloud.colors[cloud.instance == 0] == [250, 2, 1]).all()


def test_the_plan_has_walls_and_a_gap_for_the_door(root: Path) -> None:
    scene = open_reader("structured3d", root).read(SCAN).scene
    plan = next(p for p in scene.plans if p.style == "line")

    def ink(x: float, y: float) -> int:
        col = int((x - plan.origin_xy[0]) / plan.resolution_m)
        row = int((y - plan.origin_xy[1]) / plan.resolution_m)
        return int(plan.image[row, col])

    assert ink(-1.5, -1.5) == 0 and ink(0.0, 1.5) == 0 and ink(2.1, 0.0) == 0
    assert ink(2.45 - MIDDLE[0], -1.5) == 255, "the door is open"
    assert ink(0.0, 0.0) == 255
    assert {p.style for p in scene.plans} == {"line", "furnished"}


def test_a_floor_that_does_not_close_is_refused(root: Path) -> None:
    path = root / sets.HOUSE / "annotation_3d.json"
    content = json.loads(path.read_text())
    content["planeLineMatrix"][0][0] = 0
    path.write_text(json.dumps(content))
    with pytest.raises(ReaderError, match=f"room {sets.ROOM}: its floor's lines do not close"):
        open_reader("structured3d", root).read(SCAN)


@pytest.mark.parametrize(
    ("name", "key"),
    [("annotation_3d.json", "junctions"), ("annotation_3d.json", "semantics"), ("bbox_3d.json", "centroid")],
)
def test_a_missing_key_is_named(root: Path, name: str, key: str) -> None:
    path = root / sets.HOUSE / name
    path.write_text(path.read_text().replace(f'"{key}"', '"other"'))
    with pytest.raises(ReaderError, match=f"no '{key}'") as error:
        open_reader("structured3d", root).read(SCAN)
    assert name in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("camera_pose.txt", b"1 2 3", "expected eye"),
        ("camera_pose.txt", b"0 0 0 0 0 1 0 0 1 0.5 0.4 1", "its own up"),
        ("depth.png", b"", "damaged picture"),
        ("instance.png", None, "no such file"),
    ],
)
def test_broken_pictures_are_named(root: Path, name: str, content: bytes | None, says: str) -> None:
    path = root / sets.HOUSE / "2D_rendering" / str(sets.ROOM) / "perspective" / "full" / "0" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReaderError, match=says) as error:
        open_reader("structured3d", root).read(SCAN)
    assert name in str(error.value)


def test_pictures_of_different_size_are_refused(root: Path) -> None:
    path = root / sets.HOUSE / "2D_rendering" / str(sets.ROOM) / "perspective" / "full" / "0"
    cv2.imwrite(str(path / "depth.png"), np.zeros((5, 5), dtype=np.uint16))
    with pytest.raises(ReaderError, match="differ in size"):
        open_reader("structured3d", root).read(SCAN)
