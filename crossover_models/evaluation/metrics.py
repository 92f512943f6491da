"""How good a run was: every figure of ``report.json``, with what exactly it means.

Shares and errors are taken at even instants of the run (:data:`judgement.GRID_S`), not per message, so that a localizer
which falls silent cannot improve its figures. An instant without a pose stays in every denominator of a share. A figure
that does not exist (the time to a fix that never came) is None, never a number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.estimate import LocalizationState, RelocalizeCode
from crossover_models.evaluation.judgement import (
    GRID_S,
    RIGHT_DEG,
    RIGHT_M,
    JudgedEstimate,
    JudgedRetrieval,
    Judgement,
)
from crossover_models.evaluation.run_record import RelocalizeEvent
from crossover_models.evaluation.trajectory import Trajectory, pose_error
from crossover_models.map_source import PlaceOutline

# Key -> (unit, definition): the table of the report and the documentation of report.json.
DEFINITIONS: Mapping[str, tuple[str, str]] = {
    "places": ("", "places in the map database"),
    "retrieval_r1": (
        "",
        "share of retrievals from sensor data, abstained ones too, whose first place is the one the robot is in",
    ),
    "retrieval_chance": ("", "the same for a guess: one over the number of places"),
    "time_to_fix_s": (
        "s",
        "robot time from the first sensor data to the first LOCALIZED estimate that is right (1 m, 30 deg)",
    ),
    "place_accuracy": (
        "",
        "share of the whole run, time before the fix included, with the state LOCALIZED and the true place named",
    ),
    "pose_error_m_median": ("m", "median distance from the truth while LOCALIZED; a wrong level is infinitely far"),
    "pose_error_deg_median": ("deg", "median heading error while LOCALIZED; a wrong level is infinitely far"),
    "false_fixes": ("", "changes into LOCALIZED with a wrong level or more than 1 m or 30 deg from the truth"),
    "latency_ms_p50": ("ms", "median time from the sensor stamp to the estimate that has those data in it"),
    "latency_ms_p99": ("ms", "99th percentile of the same"),
    "relocalize_s": ("s", "time of a relocalize call at the caller, median over the calls that succeeded"),
    "wall_s": ("s", "wall time of the whole run"),
}


def metrics(judgement: Judgement, twins: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Every figure of ``report.json``: the keys of :data:`DEFINITIONS`, then what helps to understand them.

    Args:
        judgement: the run beside the truth.
        twins: place id -> id of the place that looks the same (mirror-twin flats); adds the key ``twin``.
    """
    record = judgement.record
    localized = [j for j in judgement.at_instants if j is not None and j.localized]
    judged = [j for j in localized if j.error_m is not None]
    count = max(len(judgement.at_instants), 1)
    errors_m = np.array([j.error_m for j in judged], dtype=np.float64)
    errors_deg = np.array([j.error_deg for j in judged], dtype=np.float64)
    latencies_ms = np.array([1e3 * j.event.latency_s for j in judgement.estimates if j.event.latency_s is not None])
    first = next((j for j in judgement.estimates if j.localized and j.right), None)
    wrong = [fix for fix in judgement.fixes if fix.right is False]
    answered = [call for call in record.relocalizations if call.response is not None and call.response.success]
    out: dict[str, Any] = {
        "places": len(judgement.places),
        "retrieval_r1": _recall(judgement.retrievals, 1),
        "retrieval_chance": 1.0 / len(judgement.places) if judgement.places else None,
        "time_to_fix_s": _seconds(record.info.started_ns, first),
        "place_accuracy": sum(j.right_place for j in localized) / count,
        "pose_error_m_median": _quantile(errors_m, 0.5),
        "pose_error_deg_median": _quantile(errors_deg, 0.5),
        "false_fixes": len(wrong),
        "latency_ms_p50": _quantile(latencies_ms, 0.5),
        "latency_ms_p99": _quantile(latencies_ms, 0.99),
        "relocalize_s": _quantile(np.array([call.elapsed_s for call in answered]), 0.5),
        "wall_s": record.wall_s,
        "simulated": record.info.simulated,
        "source": record.info.source,
        "duration_s": len(judgement.instants_ns) * GRID_S,
        "pose_error_m_p95": _quantile(errors_m, 0.95),
        "pose_error_deg_p95": _quantile(errors_deg, 0.95),
        "localized_share": len(localized) / count,
        "right_share": sum(j.right for j in localized) / count,
        "state_share": _state_share(judgement),
        "fixes": len(judgement.fixes),
        "false_fix_stamps_s": [round(fix.stamp_ns * 1e-9, 3) for fix in wrong],
        "diverged": _diverged(judgement.estimates),
        "retrieval_by_modality": _by_modality(judgement.retrievals),
        "relocalize_calls": [_call(call, judgement.truth) for call in record.relocalizations],
        "estimates": len(record.estimates),
        "retrievals": len(record.retrievals),
        "database_fingerprint": record.info.database_fingerprint,
        "encoder_fingerprint": record.info.encoder_fingerprint,
    }
    if twins:
        out["twin"] = _twin_report(judgement, twins)
    return out


def mirror_twins(places: Sequence[PlaceOutline], first: str, second: str) -> dict[str, str]:
    """Pairs of places on one level whose names differ only in the flat they belong to, both ways.

    ``first`` and ``second`` are what tells the flats apart, as a word or before a number: in buildingSMART's duplex, A
    and B, so that "Bedroom A203" and "Bedroom B203" are twins.
    """
    by_name = {(place.key, place.name): place.place_id for place in places}
    flat = re.compile(rf"\b{re.escape(first)}(?=\d|\b)")
    out: dict[str, str] = {}
    for place in places:
        other = by_name.get((place.key, flat.sub(second, place.name)))
        if other is not None and other != place.place_id:
            out[place.place_id], out[other] = other, place.place_id
    return out


def _diverged(estimates: Sequence[JudgedEstimate]) -> int:
    """Times that a right pose turned wrong while the state stayed LOCALIZED."""
    pairs = pairwise(estimates)
    return sum(a.localized and b.localized and a.right and b.error_m is not None and not b.right for a, b in pairs)


def _recall(retrievals: Sequence[JudgedRetrieval], k: int) -> float | None:
    if not retrievals:
        return None
    return sum(r.rank is not None and r.rank <= k for r in retrievals) / len(retrievals)


def _by_modality(retrievals: Sequence[JudgedRetrieval]) -> dict[str, dict[str, float | int | None]]:
    out: dict[str, dict[str, float | int | None]] = {}
    for modality in dict.fromkeys(r.retrieval.query_modality for r in retrievals):
        own = [r for r in retrievals if r.retrieval.query_modality == modality]
        answered = [r for r in own if not r.retrieval.abstained]
        out[modality.value] = {
            "n": len(own),
            "r1": _recall(own, 1),
            "r3": _recall(own, 3),
            "r5": _recall(own, 5),
            "mean_reciprocal_rank": float(np.mean([1.0 / r.rank if r.rank else 0.0 for r in own])),
            "abstained_share": 1.0 - len(answered) / len(own),
            "r1_when_answered": _recall(answered, 1),
        }
    return out


def _state_share(judgement: Judgement) -> dict[str, float]:
    """Share of the run in each state; SILENT is no estimate within :data:`judgement.SILENT_S`."""
    names = [j.event.estimate.state.name if j is not None else "SILENT" for j in judgement.at_instants]
    count = max(len(names), 1)
    return {name: names.count(name) / count for name in [*(s.name for s in LocalizationState), "SILENT"]}


def _call(call: RelocalizeEvent, truth: Trajectory) -> dict[str, Any]:
    """Outcome of one call; ``right`` is about its best hypothesis at the time of the call."""
    response = call.response
    best = response.hypotheses[0] if response is not None and response.hypotheses else None
    found = truth.at(call.stamp_ns)
    error: tuple[float, float] | None = None
    if best is not None and found is not None and found[0] == best.level:
        error = pose_error(best.T_map_base, found[1])
    return {
        "stamp_s": round(call.stamp_ns * 1e-9, 3),
        "elapsed_s": call.elapsed_s,
        "apply": call.apply,
        "code": (response.code if response is not None else RelocalizeCode.TIMEOUT).name,
        "message": response.message if response is not None else "no answer",
        "hypotheses": len(response.hypotheses) if response is not None else 0,
        "place": best.place_name or best.place_id if best is not None else None,
        "probability": best.probability if best is not None else None,
        "right": error is not None and error[0] <= RIGHT_M and error[1] <= RIGHT_DEG,
        "error_m": error[0] if error is not None else None,
    }


def _twin_report(judgement: Judgement, twins: Mapping[str, str]) -> dict[str, Any]:
    """How often the pose in the mirror-twin place was reported, and what share of the belief it had."""
    reported, mass = 0, []
    for j in judgement.at_instants:
        if j is None or j.truth is None or j.truth.place_id not in twins:
            continue
        twin = twins[j.truth.place_id]
        best = j.event.estimate.best
        reported += j.localized and best is not None and best.place_id == twin
        mass.append(sum(h.probability for h in j.event.estimate.hypotheses if h.place_id == twin))
    return {
        "places_with_twin": len(twins),
        "instants": len(mass),
        "reported_share": reported / len(mass) if mass else None,
        "probability_mean": float(np.mean(mass)) if mass else None,
        "probability_p95": _quantile(np.array(mass), 0.95),
    }


def _seconds(started_ns: int, first: JudgedEstimate | None) -> float | None:
    return None if first is None else (first.event.estimate.stamp_ns - started_ns) * 1e-9


def _quantile(values: NDArray[np.float64], q: float) -> float | None:
    """A quantile; None if there are no values or it is infinite (the upper neighbor counts where one is)."""
    if not len(values):
        return None
    value = float(np.quantile(values, q, method="linear" if np.isfinite(values).all() else "higher"))
    return value if np.isfinite(value) else None
