"""The verdict on an accelerated replay: does memory stay flat?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Buffers, caches and the heap settle in this share of the replay, at least a minute of it.
WARM_UP_SHARE = 0.25
# What may come after that; a leak of 1 kB a message would be 20 MB in a quarter of an hour.
GROWTH_MB = 40.0


@dataclass(frozen=True)
class Endurance:
    """Memory by minute of robot time, and the counts at the end."""

    minutes: float
    rss_mb: tuple[float, ...]
    wall_s: float
    estimates: int
    localized: int
    false_fixes: int
    problem: str = ""

    @property
    def growth_mb(self) -> float:
        """Highest memory after the warm-up less the memory at its end."""
        if not self.rss_mb:
            return 0.0
        warm = min(len(self.rss_mb) - 1, max(0, round(WARM_UP_SHARE * len(self.rss_mb))))
        return max(self.rss_mb[warm:]) - self.rss_mb[warm]

    @property
    def survived(self) -> bool:
        """It ended, memory is flat, and it was localized and never wrongly."""
        return not self.problem and self.growth_mb <= GROWTH_MB and self.localized > 0 and not self.false_fixes


def endure(run: Path, database: Path, minutes: float, progress: Callable[[float, float], None]) -> Endurance:
    """Replay a run for ``minutes`` of robot time in a child process; ``progress`` hears (minute, MB)."""
    command = [sys.executable, "-m", "crossover_ros.faults.endurance", str(run), str(database)]
    command += ["--minutes", f"{minutes:g}"]
    facts: list[dict[str, Any]] = []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None and child.stderr is not None
        for line in child.stdout:
            facts.append(json.loads(line))
            progress(float(facts[-1]["minute"]), float(facts[-1]["rss_mb"]))
        error = child.stderr.read().strip()
        status = child.wait()
    tail = error.splitlines()[-1] if error else ""
    problem = "" if status == 0 and facts else f"the replay ended with status {status}: {tail}"
    last = facts[-1] if facts else {"wall_s": 0.0, "estimates": 0, "localized": 0, "false_fixes": 0}
    return Endurance(
        minutes,
        tuple(float(f["rss_mb"]) for f in facts),
        float(last["wall_s"]),
        int(last["estimates"]),
        int(last["localized"]),
        int(last["false_fixes"]),
        problem,
    )
