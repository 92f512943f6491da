"""A run beside the truth: what every figure of the evaluation is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.estimate import LevelKey, LocalizationState, Retrieval
from crossover_models.evaluation.run_record import EstimateEvent, RunRecord
from crossover_models.evaluation.trajectory import Trajectory, TrajectoryError, pose_error
from crossover_models.map_source import PlaceOutline
from crossover_models.observation import Modality
from crossover_models.places import PlaceMap

# A pose is right within these on the right level (the 1 m / 30 deg of floor-plan localization, e.g. F3Loc 2024).
RIGHT_M, RIGHT_DEG = 1.0, 30.0
# Spacing of the instants at which the run is judged, and the age from which an estimate is silence.
GRID_S, SILENT_S = 0.2, 2.0


@dataclass(frozen=True)
class Truth:
    """Where the robot really was; ``place_id`` is empty where that is no place of the map."""

    level: LevelKey
    T_map_base: NDArray[np.float64]
    place_id: str


@dataclass(frozen=True)
class JudgedEstimate:
    """An estimate beside the truth at its stamp.

    Errors are those of the best hypothesis, infinite on another level, None without a hypothesis or a truth.
    """

    event: EstimateEvent
    truth: Truth | None
    error_m: float | None
    error_deg: float | None

    @property
    def localized(self) -> bool:
        """The estimate announces a pose."""
        return self.event.estimate.state == LocalizationState.LOCALIZED

    @property
    def right(self) -> bool:
        """The best hypothesis is on the right level within 1 m and 30 deg."""
        return self.error_m is not None and self.error_m <= RIGHT_M and (self.error_deg or 0.0) <= RIGHT_DEG

    @property
    def right_place(self) -> bool:
        """The best hypothesis is in the place the robot is in."""
        best = self.event.estimate.best
        return (
            best is not None
            and self.truth is not None
            and bool(self.truth.place_id)
            and best.level == self.truth.level
            and best.place_id == self.truth.place_id
        )


@dataclass(frozen=True)
class JudgedRetrieval:
    """A retrieval beside the truth: ``rank`` of the true place from 1, None if it is not among the places returned."""

    retrieval: Retrieval
    place_id: str
    rank: int | None


@dataclass(frozen=True)
class Fix:
    """A change into LOCALIZED; ``right`` is None where there is no truth at that stamp."""

    stamp_ns: int
    judged: JudgedEstimate
    right: bool | None


@dataclass(frozen=True)
class Judgement:
    """A whole run beside the truth.

    Attributes:
        record: the run.
        truth: true trajectory with levels.
        places: places of the map.
        estimates: every estimate in order.
        instants_ns: (G,) even stamps of the run at which there is a truth.
        true_at_instants: (G,) where the robot was; None where the truth has a gap.
        at_instants: (G,) the newest estimate at each, None where the localizer was silent.
        retrievals: retrievals from sensor data while the robot was in a place of the map.
        fixes: changes into LOCALIZED.
    """

    record: RunRecord
    truth: Trajectory
    places: tuple[PlaceOutline, ...]
    estimates: tuple[JudgedEstimate, ...]
    instants_ns: NDArray[np.int64]
    true_at_instants: tuple[Truth | None, ...]
    at_instants: tuple[JudgedEstimate | None, ...]
    retrievals: tuple[JudgedRetrieval, ...]
    fixes: tuple[Fix, ...]


def judge(record: RunRecord, truth: Trajectory, places: Sequence[PlaceOutline]) -> Judgement:
    """Put a run beside the truth.

    Raises:
        TrajectoryError: the truth has no levels, or shares no time with the run.
    """
    if not truth.levels:
        raise TrajectoryError("ground truth: no level is known for its poses; name one")
    place_map = PlaceMap(places)
    estimates = tuple(_judged(event, truth, place_map) for event in record.estimates)
    instants = _instants(record, truth)
    return Judgement(
        record,
        truth,
        tuple(places),
        estimates,
        instants,
        tuple(_truth_at(truth, stamp_ns, place_map) for stamp_ns in instants.tolist()),
        _newest(estimates, instants),
        tuple(_judged_retrievals(record.retrievals, truth, place_map)),
        tuple(_fixes(estimates)),
    )


def _judged(event: EstimateEvent, truth: Trajectory, place_map: PlaceMap) -> JudgedEstimate:
    true = _truth_at(truth, event.estimate.stamp_ns, place_map)
    best = event.estimate.best
    if best is None or true is None:
        return JudgedEstimate(event, true, None, None)
    if best.level != true.level:
        return JudgedEstimate(event, true, float("inf"), float("inf"))
    return JudgedEstimate(event, true, *pose_error(best.T_map_base, true.T_map_base))


def _truth_at(truth: Trajectory, stamp_ns: int, place_map: PlaceMap) -> Truth | None:
    found = truth.at(stamp_ns)
    if found is None or found[0] is None:
        return None
    level, pose = found[0], found[1]
    place = place_map.at(level, pose[:2])
    return Truth(level, pose, place.place_id if place is not None else "")


def _instants(record: RunRecord, truth: Trajectory) -> NDArray[np.int64]:
    start = max(record.info.started_ns, int(truth.stamps_ns[0]))
    end = min(record.info.finished_ns or int(truth.stamps_ns[-1]), int(truth.stamps_ns[-1]))
    if end <= start:
        raise TrajectoryError(
            f"ground truth: spans {truth.stamps_ns[0] * 1e-9:.3f} to {truth.stamps_ns[-1] * 1e-9:.3f} s, "
            f"the run starts at {record.info.started_ns * 1e-9:.3f} s: they share no time"
        )
    return np.arange(start, end, round(GRID_S * 1e9), dtype=np.int64)


def _newest(estimates: Sequence[JudgedEstimate], instants_ns: NDArray[np.int64]) -> tuple[JudgedEstimate | None, ...]:
    """The newest estimate at each instant, None where it is older than :data:`SILENT_S`."""
    ordered = sorted(estimates, key=lambda j: j.event.estimate.stamp_ns)
    stamps = np.array([j.event.estimate.stamp_ns for j in ordered], dtype=np.int64)
    out: list[JudgedEstimate | None] = []
    for instant in instants_ns:
        k = int(np.searchsorted(stamps, instant, side="right")) - 1
        out.append(ordered[k] if k >= 0 and (instant - stamps[k]) * 1e-9 <= SILENT_S else None)
    return tuple(out)


def _judged_retrievals(
    retrievals: Sequence[Retrieval], truth: Trajectory, place_map: PlaceMap
) -> list[JudgedRetrieval]:
    out = []
    for retrieval in retrievals:
        true = _truth_at(truth, retrieval.stamp_ns, place_map)
        if true is None or not true.place_id or retrieval.query_modality == Modality.TEXT:
            continue
        keys = [(p.level, p.place_id) for p in retrieval.places]
        key = (true.level, true.place_id)
        out.append(JudgedRetrieval(retrieval, true.place_id, keys.index(key) + 1 if key in keys else None))
    return out


def _fixes(estimates: Sequence[JudgedEstimate]) -> list[Fix]:
    out = []
    before = False
    for j in estimates:
        if j.localized and not before:
            out.append(Fix(j.event.estimate.stamp_ns, j, j.right if j.error_m is not None else None))
        before = j.localized
    return out
