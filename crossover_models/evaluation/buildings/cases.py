"""What is benchmarked: which buildings, cases and runs; a plan that depends on nothing but its arguments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Seeds of buildings that nothing was trained, validated or tuned on: `crossover train --seed S` uses S * 100,000 and
# the next ones, settings were chosen on 101 to 112. Every seed from here on is the benchmark's.
FIRST_SEED = 700_000_001
KINDS = (
    "procedural:SEED[:LEVELS[:ROOMS]], twins:SEED (odd: equal rooms, even: equal storeys), rmf:PATH, ifc:PATH, "
    "or twins:PATH for a building of look-alikes"
)
DEFAULT_BUILDINGS = (
    f"procedural:{FIRST_SEED}:2:6",
    f"procedural:{FIRST_SEED + 1}:3:6",
    f"procedural:{FIRST_SEED + 2}:2:8",
    f"procedural:{FIRST_SEED + 3}:2:6",
    f"procedural:{FIRST_SEED + 4}:2:7",
    f"twins:{FIRST_SEED + 5}",
    f"twins:{FIRST_SEED + 6}",
)
DEFAULT_RUNS = 2
# Twin buildings are few, have one case, and their target is a share: a hundred runs in all by default.
RUNS_FACTOR_TWINS = 5
MOMENT_S = 22.0
LIFT_S = 12.0


class CaseError(ValueError):
    """A building, case or number that cannot be benchmarked; the message names it."""


@dataclass(frozen=True)
class Case:
    """A way of making it hard.

    Attributes:
        name: in the JSON.
        text: what is done, for people.
        run: changes of :class:`crossover_models.simulation.settings.RunSettings`.
        defects: arguments of :func:`crossover_models.simulation.defects.with_defects` for the map handed out.
        levels: the building needs so many.
        cold_start: a pose can be had from the start, so that the case counts in the summary's cold starts: among
            look-alikes abstaining is right, and images alone do not give a pose on a plan.
    """

    name: str
    text: str
    run: Mapping[str, Any] = field(default_factory=dict)
    defects: Mapping[str, float] = field(default_factory=dict)
    levels: int = 1
    cold_start: bool = True


CASES: Mapping[str, Case] = {
    case.name: case
    for case in (
        Case("nominal", "lidar and camera; a fifth of the furniture gone, some moved, some new"),
        Case(
            "kidnap",
            f"carried to another place of the level after {MOMENT_S:.0f} s, odometry goes on as if nothing happened",
            {"kidnap_at_s": MOMENT_S, "duration_s": 38.0},
        ),
        Case(
            "lift",
            f"sets off for the lift after {LIFT_S:.0f} s and rides to another level",
            {"lift_at_s": LIFT_S, "lift_ride_s": 5.0, "duration_s": 60.0},
            levels=2,
        ),
        Case(
            "moved-furniture",
            "half of the furniture moved, a third gone, half as much new",
            {"furniture_moved": 0.5, "furniture_dropped": 0.33, "furniture_added": 0.5},
        ),
        Case("closed-doors", "half of the doors closed that the plan shows as passages", {"doors_closed": 0.5}),
        Case("lidar-only", "no camera", {"camera": False}),
        Case("camera-only", "no lidar: places can be named, poses cannot", {"lidar": False}, cold_start=False),
        Case(
            "defective-plan",
            "the map is a plan with 1 % error of scale and a tenth of its walls missing; truth in the map's frame",
            defects={"scale_error": 0.01, "missing_walls": 0.1},
        ),
        Case("twins", "rooms or floors that look exactly alike: right or abstaining", cold_start=False),
    )
}
DURATION_S = 30.0


@dataclass(frozen=True)
class BuildingSpec:
    """A building to be known: ``kind`` and its ``argument`` (a seed with numbers, or a path)."""

    kind: str
    argument: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.argument}"

    @property
    def twins(self) -> bool:
        """It is made of look-alikes: the case ``twins`` and no other runs in it."""
        return self.kind == "twins"

    @property
    def path(self) -> Path | None:
        """Of its drawing; None for a generated building."""
        return None if self.argument.split(":", 1)[0].isdigit() else Path(self.argument)

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Seed, levels and rooms a level of a generated building."""
        given = [int(text) for text in self.argument.split(":")]
        seed, levels, rooms = (*given, *(0, 2, 6)[len(given) :])[:3]
        return seed, levels, rooms

    def key(self) -> str:
        """Changes with everything the building is made from but the program."""
        if self.path is None:
            return str(self)
        # An Open-RMF building names drawings beside it.
        files = [self.path] if self.kind == "ifc" else sorted(p for p in self.path.parent.iterdir() if p.is_file())
        return f"{self.kind}:{digest([[p.name, hashlib.sha256(p.read_bytes()).hexdigest()] for p in files])}"


@dataclass(frozen=True)
class PlannedRun:
    """One run to be simulated; ``name`` is unique in a plan, ``seed`` that of the whole benchmark.

    ``settings`` are changes of :class:`crossover_models.simulation.settings.RunSettings`.
    """

    name: str
    building: BuildingSpec
    case: Case
    settings: Mapping[str, Any]
    seed: int


def parse_building(text: str) -> BuildingSpec:
    """A building by its SPEC.

    Raises:
        CaseError: an unknown kind, a missing file, or a seed that training or tuning may have used.
    """
    kind, colon, argument = text.partition(":")
    if not colon or not argument or kind not in ("procedural", "twins", "rmf", "ifc"):
        raise CaseError(f"--buildings {text}: expected {KINDS}")
    spec = BuildingSpec(kind, argument)
    if spec.path is None:
        if kind in ("rmf", "ifc"):
            raise CaseError(f"--buildings {text}: expected a path after {kind}:")
        words = argument.split(":")
        if len(words) > (3 if kind == "procedural" else 1) or not all(word.isdigit() for word in words):
            raise CaseError(f"--buildings {text}: expected {KINDS}")
        seed, levels, rooms = spec.numbers
        if not 1 <= levels <= 20 or not 3 <= rooms <= 40:
            raise CaseError(f"--buildings {text}: LEVELS must be 1 to 20, ROOMS a level 3 to 40")
        assert_seed_is_unseen(seed, text)
    elif kind == "procedural":
        raise CaseError(f"--buildings {text}: expected {KINDS}")
    elif not spec.path.is_file():
        raise CaseError(f"--buildings {text}: no such file")
    return spec


def assert_seed_is_unseen(seed: int, what: str) -> None:
    """Refuse a seed of a building that a model may have been trained, or a setting been chosen, on.

    Raises:
        CaseError: it is below :data:`FIRST_SEED`.
    """
    if seed < FIRST_SEED:
        raise CaseError(
            f"--buildings {what}: seed {seed} may be one of training, validation or tuning; "
            f"the benchmark's begin at {FIRST_SEED}"
        )


def plan_runs(
    buildings: Sequence[BuildingSpec], cases: Sequence[str], runs: int, seed: int, duration_s: float | None = None
) -> tuple[PlannedRun, ...]:
    """All runs, building by building; ``duration_s`` overrides every case's (moments of events are kept before it).

    Raises:
        CaseError: an unknown case, a case without a building for it, a building twice, or no runs.
    """
    unknown = [name for name in cases if name not in CASES]
    if unknown:
        raise CaseError(f"--cases {unknown[0]}: unknown; known are {', '.join(CASES)}")
    if runs < 1:
        raise CaseError(f"--runs: must be at least 1, got {runs}")
    if len({str(b) for b in buildings}) != len(buildings):
        raise CaseError("--buildings: one is named twice")
    out: list[PlannedRun] = []
    for number, building in enumerate(buildings):
        for name in dict.fromkeys(cases):
            case = CASES[name]
            if building.twins != (name == "twins"):
                continue
            for k in range(runs * (RUNS_FACTOR_TWINS if building.twins else 1)):
                # A seed of its own for every run: with one seed for all cases, one lucky start would decide all.
                run_seed = int(digest([str(building), name, k, seed])[:8], 16)
                changes = {"duration_s": DURATION_S, **case.run, "seed": run_seed}
                if duration_s is not None:
                    changes["duration_s"] = duration_s
                    changes.update({m: duration_s / 2 for m in ("kidnap_at_s", "lift_at_s") if m in changes})
                run_name = f"b{number + 1}-{name}-{k + 1}"
                out.append(PlannedRun(run_name, building, case, changes, seed))
    if not out:
        raise CaseError(f"--cases {' '.join(cases)}: none of them runs in {', '.join(str(b) for b in buildings)}")
    return tuple(out)


def digest(values: object) -> str:
    """20 hex digits of a JSON value."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:20]
