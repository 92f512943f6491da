"""``crossover data prepare``: resumable, parallel, broken scans named; nothing half-written is read."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import write_scannet as planted

from crossover_models import cli
from crossover_models.dataset import prepare as module
from crossover_models.dataset.prepare import PrepareError, PrepareJob, ScanOutcome, prepare
from crossover_models.dataset.prepare_command import add_commands
from crossover_models.dataset.readers import ReaderError, ReaderOptions
from crossover_models.dataset.scene import Scene
from crossover_models.dataset.store import DataSet, DataSetError, scene_path

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scannet")
    planted.write_scannet(root)
    return root


@pytest.fixture
def root(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "root"))


def job(root: Path, out: Path, workers: int = 1, limit: int = 0) -> PrepareJob:
    options = ReaderOptions(
        views=2,
        scan2cad=root / "full_annotations.json",
        shapenet=root / "ShapeNetCore.v2",
        scenecad=root / "scannet_planes",
        referrals=root / "annotations" / "refer",
    )
    return PrepareJob("scannet", root, out, options, workers, limit)


def break_scan(root: Path, scan_id: str) -> None:
    (root / "scans" / scan_id / f"{scan_id}.aggregation.json").write_text("{")


def crossover(*arguments: str) -> int:
    """The ``prepare`` command alone, with the errors that the ``crossover`` command makes a line of."""
    import argparse

    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    parsed = parser.parse_args(["prepare", *arguments])
    return int(parsed.run(parsed))


def test_a_published_set_becomes_a_data_set_with_its_splits(published: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    report = prepare(job(published, tmp_path / "set"), lambda o, done, count: seen.append((o.scan_id, done, count)))
    data = DataSet.open(tmp_path / "set")
    assert data.scan_ids("train") == ("scene0000_00", "scene0000_01")
    assert data.scan_ids("val") == ("scene0001_00",) and data.scan_ids("test") == ("scene0707_00",)
    assert seen == [(scan, i, 4) for i, scan in enumerate(planted.SCANS, 1)]
    assert data.info.source == "ScanNet v2" and not data.info.simulated
    assert report.done == 4 and report.failed == {} and not (tmp_path / "set" / "failed.json").exists()
    # The stray CAD model and the lost frame of every scan are told, not hidden.
    assert report.left_out["frames without a pose"] == 4
    assert data.info.notes is not None and data.info.notes["left_out"] == report.left_out
    assert data.info.notes["cad_models"] == 1
    scene = data.load("scene0000_00")
    assert len(scene.views) == 2 and scene.objects[1].cad is not None and scene.plans and scene.referrals


def test_two_workers_make_the_same_set(published: Path, tmp_path: Path) -> None:
    prepare(job(published, tmp_path / "one"))
    prepare(job(published, tmp_path / "two", workers=2))
    assert DataSet.open(tmp_path / "one").digest() == DataSet.open(tmp_path / "two").digest()


def test_a_broken_scan_is_named_skipped_and_tried_again(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    break_scan(root, "scene0001_00")
    report = prepare(job(root, out))
    assert set(report.failed) == {"scene0001_00"} and "not JSON" in report.failed["scene0001_00"]
    assert json.loads((out / "failed.json").read_text()) == report.failed
    assert DataSet.open(out).scan_ids("val") == ()
    shutil.copy(
        root / "scans" / "scene0000_00" / "scene0000_00.aggregation.json",
        root / "scans" / "scene0001_00" / "scene0001_00.aggregation.json",
    )
    again = prepare(job(root, out))
    assert (again.done, again.kept, again.failed) == (1, 3, {})
    assert DataSet.open(out).scan_ids("val") == ("scene0001_00",) and not (out / "failed.json").exists()
    assert again.left_out["frames without a pose"] == 4  # those of scans written before are still known


def test_a_reader_that_fails_in_a_way_nobody_met_breaks_one_scan(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crossover_models.dataset.readers.scannet import ScanNetReader

    real = ScanNetReader.read

    def read(self: ScanNetReader, scan_id: str) -> object:
        if scan_id == "scene0000_01":
            raise ZeroDivisionError("division by zero")
        return real(self, scan_id)

    monkeypatch.setattr(ScanNetReader, "read", read)
    assert prepare(job(published, tmp_path / "set")).failed == {"scene0000_01": "ZeroDivisionError: division by zero"}


def test_an_interrupted_set_is_refused_and_goes_on(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"

    def stop(outcome: ScanOutcome, done: int, count: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(job(published, out), stop)
    with pytest.raises(
        DataSetError, match=r"unfinished \(2 scans so far\); go on with: crossover data prepare scannet"
    ):
        DataSet.open(out)
    report = prepare(job(published, out))
    assert (report.done, report.kept) == (2, 2) and report.left_out["frames without a pose"] == 4
    prepare(job(published, tmp_path / "whole"))
    assert DataSet.open(out).digest() == DataSet.open(tmp_path / "whole").digest()


def test_a_damaged_scene_is_written_again(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    prepare(job(published, out))
    path = scene_path(out, "train", "scene0000_00")
    path.write_bytes(path.read_bytes()[:100])
    assert prepare(job(published, out)).done == 1
    DataSet.open(out).digest()


def test_more_scans_can_be_added_but_not_with_other_settings(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    assert prepare(job(published, out, limit=2)).done == 2
    assert DataSet.open(out).scan_ids() == ("scene0000_00", "scene0001_00")

    def stop(outcome: ScanOutcome, done: int, count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(job(published, out), stop)
    with pytest.raises(DataSetError, match=r"unfinished \(3 scans so far\)"):
        DataSet.open(out)
    assert prepare(job(published, out)).kept == 3
    assert len(DataSet.open(out).scan_ids()) == 4
    with pytest.raises(DataSetError, match="was made with referrals"):
        prepare(PrepareJob("scannet", published, out, ReaderOptions(views=2)))


def test_a_worker_ended_from_outside_is_one_line(published: Path, tmp_path: Path) -> None:
    import multiprocessing

    def end_workers(done: int, count: int) -> None:
        def end() -> None:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and not multiprocessing.active_children():
                time.sleep(0.001)
            # Both are there by then, and still importing.
            time.sleep(0.1)
            for child in multiprocessing.active_children():
                child.kill()

        threading.Thread(target=end).start()

    with pytest.raises(PrepareError, match="a worker process was ended from outside"):
        prepare(job(published, tmp_path / "set", workers=2), begun=end_workers)
    assert prepare(job(published, tmp_path / "set")).failed == {}


def test_a_full_disk_stops_it_saying_so_and_nothing_half_written_stays(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real = tmp_path / "set", module.save_scene

    def full(path: Path, scene: Scene) -> None:
        if scene.scan_id == "scene0001_00":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, scene)

    monkeypatch.setattr(module, "save_scene", full)
    with pytest.raises(PrepareError, match=r"scene0001_00.*No space left on device; repeat the command to go on"):
        prepare(job(published, out))
    with pytest.raises(DataSetError, match=r"unfinished \(2 scans"):
        DataSet.open(out)
    monkeypatch.undo()
    assert prepare(job(published, out)).done == 2


def test_nothing_readable_is_an_error_and_other_folders_are_left_alone(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "scans_test")
    for scan_id in planted.SCANS[:3]:
        break_scan(root, scan_id)
    with pytest.raises(PrepareError, match="none of 3 scans could be read"):
        prepare(job(root, tmp_path / "set"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(DataSetError, match="holds no data set"):
        prepare(job(root, tmp_path / "mine"))
    with pytest.raises(PrepareError, match="--workers"):
        job(root, tmp_path, workers=0)


def test_the_command_repeats_itself_from_what_the_set_says(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_scan(root, "scene0000_01")
    out = tmp_path / "set with a space"
    assert crossover("scannet", str(root), "--out", str(out), "--views", "1", "--structure") == 0
    printed = capsys.readouterr()
    assert "ScanNet v2: 1 train, 1 val, 1 test (3 written now, 0 already there)" in printed.out
    assert "scene0000_01: skipped:" in printed.err and "failed.json" in printed.err
    assert "left out: frames without a pose: 3" in printed.err
    command = DataSet.open(out).info.command
    import shlex

    words = shlex.split(command)
    assert words[:3] == ["crossover", "data", "prepare"]
    assert crossover(*words[3:]) == 0
    assert "(0 written now, 3 already there)" in capsys.readouterr().out


def test_unknown_sets_and_roots_are_one_line(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match=r"unknown 'matterport'; known: "):
        crossover("matterport", str(root), "--out", str(tmp_path / "set"))
    (root / "full_annotations.json").write_text("[")
    with pytest.raises(ReaderError, match=r"full_annotations\.json: not JSON"):
        crossover(
            "scannet", str(root), "--out", str(tmp_path / "set"), "--scan2cad", str(root / "full_annotations.json")
        )
    with pytest.raises(ReaderError, match=r"none of scannetv2_train\.txt"):
        crossover("scannet", str(tmp_path), "--out", str(tmp_path / "set"))
    assert not (tmp_path / "set").exists()


def test_an_interrupt_from_outside_ends_workers_and_leaves_whole_scenes(published: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(published, root)
    scans = [f"scene{i:04d}_00" for i in range(1000, 1150)]
    for scan_id in scans:
        folder = root / "scans" / scan_id
        folder.mkdir()
        for path in (published / "scans" / "scene0001_00").iterdir():
            (folder / path.name.replace("scene0001_00", scan_id)).symlink_to(path)
    (root / "scannetv2_val.txt").write_text("\n".join(scans))
    out = tmp_path / "set"
    arguments = f"'scannet', Path({str(root)!r}), Path({str(out)!r}), workers=2"
    code = (
        "from pathlib import Path\nfrom crossover_models.dataset.prepare import PrepareJob, prepare\n"
        f"if __name__ == '__main__':\n    prepare(PrepareJob({arguments}))"
    )
    script = tmp_path / "go.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, script], env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(list(out.glob("scenes/*/*.safetensors"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0 and b"KeyboardInterrupt" in errors
    assert b"SpawnProcess" not in errors  # only the parent was interrupted
    with pytest.raises(DataSetError, match="unfinished"):
        DataSet.open(out)
    assert not list(out.glob("scenes/*/*.partial"))
    whole = list(out.glob("scenes/*/*.safetensors"))
    assert 3 <= len(whole) < len(scans) + 3 and all(module._is_there(path) for path in whole)


def test_a_damaged_scene_is_made_again(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    prepare(job(published, out))
    path = scene_path(out, "train", "scene0000_00")
    sound = path.read_bytes()
    path.write_bytes(sound[:-50] + bytes(50))
    again = prepare(job(published, out))
    assert (again.done, again.kept) == (1, 3) and path.read_bytes() == sound


def test_lists_that_cannot_be_written_are_named(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_scan(root, "scene0000_01")
    out, real = tmp_path / "set", os.fsync

    def full(stream: int) -> None:
        if out.joinpath("failed.json.partial").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(stream)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PrepareError, match=r"failed\.json: cannot be written: No space left on device; repeat"):
        prepare(job(root, out))
    assert not list(out.glob("*.partial"))


def test_a_refusal_is_one_line_and_an_interrupt_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["data", "prepare", "scannet", str(tmp_path / "absent"), "--out", str(tmp_path / "set")]
    assert cli.main(words) == 2
    assert capsys.readouterr().err == f"crossover data: {tmp_path / 'absent'}: no such folder\n"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "prepare", stop)
    assert cli.main(words) == 130
    assert capsys.readouterr().err == "crossover data: interrupted; repeat the command to go on\n"
