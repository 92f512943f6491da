"""The report of a run: one HTML file that needs nothing else, for a phone and for a screen."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from crossover_models.estimate import LevelKey
from crossover_models.evaluation.events import events
from crossover_models.evaluation.evidence import Evidence
from crossover_models.evaluation.judgement import Judgement
from crossover_models.evaluation.metrics import DEFINITIONS
from crossover_models.evaluation.report_events import event_cards
from crossover_models.evaluation.report_page import PAGE
from crossover_models.evaluation.report_plan import plan_svg
from crossover_models.evaluation.report_plots import belief_svg, error_svg, latency_svg, retrieval_svg
from crossover_models.evaluation.report_style import STATE_NAMES, since_start_s, standing
from crossover_models.evaluation.trajectory import pose_error
from crossover_models.floor_plan import FloorPlan
from crossover_models.page_style import CSS

TITLES = {
    "places": "Places",
    "retrieval_r1": "Retrieval R@1",
    "retrieval_chance": "R@1 of a guess",
    "time_to_fix_s": "Time to fix",
    "place_accuracy": "Place accuracy",
    "pose_error_m_median": "Position error",
    "pose_error_deg_median": "Heading error",
    "false_fixes": "False fixes",
    "latency_ms_p50": "Latency, median",
    "latency_ms_p99": "Latency, 99 %",
    "relocalize_s": "Relocalize call",
    "wall_s": "Wall time",
}
HEADLINES = (
    "time_to_fix_s",
    "place_accuracy",
    "pose_error_m_median",
    "pose_error_deg_median",
    "false_fixes",
    "retrieval_r1",
    "latency_ms_p50",
    "relocalize_s",
)
SHARES = ("retrieval_r1", "retrieval_chance", "place_accuracy")


def write_json(path: Path, figures: Mapping[str, Any]) -> None:
    """Write ``report.json``; strict JSON, so no NaN and no infinity."""
    path.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_report(
    path: Path,
    judgement: Judgement,
    figures: Mapping[str, Any],
    plans: Mapping[LevelKey, FloorPlan],
    facts: Sequence[tuple[str, str]] = (),
    evidence: Mapping[int, Evidence] | None = None,
) -> None:
    """Write the page of a run.

    Args:
        path: the HTML file.
        judgement: the run beside the truth.
        figures: of :func:`crossover_models.evaluation.metrics.metrics`.
        plans: the map's plans.
        facts: what else a reader must know (name, value): seed, robot, machine.
        evidence: sensor data at the stamps of the run's events, where the bag is at hand.
    """
    info = judgement.record.info
    levels = _levels_to_draw(judgement, plans)
    pictures = [
        *((f"Plan of {level.building_id}, {level.level_id}", _plan_note(judgement, level)) for level in levels),
        ("Belief over time", "Share of each place in the belief; the strip above is the place the robot is in."),
        ("Retrieval over time", "Rank of the true place in the answer to each image and each local cloud."),
        ("Error over time", "Of the best hypothesis, announced or not. Dotted: what counts as right."),
        ("Latency", "From the sensor stamp until the estimate with those data was out."),
    ]
    drawings = [
        *(plan_svg(judgement, level, plans[level]) for level in levels),
        belief_svg(judgement),
        retrieval_svg(judgement),
        error_svg(judgement),
        latency_svg(judgement),
    ]
    plots = "".join(_plot(title, note, svg) for (title, note), svg in zip(pictures, drawings, strict=True))
    page = Template(PAGE).substitute(
        style=CSS,
        title=_text(info.name),
        badge='<span class="badge">simulated sensor data</span>' if info.simulated else "",
        origin="live nodes over DDS" if info.source == "nodes" else "replay through the core, without ROS",
        verdict=_text(verdict(figures)),
        headlines="".join(_headline(key, figures) for key in HEADLINES),
        plots=plots,
        relocalize=_relocalizations(judgement, figures),
        fixes=_fixes(judgement),
        events=event_cards(events(judgement), judgement, plans, evidence or {}),
        modalities=_modalities(figures),
        metrics="".join(_metric_row(key, figures.get(key)) for key in DEFINITIONS),
        facts="".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in (*facts, *_own_facts(judgement, figures))),
        json=json.dumps(dict(figures), indent=1, allow_nan=False).replace("</", "<\\/"),
    )
    path.write_text(page, encoding="utf-8")


def verdict(figures: Mapping[str, Any]) -> str:
    """The run in a sentence."""
    fix_s, error_m = figures["time_to_fix_s"], figures["pose_error_m_median"]
    wrong = int(figures["false_fixes"])
    false = "no false fix" if not wrong else f"{wrong} false fix{'es' if wrong > 1 else ''}"
    if fix_s is None:
        return f"The robot never found itself: no right fix in {figures['duration_s']:.0f} s, {false}."
    within = f", {error_m:.2f} m off in the median" if error_m is not None else ""
    return (
        f"The robot found itself after {fix_s:.1f} s of its own time{within}; {false} in {figures['duration_s']:.0f} s."
    )


def shown(key: str, value: Any) -> str:
    """A figure as people read it: with its unit, shares in percent, a dash where there is none."""
    if value is None:
        return "-"
    unit = DEFINITIONS[key][0]
    if key in SHARES:
        return f"{100 * value:.1f} %"
    if isinstance(value, int):
        return str(value)
    digits = 0 if unit == "ms" or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    sign = "°" if unit == "deg" else f" {unit}"
    return f"{value:.{digits}f}{sign}".rstrip()


# -- parts of the page -------------------------------------------------------------------------------------------------


def _text(value: str) -> str:
    return html.escape(value)


def _levels_to_draw(judgement: Judgement, plans: Mapping[LevelKey, FloorPlan]) -> list[LevelKey]:
    """Levels the robot was on, then those where a pose was announced."""
    announced = [j.event.estimate.best for j in judgement.estimates if j.localized]
    seen = [*judgement.truth.levels, *(best.level for best in announced if best is not None)]
    return [level for level in dict.fromkeys(seen) if level in plans]


def _plan_note(judgement: Judgement, level: LevelKey) -> str:
    if level not in judgement.truth.levels:
        return "The robot was never here, yet a pose was announced."
    return "The true path and what was announced; faint: the best guess before a pose was announced."


def _plot(title: str, note: str, svg: str) -> str:
    data = base64.b64encode(svg.encode()).decode()
    return (
        f'<figure class="card"><h2>{_text(title)}</h2>'
        f'<img class="plot" alt="{_text(title)}. {_text(note)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{_text(note)}</figcaption></figure>"
    )


def _headline(key: str, figures: Mapping[str, Any]) -> str:
    value = figures.get(key)
    note = ""
    if key == "retrieval_r1":
        note = f"a guess: {shown('retrieval_chance', figures.get('retrieval_chance'))}"
    elif key == "latency_ms_p50":
        note = f"99 %: {shown('latency_ms_p99', figures.get('latency_ms_p99'))}"
    elif key.startswith("pose_error"):
        note = "median while localized"
    elif key == "place_accuracy":
        note = "of the whole run"
    elif key == "false_fixes":
        note = f"of {figures.get('fixes', 0)} announced"
    elif key == "time_to_fix_s":
        note = "robot time"
    elif key == "relocalize_s":
        calls = figures.get("relocalize_calls") or []
        note = str(calls[0]["code"]).lower().replace("_", " ") if calls else "not called"
    tone = " bad" if (key == "false_fixes" and value) or (key == "time_to_fix_s" and value is None) else ""
    return (
        f'<div class="headline{tone}"><span class="name">{_text(TITLES[key])}</span>'
        f'<span class="value">{_text(shown(key, value))}</span><span class="note">{_text(note)}</span></div>'
    )


def _metric_row(key: str, value: Any) -> str:
    unit, definition = DEFINITIONS[key]
    number = "null" if value is None else f"{value}" if isinstance(value, int) else f"{value:.4g}"
    return (
        f'<tr><td data-label="key"><code>{_text(key)}</code></td>'
        f'<td data-label="value" class="number">{_text(number)}</td><td data-label="unit">{_text(unit)}</td>'
        f'<td data-label="meaning">{_text(definition)}</td></tr>'
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in columns)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-label="{_text(n)}">{_text(v)}</td>' for n, v in zip(columns, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _relocalizations(judgement: Judgement, figures: Mapping[str, Any]) -> str:
    calls = figures.get("relocalize_calls") or []
    if not calls:
        return '<p class="quiet">The service was not called in this run.</p>'
    parts = []
    for call, event in zip(calls, judgement.record.relocalizations, strict=True):
        at_s = since_start_s(judgement, event.stamp_ns)
        right = "right" if call["right"] else "not right"
        parts.append(
            f"<p>Called at {at_s:.1f} s (<code>apply={str(event.apply).lower()}</code>), answered "
            f"<b>{_text(call['code'])}</b> after <b>{call['elapsed_s']:.2f} s</b>; the best hypothesis is {right}.<br>"
            f'<span class="quiet">{_text(call["message"])}</span></p>'
        )
        found = judgement.truth.at(event.stamp_ns)
        rows = []
        for h in event.response.hypotheses[:5] if event.response is not None else ():
            x, y, yaw = h.T_map_base
            off = "other level"
            if found is not None and found[0] == h.level:
                off = "{:.2f} m, {:.0f}°".format(*pose_error(h.T_map_base, found[1]))
            rows.append(
                (
                    h.place_name or h.place_id or "between places",
                    h.level.level_id,
                    f"{100 * h.probability:.1f} %",
                    f"{x:.2f}, {y:.2f} m, {yaw * 57.29578:.0f}°",
                    off if found is not None else "-",
                )
            )
        if rows:
            parts.append(_table(("place", "level", "probability", "pose", "off by"), rows))
    return "".join(parts)


def _fixes(judgement: Judgement) -> str:
    if not judgement.fixes:
        return '<p class="quiet">No pose was ever announced.</p>'
    rows = []
    for fix in judgement.fixes:
        best = fix.judged.event.estimate.best
        if best is None:
            continue
        error_m, error_deg = fix.judged.error_m, fix.judged.error_deg
        off = "unknown"
        if error_m is not None and error_deg is not None:
            off = "other level" if error_m == float("inf") else f"{error_m:.2f} m, {error_deg:.0f}°"
        rows.append(
            (
                f"{since_start_s(judgement, fix.stamp_ns):.1f} s",
                best.place_name or best.place_id or "between places",
                best.level.level_id,
                f"{100 * best.probability:.1f} %",
                off,
                STATE_NAMES[standing(fix.judged)].split(", ")[-1] if fix.right is not None else "no truth here",
            )
        )
    return _table(("at", "place", "level", "probability", "off by", "verdict"), rows)


def _modalities(figures: Mapping[str, Any]) -> str:
    by = figures.get("retrieval_by_modality") or {}
    if not by:
        return '<p class="quiet">No retrieval from sensor data in this run.</p>'
    rows = [
        (
            name.replace("_", " "),
            str(values["n"]),
            f"{100 * values['r1']:.0f} %",
            f"{100 * values['r5']:.0f} %",
            f"{values['mean_reciprocal_rank']:.2f}",
            f"{100 * values['abstained_share']:.0f} %",
        )
        for name, values in by.items()
    ]
    return _table(("query", "queries", "R@1", "R@5", "mean 1/rank", "abstained"), rows)


def _own_facts(judgement: Judgement, figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    info = judgement.record.info
    states = {name: share for name, share in figures["state_share"].items() if share > 0}
    out = [
        ("States", ", ".join(f"{name} {100 * share:.0f} %" for name, share in states.items())),
        ("Estimates, retrievals", f"{figures['estimates']}, {figures['retrievals']}"),
        ("Database", info.database_fingerprint),
        ("Encoder", info.encoder_fingerprint),
    ]
    twin = figures.get("twin")
    if twin and twin["instants"]:
        out.append(
            (
                "Mirror twin",
                f"reported {100 * twin['reported_share']:.1f} % of the time in twin places, "
                f"mean probability {twin['probability_mean']:.3f}",
            )
        )
    return out
