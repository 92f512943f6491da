"""The benchmark's figures for people: a column a localizer beside the targets, and a row a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from crossover_models.evaluation.buildings.summary import FALSE_FIXES_PER_RUN_TARGET, TARGETS

# (key, name with unit, digits or "%"), grouped.
ROWS = (
    (("runs", "runs", 0), ("failed_runs", "failed runs", 0), ("abstained", "abstained (%)", "%")),
    (
        ("cold_start_success", "cold start (%)", "%"),
        ("metres_to_fix_median", "way to fix (m)", 1),
        ("seconds_to_fix_median", "time to fix (s)", 1),
        ("kidnap_recovery", "kidnap recovery (%)", "%"),
        ("lift_recovery", "lift recovery (%)", "%"),
    ),
    (
        ("false_fixes", "false fixes", 0),
        ("abstain_or_right_on_twins", "twins: right or abstains (%)", "%"),
        ("auroc", "AUROC", 3),
        ("auroc_by_own_word", "AUROC if as right as it says", 3),
        ("brier", "Brier score", 3),
        ("place_top1", "place top-1 (%)", "%"),
    ),
    (
        ("error_m_median", "error, median (m)", 3),
        ("error_deg_median", "error, median (deg)", 2),
        ("coverage_2sigma", "within 2 sigma (%)", "%"),
        ("ellipse", "mean 2 sigma ellipse (m)", 2),
    ),
    (("cpu_per_s", "CPU (s a second)", 2), ("peak_mb", "peak memory (MB)", 0)),
)
# The figures of a case in a terminal; all of them, with more digits, are in the JSON.
CASE_COLUMNS = (
    ("runs", "runs", 0),
    ("cold_start_success", "start\n(%)", "%"),
    ("metres_to_fix_median", "way\n(m)", 1),
    ("false_fixes", "false", 0),
    ("again", "again\n(%)", "%"),
    ("place_top1", "place\n(%)", "%"),
    ("error_m_median", "error\n(m)", 3),
    ("error_deg_median", "error\n(deg)", 1),
    ("coverage_2sigma", "2 sig\n(%)", "%"),
    ("auroc", "AUROC", 2),
)
CASES_CAPTION = (
    "start: right within 10 m of way; way to the first fix; false fixes; again: found itself after kidnap or lift; "
    "place named right over time; 2 sig: share of poses within"
)


# More localizers than this side by side do not fit a terminal of 80 columns.
BESIDE = 3


def localizers_tables(results: Mapping[str, Any]) -> list[Table]:
    """A column a localizer over all runs, beside the targets, :data:`BESIDE` of them in a table."""
    names = list(results["localizers"])
    return [localizers_table(results, names[k : k + BESIDE]) for k in range(0, len(names), BESIDE)]


def localizers_table(results: Mapping[str, Any], names: Sequence[str] | None = None) -> Table:
    """As :func:`localizers_tables`, one for these names; simulated data are called simulated."""
    wanted = list(results["localizers"]) if names is None else names
    found = {name: results["localizers"][name]["figures"] for name in wanted}
    return _table("Known buildings, simulated: all localizers on the same bags", found, targets=True)


def cases_table(results: Mapping[str, Any], name: str) -> Table:
    """A row a case of one localizer, as much of each as fits a terminal of 80 columns."""
    title = f"{name}, case by case (simulated)"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), caption=CASES_CAPTION)
    table.caption_justify = "left"
    table.add_column("case", no_wrap=True)
    for _, head, _ in CASE_COLUMNS:
        table.add_column(head, justify="right", no_wrap=True)
    for case, figures in results["localizers"][name]["cases"].items():
        cells = []
        for key, _, digits in CASE_COLUMNS:
            value = figures.get(key)
            if key == "again":
                value = figures["lift_recovery"] if figures["kidnap_recovery"] is None else figures["kidnap_recovery"]
            cells.append("-" if value is None else f"{100.0 * value:.0f}" if digits == "%" else _shown(value, digits))
        table.add_row(case, *cells)
    return table


def failures(results: Mapping[str, Any]) -> list[str]:
    """One line for each way in which a localizer failed, with the runs it happened in."""
    out = []
    for name, facts in results["localizers"].items():
        by_reason: dict[str, list[str]] = {}
        for failed in facts["failed"]:
            by_reason.setdefault(failed["reason"], []).append(failed["run"])
        total = facts["figures"]["runs"]
        for reason, runs in by_reason.items():
            where = runs[0] if len(runs) == 1 else f"{len(runs)} of {total} runs, first {runs[0]}"
            out.append(f"{name} failed {where}: {reason}")
    return out


def _table(title: str, columns: Mapping[str, Mapping[str, Any]], targets: bool) -> Table:
    table = Table(title=title, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("figure", no_wrap=True)
    if targets:
        table.add_column("target", justify="right", style="dim", no_wrap=True)
    for name in columns:
        table.add_column(name.replace("-", "-\n"), justify="right")
    for group in ROWS:
        for key, name, digits in group:
            cells = [cell(figures, key, digits) for figures in columns.values()]
            if targets or any(text != "-" for text in cells):
                table.add_row(name, *([target(key, digits)] if targets else []), *cells)
        table.add_section()
    return table


def cell(figures: Mapping[str, Any], key: str, digits: int | str) -> str:
    """A figure of :data:`ROWS` as text, "-" where it does not exist."""
    if key != "ellipse":
        return _shown(figures[key], digits)
    major, minor = figures["ellipse_major_m"], figures["ellipse_minor_m"]
    return "-" if major is None or minor is None else f"{major:.2f}x{minor:.2f}"


def _shown(value: float | None, digits: int | str) -> str:
    if value is None:
        return "-"
    return f"{100.0 * value:.1f}" if digits == "%" else f"{value:.{digits}f}"


def target(key: str, digits: int | str) -> str:
    """The target of a figure as text, "" where it has none."""
    if key == "false_fixes":
        return f"{100 * FALSE_FIXES_PER_RUN_TARGET:.0f} in 100 runs"
    if key not in TARGETS:
        return ""
    sign, value = TARGETS[key]
    return f"{sign} {_shown(value, digits)}"
