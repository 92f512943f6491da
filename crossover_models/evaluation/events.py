"""What went wrong or was left unsaid in a run: false fixes, spans without a pose, retrievals that abstained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from crossover_models.evaluation.judgement import JudgedEstimate, JudgedRetrieval, Judgement

FALSE_FIX, DIVERGED, NO_POSE, ABSTAINED = "false fix", "turned wrong", "no pose", "no place"


@dataclass(frozen=True)
class Event:
    """One of them, from the moment it began.

    Attributes:
        kind: one of the constants above.
        stamp_ns: of the sensor data with which it began, and which are shown.
        end_ns: stamp of the last estimate or retrieval of it.
        count: estimates or retrievals it consists of.
        judged: the estimate that began it; None for a retrieval.
        retrieval: the retrieval that began it; None for an estimate.
    """

    kind: str
    stamp_ns: int
    end_ns: int
    count: int
    judged: JudgedEstimate | None = None
    retrieval: JudgedRetrieval | None = None

    @property
    def wrong(self) -> bool:
        """A wrong pose was announced; else nothing was, which may well have been right."""
        return self.kind in (FALSE_FIX, DIVERGED)


def events(judgement: Judgement) -> tuple[Event, ...]:
    """Every abstention and every false fix of a run in the order of their stamps; runs of the same are one event."""
    found = [*_of_estimates(judgement.estimates), *_of_retrievals(judgement.retrievals)]
    return tuple(sorted(found, key=lambda event: event.stamp_ns))


def event_summary(event: Event, judgement: Judgement) -> dict[str, Any]:
    """One event as report.json has it; times in seconds of the run."""
    start_ns = judgement.record.info.started_ns
    out: dict[str, Any] = {
        "kind": event.kind,
        "from_s": round((event.stamp_ns - start_ns) * 1e-9, 3),
        "to_s": round((event.end_ns - start_ns) * 1e-9, 3),
        "count": event.count,
        "stamp_s": round(event.stamp_ns * 1e-9, 3),
    }
    if event.judged is not None:
        estimate, best = event.judged.event.estimate, event.judged.event.estimate.best
        out["state"], out["failure"], out["message"] = estimate.state.name, estimate.failure.value, estimate.message
        out["place"] = best.place_id if best is not None else None
        out["probability"] = best.probability if best is not None else None
        out["true_place"] = event.judged.truth.place_id if event.judged.truth is not None else None
    if event.retrieval is not None:
        first = event.retrieval.retrieval.places[0] if event.retrieval.retrieval.places else None
        out["modality"] = event.retrieval.retrieval.query_modality.value
        out["place"] = first.place_id if first is not None else None
        out["probability"] = first.probability if first is not None else None
        out["true_place"], out["rank"] = event.retrieval.place_id, event.retrieval.rank
    return out


def _of_estimates(estimates: Sequence[JudgedEstimate]) -> Iterator[Event]:
    """Spans of one standing: no pose for one reason, or a wrong pose announced."""
    before_wrong = before_localized = False
    for (wrong, _), span in groupby(estimates, key=_standing):
        run = list(span)
        first, localized = run[0], run[0].localized
        if wrong or not localized:
            kind = NO_POSE if not localized else DIVERGED if before_localized and not before_wrong else FALSE_FIX
            yield Event(kind, _stamp(first), _stamp(run[-1]), len(run), judged=first)
        before_wrong, before_localized = wrong, localized


def _standing(judged: JudgedEstimate) -> tuple[bool, str]:
    estimate = judged.event.estimate
    if judged.localized:
        return judged.error_m is not None and not judged.right, "localized"
    return False, f"{estimate.state.name} {estimate.failure.value}"


def _stamp(judged: JudgedEstimate) -> int:
    return judged.event.estimate.stamp_ns


def _of_retrievals(retrievals: Sequence[JudgedRetrieval]) -> Iterator[Event]:
    """Abstentions of one modality in a row while the robot was in one place."""
    for modality in dict.fromkeys(r.retrieval.query_modality for r in retrievals):
        own = [r for r in retrievals if r.retrieval.query_modality == modality]
        for (abstained, _), span in groupby(own, key=lambda r: (r.retrieval.abstained, r.place_id)):
            run = list(span)
            if abstained:
                ends = run[0].retrieval.stamp_ns, run[-1].retrieval.stamp_ns
                yield Event(ABSTAINED, *ends, len(run), retrieval=run[0])
