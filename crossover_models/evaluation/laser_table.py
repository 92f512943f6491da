"""Figures of ``crossover bench laser2d`` beside what they are to reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

TARGETS = {"r_0_5_pooled": 0.75, "right_by_end_pooled": 0.95, "false_fixes": 0}
# R@0.5 m of a plain exhaustive likelihood-field search over one 180-degree scan, measured before this package existed.
PLAIN_R_0_5 = {"fr079": 0.61, "intel": 0.67}

Figures = Mapping[str, Any]


def print_figures(
    figures: Mapping[str, Mapping[str, Figures]], pooled: Mapping[str, Figures], travel: Mapping[str, Figures]
) -> None:
    """Single scans by building and method, then drives by building; "pooled" has all of both."""
    table = Table(
        title="Real 180-degree scans, each localized from scratch",
        caption="map and query come from the same run, which flatters every method; CPU seconds a query on one thread",
    )
    table.add_column("building")
    table.add_column("method")
    for column in ("R@0.1m", "R@0.5m", "R@1m", "R@1m30°", "AUROC", "CPU s", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    for building, by_method in [*figures.items(), ("pooled", pooled)]:
        for method, f in by_method.items():
            cells = [f[k] for k in ("r_0_1", "r_0_5", "r_1", "r_1m30", "auroc", "seconds_per_query")]
            table.add_row(building, method, *map(_cell, cells), str(f["n"]))
    table.add_section()
    table.add_row("pooled", "target", "", f">= {TARGETS['r_0_5_pooled']}", *[""] * 5)
    console = Console()
    console.print(table)
    known = ", ".join(f"{value:.2f} ({building})" for building, value in PLAIN_R_0_5.items())
    console.print(f"for comparison, a plain exhaustive likelihood-field search measured earlier: R@0.5 m {known}")
    if travel["pooled"]["n"]:
        console.print(_drives(travel))


def _drives(travel: Mapping[str, Figures]) -> Table:
    table = Table(
        title="Cold starts along the robots' own logs: raw odometry, up to 10 m of way",
        caption="right: announced within 0.5 m at the last corrected scan of the way; false: announced farther than "
        "1 m or 30 deg from the truth; between corrected scans the truth is odometry between them, and what that may "
        "be wrong by is allowed",
    )
    table.add_column("building")
    for column in ("right", "false fixes", "way (m)", "time (s)", "error (m)", "error (deg)", "CPU (s)", "n"):
        table.add_column(column, justify="right")
    names = ("metres_to_fix", "seconds_to_fix", "error_m", "error_deg", "cpu_s")
    for building, f in travel.items():
        if f["n"]:
            table.add_row(
                building, _cell(f["right_by_end"]), str(f["false_fixes"]), *(_cell(f[k]) for k in names), str(f["n"])
            )
    table.add_section()
    table.add_row("target", f">= {TARGETS['right_by_end_pooled']}", str(TARGETS["false_fixes"]), *[""] * 6)
    return table


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
