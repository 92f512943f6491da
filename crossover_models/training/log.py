"""The log of a run: JSON lines, and event files for TensorBoard; a continued run leaves no line twice."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from crossover_models.training.errors import TrainingError

LOG_FILE = "log.jsonl"
EVENTS = "events"


class RunLog:
    """Lines of ``log.jsonl`` with ``kind`` "step" or "validation", and the same figures as events.

    Args:
        folder: where both are kept.
        name: of the stage, before the names of its figures.
        step: steps done so far; what a killed run wrote of later ones is removed.
        events: whether to write event files.

    Raises:
        TrainingError: event files are wanted without tensorboard.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, name: str, step: int, events: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / LOG_FILE
        kept = _lines_until(path, step)
        partial = path.with_name(path.name + ".partial")
        partial.write_text("".join(kept), encoding="utf-8")
        partial.replace(path)
        self._stream = path.open("a", encoding="utf-8")
        self._name = name
        self._events = _writer(folder / EVENTS, step) if events else None

    def write(self, kind: str, entry: Mapping[str, Any]) -> None:
        """Add a line; ``entry`` has the steps done as "step", and numbers."""
        # No number is null: strict readers of JSON know no NaN.
        line = {n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in entry.items()}
        self._stream.write(json.dumps({"kind": kind, **line}) + "\n")
        self._stream.flush()
        if self._events is not None:
            for name, value in entry.items():
                if name != "step" and isinstance(value, int | float):
                    self._events.add_scalar(f"{self._name} {kind}/{name}", value, entry["step"])
            if kind == "validation":
                self._events.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        if self._events is not None:
            self._events.close()


def _lines_until(path: Path, step: int) -> list[str]:
    """Whole lines about the first ``step`` steps."""
    kept = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
            try:
                if line.endswith("\n") and json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                continue  # torn when the run was killed
    return kept


def _writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError("tensorboard: not installed; install it, or train with --no-tensorboard") from None
    return SummaryWriter(str(folder), purge_step=step + 1)
