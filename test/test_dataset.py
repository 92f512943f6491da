"""Data set directories: unfinished ones are refused, splits are apart, what they hold is counted."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted_scene import planted_scene

from crossover_models.building import Furnishing, Level, Mesh, Place
from crossover_models.dataset.info import holdings, show_info
from crossover_models.dataset.rescan import SceneChanges, rearranged, scene_changes, supports, with_pieces_gone
from crossover_models.dataset.scene import Scene, SceneError, SceneObject
from crossover_models.dataset.scene_file import save_scene
from crossover_models.dataset.store import (
    DataSet,
    DataSetError,
    DataSetInfo,
    begin,
    check_splits,
    finish,
    read_info,
    scene_path,
)
from crossover_models.geometry import se3_from_se2
from crossover_models.simulation.procedural import generate_building

SETTINGS = {"rooms": 3, "seed": 0}


def write_set(folder: Path, scenes: list[Scene]) -> DataSet:
    """A finished data set of planted scenes."""
    begin(folder, DataSetInfo("simulated", "crossover data make", SETTINGS))
    scans: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for scene in scenes:
        save_scene(scene_path(folder, scene.split, scene.scan_id), scene)
        scans[scene.split].append(scene.scan_id)
    finish(folder, scans, {"seconds": {"views": 2.0}, "failed": [["procthor train 3", "no door"]]})
    return DataSet.open(folder)


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    again = planted_scene("t1_r1", category="kitchen", cloud=None)
    return write_set(tmp_path / "set", [planted_scene("t1"), again, planted_scene("v1", "val")])


def test_scans_come_in_order_and_by_split(data: DataSet) -> None:
    assert data.scan_ids() == ("t1", "t1_r1", "v1") and data.scan_ids("val") == ("v1",) and data.scan_ids("test") == ()
    assert [s.scan_id for s in data.scenes(parts=())] == ["t1", "t1_r1", "v1"]
    assert data.load("v1", ()).split == "val" and data.info.simulated
    with pytest.raises(DataSetError, match="split: must be one of train, val, test, got 'dev'"):
        data.scan_ids("dev")
    with pytest.raises(DataSetError, match="no scan 'x'"):
        data.load("x")


def test_an_unfinished_set_is_refused_and_says_how_to_go_on(tmp_path: Path) -> None:
    info = DataSetInfo("simulated", "crossover data make --rooms 3", SETTINGS)
    begin(tmp_path / "set", info)
    save_scene(scene_path(tmp_path / "set", "train", "t1"), planted_scene("t1"))
    with pytest.raises(DataSetError, match=r"unfinished \(1 scans so far\); go on with: crossover data make --rooms 3"):
        DataSet.open(tmp_path / "set")
    assert begin(tmp_path / "set", info) == info
    with pytest.raises(DataSetError, match="was made with seed 0, not 1"):
        begin(tmp_path / "set", replace(info, settings={"rooms": 3, "seed": 1}))


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="no data set"):
        DataSet.open(tmp_path)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DataSetError, match="is not empty and holds no data set"):
        begin(tmp_path, DataSetInfo("simulated", "c", {}))
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DataSetError, match="damaged"):
        read_info(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({"schema_version": 7}))
    with pytest.raises(DataSetError, match="schema_version 7, this program reads 1"):
        read_info(tmp_path)


def test_a_lost_file_is_named(data: DataSet) -> None:
    data.path("t1_r1").unlink()
    with pytest.raises(DataSetError, match="the file of scan t1_r1 is missing"):
        DataSet.open(data.folder)


def test_the_digest_is_of_content_and_checks_it(data: DataSet, tmp_path: Path) -> None:
    again = planted_scene("t1_r1", cloud=None)
    same = write_set(tmp_path / "same", [planted_scene("t1"), again, planted_scene("v1", "val")])
    assert same.digest() == data.digest()
    other = write_set(tmp_path / "other", [planted_scene("t1"), planted_scene("v1", "val")])
    assert other.digest() != data.digest()
    path = data.path("v1")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(SceneError, match=r"v1\.safetensors: damaged"):
        data.digest()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"room_id": "train_room"}, "room 'train_room' is in the splits train and val"),
        ({"building_id": "train_building"}, "building 'train_building' is in the splits train and val"),
        (
            {"objects": (replace(planted_scene().objects[0], cad_id="train/7"), planted_scene().objects[1])},
            "CAD model 'train/7' is in the splits train and val",
        ),
    ],
)
def test_what_two_splits_share_is_named(changes: dict[str, object], message: str) -> None:
    train, val = planted_scene("t1"), planted_scene("v1", "val")
    check_splits([train, val, planted_scene("t2")])
    with pytest.raises(SceneError, match=message):
        check_splits([train, replace(val, **changes)])  # type: ignore[arg-type]


def test_holdings_count_rooms_once_and_scans_all(data: DataSet) -> None:
    found = holdings(data)
    assert found.scans == {"train": 2, "val": 1, "test": 0} and found.rooms == {"train": 1, "val": 1, "test": 0}
    assert found.buildings["train"] == 1 and found.models["train"] == 1 and found.categories["train"]["kitchen"] == 1
    assert found.present["train"]["point_cloud"] == 1 and found.present["train"]["image"] == 2
    size = sum(data.path(s).stat().st_size for s in data.scan_ids())
    assert found.total_mb == pytest.approx(size / 1e6)
    assert sum(found.mb_per_scan.values()) * 3 == pytest.approx(found.total_mb)


def test_the_tables_name_what_was_left_out(data: DataSet, capsys: pytest.CaptureFixture[str]) -> None:
    show_info(data)
    shown = capsys.readouterr().out
    assert "kitchen" in shown and "scans with point cloud" in shown and "procthor train 3: no door" in shown


def box(object_id: str, low: tuple[float, float, float], high: tuple[float, float, float], category: str) -> Furnishing:
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    faces = np.array([[0, 1, 3], [0, 3, 2], [4, 5, 7], [4, 7, 6], [0, 1, 5], [0, 5, 4]], dtype=np.int32)
    faces = np.concatenate([faces, [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 3, 7], [1, 7, 5]]]).astype(np.int32)
    pose = se3_from_se2([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, 0.0], low[2])
    return Furnishing(object_id, category, Mesh(corners.astype(np.float32), faces), "", pose)


def test_things_are_carried_by_what_they_stand_on() -> None:
    pieces = [
        box("desk", (0, 0, 0), (2, 1, 0.75), "desk"),
        box("cup", (0.5, 0.5, 0.75), (0.6, 0.6, 0.85), "cup"),
        box("shelf", (3, 0, 0), (4, 0.4, 2.0), "shelf"),
        box("book", (3.2, 0.1, 1.0), (3.4, 0.3, 1.2), "book"),
        box("picture", (0.5, 0.4, 0.7), (1.5, 0.5, 1.9), "picture"),
        box("lamp", (0.5, 0.4, 2.0), (0.6, 0.5, 2.2), "lamp"),
        box("crate", (0.2, 0.2, 0.0), (0.5, 0.5, 0.4), "crate"),
    ]
    assert supports(pieces) == {"cup": "desk", "book": "shelf"}


def furnished_level() -> Level:
    return generate_building(7, levels=1, rooms_per_level=5, clutter=1.0).levels[0]


def hovering(place: Place) -> set[str]:
    """Ids of things above the floor that neither stand on anything nor hang on a wall."""
    carried = supports(place.furnishings)
    low = {f.object_id: float(f.mesh.vertices[:, 2].min()) for f in place.furnishings}
    return {i for i, z in low.items() if z > 0.05 and i not in carried}


def test_things_go_where_their_furniture_goes() -> None:
    level = furnished_level()
    again = rearranged(level, np.random.default_rng(3), "train")
    before = {f.object_id: f for p in level.places for f in p.furnishings}
    after = {f.object_id: f for p in again.places for f in p.furnishings}
    stayed, followed = 0, 0
    for place in level.places:
        for thing, support in supports(place.furnishings).items():
            if support not in after:
                assert thing not in after
            elif thing in after:
                T = [after[i].T_map_object @ np.linalg.inv(before[i].T_map_object) for i in (thing, support)]  # type: ignore[operator,arg-type]
                np.testing.assert_allclose(T[0], T[1], atol=1e-9)
                moved = np.abs(T[0] - np.eye(4)).max() > 1e-6
                stayed, followed = stayed + (not moved), followed + moved
    assert stayed and followed and before.keys() - after.keys() and after.keys() - before.keys()
    for old, new in zip(level.places, again.places, strict=True):
        assert hovering(new) <= hovering(old)
    assert [p.place_id for p in again.places] == [p.place_id for p in level.places]


def test_who_takes_furniture_away_takes_what_is_on_it() -> None:
    level = furnished_level()
    left = with_pieces_gone(level, 0.5, np.random.default_rng(1))
    for old, new in zip(level.places, left.places, strict=True):
        kept = {f.object_id for f in new.furnishings}
        assert kept <= {f.object_id for f in old.furnishings}
        assert all(support in kept for thing, support in supports(old.furnishings).items() if thing in kept)
    assert sum(len(p.furnishings) for p in left.places) < sum(len(p.furnishings) for p in level.places)
    same = with_pieces_gone(level, 0.0, np.random.default_rng(1))
    assert [p.furnishings for p in same.places] == [p.furnishings for p in level.places]


def test_changes_between_scans_are_read_from_poses() -> None:
    def thing(name: str, x: float, yaw: float = 0.0) -> SceneObject:
        return SceneObject(name, "chair", se3_from_se2([x, 0.0, yaw]), np.ones(3))

    first = Scene(
        "s", "r", "b", "", "train", "planted", objects=(thing("a", 0), thing("b", 1), thing("c", 2), thing("d", 3))
    )
    again = replace(
        first, scan_id="s_r1", objects=(thing("a", 0.01), thing("b", 1.1), thing("c", 2, 0.2), thing("e", 3))
    )
    assert scene_changes(first, again) == SceneChanges(("b", "c"), ("d",), ("e",))
    with pytest.raises(SceneError, match="different rooms"):
        scene_changes(first, replace(again, room_id="q"))


def test_who_cannot_write_leaves_nothing_and_may_begin_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info, folder = DataSetInfo("simulated", "crossover data make", SETTINGS), tmp_path / "set"

    def full(stream: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(DataSetError, match=r"dataset\.json: cannot be written: No space left on device; repeat"):
            begin(folder, info)
    assert list(folder.iterdir()) == []
    # As one leaves it who is killed in that moment.
    (folder / "dataset.json.partial").write_text("{")
    assert begin(folder, info) == info and read_info(folder) == info
