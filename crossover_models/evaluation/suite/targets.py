"""What the method called ``ours`` is meant to reach, beside what it reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crossover_models.evaluation.suite.methods import CHANCE, UNLEARNED

OURS, REFERENCE = "ours", "reference"
RATIO, EMERGENT_BY_CHANCE, MOST_LOSS = 1.5, 5.0, 1.0 / 3.0
LEVELS = {"I-P": 0.40, "I-F": 0.40, "P-F": 0.80, "I-R": 0.30, "P-R": 0.20}
ONE_VIEW = 0.20
"""R@1 of one frame of a robot against clouds."""


def targets(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows ``target``, ``wanted``, ``reached``, ``met``; only those that the figures can answer.

    Args:
        found: what :func:`evaluate` has so far.
    """
    if OURS not in found["methods"]:
        return []
    out: list[dict[str, Any]] = []
    pairs = found.get("pairs", {})
    against = found.get("comparisons", {}).get(f"{OURS}/{REFERENCE}")
    if against is not None:
        _at_least(out, "mean R@1 over pairs, times the faithful model's", RATIO, against["r1_ratio"])
        below = against["not_above"]
        out.append(_row(f"pairs not above the faithful model{_named(below)}", 0, len(below), not below))
    apart = {p: row for p, row in pairs.items() if row[OURS]["emergent"] and row[OURS].get("r1") is not None}
    if apart:
        least = min(row[OURS]["r1"] / row[CHANCE]["r1"] for row in apart.values() if row[CHANCE]["r1"])
        _at_least(out, f"worst emergent pair ({', '.join(apart)}), times chance", EMERGENT_BY_CHANCE, least)
    for name, facts in found["methods"].items():
        if facts["kind"] not in UNLEARNED or not pairs:
            continue
        both = {
            p: (row[OURS].get("r1"), row[name]["r1"]) for p, row in pairs.items() if row[name].get("r1") is not None
        }
        below = [pair for pair, (own, other) in both.items() if own is None or own <= other]
        out.append(_row(f"pairs not above {name}, of {len(both)}{_named(below)}", 0, len(below), not below))
    for pair, level in LEVELS.items():
        if pair in pairs:
            _at_least(out, f"R@1 {pair}", level, pairs[pair][OURS].get("r1"))
    robot = found.get("robot", {})
    if robot:
        _at_least(out, "R@1 I1-P (one frame)", ONE_VIEW, robot["I1-P"][OURS].get("r1"))
    for query, methods in found.get("missing_loss", {}).items():
        row = methods.get(OURS)
        if row is not None and row["worst"] is not None:
            loss = row[row["worst"]]["r1_loss"]
            text = f"share of R@1 lost with any one modality of the map, query {query} (worst: {row['worst']})"
            out.append(_row(text, round(MOST_LOSS, 3), loss, loss <= MOST_LOSS))
    return out


def _at_least(out: list[dict[str, Any]], text: str, wanted: float, reached: float | None) -> None:
    if reached is not None:
        out.append(_row(text, wanted, reached, reached >= wanted))


def _named(pairs: Sequence[str]) -> str:
    return f" ({', '.join(pairs)})" if pairs else ""


def _row(text: str, wanted: float, reached: float, met: bool) -> dict[str, Any]:
    return {"target": text, "wanted": wanted, "reached": reached, "met": met}
