"""Where the time of an answer goes: wall time and CPU time of named stages, always measured.

A stage inside of another is taken out of the outer one, so that the stages of an answer add up to it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

# In the order in which data meet them.
STAGES = (
    "receive",
    "transforms",
    "wait",
    "convert",
    "preprocess",
    "encode",
    "retrieve",
    "register",
    "belief",
    "publish",
)
# Samples of a stage that are remembered.
KEPT = 2000


@dataclass(frozen=True)
class StageTime:
    """Of one stage: how often it ran, quantiles of its wall time in ms, and its CPU time of all runs in s."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_s: float


class StageClock:
    """Collects times of stages; every method may be called from any thread."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._wall_s: dict[str, deque[float]] = {}
        self._cpu_s: dict[str, float] = {}
        self._count: dict[str, int] = {}
        self._open = threading.local()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a block of this thread; what stages inside of it take is theirs. A block that raises counts too."""
        inner: list[list[float]] = self._open.__dict__.setdefault("inner", [])
        inner.append([0.0, 0.0])
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
            own = inner.pop()
            if inner:
                inner[-1][0] += wall
                inner[-1][1] += cpu
            self.add(name, wall - own[0], cpu - own[1])

    def add(self, name: str, wall_s: float, cpu_s: float = 0.0) -> None:
        """Count a run of a stage that was measured elsewhere."""
        with self._lock:
            self._wall_s.setdefault(name, deque(maxlen=self._kept)).append(wall_s)
            self._cpu_s[name] = self._cpu_s.get(name, 0.0) + cpu_s
            self._count[name] = self._count.get(name, 0) + 1

    def clear(self) -> None:
        """Forget all runs so far."""
        with self._lock:
            for times in (self._wall_s, self._cpu_s, self._count):
                times.clear()

    def times(self) -> Mapping[str, StageTime]:
        """Of each stage that ran, in the order of :data:`STAGES`; quantiles over the newest :data:`KEPT` runs."""
        with self._lock:
            walls = {name: np.array(samples) * 1e3 for name, samples in self._wall_s.items()}
            cpu_s, count = dict(self._cpu_s), dict(self._count)
        known = [name for name in STAGES if name in walls] + [name for name in walls if name not in STAGES]
        out: dict[str, StageTime] = {}
        for name in known:
            p50, p95, p99 = (float(q) for q in np.percentile(walls[name], (50, 95, 99)))
            out[name] = StageTime(count[name], p50, p95, p99, cpu_s[name])
        return out

    def diagnostics(self) -> dict[str, str]:
        """The same as texts: ``encode_ms: "41.0 58.2 63.1"`` (p50, p95, p99) and ``encode_cpu_s``."""
        out: dict[str, str] = {}
        for name, t in self.times().items():
            out[f"{name}_ms"] = f"{t.p50_ms:.2f} {t.p95_ms:.2f} {t.p99_ms:.2f}"
            out[f"{name}_cpu_s"], out[f"{name}_runs"] = f"{t.cpu_s:.3f}", str(t.count)
        return out
