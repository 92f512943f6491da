"""``crossover bench page``: docs/performance.md from the JSON files that the other benchmarks wrote."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Held = Mapping[str, Any]
NOT_MEASURED = "Not measured."


class PageError(ValueError):
    """A file of figures that cannot be read; the message names it."""


def add_command(subparsers: Any) -> None:
    """Add the command to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "page",
        help="write the page of performance from the JSON files of the other benchmarks",
        description="Reads index*.json, growth.json, sparse.json, latency.json, search.json, laser2d.json; a section "
        "whose file is not there says that it is not measured.",
    )
    parser.add_argument("--figures", type=Path, default=Path("build/bench"), help="folder of JSON files (build/bench)")
    parser.add_argument("--markdown", type=Path, default=Path("docs/performance.md"), help="page to write")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the page."""
    if not arguments.figures.is_dir():
        raise PageError(f"{arguments.figures}: no such folder")
    arguments.markdown.parent.mkdir(parents=True, exist_ok=True)
    text = page(arguments.figures)
    for picture in pictures(arguments.figures):
        shutil.copyfile(picture, arguments.markdown.parent / picture.name)
    arguments.markdown.write_text(text, encoding="utf-8")
    print(arguments.markdown)
    return 0


def pictures(folder: Path) -> list[Path]:
    """Plots that lie beside the figures of a section, under their name."""
    return [
        path.with_suffix(".png")
        for _, pattern, _ in SECTIONS
        for path in sorted(folder.glob(pattern))
        if path.with_suffix(".png").is_file()
    ]


def page(folder: Path) -> str:
    """The page as Markdown; it shows :func:`pictures` as if they lay beside it.

    Raises:
        PageError: a file is not JSON, or lacks what a section shows.
    """
    lines = ["# Performance", "", "Made by `make bench` from JSON files; do not edit.", ""]
    lines += [
        "Times depend on the machine and its load, which each section names; ratios were taken in turn on it.",
        "",
    ]
    for title, pattern, section in SECTIONS:
        lines += [f"## {title}", ""]
        paths = sorted(folder.glob(pattern))
        if not paths:
            lines += [NOT_MEASURED, ""]
            continue
        held = [_read(path) for path in paths]
        try:
            lines += [*section(held), ""]
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise PageError(f"{paths[0]}: not the figures of '{title}': {error}") from None
        for path in paths:
            if path.with_suffix(".png").is_file():
                lines += [f"![{title.lower()}]({path.stem}.png)", ""]
        for name in dict.fromkeys(_hardware(each) for each in held):
            lines += [name, ""]
    return "\n".join(lines).rstrip() + "\n"


def _read(path: Path) -> Held:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise PageError(f"{path}: cannot be read: {error}") from None
    if not isinstance(held, dict):
        raise PageError(f"{path}: expected an object")
    return held


def _hardware(held: Held) -> str:
    machine = held.get("hardware", held.get("machine"))
    if not isinstance(machine, dict):
        return "Hardware: not recorded."
    load = machine.get("load_average") or [float("nan")]
    cpu, cores = machine.get("cpu", "unknown"), machine.get("cores", "?")
    return f"Hardware: {cpu}, {cores} cores, load average {load[0]:.1f}; GPU: {machine.get('gpu') or 'none'}."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows)]


def _index(files: list[Held]) -> list[str]:
    head = ("places", "D", "kind", "recall@10", "p50 (ms)", "p99 (ms)", "over plain FAISS", "build, CPU (s)")
    rows = []
    for f in sorted(files, key=lambda f: (f["dimensions"], f["places"], f["kind"])):
        low, high = f["over_faiss_spread"]
        times = (f"{f['recall_at_10']:.3f}", f"{f['p50_ms']:.3f}", f"{f['p99_ms']:.2f}")
        ratio = f"{f['over_faiss']:.2f} ({low:.2f} to {high:.2f})"
        size = (f"{f['places']:,}", str(f["dimensions"]), f["kind"])
        disk = (f"{f['open_s'] * 1e3:.1f}", f"{f['bytes_per_place']:.0f}")
        rows.append((*size, *times, ratio, f"{f['build_cpu_s']:.0f}", *disk))
    unmeasured = [] if any(f["places"] >= 1_000_000 for f in files) else ["", "1M and 10M places: not measured here."]
    return [
        "Simulated codes with the spread of the shipped weights' codes; one thread. GPU: not measured.",
        "",
        *_table((*head, "open (ms)", "byte a place"), rows),
        *unmeasured,
    ]


def growth_table(files: list[Held]) -> list[str]:
    """Fitted exponents, a line a stage."""
    rows = [
        (
            *(row["stage"], row["against"], f"{row['sizes'][0]:g} to {row['sizes'][-1]:g}"),
            f"{row['seconds'][0]:.3g} to {row['seconds'][-1]:.3g}",
            *(f"{row['time_exponent']:.2f}", f"{row['memory_exponent']:.2f}", f"<= {row['limit']:g}"),
        )
        for row in files[0]["stages"]
    ]
    return _table(("stage", "against", "sizes", "CPU time (s)", "exponent, time", "exponent, memory", "target"), rows)


def _sparse(files: list[Held]) -> list[str]:
    every = [figures for by_backend in files[0]["voxels"].values() for figures in by_backend.values()]
    # Not all backends have all figures.
    keys = list(dict.fromkeys(k for figures in every for k, v in figures.items() if isinstance(v, (int, float))))
    rows = [
        (f"{int(size):,}", backend, *(_cell(figures.get(key)) for key in keys))
        for size, by_backend in files[0]["voxels"].items()
        for backend, figures in by_backend.items()
    ]
    return _table(("voxels", "backend", *(key.replace("_", " ") for key in keys)), rows)


def _latency(files: list[Held]) -> list[str]:
    f = files[0]
    whole = f["sensor_to_result_ms"]
    lines = [f"Sensor to result: p50 {_cell(whole['p50'])}, p95 {_cell(whole['p95'])}, p99 {_cell(whole['p99'])} ms; "]
    lines[0] += f"ROS over core {_cell(f['ros_over_core'])}; cores {_cell(f['cores'])}; "
    lines[0] += f"dropped {_cell(f['dropped']) or 'nothing'}."
    stages = f["stages"]
    rows = [(name, *(_cell(v.get(k)) for k in ("p50_ms", "p95_ms", "p99_ms"))) for name, v in stages.items() if v]
    return [*lines, "", *_table(("stage", "p50 (ms)", "p95 (ms)", "p99 (ms)"), rows)]


def _search(files: list[Held]) -> list[str]:
    f = files[0]
    rows = [
        (f"{r['area_m2']:.0f}", *(f"{r[k]:.3f}" for k in ("median_s", "worst_s")), f"{100 * r['right']:.0f}")
        for r in f["area"]
    ]
    head = ("area (m2)", "median (s)", "worst (s)", "right (%)")
    return [f"Simulated floors and scans; {f['device']}, {f['threads']} thread(s).", "", *_table(head, rows)]


def _laser(files: list[Held]) -> list[str]:
    f = files[0]
    keys = [key for key, value in f["pooled"].items() if isinstance(value, (int, float))]
    by_method = {"crossover": f, **{name: f[name] for name in ("likelihood_field_alone",) if name in f}}
    rows = [
        (data, method.replace("_", " "), *(_cell(figures[data].get(key)) for key in keys))
        for method, figures in by_method.items()
        for data, held in figures.items()
        if isinstance(held, dict) and "r_0_5" in held
    ]
    table = _table(("data", "method", *(key.replace("_", " ") for key in keys)), rows)
    return [*table, "", f"{f['note'][:1].upper()}{f['note'][1:]}."]


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(each)}" for key, each in value.items())
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value).replace("|", "/")


SECTIONS: tuple[tuple[str, str, Callable[[list[Held]], list[str]]], ...] = (
    ("Index over places", "index*.json", _index),
    ("Cost as work grows", "growth.json", growth_table),
    ("Sparse convolutions beside MinkowskiEngine", "sparse.json", _sparse),
    ("From sensor to result", "latency.json", _latency),
    ("Global search", "search.json", _search),
    ("Real 2D laser scans", "laser2d.json", _laser),
)
