"""What a localizer said during one run, as JSON lines: written while it happens, readable after a kill at any moment.

The first line names the run (``kind: run``); every other one is an estimate, a retrieval, a relocalization or the end.
The live recorder and the replay of a bag write the same file, so that one evaluation serves both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import numpy as np
from numpy.typing import NDArray

from crossover_models.estimate import (
    FailureCategory,
    Hypothesis,
    LevelKey,
    LocalizationEstimate,
    LocalizationState,
    PlaceProbability,
    RankedPlace,
    RelocalizeCode,
    RelocalizeResponse,
    Retrieval,
)
from crossover_models.observation import Modality

SCHEMA_VERSION = 1
# Hypotheses kept of an estimate; what the others weigh is one minus all that is kept.
KEPT_HYPOTHESES = 12


class RunRecordError(ValueError):
    """A record that cannot be read; the message names the file and the line."""


@dataclass(frozen=True)
class RunInfo:
    """What was run.

    Attributes:
        name: for people, e.g. the bag's name.
        source: what made the record: ``"nodes"`` (live, over DDS) or ``"replay"`` (the core called directly).
        simulated: the sensor data come from a simulation.
        database_fingerprint: of the map database's content.
        encoder_fingerprint: of the encoder.
        started_ns: stamp of the run's first sensor data: where time to fix starts.
        finished_ns: stamp of the run's last sensor data, 0 if not known beforehand.
    """

    name: str
    source: str
    simulated: bool
    database_fingerprint: str
    encoder_fingerprint: str
    started_ns: int
    finished_ns: int = 0


@dataclass(frozen=True)
class EstimateEvent:
    """An estimate and ``latency_s``, seconds from its sensor stamp until it was out; None if it brought no new data."""

    estimate: LocalizationEstimate
    latency_s: float | None


@dataclass(frozen=True)
class RelocalizeEvent:
    """A call of ``relocalize`` at run time ``stamp_ns`` and what came back ``elapsed_s`` later by the caller's watch.

    ``response`` is None where no answer came within the caller's patience.
    """

    stamp_ns: int
    elapsed_s: float
    apply: bool
    response: RelocalizeResponse | None


@dataclass(frozen=True)
class RunRecord:
    """A whole run; the events are in the order of their arrival. ``wall_s`` is None where the run did not end."""

    info: RunInfo
    estimates: tuple[EstimateEvent, ...] = ()
    retrievals: tuple[Retrieval, ...] = ()
    relocalizations: tuple[RelocalizeEvent, ...] = ()
    wall_s: float | None = None


class RunWriter:
    """Append events of a run to a new file, a line at a time; a context manager."""

    def __init__(self, path: Path, info: RunInfo) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream: TextIO = path.open("w", encoding="utf-8")
        self._write("run", {"schema_version": SCHEMA_VERSION, **vars(info)})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; without :meth:`end` it reads as a run that did not end."""
        self._stream.close()

    def estimate(self, estimate: LocalizationEstimate, latency_s: float | None) -> None:
        """Add an estimate."""
        self._write(
            "estimate",
            {
                "stamp_ns": estimate.stamp_ns,
                "state": estimate.state.name,
                "failure": estimate.failure.value,
                "message": estimate.message,
                "hypotheses": [_from_hypothesis(h) for h in estimate.hypotheses[:KEPT_HYPOTHESES]],
                "unknown_probability": estimate.unknown_probability,
                "modalities_used": [m.value for m in estimate.modalities_used],
                "modalities_missing": [m.value for m in estimate.modalities_missing],
                "scans_accumulated": estimate.scans_accumulated,
                "runtime_s": estimate.runtime_s,
                "latency_s": latency_s,
                "places": [[*p.level, p.place_id, p.probability] for p in estimate.places[:KEPT_HYPOTHESES]],
            },
        )

    def retrieval(self, retrieval: Retrieval) -> None:
        """Add a retrieval."""
        places = [
            [*p.level, p.place_id, p.name, p.category, p.score, p.probability, *p.position_xy] for p in retrieval.places
        ]
        self._write(
            "retrieval",
            {
                "stamp_ns": retrieval.stamp_ns,
                "modality": retrieval.query_modality.value,
                "abstained": retrieval.abstained,
                "places": places,
            },
        )

    def relocalize(self, event: RelocalizeEvent) -> None:
        """Add a call of relocalize."""
        response: dict[str, Any] | None = None
        if event.response is not None:
            response = {
                "code": event.response.code.name,
                "message": event.response.message,
                "hypotheses": [_from_hypothesis(h) for h in event.response.hypotheses],
            }
        self._write(
            "relocalize",
            {
                "stamp_ns": event.stamp_ns,
                "elapsed_s": event.elapsed_s,
                "apply": event.apply,
                "response": response,
            },
        )

    def end(self, wall_s: float) -> None:
        """Say that the run came to its end after ``wall_s`` seconds of wall time."""
        self._write("end", {"wall_s": wall_s})

    def _write(self, kind: str, values: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps({"kind": kind, **_finite(dict(values))}, separators=(",", ":")) + "\n")
        self._stream.flush()


def read_record(path: Path) -> RunRecord:
    """Read what :class:`RunWriter` wrote; a last line cut short by a kill is left out.

    Raises:
        RunRecordError: not a record, another schema, or a damaged line before the last one.
        OSError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        raise RunRecordError(f"{path}: not a text file") from None
    estimates: list[EstimateEvent] = []
    retrievals: list[Retrieval] = []
    relocalizations: list[RelocalizeEvent] = []
    info: RunInfo | None = None
    wall_s: float | None = None
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            values = json.loads(line)
            kind = values.pop("kind")
            if info is None and kind != "run":
                raise ValueError("the first line must be the run")
            if kind == "run":
                info = _run_info(values)
            elif kind == "estimate":
                estimates.append(_estimate(values))
            elif kind == "retrieval":
                retrievals.append(_retrieval(values))
            elif kind == "relocalize":
                relocalizations.append(_relocalize(values))
            elif kind == "end":
                wall_s = float(values["wall_s"])
            else:
                raise ValueError(f"unknown kind {kind!r}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == len(lines) and info is not None:
                break
            raise RunRecordError(f"{path}:{number}: {type(error).__name__}: {error}") from None
    if info is None:
        raise RunRecordError(f"{path}: empty, holds no run")
    return RunRecord(info, tuple(estimates), tuple(retrievals), tuple(relocalizations), wall_s)


def _finite(value: Any) -> Any:
    """JSON has no NaN: what is not finite is null."""
    if isinstance(value, float | np.floating):
        number = float(value)
        return round(number, 9) if math.isfinite(number) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _from_hypothesis(hypothesis: Hypothesis) -> list[Any]:
    h = hypothesis
    pose: NDArray[np.float64] = np.asarray(h.T_map_base, dtype=np.float64)
    return [
        *h.level,
        h.place_id,
        h.place_name,
        pose.tolist(),
        np.asarray(h.covariance, dtype=np.float64)[np.triu_indices(3)].tolist(),
        h.probability,
        h.score,
        h.inlier_fraction,
        h.free_space_violation,
        h.place_share,
    ]


def _hypothesis(values: list[Any]) -> Hypothesis:
    building_id, level_id, place_id, name, pose, triangle, probability, score, inliers, violation, *more = values
    covariance = np.zeros((3, 3))
    covariance[np.triu_indices(3)] = [_number(v) for v in triangle]
    covariance = covariance + np.triu(covariance, 1).T
    return Hypothesis(
        LevelKey(building_id, level_id),
        np.array(pose, dtype=np.float64).reshape(3),
        covariance,
        _number(probability),
        _number(score),
        _number(inliers),
        _number(violation),
        place_id,
        name,
        # Records of before have none.
        _number(more[0]) if more else 1.0,
    )


def _run_info(values: dict[str, Any]) -> RunInfo:
    version = values.pop("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema_version: {version}, this program reads {SCHEMA_VERSION}")
    return RunInfo(**values)


def _estimate(values: dict[str, Any]) -> EstimateEvent:
    estimate = LocalizationEstimate(
        int(values["stamp_ns"]),
        LocalizationState[values["state"]],
        FailureCategory(values["failure"]),
        values["message"],
        tuple(_hypothesis(h) for h in values["hypotheses"]),
        _number(values["unknown_probability"]),
        modalities_used=tuple(Modality(m) for m in values["modalities_used"]),
        modalities_missing=tuple(Modality(m) for m in values["modalities_missing"]),
        scans_accumulated=int(values["scans_accumulated"]),
        runtime_s=_number(values["runtime_s"]),
        places=tuple(PlaceProbability(LevelKey(b, k), place, float(p)) for b, k, place, p in values.get("places", ())),
    )
    return EstimateEvent(estimate, None if values["latency_s"] is None else float(values["latency_s"]))


def _retrieval(values: dict[str, Any]) -> Retrieval:
    places = tuple(
        RankedPlace(LevelKey(b, level), place_id, name, category, _number(score), _number(probability), (x, y))
        for b, level, place_id, name, category, score, probability, x, y in values["places"]
    )
    return Retrieval(int(values["stamp_ns"]), Modality(values["modality"]), places, bool(values["abstained"]))


def _relocalize(values: dict[str, Any]) -> RelocalizeEvent:
    response: RelocalizeResponse | None = None
    if values["response"] is not None:
        given = values["response"]
        response = RelocalizeResponse(
            RelocalizeCode[given["code"]], given["message"], tuple(_hypothesis(h) for h in given["hypotheses"])
        )
    return RelocalizeEvent(int(values["stamp_ns"]), float(values["elapsed_s"]), bool(values["apply"]), response)
