"""The true trajectory of a run with the level of each pose: from a simulation, or a TUM file and a name."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from crossover_models.estimate import LevelKey
from crossover_models.evaluation.trajectory import Trajectory, TrajectoryError, read_tum

TRUTH, RUN = "ground_truth.txt", "run.json"


def truth_beside(bag: Path) -> Path | None:
    """The simulation's true trajectory in or beside a bag directory, if there is one."""
    for directory in (bag, bag.parent):
        if (directory / TRUTH).is_file() and (directory / RUN).is_file():
            return directory / TRUTH
    return None


def read_truth(path: Path, levels: Collection[LevelKey], level: str = "") -> Trajectory:
    """Read a TUM file with the level of each pose.

    The levels come from ``level`` ("BUILDING/LEVEL", or the level alone where that is unique), else from a simulation's
    run.json beside the file, else from a map with a single level.

    Raises:
        TrajectoryError: not a TUM file, or a level that is unknown or not in the map.
        OSError: the file cannot be read.
    """
    trajectory = read_tum(path)
    if level:
        return trajectory.on_level(_named_level(level, levels))
    run = path.parent / RUN
    if run.is_file():
        return _with_levels(trajectory, run)
    if len(levels) == 1:
        return trajectory.on_level(next(iter(levels)))
    names = ", ".join("/".join(key) for key in levels)
    raise TrajectoryError(f"{path}: on which level? name it with --level; the map has {names}")


def _named_level(name: str, levels: Collection[LevelKey]) -> LevelKey:
    found = [key for key in levels if name in ("/".join(key), key.level_id)]
    if len(found) != 1:
        names = ", ".join("/".join(key) for key in levels)
        raise TrajectoryError(f"--level {name}: {'ambiguous' if found else 'not in the map'}; the map has {names}")
    return found[0]


def _with_levels(trajectory: Trajectory, run: Path) -> Trajectory:
    """Take the level of each pose from a simulation's record."""
    try:
        values = json.loads(run.read_text(encoding="utf-8"))
        spans: list[dict[str, Any]] = values["levels"]
        starts = [(int(s["from_ns"]), LevelKey(str(s["building_id"]), str(s["level_id"]))) for s in spans]
    except (ValueError, KeyError, TypeError) as error:
        raise TrajectoryError(f"{run}: no record of a simulated run: {type(error).__name__}: {error}") from None
    levels = []
    for stamp_ns in trajectory.stamps_ns.tolist():
        before = [key for start, key in starts if start <= stamp_ns]
        if not before:
            raise TrajectoryError(f"{run}: no level for stamp {stamp_ns * 1e-9:.3f} s")
        levels.append(before[-1])
    return Trajectory(trajectory.stamps_ns, trajectory.T_map_base, tuple(levels))
