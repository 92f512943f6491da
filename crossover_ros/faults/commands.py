"""``crossover bench faults``: break everything around the nodes, and count what they survive."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from crossover_ros.faults.report import Report

PARTS = ("live", "fuzz", "memory", "node-memory")
RUN_S, TOLD_S = 40.0, 40.0
SHORT_MINUTES, LONG_MINUTES = 3.0, 60.0
LONG_FUZZ = 10.0


def add_command(benchmarks: Any) -> None:
    """Add the benchmark to the argparse subparsers object of ``crossover bench``."""
    parser = benchmarks.add_parser(
        "faults",
        help="break sensors, transforms, files and processes, and count what the nodes survive",
        description="Runs both nodes as processes over DDS with simulated sensors, breaks something, and checks that "
        "they live, answer, say what is wrong, announce no wrong pose, and work again afterwards; has mutated inputs "
        "read by everything that reads what others wrote; and replays for long, through the core and through the "
        "nodes, with an eye on memory. Limits of time assume a machine that is not busy with other work. Exit status "
        "1 if anything was not survived.",
    )
    parser.add_argument("--json", type=Path, required=True, help="file for the figures")
    parser.add_argument(
        "--out", type=Path, default=Path("build/faults"), help="directory for map, run and logs (build/faults)"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to do (everything)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PATTERN", help="live faults by name (repeatable)"
    )
    parser.add_argument("--readers", action="append", default=[], metavar="WORD", help="fuzzed readers by a word of it")
    parser.add_argument("--fuzz", type=float, default=0.0, metavar="FACTOR", help="share of the short form's inputs")
    parser.add_argument("--minutes", type=float, default=0.0, help="robot time of the replay, min")
    parser.add_argument("--long", action="store_true", help="an hour of replay, ten times the inputs")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations, the building and the run")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the suite; 1 if anything was not survived."""
    from rich.console import Console

    from crossover_ros.faults.report import Report, endurance_line, faults_table, fuzz_table

    console = Console()
    report = Report(arguments.long, arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    noted = Console(stderr=True)
    with Progress(*columns, console=noted, disable=not noted.is_terminal) as progress:
        if {"live", "memory", "node-memory"} & set(arguments.parts):
            _prepare(arguments, progress)
        if "live" in arguments.parts:
            _live(arguments, report, progress, noted)
        if "fuzz" in arguments.parts:
            _fuzz(arguments, report, progress, noted)
        if "memory" in arguments.parts:
            _memory(arguments, report, progress)
        if "node-memory" in arguments.parts:
            _node_memory(arguments, report, progress)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
    if report.verdicts:
        console.print(faults_table(report.verdicts))
    if report.fuzzed:
        console.print(fuzz_table(report.fuzzed))
        for outcome in report.fuzzed:
            for crash in outcome.crashes[:3]:
                console.print(f"{crash.target} {crash.index}: {crash.error}; again: {crash.repeat}", markup=False)
    if report.endurance is not None:
        console.print(endurance_line(report.endurance), markup=False)
    for name, endurance in report.node_endurance.items():
        console.print(endurance_line(endurance, f"the node {name}"), markup=False)
    console.print(
        f"{report.survived} of {report.cases} faults survived, {report.crashes} crashes of {report.fuzz_inputs:,} "
        f"mutated inputs (load average {os.getloadavg()[0]:.1f}): {arguments.json}",
        markup=False,
    )
    return 0 if report.survived == report.cases and not report.crashes else 1


def _prepare(arguments: argparse.Namespace, progress: Progress) -> None:
    """A building's map, another's, and a run through the first; kept for the next time."""
    from crossover_models.encoders import load_encoder
    from crossover_ros.demo_steps import DemoOptions, make_map, make_run

    encoder = load_encoder("", "cpu")
    others = (("other", arguments.seed + 5),) if "live" in arguments.parts else ()
    for folder, seed in (("own", arguments.seed), *others):
        path = arguments.out / folder
        path.mkdir(parents=True, exist_ok=True)
        options = DemoOptions(path, seed, RUN_S, levels=1, rooms_per_level=5, views=3)
        database = make_map(options, encoder, progress)
        if folder == "own":
            make_run(options, database, progress)


def _live(arguments: argparse.Namespace, report: Report, progress: Progress, noted: Console) -> None:
    from crossover_ros.demo_steps import MAP, RUN
    from crossover_ros.faults.endurance import resident_mb
    from crossover_ros.faults.recording import Recording
    from crossover_ros.faults.stand import Stand
    from crossover_ros.faults.suite import chosen, run_all
    from crossover_ros.faults.witness import NODES

    cases = chosen(arguments.only)
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if load > processors:
        noted.print(f"load average {load:.1f} on {processors} processors: limits of time may fail", markup=False)
    recording = Recording.open(arguments.out / "own" / RUN, TOLD_S)
    task = progress.add_task("live faults", total=len(cases))
    own, other = arguments.out / "own" / MAP, arguments.out / "other" / MAP
    with Stand(arguments.out / "stand", own, other, recording) as stand:
        stand.wait_until_ready()
        before = {name: (stand.pid(name), resident_mb(stand.pid(name))) for name in NODES}
        for verdict in run_all(stand, cases, lambda name: progress.update(task, description=name)):
            report.verdicts.append(verdict)
            progress.advance(task)
            if not noted.is_terminal:
                noted.print(f"{verdict.name}: {'survived' if verdict.survived else verdict.problems}", markup=False)
            for name, (pid, rss_mb) in before.items():
                if stand.alive(name) and stand.pid(name) == pid:
                    report.rss_mb[name] = (round(rss_mb, 1), round(resident_mb(pid), 1))


def _fuzz(arguments: argparse.Namespace, report: Report, progress: Progress, noted: Console) -> None:
    from crossover_ros.faults.fuzz.campaign import run_target
    from crossover_ros.faults.fuzz.targets import TARGETS

    wanted = [t for t in TARGETS if not arguments.readers or any(word in t.name for word in arguments.readers)]
    if not wanted:
        raise ValueError(
            f"--readers {' '.join(arguments.readers)}: none; known are {', '.join(t.name for t in TARGETS)}"
        )
    factor = arguments.fuzz or (LONG_FUZZ if arguments.long else 1.0)
    counts = {t.name: max(1, round(factor * t.share)) for t in wanted}
    task = progress.add_task("mutated inputs", total=sum(counts.values()))
    done = 0
    for target in wanted:

        def tell(name: str, at: int, _: int, before: int = done) -> None:
            progress.update(task, description=f"fuzz {name}", completed=before + at)

        outcome = run_target(target, arguments.seed, counts[target.name], tell)
        report.fuzzed.append(outcome)
        done += counts[target.name]
        if not noted.is_terminal:
            noted.print(f"{target.name}: {outcome.inputs} inputs, {len(outcome.crashes)} crashes", markup=False)


def _memory(arguments: argparse.Namespace, report: Report, progress: Progress) -> None:
    from crossover_ros.demo_steps import MAP, RUN
    from crossover_ros.faults.memory import endure

    minutes = arguments.minutes or (LONG_MINUTES if arguments.long else SHORT_MINUTES)
    task = progress.add_task("accelerated replay (min)", total=minutes)
    folder = arguments.out / "own"
    report.endurance = endure(
        folder / RUN,
        folder / MAP,
        minutes,
        lambda minute, mb: progress.update(task, completed=minute, description=f"replay, {mb:.0f} MB"),
    )


def _node_memory(arguments: argparse.Namespace, report: Report, progress: Progress) -> None:
    from crossover_ros.demo_steps import MAP, RUN
    from crossover_ros.faults.live_endurance import endure_live
    from crossover_ros.faults.recording import Recording

    minutes = arguments.minutes or (LONG_MINUTES if arguments.long else SHORT_MINUTES)
    task = progress.add_task("accelerated replay, nodes (min)", total=minutes)
    folder = arguments.out / "own"
    report.node_endurance = endure_live(
        arguments.out / "lasting",
        folder / MAP,
        Recording.open(folder / RUN, TOLD_S),
        minutes,
        lambda minute, mb: progress.update(task, completed=minute, description=f"nodes, {mb:.0f} MB"),
    )
