"""One picture a building: its plans, every true way, and what the first localizer announced, right or wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from crossover_models.evaluation.buildings.cases import PlannedRun, digest
from crossover_models.evaluation.buildings.judged import JudgedRun
from crossover_models.evaluation.buildings.recordings import read_true_run
from crossover_models.evaluation.buildings.runner import Benchmark
from crossover_models.evaluation.report_plan import plan_bounds, plan_image
from crossover_models.evaluation.report_style import INK, STATE_COLORS, STATE_NAMES, STYLE
from crossover_models.map_database.store import MapDatabase

WIDTH_IN = 6.5


def draw_buildings(benchmark: Benchmark, plan: Sequence[PlannedRun], out: Path) -> dict[str, str]:
    """Draw every building of the plan into ``out/pictures``; SPEC -> file."""
    first = next(iter(benchmark.runs.values()))
    judged = {run.name: run for run in first}
    written = {}
    for building in dict.fromkeys(run.building for run in plan):
        runs = [run for run in plan if run.building == building and run.name in benchmark.recordings]
        # A defective plan is drawn for itself only in its own runs: here, the true building's.
        whole = [run for run in runs if not run.case.defects] or runs
        if not whole:
            continue
        path = out / "pictures" / f"{building.kind}-{digest(str(building))[:8]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        _draw(benchmark, whole, judged, path)
        written[str(building)] = str(path)
    return written


def _draw(benchmark: Benchmark, runs: Sequence[PlannedRun], judged: dict[str, JudgedRun], path: Path) -> None:
    with MapDatabase.open(benchmark.recordings[runs[0].name].database) as database:
        plans = {level.key: database.floor_plan(level.key) for level in database.levels()}
    with matplotlib.rc_context(STYLE):
        spans = [np.subtract(*reversed(plan_bounds(plan))) for plan in plans.values()]
        height_in = WIDTH_IN * min(max(max(y / x for x, y in spans), 0.3), 1.2) + 0.9
        figure = Figure(figsize=(WIDTH_IN * len(plans), height_in), layout="constrained")
        legend: dict[str, Artist] = {}
        for axes, (level, plan) in zip(figure.subplots(1, len(plans), squeeze=False)[0], plans.items(), strict=True):
            (x0, y0), (width_m, height_m) = plan.origin_xy, plan.size_m
            axes.imshow(
                plan_image(plan),
                extent=(x0, x0 + width_m, y0, y0 + height_m),
                origin="lower",
                interpolation="nearest",
                zorder=0,
            )
            for run in runs:
                true = read_true_run(benchmark.recordings[run.name]).trajectory
                here = np.array([key == level for key in true.levels])
                way = np.where(here[:, None], true.T_map_base[:, :2], np.nan)
                axes.plot(way[:, 0], way[:, 1], color=INK, linewidth=0.8, alpha=0.6, label="true way", zorder=2)
                told = judged[run.name]
                on_level = np.array([key == level for key in told.levels])
                for state, chosen in (("right", on_level & told.right), ("wrong", on_level & ~told.right)):
                    if chosen.any():
                        color, name = STATE_COLORS[state], STATE_NAMES[state]
                        axes.scatter(*told.xy_m[chosen].T, s=6, color=color, linewidths=0, label=name, zorder=3)
            low, high = plan_bounds(plan)
            axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xlabel="x (m)", ylabel="y (m)")
            axes.set_title("/".join(level))
            axes.grid(False)
            legend.update(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        figure.legend(list(legend.values()), list(legend), loc="outside lower center", ncols=3)
        figure.savefig(path, dpi=110)
