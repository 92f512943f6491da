"""Tables as plain text cells, from the values of the JSON alone: the terminal and the page show the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossover_models.evaluation.suite.measure import ANY, MISSING_QUERIES, NOTHING
from crossover_models.evaluation.suite.methods import CHANCE
from crossover_models.evaluation.tasks.method import MAP_ITEMS, ROBOT_ITEMS

EMERGENT = "*"
NOTE = f"{EMERGENT} emergent: the two were never contrasted in this method's training"
_MANY = 4
_TEMPORAL = ("scene_r25", "scene_r50", "scene_r75", "all", "static", "dynamic")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "pairs": ("r1", "r5", "r10", "r20"),
    "instance": ("r1", "r3", "scene_r25", "scene_r50", "scene_r75"),
    "category": ("r1", "r5", "r10"),
    "intra": ("r1", "r3", "r5"),
    "temporal_scene": ("r1", "r5", "r10"),
    "temporal_instance": _TEMPORAL,
    "robot": ("r1", "r5", "r10"),
}
"""Task's key in the JSON -> figures shown; the first one stands for the task."""
MAIN = {name: columns[0] for name, columns in COLUMNS.items()} | {"temporal_instance": "all", "missing": "r1"}
TITLES = {
    "pairs": "Scene retrieval",
    "instance": "Instance retrieval",
    "category": "Category recall",
    "intra": "Intra-category retrieval",
    "temporal_scene": "Temporal scene retrieval",
    "temporal_instance": "Temporal instance matching",
    "missing": "Places with a modality lost",
    "robot": "What a robot sees against a map",
}
ABOUT = {
    "pairs": "The own scan among all places that have both modalities.",
    "instance": "The own object among those of its scan; scene R@25: share of scans with a quarter of them right.",
    "category": "Another scan of the same type of room; the own scan is taken out.",
    "intra": "The own scan among those of its type of room; mean over types.",
    "temporal_scene": "A later scan of the room, after things moved, among all scans but the own one.",
    "temporal_instance": "A scan's objects in its rescan; recall over all, unmoved and moved objects.",
    "missing": "A query against places with every other modality, with one of them lost, and with one lost at random.",
    "robot": "I1: one frame. I10: ten contiguous frames. Pd: the cloud of a short drive; on another day than the map.",
}


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        title: what it shows.
        note: what its signs mean.
        columns: heads, the first over the rows' names.
        groups: rows, in groups that belong together.
        best: (group, row, column) of the cells to mark.
    """

    title: str
    note: str
    columns: tuple[str, ...]
    groups: tuple[tuple[tuple[str, ...], ...], ...]
    best: frozenset[tuple[int, int, int]] = frozenset()


def figure_name(key: str) -> str:
    """Head of a figure's column."""
    if key.startswith("scene_r"):
        return f"scene R@{key[7:]} (%)"
    return f"R@{key[1:]} (%)" if key[0] == "r" and key[1:].isdigit() else f"{key} (%)"


def cell(figures: Mapping[str, Any], name: str, brief: bool = False) -> str:
    """``41.2 ±0.8 (36-47)``: value, spread over seeds if there are several, 95 % interval; in percent.

    ``brief`` leaves only the value.
    """
    value = figures.get(name)
    if value is None:
        return "-"
    spread, interval = figures.get(f"{name}_spread"), figures.get(f"{name}_interval")
    out = f"{100 * value:.1f}"
    if spread is not None and not brief:
        out += f" ±{100 * spread:.1f}"
    if interval is not None and not brief:
        low, high = (f"{100 * end:.0f}" for end in interval)
        out += f" ({low} to {high})" if low.startswith("-") or high.startswith("-") else f" ({low}-{high})"
    return out


def by_method(found: Mapping[str, Any], key: str, figure: str | None = None, mean: str = "") -> Sheet:
    """A row a pair, a column a method: one figure; ``mean`` is the key of a last row of means."""
    rows, figure = found[key], figure or MAIN[key]
    methods = list(next(iter(rows.values()))) if rows else []
    lines, marks = [], set()
    for number, (pair, row) in enumerate(rows.items()):
        lines.append((pair, *(_marked(row[m], figure) if m in row else "-" for m in methods)))
        marks |= {(0, number, 1 + column) for column in _best([row.get(m, {}).get(figure) for m in methods[:-1]])}
    groups = [tuple(lines)]
    if mean:
        means = found[mean]
        groups.append((("mean", *(_mean_cell(means.get(m, {}), figure, len(rows)) for m in methods)),))
        apart = [_mean_cell(means.get(m, {}).get("emergent", {}), figure, None) for m in methods]
        if any(one != "-" for one in apart):
            groups[-1] += (("mean of emergent", *apart),)
    title = f"{TITLES.get(key, key.capitalize())}: {figure_name(figure)}"
    return Sheet(title, _note(groups), ("query-gallery", *methods), tuple(groups), frozenset(marks))


def in_brief(found: Mapping[str, Any], key: str, mean: str = "", query: str = "") -> Sheet:
    """A row a method, a column a pair, without intervals: what fits a terminal when there are many methods.

    ``query``: only the pairs that it asks.
    """
    rows = {pair: row for pair, row in found[key].items() if not query or pair.split("-")[0] == query}
    figure = MAIN[key]
    methods = list(next(iter(rows.values()))) if rows else []
    best = {pair: _best([row.get(m, {}).get(figure) for m in methods[:-1]]) for pair, row in rows.items()}
    lines, marks = [], set()
    for number, method in enumerate(methods):
        cells = [_marked(row.get(method, {}), figure, brief=True) for row in rows.values()]
        last = (cell(found[mean].get(method, {}), figure, brief=True),) if mean else ()
        lines.append((method, *cells, *last))
        marks |= {(0, number, 1 + column) for column, winners in enumerate(best.values()) if number in winners}
    heads = ("method", *rows, *(("mean",) if mean else ()))
    return Sheet(f"{TITLES[key]}: {figure_name(figure)}", _note([lines]), heads, (tuple(lines),), frozenset(marks))


def in_full(found: Mapping[str, Any], key: str) -> Sheet:
    """A group a pair, a row a method, a column a figure."""
    names = COLUMNS[key]
    groups = []
    for pair, row in found[key].items():
        lines = [
            (
                pair if i == 0 else "",
                f"{m}{EMERGENT if f.get('emergent') else ''}",
                *(cell(f, n) for n in names),
                str(f["n"]),
            )
            for i, (m, f) in enumerate((m, f) for m, f in row.items() if f["n"])
        ]
        if lines:
            groups.append(tuple(lines))
    heads = ("query-gallery", "method", *(figure_name(n) for n in names), "n")
    return Sheet(TITLES[key], _note(groups), heads, tuple(groups))


def lost(found: Mapping[str, Any], brief: bool = False) -> Sheet:
    """A group a query, a row a method: R@1 with everything, and with each modality lost; ``brief``: no intervals."""
    kinds = (NOTHING, *MAP_ITEMS, ANY)
    groups = []
    for query in MISSING_QUERIES:
        lines: list[tuple[str, ...]] = []
        for method, whole in found["missing"][f"{query} {NOTHING}"].items():
            if whole.get("r1") is None or method == CHANCE:
                continue
            worst = found["missing_loss"][query][method]
            share = worst[worst["worst"]]["r1_loss"] if worst["worst"] else None
            cells = [cell(found["missing"][f"{query} {k}"][method], "r1", brief) for k in kinds]
            lines.append((query if not lines else "", method, *cells, "-" if share is None else f"{100 * share:.0f}"))
        if lines:
            groups.append(tuple(lines))
    heads = ("query", "method", "all (%)", *(f"no {m} (%)" for m in MAP_ITEMS), "one at random (%)", "worst loss (%)")
    return Sheet(f"{TITLES['missing']}: R@1", "worst loss: share of R@1 lost with one modality", heads, tuple(groups))


def gain(found: Mapping[str, Any]) -> Sheet:
    """Ten contiguous frames against one: a row a method, a column a gallery."""
    rows = found["robot_gain"]
    methods = list(dict.fromkeys(m for row in rows.values() for m in row))
    lines = tuple((m, *(cell(row.get(m, {}), "r1_gain") for row in rows.values())) for m in methods)
    title = "What nine more frames gain (I10 less I1): R@1, points of percent"
    return Sheet(title, "", ("method", *(f"against {gallery}" for gallery in rows)), (lines,))


def against(found: Mapping[str, Any]) -> Sheet:
    """Each method against the faithful model."""
    lines = []
    for name, row in found["comparisons"].items():
        ends = row["r1_ratio_interval"]
        ratio = "-" if row["r1_ratio"] is None else f"{row['r1_ratio']:.2f}"
        ratio += "" if ends is None else f" ({ends[0]:.2f}-{ends[1]:.2f})"
        lines.append(
            (
                name.rpartition("/")[0],
                ratio,
                cell(row, "r1_difference"),
                str(len(row["pairs"])),
                ", ".join(row["not_above"]) or "none",
            )
        )
    heads = ("method", "mean R@1, ratio", "difference (points)", "pairs", "pairs not above")
    return Sheet("Against the faithful model, over the pairs that both compare", "", heads, (tuple(lines),))


def wanted(found: Mapping[str, Any]) -> Sheet:
    """Targets."""
    lines = [
        (row["target"], f"{row['wanted']:.3g}", f"{row['reached']:.3g}", "yes" if row["met"] else "no")
        for row in found["targets"]
    ]
    return Sheet("Targets", "", ("target", "wanted", "reached", "met"), (tuple(lines),))


def sheets(found: Mapping[str, Any]) -> Iterable[Sheet]:
    """What the terminal shows, in order."""
    many = len(found["methods"]) > _MANY
    for key in (key for key in MAIN if key in found):
        mean = "mean" if key == "pairs" else ""
        if key == "missing":
            yield lost(found, brief=True)
        elif many:
            yield from (in_brief(found, key, mean, query) for query in (ROBOT_ITEMS if key == "robot" else ("",)))
        else:
            yield by_method(found, key, mean=mean)
        if key == "robot":
            yield gain(found)
    if "ablation" in found:
        yield by_method(found, "ablation", "r1", mean="ablation_mean")
    if found.get("comparisons"):
        yield against(found)
    if found["targets"]:
        yield wanted(found)


def _marked(figures: Mapping[str, Any], figure: str, brief: bool = False) -> str:
    text = cell(figures, figure, brief)
    return text + EMERGENT if figures.get("emergent") and text != "-" else text


def _mean_cell(figures: Mapping[str, Any], figure: str, pairs: int | None) -> str:
    text = cell(figures, figure)
    count = figures.get("pairs")
    return (
        f"{text} of {count}" if text != "-" and pairs is not None and isinstance(count, int) and count < pairs else text
    )


def _note(groups: Sequence[Sequence[tuple[str, ...]]]) -> str:
    marked = any(text.endswith(EMERGENT) for group in groups for row in group for text in row)
    return NOTE if marked else ""


def _best(values: Sequence[float | None]) -> list[int]:
    known = [v for v in values if v is not None]
    return [i for i, v in enumerate(values) if known and len(values) > 1 and v == max(known) and v > 0.0]
