"""Making a simulated data set: building by building, in several processes, to be interrupted and gone on with."""

from __future__ import annotations

import errno
import hashlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from crossover_models.building import BuildingError
from crossover_models.dataset.room_source import Group, furniture_library, plan_groups
from crossover_models.dataset.scene import SceneError
from crossover_models.dataset.scene_file import check_scene, load_scene, save_scene
from crossover_models.dataset.settings import GENERATOR_VERSION, MakeSettings
from crossover_models.dataset.simulated import STAGES, StageClock, group_scenes
from crossover_models.dataset.store import (
    SPLITS,
    DataSet,
    DataSetError,
    DataSetInfo,
    begin,
    check_splits,
    finish,
    scene_path,
    write_info,
)
from crossover_models.dataset.workers import end_workers
from crossover_models.simulation.layout import LayoutError
from crossover_models.threads import use_threads

_GROUPS = "groups"

Progress = Callable[[int, int], None]
"""Told rooms done and rooms in all."""


@dataclass(frozen=True)
class GroupDone:
    """What making a group gave: its scans, seconds a stage, why it was left out (or "")."""

    scans: tuple[str, ...]
    seconds: dict[str, float]
    failed: str = ""


def make_data_set(
    folder: Path,
    settings: MakeSettings,
    command: str,
    *,
    procthor: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> DataSet:
    """Make a data set, or what is missing or damaged of it, and open it.

    The same settings give the same scenes whatever the number of workers and however often it was interrupted.

    Raises:
        DataSetError: the folder holds something else, the disk is full, or a worker died.
        KeyboardInterrupt: passed on; what was finished is kept.
    """
    groups = plan_groups(settings, procthor)
    info = begin(folder, DataSetInfo("simulated", command, _content_settings(settings, procthor)))
    for partial in folder.glob(f"**/*{_PARTIAL}"):
        partial.unlink()
    total = sum(group.rooms for group in groups)
    done: dict[Group, GroupDone] = {}
    todo: list[Group] = []
    for group in groups:
        found = _already(folder, group)
        if found is None:
            todo.append(group)
        else:
            done[group] = found
    rooms = sum(group.rooms for group in done)
    if progress is not None:
        progress(rooms, total)
    if info.complete and not todo:
        return DataSet.open(folder)
    if info.complete:
        write_info(folder, replace(info, complete=False, scans=None, notes=None))
    began, kept = time.perf_counter(), rooms
    for group, result in _made(todo, folder, settings, procthor, workers):
        done[group] = result
        rooms += group.rooms
        if progress is not None:
            progress(rooms, total)
    wall_s = time.perf_counter() - began
    speed = {"rooms": rooms - kept, "wall_s": round(wall_s, 2), "rooms_per_min": round(60 * (rooms - kept) / wall_s, 1)}
    return _finished(folder, groups, done, {"workers": workers, "last_call": speed})


def _content_settings(settings: MakeSettings, procthor: Path | None) -> dict[str, Any]:
    """All that decides the scenes: also which furniture was found, and which rooms."""
    files = [] if procthor is None else sorted(p for p in procthor.iterdir() if p.suffix in (".gz", ".json"))
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()
    return {
        **settings.to_mapping(),
        "generator_version": GENERATOR_VERSION,
        "furniture": furniture_library(settings.library).name,
        "procthor": digest[:16] if files else "",
    }


def _finished(folder: Path, groups: list[Group], done: dict[Group, GroupDone], notes: dict[str, Any]) -> DataSet:
    scans = {split: [s for g in groups if g.split == split for s in done[g].scans] for split in SPLITS}
    seconds = {stage: round(sum(result.seconds[stage] for result in done.values()), 2) for stage in STAGES}
    failed = [[f"{g.source} {g.split} {g.number}", done[g].failed] for g in groups if done[g].failed]
    paths = (scene_path(folder, split, scan) for split, found in scans.items() for scan in found)
    try:
        check_splits(load_scene(path, ()) for path in paths)
    except SceneError as error:
        raise DataSetError(f"{folder}: splits are not apart: {error}") from None
    finish(folder, scans, {**notes, "seconds": seconds, "failed": failed})
    return DataSet.open(folder)


_PARTIAL = ".partial"


def _marker(folder: Path, group: Group) -> Path:
    return folder / _GROUPS / f"{group.split}_{group.source}_{group.number}.json"


def _already(folder: Path, group: Group) -> GroupDone | None:
    """What a former call made of a group; None if anything of it is missing or damaged."""
    try:
        values = json.loads(_marker(folder, group).read_text(encoding="utf-8"))
        found = GroupDone(tuple(values["scans"]), values["seconds"], values["failed"])
        for scan_id in found.scans:
            check_scene(scene_path(folder, group.split, scan_id))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def _made(
    groups: list[Group], folder: Path, settings: MakeSettings, procthor: Path | None, workers: int
) -> Iterator[tuple[Group, GroupDone]]:
    if workers == 1:
        for group in groups:
            yield group, make_group(folder, group, settings, procthor)
        return
    # Spawned, not forked: the parent may hold threads, and a worker's memory should be its own.
    context = get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(workers, context, _begin_worker, (stop,)) as pool:
        try:
            running: dict[Future[GroupDone], Group] = {
                pool.submit(_make_in_worker, folder, group, settings, procthor): group for group in groups
            }
            while running:
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield running.pop(future), future.result()
        except (BrokenProcessPool, OSError):
            end_workers()
            # Which of the two it is depends on whether the pool breaks while a worker is being started.
            raise DataSetError(f"{folder}: a worker was killed (out of memory?); repeat with fewer --workers") from None
        finally:
            # After an error or an interrupt nobody waits for more than the scan that each worker is at.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


_stop_of_worker: list[Event] = []


class _Stopped(Exception):
    """The parent has given up."""


def _begin_worker(stop: Event) -> None:

    # The parent alone answers an interrupt.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    use_threads(1)
    _stop_of_worker[:] = [stop]


def _make_in_worker(folder: Path, group: Group, settings: MakeSettings, procthor: Path | None) -> GroupDone:
    def check() -> None:
        if _stop_of_worker[0].is_set():
            raise _Stopped

    check()
    return make_group(folder, group, settings, procthor, check)


def make_group(
    folder: Path,
    group: Group,
    settings: MakeSettings,
    procthor: Path | None,
    check: Callable[[], None] = lambda: None,
) -> GroupDone:
    """Make and write the scans of one building; ``check`` is called after each and may raise.

    A building that cannot be made (a ProcTHOR room that is none, no layout found) is left out and listed.

    Raises:
        DataSetError: the disk is full or a file cannot be written.
    """
    clock, scans, failed = StageClock(), [], ""
    try:
        for scene in group_scenes(group, settings, procthor, clock):
            save_scene(scene_path(folder, group.split, scene.scan_id), scene)
            scans.append(scene.scan_id)
            check()
    except (BuildingError, LayoutError) as error:
        failed, scans = str(error), []
    except OSError as error:
        raise _unwritable(folder, error) from None
    result = GroupDone(tuple(scans), {name: round(value, 3) for name, value in clock.seconds.items()}, failed)
    marker = _marker(folder, group)
    partial = marker.with_name(marker.name + _PARTIAL)
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(vars(result)), encoding="utf-8")
        partial.replace(marker)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _unwritable(folder, error) from None
    return result


def _unwritable(folder: Path, error: OSError) -> DataSetError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataSetError(
            f"{folder}: the disk is full; finished scans are kept, free some space and repeat the command"
        )
    return DataSetError(f"{folder}: {error.filename or ''} cannot be written: {error.strerror or error}")
