"""``crossover bench growth``: time and memory of the online stages as work grows, with exponents fitted in log-log.

Everything is simulated. Time is CPU time of one thread, the median of repetitions; memory is the peak of what Python
and NumPy allocate (torch's own buffers are not seen). An exponent of 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any


class GrowthError(ValueError):
    """A size that cannot be measured; the message names it."""


def add_command(subparsers: Any) -> None:
    """Add the benchmark to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "growth",
        help="time and memory of the stages as cloud, views, rooms, levels and plan area grow",
        description="Times the stages over growing simulated input and fits exponents; draws a log-log plot beside the "
        "JSON file.",
    )
    parser.add_argument("--json", type=Path, required=True, help="file to write the figures to")
    parser.add_argument("--points", type=int, default=1_000_000, metavar="N", help="largest cloud (1000000)")
    parser.add_argument("--views", type=int, default=16, metavar="N", help="most views (16)")
    parser.add_argument("--rooms", type=int, default=100_000, metavar="N", help="most rooms (100000)")
    parser.add_argument("--levels", type=int, default=200, metavar="N", help="most levels (200)")
    parser.add_argument("--area", type=float, default=100_000.0, metavar="M2", help="largest plan, m2 (100000)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="repetitions (3)")
    parser.add_argument("--markdown", type=Path, help="write a table here too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover bench growth``."""
    from crossover_models.evaluation.growth_stages import STAGES
    from crossover_models.evaluation.index_cost import hardware

    most = {"points": arguments.points, "views": arguments.views, "rooms": arguments.rooms}
    most |= {"levels": arguments.levels, "m2": arguments.area}
    least = {"points": 10_000, "views": 1, "rooms": 10, "levels": 1, "m2": 100}
    for what, low in least.items():
        if not 4 * low <= most[what] <= 1e8:
            raise GrowthError(f"largest number of {what}: must be in {4 * low}..1e8, got {most[what]:g}")
    if arguments.repeat < 1:
        raise GrowthError(f"--repeat: must be at least 1, got {arguments.repeat}")
    rows = []
    for stage, against, prepare, limit in STAGES:
        rows.append(_measured(stage, against, prepare, _sizes(least[against], most[against]), arguments.repeat, limit))
    result = {"stages": rows, "hardware": hardware(), "note": "simulated; CPU time of one thread"}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    draw(rows, arguments.json.with_suffix(".png"))
    if arguments.markdown is not None:
        from crossover_models.evaluation.performance_page import growth_table

        arguments.markdown.parent.mkdir(parents=True, exist_ok=True)
        arguments.markdown.write_text("\n".join(growth_table([result])) + "\n", encoding="utf-8")
    _print(rows)
    return 0


def exponent(sizes: list[float], values: list[float]) -> float:
    """Slope of log value over log size by least squares; 0 where values are 0."""
    import numpy as np

    if min(values) <= 0.0:
        return 0.0
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _sizes(least: float, most: float) -> list[float]:
    """Five sizes, evenly in the logarithm."""
    import numpy as np

    return [float(round(size)) for size in np.geomspace(least, most, 5)]


def _measured(
    stage: str,
    against: str,
    prepare: Callable[[int], Callable[[], object]],
    sizes: list[float],
    repeat: int,
    limit: float,
) -> dict[str, Any]:
    import numpy as np

    seconds, memory = [], []
    for size in sizes:
        work = prepare(int(size))
        work()
        spent = []
        for _ in range(repeat):
            began = time.process_time()
            work()
            spent.append(time.process_time() - began)
        seconds.append(max(float(np.median(spent)), 1e-6))
        tracemalloc.start()
        try:
            work()
            memory.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return {
        "stage": stage,
        "against": against,
        "sizes": sizes,
        "seconds": seconds,
        "bytes": memory,
        # The upper end decides: below it, what a call costs anyhow hides the growth.
        "time_exponent": exponent(sizes[-3:], seconds[-3:]),
        "memory_exponent": exponent(sizes[-3:], [float(value) for value in memory[-3:]]),
        "limit": limit,
    }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Time and memory over size in log-log, a line a stage."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    for axis, key, label in zip(
        figure.subplots(1, 2), ("seconds", "bytes"), ("CPU time (s)", "memory (byte)"), strict=True
    ):
        for row in rows:
            slope = row["time_exponent" if key == "seconds" else "memory_exponent"]
            axis.loglog(row["sizes"], row[key], marker="o", label=f"{row['stage']} by {row['against']}: {slope:.2f}")
        axis.set(xlabel="size", ylabel=label)
        axis.grid(True, alpha=0.3)
        axis.legend(fontsize=7)
    figure.suptitle("Cost as work grows (simulated input)")
    figure.savefig(path, dpi=120)


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Exponents of growth (simulated, one thread)")
    for column in ("stage", "against", "smallest (s)", "largest (s)", "time", "memory", "target"):
        table.add_column(column)
    for row in rows:
        ends = (f"{row['seconds'][0]:.4f}", f"{row['seconds'][-1]:.4f}")
        slopes = (f"{row['time_exponent']:.2f}", f"{row['memory_exponent']:.2f}")
        table.add_row(row["stage"], row["against"], *ends, *slopes, f"<= {row['limit']:g}")
    Console().print(table)
