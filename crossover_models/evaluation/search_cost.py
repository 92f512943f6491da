"""``crossover bench search``: what the global search costs by area and number of levels.

Plans are simulated office floors; scans are cast from their walls, with noise, at drawn poses.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover_models.threads import use_threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from crossover_models.floor_plan import FloorPlan
    from crossover_models.observation import WallSlice

TARGETS = {"cpu_s_2000_m2": 1.0, "gpu_s_2000_m2": 0.02, "levels_share_of_sum": 1.0}
AREAS_M2 = (250.0, 500.0, 1000.0, 2000.0)
LEVELS = (1, 2, 4, 8)
TARGET_AREA_M2 = 2000.0
RESOLUTION_M = 0.05
BEAMS = 360
RANGE_M = 20.0


class SearchCostError(ValueError):
    """A number or device that cannot be benchmarked; the message names it."""


def add_command(subparsers: Any) -> None:
    """Add the benchmark to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "search",
        help="time the global search by area and number of levels",
        description="Search simulated office floors for the pose of a simulated scan: floors of 250 to 2,000 m2 one by "
        "one, then 1 to 8 floors of 2,000 m2 together and apart. The best pose must be the same.",
    )
    parser.add_argument("--json", type=Path, required=True, help="file to write the figures to")
    parser.add_argument("--queries", type=int, default=5, metavar="N", help="scans for each figure (5)")
    parser.add_argument("--levels", type=int, default=max(LEVELS), metavar="N", help="most levels searched at once (8)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to search (auto)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads (1)")
    parser.add_argument("--fov", type=float, default=360.0, metavar="DEG", help="field of view of the scans (360)")
    parser.add_argument("--seed", type=int, default=0, help="of floors and poses (0)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover bench search``."""
    import torch

    if arguments.queries < 1 or arguments.levels < 1 or arguments.threads < 1:
        raise SearchCostError("--queries, --levels, --threads: must be at least 1")
    if not 1.0 <= arguments.fov <= 360.0:
        raise SearchCostError(f"--fov: must be in 1..360 deg, got {arguments.fov}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SearchCostError("--device: no CUDA device here")
    use_threads(arguments.threads)
    device = "cuda" if arguments.device == "auto" and torch.cuda.is_available() else arguments.device
    device = "cpu" if device == "auto" else device
    areas = [_area(a, arguments, device) for a in AREAS_M2]
    levels = _levels([n for n in LEVELS if n <= arguments.levels], arguments, device)
    _print(areas, levels, device, arguments.threads)
    result = {"area": areas, "levels": levels, "device": device, "threads": arguments.threads, "targets": TARGETS}
    result["note"] = "simulated floors and scans"
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def draw_floor(area_m2: float, rng: np.random.Generator) -> FloorPlan:
    """An office floor of about that area: a corridor between rows of rooms of drawn widths and depths, with doors."""
    import numpy as np

    from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan

    cell, corridor = RESOLUTION_M, 2.2
    depth = [float(rng.uniform(5.0, 8.0)) for _ in range(4)]
    bands = [0.0, depth[0], corridor, depth[1] + depth[2], corridor, depth[3]]
    height = sum(bands)
    width = area_m2 / height
    rows, cols = round(height / cell) + 4, round(width / cell) + 4
    grid = np.full((rows, cols), FREE, dtype=np.int8)
    wall = 2
    grid[:wall], grid[-wall:], grid[:, :wall], grid[:, -wall:] = OCCUPIED, OCCUPIED, OCCUPIED, OCCUPIED
    edges = np.cumsum([depth[0], corridor, depth[1], depth[2], corridor, depth[3]])
    lines = [round(y / cell) for y in edges[:-1]]
    for line in lines:
        grid[line : line + wall] = OCCUPIED
    strips = [(0, lines[0], lines[0]), (lines[1], lines[2], lines[1]), (lines[2], lines[3], lines[3])]
    strips.append((lines[4], rows, lines[4]))
    for low, high, door_line in strips:
        x = 0.0
        while x < width:
            room = float(rng.uniform(2.8, 6.5))
            left, right = round(x / cell), min(cols, round((x + room) / cell))
            grid[low:high, right : right + wall] = OCCUPIED
            if right - left > 30:
                door = int(rng.integers(left + 5, right - 24))
                grid[door_line : door_line + wall, door : door + 18] = FREE
            # A pillar, a shaft or a niche: no two rooms are quite alike.
            r, c = int(rng.integers(low, max(low + 1, high - 12))), int(rng.integers(left, max(left + 1, right - 12)))
            grid[r : r + int(rng.integers(3, 12)), c : c + int(rng.integers(3, 12))] = OCCUPIED
            x += room
    margin = 10
    return FloorPlan(np.pad(grid, margin, constant_values=UNKNOWN), cell, (0.0, 0.0))


def cast_scan(plan: FloorPlan, fov_deg: float, rng: np.random.Generator) -> tuple[WallSlice, NDArray[np.float64]]:
    """A planar scan from a drawn free spot 0.5 m clear of walls, a tenth of it clutter; and the true pose (3,)."""
    import cv2
    import numpy as np

    from crossover_models.floor_plan import FREE, OCCUPIED
    from crossover_models.observation import WallSlice

    clear = cv2.distanceTransform((plan.occupancy == FREE).astype(np.uint8), cv2.DIST_L2, 5) * plan.resolution_m
    spots = np.argwhere(clear > 0.5)
    at = plan.position(spots[int(rng.integers(len(spots)))])
    pose = np.array([*at, rng.uniform(-np.pi, np.pi)])
    bearing = np.deg2rad(fov_deg) * (np.arange(BEAMS) / BEAMS - 0.5)
    ray = np.stack([np.cos(bearing + pose[2]), np.sin(bearing + pose[2])], axis=1)
    along = np.arange(0.0, RANGE_M, 0.5 * plan.resolution_m)
    wall = plan.value(at + along[None, :, None] * ray[:, None]) == OCCUPIED
    ranges = along[wall.argmax(axis=1)] + rng.normal(0.0, 0.02, BEAMS)
    clutter = rng.random(BEAMS) < 0.1
    ranges = np.where(clutter, ranges * rng.uniform(0.3, 0.9, BEAMS), ranges)[wall.any(axis=1)]
    points = ranges[:, None] * np.stack([np.cos(bearing), np.sin(bearing)], axis=1)[wall.any(axis=1)]
    origins, index = np.zeros((1, 2), dtype=np.float32), np.zeros(len(points), dtype=np.int32)
    return WallSlice(0, points.astype(np.float32), origins, index, np.zeros(3)), pose


def _area(area_m2: float, arguments: argparse.Namespace, device: str) -> dict[str, Any]:
    """Times of one level of that area."""
    import numpy as np

    from crossover_models.config import RegistrationSettings
    from crossover_models.estimate import LevelKey
    from crossover_models.registration import PlanMatcher

    rng = np.random.default_rng([arguments.seed, round(area_m2)])
    key = LevelKey("floor", "1")
    plan = draw_floor(area_m2, rng)
    matcher = PlanMatcher({key: plan}, RegistrationSettings(), device)
    seconds, errors = [], []
    first = _timed(matcher, cast_scan(plan, arguments.fov, rng)[0], device)[0]
    for _ in range(arguments.queries):
        seen, pose = cast_scan(plan, arguments.fov, rng)
        spent, fits = _timed(matcher, seen, device)
        seconds.append(spent)
        errors.append(float(np.hypot(*(fits[0].T_map_aligned - pose)[:2])) if fits else np.inf)
    return {
        "area_m2": area_m2,
        "median_s": float(np.median(seconds)),
        "worst_s": max(seconds),
        "first_s": first,
        "right": float(np.mean(np.array(errors) <= 0.5)),
        "n": len(seconds),
    }


def _levels(counts: list[int], arguments: argparse.Namespace, device: str) -> list[dict[str, Any]]:
    """Times of several levels of 2,000 m2 together, and of the same levels one after the other."""
    import numpy as np

    from crossover_models.config import RegistrationSettings
    from crossover_models.estimate import LevelKey
    from crossover_models.registration import PlanMatcher

    rng = np.random.default_rng([arguments.seed, 1])
    plans = {LevelKey("floors", str(k)): draw_floor(TARGET_AREA_M2, rng) for k in range(max(counts))}
    out = []
    for count in counts:
        keys = list(plans)[:count]
        matcher = PlanMatcher({key: plans[key] for key in keys}, RegistrationSettings(), device)
        _timed(matcher, cast_scan(plans[keys[0]], arguments.fov, rng)[0], device)
        together, apart, same = [], [], 0
        for k in range(arguments.queries):
            seen = cast_scan(plans[keys[k % count]], arguments.fov, rng)[0]
            spent, fits = _timed(matcher, seen, device)
            alone = [_timed(matcher, seen, device, key) for key in keys]
            together.append(spent)
            apart.append(sum(each for each, _ in alone))
            best = max((found[0] for _, found in alone if found), key=lambda fit: fit.score, default=None)
            same += int((not fits and best is None) or (best is not None and bool(fits) and _equal(fits[0], best)))
        if same < len(together):
            raise SearchCostError(f"levels: {same} of {len(together)} searches of {count} levels agree with one by one")
        spent, sums = float(np.median(together)), float(np.median(apart))
        out.append(
            {"levels": count, "together_s": spent, "apart_s": sums, "share_of_sum": spent / sums, "n": len(apart)}
        )
    return out


def _timed(matcher: Any, seen: WallSlice, device: str, level: Any = None) -> tuple[float, Any]:
    """Seconds of one registration (CPU time of the process, or the clock's on a GPU) and its fits."""
    import torch

    clock = time.process_time if device == "cpu" else time.perf_counter
    began = clock()
    fits = matcher.register(seen, levels=None if level is None else [level])
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - began, fits


def _equal(a: Any, b: Any) -> bool:
    return a.level == b.level and abs(float(a.score) - float(b.score)) < 1e-6


def _print(areas: list[dict[str, Any]], levels: list[dict[str, Any]], device: str, threads: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    where = f"{device}, {threads} thread{'s' if threads > 1 else ''}; simulated floors and scans"
    table = Table(title=f"Global search of one level ({where})")
    for column in ("area (m2)", "median (s)", "worst (s)", "first, with its rasters (s)", "right (%)", "n"):
        table.add_column(column, justify="right")
    for row in areas:
        numbers = [f"{row[k]:.3f}" for k in ("median_s", "worst_s", "first_s")]
        table.add_row(f"{row['area_m2']:.0f}", *numbers, f"{100 * row['right']:.0f}", str(row["n"]))
    target = TARGETS["cpu_s_2000_m2" if device == "cpu" else "gpu_s_2000_m2"]
    table.add_section()
    table.add_row("target 2000", f"<= {target}", "", "", "", "")
    console.print(table)
    table = Table(title=f"Levels of {TARGET_AREA_M2:.0f} m2 searched at once, and one after the other ({where})")
    for column in ("levels", "together (s)", "apart (s)", "share of the sum", "n"):
        table.add_column(column, justify="right")
    for row in levels:
        cells = [f"{row[k]:.3f}" for k in ("together_s", "apart_s", "share_of_sum")]
        table.add_row(str(row["levels"]), *cells, str(row["n"]))
    table.add_section()
    table.add_row("target", "", "", f"< {TARGETS['levels_share_of_sum']}", "")
    console.print(table)
