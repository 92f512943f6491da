"""The benchmark itself: every planned run recorded, answered by every localizer, judged, and summed up."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from crossover_models.evaluation.buildings.answers import AnswersError, read_answers
from crossover_models.evaluation.buildings.cases import CASES, PlannedRun, digest
from crossover_models.evaluation.buildings.intervals import METHOD, RESAMPLES, bootstrap
from crossover_models.evaluation.buildings.judged import JudgedRun, judge_run
from crossover_models.evaluation.buildings.peers import GEOMETRIC, Peer, answer_with, installed
from crossover_models.evaluation.buildings.recordings import (
    Recording,
    Unfit,
    read_true_run,
    source_digest,
)
from crossover_models.evaluation.buildings.sources import PACKAGE, modules_digest
from crossover_models.evaluation.buildings.summary import (
    DEFINITIONS,
    SUMMARY_KEYS,
    TARGETS,
    figures,
    plain,
    pooled,
    run_figures,
    top1_over_time,
)

# Parts of the program that a localizer does not run.
_ELSEWHERE = ("simulation", "training", "dataset", "reference", "evaluation/buildings")
_WITHIN = ("answers.py", "trivial.py")
# What geometric peers import for its types alone.
_NOT_GEOMETRIC = tuple(f"crossover_models.{name}" for name in ("dataset", "encoders", "sets", "sparse"))
# A localizer that needs longer than this many times the run has not localized anybody.
TIMEOUT_FACTOR, TIMEOUT_LEAST_S = 10.0, 120.0
_LARGE_BYTES = 200_000_000

Progress = Callable[[str], None]


class Recordings(Protocol):
    """Where map, bag and truth of a planned run come from: :class:`recordings.Recorder`."""

    def recording(self, run: PlannedRun) -> Recording:
        """Made, or found; Unfit where the building does not allow the run."""


@dataclass(frozen=True)
class Skipped:
    """A run that could not be made in its building, and why; it says nothing about any localizer."""

    run: PlannedRun
    reason: str


@dataclass(frozen=True)
class Benchmark:
    """Everything that was judged: the runs of each localizer by its name, in the order of the plan."""

    runs: Mapping[str, tuple[JudgedRun, ...]]
    recordings: Mapping[str, Recording]
    skipped: tuple[Skipped, ...]


def run_benchmark(
    plan: Sequence[PlannedRun],
    peers: Sequence[Peer],
    recorder: Recordings,
    out: Path,
    *,
    timeout_s: float | None = None,
    retry_failed: bool = False,
    progress: Progress = lambda _: None,
) -> Benchmark:
    """Record, answer and judge; what is already in ``out`` is used again. ``progress`` is told each finished answer.

    Raises:
        PeerError: a localizer's process could not even be started.
        ValueError: a building cannot be read.
        OSError: a file cannot be read or written.
    """
    judged: dict[str, list[JudgedRun]] = {peer.name: [] for peer in peers}
    recordings: dict[str, Recording] = {}
    skipped: list[Skipped] = []
    for run in plan:
        try:
            recording = recorder.recording(run)
        except Unfit as error:
            skipped.append(Skipped(run, str(error)))
            for _ in peers:
                progress(run.name)
            continue
        recordings[run.name] = recording
        for peer in peers:
            judged[peer.name].append(_judged(run, recording, peer, out, timeout_s, retry_failed))
            progress(run.name)
    return Benchmark({name: tuple(runs) for name, runs in judged.items()}, recordings, tuple(skipped))


def _judged(
    run: PlannedRun, recording: Recording, peer: Peer, out: Path, timeout_s: float | None, retry_failed: bool
) -> JudgedRun:
    from crossover_models.map_database.store import MapDatabase

    true = read_true_run(recording)
    span = (int(true.trajectory.stamps_ns[0]), int(true.trajectory.stamps_ns[-1]))
    with MapDatabase.open(recording.database) as database:
        places = database.places()
        levels = [level.key for level in database.levels()]
        fingerprint = database.fingerprint
    limit_s = timeout_s or max(TIMEOUT_LEAST_S, TIMEOUT_FACTOR * (span[1] - span[0]) * 1e-9)
    key = digest([peer.command, tools_digest(peer.command), recording.bag_digest, fingerprint])
    folder = out / "answers" / peer.name / key
    outcome = answer_with(peer, recording.bag, recording.database, folder, limit_s, retry_failed)
    failure = outcome.failure
    answers: Sequence[Any] = ()
    if not failure:
        try:
            answers = read_answers(folder, [(p.key, p.place_id) for p in places], levels, span)
        except AnswersError as error:
            failure = str(error)
    return judge_run(run.name, run.case.name, str(run.building), true, answers, places, outcome.cost, failure)


def tools_digest(command: str) -> str:
    """Of the programs that a command names, so that answers of another version are not used again.

    Every word that is a file (or a program in PATH) counts with its content; a command of ours with all its sources.
    """
    sums: list[object] = []
    if GEOMETRIC in command:
        sums += [modules_digest((GEOMETRIC,), _NOT_GEOMETRIC), installed()]
    elif "crossover" in command:
        roots = [PACKAGE, PACKAGE.parent / "crossover_ros"]
        sums.append(source_digest(_ELSEWHERE, tuple(root for root in roots if root.is_dir())))
        # Of this folder only what runs in the localizer's process: another judge is no other localizer.
        sums += [hashlib.sha256(Path(__file__).with_name(name).read_bytes()).hexdigest() for name in _WITHIN]
    for word in _words(command):
        if "{" in word:
            continue
        found = word if Path(word).is_file() else shutil.which(word)
        if found is not None and Path(found).stat().st_size < _LARGE_BYTES and os.access(found, os.R_OK):
            sums.append([word, hashlib.sha256(Path(found).read_bytes()).hexdigest()])
    return digest(sums)


def _words(command: str) -> Iterable[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def results(benchmark: Benchmark, plan: Sequence[PlannedRun], peers: Sequence[Peer], seed: int) -> dict[str, Any]:
    """Everything for JSON; ``summary`` at the top is that of the first localizer."""
    cold = [name for name, case in CASES.items() if case.cold_start]
    names = list(dict.fromkeys(run.case.name for run in plan))
    by_peer: dict[str, Any] = {}
    for peer in peers:
        runs = benchmark.runs[peer.name]
        whole = plain(pooled(runs, cold))
        interval = _intervals(runs, lambda drawn: pooled(drawn, cold), seed)
        by_peer[peer.name] = {
            "command": peer.command,
            "summary": {key: whole[key] for key in SUMMARY_KEYS},
            "summary_intervals": {key: interval.get(key) for key in SUMMARY_KEYS if key != "runs"},
            "figures": whole,
            "intervals": interval,
            "failed": [{"run": run.name, "reason": run.failure} for run in runs if run.failure],
            "cases": {name: _case([run for run in runs if run.case == name], seed) for name in names},
            "runs": [run_figures(run) for run in runs],
        }
    return {
        "benchmark": "buildings",
        "simulated": True,
        "summary": by_peer[peers[0].name]["summary"],
        "summary_of": peers[0].name,
        "seed": seed,
        "buildings": list(dict.fromkeys(str(run.building) for run in plan)),
        "cases": {name: CASES[name].text for name in names},
        "cold_start_cases": [name for name in names if name in cold],
        "definitions": {key: {"unit": unit, "meaning": text} for key, (unit, text) in DEFINITIONS.items()},
        "targets": {key: f"{sign} {value:g}" for key, (sign, value) in TARGETS.items()}
        | {"false_fixes": "<= 1 in 100 runs"},
        "intervals": {"method": METHOD, "resamples": RESAMPLES, "seed": seed},
        "skipped": [
            {"run": s.run.name, "building": str(s.run.building), "reason": s.reason} for s in benchmark.skipped
        ],
        "localizers": by_peer,
    }


def _case(runs: Sequence[JudgedRun], seed: int) -> dict[str, Any]:
    return {
        **plain(figures(runs)),
        "intervals": _intervals(runs, figures, seed),
        "place_top1_over_time": top1_over_time(runs),
    }


def _intervals(
    runs: Sequence[JudgedRun], of: Callable[[Sequence[JudgedRun]], Mapping[str, float | None]], seed: int
) -> dict[str, list[float | None] | None]:
    """[low, high] of each figure, null for an end that is infinite."""
    rng = np.random.default_rng([seed, 2])
    out: dict[str, list[float | None] | None] = {}
    for key, interval in bootstrap(runs, of, rng).items():
        if key in ("runs", "failed_runs"):
            continue
        out[key] = None if interval is None else [v if np.isfinite(v) else None for v in interval]
    return out
