"""Simulated data sets: every modality fits every other, and the same settings give the same bytes come what may."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossover_models import cli
from crossover_models.building import Building, BuildingError
from crossover_models.dataset import make, simulated
from crossover_models.dataset.make import make_data_set
from crossover_models.dataset.rescan import scene_changes
from crossover_models.dataset.room_source import Group, group_building, plan_groups, rooms_of_splits
from crossover_models.dataset.scene import MODALITIES, Scene
from crossover_models.dataset.scene_file import encode_scene
from crossover_models.dataset.settings import MakeSettings
from crossover_models.dataset.simulated import LEAST_MODALITIES, drawn_withheld
from crossover_models.dataset.store import DataSet, DataSetError, check_splits
from crossover_models.observation import Modality

REPOSITORY = Path(__file__).parents[1]
PROCTHOR = REPOSITORY / "../shared/data/procthor"
TINY = MakeSettings(
    rooms=4,
    seed=5,
    library="parametric",
    rescans=1.0,
    missing=0.0,
    rooms_per_building=4,
    views=3,
    view_width=64,
    view_height=48,
    drive_frames=2,
    drive_width=48,
    drive_height=36,
    plans=2,
    point_spacing_m=0.08,
)
COMMAND = "crossover data make"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Four rooms, each scanned twice, nothing missing."""
    return make_data_set(tmp_path_factory.mktemp("make") / "set", TINY, COMMAND)


def in_boxes(points: np.ndarray, which: np.ndarray, scene: Scene, slack_m: float) -> np.ndarray:
    """Whether each point (N, 3) lies in the box of the object that its index (N,) names."""
    inside = np.zeros(len(points), dtype=bool)
    for i, thing in enumerate(scene.objects):
        local = (points - thing.T_scene_object[:3, 3]) @ thing.T_scene_object[:3, :3]
        half = np.array([*thing.size_m[:2] / 2, thing.size_m[2]])
        low = np.array([-half[0], -half[1], 0.0])
        inside |= (which == i) & (local > low - slack_m).all(axis=1) & (local < half + slack_m).all(axis=1)
    return inside


def test_every_room_has_every_modality(made: DataSet) -> None:
    assert len(made.scan_ids()) == 8 and made.info.source == "simulated"
    for scene in made.scenes():
        assert scene.present == frozenset(MODALITIES) and scene.withheld == frozenset()
        assert len(scene.views) == 3 and scene.views[0].image.shape == (48, 64, 3) and len(scene.plans) == 2
        assert len({plan.style for plan in scene.plans}) == 2 and scene.description and scene.polygon is not None
        assert np.abs(scene.polygon.min(axis=0) + scene.polygon.max(axis=0)).max() < 1e-9
        assert scene.drive is not None and len(scene.drive.views) == 2 and scene.drive.cloud is not None
        assert scene.drive.views[0].depth_m is None and scene.drive.cloud.instance is None
        assert all(o.cad is not None and o.cad_id.startswith("parametric/") for o in scene.objects)


def test_canonical_models_fill_their_boxes(made: DataSet) -> None:
    for scene in made.scenes(parts=("meshes",)):
        for thing in scene.objects:
            assert thing.cad is not None
            low, high = thing.cad.vertices.min(axis=0), thing.cad.vertices.max(axis=0)
            np.testing.assert_allclose(high - low, thing.size_m, atol=2e-3)
            assert abs(low[2]) < 2e-3 and np.abs(low[:2] + high[:2]).max() < 0.05


def test_labeled_points_and_pixels_lie_in_their_objects(made: DataSet) -> None:
    points, pixels = 0, 0
    for scene in made.scenes():
        assert scene.cloud is not None and scene.cloud.instance is not None
        labeled = scene.cloud.instance >= 0
        inside = in_boxes(scene.cloud.points[labeled], scene.cloud.instance[labeled], scene, 0.12)
        assert not labeled.any() or inside.mean() > 0.99
        points += int(labeled.sum())
        for view in scene.views:
            assert view.depth_m is not None and view.instance is not None
            row, col = np.nonzero((view.instance >= 0) & (view.depth_m > 0))
            k, z = view.intrinsics, view.depth_m[row, col]
            local = np.stack([(col - k[0, 2]) / k[0, 0] * z, (row - k[1, 2]) / k[1, 1] * z, z, np.ones(len(z))])
            at = (view.T_scene_camera @ local)[:3].T
            assert in_boxes(at, view.instance[row, col], scene, 0.01).all()
            pixels += len(row)
    assert points > 200 and pixels > 1000


def test_clouds_are_partial_and_colored_only_where_a_camera_looked(made: DataSet) -> None:
    shares = []
    for scene in made.scenes(parts=("cloud",)):
        cloud = scene.cloud
        assert cloud is not None and cloud.colors is not None and cloud.colored is not None
        assert (cloud.colors[~cloud.colored] == 0).all()
        shares.append(float(cloud.colored.mean()))
        assert len(np.unique(np.floor(cloud.points / 0.04), axis=0)) > 200
    # Lidar's clouds are colored in part, those of RGB-D cameras wholly: both occur.
    assert min(shares) < 0.98 and max(shares) == 1.0 and min(shares) > 0.2


def test_a_room_looks_otherwise_to_each_of_its_sensors(made: DataSet) -> None:
    """The mean colors of views and cloud of one room differ by more than noise, in most rooms."""
    apart = []
    for scene in made.scenes(parts=("views", "cloud")):
        assert scene.cloud is not None and scene.cloud.colors is not None and scene.cloud.colored is not None
        seen = np.mean([view.image.reshape(-1, 3).mean(axis=0) for view in scene.views], axis=0)
        apart.append(float(np.abs(seen - scene.cloud.colors[scene.cloud.colored].mean(axis=0)).max()))
    assert np.median(apart) > 4.0


def test_rescans_are_of_the_same_room_after_things_moved(made: DataSet) -> None:
    changes = []
    scenes = {s.scan_id: s for s in made.scenes(parts=())}
    again = [s for s in scenes.values() if s.reference_id]
    assert len(again) == 4
    for scene in again:
        first = scenes[scene.reference_id]
        assert (scene.room_id, scene.split, scene.building_id) == (first.room_id, first.split, first.building_id)
        assert scene.polygon is not None and np.array_equal(scene.polygon, first.polygon)
        changes.append(scene_changes(first, scene))
        assert not any(o.object_id.endswith("/unmapped_1") for o in first.objects)
    assert any(c.moved for c in changes) and any(c.removed for c in changes)


def test_splits_share_no_room_building_or_model(made: DataSet) -> None:
    check_splits(made.scenes(parts=()))
    assert all(made.scan_ids(split) for split in ("train", "val", "test"))
    # Also models of things that no scan may show: whole buildings, not only the rooms in use.
    models = []
    for group in plan_groups(TINY, None):
        building = group_building(group, TINY, None)
        models.append({f.model_id for level in building.levels for p in level.places for f in p.furnishings})
    assert not models[0] & models[1] and not models[0] & models[2] and not models[1] & models[2]


def test_a_shared_building_is_noticed_when_a_set_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(group: Group, settings: MakeSettings, procthor: Path | None) -> Building:
        return group_building(replace(group, split="train"), settings, procthor)

    monkeypatch.setattr(simulated, "group_building", wrong)
    with pytest.raises(
        DataSetError, match=r"splits are not apart: building 'p5000000_0' is in the splits train and val"
    ):
        make_data_set(tmp_path / "set", replace(TINY, rescans=0.0, views=1, drive_frames=0), COMMAND)
    with pytest.raises(DataSetError, match="unfinished"):
        DataSet.open(tmp_path / "set")


def test_two_workers_make_the_same_bytes_and_another_seed_others(made: DataSet, tmp_path: Path) -> None:
    two = make_data_set(tmp_path / "two", TINY, COMMAND, workers=2)
    assert two.digest() == made.digest()
    for scan_id in made.scan_ids():
        assert two.path(scan_id).read_bytes() == made.path(scan_id).read_bytes()
    group = plan_groups(TINY, None)[0]
    first, other = (next(simulated.group_scenes(group, replace(TINY, seed=seed), None)) for seed in (5, 6))
    assert encode_scene(first) == made.path(first.scan_id).read_bytes() != encode_scene(other)


def test_an_interrupted_set_goes_on_to_the_same_bytes(made: DataSet, tmp_path: Path) -> None:
    folder = tmp_path / "set"

    def stop(done: int, total: int) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_data_set(folder, TINY, COMMAND, progress=stop)
    with pytest.raises(DataSetError, match=r"unfinished.*go on with: crossover data make"):
        DataSet.open(folder)
    (folder / "scenes" / "train" / "half.safetensors.partial").write_bytes(b"half")
    with pytest.raises(DataSetError, match="was made with seed 5, not 8"):
        make_data_set(folder, replace(TINY, seed=8), COMMAND)
    told: list[int] = []
    again = make_data_set(folder, TINY, COMMAND, progress=lambda done, total: told.append(done))
    assert told[0] == 2 and told[-1] == 4
    assert again.digest() == made.digest() and not list(folder.glob("**/*.partial"))


def test_a_damaged_scene_is_named_and_made_again_alone(made: DataSet, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    fast = replace(TINY, rescans=0.0, views=1, drive_frames=0)
    known = make_data_set(folder, fast, COMMAND)
    digest, victim = known.digest(), known.path(known.scan_ids("val")[0])
    before = {p: p.stat().st_mtime_ns for p in folder.glob("scenes/*/*")}
    victim.write_bytes(victim.read_bytes()[:-100])
    with pytest.raises(ValueError, match=victim.name + ": damaged"):
        known.digest()
    assert make_data_set(folder, fast, COMMAND).digest() == digest
    changed = {p for p, then in before.items() if p.stat().st_mtime_ns != then}
    assert changed == {victim}


def test_a_full_disk_stops_it_saying_so_and_finished_scans_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, folder = replace(TINY, rescans=0.0, views=1, drive_frames=0), tmp_path / "set"
    real, written = make.save_scene, list[str]()

    def full(path: Path, scene: Scene) -> None:
        if scene.split == "val":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, scene)
        written.append(scene.scan_id)

    monkeypatch.setattr(make, "save_scene", full)
    with pytest.raises(DataSetError, match="the disk is full; finished scans are kept, free some space and repeat"):
        make_data_set(folder, fast, COMMAND)
    assert {p.stem for p in folder.glob("scenes/*/*")} == set(written) and written
    with pytest.raises(DataSetError, match="unfinished"):
        DataSet.open(folder)
    monkeypatch.setattr(make, "save_scene", real)
    assert len(make_data_set(folder, fast, COMMAND).scan_ids()) == 4


def test_a_worker_that_was_killed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended:
        def __init__(self, *_: object) -> None: ...

        def __enter__(self) -> Ended:
            return self

        def __exit__(self, *_: object) -> None: ...

        def submit(self, *_: object) -> None:
            raise next(reasons)

        def shutdown(self, **_: object) -> None: ...

    monkeypatch.setattr(make, "ProcessPoolExecutor", Ended)
    # The second is what CPython's pool says if it breaks while a worker is being started.
    reasons = iter((BrokenProcessPool(), OSError("handle is closed")))
    for _ in range(2):
        with pytest.raises(DataSetError, match="a worker was killed"):
            make_data_set(tmp_path / "set", TINY, COMMAND, workers=2)


def test_a_building_that_is_none_is_left_out_and_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(group: Group, settings: MakeSettings, procthor: Path | None) -> Building:
        if group.split == "val":
            raise BuildingError("val.jsonl.gz: line 3: the polygon crosses itself")
        return group_building(group, settings, procthor)

    monkeypatch.setattr(simulated, "group_building", broken)
    data = make_data_set(tmp_path / "set", replace(TINY, rescans=0.0, views=1, drive_frames=0), COMMAND)
    assert data.scan_ids("val") == () and len(data.scan_ids()) == 3 and data.info.notes is not None
    assert data.info.notes["failed"] == [["procedural val 0", "val.jsonl.gz: line 3: the polygon crosses itself"]]


def test_modalities_are_withheld_at_the_rate_and_two_always_stay(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lost = [drawn_withheld(0.2, rng) for _ in range(3000)]
    for modality in MODALITIES:
        assert np.mean([modality in each for each in lost]) == pytest.approx(0.2, abs=0.03)
    assert max(len(drawn_withheld(0.9, rng)) for _ in range(200)) == len(MODALITIES) - LEAST_MODALITIES
    sparse = replace(TINY, missing=0.6, rescans=0.0, views=1, drive_frames=0)
    data = make_data_set(tmp_path / "set", sparse, COMMAND)
    withheld = set[Modality]()
    for scene in data.scenes():
        assert scene.present == frozenset(MODALITIES) - scene.withheld and len(scene.present) >= LEAST_MODALITIES
        withheld |= scene.withheld
        if Modality.MESH in scene.withheld:
            assert scene.objects and all(o.cad is None and o.cad_id == "" for o in scene.objects)
        if Modality.TEXT in scene.withheld:
            assert not scene.description and not scene.referrals
    assert withheld


def test_shares_of_splits_sum_up() -> None:
    for rooms in (3, 10, 99, 2000):
        shares = rooms_of_splits(replace(TINY, rooms=rooms))
        assert sum(shares.values()) == rooms and min(shares.values()) >= 1
        groups = plan_groups(replace(TINY, rooms=rooms), None)
        assert {s: sum(g.rooms for g in groups if g.split == s) for s in shares} == shares
    assert rooms_of_splits(replace(TINY, rooms=2000)) == {"train": 1500, "val": 200, "test": 300}


@pytest.mark.skipif(not PROCTHOR.is_dir(), reason="../shared/data/procthor is absent")
def test_rooms_of_procthor_are_rooms_among_ours(tmp_path: Path) -> None:
    settings = replace(TINY, procthor_share=0.5, rescans=1.0, rooms=6, views=1, drive_frames=1)
    data = make_data_set(tmp_path / "set", settings, COMMAND, procthor=PROCTHOR)
    sources = [s.source for s in data.scenes(parts=())]
    assert sum("ProcTHOR" in s for s in sources) >= 4 and any("procedural" in s for s in sources)
    for scene in data.scenes():
        if "ProcTHOR" in scene.source:
            assert scene.present == frozenset(MODALITIES) and scene.category and scene.objects
    assert data.info.settings["procthor"] and make_data_set(tmp_path / "set", settings, COMMAND, procthor=PROCTHOR)
    with pytest.raises(DataSetError, match="was made with procthor"):
        make_data_set(tmp_path / "set", settings, COMMAND)


def arguments(folder: Path, tmp_path: Path) -> list[str]:
    """A command line for a tiny set."""
    small = {k: v for k, v in vars(TINY).items() if k not in ("rooms", "seed", "library", "rescans", "missing")}
    (tmp_path / "tiny.yaml").write_text("".join(f"{name}: {value}\n" for name, value in small.items()))
    given = "--rooms 3 --seed 2 --rescans 0 --missing 0 --views 1 --library parametric"
    return ["data", "make", "--out", str(folder), "--settings", str(tmp_path / "tiny.yaml"), *given.split()]


def test_commands_make_and_describe_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "set"
    assert cli.main(arguments(folder, tmp_path)) == 0
    shown = capsys.readouterr().out
    assert "MB a scan" in shown and "2,000 such rooms" in shown and "rooms/min" in shown
    assert cli.main(["data", "digest", str(folder)]) == 0
    printed = capsys.readouterr().out.strip()
    assert printed == DataSet.open(folder).digest() and len(printed) == 64
    assert cli.main(["data", "info", str(folder)]) == 0
    settings = DataSet.open(folder).info.settings
    assert (settings["rooms"], settings["views"], settings["view_width"], settings["library"]) == (
        3,
        1,
        64,
        "parametric",
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--workers", "0"], "--workers: need at least 1, got 0"),
        (["--procthor-share", "0.5"], "--procthor-share: needs --procthor FOLDER"),
        (["--rooms", "1"], "rooms"),
        (["--missing", "2"], "missing"),
        (["--procthor", "no-such-folder"], "no-such-folder"),
        (["--settings", "no-such.yaml"], "no-such.yaml"),
    ],
)
def test_bad_values_are_one_line(
    more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*arguments(tmp_path / "set", tmp_path), *more]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and "Traceback" not in said and not (tmp_path / "set").exists()


def test_an_interrupt_from_outside_ends_soon_and_keeps_what_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    words = [*arguments(folder, tmp_path), "--rooms", "60", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    code = (
        f"import sys\nfrom crossover_models.cli import main\nif __name__ == '__main__':\n    sys.exit(main({words!r}))"
    )
    (tmp_path / "go.py").write_text(code)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "go.py")], env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(list(folder.glob("scenes/*/*.safetensors"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in errors and b"repeat the command to go on" in errors
    whole = list(folder.glob("scenes/*/*.safetensors"))
    assert len(whole) >= 2 and not list(folder.glob("scenes/*/*.partial"))
    for path in whole:
        make.check_scene(path)
    with pytest.raises(DataSetError, match="unfinished"):
        DataSet.open(folder)
