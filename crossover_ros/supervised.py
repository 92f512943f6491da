"""A child process that is watched, whose output is kept, and that never outlives its parent's interest."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

TAIL_LINES = 20
# Process ids of the children that run.
_running: set[int] = set()


class ChildDied(RuntimeError):
    """The child ended although it was still wanted; the message holds its exit status and the end of its log."""


class Supervised:
    """A child in a session of its own, so that Ctrl-C reaches it only through :meth:`stop`; a context manager.

    Args:
        name: for messages.
        command: program and arguments.
        log: file that takes stdout and stderr.
        environment: added to this process's.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
                start_new_session=True,
            )
        _running.add(self._process.pid)
        # In a session of its own, the child hears nothing of what ends this process: it must end in order.
        if _may_set_signals() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _terminate)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def check(self) -> None:
        """Return while the child runs.

        Raises:
            ChildDied: it has ended.
        """
        status = self._process.poll()
        if status is not None:
            how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
            raise ChildDied(f"{self.name} died ({how}); the end of {self.log}:\n{self.tail()}")

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the child runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL for the child and all it started: no time to say goodbye, as when the kernel is out of memory."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._ended()

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines of the log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (empty)"

    def stop(self, patience_s: float = 10.0) -> int:
        """Interrupt, then terminate, then kill the child and all it started; returns its exit status."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)
        status = self._process.wait(patience_s)
        self._ended()
        return status

    def _ended(self) -> None:
        _running.discard(self._process.pid)
        if not _running and _may_set_signals() and signal.getsignal(signal.SIGTERM) is _terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _may_set_signals() -> bool:
    return threading.current_thread() is threading.main_thread()


def _terminate(number: int, frame: object) -> None:
    """As Ctrl-C does: whoever started children stops them on the way out."""
    raise SystemExit(128 + number)
