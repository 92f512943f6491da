"""``crossover bench laser2d``: real 2D laser scans localized from scratch on plans drawn from other scans.

Map and query scans of a building come from the same run, which flatters every method; the output says so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover_models.threads import use_threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from crossover_models.config import RegistrationSettings
    from crossover_models.floor_plan import FloorPlan

BUILDINGS = ("fr079", "intel")
DEFAULT_DATA = Path("../shared/data/laser2d")
DEFAULT_LOGS = Path("../shared/data/radish")
METHODS = ("crossover", "field alone")
# A plan that a robot drew on its way lacks what it did not visit: a fifth of the query poses lie in blank cells.
FREE_MARGIN_M = 1.0


class BenchmarkError(ValueError):
    """Data that cannot be benchmarked; the message names the file and what is wrong."""


@dataclass(frozen=True)
class LaserScans:
    """Planar scans of one building.

    Attributes:
        ranges_m: (N, B).
        poses: (N, 3) of the laser, metres and radians.
        bearings_rad: (B,).
        range_max_m: ranges from here on are no returns.
    """

    ranges_m: NDArray[np.float64]
    poses: NDArray[np.float64]
    bearings_rad: NDArray[np.float64]
    range_max_m: float


def add_command(subparsers: Any) -> None:
    """Add the benchmark to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "laser2d",
        help="localize real 2D laser scans from scratch",
        description="Draw an occupancy plan from a building's map scans and localize every query scan on it, each from "
        "scratch and alone; then drive the robot's own log from drawn starts, with raw odometry, until the pose is "
        "announced. Resumes where it was interrupted.",
    )
    parser.add_argument("--json", type=Path, required=True, help="file to write the figures to")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help=f"folder of the scans ({DEFAULT_DATA})")
    parser.add_argument(
        "--starts", "--travel", dest="travel", type=int, default=20, metavar="N", help="starts drawn in each log (20)"
    )
    parser.add_argument("--peers", default="", metavar="NAMES", help="peers on the same drives: a,b or all (none)")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file, for people")
    parser.add_argument("--logs", type=Path, default=DEFAULT_LOGS, help=f"folder of the logs ({DEFAULT_LOGS})")
    parser.add_argument("--seed", type=int, default=0, help="of the starts drawn (0)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="localize every N-th query only")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover bench laser2d``."""
    from itertools import chain

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from crossover_models.config import RegistrationSettings
    from crossover_models.evaluation.laser_table import TARGETS, print_figures, tables_markdown
    from crossover_models.evaluation.laser_travel import TRAVEL, Drives, peer_method, peer_names, summarize_drives

    if arguments.every < 1:
        raise BenchmarkError(f"--every: must be at least 1, got {arguments.every}")
    if arguments.travel < 0:
        raise BenchmarkError(f"--travel: must not be negative, got {arguments.travel}")
    peers = peer_names(arguments.peers)
    use_threads(1)
    scans = {
        b: (read_scans(arguments.data / f"{b}_map.npz"), read_scans(arguments.data / f"{b}_query.npz"))
        for b in BUILDINGS
    }
    settings = RegistrationSettings(free_margin_m=FREE_MARGIN_M)
    # The plain method knows neither rays nor blank cells; its search is exact, so that it equals an exhaustive one.
    plain = replace(settings, violation_weight=0.0, unknown_likelihood=settings.outlier)
    variants = dict(zip(METHODS, (settings, plain), strict=True))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    journal = arguments.json.with_suffix(".partial.jsonl")
    key = _key(variants, arguments.every, arguments.travel, arguments.seed)
    drives = Drives(arguments.logs, arguments.travel, arguments.seed, settings, peers)
    done = _read_journal(journal, key)
    total = arguments.travel * len(BUILDINGS) * (1 + len(peers)) + len(METHODS) * sum(
        len(query.poses[:: arguments.every]) for _, query in scans.values()
    )
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress, journal.open("w", encoding="utf-8") as out:
        # Written anew, so that a line cut short does not spoil the next.
        for line in ({"key": key}, *done.values()):
            out.write(json.dumps(line) + "\n")
        out.flush()
        task = progress.add_task("laser2d", total=total, completed=len(done))
        for building, (mapped, query) in scans.items():
            rows = [(m, k) for m in METHODS for k in range(0, len(query.poses), arguments.every)]
            missing = [(m, k) for m, k in rows if (building, m, k) not in done]
            progress.update(task, description=f"laser2d {building}")
            plan = draw_plan(mapped)
            scanned = _localize(building, plan, query, variants, missing)
            for row in chain(scanned, drives.rows(building, plan, (mapped, query), done)):
                done[building, row["method"], row["query"]] = row
                out.write(json.dumps(row) + "\n")
                out.flush()
                progress.advance(task)
    figures = {
        building: {m: summarize([row for (b, n, _), row in done.items() if b == building and n == m]) for m in METHODS}
        for building in BUILDINGS
    }
    pooled = {m: summarize([row for (_, n, _), row in done.items() if n == m]) for m in METHODS}
    drove = {
        method: {
            name: summarize_drives([row for (b, n, _), row in done.items() if n == method and name in (b, "pooled")])
            for name in (*BUILDINGS, "pooled")
        }
        for method in (TRAVEL, *map(peer_method, peers))
    }
    travel = {"crossover" if n == TRAVEL else n.removeprefix(f"{TRAVEL} "): each for n, each in drove.items()}
    print_figures(figures, pooled, travel)
    if arguments.markdown is not None:
        arguments.markdown.parent.mkdir(parents=True, exist_ok=True)
        arguments.markdown.write_text(tables_markdown(figures, pooled, travel), encoding="utf-8")
    result: dict[str, Any] = {building: by_method["crossover"] for building, by_method in figures.items()}
    result["pooled"] = pooled["crossover"]
    result["likelihood_field_alone"] = {
        **{building: by_method["field alone"] for building, by_method in figures.items()},
        "pooled": pooled["field alone"],
    }
    result[TRAVEL] = travel["crossover"]
    result["travel_of_peers"] = {name: travel[name] for name in peers}
    result["targets"] = TARGETS
    result["every"], result["seed"] = arguments.every, arguments.seed
    result["note"] = "real scans; map and query come from the same run, which flatters every method"
    arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    journal.unlink()
    return 0


def read_scans(path: Path) -> LaserScans:
    """Read scans from an NPZ file; never unpickles.

    It holds ``ranges_m``, ``pose_xy_yaw``, ``angle_min_rad``, ``angle_increment_rad`` and ``range_max_m``.

    Raises:
        BenchmarkError: no such file, not NPZ, a missing array, or shapes that do not agree.
    """
    import zipfile

    import numpy as np

    if not path.is_file():
        raise BenchmarkError(f"{path}: no such file; give the folder of the scans with --data")
    try:
        with np.load(path, allow_pickle=False) as data:
            ranges = np.asarray(data["ranges_m"], dtype=np.float64)
            poses = np.asarray(data["pose_xy_yaw"], dtype=np.float64)
            start, step, limit = (float(data[k]) for k in ("angle_min_rad", "angle_increment_rad", "range_max_m"))
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise BenchmarkError(f"{path}: {error}") from None
    if ranges.ndim != 2 or poses.shape != (len(ranges), 3):
        raise BenchmarkError(f"{path}: ranges_m {ranges.shape} and pose_xy_yaw {poses.shape} do not agree")
    bearings = np.asarray(start + step * np.arange(ranges.shape[1]), dtype=np.float64)
    return LaserScans(ranges, poses, bearings, limit)


def draw_plan(scans: LaserScans) -> FloorPlan:
    """The plan that the map scans draw."""
    from crossover_models.evaluation.laser_map import plan_from_scans

    return plan_from_scans(scans.ranges_m, scans.poses, scans.bearings_rad, scans.range_max_m)


def _localize(
    building: str,
    plan: FloorPlan,
    query: LaserScans,
    variants: dict[str, RegistrationSettings],
    rows: list[tuple[str, int]],
) -> Iterator[dict[str, Any]]:
    """Register query scans one by one; a scan that cannot be registered is a row without an error (a failure)."""
    import numpy as np

    from crossover_models.accumulation import scan_slice
    from crossover_models.estimate import LevelKey
    from crossover_models.geometry import wrap_angle
    from crossover_models.registration import InsufficientStructure, PlanMatcher

    level = LevelKey(building, "scans")
    matchers = {method: PlanMatcher({level: plan}, settings) for method, settings in variants.items()}
    step = float(query.bearings_rad[1] - query.bearings_rad[0])
    for method, k in rows:
        scan = scan_slice(
            0, query.ranges_m[k], float(query.bearings_rad[0]), step, 0.05, query.range_max_m, np.eye(4), np.eye(4)
        )
        began = time.process_time()
        try:
            fits = matchers[method].register(scan)
        except InsufficientStructure:
            fits = ()
        row: dict[str, Any] = {
            "building": building,
            "method": method,
            "query": k,
            "seconds": time.process_time() - began,
            "error_m": None,
            "error_deg": None,
            "margin": 0.0,
        }
        if fits:
            offset = fits[0].T_map_aligned - query.poses[k]
            row["error_m"] = float(np.hypot(offset[0], offset[1]))
            row["error_deg"] = float(np.degrees(abs(wrap_angle(offset[2]))))
            second = fits[1].score if len(fits) > 1 else fits[0].score - variants[method].search_margin
            row["margin"] = fits[0].score - second
        yield row


def summarize(rows: list[dict[str, Any]]) -> dict[str, float | int | None]:
    """Recall over all rows, failures included; AUROC of the margin at telling right (0.5 m) from wrong; mean CPU s."""
    import numpy as np

    if not rows:
        return {
            "r_0_1": None,
            "r_0_5": None,
            "r_1": None,
            "r_1m30": None,
            "auroc": None,
            "seconds_per_query": None,
            "n": 0,
        }
    error = np.array([np.inf if row["error_m"] is None else row["error_m"] for row in rows])
    turn = np.array([np.inf if row["error_deg"] is None else row["error_deg"] for row in rows])
    margin = np.array([row["margin"] for row in rows])
    return {
        "r_0_1": float((error <= 0.1).mean()),
        "r_0_5": float((error <= 0.5).mean()),
        "r_1": float((error <= 1.0).mean()),
        "r_1m30": float(((error <= 1.0) & (turn <= 30.0)).mean()),
        "auroc": auroc(margin[error <= 0.5], margin[error > 0.5]),
        "seconds_per_query": float(np.mean([row["seconds"] for row in rows])),
        "n": len(rows),
    }


def auroc(right: NDArray[np.float64], wrong: NDArray[np.float64]) -> float | None:
    """Probability that a right answer has the larger value than a wrong one, ties half; None if either is empty."""
    import numpy as np

    if not len(right) or not len(wrong):
        return None
    above = (right[:, None] > wrong[None]).mean()
    return float(above + 0.5 * np.mean(right[:, None] == wrong[None]))


def _key(variants: dict[str, RegistrationSettings], *numbers: int) -> str:
    described = {method: settings.to_mapping() for method, settings in variants.items()}
    return hashlib.sha256(json.dumps([described, *numbers], sort_keys=True).encode()).hexdigest()[:16]


def _read_journal(path: Path, key: str) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Rows of an interrupted run with the same settings; a last line cut short by a kill is dropped."""
    done: dict[tuple[str, str, int], dict[str, Any]] = {}
    if not path.is_file():
        return done
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        if not lines or json.loads(lines[0]).get("key") != key:
            return done
        for line in lines[1:]:
            row = json.loads(line)
            done[row["building"], row["method"], row["query"]] = row
    except ValueError:
        pass
    return done
