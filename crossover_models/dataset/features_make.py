"""Features of a whole data set: scan by scan, in parallel, resumable; damaged files are named and made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path

import torch

from crossover_models.dataset.extract import FeatureSettings, scene_features
from crossover_models.dataset.features import SCHEMA_VERSION, FeaturesError, load_features, save_features
from crossover_models.dataset.scene_file import scene_hash
from crossover_models.dataset.store import SUFFIX, DataSet
from crossover_models.dataset.workers import end_workers
from crossover_models.encoders.efficientnet import EfficientNetLite0
from crossover_models.encoders.front_ends import ImageFrontEnd, TextFrontEnd, open_front_ends
from crossover_models.encoders.profile import BASE, REFERENCE, SMALL, EncoderProfile
from crossover_models.sets.recognition import open_recognizer
from crossover_models.threads import use_threads

PROFILES = {profile.name: profile for profile in (SMALL, BASE, REFERENCE)}
REFERENCE_MB = 44.0
"""What CrossOver's own preparation keeps a scan."""
FOLDER = "features"


@dataclass(frozen=True)
class FeaturesJob:
    """What to make: features of the data set ``source`` in ``out`` with a profile's front ends.

    ``recognizer`` is a checkpoint of ``crossover train recognizer`` that adds evidence of objects to each picture.
    """

    source: Path
    out: Path
    profile: str = SMALL.name
    settings: FeatureSettings = field(default_factory=FeatureSettings)
    workers: int = 1
    device: str = "cpu"
    recognizer: Path | None = None

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise FeaturesError(f"--profile: unknown {self.profile!r}; known: {', '.join(PROFILES)}")
        if self.workers < 1:
            raise FeaturesError(f"--workers: must be 1 or more, got {self.workers}")


@dataclass(frozen=True)
class ScanFeatures:
    """What became of a scan: bytes of its file, and why it was made again ("" if it was not there, None if kept)."""

    scan_id: str
    size: int
    remade: str | None


@dataclass(frozen=True)
class FeaturesReport:
    """What became of all of them.

    Attributes:
        made: scans whose features were made now.
        kept: scans whose features were there already.
        remade: scan -> what was wrong with the file that was there.
        mb_a_scan: mean size of a file, MB (10**6 bytes).
        largest_mb: size of the largest file, MB.
    """

    made: int
    kept: int
    remade: dict[str, str]
    mb_a_scan: float
    largest_mb: float


def features_path(out: Path, split: str, scan_id: str) -> Path:
    """File of a scan's features."""
    return out / FOLDER / split / (scan_id.replace("/", "_") + SUFFIX)


def features_key(
    scene_sha256: str,
    settings: FeatureSettings,
    profile: EncoderProfile,
    image: ImageFrontEnd,
    text: TextFrontEnd,
    recognizer_sha256: str = "",
) -> str:
    """Hash of everything that decides a scan's features."""
    front_ends = [image.name, image.weights_sha256, text.name, text.weights_sha256, recognizer_sha256]
    plan = [profile.plan_side_m, profile.plan_pixels, profile.plan_rotations]
    content = json.dumps([SCHEMA_VERSION, scene_sha256, asdict(settings), front_ends, plan], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def make_features(job: FeaturesJob, tell: Callable[[ScanFeatures, int, int], None] | None = None) -> FeaturesReport:
    """Carry out a job, or go on with one that was interrupted.

    Args:
        job: what to make.
        tell: called after each scan with what became of it, the number of scans done and of all.

    Raises:
        DataSetError: ``source`` is no data set, or an unfinished one.
        SceneError: a scene's file is damaged.
        EncoderError: the profile's front ends are not there.
        FeaturesError: no scans, a file cannot be written, or a worker was ended from outside.
    """
    data = DataSet.open(job.source)
    scans = [(split, scan) for split in ("train", "val", "test") for scan in data.scan_ids(split)]
    if not scans:
        raise FeaturesError(f"{job.source}: no scans")
    kept, sizes = 0, list[int]()
    remade: dict[str, str] = {}
    for number, outcome in enumerate(_outcomes(job, scans), 1):
        sizes.append(outcome.size)
        kept += outcome.remade is None
        if outcome.remade:
            remade[outcome.scan_id] = outcome.remade
        if tell is not None:
            tell(outcome, number, len(scans))
    return FeaturesReport(len(scans) - kept, kept, remade, sum(sizes) / len(sizes) / 1e6, max(sizes) / 1e6)


class _Maker:
    """Front ends and the data set, opened once a process."""

    def __init__(self, job: FeaturesJob) -> None:
        self.job, self.profile = job, PROFILES[job.profile]
        self.image, self.text = open_front_ends(self.profile, job.device)
        if job.settings.precision != "float32":
            if not isinstance(self.image, EfficientNetLite0):
                raise FeaturesError(f"--precision: {job.settings.precision} is for {EfficientNetLite0.name} only")
            self.image = EfficientNetLite0(job.device, torch.bfloat16)
        self.data = DataSet.open(job.source)
        self.recognizer = None
        if job.recognizer is not None:
            if not isinstance(self.image, EfficientNetLite0):
                raise FeaturesError(f"--recognizer: works on {EfficientNetLite0.name}, not on {self.image.name}")
            self.recognizer = open_recognizer(job.recognizer, self.image)

    @property
    def _recognizer_sha256(self) -> str:
        return "" if self.recognizer is None else self.recognizer.sha256

    def make(self, split: str, scan_id: str) -> ScanFeatures:
        sha256 = scene_hash(self.data.path(scan_id))
        key = features_key(sha256, self.job.settings, self.profile, self.image, self.text, self._recognizer_sha256)
        path = features_path(self.job.out, split, scan_id)
        wrong = ""
        if path.exists():
            try:
                load_features(path, key)
                return ScanFeatures(scan_id, path.stat().st_size, None)
            except FeaturesError as error:
                wrong = str(error)
        scene = self.data.load(scan_id)
        features = scene_features(scene, self.job.settings, self.profile, self.image, self.text, self.recognizer)
        try:
            return ScanFeatures(scan_id, save_features(path, features, key), wrong)
        except OSError as error:
            raise FeaturesError(
                f"{path}: cannot be written: {error.strerror or error}; repeat the command to go on"
            ) from None


def _outcomes(job: FeaturesJob, scans: list[tuple[str, str]]) -> Iterator[ScanFeatures]:
    if job.workers == 1 or len(scans) < 2:
        maker = _Maker(job)
        yield from (maker.make(split, scan) for split, scan in scans)
        return
    # Started anew rather than forked: torch's and OpenCV's threads do not survive a fork.
    pool = ProcessPoolExecutor(min(job.workers, len(scans)), get_context("spawn"), _open_in_worker, (job,))
    try:
        todo, ahead = iter(scans), set[Future[ScanFeatures]]()
        while True:
            for split, scan in todo:
                ahead.add(pool.submit(_make_in_worker, split, scan))
                if len(ahead) >= 2 * job.workers:
                    break
            if not ahead:
                return
            ready, ahead = wait(ahead, return_when=FIRST_COMPLETED)
            for future in ready:
                yield future.result()
    except (BrokenProcessPool, OSError):
        end_workers()
        # Which of the two it is depends on whether the pool breaks while a worker is being started.
        raise FeaturesError(
            f"{job.out}: a worker process was ended from outside (out of memory?); repeat the command to go on, "
            "perhaps with fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_maker_of_worker: list[_Maker] = []


def _open_in_worker(job: FeaturesJob) -> None:
    import signal

    # The parent stops everybody: a worker finishes the scan it is at.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    use_threads(1)
    _maker_of_worker[:] = [_Maker(job)]


def _make_in_worker(split: str, scan_id: str) -> ScanFeatures:
    return _maker_of_worker[0].make(split, scan_id)
