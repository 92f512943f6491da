"""One run of one localizer beside the truth, at even instants: what every figure of the benchmark is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.estimate import LevelKey
from crossover_models.evaluation.buildings.answers import Answer
from crossover_models.evaluation.buildings.beside import (
    Beside,
    TrueRun,
    carried_ns,
    false_fixes,
    may_recover,
    put_beside,
    travelled_m,
    true_at,
    true_breaks,
)
from crossover_models.evaluation.judgement import GRID_S, SILENT_S
from crossover_models.evaluation.trajectory import Trajectory
from crossover_models.map_source import PlaceOutline
from crossover_models.places import PlaceMap

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# For how many instants in a row (1 s) a fix must hold: a guess that is right for a moment is none.
HELD_INSTANTS = 5


@dataclass(frozen=True)
class Cost:
    """What the localizer's process (with its children) took: CPU and wall seconds, peak resident MB."""

    cpu_s: float
    wall_s: float
    peak_mb: float


@dataclass(frozen=True)
class Recovery:
    """The robot was elsewhere at ``at_s`` of the run; ``after_s`` until the next right fix, None if none came."""

    kind: str
    at_s: float
    after_s: float | None


@dataclass(frozen=True)
class JudgedRun:
    """A run beside the truth. Arrays are (G,) over instants :data:`judgement.GRID_S` apart, unless said otherwise.

    Attributes:
        name: of the run, unique in the benchmark.
        case: name of the case.
        building: SPEC of the building.
        failure: why the localizer gave no answers to judge, "" if it did. Such a run has no answer at any instant.
        cost: None where the process could not even be started.
        time_s: since the run's first stamp.
        travelled_m: true way up to then.
        in_place: the robot is in a place of the map.
        guessed: the newest answer (at most :data:`judgement.SILENT_S` old) names something, announced or not.
        announced: that answer is announced.
        place_right: it names the place the robot was in at the answer's stamp, or none of the level outside of all.
        right: it is announced and within 1 m and 30 deg on the right level; by the place where it has no pose.
        fixed: it is announced with a pose within 0.25 m and 5 deg on the right level, and the place is right if any.
        error_m: of an announced pose; infinite on another level, NaN where no pose is announced.
        error_deg: likewise.
        mahalanobis: distance of the true position in standard deviations of the announced covariance; infinite on
            another level, NaN without a covariance.
        heading_sigmas: heading error in standard deviations, likewise.
        ellipse_m: (G, 2) semi-axes of the announced position's 1-sigma ellipse, larger first; NaN without.
        probability: of the answer, NaN where it gave none or names nothing.
        answer_right: for the AUROC: right place, and within 1 m and 30 deg if a pose is announced.
        fix_at: index of the first instant of the first fix, None if there is none before the first event.
        recoveries: one an event, but for those too near to the end of the run to tell.
        false_fixes_s: run time of each false fix.
        levels: of the announced poses, None where none is.
        xy_m: (G, 2) of the announced poses, NaN where none is.
    """

    name: str
    case: str
    building: str
    failure: str
    cost: Cost | None
    time_s: Floats
    travelled_m: Floats
    in_place: Flags
    guessed: Flags
    announced: Flags
    place_right: Flags
    right: Flags
    fixed: Flags
    error_m: Floats
    error_deg: Floats
    mahalanobis: Floats
    heading_sigmas: Floats
    ellipse_m: Floats
    probability: Floats
    answer_right: Flags
    fix_at: int | None
    recoveries: tuple[Recovery, ...]
    false_fixes_s: tuple[float, ...]
    levels: tuple[LevelKey | None, ...]
    xy_m: Floats


def judge_run(
    name: str,
    case: str,
    building: str,
    true: TrueRun,
    answers: Sequence[Answer],
    places: Sequence[PlaceOutline],
    cost: Cost | None = None,
    failure: str = "",
) -> JudgedRun:
    """Put the answers of a run beside the truth; ``failure`` with no answers for a localizer that failed."""
    place_map = PlaceMap(places)
    truth = true.trajectory
    start = int(truth.stamps_ns[0])
    breaks = true_breaks(true)
    grid = np.arange(start, int(truth.stamps_ns[-1]) + 1, round(GRID_S * 1e9), dtype=np.int64)
    at = [true_at(truth, int(stamp), breaks) for stamp in grid]
    known = np.array([found is not None for found in at])
    grid, at_known = grid[known], [found for found in at if found is not None]
    beside = [put_beside(answer, truth, breaks, place_map) for answer in answers]
    stamps = np.array([b.answer.stamp_ns for b in beside], dtype=np.int64)
    newest = [_newest(beside, stamps, int(stamp)) for stamp in grid]
    named = [b if b is not None and b.answer.level is not None else None for b in newest]
    posed = [b if b is not None and b.answer.announced and b.answer.T_map_base is not None else None for b in named]
    spread = np.array([_spread(b, truth, breaks) for b in posed]).reshape(-1, 4)
    fixed = np.array([b is not None and b.fixed for b in named], dtype=np.bool_)
    answer_ns = np.array([-1 if b is None else b.answer.stamp_ns for b in named], dtype=np.int64)
    carried = [(event, since) for event in true.events if (since := carried_ns(event, breaks)) is not None]
    first_ns = min((since for _, since in carried), default=int(grid[-1]) + 1)
    return JudgedRun(
        name,
        case,
        building,
        failure,
        cost,
        (grid - start) * 1e-9,
        np.interp(grid, truth.stamps_ns, travelled_m(truth, breaks)),
        np.array([place_map.at(level, pose[:2]) is not None for level, pose in at_known], dtype=np.bool_),
        np.array([b is not None for b in named], dtype=np.bool_),
        np.array([b is not None and b.answer.announced for b in named], dtype=np.bool_),
        np.array([b is not None and b.place_right for b in named], dtype=np.bool_),
        np.array([b is not None and b.right for b in named], dtype=np.bool_),
        fixed,
        np.array([np.nan if b is None else b.error_m for b in posed]),
        np.array([np.nan if b is None else b.error_deg for b in posed]),
        spread[:, 0],
        spread[:, 1],
        spread[:, 2:],
        np.array(
            [np.nan if b is None or b.answer.probability is None else b.answer.probability for b in named],
            dtype=np.float64,
        ),
        np.array(
            [b is not None and b.place_right and (p is None or p.right) for b, p in zip(named, posed, strict=True)]
        ),
        _first_held(fixed & (grid < first_ns)),
        tuple(
            _recovery(event.kind, since, grid, answer_ns, fixed, start)
            for event, since in carried
            if may_recover(since, truth)
        ),
        tuple((stamp - start) * 1e-9 for stamp in false_fixes(beside, breaks)),
        tuple(None if b is None else b.answer.level for b in posed),
        np.array([_xy(b) for b in posed]).reshape(-1, 2),
    )


def _newest(beside: Sequence[Beside], stamps_ns: NDArray[np.int64], instant_ns: int) -> Beside | None:
    k = int(np.searchsorted(stamps_ns, instant_ns, side="right")) - 1
    return beside[k] if k >= 0 and (instant_ns - stamps_ns[k]) * 1e-9 <= SILENT_S else None


def _spread(beside: Beside | None, truth: Trajectory, breaks: Sequence[int]) -> tuple[float, float, float, float]:
    """Mahalanobis distance of position, heading error in sigmas, 1-sigma semi-axes (m)."""
    nothing = (float("nan"),) * 4
    if beside is None or beside.answer.covariance is None or beside.answer.T_map_base is None or not beside.known:
        return nothing
    covariance = beside.answer.covariance
    minor, major = (float(v) for v in np.sqrt(np.linalg.eigvalsh(covariance[:2, :2])))
    found = true_at(truth, beside.answer.stamp_ns, breaks)
    if found is None or not np.isfinite(beside.error_m):
        return float("inf"), float("inf"), major, minor
    off = beside.answer.T_map_base[:2] - found[1][:2]
    distance = float(np.sqrt(off @ np.linalg.solve(covariance[:2, :2], off)))
    return distance, float(np.radians(beside.error_deg) / np.sqrt(covariance[2, 2])), major, minor


def _xy(beside: Beside | None) -> tuple[float, float]:
    pose = None if beside is None else beside.answer.T_map_base
    return (float("nan"), float("nan")) if pose is None else (float(pose[0]), float(pose[1]))


def _first_held(fixed: Flags) -> int | None:
    """First index from which :data:`HELD_INSTANTS` flags in a row are set."""
    if len(fixed) < HELD_INSTANTS:
        return None
    held = np.lib.stride_tricks.sliding_window_view(fixed, HELD_INSTANTS).all(axis=1)
    return int(np.argmax(held)) if held.any() else None


def _recovery(
    kind: str,
    since_ns: int,
    grid: NDArray[np.int64],
    answer_ns: NDArray[np.int64],
    fixed: Flags,
    start_ns: int,
) -> Recovery:
    """From the moment the robot was elsewhere; an answer from before that does not count, however right it was."""
    k = _first_held(fixed & (answer_ns >= since_ns))
    return Recovery(kind, (since_ns - start_ns) * 1e-9, None if k is None else float(grid[k] - since_ns) * 1e-9)
