"""Steps of a fleet, to be killed at any moment; run by a test.

Reads lines ``publish MAP STORE`` or ``pull STORE OUT`` (tabs between), starts each in a process of its own, and answers
with its process id; ``wait`` answers with the exit statuses of those started since the last one. Objects are read unit
by unit and slowly, so that a kill falls into any stage of so small a building. Forking saves each step the imports.
"""

import os
import sys
import time
import traceback
from pathlib import Path

from crossover_models.fleet import assembly, sources
from crossover_models.fleet.publish import publish
from crossover_models.fleet.pull import pull
from crossover_models.fleet.stores import FolderStore


class SlowStore(FolderStore):
    """A folder behind a thin link."""

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Later."""
        time.sleep(0.002)
        return super().read_range(name, start, length)

    def write(self, name: str, data: bytes) -> None:
        """In two steps, as files are."""
        time.sleep(0.01)
        super().write(name, data)
        time.sleep(0.01)


def step(kind: str, first: str, second: str) -> None:
    """Do it."""
    sources.RUN_BYTES = 1
    insert = assembly._RowWriter._insert

    def slow_insert(self, table: str, *values: object) -> int:
        time.sleep(0.001)
        return insert(self, table, *values)

    assembly._RowWriter._insert = slow_insert
    if kind == "publish":
        publish(Path(first), SlowStore(Path(second), write=True))
    else:
        pull(sources.ObjectSource(SlowStore(Path(first))), Path(second), ("house", "annex"))


def main() -> None:
    """Serve until stdin ends."""
    children: list[int] = []
    while line := sys.stdin.readline():
        if line == "wait\n":
            print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children), flush=True)
            children.clear()
            continue
        child = os.fork()
        if not child:
            try:
                step(*line.rstrip("\n").split("\t"))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
        print(child, flush=True)


if __name__ == "__main__":
    main()
