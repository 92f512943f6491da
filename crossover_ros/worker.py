"""One thread for the work that takes longer than a callback may."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from typing import Any

from crossover_models.stage_clock import StageClock

# The kind of items that are functions, which somebody may wait for.
CALL = "call"


class Worker:
    """Runs ``handle(kind, items)`` in its own thread, on bounded queues, one a kind.

    A full queue drops its oldest item and counts it, so that the newest data win when work is slower than data.
    Kinds take turns by the age of their oldest item; a kind is handed over with all that waits, but calls one by one.
    A failure goes to ``on_error`` and the thread lives on. How long the newest of what is handed over had to wait is
    counted on ``clock``, but for the kinds ``untimed``.
    """

    def __init__(
        self,
        name: str,
        handle: Callable[[str, list[Any]], None],
        on_error: Callable[[str, Exception], None],
        clock: StageClock | None = None,
        untimed: Collection[str] = (CALL,),
    ) -> None:
        self._handle, self._on_error = handle, on_error
        self._untimed = untimed
        self._clock = clock if clock is not None else StageClock()
        self._queues: dict[str, deque[tuple[float, Any]]] = {}
        self._changed = threading.Condition()
        self._running = False
        self._busy_since: float | None = None
        self._name = name
        self._thread: threading.Thread | None = None
        self.dropped: Counter[str] = Counter()

    def start(self) -> None:
        """Begin to work."""
        self._running = True
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the work in hand, forget the rest and end the thread."""
        with self._changed:
            self._running = False
            self._queues.clear()
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def call(self, function: Callable[[], object]) -> None:
        """Queue a function; none is dropped."""
        self.put(CALL, function, depth=sys.maxsize)

    def put(self, kind: str, item: Any, depth: int = 1) -> None:
        """Queue an item; of more than ``depth`` that wait, the oldest is dropped."""
        with self._changed:
            if not self._running:
                return
            queue = self._queues.setdefault(kind, deque())
            queue.append((time.monotonic(), item))
            while len(queue) > depth:
                queue.popleft()
                self.dropped[kind] += 1
            self._changed.notify()

    def clear(self) -> None:
        """Forget all that waits."""
        with self._changed:
            self._queues.clear()

    @property
    def busy_s(self) -> float:
        """Seconds that the work in hand has taken so far; 0 while idle."""
        since = self._busy_since
        return time.monotonic() - since if since is not None else 0.0

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._running or any(self._queues.values()))
                if not self._running:
                    return
                kind = min((k for k, queue in self._queues.items() if queue), key=lambda k: self._queues[k][0][0])
                queue = self._queues[kind]
                taken = [queue.popleft()] if kind == CALL else list(self._queues.pop(kind))
            items = [item for _, item in taken]
            self._busy_since = time.monotonic()
            if kind not in self._untimed:
                self._clock.add("wait", self._busy_since - taken[-1][0])
            try:
                self._handle(kind, items)
            except Exception as error:  # A bad observation must not end the node; the reporter names it.
                self._on_error(kind, error)
            finally:
                self._busy_since = None
