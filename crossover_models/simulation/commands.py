"""``crossover simulate``: a run of the simulated robot through a map, as a rosbag2."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_command(subparsers: Any) -> None:
    """Add the command to the argparse subparsers object."""
    parser = subparsers.add_parser(
        "simulate",
        help="drive a simulated robot through a map and record a bag",
        description="Drive a simulated robot through a level of a map database. Writes a rosbag2 (MCAP) with lidar, "
        "camera, drifting odometry, TF and /clock, the true trajectory (ground_truth.txt, TUM) and run.json. The "
        "furniture it meets differs from the map's.",
    )
    parser.add_argument("database", type=Path, help="map database (.xmap)")
    parser.add_argument("--out", type=Path, required=True, help="directory to write; must not exist")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run of that name")
    parser.add_argument("--building", default="", help="building id; the map's first if empty")
    parser.add_argument("--level", default="", help="level id; the building's first if empty")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything drawn (default 0)")
    parser.add_argument("--duration", type=float, default=90.0, metavar="S", help="length of the run in s (default 90)")
    parser.add_argument("--speed", type=float, default=0.6, metavar="M_S", help="highest speed in m/s (default 0.6)")
    parser.add_argument("--lidar", action=argparse.BooleanOptionalAction, default=True, help="write /points")
    parser.add_argument("--camera", action=argparse.BooleanOptionalAction, default=True, help="write /camera/*")
    parser.add_argument("--kidnap-at", type=float, default=None, metavar="S", help="carry the robot elsewhere at S s")
    parser.add_argument("--lift-at", type=float, default=None, metavar="S", help="send it to another level at S s")
    parser.add_argument(
        "--doors-closed", type=float, default=None, metavar="SHARE", help="share of doors that are shut"
    )
    parser.add_argument("--doors-ajar", type=float, default=None, metavar="SHARE", help="share of the others left ajar")
    parser.add_argument("--settings", type=Path, default=None, help="YAML file with more settings of the run")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make one run and print what it holds."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.table import Table

    from crossover_models.map_database.store import MapDatabase
    from crossover_models.simulation.robot import STEP_S
    from crossover_models.simulation.run import simulate
    from crossover_models.simulation.settings import RunSettings

    cases = {
        "kidnap_at_s": arguments.kidnap_at,
        "lift_at_s": arguments.lift_at,
        "doors_closed": arguments.doors_closed,
        "doors_ajar": arguments.doors_ajar,
    }
    base = RunSettings() if arguments.settings is None else RunSettings.from_yaml(arguments.settings)
    settings = base.with_flat(
        {
            "seed": arguments.seed,
            "duration_s": arguments.duration,
            "speed_m_s": arguments.speed,
            "lidar": arguments.lidar,
            "camera": arguments.camera,
            **{name: value for name, value in cases.items() if value is not None},
        }
    )
    asked = {"kidnap": settings.kidnap_at_s, "lift": settings.lift_at_s}
    for kind, at_s in asked.items():
        if at_s >= settings.duration_s:
            raise ValueError(
                f"{kind}_at_s: {at_s:g} s is not before the end of the run (duration_s: {settings.duration_s:g} s)"
            )
    console = Console(stderr=True)
    columns = (
        TextColumn("simulating"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} s of the run"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console)
    task = bar.add_task("run", total=settings.duration_s)

    def report(done_s: float) -> None:
        # Shown only once there is progress, so that a refused run says nothing but why.
        bar.start()
        bar.update(task, completed=done_s)

    try:
        with MapDatabase.open(arguments.database) as database:
            result = simulate(
                database,
                arguments.out,
                settings,
                report,
                building=arguments.building,
                level=arguments.level,
                overwrite=arguments.overwrite,
            )
    finally:
        if bar.live.is_started:
            bar.stop()
    changes = result.changes
    table = Table(title=f"Simulated run in {result.directory}", show_header=False)
    table.add_row("distance", f"{result.distance_m:.1f} m")
    table.add_row("places visited", ", ".join(result.visited))
    table.add_row(
        "furniture",
        f"{changes.mapped} mapped: {changes.dropped} gone, {changes.moved} moved; {changes.added} unmapped added",
    )
    if result.events:
        happened = (f"{event.kind} to {event.to_level} at {event.step * STEP_S:.1f} s" for event in result.events)
        table.add_row("events", ", ".join(happened))
    table.add_row("messages", ", ".join(f"{topic} {count}" for topic, count in result.counts.items()))
    Console().print(table)
    for kind in asked:
        if asked[kind] and kind not in {event.kind for event in result.events}:
            print(
                f"{kind}_at_s: {asked[kind]:g} s: the run ended before it happened; lengthen duration_s",
                file=sys.stderr,
            )
    return 0
