"""The ``crossover`` command line: everything that is not a node.

Each command lives beside its code as ``add_command(subparsers)``, which sets ``run``: a function from the parsed
arguments to an exit status, and ``resumes`` where repeating it goes on with what was interrupted. What a user did wrong
is one line on stderr and status 2; an interrupt is 130.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from crossover_models import __version__

# Modules that must import in milliseconds: torch, faiss and ifcopenshell are imported when a command runs.
COMMANDS = (
    "crossover_models.map_database.commands",
    "crossover_models.simulation.commands",
    "crossover_models.dataset.commands",
    "crossover_models.training.commands",
    "crossover_models.evaluation.suite.commands",
    "crossover_models.reference.commands",
)
BENCHMARKS = (
    "crossover_models.evaluation.laser2d",
    "crossover_models.evaluation.search_cost",
    "crossover_models.evaluation.index_cost",
    "crossover_models.evaluation.growth",
    "crossover_models.evaluation.performance_page",
    "crossover_models.evaluation.plan_defects",
    "crossover_models.evaluation.buildings.commands",
    "crossover_models.evaluation.sparse_convolution",
    "crossover_models.fleet.bench",
)

AddCommand = Callable[[Any], None]


def add_commands(subparsers: Any, benchmarks_beside: Sequence[AddCommand] = ()) -> None:
    """Add every command of the core to an argparse subparsers object, and benchmarks that need more than the core."""
    for name in COMMANDS:
        import_module(name).add_command(subparsers)
    bench = subparsers.add_parser("bench", help="measure something and write it as JSON")
    benchmarks = bench.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    for name in BENCHMARKS:
        import_module(name).add_command(benchmarks)
    for add_benchmark in benchmarks_beside:
        add_benchmark(benchmarks)


def build_parser(extra: Sequence[AddCommand] = (), benchmarks: Sequence[AddCommand] = ()) -> argparse.ArgumentParser:
    """The whole parser; ``extra`` and ``benchmarks`` add what needs more than the core (the nodes)."""
    parser = argparse.ArgumentParser(
        prog="crossover", description="Say where a robot is in a known building, from whatever it has."
    )
    parser.add_argument("--version", action="version", version=f"crossover {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_commands(subparsers, benchmarks)
    for add_command in extra:
        add_command(subparsers)
    return parser


def main(
    argv: Sequence[str] | None = None, extra: Sequence[AddCommand] = (), benchmarks: Sequence[AddCommand] = ()
) -> int:
    """Run one command and return its exit status."""
    arguments = build_parser(extra, benchmarks).parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        how = "; repeat the command to go on" if getattr(arguments, "resumes", False) else ""
        print(f"crossover {arguments.command}: interrupted{how}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except (ValueError, OSError) as error:
        print(f"crossover {arguments.command}: {error}", file=sys.stderr)
        return 2
