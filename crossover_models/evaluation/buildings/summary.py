"""Every figure of the benchmark, from judged runs, and what exactly it means.

Rules for all of them: a run in which the localizer crashed, ran out of time or wrote garbage stays in every denominator
as one that never gave an answer; instants are even in time, so falling silent improves nothing; a median over things of
which over half never happened does not exist; a figure that does not exist is null, never a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, rankdata

from crossover_models.evaluation.buildings.beside import RECOVERY_S
from crossover_models.evaluation.buildings.intervals import quantile
from crossover_models.evaluation.buildings.judged import JudgedRun

TRAVEL_M = 10.0
# Radius, in standard deviations, of the region that holds as much of a planar normal as 2 sigma hold of a plain one.
TWO_SIGMA_SHARE = 0.9545
TWO_SIGMA_RADIUS = float(np.sqrt(chi2.ppf(TWO_SIGMA_SHARE, 2)))
BIN_S = 5.0

# Key -> (unit, definition): documentation of the JSON, and legend of the table.
DEFINITIONS: Mapping[str, tuple[str, str]] = {
    "runs": ("", "runs, failed ones too"),
    "failed_runs": ("", "runs in which the localizer crashed, ran out of time or wrote garbage"),
    "cold_start_success": (
        "",
        "share of all runs in which an announced pose is within 0.25 m and 5 deg, on the right level and in the right "
        "place, at five successive instants (1 s), beginning within 10 m of travel and before anything is done to the "
        "robot",
    ),
    "seconds_to_fix_median": ("s", "median over all runs of the time to the beginning of that; none is infinite"),
    "metres_to_fix_median": ("m", "median over all runs of the way to the beginning of that; none is infinite"),
    "false_fixes": (
        "",
        "times that an announced pose turned wrong (another level, or over 1 m or 30 deg off), or jumped from one "
        "wrong pose to another; after a kidnapping or a lift ride only if it stays wrong for over 10 s",
    ),
    "error_m_median": (
        "m",
        "median distance from the truth over the instants with an announced pose; a wrong level is infinitely far",
    ),
    "error_m_p95": ("m", "95th percentile of the same"),
    "error_deg_median": ("deg", "median heading error likewise"),
    "kidnap_recovery": (
        "",
        "share of kidnappings, 11 s or more before the end, after which a fix as in cold_start_success began in 10 s",
    ),
    "lift_recovery": ("", "the same for lift rides, from the arrival on the other level"),
    "coverage_2sigma": (
        "",
        "share of instants with an announced pose and covariance whose true position lies within the 95.45 % region "
        f"({TWO_SIGMA_RADIUS:.3f} standard deviations in two dimensions, as 2 in one)",
    ),
    "coverage_heading_2sigma": ("", "share of the same instants with the heading within 2 standard deviations"),
    "ellipse_major_m": ("m", "mean semi-axis of that region over these instants, the longer one"),
    "ellipse_minor_m": ("m", "the shorter one"),
    "auroc": (
        "",
        "probability that an answer which is right (place, or none named outside of all places, and 1 m and 30 deg if "
        "a pose is announced) has the larger probability than one which is wrong, ties half; over all instants whose "
        "answer has a probability",
    ),
    "auroc_by_own_word": (
        "",
        "what auroc would be if answers were right exactly as often as their probabilities say: probabilities that are "
        "calibrated cannot reach more, whatever the target",
    ),
    "brier": (
        "",
        "mean square of the probability less 1 of a right answer, less 0 of a wrong one, over these instants",
    ),
    "abstain_or_right_on_twins": (
        "",
        "share of instants of runs among look-alikes with nothing announced or an announced pose within 1 m and 30 deg "
        "on the right level; no instant of a failed run counts as such",
    ),
    "place_top1": ("", "share of instants in a place of the map at which the newest answer names it, announced or not"),
    "place_top1_announced": ("", "the same where it is announced"),
    "abstained": ("", "share of all instants with nothing announced, before the first fix too"),
    "cpu_s": ("s", "mean CPU time of the localizer's process a run, starting up included"),
    "cpu_per_s": ("", "its CPU time by the time of the run, all runs together"),
    "peak_mb": ("MB", "largest resident memory of the localizer's process in any run"),
}
SUMMARY_KEYS = (
    "runs",
    "cold_start_success",
    "metres_to_fix_median",
    "false_fixes",
    "error_m_median",
    "error_deg_median",
    "kidnap_recovery",
    "coverage_2sigma",
    "auroc",
    "abstain_or_right_on_twins",
)
COLD_START_KEYS = ("cold_start_success", "metres_to_fix_median", "seconds_to_fix_median")
# Targets of the known-building runs, printed beside the figures: key -> (">=" or "<=", value).
TARGETS: Mapping[str, tuple[str, float]] = {
    "cold_start_success": (">=", 0.95),
    "error_m_median": ("<=", 0.10),
    "error_deg_median": ("<=", 2.0),
    "kidnap_recovery": (">=", 0.95),
    "coverage_2sigma": (">=", 0.95),
    "auroc": (">=", 0.97),
    "abstain_or_right_on_twins": (">=", 0.99),
}
FALSE_FIXES_PER_RUN_TARGET = 0.01
TWINS_CASE = "twins"


def figures(runs: Sequence[JudgedRun]) -> dict[str, float | None]:
    """Every figure of :data:`DEFINITIONS` over these runs; infinite if something never happened, None if undefined."""
    fixes = [run.fix_at for run in runs]
    fix_m = [math.inf if k is None else float(r.travelled_m[k]) for r, k in zip(runs, fixes, strict=True)]
    fix_s = [math.inf if k is None else float(r.time_s[k]) for r, k in zip(runs, fixes, strict=True)]
    error_m, error_deg = (_known(_joined(runs, name)) for name in ("error_m", "error_deg"))
    off = _joined(runs, "mahalanobis")
    judged = ~np.isnan(off)
    ellipse = np.concatenate([run.ellipse_m for run in runs] or [np.zeros((0, 2))])[judged] * TWO_SIGMA_RADIUS
    heading = _joined(runs, "heading_sigmas")[judged]
    probability = _joined(runs, "probability")
    told = ~np.isnan(probability)
    answer_right = _joined(runs, "answer_right").astype(np.bool_)
    in_place, announced = _joined(runs, "in_place").astype(np.bool_), _joined(runs, "announced").astype(np.bool_)
    place_right = _joined(runs, "place_right").astype(np.bool_)
    costs = [(run.cost, float(run.time_s[-1]) if len(run.time_s) else 0.0) for run in runs if run.cost is not None]
    spent_s, lasted_s = float(sum(cost.cpu_s for cost, _ in costs)), float(sum(s for _, s in costs))
    return {
        "runs": float(len(runs)),
        "failed_runs": float(sum(bool(run.failure) for run in runs)),
        "cold_start_success": _share(np.array(fix_m) <= TRAVEL_M),
        "seconds_to_fix_median": _quantile(np.array(fix_s), 0.5),
        "metres_to_fix_median": _quantile(np.array(fix_m), 0.5),
        "false_fixes": float(sum(len(run.false_fixes_s) for run in runs)),
        "error_m_median": _quantile(error_m, 0.5),
        "error_m_p95": _quantile(error_m, 0.95),
        "error_deg_median": _quantile(error_deg, 0.5),
        "kidnap_recovery": _recovered(runs, "kidnap"),
        "lift_recovery": _recovered(runs, "lift"),
        "coverage_2sigma": _share(off[judged] <= TWO_SIGMA_RADIUS),
        "coverage_heading_2sigma": _share(heading <= 2.0),
        "ellipse_major_m": float(ellipse[:, 0].mean()) if len(ellipse) else None,
        "ellipse_minor_m": float(ellipse[:, 1].mean()) if len(ellipse) else None,
        "auroc": auroc(probability[told], answer_right[told]),
        "auroc_by_own_word": auroc_by_own_word(probability[told]),
        "brier": float(((probability - answer_right)[told] ** 2).mean()) if told.any() else None,
        "abstain_or_right_on_twins": abstain_or_right([run for run in runs if run.case == TWINS_CASE]),
        "place_top1": _share(place_right[in_place]),
        "place_top1_announced": _share((place_right & announced)[in_place]),
        "abstained": _share(~announced),
        "cpu_s": spent_s / len(costs) if costs else None,
        "cpu_per_s": spent_s / lasted_s if lasted_s > 0.0 else None,
        "peak_mb": max((cost.peak_mb for cost, _ in costs), default=None),
    }


def pooled(runs: Sequence[JudgedRun], cold_cases: Sequence[str]) -> dict[str, float | None]:
    """Figures over all runs, those of a cold start over the cases in which a pose can be had from the start."""
    out = figures(runs)
    cold = figures([run for run in runs if run.case in cold_cases])
    return {**out, **{key: cold[key] for key in COLD_START_KEYS}}


def top1_over_time(runs: Sequence[JudgedRun]) -> list[dict[str, float | int | None]]:
    """Place top-1 in bins of :data:`BIN_S` of run time: share of the instants in a place of the map."""
    time_s, in_place = _joined(runs, "time_s"), _joined(runs, "in_place").astype(np.bool_)
    right, announced = _joined(runs, "place_right").astype(np.bool_), _joined(runs, "announced").astype(np.bool_)
    out: list[dict[str, float | int | None]] = []
    for k in range(int(time_s.max() // BIN_S) + 1 if len(time_s) else 0):
        here = in_place & (time_s >= k * BIN_S) & (time_s < (k + 1) * BIN_S)
        shares = {"place_top1": _share(right[here]), "place_top1_announced": _share((right & announced)[here])}
        out.append({"from_s": k * BIN_S, "to_s": (k + 1) * BIN_S, "instants": int(here.sum()), **shares})
    return out


def abstain_or_right(runs: Sequence[JudgedRun]) -> float | None:
    """Share of instants with nothing announced or a right pose announced; failed runs count as neither."""
    good = sum(0 if run.failure else int((~run.announced | run.right).sum()) for run in runs)
    total = sum(len(run.announced) for run in runs)
    return good / total if total else None


def auroc(value: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """Probability that a right answer has the larger value than a wrong one, ties half; None if either is missing.

    By ranks (Mann and Whitney 1947).
    """
    n_right, n_wrong = int(right.sum()), int((~right).sum())
    if not n_right or not n_wrong:
        return None
    above = float(rankdata(value)[right].sum()) - n_right * (n_right + 1) / 2.0
    return above / (n_right * n_wrong)


def auroc_by_own_word(probability: NDArray[np.float64]) -> float | None:
    """:func:`auroc` expected of answers (n,) that are right as often as they say; None where all are surely the same.

    A right one and a wrong one are drawn with weights p and 1 - p.
    """
    values, rows = np.unique(probability, return_inverse=True)
    right, wrong = np.bincount(rows, probability), np.bincount(rows, 1.0 - probability)
    total = float(right.sum() * wrong.sum())
    if not len(values) or total <= 0.0:
        return None
    return float((right * (np.cumsum(wrong) - 0.5 * wrong)).sum() / total)


def plain(values: Mapping[str, float | None]) -> dict[str, Any]:
    """Figures for JSON: counts as whole numbers, null for what never happened or does not exist."""
    counts = ("runs", "failed_runs", "false_fixes")
    out: dict[str, Any] = {}
    for key, value in values.items():
        if value is None or not math.isfinite(value):
            out[key] = None
        else:
            out[key] = int(value) if key in counts else value
    return out


def run_figures(run: JudgedRun) -> dict[str, Any]:
    """A single run, for JSON; times in s of the run, way in m."""
    first = int(np.argmax(run.announced)) if run.announced.any() else None
    cost = run.cost
    return {
        "run": run.name,
        "case": run.case,
        "building": run.building,
        "failure": run.failure or None,
        "duration_s": float(run.time_s[-1]) if len(run.time_s) else 0.0,
        "distance_m": float(run.travelled_m[-1]) if len(run.travelled_m) else 0.0,
        "first_announced_s": None if first is None else float(run.time_s[first]),
        "fix_s": None if run.fix_at is None else round(float(run.time_s[run.fix_at]), 3),
        "fix_m": None if run.fix_at is None else float(run.travelled_m[run.fix_at]),
        "false_fixes_s": [round(stamp, 3) for stamp in run.false_fixes_s],
        "events": [{"kind": r.kind, "at_s": r.at_s, "recovered_after_s": r.after_s} for r in run.recoveries],
        **{
            key: plain(figures([run]))[key]
            for key in ("error_m_median", "error_deg_median", "coverage_2sigma", "place_top1", "abstained")
        },
        "cpu_s": None if cost is None else cost.cpu_s,
        "wall_s": None if cost is None else cost.wall_s,
        "peak_mb": None if cost is None else cost.peak_mb,
    }


def _joined(runs: Sequence[JudgedRun], name: str) -> NDArray[Any]:
    return np.concatenate([getattr(run, name) for run in runs]) if runs else np.zeros(0)


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values[~np.isnan(values)], dtype=np.float64)


def _share(flags: NDArray[np.bool_]) -> float | None:
    return float(flags.mean()) if len(flags) else None


def _quantile(values: NDArray[np.float64], q: float) -> float | None:
    """A quantile that is infinite where so many values are; None of nothing."""
    return quantile(values.tolist(), q) if len(values) else None


def _recovered(runs: Sequence[JudgedRun], kind: str) -> float | None:
    after = [r.after_s for run in runs for r in run.recoveries if r.kind == kind]
    return sum(s is not None and s <= RECOVERY_S for s in after) / len(after) if after else None
