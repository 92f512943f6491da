"""``crossover bench buildings``: localizers in known buildings, all on the same simulated runs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from crossover_models.evaluation.buildings.cases import (
    CASES,
    DEFAULT_BUILDINGS,
    DEFAULT_RUNS,
    FIRST_SEED,
    KINDS,
    CaseError,
    PlannedRun,
    parse_building,
    plan_runs,
)
from crossover_models.evaluation.buildings.peers import ALL, BUILT_IN, Peer, PeerError
from crossover_models.threads import use_threads

DEFAULT_OUT = Path("build/bench-buildings")
QUICK_BUILDING = f"procedural:{FIRST_SEED}:1:3"
QUICK_S = 8.0
RESULTS = "results.json"


def add_command(subparsers: Any) -> None:
    """Add the benchmark to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "buildings",
        help="localize robots in known buildings: cold starts, kidnappings, look-alikes, bad plans",
        description="Simulate runs through buildings, let every localizer answer the same bags from the same maps, and "
        "judge the answers against a truth that is not handed out. Resumes where it was interrupted.",
        epilog="A localizer is a shell command with {bag} (rosbag2 folder), {database} (map) and {out} (folder), "
        "which writes trajectory.txt (TUM, announced poses) and places.jsonl into {out}; {python} is this interpreter. "
        f"Built in: {', '.join(BUILT_IN)}. KISS-Matcher and small_gicp come with the extra 'peers', MRPT as Debian's "
        "mrpt-apps; a localizer that is not installed fails all its runs and says so.",
    )
    parser.add_argument(
        "--buildings", nargs="+", metavar="SPEC", help=f"{KINDS}; default: {' '.join(DEFAULT_BUILDINGS)}"
    )
    parser.add_argument("--cases", nargs="+", metavar="NAME", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument(
        "--runs", type=int, default=DEFAULT_RUNS, metavar="N", help=f"a case and building ({DEFAULT_RUNS})"
    )
    parser.add_argument("--seed", type=int, default=0, help="of runs, defects and bootstrap (default 0)")
    parser.add_argument("--duration", type=float, metavar="S", help="of every run; default: by case, 30 to 60 s")
    parser.add_argument(
        "--localizer",
        action="append",
        default=[],
        metavar="CMD",
        help="command, or the name of a built-in one; repeatable; default: crossover",
    )
    parser.add_argument("--name", action="append", default=[], help="of each --localizer, in their order")
    parser.add_argument("--peers", choices=("all",), help=f"all: {', '.join(ALL)}, before any --localizer")
    parser.add_argument(
        "--timeout", type=float, metavar="S", help="of a run; default: 10 times its length, 120 at least"
    )
    parser.add_argument("--retry-failed", action="store_true", help="ask localizers again that failed on a run")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"maps, bags, answers, pictures ({DEFAULT_OUT})")
    parser.add_argument("--json", type=Path, help="write the figures to this file too; - for stdout")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file, for people")
    parser.add_argument("--quick", action="store_true", help=f"one run of {QUICK_S:.0f} s in a small building")
    parser.add_argument("--list", action="store_true", help="only name buildings, cases and runs")
    parser.set_defaults(run=run, resumes=True)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover bench buildings``."""
    from rich.console import Console

    console = Console(stderr=str(arguments.json) == "-")
    plan = _plan(arguments)
    peers = _peers(arguments.localizer, arguments.name, arguments.peers == "all")
    if arguments.timeout is not None and not 0.0 < arguments.timeout < 1e6:
        raise PeerError(f"--timeout: must be positive, got {arguments.timeout:g}")
    if arguments.list:
        _list(plan, console)
        return 0
    found = _measure(arguments, plan, peers)
    from crossover_models.evaluation.buildings.table import cases_table, failures, localizers_tables

    text = json.dumps(found, indent=2, allow_nan=False) + "\n"
    _write(arguments.out / RESULTS, text)
    for table in localizers_tables(found):
        console.print(table)
    for peer in peers:
        console.print(cases_table(found, peer.name))
    for text in failures(found):
        console.print(text, markup=False, soft_wrap=True)
    for skipped in found["skipped"]:
        console.print(f"skipped {skipped['run']}: {skipped['reason']}", markup=False, soft_wrap=True)
    if arguments.markdown is not None:
        from crossover_models.evaluation.buildings.markdown import results_markdown

        _write(arguments.markdown, results_markdown(found))
    console.print(f"figures in {arguments.out / RESULTS}", markup=False, soft_wrap=True)
    if str(arguments.json) == "-":
        sys.stdout.write(text)
    elif arguments.json is not None:
        _write(arguments.json, text)
    return 0


def _plan(arguments: argparse.Namespace) -> tuple[PlannedRun, ...]:
    if arguments.duration is not None and not 4.0 <= arguments.duration <= 7200.0:
        raise CaseError(f"--duration: expected 4 to 7200 s, got {arguments.duration:g}")
    if arguments.seed < 0:
        raise CaseError(f"--seed: must not be negative, got {arguments.seed}")
    names, cases = arguments.buildings, arguments.cases or list(CASES)
    runs, duration_s = arguments.runs, arguments.duration
    if arguments.quick:
        names, cases = names or [QUICK_BUILDING], arguments.cases or ["nominal"]
        runs, duration_s = 1, duration_s or QUICK_S
    return plan_runs(
        [parse_building(name) for name in names or DEFAULT_BUILDINGS], cases, runs, arguments.seed, duration_s
    )


def _peers(commands: list[str], names: list[str], every: bool = False) -> tuple[Peer, ...]:
    """Localizers of the command line; ``every`` puts those of --peers all before them, each once."""
    if len(names) > len(commands):
        raise PeerError(f"--name {names[len(commands)]}: more names than localizers")
    peers = [Peer(name, BUILT_IN[name]) for name in ALL] if every else []
    given = [command for command in commands if not every or command not in ALL]
    if every and names and len(given) < len(commands):
        raise PeerError("--name: with --peers all, its localizers keep their own names")
    for k, command in enumerate(given if commands or every else ["crossover"]):
        name = names[k] if k < len(names) else command if command in BUILT_IN else f"localizer-{k + 1}"
        peers.append(Peer(name, BUILT_IN.get(command, command)))
    if len({peer.name for peer in peers}) != len(peers):
        raise PeerError(f"--name: a name occurs twice: {', '.join(peer.name for peer in peers)}")
    return tuple(peers)


def _list(plan: tuple[PlannedRun, ...], console: Any) -> None:
    from rich.table import Table

    cases = Table(title="Cases", title_justify="left")
    cases.add_column("case", no_wrap=True)
    cases.add_column("what is done", overflow="fold")
    cases.add_column("length (s)", justify="right")
    for case in dict.fromkeys(run.case.name for run in plan):
        one = next(run for run in plan if run.case.name == case)
        cases.add_row(case, one.case.text, f"{one.settings['duration_s']:.0f}")
    console.print(cases)
    runs = Table(title=f"{len(plan)} runs: building, case and number", title_justify="left")
    runs.add_column("building", overflow="fold")
    runs.add_column("runs", overflow="fold")
    runs.add_column("number", justify="right")
    for building in dict.fromkeys(str(run.building) for run in plan):
        names = [run.name for run in plan if str(run.building) == building]
        runs.add_row(building, " ".join(names), str(len(names)))
    console.print(runs)


def _measure(arguments: argparse.Namespace, plan: tuple[PlannedRun, ...], peers: tuple[Peer, ...]) -> dict[str, Any]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from crossover_models.encoders import load_encoder
    from crossover_models.evaluation.buildings.picture import draw_buildings
    from crossover_models.evaluation.buildings.recordings import Recorder
    from crossover_models.evaluation.buildings.runner import results, run_benchmark

    use_threads(1)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("buildings", total=len(plan) * len(peers))
        recorder = Recorder(arguments.out, load_encoder, lambda text: bar.update(task, description=escape(text)))
        benchmark = run_benchmark(
            plan,
            peers,
            recorder,
            arguments.out,
            timeout_s=arguments.timeout,
            retry_failed=arguments.retry_failed,
            progress=lambda _: bar.advance(task),
        )
        bar.update(task, description="intervals")
        found = results(benchmark, plan, peers, arguments.seed)
        found["pictures"] = draw_buildings(benchmark, plan, arguments.out)
    return found


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
