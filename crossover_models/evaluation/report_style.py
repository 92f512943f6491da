"""How the pictures of a report look, and the parts that they share: colors, time axes, legends, SVG."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from crossover_models.estimate import LocalizationState
from crossover_models.evaluation.judgement import JudgedEstimate, Judgement
from crossover_models.observation import Modality
from crossover_models.palette import GRID, INK, PLACE_COLORS, QUIET, STATE_COLORS

__all__ = [
    "GRID", "INK", "MODALITY_STYLE", "PLACE_COLORS", "QUIET", "STATE_COLORS", "STATE_NAMES", "STYLE", "WIDTH_IN",
    "instants_s", "legend_below", "limits", "mark_calls", "since_start_s", "standing", "svg",
]  # fmt: skip

STATE_NAMES = {
    "right": "localized, right",
    "wrong": "localized, wrong",
    "searching": "best guess, not announced",
    "lost": "lost",
}
MODALITY_STYLE = {Modality.IMAGE: ("#0072b2", "o"), Modality.POINT_CLOUD: ("#d55e00", "s"), Modality.TEXT: (INK, "^")}
# Any: matplotlib types the keys of its settings one by one.
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "crossover",
    "figure.dpi": 100,
}
WIDTH_IN = 4.7


def svg(figure: Figure) -> str:
    """A figure as SVG text, the same for the same figure."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def standing(judged: JudgedEstimate) -> str:
    """Key of :data:`STATE_COLORS` of an estimate."""
    if judged.localized:
        return "right" if judged.right else "wrong"
    return "lost" if judged.event.estimate.state == LocalizationState.LOST else "searching"


def since_start_s(judgement: Judgement, stamp_ns: int) -> float:
    """Run time of a stamp, seconds."""
    return (stamp_ns - judgement.record.info.started_ns) * 1e-9


def instants_s(judgement: Judgement) -> NDArray[np.float64]:
    """(G,) run time of the judgement's instants, seconds."""
    return np.asarray((judgement.instants_ns - judgement.record.info.started_ns) * 1e-9, dtype=np.float64)


def limits(time_s: NDArray[np.float64]) -> tuple[float, float]:
    """Limits of a time axis over the whole run."""
    return float(min(time_s[0], 0.0)), float(time_s[-1])


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """A legend under the picture, where it covers no data."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles,
            labels,
            loc="outside lower left",
            ncols=columns,
            fontsize=8,
            handlelength=1.2,
            columnspacing=1.2,
            borderaxespad=0.0,
        )


def mark_calls(axes: Axes, judgement: Judgement) -> None:
    """A line where relocalize was called."""
    for k, call in enumerate(judgement.record.relocalizations):
        at_s = since_start_s(judgement, call.stamp_ns)
        axes.axvline(at_s, color=INK, linewidth=1, linestyle="--", label=None if k else "relocalize called")
