"""Tables for the terminal."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.table import Table

from crossover_models.evaluation.suite.sheets import Sheet


def table(sheet: Sheet) -> Table:
    """A sheet for ``rich``; the best cells are bold."""
    out = Table(title=sheet.title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0), caption=sheet.note or None)
    out.caption_justify = "left"
    # Where methods are rows their names stay whole; where they are columns they break at "_".
    names = sheet.columns.index("method") if "method" in sheet.columns[:2] else None
    for index, head in enumerate(sheet.columns):
        text = head.replace("_", "_\n") if index else head
        left = index == 0 or index == names
        out.add_column(text, justify="left" if left else "right", no_wrap=index == names)
    for g, group in enumerate(sheet.groups):
        for r, row in enumerate(group):
            out.add_row(*(f"[bold]{text}[/]" if (g, r, c) in sheet.best else text for c, text in enumerate(row)))
        out.add_section()
    return out
