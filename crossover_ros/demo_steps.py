"""What the demo prepares before the nodes run, and remembers so that it need not be made again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover_models import __version__

if TYPE_CHECKING:
    from rich.progress import Progress

    from crossover_models.encoders import SceneEncoder

DEFAULT_OUT = Path("build/demo")
DURATION_S = 80.0
MAP, RUN, STEPS = "building.xmap", "run", "steps.json"


@dataclass(frozen=True)
class DemoOptions:
    """What the demo does.

    Attributes:
        out: directory of everything it makes.
        seed: of the building and of the run.
        duration_s: robot time.
        source: a map database to use in place of the demo building; None to make that.
        building, level: where the robot drives; empty for the first.
        levels, rooms_per_level, views: size of the demo building, and pictures of each room in its survey.
        checkpoint: encoders; empty for the shipped ones.
        params: parameter file of the nodes, if any.
        apply: the mid-run relocalize call replaces the belief.
        keep_going: an interrupt ends the run early, and what was recorded is reported.
    """

    out: Path = DEFAULT_OUT
    seed: int = 0
    duration_s: float = DURATION_S
    source: Path | None = None
    building: str = ""
    level: str = ""
    levels: int = 2
    rooms_per_level: int = 6
    views: int = 8
    checkpoint: str = ""
    params: Path | None = None
    apply: bool = False
    keep_going: bool = False


def make_map(options: DemoOptions, encoder: SceneEncoder, progress: Progress) -> Path:
    """The demo building's database, made unless it is there already."""
    from crossover_models.map_database.schema import SCHEMA_VERSION
    from crossover_models.map_database.store import MapDatabase

    if options.source is not None:
        with MapDatabase.open(options.source, encoder.fingerprint):
            return options.source
    path = options.out / MAP
    key = {
        "version": __version__,
        "schema": SCHEMA_VERSION,
        "seed": options.seed,
        "levels": options.levels,
        "rooms": options.rooms_per_level,
        "views": options.views,
        "encoder": encoder.fingerprint,
    }
    if path.is_file() and finished(options.out, "map") == key:
        progress.update(progress.add_task("map database: kept from before", total=1), completed=1)
        return path
    import numpy as np

    from crossover_models.map_database.build import build_database
    from crossover_models.simulation.procedural import generate_building
    from crossover_models.simulation.survey import survey

    task = progress.add_task("survey the building", total=None)
    building = generate_building(
        options.seed,
        split="test",
        levels=options.levels,
        rooms_per_level=options.rooms_per_level,
        building_id="demo",
    )
    progress.update(task, total=sum(len(level.places) for level in building.levels))
    rng = np.random.default_rng(options.seed)
    building = survey(building, rng, options.views, progress=lambda _: progress.advance(task))
    count = sum(len(level.places) for level in building.levels)
    task = progress.add_task("build the map database", total=count)
    build_database(building, encoder, path, lambda _: progress.advance(task))
    finish(options.out, "map", key)
    return path


def make_run(options: DemoOptions, database_path: Path, progress: Progress) -> Mapping[str, Any]:
    """The simulated bag, made unless it is there already; returns its settings."""
    from crossover_models.map_database.store import MapDatabase
    from crossover_models.simulation.run import simulate
    from crossover_models.simulation.settings import RunSettings

    settings = RunSettings(seed=options.seed, duration_s=options.duration_s)
    with MapDatabase.open(database_path) as database:
        key = {
            "version": __version__,
            "database": database.fingerprint,
            "building": options.building,
            "level": options.level,
            **settings.to_mapping(),
        }
        directory = options.out / RUN
        if directory.is_dir() and finished(options.out, "run") == key:
            progress.update(progress.add_task("simulated run: kept from before", total=1), completed=1)
            return key
        task = progress.add_task("simulate the robot", total=options.duration_s)
        simulate(
            database,
            directory,
            settings,
            lambda s: progress.update(task, completed=s),
            building=options.building,
            level=options.level,
            overwrite=True,
        )
    finish(options.out, "run", key)
    return key


def finished(out: Path, step: str) -> Any:
    """What a finished step was made from, or None."""
    try:
        steps = json.loads((out / STEPS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return steps.get(step) if isinstance(steps, dict) else None


def finish(out: Path, step: str, key: Mapping[str, Any]) -> None:
    """Remember what a step was made from; a run made on another map is forgotten with it."""
    steps = {} if step == "map" else {"map": finished(out, "map")}
    steps[step] = dict(key)
    scratch = out / f"{STEPS}.new"
    scratch.write_text(json.dumps(steps, indent=2) + "\n", encoding="utf-8")
    scratch.replace(out / STEPS)
