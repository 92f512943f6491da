"""``crossover bench plan-defects``: what each way in which a plan differs from the building costs one registration.

One simulated lidar sweep from a drawn spot of a simulated building, registered on its plan from scratch, with the wall
slice cut at the heights where walls stand clear of furniture and, beside it, at all heights.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover_models.threads import use_threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from crossover_models.building import Level

# As in the building benchmark: nothing was trained, validated or tuned on these.
FIRST_SEED = 700_001_001
RIGHT_M, RIGHT_DEG = 0.25, 5.0
# Lower edge of the slice above the floor, metres; None for the setting.
SLICES: Mapping[str, float | None] = {"band": None, "all heights": 0.3}
LIDAR_HEIGHT_M = 0.6


class PlanDefectError(ValueError):
    """A number that cannot be benchmarked; the message names it."""


@dataclass(frozen=True)
class Defect:
    """A way in which plan and building differ.

    Attributes:
        text: for people.
        drawn: arguments of :func:`crossover_models.simulation.defects.with_defects`.
        furnished: furniture, which no plan here shows, stands in the rooms.
        closed, ajar: shares of the doors, which the plan shows as passages.
        glass: windows let the lidar's light through.
    """

    text: str
    drawn: Mapping[str, float] = field(default_factory=dict)
    furnished: bool = True
    closed: float = 0.0
    ajar: float = 0.0
    glass: bool = False


DEFECTS: Mapping[str, Defect] = {
    "none": Defect("empty rooms, the plan as built", furnished=False),
    "furniture": Defect("furniture that is not drawn"),
    "missing-walls": Defect("and a tenth of the walls not drawn", {"missing_walls": 0.1}),
    "doors-closed": Defect("and half of the doors closed", closed=0.5),
    "doors-ajar": Defect("and half of the doors ajar", ajar=0.5),
    "glass": Defect("and windows that return nothing", glass=True),
    "scale": Defect("and the plan 1 % too large or too small", {"scale_error": 0.01}),
    "hand-drawn": Defect("and the plan drawn by hand, lines off by 0.1 m", {"hand_drawn": 0.1}),
}


# What each case has beyond furniture costs the difference to furniture alone.
BASE = {name: "none" if name in ("none", "furniture") else "furniture" for name in DEFECTS}


def add_command(subparsers: Any) -> None:
    """Add the benchmark to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "plan-defects",
        help="what furniture, missing walls, doors, glass, scale and hand drawing cost a registration",
        description="Register single simulated lidar sweeps on plans with one defect at a time, on held-out simulated "
        "buildings, the same poses for every defect.",
    )
    parser.add_argument("--json", type=Path, required=True, help="file to write the figures to")
    parser.add_argument("--buildings", type=int, default=4, metavar="N", help="buildings (4)")
    parser.add_argument("--poses", type=int, default=10, metavar="N", help="sweeps in each (10)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover bench plan-defects``."""
    from rich.console import Console
    from rich.progress import Progress

    if arguments.buildings < 1 or arguments.poses < 1:
        raise PlanDefectError("--buildings, --poses: must be at least 1")
    use_threads(1)
    rows: list[dict[str, Any]] = []
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("plan-defects", total=arguments.buildings * len(DEFECTS))
        for seed in range(FIRST_SEED, FIRST_SEED + arguments.buildings):
            for name in DEFECTS:
                rows += measure(seed, name, arguments.poses)
                progress.advance(task)
    figures = {
        name: {cut: summarize([r for r in rows if (r["defect"], r["slice"]) == (name, cut)]) for cut in SLICES}
        for name in DEFECTS
    }
    _print(figures)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    result = {"defects": figures, "right": {"m": RIGHT_M, "deg": RIGHT_DEG}, "note": "simulated buildings and sweeps"}
    arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(seed: int, name: str, poses: int) -> Iterator[dict[str, Any]]:
    """Rows of one building and defect: ``error_m`` and ``error_deg`` of each pose and slice, infinite without a fit."""
    import numpy as np

    from crossover_models.accumulation import CloudAccumulator, wall_slice
    from crossover_models.config import AccumulationSettings, RegistrationSettings
    from crossover_models.estimate import LevelKey
    from crossover_models.geometry import se3_from_se2, wrap_angle
    from crossover_models.observation import PointCloudObservation
    from crossover_models.registration import InsufficientStructure, PlanMatcher
    from crossover_models.simulation.defects import with_defects
    from crossover_models.simulation.lidar import LidarModel, sweep_hits
    from crossover_models.simulation.procedural import generate_building

    defect = DEFECTS[name]
    building = generate_building(seed, split="test", levels=1)
    level = building.levels[0]
    drawn = with_defects(building, np.random.default_rng([seed, 1]), **defect.drawn)
    key = LevelKey(building.building_id, level.level_id)
    matcher = PlanMatcher({key: drawn.building.levels[0].plan}, RegistrationSettings())
    scene, panes = _scene(level, defect, np.random.default_rng([seed, 2]))
    # Of furnished rooms for every defect, so that all see from the same spots.
    spots, noise = _spots(level, poses, np.random.default_rng([seed, 3])), np.random.default_rng([seed, 4])
    T_base_sensor = se3_from_se2(np.zeros(3), LIDAR_HEIGHT_M)
    for pose in spots:
        points, face = sweep_hits(scene, LidarModel(), se3_from_se2(pose, LIDAR_HEIGHT_M), noise)
        seen = points[~panes[face]] if defect.glass else points
        true = np.array([*(drawn.to_map * pose[:2]), pose[2]])
        for cut, lowest in SLICES.items():
            settings = AccumulationSettings() if lowest is None else AccumulationSettings(slice_min_m=lowest)
            accumulator = CloudAccumulator(settings)
            accumulator.add(PointCloudObservation(0, seen, T_base_sensor, np.eye(4)))
            cloud = accumulator.local_cloud()
            assert cloud is not None
            try:
                fits = matcher.register(wall_slice(cloud, settings))
            except InsufficientStructure:
                fits = ()
            offset = fits[0].T_map_aligned - true if fits else np.full(3, np.inf)
            turn = np.degrees(abs(wrap_angle(offset[2]))) if fits else np.inf
            error = {"error_m": float(np.hypot(offset[0], offset[1])), "error_deg": float(turn)}
            yield {"defect": name, "slice": cut, **error}


def summarize(rows: list[dict[str, Any]]) -> dict[str, float | int | None]:
    """Share of ``right`` answers (0.25 m, 5 deg), median errors of those, and how many there were."""
    import numpy as np

    right = [row for row in rows if row["error_m"] <= RIGHT_M and row["error_deg"] <= RIGHT_DEG]
    return {
        "right": len(right) / len(rows) if rows else None,
        "error_m": float(np.median([row["error_m"] for row in right])) if right else None,
        "error_deg": float(np.median([row["error_deg"] for row in right])) if right else None,
        "n": len(rows),
    }


def _scene(level: Level, defect: Defect, rng: np.random.Generator) -> tuple[Any, NDArray[np.bool_]]:
    """What the lidar looks at, and which of its faces are window panes."""
    import numpy as np

    from crossover_models.simulation.doors import put_leaves
    from crossover_models.simulation.raycast import RayScene
    from crossover_models.simulation.structure import PANE
    from crossover_models.simulation.survey import level_meshes

    meshes = level_meshes(level)
    leaves = put_leaves(level, meshes[1:], 0.25, defect.closed, defect.ajar, rng)
    scene = RayScene([*meshes[: None if defect.furnished else 1], *leaves.meshes])
    return scene, (scene.face_colors == np.array(PANE, dtype=np.uint8)).all(axis=1) & (scene.face_mesh == 0)


def _spots(level: Level, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(count, 3) poses where a robot can stand, in drawn places of the level."""
    import numpy as np

    from crossover_models.simulation.survey import standing_points

    places = [level.places[int(k)] for k in rng.integers(len(level.places), size=count)]
    spots = np.concatenate([standing_points(place, 1, rng) for place in places])
    return np.column_stack([spots, rng.uniform(-np.pi, np.pi, count)])


def _print(figures: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title="One sweep on a plan with defects (simulated)",
        caption=f"right within {RIGHT_M} m and {RIGHT_DEG:g} deg; median error of those; every case but the first with "
        "furniture that is not drawn; loss: against empty rooms (furniture) or furniture alone (others)",
    )
    table.add_column("defect")
    for cut in SLICES:
        for column in ("right (%)", "loss (%)", "error (m)"):
            table.add_column(f"{cut}: {column}", justify="right")
    table.add_column("n", justify="right")
    for name, by_slice in figures.items():
        cells: list[str] = []
        for cut, f in by_slice.items():
            loss = 100 * (figures[BASE[name]][cut]["right"] - f["right"])
            cells += [f"{100 * f['right']:.0f}", f"{loss:.0f}", "-" if f["error_m"] is None else f"{f['error_m']:.3f}"]
        table.add_row(name, *cells, str(next(iter(by_slice.values()))["n"]))
    Console().print(table)
