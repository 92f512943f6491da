"""The benchmark's figures for people: one table of all localizers, one of the first one's cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from crossover_models.evaluation.buildings.summary import FALSE_FIXES_PER_RUN_TARGET, TARGETS

# (key, heading with unit, digits or "%")
COLUMNS = (
    ("runs", "runs", 0),
    ("failed_runs", "failed", 0),
    ("cold_start_success", "cold start\n(%)", "%"),
    ("metres_to_fix_median", "to fix\n(m)", 1),
    ("seconds_to_fix_median", "to fix\n(s)", 1),
    ("false_fixes", "false\nfixes", 0),
    ("error_m_median", "error\n(m)", 3),
    ("error_deg_median", "error\n(deg)", 2),
    ("kidnap_recovery", "kidnap\n(%)", "%"),
    ("lift_recovery", "lift\n(%)", "%"),
    ("coverage_2sigma", "in 2 sigma\n(%)", "%"),
    ("ellipse", "2 sigma\n(m)", 2),
    ("auroc", "AUROC", 3),
    ("abstain_or_right_on_twins", "twins\n(%)", "%"),
    ("place_top1", "place\n(%)", "%"),
    ("abstained", "abstained\n(%)", "%"),
    ("cpu_per_s", "CPU\n(s per s)", 2),
    ("peak_mb", "peak\n(MB)", 0),
)


def localizers_table(results: Mapping[str, Any]) -> Table:
    """A row a localizer over all runs, the targets below; simulated data are called simulated."""
    table = _table("Known buildings, simulated runs: all localizers on the same bags", "localizer")
    for name, found in results["localizers"].items():
        table.add_row(name, *_cells(found["figures"]))
    table.add_section()
    table.add_row("target", *(_target(key, digits) for key, _, digits in COLUMNS), style="dim")
    return table


def cases_table(results: Mapping[str, Any], name: str) -> Table:
    """A row a case of one localizer."""
    table = _table(f"{name}, case by case", "case")
    for case, found in results["localizers"][name]["cases"].items():
        table.add_row(case, *_cells(found))
    return table


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for _, heading, _ in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _cells(figures: Mapping[str, Any]) -> Sequence[str]:
    cells = []
    for key, _, digits in COLUMNS:
        if key == "ellipse":
            axes = [figures["ellipse_major_m"], figures["ellipse_minor_m"]]
            cells.append("-" if None in axes else f"{axes[0]:.2f} x {axes[1]:.2f}")
        else:
            cells.append(_shown(figures[key], digits))
    return cells


def _shown(value: float | None, digits: int | str) -> str:
    if value is None:
        return "-"
    return f"{100.0 * value:.1f}" if digits == "%" else f"{value:.{digits}f}"


def _target(key: str, digits: int | str) -> str:
    if key == "false_fixes":
        return f"{100 * FALSE_FIXES_PER_RUN_TARGET:.0f}/100 runs"
    if key not in TARGETS:
        return ""
    sign, value = TARGETS[key]
    return f"{sign} {_shown(value, digits)}"
