"""All readers that are fuzzed, and planted defects that prove that crashes are counted."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from crossover_ros.faults.fuzz import file_targets, message_targets
from crossover_ros.faults.fuzz.target import Make, Read, Target


def _raises(value: Any) -> None:
    if value % 10 == 3:
        raise KeyError(f"planted at {value}")


def _dies(value: Any) -> None:
    if value == 7:
        os.kill(os.getpid(), signal.SIGSEGV)


def _hangs(value: Any) -> None:
    while value == 5:
        pass


def _counting(read: Read) -> Any:
    """Inputs 0, 1, 2, ...; the maker is called once for each, in order."""

    def prepare(_: Path) -> tuple[Make, Read]:
        return (lambda rng: int(rng.bit_generator.seed_seq.entropy[1])), read

    return prepare


PLANTED: tuple[Target, ...] = (
    Target("planted exception", 20, _counting(_raises), planted=True),
    Target("planted death", 20, _counting(_dies), planted=True),
    Target("planted hang", 10, _counting(_hangs), planted=True),
)
TARGETS: tuple[Target, ...] = (*message_targets.TARGETS, *file_targets.TARGETS)


def by_name(name: str) -> Target:
    """A target, planted ones too.

    Raises:
        ValueError: no such target.
    """
    for target in (*TARGETS, *PLANTED):
        if target.name == name:
            return target
    raise ValueError(f"fuzz target {name!r} is unknown; known are {', '.join(t.name for t in TARGETS)}")
