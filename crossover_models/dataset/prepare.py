"""Published data sets as data set directories: scan by scan, in parallel, resumable; broken scans are named."""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from crossover_models.dataset.readers import Reader, ReaderOptions, open_reader
from crossover_models.dataset.scene import SceneError
from crossover_models.dataset.scene_file import check_scene, load_scene, save_scene
from crossover_models.dataset.store import SPLITS, DataSetInfo, begin, finish, scene_path, write_info
from crossover_models.dataset.workers import end_workers
from crossover_models.threads import use_threads

FAILED, LEFT_OUT = "failed.json", "left_out.json"


class PrepareError(ValueError):
    """A data set that could not be prepared; the message says what to do."""


@dataclass(frozen=True)
class PrepareJob:
    """What to prepare.

    Attributes:
        dataset: name in the readers' registry.
        root: where the published files are.
        out: data set directory to write.
        options: what the reader goes by.
        workers: processes.
        limit: scans at most, spread evenly over the sorted list; 0 for all.
    """

    dataset: str
    root: Path
    out: Path
    options: ReaderOptions = field(default_factory=ReaderOptions)
    workers: int = 1
    limit: int = 0

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise PrepareError(f"--workers: must be 1 or more, got {self.workers}")
        if self.limit < 0:
            raise PrepareError(f"--limit: must be 0 (all) or more, got {self.limit}")

    @property
    def command(self) -> str:
        """The command line that does this job, and goes on with it."""
        words = ["crossover", "data", "prepare", self.dataset, str(self.root), "--out", str(self.out)]
        default = ReaderOptions()
        for option in fields(ReaderOptions):
            value = getattr(self.options, option.name)
            if value != getattr(default, option.name):
                words += [f"--{option.name}"] if value is True else [f"--{option.name}", str(value)]
        if self.limit:
            words += ["--limit", str(self.limit)]
        return shlex.join(words)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the scenes' content; a directory made with others is not gone on with."""
        options = {k: str(v) if isinstance(v, Path) else v for k, v in vars(self.options).items()}
        return {"dataset": self.dataset, "root": str(self.root), **options}


@dataclass(frozen=True)
class ScanOutcome:
    """What became of a scan: ``failure`` is "" if it was written, else the reason in a line."""

    scan_id: str
    split: str
    failure: str = ""
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class PrepareReport:
    """What became of all of them.

    Attributes:
        info: of the finished directory.
        done: scans that were written now.
        kept: scans that were there already.
        failed: scan -> reason.
        left_out: what scans had to leave out -> how often.
    """

    info: DataSetInfo
    done: int
    kept: int
    failed: dict[str, str]
    left_out: dict[str, int]


def prepare(
    job: PrepareJob,
    tell: Callable[[ScanOutcome, int, int], None] | None = None,
    begun: Callable[[int, int], None] | None = None,
) -> PrepareReport:
    """Carry out a job, or go on with one that was interrupted.

    Args:
        job: what to prepare.
        tell: called after each scan with what became of it, the number of scans done and of all.
        begun: called once everything is in order, with the number of scans that are there already and of all.

    Raises:
        ReaderError: an unknown data set, an option it has no use for, or a root without its files.
        DataSetError: ``out`` holds something else.
        PrepareError: not one scan could be read, a file cannot be written, or a worker was ended from outside.
    """
    reader = open_reader(job.dataset, job.root, job.options)
    scans = _chosen(reader, job.limit)
    info = begin(job.out, DataSetInfo(reader.name, job.command, job.settings))
    if info.complete or info.command != job.command:
        write_info(job.out, replace(info, command=job.command, complete=False, scans=None, notes=None))
    missing = [(scan, split) for scan, split in scans if not _is_there(scene_path(job.out, split, scan))]
    kept, failed = len(scans) - len(missing), dict[str, str]()
    left_out = _read_left_out(job.out)
    if begun is not None:
        begun(kept, len(scans))
    try:
        for number, outcome in enumerate(_outcomes(job, reader, missing), 1):
            left_out[outcome.scan_id] = outcome.left_out
            if outcome.failure:
                failed[outcome.scan_id] = outcome.failure
            if tell is not None:
                tell(outcome, kept + number, len(scans))
    finally:
        _write_json(job.out / FAILED, failed)
        _write_json(job.out / LEFT_OUT, left_out)
    if len(failed) == len(scans):
        scan_id, reason = next(iter(failed.items()))
        raise PrepareError(f"{job.out}: none of {len(scans)} scans could be read, e.g. {scan_id}: {reason}")
    good = {split: [s for s, its in scans if its == split and s not in failed] for split in SPLITS}
    total = Counter[str]()
    for scan_id, _ in scans:
        total.update(left_out.get(scan_id, {}))
    notes = {"failed": failed, "left_out": dict(sorted(total.items())), **_models_in_splits(job.out, good)}
    return PrepareReport(finish(job.out, good, notes), len(missing) - len(failed), kept, failed, dict(total))


def _chosen(reader: Reader, limit: int) -> list[tuple[str, str]]:
    scans = list(reader.scan_ids())
    if not limit or limit >= len(scans):
        return scans
    return [scans[i * len(scans) // limit] for i in range(limit)]


def _is_there(path: Path) -> bool:
    """The scan was written whole and is undamaged, by a version whose files this one reads."""
    try:
        check_scene(path)
    except SceneError:
        return False
    return True


def _outcomes(job: PrepareJob, reader: Reader, scans: list[tuple[str, str]]) -> Iterator[ScanOutcome]:
    if job.workers == 1 or len(scans) < 2:
        yield from (_prepare_scan(reader, job.out, scan, split) for scan, split in scans)
        return
    # Started anew rather than forked: OpenCV's threads do not survive a fork.
    pool = ProcessPoolExecutor(
        min(job.workers, len(scans)), get_context("spawn"), _open_in_worker, (job.dataset, job.root, job.options)
    )
    try:
        yield from _in_parallel(pool, job, scans)
    except (BrokenProcessPool, OSError):
        end_workers()
        # Which of the two it is depends on whether the pool breaks while a worker is being started.
        raise PrepareError(
            f"{job.out}: a worker process was ended from outside (out of memory?); repeat the command to go on, "
            "perhaps with fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_parallel(pool: ProcessPoolExecutor, job: PrepareJob, scans: Iterable[tuple[str, str]]) -> Iterator[ScanOutcome]:
    """Outcomes as they come; only a few scans ahead are handed out, so that an interrupt ends soon."""
    ahead: set[Future[ScanOutcome]] = set()
    todo = iter(scans)
    while True:
        for scan, split in todo:
            ahead.add(pool.submit(_prepare_in_worker, job.out, scan, split))
            if len(ahead) >= 2 * job.workers:
                break
        if not ahead:
            return
        ready, ahead = wait(ahead, return_when=FIRST_COMPLETED)
        for future in ready:
            yield future.result()


_reader_of_worker: list[Reader] = []


def _open_in_worker(dataset: str, root: Path, options: ReaderOptions) -> None:
    import signal

    # The parent stops everybody: a worker finishes the scan it is at.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    use_threads(1)
    _reader_of_worker[:] = [open_reader(dataset, root, options)]


def _prepare_in_worker(out: Path, scan_id: str, split: str) -> ScanOutcome:
    return _prepare_scan(_reader_of_worker[0], out, scan_id, split)


def _prepare_scan(reader: Reader, out: Path, scan_id: str, split: str) -> ScanOutcome:
    """Read and write one scan; a broken one is an outcome, a file that cannot be written is an error."""
    try:
        read = reader.read(scan_id)
    except (ValueError, OSError) as error:
        return ScanOutcome(scan_id, split, str(error))
    except Exception as error:
        # Published sets have scans broken in ways that nobody has met yet: one of them must not end the other hundreds.
        return ScanOutcome(scan_id, split, f"{type(error).__name__}: {error}")
    path = scene_path(out, split, scan_id)
    try:
        save_scene(path, read.scene)
    except SceneError as error:
        return ScanOutcome(scan_id, split, str(error))
    except OSError as error:
        raise _unwritable(path, error) from None
    return ScanOutcome(scan_id, split, "", dict(read.left_out))


def _read_left_out(out: Path) -> dict[str, dict[str, int]]:
    """``left_out.json`` of an earlier run: scan -> what -> how often."""
    path = out / LEFT_OUT
    if not path.exists():
        return {}
    try:
        return {
            str(scan): {str(k): int(v) for k, v in its.items()} for scan, its in json.loads(path.read_bytes()).items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise PrepareError(f"{path}: damaged: {error}; delete it to go on without it") from None


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Whole or as before at any moment; absent when there is nothing to say."""
    if not any(content.values()):
        path.unlink(missing_ok=True)
        return
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            stream.write(json.dumps({k: v for k, v in content.items() if v}, indent=2, sort_keys=True) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> PrepareError:
    return PrepareError(f"{path}: cannot be written: {error.strerror or error}; repeat the command to go on")


def _models_in_splits(out: Path, scans: dict[str, list[str]]) -> dict[str, int]:
    """How many CAD models there are, and how many are in more than one split: the published splits are by room only."""
    splits_of: dict[str, set[str]] = {}
    for split, its in scans.items():
        for scan_id in its:
            for thing in load_scene(scene_path(out, split, scan_id), ()).objects:
                if thing.cad_id:
                    splits_of.setdefault(thing.cad_id, set()).add(split)
    shared = sum(len(splits) > 1 for splits in splits_of.values())
    return {"cad_models": len(splits_of), "cad_models_in_several_splits": shared}
