"""Where buildings come from: the kinds of SOURCE that ``crossover map build`` understands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from crossover_models.building import Building, BuildingError

KINDS = "*.ifc, *.building.yaml, or procedural:SEED[:LEVELS[:ROOMS]]"
SURVEY_VIEWS = 8


def read_source(source: str, scales: Mapping[str, float] | None = None) -> Building:
    """Read a building.

    Args:
        source: a path to an IFC file or an Open-RMF building, or ``procedural:SEED[:LEVELS[:ROOMS]]`` for a simulated
            one with all five modalities.
        scales: metres per pixel by level, for drawings without a measurement.

    Raises:
        BuildingError: an unknown kind, or whatever is wrong with the file, in one line.
        OSError: the file cannot be read.
    """
    if source.startswith("procedural:"):
        return _procedural(source)
    path = Path(source)
    if not path.exists():
        raise BuildingError(f"{source}: no such file; a source is {KINDS}")
    if path.is_dir():
        raise BuildingError(f"{source}: is a directory; a source is {KINDS}")
    if path.suffix.lower() == ".ifc":
        from crossover_models.map_database.ifc import read_ifc

        return read_ifc(path)
    if path.name.lower().endswith((".building.yaml", ".building.yml")):
        from crossover_models.map_database.rmf import read_rmf

        return read_rmf(path, scales)
    raise BuildingError(f"{source}: unknown kind of source; known are {KINDS}")


def _procedural(source: str) -> Building:
    from crossover_models.simulation.procedural import generate_building
    from crossover_models.simulation.survey import survey

    try:
        numbers = [int(text) for text in source.split(":")[1:]]
    except ValueError:
        raise BuildingError(f"{source}: expected whole numbers, procedural:SEED[:LEVELS[:ROOMS]]") from None
    seed, levels, rooms = (*numbers, *(0, 2, 7)[len(numbers) :])[:3]
    if len(numbers) > 3 or seed < 0 or not 1 <= levels <= 20 or not 3 <= rooms <= 40:
        raise BuildingError(f"{source}: SEED must be >= 0, LEVELS 1 to 20, ROOMS a level 3 to 40")
    building = generate_building(seed, split="test", levels=levels, rooms_per_level=rooms)
    return survey(building, np.random.default_rng(seed), SURVEY_VIEWS)
