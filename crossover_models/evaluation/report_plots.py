"""The pictures of a report, as SVG: legible at the width of a phone and at half the width of a screen."""

from __future__ import annotations

import math
from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from crossover_models.estimate import LevelKey
from crossover_models.evaluation.judgement import RIGHT_DEG, RIGHT_M, Judgement
from crossover_models.evaluation.report_style import (
    INK,
    MODALITY_STYLE,
    PLACE_COLORS,
    QUIET,
    STATE_COLORS,
    STATE_NAMES,
    STYLE,
    WIDTH_IN,
    instants_s,
    legend_below,
    limits,
    mark_calls,
    since_start_s,
    standing,
    svg,
)
from crossover_models.palette import NOWHERE, OTHER_POSES


def belief_svg(judgement: Judgement) -> str:
    """Share of the belief in each of the likeliest places over time, with the place the robot is really in above it."""
    time_s = instants_s(judgement)
    shares, unknown = _belief_shares(judgement)
    order = sorted(shares, key=lambda key: -float(shares[key].sum()))[: len(PLACE_COLORS)]
    color = dict(zip(order, PLACE_COLORS, strict=False))
    listed = np.sum([shares[key] for key in order], axis=0) if order else np.zeros(len(time_s))
    spoken = np.array([j is not None for j in judgement.at_instants])
    others = np.clip(np.where(spoken, 1.0 - listed - unknown, 0.0), 0.0, 1.0)
    names = _place_names(judgement)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 3.9), layout="constrained")
        truth_axes, axes = figure.subplots(2, 1, sharex=True, height_ratios=(1, 14))
        _draw_true_places(truth_axes, judgement, time_s, color)
        axes.stackplot(
            time_s,
            *[shares[key] for key in order],
            others,
            unknown,
            colors=[*(color[key] for key in order), OTHER_POSES, NOWHERE],
            labels=[*(names.get(key, key[1]) for key in order), "other poses", "nowhere in the map"],
            linewidth=0,
        )
        axes.set(ylim=(0, 1), xlim=limits(time_s), xlabel="robot time (s)", ylabel="share of the belief")
        mark_calls(axes, judgement)
        legend_below(figure, axes, columns=3)
        return svg(figure)


def retrieval_svg(judgement: Judgement) -> str:
    """Rank of the true place in each retrieval, by the query's modality; hollow where retrieval abstained."""
    count = len(judgement.places)
    unlisted = max([len(r.retrieval.places) for r in judgement.retrievals], default=1) + 1
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 3.1), layout="constrained")
        axes = figure.add_subplot()
        for modality, (color, marker) in MODALITY_STYLE.items():
            own = [r for r in judgement.retrievals if r.retrieval.query_modality == modality]
            for abstained in (False, True):
                some = [r for r in own if r.retrieval.abstained == abstained]
                if not some:
                    continue
                axes.scatter(
                    [since_start_s(judgement, r.retrieval.stamp_ns) for r in some],
                    [r.rank or unlisted for r in some],
                    s=16,
                    marker=marker,
                    facecolors="none" if abstained else color,
                    edgecolors=color,
                    linewidths=0.9,
                    alpha=0.85,
                    label=f"{modality.value.replace('_', ' ')}{', abstained' if abstained else ''}",
                )
        middle = (count + 1) / 2
        axes.axhline(middle, color=QUIET, linewidth=1, linestyle=":", label="a guess, on average")
        top = max(unlisted, math.ceil(middle))
        axes.set_yscale("log")
        ticks = [k for k in (1, 2, 3, 5, 10, 20, 50, 100) if k < 0.8 * unlisted]
        axes.yaxis.set_major_locator(FixedLocator([*ticks, unlisted]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: "not listed" if v == unlisted else f"{v:.0f}"))
        axes.set(ylim=(top * 1.25, 0.8), xlim=limits(instants_s(judgement)), xlabel="robot time (s)")
        axes.set_ylabel(f"rank of the true place of {count}")
        mark_calls(axes, judgement)
        legend_below(figure, axes, columns=3)
        return svg(figure)


def error_svg(judgement: Judgement) -> str:
    """Distance and heading from the truth over time; what is on a wrong level is drawn at the top."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 4.2), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        known = [j for j in judgement.estimates if j.error_m is not None]
        for axes, unit, limit, floor, ceiling in (
            (upper, "m", RIGHT_M, 0.01, 30.0),
            (lower, "deg", RIGHT_DEG, 0.05, 180.0),
        ):
            for state in ("searching", "lost", "wrong", "right"):
                some = [j for j in known if standing(j) == state]
                errors = np.array([j.error_m if unit == "m" else j.error_deg for j in some], dtype=np.float64)
                axes.scatter(
                    [since_start_s(judgement, j.event.estimate.stamp_ns) for j in some],
                    np.clip(errors, floor, ceiling),
                    s=7,
                    color=STATE_COLORS[state],
                    alpha=0.7 if state == "searching" else 0.9,
                    linewidths=0,
                    label=STATE_NAMES[state] if some else None,
                )
            axes.axhline(limit, color=INK, linewidth=1.2, linestyle=":")
            axes.set(yscale="log", ylim=(floor * 0.8, ceiling * 1.4))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            mark_calls(axes, judgement)
        upper.set(ylabel="distance (m)")
        lower.set(ylabel="heading (deg)", xlabel="robot time (s)", xlim=limits(instants_s(judgement)))
        legend_below(figure, lower, columns=2)
        return svg(figure)


def latency_svg(judgement: Judgement) -> str:
    """Histogram of the time from sensor stamp to estimate, on a logarithmic axis, with median and 99th percentile."""
    latency_ms = np.array([1e3 * j.event.latency_s for j in judgement.estimates if j.event.latency_s is not None])
    latency_ms = np.clip(latency_ms, 1.0, None)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 2.4), layout="constrained")
        axes = figure.add_subplot()
        if len(latency_ms):
            low, high = math.log10(latency_ms.min() * 0.9), math.log10(latency_ms.max() * 1.1)
            axes.hist(latency_ms, bins=list(np.logspace(low, high, 36)), color=STATE_COLORS["right"], alpha=0.85)
            axes.set_xscale("log")
            for q, name in ((0.5, "median"), (0.99, "99 %")):
                value = float(np.quantile(latency_ms, q))
                line = "--" if q == 0.5 else ":"
                axes.axvline(value, color=INK, linewidth=1.2, linestyle=line, label=f"{name} {value:.0f} ms")
            legend_below(figure, axes, columns=2)
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.text(0.5, 0.5, "no estimate brought new data", transform=axes.transAxes, ha="center", color=QUIET)
        axes.set(xlabel="latency (ms)", ylabel="estimates")
        return svg(figure)


def _place_names(judgement: Judgement) -> Mapping[tuple[LevelKey, str], str]:
    """Names for a legend; the level is added where the map has several."""
    levels = {place.key for place in judgement.places}
    return {
        (p.key, p.place_id): p.name if len(levels) == 1 else f"{p.name} ({p.key.level_id})" for p in judgement.places
    }


def _belief_shares(
    judgement: Judgement,
) -> tuple[dict[tuple[LevelKey, str], NDArray[np.float64]], NDArray[np.float64]]:
    """Belief in each place (G,) and in none (G,) at the instants."""
    shares: dict[tuple[LevelKey, str], NDArray[np.float64]] = {}
    unknown = np.zeros(len(judgement.at_instants))
    for k, judged in enumerate(judgement.at_instants):
        if judged is None:
            continue
        estimate = judged.event.estimate
        unknown[k] = estimate.unknown_probability
        for h in estimate.hypotheses:
            if h.place_id:
                shares.setdefault((h.level, h.place_id), np.zeros(len(unknown)))[k] += h.probability
    return shares, unknown


def _draw_true_places(
    axes: Axes,
    judgement: Judgement,
    time_s: NDArray[np.float64],
    color: Mapping[tuple[LevelKey, str], str],
) -> None:
    """A strip of the true place over time, in the colors of the belief below it."""
    true = [(t.level, t.place_id) if t is not None and t.place_id else None for t in judgement.true_at_instants]
    begin = 0
    for k in range(1, len(true) + 1):
        if k < len(true) and true[k] == true[begin]:
            continue
        end_s = time_s[k] if k < len(true) else time_s[-1]
        where = true[begin]
        fill = "white" if where is None else color.get(where, OTHER_POSES)
        axes.axvspan(time_s[begin], end_s, facecolor=fill, edgecolor="white", linewidth=0.5)
        begin = k
    axes.set_yticks([])
    axes.grid(False)
    axes.tick_params(axis="x", length=0, labelbottom=False)
    axes.set_ylabel("true", rotation=0, ha="right", va="center")
    for spine in axes.spines.values():
        spine.set_visible(False)
