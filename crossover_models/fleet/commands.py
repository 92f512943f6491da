"""``crossover map publish`` and ``crossover map pull``: a fleet's master and the copies of its robots."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossover_models.fleet.pull import Pulled


def add_map_commands(commands: Any) -> None:
    """Add both to the subparsers of ``crossover map``."""
    publish = commands.add_parser("publish", help="bring buildings of a database to the fleet's master")
    publish.add_argument("database", type=Path)
    publish.add_argument("--to", required=True, metavar="URI", help="a folder, or s3://BUCKET/PREFIX")
    publish.add_argument("--building", nargs="+", default=[], metavar="ID", help="default: all of the file")
    publish.add_argument(
        "--objects-only", action="store_true", help="only what robots read, no Lance table (needs no extra)"
    )
    publish.add_argument(
        "--check", action="store_true", help="read objects that are there already, repair damaged ones"
    )
    publish.add_argument(
        "--change-encoder", action="store_true", help="replace what another encoder made; its robots will refuse it"
    )
    publish.set_defaults(run=run_publish)

    pull = commands.add_parser("pull", help="bring a robot's database up to date; only what changed travels")
    pull.add_argument("--from", required=True, dest="uri", metavar="URI", help="a folder, http(s):// or s3://")
    pull.add_argument("--building", nargs="+", default=[], metavar="ID", help="default: those that the file holds")
    pull.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the robot's database, replaced as a whole"
    )
    pull.add_argument("--change-encoder", action="store_true", help="accept what another encoder than the file's made")
    pull.add_argument("--every", type=float, default=0.0, metavar="SECONDS", help="go on, and pull this often")
    pull.add_argument(
        "--exec", default="", dest="command", metavar="COMMAND",
        help="run this after the file changed, for instance a call of the localizer's service load_database",
    )  # fmt: skip
    pull.set_defaults(run=run_pull, resumes=True)


def run_publish(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover map publish``."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from crossover_models.fleet.master import Master
    from crossover_models.fleet.publish import publish
    from crossover_models.fleet.stores import open_store

    master = None if arguments.objects_only else Master(arguments.to)
    store = open_store(arguments.to, write=True)
    console = Console(stderr=True, markup=False)
    with console.status("publish") as status:
        done = publish(
            arguments.database, store, master, arguments.building, arguments.change_encoder, arguments.check,
            lambda building_id: status.update(Text(f"publish {building_id}")),
        )  # fmt: skip
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("building", overflow="fold")
    for name in ("written\n(kB)", "whole\n(kB)", "levels\nwritten", "levels", "rows of\nthe master", "content"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in done:
        rows = "-" if one.master_rows is None else str(one.master_rows)
        sizes = (f"{one.written / 1e3:.1f}", f"{one.whole / 1e3:.1f}")
        table.add_row(Text(one.building_id), *sizes, str(one.levels_written), str(one.levels), rows, one.digest)
    Console(markup=False, emoji=False).print(table)
    return 0


def run_pull(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover map pull``."""
    command = shlex.split(arguments.command)
    if not arguments.every >= 0.0:
        raise ValueError(f"--every {arguments.every:g}: must be 0 (once) or more seconds")
    if not arguments.every:
        _once(arguments, command)
        return 0
    while True:
        began = time.monotonic()
        try:
            _once(arguments, command)
        except (ValueError, OSError) as error:
            # The robot goes on with what it has; a network comes back.
            print(f"crossover map: {error}", file=sys.stderr, flush=True)
        time.sleep(max(0.0, arguments.every - (time.monotonic() - began)))


def _once(arguments: argparse.Namespace, command: list[str]) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from crossover_models.fleet.pull import pull
    from crossover_models.fleet.sources import ObjectSource
    from crossover_models.fleet.stores import open_store

    console = Console(stderr=True, markup=False)
    columns = (TextColumn("fetch"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("fetch", total=None)
        done = pull(
            ObjectSource(open_store(arguments.uri)), arguments.out, arguments.building, arguments.change_encoder,
            lambda count, total: progress.update(task, completed=count, total=total),
        )  # fmt: skip
    print(describe(done, arguments.out), flush=True)
    if done.changed and command:
        status = subprocess.run(command, check=False).returncode
        if status:
            raise ValueError(f"--exec {command[0]}: failed with status {status}; {arguments.out} is up to date")


def describe(done: Pulled, out: Path) -> str:
    """One line for one pull."""
    held = ", ".join(done.building_ids)
    share = 100.0 * done.received / done.whole
    travelled = f"{done.received / 1e3:.1f} of {done.whole / 1e3:.1f} kB ({share:.2g} %) in {done.seconds:.2f} s"
    if not done.changed:
        return f"{out}: up to date ({held}); {travelled}"
    resumed = f", {done.units_resumed} kept from an interrupted pull" if done.units_resumed else ""
    return f"{out}: replaced ({held}); {travelled}, {done.units_fetched} of {done.units} units fetched{resumed}"
