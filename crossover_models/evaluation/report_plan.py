"""The picture of one level in a report: walls, places, the true path and what the localizer announced."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from crossover_models.estimate import LevelKey
from crossover_models.evaluation.judgement import Judgement
from crossover_models.evaluation.report_style import (
    INK,
    QUIET,
    STATE_COLORS,
    STATE_NAMES,
    STYLE,
    WIDTH_IN,
    legend_below,
    standing,
    svg,
)
from crossover_models.floor_plan import OCCUPIED, UNKNOWN, FloorPlan
from crossover_models.places import interior_point


def plan_svg(judgement: Judgement, level: LevelKey, plan: FloorPlan) -> str:
    """One level: walls, places, the true path and every announced pose, colored by whether it was right."""
    low, high = plan_bounds(plan)
    span = high - low
    height = (WIDTH_IN - 0.5) * min(max(span[1] / span[0], 0.35), 1.1) + 1.1
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
        axes = figure.add_subplot()
        width_m, height_m = plan.size_m
        x0, y0 = plan.origin_xy
        axes.imshow(
            plan_image(plan),
            extent=(x0, x0 + width_m, y0, y0 + height_m),
            origin="lower",
            interpolation="nearest",
            zorder=0,
        )
        for place in judgement.places:
            if place.key == level:
                x, y = interior_point(place.polygon)
                axes.text(
                    x,
                    y,
                    place.name,
                    fontsize=7,
                    color=QUIET,
                    ha="center",
                    va="center",
                    clip_on=True,
                    zorder=3.5,
                    path_effects=[withStroke(linewidth=2, foreground="white", alpha=0.8)],
                )
        _draw_paths(axes, judgement, level)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xlabel="x (m)", ylabel="y (m)")
        axes.grid(False)
        legend_below(figure, axes, columns=3)
        return svg(figure)


def plan_bounds(plan: FloorPlan) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners (2,) of the known part of a plan with a margin, metres."""
    known = np.argwhere(plan.occupancy != UNKNOWN)
    if not len(known):
        known = np.array([[0, 0], np.array(plan.occupancy.shape) - 1])
    margin_m = 0.6
    return plan.position(known.min(axis=0)) - margin_m, plan.position(known.max(axis=0)) + margin_m


def plan_image(plan: FloorPlan) -> NDArray[np.uint8]:
    """(rows, cols, 4) uint8: walls dark, free space white, unknown transparent."""
    image = np.zeros((*plan.occupancy.shape, 4), dtype=np.uint8)
    image[plan.occupancy != UNKNOWN] = (255, 255, 255, 255)
    image[plan.occupancy == OCCUPIED] = (62, 76, 89, 255)
    return image


def _draw_paths(axes: Axes, judgement: Judgement, level: LevelKey) -> None:
    # Carried or in a lift, a robot has no path; a line across walls would claim one.
    truth = judgement.truth
    paths = truth.parts(level)
    for k, path in enumerate(paths):
        label = "true path" if k == 0 else None
        axes.plot(path[:, 0], path[:, 1], color=INK, linewidth=1.2, alpha=0.75, label=label, zorder=2)
    for state in ("searching", "lost", "wrong", "right"):
        poses = []
        for j in judgement.estimates:
            best = j.event.estimate.best
            if best is not None and best.level == level and standing(j) == state:
                poses.append((*best.T_map_base[:2], best.probability))
        if not poses:
            continue
        points = np.array(poses)
        faint = state == "searching"
        axes.scatter(
            points[:, 0],
            points[:, 1],
            s=4 + 18 * points[:, 2] if faint else 9,
            color=STATE_COLORS[state],
            alpha=0.45 if faint else 0.9,
            linewidths=0,
            label=STATE_NAMES[state],
            zorder=1.5 if faint else 3,
        )
    if paths:
        x, y = paths[0][0, :2]
        axes.scatter(x, y, s=42, marker="o", facecolors="white", edgecolors=INK, zorder=4, label="start")
    for k, call in enumerate(judgement.record.relocalizations):
        found = truth.at(call.stamp_ns)
        if found is not None and found[0] == level:
            name = None if k else "relocalize called"
            axes.scatter(
                found[1][0], found[1][1], s=70, marker="*", color="#f0e442", edgecolors=INK, zorder=5, label=name
            )
