"""One hash over what a localizer said in a run, without what a stopwatch measured: two replays of a bag share it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

# Seconds of this machine on this day; everything else of a record follows from bag, map, encoders and settings.
STOPWATCH = ("runtime_s", "latency_s", "elapsed_s", "wall_s")


def record_digest(path: Path) -> str:
    """Hash of a whole record of :class:`crossover_models.evaluation.run_record.RunWriter`, 16 hexadecimal digits.

    Raises:
        ValueError: a line is no JSON object.
        OSError: the file cannot be read.
    """
    hashed = hashlib.sha256()
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            values = json.loads(line)
            if not isinstance(values, dict):
                raise ValueError(f"{path}:{number}: expected an object, got {type(values).__name__}")
            kept = {key: value for key, value in values.items() if key not in STOPWATCH}
            hashed.update(json.dumps(kept, sort_keys=True).encode())
            hashed.update(b"\n")
    return hashed.hexdigest()[:16]
