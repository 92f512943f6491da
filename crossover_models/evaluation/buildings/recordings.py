"""The map a localizer gets, the bag it reads and the truth it does not: made once, kept by what they are made from.

``OUT/maps/KEY.xmap``, ``OUT/bags/KEY/`` (only this folder is handed over) and ``OUT/truth/KEY/``. A file or folder
appears under its name when it is whole, so that an interrupted benchmark goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import crossover_models
from crossover_models.building import Building
from crossover_models.evaluation.buildings.beside import Event, TrueRun
from crossover_models.evaluation.buildings.cases import BuildingSpec, PlannedRun, digest
from crossover_models.evaluation.buildings.sources import PACKAGE, modules_digest
from crossover_models.evaluation.ground_truth import RUN, TRUTH, read_truth
from crossover_models.map_database.sources import SURVEY_VIEWS, read_source

if TYPE_CHECKING:
    from crossover_models.map_database.build import PlaceEncoder

# Parts of the package that make no difference to a building or a map.
_ELSEWHERE = ("evaluation", "training", "dataset", "reference", "registration")
# What a run is made by; which settings localizers have, and how they encode, makes no difference to it.
_SIMULATION = tuple(
    f"crossover_models.{name}"
    for name in ("simulation.run", "simulation.procedural", "simulation.twins", "map_database.sources")
)
_NOT_SIMULATION = tuple(f"crossover_models.{name}" for name in ("config", "encoders", "sets", "sparse"))
Status = Callable[[str], None]


class Unfit(ValueError):
    """A case that cannot be had in a building; the message says why."""


@dataclass(frozen=True)
class Recording:
    """A run ready to be localized: ``scale`` takes true positions into the frame of the map handed out."""

    bag: Path
    truth: Path
    database: Path
    scale: float
    bag_digest: str


@cache
def source_digest(excluded: tuple[str, ...] = (), roots: tuple[Path, ...] = (PACKAGE,)) -> str:
    """Of the program itself: sources and weights under ``roots``, but for the folders ``excluded`` (relative)."""
    sums = []
    for root in roots:
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            left_out = any(name.startswith(f"{folder}/") for folder in excluded)
            if path.suffix in (".py", ".json", ".safetensors") and not left_out:
                sums.append([f"{root.name}/{name}", hashlib.sha256(path.read_bytes()).hexdigest()])
    return digest([crossover_models.__version__, sums])


class Recorder:
    """Makes maps and bags in a folder, or finds them there.

    Args:
        out: the folder.
        encoder: called once, when the first map has to be built.
        status: told what is being made.
    """

    def __init__(self, out: Path, encoder: Callable[[], PlaceEncoder], status: Status = lambda _: None) -> None:
        self._out = out
        self._load_encoder = cache(encoder)
        self._status = status
        self._program = source_digest(_ELSEWHERE)
        self._simulation = modules_digest(_SIMULATION, _NOT_SIMULATION)
        # One building at a time: the plan goes building by building.
        self._building: tuple[BuildingSpec, Building] | None = None
        self._survey: tuple[BuildingSpec, Building] | None = None

    def recording(self, run: PlannedRun) -> Recording:
        """Map, bag and truth of a run.

        Raises:
            Unfit: the building does not allow such a run.
            ValueError: the building cannot be read, or the run cannot be driven there.
            OSError: a file cannot be written.
        """
        map_key = digest([run.building.key(), dict(run.case.defects), run.seed, self._program])
        bag_key = digest([run.building.key(), dict(run.settings), self._simulation])
        database, scale = self._map(run, map_key)
        bag, truth = self._out / "bags" / bag_key, self._out / "truth" / bag_key
        facts = _read_json(truth / "bag.json")
        if facts is None or not bag.is_dir():
            facts = self._drive(run, bag, truth)
        return Recording(bag, truth, database, scale, str(facts["sha256"]))

    def building(self, spec: BuildingSpec) -> Building:
        """The true building; a generated one before anybody surveyed it."""
        if self._building is None or self._building[0] != spec:
            self._status(f"{spec}: building")
            self._building = (spec, read_building(spec))
        return self._building[1]

    def _surveyed(self, spec: BuildingSpec) -> Building:
        """The building with the pictures and clouds that a mapping team brings home of a generated one."""
        if self._survey is None or self._survey[0] != spec:
            from crossover_models.simulation.survey import survey

            building = self.building(spec)
            if spec.path is None:
                self._status(f"{spec}: survey")
                building = survey(building, np.random.default_rng(int(spec.numbers[0])), SURVEY_VIEWS)
            self._survey = (spec, building)
        return self._survey[1]

    def _map(self, run: PlannedRun, key: str) -> tuple[Path, float]:
        path = self._out / "maps" / f"{key}.xmap"
        facts = _read_json(path.with_suffix(".json"))
        if facts is not None and path.is_file():
            return path, float(facts["scale"])
        from crossover_models.map_database.build import build_database

        building, scale = self._surveyed(run.building), 1.0
        if run.case.defects:
            from crossover_models.simulation.defects import with_defects

            defective = with_defects(building, np.random.default_rng([run.seed, 1]), **run.case.defects)
            building, scale = defective.building, defective.to_map
        self._status(f"{run.building}: map" + (" with defects" if run.case.defects else ""))
        path.parent.mkdir(parents=True, exist_ok=True)
        build_database(building, self._load_encoder(), path)
        _write_json(path.with_suffix(".json"), {"building": str(run.building), "scale": scale})
        return path, scale

    def _drive(self, run: PlannedRun, bag: Path, truth: Path) -> dict[str, Any]:
        from crossover_models.simulation.navigation import NoRoute
        from crossover_models.simulation.run import simulate
        from crossover_models.simulation.settings import RunSettings
        from crossover_models.simulation.world import BuildingWorld

        settings = RunSettings().with_flat(dict(run.settings))
        building = self.building(run.building)
        usable = sum(bool(level.places) for level in building.levels)
        if usable < run.case.levels:
            raise Unfit(f"{run.case.name}: needs {run.case.levels} levels with places, {run.building} has {usable}")
        # Any of the levels is where a robot may wake up, not always the first.
        levels = sorted(level.level_id for level in building.levels if level.places)
        level = levels[settings.seed % len(levels)] if levels else ""
        self._status(f"{run.name}: run of {settings.duration_s:.0f} s")
        for folder in (bag.parent, truth.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".drive-", dir=bag.parent) as scratch:
            made = Path(scratch) / bag.name
            try:
                simulate(BuildingWorld(building), made, settings, level=level)
            except NoRoute as error:
                raise Unfit(f"{run.case.name} in {run.building}: {error}") from None
            kept = Path(scratch) / "truth"
            kept.mkdir()
            for name in (TRUTH, RUN):
                (made / name).rename(kept / name)
            facts: dict[str, Any] = {"sha256": files_digest(made), "run": run.name, "settings": dict(run.settings)}
            _write_json(kept / "bag.json", facts)
            _replace(made, bag)
            _replace(kept, truth)
        return facts


def read_building(spec: BuildingSpec) -> Building:
    """A building by its SPEC, without a survey; generated ones have furniture that nobody trained on.

    Raises:
        ValueError: the file is not such a building.
        OSError: it cannot be read.
    """
    if spec.path is not None:
        return read_source(str(spec.path))
    numbers = spec.numbers
    if spec.kind == "twins":
        from crossover_models.simulation.twins import generate_twin_building, generate_twin_rooms

        return generate_twin_rooms(numbers[0]) if numbers[0] % 2 else generate_twin_building(numbers[0])
    from crossover_models.simulation.procedural import generate_building

    return generate_building(numbers[0], split="test", levels=numbers[1], rooms_per_level=numbers[2])


def read_true_run(recording: Recording) -> TrueRun:
    """The truth of a recording in the frame of its map, and what was done to the robot.

    Raises:
        ValueError: it is damaged.
        OSError: it cannot be read.
    """
    true = read_truth(recording.truth / TRUTH, ())
    poses = true.T_map_base.copy()
    poses[:, :2] *= recording.scale
    facts = _read_json(recording.truth / RUN) or {}
    events = tuple(
        Event(event["kind"], int(event["stamp_ns"]))
        for event in facts.get("events", ())
        if event["kind"] in ("kidnap", "lift")
    )
    return TrueRun(replace(true, T_map_base=poses) if recording.scale != 1.0 else true, events)


def files_digest(folder: Path) -> str:
    """SHA-256 over names and contents of all files of a folder; the recorder's file is named after the folder."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as stream:
            total.update(f"{path.suffix} {path.stat().st_size}\n".encode())
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def _replace(made: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    made.rename(target)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _read_json(path: Path) -> dict[str, Any] | None:
    """None where there is none, or a damaged one: then what it belongs to is made again."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None
