"""Scene files: what is read is what was written, the same scene gives the same bytes, damage is named."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from planted_scene import planted_cloud, planted_scene, planted_view
from safetensors.numpy import save_file

from crossover_models.dataset import scene_file
from crossover_models.dataset.scene import MODALITIES, Scene, SceneError, ScenePoints
from crossover_models.dataset.scene_file import PARTS, check_scene, encode_scene, load_scene, save_scene, scene_hash
from crossover_models.observation import Modality

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "scan_1.safetensors"
    save_scene(path, planted_scene())
    return path


def test_what_is_read_is_what_was_written(path: Path) -> None:
    wrote, read = planted_scene(), load_scene(path)
    for name in ("scan_id", "room_id", "building_id", "category", "split", "source", "reference_id"):
        assert getattr(read, name) == getattr(wrote, name)
    assert (read.description, read.referrals, read.withheld) == (wrote.description, wrote.referrals, wrote.withheld)
    assert read.polygon is not None and wrote.polygon is not None
    np.testing.assert_array_equal(read.polygon, wrote.polygon)
    for mine, its in zip(read.views, wrote.views, strict=True):
        # JPEG: near, and red is red.
        assert np.abs(mine.image.astype(int) - its.image.astype(int)).mean() < 3.0
        np.testing.assert_array_equal(mine.T_scene_camera, its.T_scene_camera)
        np.testing.assert_array_equal(mine.intrinsics, its.intrinsics)
    first, second = read.views
    assert first.depth_m is not None and wrote.views[0].depth_m is not None and first.depth_m[0, 0] == 0.0
    np.testing.assert_allclose(first.depth_m, wrote.views[0].depth_m, atol=5.1e-4)
    np.testing.assert_array_equal(first.instance, wrote.views[0].instance)
    assert second.depth_m is None and second.instance is None
    assert read.cloud is not None and wrote.cloud is not None
    np.testing.assert_allclose(read.cloud.points, wrote.cloud.points, atol=5.1e-4)
    for name in ("colors", "colored", "instance"):
        np.testing.assert_array_equal(getattr(read.cloud, name), getattr(wrote.cloud, name))
    for thing, other in zip(read.objects, wrote.objects, strict=True):
        assert (thing.object_id, thing.category, thing.cad_id) == (other.object_id, other.category, other.cad_id)
        np.testing.assert_array_equal(thing.T_scene_object, other.T_scene_object)
        np.testing.assert_array_equal(thing.size_m, other.size_m)
    chair, known = read.objects[0].cad, wrote.objects[0].cad
    assert chair is not None and known is not None and read.objects[1].cad is None
    for name in ("vertices", "faces", "face_colors"):
        np.testing.assert_array_equal(getattr(chair, name), getattr(known, name))
        assert getattr(chair, name).dtype == getattr(known, name).dtype
    for plan, drawn in zip(read.plans, wrote.plans, strict=True):
        np.testing.assert_array_equal(plan.image, drawn.image)
        assert (plan.style, plan.resolution_m, plan.origin_xy) == (drawn.style, drawn.resolution_m, drawn.origin_xy)
    assert read.drive is not None and read.drive.cloud is not None and len(read.drive.views) == 1
    assert read.drive.cloud.colors is None and read.drive.cloud.instance is None and len(read.drive.cloud.points) == 9
    assert read.present == wrote.present == read.recorded


def test_a_scene_of_nothing_but_its_name(tmp_path: Path) -> None:
    save_scene(tmp_path / "bare.safetensors", Scene("s", "r", "b", "", "val", "planted"))
    read = load_scene(tmp_path / "bare.safetensors")
    assert read.present == read.recorded == frozenset()
    assert (read.polygon, read.cloud, read.drive, read.views, read.plans) == (None, None, None, (), ())


def test_no_points_are_no_point_cloud_but_can_be_written(tmp_path: Path) -> None:
    empty = ScenePoints(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), np.zeros(0, np.bool_))
    save_scene(tmp_path / "s.safetensors", planted_scene(cloud=empty))
    read = load_scene(tmp_path / "s.safetensors")
    assert read.cloud is not None and read.cloud.points.shape == (0, 3)
    assert Modality.POINT_CLOUD not in read.present


def test_large_halls_keep_their_millimetres(tmp_path: Path) -> None:
    cloud = planted_cloud(200, spread_m=400.0)
    save_scene(tmp_path / "s.safetensors", planted_scene(cloud=cloud))
    read = load_scene(tmp_path / "s.safetensors").cloud
    assert read is not None
    np.testing.assert_allclose(read.points, cloud.points, atol=6e-4)


@pytest.mark.parametrize(
    ("parts", "present"),
    [
        ((), (False, False, False, False, False, False)),
        (("cloud", "meshes"), (False, False, True, True, False, False)),
        (("views",), (True, False, False, False, False, False)),
        (("views", "depth"), (True, True, False, False, False, False)),
        (("plans", "drive"), (False, False, False, False, True, True)),
    ],
)
def test_parts_are_read_alone_and_the_mask_stays_that_of_the_file(
    path: Path, parts: tuple[str, ...], present: tuple[bool, ...]
) -> None:
    read = load_scene(path, parts)
    found = (
        len(read.views) == 2,
        bool(read.views) and read.views[0].depth_m is not None,
        read.cloud is not None,
        read.objects[0].cad is not None,
        len(read.plans) == 2,
        read.drive is not None,
    )
    assert found == present
    assert read.recorded == frozenset(MODALITIES) and read.objects[0].cad_id == "train/7" and len(read.referrals) == 1


def test_the_same_scene_gives_the_same_bytes_in_every_process() -> None:
    code = (
        "import hashlib\nfrom planted_scene import planted_scene\n"
        "from crossover_models.dataset.scene_file import encode_scene\n"
        "print(hashlib.sha256(encode_scene(planted_scene())).hexdigest())"
    )
    seen = set()
    for hash_seed in ("0", "17"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "test")])
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        seen.add(done.stdout)
    assert len(seen) == 1


def test_any_change_of_content_changes_the_hash(path: Path, tmp_path: Path) -> None:
    known = scene_hash(path)
    moved = planted_cloud().points + np.float32(0.01) * np.eye(50, 3, dtype=np.float32)
    for i, change in enumerate(
        (
            {"category": "office"},
            {"withheld": frozenset()},
            {"referrals": ()},
            {"views": (planted_view(1),)},
            {"cloud": ScenePoints(moved)},
            {"polygon": np.array([[-1.0, -2.0], [3.5, -2.0], [3.5, 2.001]])},
        )
    ):
        other = tmp_path / f"{i}.safetensors"
        save_scene(other, planted_scene(**change))
        assert scene_hash(other) != known


def test_every_byte_counts(path: Path) -> None:
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    for position in np.linspace(start, len(content) - 1, 12).astype(int):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        for read in (load_scene, check_scene):
            with pytest.raises(SceneError, match=r"scan_1\.safetensors: damaged"):
                read(path)


@pytest.mark.parametrize("kept", [0, 4, 8, 200, 5000, -1])
def test_a_file_cut_short_is_named(path: Path, kept: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:kept])
    for read in (load_scene, check_scene, scene_hash):
        with pytest.raises(SceneError, match=r"scan_1\.safetensors: damaged"):
            read(path)


def test_what_is_no_scene_file_says_so(path: Path, tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="no such scene"):
        load_scene(tmp_path / "none.safetensors")
    other = tmp_path / "weights.safetensors"
    save_file({"weight": np.zeros(3, np.float32)}, other)
    with pytest.raises(SceneError, match="not a scene file"):
        load_scene(other)
    save_file({}, other, {"scene": json.dumps({"schema_version": 99, "sha256": "", "scene": "{}"})})
    with pytest.raises(SceneError, match="schema_version 99, this program reads 1"):
        load_scene(other)
    with pytest.raises(SceneError, match="parts: unknown 'depths'; known: views, depth"):
        load_scene(path, ["depths"])


def test_sizes_of_the_parts_add_up_to_the_file(path: Path) -> None:
    sizes = check_scene(path)
    assert set(sizes) == {*PARTS, "text and boxes"} and all(size > 0 for size in sizes.values())
    assert sum(sizes.values()) == path.stat().st_size


def test_values_that_no_file_can_hold_are_refused_by_name(tmp_path: Path) -> None:
    view = planted_view(1)
    far = type(view)(view.image, view.T_scene_camera, view.intrinsics, np.full((24, 32), 70.0, np.float32))
    with pytest.raises(SceneError, match="scan_1: depth_m"):
        encode_scene(planted_scene(views=(far,)))
    lost = ScenePoints(np.array([[0.0, np.nan, 0.0]], np.float32))
    with pytest.raises(SceneError, match="scan_1: cloud: a point is not finite"):
        encode_scene(planted_scene(cloud=lost))
    many = ScenePoints(np.zeros((1, 3), np.float32), instance=np.array([70000], np.int32))
    with pytest.raises(SceneError, match="scan_1: instance"):
        encode_scene(planted_scene(cloud=many))


def test_a_full_disk_leaves_neither_half_a_file_nor_a_changed_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(scene_file.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_scene(path, planted_scene(category="office"))
    assert path.read_bytes() == known and [p.name for p in path.parent.iterdir()] == [path.name]
