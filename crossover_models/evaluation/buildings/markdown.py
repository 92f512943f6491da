"""The benchmark's figures as a page: targets beside figures, case by case, and how every localizer was set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crossover_models.evaluation.buildings.peers import BUILT_IN
from crossover_models.evaluation.buildings.summary import FALSE_FIXES_PER_RUN_TARGET, TARGETS
from crossover_models.evaluation.buildings.table import CASE_COLUMNS, ROWS, cell, failures, target

# How each built-in localizer was set, and what it is given beyond odometry, lidar and plans.
HOW: Mapping[str, str] = {
    "crossover": "shipped settings and encoders; the camera too, and the map's embeddings",
    "amcl": "Probabilistic Robotics, tables 8.2 to 8.4: 20,000 particles over the free space of all levels, down to "
    "500 by KLD-sampling; random particles by fast and slow average likelihood; likelihood field over 60 beams of the "
    "newest sweep, their product to the power of 0.03; updated every 0.1 m or 0.1 rad; announced once 90 % of the "
    "weight have lain within 1 m and 30 deg, with 0.5 m of standard deviation, for 1 m of way, until less than half do",
    "likelihood-field": "the accumulated wall slice matched with all levels every 2 s, each time from scratch and "
    "exactly; the best pose is always announced",
    "likelihood-field-gated": "the same, announced only with a mean log-likelihood of -0.6 nat a return or more and "
    "0.1 nat before the second",
    "kiss-matcher": "1.0.2, every 3 s: the accumulated cloud (0.3 to 2.2 m high) with the map's scans of each level "
    "(an extruded plan where it has none); voxels of 0.15 m, yaw and translation; a match counts from five inliers on, "
    "as its authors say, and small_gicp refines it",
    "small-gicp": "1.0.1, point to plane with extruded plans: started every 2 m and 45 deg on all levels, then "
    "followed once a second, announced while 60 % of the points lie within 0.25 m of a wall (80 % to begin with), "
    "started anew else",
    "mrpt": "pf-localization of Debian's mrpt-apps 2.5.8: 40,000 particles over the free space of all levels laid side "
    "by side, KLD-sampling, likelihood field over 60 beams of the same scans as amcl; announced while the root of the "
    "covariance's trace is 0.5 or less; it states no probability, has no recovery, and draws another seed every time",
    "constant": "never announces anything",
    "random-place": "the middle of a random place, once a second",
}


def results_markdown(results: Mapping[str, Any]) -> str:
    """The whole page; every figure is one of the JSON's."""
    return "".join(f"{line}\n" for line in _lines(results))


def _lines(results: Mapping[str, Any]) -> Iterator[str]:
    localizers = results["localizers"]
    names = list(localizers)
    runs = next(iter(localizers.values()))["figures"]["runs"]
    yield "# Localization"
    yield ""
    yield (
        "Written by `crossover bench buildings --markdown`; every figure is from its JSON. Buildings and sensors are "
        f"**simulated**: {_count(runs, 'run')} in {_count(len(results['buildings']), 'building')} that nothing was "
        "trained or tuned on. "
        "All localizers answer the same bags (odometry, lidar) from the same maps, from a cold start over all levels "
        "of the right building, and are judged alike. A run that crashes, is late or writes garbage stays in every "
        "denominator as one without an answer. CPU time and memory are those of the whole process, starting up and "
        "reading the bag included, on one thread."
    )
    yield ""
    yield "## All runs"
    yield ""
    head = ["figure", "target", *names]
    yield _row(head)
    yield _row(["---", *["--:"] * (len(head) - 1)])
    for group in ROWS:
        for key, label, digits in group:
            cells = [_marked(localizers[name]["figures"], key, digits) for name in names]
            yield _row([label, target(key, digits), *cells])
    yield ""
    yield (
        "Bold: the target is met, by a localizer that announces anything at all. `-`: never happened, or the localizer "
        "states no such thing."
    )
    yield ""
    yield "## 95 % intervals of what has a target"
    yield ""
    method = results["intervals"]
    yield f"{method['method'].capitalize()}, {method['resamples']} resamples, seed {method['seed']}."
    yield ""
    yield _row(["figure", *names])
    yield _row(["---", *["--:"] * len(names)])
    for group in ROWS:
        for key, label, digits in group:
            if key in TARGETS or key == "false_fixes":
                intervals = [localizers[name]["intervals"].get(key) for name in names]
                yield _row([label, *(_interval(interval, digits) for interval in intervals)])
    yield ""
    yield "## Case by case"
    yield ""
    for case, text in results["cases"].items():
        yield f"- `{case}`: {text}"
    yield ""
    labels = [head.replace("\n", " ") for _, head, _ in CASE_COLUMNS]
    for name in names:
        yield f"### {name}"
        yield ""
        yield _row(["case", *labels])
        yield _row(["---", *["--:"] * len(labels)])
        for case, figures in localizers[name]["cases"].items():
            yield _row([case, *_case_cells(figures)])
        yield ""
    yield (
        "start: right (0.25 m, 5 deg, right level and place, held for 1 s) within 10 m of travel; way: to the first "
        "such fix; false: false fixes; again: found itself within 10 s after kidnapping or lift; place: named right "
        "over time; 2 sig: share of announced poses within the 95 % ellipse."
    )
    yield ""
    yield "## How each was set"
    yield ""
    for name in names:
        command = localizers[name]["command"]
        built_in = BUILT_IN.get(name) == command
        yield f"- **{name}**: {HOW[name] if built_in else f'`{command}`'}."
    failed = failures(results)
    skipped = [f"skipped {s['run']}: {s['reason']}" for s in results["skipped"]]
    if failed or skipped:
        yield ""
        yield "## What failed"
        yield ""
        for text in [*failed, *skipped]:
            yield f"- {text}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _case_cells(figures: Mapping[str, Any]) -> Iterator[str]:
    for key, _, digits in CASE_COLUMNS:
        value = figures.get(key)
        if key == "again":
            value = figures["lift_recovery"] if figures["kidnap_recovery"] is None else figures["kidnap_recovery"]
        yield "-" if value is None else f"{100.0 * value:.0f}" if digits == "%" else f"{value:.{digits}f}"


def _marked(figures: Mapping[str, Any], key: str, digits: int | str) -> str:
    text = cell(figures, key, digits)
    return f"**{text}**" if met(figures, key) else text


def met(figures: Mapping[str, Any], key: str) -> bool:
    """Whether a figure has a target and reaches it; who failed in every run, or never said anything, reaches none."""
    if figures["failed_runs"] == figures["runs"] or figures.get("abstained") == 1.0:
        return False
    value = figures.get(key)
    if key == "false_fixes":
        return bool(value <= FALSE_FIXES_PER_RUN_TARGET * figures["runs"])
    if key not in TARGETS or value is None:
        return False
    sign, wanted = TARGETS[key]
    return bool(value >= wanted if sign == ">=" else value <= wanted)


def _interval(interval: Sequence[float | None] | None, digits: int | str) -> str:
    if interval is None:
        return "-"
    low, high = (
        "inf" if end is None else f"{100.0 * end:.1f}" if digits == "%" else f"{end:.{digits}f}" for end in interval
    )
    return f"{low} to {high}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in cells)} |"
