"""The end of a pool of workers of which one was ended from outside."""

from __future__ import annotations

import multiprocessing


def end_workers() -> None:
    """Kill what is left of a broken pool.

    The pool's own clean-up misses workers that were being started when it broke, and then waits for them for ever.
    """
    for child in multiprocessing.active_children():
        child.kill()
