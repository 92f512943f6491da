"""Figures of ``crossover bench laser2d`` beside what they are to reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

TARGETS = {"r_0_5_pooled": 0.75, "right_by_end_pooled": 0.95, "false_fixes": 0}
# R@0.5 m of a plain exhaustive likelihood-field search over one 180-degree scan, measured before this package existed.
PLAIN_R_0_5 = {"fr079": 0.61, "intel": 0.67}

Figures = Mapping[str, Any]


SCANS = ("building", "method", "R@0.1m", "R@0.5m", "R@1m", "R@1m30°", "AUROC", "CPU s", "n")
SCANS_TITLE = "Real 180-degree scans, each localized from scratch"
SCANS_NOTE = "map and query come from the same run, which flatters every method; CPU seconds a query on one thread"
DRIVES = (
    "building", "localizer", "right", "95 %", "false fixes", "way (m)", "time (s)", "error (m)", "error (deg)",
    "CPU (s)", "n",
)  # fmt: skip
SHOWN = (0, 1, 2, 3, 4, 5, 7, 10)
DRIVES_TITLE = "Cold starts along the robots' own logs: raw odometry, up to 10 m of way"
DRIVES_NOTE = (
    "right: announced within 0.5 m at the last corrected scan of the way; false: announced farther than 1 m or 30 deg "
    "from the truth; between corrected scans the truth is odometry between them, and what that may be wrong by is "
    "allowed"
)

ByBuilding = Mapping[str, Figures]


def print_figures(figures: Mapping[str, ByBuilding], pooled: ByBuilding, travel: Mapping[str, ByBuilding]) -> None:
    """Single scans by building and method, then drives by localizer and building; "pooled" has all of both."""
    console = Console()
    console.print(_table(SCANS_TITLE, SCANS_NOTE, SCANS, _scan_rows(figures, pooled)))
    console.print(_known())
    if _drive_rows(travel):
        # A terminal of 80 columns has no room for all; the file has.
        rows = [[row[k] for k in SHOWN] for row in _drive_rows(travel)]
        console.print(_table(DRIVES_TITLE, DRIVES_NOTE, [DRIVES[k] for k in SHOWN], rows))


def tables_markdown(figures: Mapping[str, ByBuilding], pooled: ByBuilding, travel: Mapping[str, ByBuilding]) -> str:
    """The same tables for people who read files."""
    parts = ["# Real 2D laser scans", "", "Written by `crossover bench laser2d --markdown`; real logs fr079 and intel."]
    tables: list[tuple[str, str, Sequence[str], list[list[str]]]] = [
        (SCANS_TITLE, SCANS_NOTE, SCANS, _scan_rows(figures, pooled)),
        (DRIVES_TITLE, DRIVES_NOTE, DRIVES, _drive_rows(travel)),
    ]
    for title, note, columns, rows in tables:
        if len(rows) > 1:
            lines = ["| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *rows)]
            parts += ["", f"## {title}", "", *lines, "", f"{note[0].upper()}{note[1:]}."]
    return "\n".join([*parts, "", f"{_known()[0].upper()}{_known()[1:]}.", ""])


def _scan_rows(figures: Mapping[str, ByBuilding], pooled: ByBuilding) -> list[list[str]]:
    rows = []
    for building, by_method in [*figures.items(), ("pooled", pooled)]:
        for method, f in by_method.items():
            cells = [f[k] for k in ("r_0_1", "r_0_5", "r_1", "r_1m30", "auroc", "seconds_per_query")]
            rows.append([building, method, *map(_cell, cells), str(f["n"])])
    return [*rows, ["pooled", "target", "", f">= {TARGETS['r_0_5_pooled']}", *[""] * 5]]


def _drive_rows(travel: Mapping[str, ByBuilding]) -> list[list[str]]:
    """No rows if nobody drove."""
    names = ("metres_to_fix", "seconds_to_fix", "error_m", "error_deg", "cpu_s")
    rows = []
    for localizer, by_building in travel.items():
        for building, f in by_building.items():
            if f["n"]:
                low, high = f["right_by_end_95"]
                cells = [_cell(f["right_by_end"]), f"{low:.2f}..{high:.2f}", str(f["false_fixes"])]
                rows.append([building, localizer, *cells, *(_cell(f[k]) for k in names), str(f["n"])])
    target = ["pooled", "target", f">= {TARGETS['right_by_end_pooled']}", "", str(TARGETS["false_fixes"]), *[""] * 6]
    return [*rows, target] if rows else []


def _known() -> str:
    known = ", ".join(f"{value:.2f} ({building})" for building, value in PLAIN_R_0_5.items())
    return f"for comparison, a plain exhaustive likelihood-field search measured earlier: R@0.5 m {known}"


def _table(title: str, note: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, caption=note)
    for k, column in enumerate(columns):
        table.add_column(column, justify="left" if k < 2 else "right", no_wrap=len(column) < 8, overflow="fold")
    for k, row in enumerate(rows):
        if k == len(rows) - 1:
            table.add_section()
        table.add_row(*row)
    return table


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
