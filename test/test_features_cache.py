"""Caches of frozen features: what goes in comes out within its steps; damaged and stale files are made again."""

from __future__ import annotations

import argparse
import errno
import os
import zlib
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from crossover_models.building import Mesh
from crossover_models.dataset import features_make
from crossover_models.dataset.extract import FeatureSettings, drawn_plan, object_crops, scene_features
from crossover_models.dataset.features import FeaturesError, SceneFeatures, load_features, save_features
from crossover_models.dataset.features_command import add_commands
from crossover_models.dataset.features_make import FeaturesJob, features_path, make_features
from crossover_models.dataset.scene import Drive, PlanDrawing, Referral, Scene, SceneObject, ScenePoints, View
from crossover_models.dataset.scene_file import save_scene
from crossover_models.dataset.store import DataSetError, DataSetInfo, begin, finish, scene_path
from crossover_models.encoders.profile import SMALL
from crossover_models.floor_plan import FREE, OCCUPIED

CUBE = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0.0, 1.0)], dtype=np.float32)
SIDES = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]], dtype=np.int32)


class FakeImages:
    """Mean color of a picture, and its size."""

    name, view_dim, plan_dim, weights_sha256 = "fake", 4, 3, "a"

    def views(self, images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        return torch.stack([torch.tensor([*i.mean(axis=(0, 1)), i.shape[1]], dtype=torch.float32) for i in images])

    def plans(self, images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        return torch.stack([torch.tensor(i.mean(axis=(0, 1)), dtype=torch.float32) for i in images])


class FakeTexts:
    name, dim, weights_sha256 = "fake", 2, "b"

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.tensor([[len(t), ord(t[0])] for t in texts], dtype=torch.float32)


def planted(scan_id: str = "room_0", split: str = "train") -> Scene:
    rng = np.random.default_rng(7)
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    instance = np.full((60, 80), -1, dtype=np.int32)
    image[20:40, 30:50], instance[20:40, 30:50] = (200, 100, 50), 1
    instance[0:3, 0:3] = 0
    pose = np.eye(4)
    pose[:3, 3] = 1, 2, 3
    view = View(image, pose, np.eye(3), np.ones((60, 80), np.float32), instance)
    mesh = Mesh(CUBE, SIDES, None)
    size = np.ones(3)
    objects = (
        SceneObject("lamp", "lamp", np.eye(4), size),
        SceneObject("box 1", "box", pose, size, mesh, "lib/box"),
        SceneObject("box 2", "box", np.eye(4), size, mesh, "lib/box"),
    )
    n = 3000
    points = rng.uniform(-3, 3, (n, 3)).astype(np.float32)
    colored = rng.random(n) < 0.7
    colors = np.where(colored[:, None], rng.integers(0, 256, (n, 3)), 0).astype(np.uint8)
    drawing = PlanDrawing(np.full((50, 60), 255, np.uint8), "line", 0.1, (-3.0, -2.5))
    drawing.image[5] = 0
    return Scene(
        scan_id=scan_id,
        room_id=scan_id,
        building_id=scan_id,
        category="office",
        split=split,
        source="simulated: planted",
        views=(view, view),
        cloud=ScenePoints(points, colors, colored, rng.integers(-1, 3, n).astype(np.int32)),
        objects=objects,
        plans=(drawing,),
        description=("An office.", "Two boxes."),
        referrals=(Referral("box 2", "the other box"), Referral("lamp", "the lamp")),
        drive=Drive((view,), ScenePoints(points[:100])),
    )


def features_of(scene: Scene, **changes: int) -> SceneFeatures:
    return scene_features(scene, FeatureSettings(spacing_m=0.01, **changes), SMALL, FakeImages(), FakeTexts())


def test_what_goes_in_comes_out_within_its_steps(tmp_path: Path) -> None:
    made = features_of(planted())
    size = save_features(tmp_path / "a.safetensors", made, "key")
    assert size == (tmp_path / "a.safetensors").stat().st_size
    back = load_features(tmp_path / "a.safetensors", "key")
    assert back.object_ids == ("lamp", "box 1", "box 2") and back.plan_styles == ("line",)
    np.testing.assert_array_equal(back.views, made.views.astype(np.float16))
    np.testing.assert_array_equal(back.object_poses, made.object_poses)
    np.testing.assert_allclose(back.cad_points, made.cad_points, atol=0.5 / 127 + 1e-6)
    assert len(back.points) == len(made.points) == len(back.colors)
    # Points are in another order: each has its color, flag and object still.
    for row in range(0, len(made.points), 97):
        nearest = np.abs(back.points - made.points[row]).max(axis=1).argmin()
        assert np.abs(back.points[nearest] - made.points[row]).max() < 0.00501
        assert back.colors[nearest].tolist() == made.colors[row].tolist()
        assert back.instance[nearest] == made.instance[row] and back.colored[nearest] == made.colored[row]
    assert np.abs(np.sort(back.drive_points, axis=0) - np.sort(made.drive_points, axis=0)).max() < 0.00501


def test_far_points_come_out_and_too_far_ones_are_refused(tmp_path: Path) -> None:
    made = replace(features_of(planted()), drive_points=np.array([[-327, 327, 0], [327, -327, 1]], np.float32))
    save_features(tmp_path / "a.safetensors", made, "key")
    back = load_features(tmp_path / "a.safetensors").drive_points
    np.testing.assert_allclose(back[np.argsort(back[:, 0])], made.drive_points, atol=1e-3)
    far = replace(made, drive_points=np.array([[0, 400, 0]], np.float32))
    with pytest.raises(FeaturesError, match="327 m"):
        save_features(tmp_path / "b.safetensors", far, "key")
    with pytest.raises(FeaturesError, match="views: a value is beyond half precision"):
        save_features(tmp_path / "b.safetensors", replace(made, views=made.views * 1e6), "key")
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_what_is_extracted() -> None:
    made = features_of(planted(), crops=1)
    assert made.views.shape == (2, 4) and made.drive_views.shape == (1, 4) and made.plans.shape == (1, 3)
    np.testing.assert_array_equal(made.view_poses[0, :3, 3], [1, 2, 3])
    # The joined description, then each sentence; the lengths say which is which.
    assert made.texts[:, 0].tolist() == [21, 10, 10]
    assert made.referral_objects.tolist() == [2, 0]
    assert made.object_crops.tolist() == [0, 1, 0] and (made.object_views[0] == 0).all()
    assert made.object_cad.tolist() == [-1, 0, 0], "one model in one size is kept once"
    assert made.cad_points.shape == (1, 1024, 3)
    assert np.linalg.norm(made.cad_points[0], axis=1).max() == pytest.approx(1.0)
    np.testing.assert_allclose(made.cad_points[0].mean(axis=0), 0, atol=1e-5)


def test_crops_are_around_the_object_and_a_little_more() -> None:
    crops, of_crop = object_crops(planted().views, 3, 1)
    assert of_crop.tolist() == [1], "nine pixels are too few to tell what they are"
    assert crops[0].shape == (28, 28, 3)
    assert (crops[0][4:24, 4:24] == (200, 100, 50)).all() and (crops[0][:4] == 0).all()


def test_a_drawing_is_occupied_where_it_is_dark() -> None:
    plan = drawn_plan(planted().plans[0])
    assert (plan.occupancy[5] == OCCUPIED).all() and (plan.occupancy[6] == FREE).all()


def test_a_bare_scan_has_no_rows() -> None:
    bare = Scene("s", "s", "s", "", "train", "simulated: planted")
    made = features_of(bare)
    for name in ("views", "drive_views", "plans", "texts", "referrals", "object_views", "points", "cad_points"):
        assert len(getattr(made, name)) == 0
    assert made.views.shape == (0, 4) and made.texts.shape == (0, 2)


@pytest.fixture
def data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(features_make, "open_front_ends", lambda profile, device: (FakeImages(), FakeTexts()))
    folder = tmp_path / "set"
    begin(folder, DataSetInfo("simulated: planted", "crossover data make", {}))
    for scan, split in (("a", "train"), ("b", "train"), ("c", "val")):
        save_scene(scene_path(folder, split, scan), planted(scan, split))
    finish(folder, {"train": ["a", "b"], "val": ["c"], "test": []}, {})
    return folder


def test_a_job_goes_on_and_remakes_what_is_damaged_or_stale(data_set: Path, tmp_path: Path) -> None:
    job = FeaturesJob(data_set, tmp_path / "out")
    report = make_features(job)
    assert (report.made, report.kept, report.remade) == (3, 0, {})
    again = make_features(job)
    assert (again.made, again.kept) == (0, 3) and again.mb_a_scan == report.mb_a_scan
    path = features_path(tmp_path / "out", "train", "a")
    good = path.read_bytes()
    for bad, says in ((good[: len(good) // 2], "damaged"), (b"", "damaged"), (_flipped(good), "damaged")):
        path.write_bytes(bad)
        with pytest.raises(FeaturesError, match=says):
            load_features(path)
        report = make_features(job)
        assert report.kept == 2 and str(path) in report.remade["a"]
        assert path.read_bytes() == good, "the same scan gives the same bytes"
    features_path(tmp_path / "out", "val", "c").unlink()
    assert make_features(job).made == 1
    other = FeaturesJob(data_set, tmp_path / "out", settings=FeatureSettings(crops=1))
    assert "other settings" in make_features(other).remade["b"]


def _flipped(content: bytes) -> bytes:
    at = len(content) - 40
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_sound_arrays_that_are_not_those_written_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_features(path, features_of(planted()), "key")
    with safe_open(path, framework="numpy") as stream:
        tensors, metadata = {name: stream.get_tensor(name) for name in stream.keys()}, stream.metadata()  # noqa: SIM118
    ids = np.frombuffer(zlib.decompress(tensors["object_crops"].tobytes()), np.uint8).copy()
    ids[0] += 1
    tensors["object_crops"] = np.frombuffer(zlib.compress(ids.tobytes(), 6), np.uint8)
    path.write_bytes(save(tensors, metadata))
    with pytest.raises(FeaturesError, match="not the one it was written with"):
        load_features(path)


def test_another_scene_makes_its_features_stale(data_set: Path, tmp_path: Path) -> None:
    job = FeaturesJob(data_set, tmp_path / "out")
    make_features(job)
    save_scene(scene_path(data_set, "val", "c"), replace(planted("c", "val"), category="kitchen"))
    assert list(make_features(job).remade) == ["c"]
    assert load_features(features_path(tmp_path / "out", "val", "c")).category == "kitchen"


def test_bad_jobs_are_refused(data_set: Path, tmp_path: Path) -> None:
    with pytest.raises(FeaturesError, match="--profile: unknown 'tiny'; known: small, base, reference"):
        FeaturesJob(data_set, tmp_path / "out", profile="tiny")
    with pytest.raises(FeaturesError, match="--workers"):
        FeaturesJob(data_set, tmp_path / "out", workers=0)
    with pytest.raises(DataSetError, match="no data set"):
        make_features(FeaturesJob(tmp_path / "nothing", tmp_path / "out"))


def test_the_command_says_what_a_scan_weighs(
    data_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    words = ["features", str(data_set), "--out", str(tmp_path / "out"), "--crops", "0"]
    arguments = parser.parse_args(words)
    assert arguments.run(arguments) == 0
    out = capsys.readouterr().out
    assert "3 scans (3 made now, 0 already there)" in out and "MB a scan" in out and "44 MB" in out


def test_a_full_disk_and_a_worker_ended_from_outside_are_one_line(
    data_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, scene: SceneFeatures, key: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(features_make, "save_features", full)
        with pytest.raises(
            FeaturesError, match=r"\.safetensors: cannot be written: No space left.*; repeat the command"
        ):
            make_features(FeaturesJob(data_set, tmp_path / "features"))

    class Ended:
        def __init__(self, *_: object) -> None: ...

        def submit(self, *_: object) -> None:
            raise next(reasons)

        def shutdown(self, **_: object) -> None: ...

    monkeypatch.setattr(features_make, "ProcessPoolExecutor", Ended)
    # The second is what CPython's pool says if it breaks while a worker is being started.
    reasons = iter((BrokenProcessPool(), OSError("handle is closed")))
    for _ in range(2):
        with pytest.raises(FeaturesError, match="a worker process was ended from outside"):
            make_features(FeaturesJob(data_set, tmp_path / "features", workers=2))
