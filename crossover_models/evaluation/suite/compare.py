"""Figures across pairs and methods: means, ratios, what ten frames gain, what a lost modality costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.evaluation.suite.intervals import Resamples, described, rounded, value
from crossover_models.evaluation.suite.measure import ANY, NOTHING, emergent
from crossover_models.evaluation.suite.methods import CHANCE, System
from crossover_models.evaluation.suite.outcome import Outcome
from crossover_models.evaluation.tasks.method import MAP_ITEMS
from crossover_models.evaluation.tasks.scenes import SCENE_CUTS

BASELINE = "reference"
"""Whom the others are compared with."""
_NAMES = tuple(f"r{k}" for k in SCENE_CUTS)
Cells = dict[str, dict[str, Outcome | None]]
"""Pair -> method -> outcome."""
Values = NDArray[np.float64]


def means(scene: Cells, systems: Sequence[System], resamples: Resamples) -> dict[str, Any]:
    """Mean recalls over the pairs that a method compares, and over those that it was never trained on."""
    out: dict[str, Any] = {}
    for system in systems:
        known = {pair: o for pair, methods in scene.items() if (o := methods[system.name]) is not None}
        apart = [pair for pair in known if emergent(system.seeds[0], *_split(pair))]
        row = _mean_of([known[p] for p in known], resamples)
        out[system.name] = {**row, "pairs": len(known), "seeds": _per_seed(list(known.values()), resamples)}
        if apart:
            luck = np.mean([known[p].chance["r1"] or 0.0 for p in apart])
            emergent_row = _mean_of([known[p] for p in apart], resamples)
            out[system.name]["emergent"] = {**emergent_row, "pairs": apart, "chance_r1": rounded(float(luck))}
    some = [o for methods in scene.values() if (o := next((m for m in methods.values() if m is not None), None))]
    out[CHANCE] = {name: rounded(float(np.mean([o.chance[name] or 0.0 for o in some]))) for name in _NAMES if some}
    return out


def comparisons(scene: Cells, names: Sequence[str], resamples: Resamples) -> dict[str, Any]:
    """Each method against :data:`BASELINE` over the pairs that both compare: the ratio and difference of mean R@1."""
    out: dict[str, Any] = {}
    for name in names:
        both = {p: (o, r) for p, m in scene.items() if (o := m.get(name)) and (r := m.get(BASELINE))}
        if name == BASELINE or not both:
            continue
        own = np.mean([_r1(o, resamples) for o, _ in both.values()], axis=0)
        other = np.mean([_r1(r, resamples) for _, r in both.values()], axis=0)
        each = {p: value(_r1(o, resamples) - _r1(r, resamples)) for p, (o, r) in both.items()}
        out[f"{name}/{BASELINE}"] = {
            **described("r1_ratio", _ratio(own, other), resamples.rooms),
            **described("r1_difference", own - other, resamples.rooms),
            "pairs": list(both),
            "not_above": [pair for pair, difference in each.items() if difference is None or difference <= 0.0],
        }
    return out


def gains(robot: Cells, resamples: Resamples) -> dict[str, Any]:
    """Gallery -> method -> R@1 of ten contiguous frames less that of one."""
    out: dict[str, Any] = {}
    for gallery in MAP_ITEMS:
        one, ten = robot[f"I1-{gallery}"], robot[f"I10-{gallery}"]
        row = {}
        for name, few in one.items():
            many = ten[name]
            if few is not None and many is not None:
                samples = _r1(many, resamples) - _r1(few, resamples)
                row[name] = described("r1_gain", samples, resamples.rooms)
        out[gallery] = row
    return out


def losses(missing: Cells, resamples: Resamples) -> dict[str, Any]:
    """Query -> method -> lost modality -> share of R@1 that is lost with it; ``worst`` is the one that costs most."""
    out: dict[str, Any] = {}
    for query in dict.fromkeys(key.split()[0] for key in missing):
        out[query] = {}
        for name, whole in missing[f"{query} {NOTHING}"].items():
            if whole is None:
                continue
            row: dict[str, Any] = {}
            for lost in (*MAP_ITEMS, ANY):
                rest = missing[f"{query} {lost}"][name]
                if rest is not None:
                    samples = 1.0 - _ratio(_r1(rest, resamples), _r1(whole, resamples))
                    row[lost] = described("r1_loss", samples, resamples.rooms)
            single = {lost: f["r1_loss"] for lost, f in row.items() if lost != ANY and f["r1_loss"] is not None}
            row["worst"] = max(single, key=lambda lost: single[lost]) if single else None
            out[query][name] = row
    return out


def _mean_of(outcomes: Sequence[Outcome], resamples: Resamples) -> dict[str, Any]:
    out: dict[str, Any] = {}
    figures = [o.figures(resamples.weights) for o in outcomes]
    for name in _NAMES:
        missing = np.full(len(resamples.weights), np.nan)
        samples = np.mean([f[name] for f in figures], axis=0) if figures else missing
        out.update(described(name, samples, resamples.rooms))
    return out


def _per_seed(outcomes: Sequence[Outcome], resamples: Resamples) -> list[float | None]:
    """Mean R@1 of each seed, empty for a single one."""
    count = len(outcomes[0].seeds) if outcomes else 0
    each = [np.mean([o.seeds[k].figures(resamples.weights[:1])["r1"][0] for o in outcomes]) for k in range(count)]
    return [rounded(float(v)) if np.isfinite(v) else None for v in each]


def _r1(outcome: Outcome, resamples: Resamples) -> Values:
    return outcome.figures(resamples.weights)["r1"]


def _ratio(above: Values, below: Values) -> Values:
    """nan where nothing is below: a ratio to nothing is no figure."""
    return np.asarray(np.where(below > 0.0, above / np.where(below > 0.0, below, 1.0), np.nan), dtype=np.float64)


def _split(pair: str) -> tuple[str, str]:
    query, gallery = pair.split("-")
    return query, gallery
