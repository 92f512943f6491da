"""The child process of a campaign: makes inputs, has them read, and writes down what no reader may raise.

``python -m crossover_ros.faults.fuzz.child TARGET --seed S --first I --count 1`` repeats one input, with its traceback.
"""

from __future__ import annotations

import argparse
import json
import logging
import mmap
import resource
import struct
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

from crossover_ros.faults.fuzz.target import DOCUMENTED, input_rng
from crossover_ros.faults.fuzz.targets import by_name

# More than this for one small input is a defect: a size from a file was believed.
MEMORY_BYTES = 6 << 30


def main(argv: Sequence[str] | None = None) -> int:
    """Run inputs ``first`` to ``first + count``; crashes are JSON lines on stdout, the index in hand is in a file."""
    parser = argparse.ArgumentParser(description="Fuzz one reader.")
    parser.add_argument("target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--progress", type=Path, help="file that holds the index in hand, eight bytes")
    arguments = parser.parse_args(argv)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    target = by_name(arguments.target)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        make, read = target.prepare(Path(folder))
        progress = _open_progress(arguments.progress)
        for index in range(arguments.first, arguments.first + arguments.count):
            progress[:8] = struct.pack("<q", index)
            value = make(input_rng(target.name, arguments.seed, index))
            try:
                read(value)
            except DOCUMENTED:
                continue
            except Exception as error:
                crash = {"index": index, "error": f"{type(error).__name__}: {str(error)[:200]}", "where": _where(error)}
                print(json.dumps(crash), flush=True)
                if arguments.count == 1:
                    traceback.print_exc()
        progress[:8] = struct.pack("<q", arguments.first + arguments.count)
    return 0


def _open_progress(path: Path | None) -> mmap.mmap | bytearray:
    """Shared memory, so that the index survives the process at the price of a store."""
    if path is None:
        return bytearray(8)
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 8)


def _where(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


if __name__ == "__main__":
    sys.exit(main())
