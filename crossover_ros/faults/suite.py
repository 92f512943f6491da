"""All faults in order, on one stand."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Sequence

from crossover_ros.faults import database_cases, sensor_cases, system_cases
from crossover_ros.faults.case import Case, Verdict, carry_out
from crossover_ros.faults.stand import Stand


def all_cases() -> tuple[Case, ...]:
    """Every live fault; those that kill processes last."""
    return (
        *sensor_cases.clouds(),
        *sensor_cases.pictures(),
        *sensor_cases.odometry(),
        *sensor_cases.scans(),
        *system_cases.transforms(),
        *system_cases.clocks(),
        *database_cases.databases(),
        *system_cases.poses(),
        *system_cases.accelerator(),
        *system_cases.processes(),
    )


def chosen(patterns: Sequence[str]) -> tuple[Case, ...]:
    """The cases whose names fit one of the patterns (as in a shell); all for none.

    Raises:
        ValueError: a pattern fits none.
    """
    cases = all_cases()
    for pattern in patterns:
        if not any(fnmatch.fnmatch(case.name, pattern) for case in cases):
            raise ValueError(f"--only {pattern}: no such fault; known are {', '.join(case.name for case in cases)}")
    return tuple(c for c in cases if not patterns or any(fnmatch.fnmatch(c.name, p) for p in patterns))


def run_all(stand: Stand, cases: Sequence[Case], tell: Callable[[str], None]) -> Iterator[Verdict]:
    """Carry out cases one after another; ``tell`` hears the name of each before."""
    for case in cases:
        tell(case.name)
        yield carry_out(case, stand)
