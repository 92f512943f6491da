"""One fault: what is done, what the nodes have to say of it, and the verdict on how they took it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossover_ros.faults.stand import Stand

Act = Callable[["Stand"], None]
SERVICE_PATIENCE_S = 10.0
# Diagnostics come twice a second; a node that is busy with the fault may be late.
TOLD_PATIENCE_S = 10.0
RECOVER_S = 15.0
HEALTHY_S = 40.0


def _nothing(_: Stand) -> None:
    """No step."""


@dataclass(frozen=True)
class Case:
    """A fault.

    Attributes:
        name: short.
        group: what it happens to.
        done: what is done, in a few words.
        begin: starts it.
        tells: patterns that diagnostics (or answers kept in ``Stand.answers``) must show; none where nothing is wrong
            enough to be told.
        end: ends it, beside restoring sensors and clocks, which always happens.
        lasts_s: how long at least.
        recover_s: time in which a right pose of data after the fault must be announced.
        from_begin: recovery counts from the begin of the fault: a killed node is started at once.
        patience_s: how long the diagnostics may take.
    """

    name: str
    group: str
    done: str
    begin: Act
    tells: tuple[str, ...] = ()
    end: Act = _nothing
    lasts_s: float = 2.0
    recover_s: float = RECOVER_S
    from_begin: bool = False
    patience_s: float = TOLD_PATIENCE_S


@dataclass(frozen=True)
class Verdict:
    """How a fault was taken; ``problems`` is empty if the nodes survived it.

    Attributes:
        told: what the nodes said, one text a pattern.
        recovered_s: from the end of the fault (or its begin) to the first right pose of later data; None for never.
        false_fixes: wrong poses announced from the begin on.
    """

    name: str
    group: str
    done: str
    told: tuple[str, ...]
    recovered_s: float | None
    false_fixes: int
    problems: tuple[str, ...] = ()
    lasted_s: float = 0.0

    @property
    def survived(self) -> bool:
        """Alive, answering, telling, never wrong, and working again."""
        return not self.problems


@dataclass
class _Findings:
    problems: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def carry_out(case: Case, stand: Stand) -> Verdict:
    """Do it to the nodes of a stand and watch.

    Raises:
        StandError: the stand itself failed.
    """
    found = _Findings()
    stand.answers.clear()
    if not _is_healthy(stand):
        found.problems.append(f"before the fault: no right pose within {HEALTHY_S:.0f} s")
    stand.robot.shifts_ns = (0,)
    began_s, began_ns = time.monotonic(), time.time_ns()
    try:
        case.begin(stand)
        _watch(case, stand, began_s, found)
    finally:
        case.end(stand)
        stand.robot.restore()
    ended_s, ended_ns = time.monotonic(), time.time_ns()
    since_s, since_ns = (began_s, began_ns) if case.from_begin else (ended_s, ended_ns)
    left_s = max(0.1, case.recover_s - (time.monotonic() - since_s))
    stand.wait(lambda: stand.witness.fixed(since_s, since_ns), left_s)
    first = stand.witness.fixed(since_s, since_ns)
    recovered_s = None if first is None else first.at_s - since_s
    if recovered_s is None or recovered_s > case.recover_s:
        said = "; ".join(stand.witness.last_words()) or "nothing was said"
        found.problems.append(f"no right pose within {case.recover_s:.0f} s after the fault ({said})")
    found.problems += stand.dead()
    found.problems += [f"after the fault: no answer of {name}" for name in stand.witness.asked(SERVICE_PATIENCE_S)]
    false = stand.witness.false_fixes(began_s)
    found.problems += [f"wrong pose announced: {text}" for text in dict.fromkeys(false[:3])]
    return Verdict(
        case.name,
        case.group,
        case.done,
        tuple(found.told),
        recovered_s,
        len(false),
        tuple(found.problems),
        time.monotonic() - began_s,
    )


def _is_healthy(stand: Stand) -> bool:
    """A fresh right pose, after starting again what the fault before has killed."""
    stand.revive()
    since_s, since_ns = time.monotonic(), time.time_ns()
    return stand.wait(lambda: stand.witness.fixed(since_s, since_ns), HEALTHY_S)


def _watch(case: Case, stand: Stand, began_s: float, found: _Findings) -> None:
    """While the fault lasts: what is told, who is alive, who answers."""
    missing = list(case.tells)

    def all_told() -> bool:
        for pattern in list(missing):
            text = stand.answers.find(pattern) or stand.witness.told(pattern, began_s)
            if text:
                missing.remove(pattern)
                found.told.append(text)
        return not missing and time.monotonic() - began_s >= case.lasts_s

    stand.wait(all_told, max(case.lasts_s, case.patience_s if case.tells else 0.0) + 0.1)
    found.problems += [f"no diagnostic told {pattern!r}" for pattern in missing]
    if not case.from_begin:
        found.problems += stand.dead()
        silent = stand.witness.asked(SERVICE_PATIENCE_S)
        found.problems += [f"during the fault: no answer of {name}" for name in silent]
