"""What an evaluation leaves behind: record, trajectories, figures, report and a table for people."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from crossover_models.estimate import LevelKey, LocalizationState
from crossover_models.evaluation.events import event_summary, events
from crossover_models.evaluation.evidence import Evidence
from crossover_models.evaluation.judgement import Judgement
from crossover_models.evaluation.metrics import DEFINITIONS
from crossover_models.evaluation.report import TITLES, shown, verdict, write_json, write_report
from crossover_models.evaluation.run_record import RunRecord
from crossover_models.evaluation.trajectory import write_tum
from crossover_models.map_database.store import MapDatabase

# Columns of a terminal from which the table says what its figures mean.
MEANINGS_FROM = 120
RECORD, JSON, HTML, ESTIMATED, TRUE = "run.jsonl", "report.json", "report.html", "estimated.tum", "true.tum"


def write_estimated(path: Path, record: RunRecord) -> int:
    """Write the announced poses (state LOCALIZED only) as TUM and return how many there are.

    A pose is in the map frame of its level; of several with one stamp the last one counts. See also
    :func:`write_trajectories`.
    """
    poses = _announced(record)
    write_tum(path, list(poses), np.array([pose for _, pose in poses.values()]).reshape(-1, 3))
    return len(poses)


def write_trajectories(out: Path, judgement: Judgement) -> tuple[Path, ...]:
    """Write estimated.tum and true.tum, and one more of each for every level of a run on several.

    Levels have a map frame each: on the whole run ``evo`` would compare poses of different frames where estimate and
    truth are on different levels.
    """
    announced, truth = _announced(judgement.record), judgement.truth
    write_estimated(out / ESTIMATED, judgement.record)
    write_tum(out / TRUE, truth.stamps_ns, truth.T_map_base)
    paths = [out / ESTIMATED, out / TRUE]
    levels = list(dict.fromkeys([*truth.levels, *(level for level, _ in announced.values())]))
    for level in levels if len(levels) > 1 else ():
        name = re.sub(r"[^\w.-]+", "_", level.map_frame)
        own = {stamp: pose for stamp, (key, pose) in announced.items() if key == level}
        here = np.array([key == level for key in truth.levels], dtype=bool)
        for path, stamps, poses in (
            (out / f"estimated.{name}.tum", list(own), np.array(list(own.values()))),
            (out / f"true.{name}.tum", truth.stamps_ns[here].tolist(), truth.T_map_base[here]),
        ):
            write_tum(path, stamps, poses)
            paths.append(path)
    return tuple(paths)


def _announced(record: RunRecord) -> dict[int, tuple[LevelKey, NDArray[np.float64]]]:
    """Stamp -> level and pose (3,) announced, in the order of the stamps."""
    poses = {
        e.estimate.stamp_ns: (e.estimate.best.level, e.estimate.best.T_map_base)
        for e in record.estimates
        if e.estimate.state == LocalizationState.LOCALIZED and e.estimate.best is not None
    }
    return dict(sorted(poses.items()))


def write_results(
    out: Path,
    judgement: Judgement,
    figures: Mapping[str, Any],
    database: MapDatabase,
    facts: Sequence[tuple[str, str]] = (),
    evidence: Mapping[int, Evidence] | None = None,
) -> None:
    """Write report.json, report.html and the trajectories into a directory; see :func:`write_report`."""
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / JSON, {**figures, "events": [event_summary(event, judgement) for event in events(judgement)]})
    write_trajectories(out, judgement)
    plans = {level.key: database.floor_plan(level.key) for level in database.levels()}
    write_report(out / HTML, judgement, figures, plans, facts, evidence)


def show_results(out: Path, figures: Mapping[str, Any], json_path: Path | None = None) -> None:
    """Print the table and where the files are; with ``json_path`` the figures go there too (``-`` is stdout)."""
    to_stdout = json_path is not None and str(json_path) == "-"
    console = Console(stderr=to_stdout)
    console.print(results_table(figures, meanings=console.width >= MEANINGS_FROM))
    console.print(verdict(figures))
    for name in (HTML, JSON, RECORD, ESTIMATED, TRUE):
        if (out / name).exists():
            console.print(f"  {out / name}", highlight=False, soft_wrap=True)
    if to_stdout:
        json.dump(figures, sys.stdout, indent=2, allow_nan=False)
        sys.stdout.write("\n")
    elif json_path is not None:
        write_json(json_path, figures)


def results_table(figures: Mapping[str, Any], meanings: bool = True) -> Table:
    """Headline figures with units, and what they mean where there is room."""
    simulated = " (simulated)" if figures.get("simulated") else ""
    table = Table(title=f"Localization{simulated}", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    if meanings:
        table.add_column("meaning", style="dim")
    for key, (_, definition) in DEFINITIONS.items():
        table.add_row(TITLES[key], shown(key, figures.get(key)), *([definition] if meanings else []))
    return table
