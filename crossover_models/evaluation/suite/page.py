"""``docs/results.md``: the JSON's figures for people, and nothing that is not in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crossover_models.evaluation.suite.sheets import (
    ABOUT,
    COLUMNS,
    TITLES,
    Sheet,
    against,
    by_method,
    gain,
    in_full,
    lost,
    wanted,
)

_ORDER = ("pairs", "robot", "missing", "instance", "category", "intra", "temporal_scene", "temporal_instance")


def page(found: Mapping[str, Any], pictures: Sequence[tuple[str, str]] = ()) -> str:
    """Markdown of everything that was evaluated.

    Args:
        found: what :func:`evaluate` returned, or the same from a JSON file.
        pictures: title and path relative to the page.
    """
    out = ["# Results", "", *_head(found)]
    if found["targets"]:
        out += _section("Targets", wanted(found))
    for key in _ORDER:
        if key not in found:
            continue
        out += ["", f"## {TITLES[key]}", "", ABOUT[key]]
        if key == "missing":
            out += _markdown(lost(found))
            continue
        out += _markdown(by_method(found, key, mean="mean" if key == "pairs" else ""))
        if key == "pairs" and found.get("comparisons"):
            out += ["", *_paragraph(against(found))]
        if key == "robot":
            out += ["", *_paragraph(gain(found))]
        if len(COLUMNS[key]) > 1:
            out += ["", "<details><summary>All figures</summary>", *_markdown(in_full(found, key)), "", "</details>"]
    if "ablation" in found:
        out += _section("Ablation", by_method(found, "ablation", "r1", mean="ablation_mean"))
    if pictures:
        out += ["", "## Pictures"]
        for title, path in pictures:
            out += ["", f"**{title}**", "", f"![{title}]({path})"]
    return "\n".join(out) + "\n"


def _head(found: Mapping[str, Any]) -> list[str]:
    methods = dict(found["methods"]) | dict(found.get("ablation_methods", {}))
    told = found.get("provenance", {})
    places = "every scan" if found["rescans_are_places"] else "each room once, by its first scan"
    lines = [
        f"Written by `{told.get('command', 'crossover eval')}`; every figure is from its JSON."
        + (" All data are **simulated**." if told.get("simulated") else ""),
        "",
        f"- Split `{found['split']}`: {found['rooms']} rooms, {found['scans']} scans ({found['rescans']} rescans). "
        f"Galleries: {places} ({found['places']} places).",
        f"- In brackets: {found['bootstrap']}, {found['resamples']} resamples, seed {found['seed']}. With several "
        "seeds of a method: their mean, ± standard deviation between them.",
        "- Ranks count ties against the query. What the data have and a method lacks is answered last, not left out. "
        "`-`: the method cannot compare the two.",
        "- Temporal scenes are listed as the reference's code lists them."
        if found["legacy"]
        else "- Recalls are by rank.",
        "",
        "| method | kind | checkpoints | never contrasted in training |",
        "|---|---|---|---|",
    ]
    for name, facts in methods.items():
        files = ", ".join(f"`{file}`" for file in facts["checkpoints"]) or "-"
        apart = ", ".join(dict.fromkeys("-".join(sorted(pair.split("-"))) for pair in facts["emergent"])) or "-"
        lines.append(f"| {_plain(name)} | {facts['kind']} | {files} | {apart} |")
    return lines


def _section(title: str, sheet: Sheet) -> list[str]:
    return ["", f"## {title}", *_markdown(sheet)]


def _paragraph(sheet: Sheet) -> list[str]:
    return [f"**{sheet.title}**", *_markdown(sheet)]


def _markdown(sheet: Sheet) -> list[str]:
    named = 2 if sheet.columns[1:2] == ("method",) else 1
    out = ["", f"| {' | '.join(map(_plain, sheet.columns))} |"]
    out.append("|" + "|".join("---" if i < named else "--:" for i in range(len(sheet.columns))) + "|")
    for g, group in enumerate(sheet.groups):
        for r, row in enumerate(group):
            cells = [f"**{_plain(t)}**" if (g, r, c) in sheet.best else _plain(t) for c, t in enumerate(row)]
            out.append(f"| {' | '.join(cells)} |")
    return [*out, "", _plain(sheet.note)] if sheet.note else out


def _plain(text: str) -> str:
    """Markdown's signs as themselves."""
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
