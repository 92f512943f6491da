"""Run one shell command, kill it when its time is over, and report what it took: a program of its own, stdlib only.

Linux counts a process's peak memory from before its exec, so that a child of a large process looks large. Between the
benchmark and a localizer stands therefore this small one: ``python -I -S watched.py REPORT TIMEOUT_S COMMAND``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time

POLL_S = 0.02


def watch(command: str, timeout_s: float) -> dict[str, float | int | bool]:
    """Exit code (negative: signal), lateness, CPU and wall s, peak MB of a command with all that it waited for."""
    began = time.monotonic()
    pid = os.posix_spawn("/bin/sh", ["/bin/sh", "-c", command], os.environ, setsid=True)
    late = False
    try:
        while True:
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                break
            if not late and time.monotonic() - began > timeout_s:
                late = True
                os.killpg(pid, signal.SIGKILL)
            time.sleep(POLL_S)
    finally:
        # Whatever outlives the shell has no business after the run.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "late": late,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": time.monotonic() - began,
        "peak_mb": usage.ru_maxrss / 1024.0,
    }


def _end(signum: int, frame: object) -> None:
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    report, limit, line = sys.argv[1:4]
    facts = watch(line, float(limit))
    with open(report, "w", encoding="utf-8") as stream:  # noqa: PTH123 (pathlib would be half of this program's memory)
        json.dump(facts, stream)
