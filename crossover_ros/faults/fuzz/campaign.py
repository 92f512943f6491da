"""A fuzzing campaign: children that read mutated inputs, watched for crashes, deaths and hangs."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossover_ros.faults.fuzz.target import Target

# One input may take so much processor time; wall time is no measure on a busy machine.
HANG_CPU_S = 5.0
# Waiting for ever without computing is a hang too.
HANG_WALL_S = 60.0
POLL_S = 0.05
# After so many deaths a target is given up: each costs a new start.
MAX_DEATHS = 20
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Crash:
    """An input that was not taken as documented; ``repeat`` is the command that shows it again."""

    target: str
    index: int
    error: str
    repeat: str


@dataclass
class Outcome:
    """What became of a target's inputs."""

    target: str
    inputs: int = 0
    wall_s: float = 0.0
    crashes: list[Crash] = field(default_factory=list)

    @property
    def kinds(self) -> Counter[str]:
        """Crashes by error and place."""
        return Counter(crash.error for crash in self.crashes)


def run_target(
    target: Target, seed: int, count: int, progress: Progress = lambda *_: None, hang_s: float = HANG_CPU_S
) -> Outcome:
    """Have ``count`` inputs read; a child that dies or hangs is replaced, and goes on behind the input it died of."""
    out = Outcome(target.name)
    began_s = time.monotonic()
    first = deaths = 0
    with tempfile.TemporaryDirectory(prefix="fuzz-watch-") as folder:
        while first < count and deaths < MAX_DEATHS:
            reached, death = _watch(target.name, seed, first, count, Path(folder), out, progress, hang_s)
            if death:
                deaths += 1
                out.crashes.append(_crash(target.name, seed, reached, death))
                reached += 1
            first = reached
            out.inputs = first
    out.wall_s = time.monotonic() - began_s
    return out


def run_campaign(targets: Sequence[Target], seed: int, factor: float, progress: Progress) -> list[Outcome]:
    """All targets, ``factor`` times their share of the short form."""
    return [run_target(target, seed, max(1, round(factor * target.share)), progress) for target in targets]


def _watch(
    name: str, seed: int, first: int, count: int, folder: Path, out: Outcome, progress: Progress, hang_s: float
) -> tuple[int, str]:
    """One child from ``first`` on; the index reached, and how it died if it did."""
    index_file = folder / "index"
    index_file.write_bytes(struct.pack("<q", -1))
    log = folder / "errors"
    command = _command(name, seed, first, count - first)
    with log.open("wb") as errors, (folder / "found").open("w+b") as found:
        child = subprocess.Popen(
            [*command, "--progress", str(index_file)],
            stdin=subprocess.DEVNULL, stdout=found, stderr=errors, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        try:
            death = _until_end(child, index_file, lambda at: progress(name, max(first, at), count), hang_s)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        found.seek(0)
        for line in found.read().decode(errors="replace").splitlines():
            fact = json.loads(line)
            out.crashes.append(_crash(name, seed, int(fact["index"]), f"{fact['error']} ({fact['where']})"))
    reached = _index(index_file)
    if death and reached < first:  # It never began: nothing can be said of the inputs.
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"fuzz {name}: the child did not start: {death} {' '.join(tail)}")
    return reached, death


def _until_end(child: subprocess.Popen[bytes], index_file: Path, tell: Callable[[int], None], hang_s: float) -> str:
    """Wait for the end of a child; how it died, "" for an orderly end."""
    at, cpu_s, wall_s = -1, 0.0, time.monotonic()
    while True:
        status = child.poll()
        if status is not None:
            if status == 0:
                return ""
            return f"death by signal {-status}" if status < 0 else f"exit with status {status}"
        now_at, now_cpu_s = _index(index_file), _cpu_s(child.pid)
        if now_at != at:
            at, cpu_s, wall_s = now_at, now_cpu_s, time.monotonic()
            tell(at)
        elif at >= 0 and (now_cpu_s - cpu_s > hang_s or time.monotonic() - wall_s > HANG_WALL_S):
            child.kill()
            child.wait()
            return f"hang: more than {hang_s:.0f} s"
        time.sleep(POLL_S)


def _index(path: Path) -> int:
    return int(struct.unpack("<q", path.read_bytes()[:8])[0])


def _cpu_s(pid: int) -> float:
    """Processor seconds of a process and the children it waited for; 0 once it is gone."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(word) for word in words[11:15]) / os.sysconf("SC_CLK_TCK")


def _command(name: str, seed: int, first: int, count: int) -> list[str]:
    module = "crossover_ros.faults.fuzz.child"
    numbers = ["--seed", str(seed), "--first", str(first), "--count", str(count)]
    return [sys.executable, "-m", module, name, *numbers]


def _crash(name: str, seed: int, index: int, error: str) -> Crash:
    return Crash(name, index, error, " ".join(["python", *_command(name, seed, index, 1)[1:]]))
