"""Builds a database and kills itself with SIGKILL at one stage: kill_build.py OUT SEED STAGE, run by a test.

STAGE is the number of a vector, or ``commit``, ``sync``, ``replace`` or ``replaced``, or ``wait``: say "go" and build
slowly, to be killed from outside.
"""

import os
import signal
import sys
import time
from pathlib import Path

from planted_building import HashEncoder, full_building

from crossover_models.map_database import build, writer


def main(out: str, seed: str, stage: str) -> None:
    """Build, and die on the way."""
    count = 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    class Encoder(HashEncoder):
        def _code(self, *parts: bytes):
            nonlocal count
            count += 1
            if stage == str(count):
                die()
            if stage == "wait":
                print("go", flush=True)
                time.sleep(0.02)
            return super()._code(*parts)

    fingerprint, sync, replace = writer.content_fingerprint, writer._sync, Path.replace

    def dying_replace(self: Path, target: Path) -> Path:
        if stage == "replace":
            die()
        moved = replace(self, target)
        if stage == "replaced":
            die()
        return moved

    writer.content_fingerprint = lambda *a: die() if stage == "commit" else fingerprint(*a)
    writer._sync = lambda path: die() if stage == "sync" else sync(path)
    Path.replace = dying_replace
    build.build_database(full_building(seed=int(seed)), Encoder(), Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
