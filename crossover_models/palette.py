"""Colors of plots, plans and pages; told apart by people who see no red or no green (Okabe and Ito 2008)."""

from __future__ import annotations

INK, QUIET, GRID = "#1f2933", "#7b8794", "#e4e7eb"
STATE_COLORS = {"right": "#0072b2", "wrong": "#d55e00", "searching": "#e69f00", "lost": "#cc79a7"}
PLACE_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6d31")
OTHER_POSES, NOWHERE = "#9aa5b1", "#e4e7eb"


def rgb(color: str) -> tuple[int, int, int]:
    """``#rrggbb`` as red, green and blue, 0 to 255.

    Raises:
        ValueError: it is no such text.
    """
    if len(color) != 7 or not color.startswith("#"):
        raise ValueError(f"color: expected #rrggbb, got {color!r}")
    value = int(color[1:], 16)
    return value >> 16, value >> 8 & 255, value & 255
