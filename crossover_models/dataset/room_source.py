"""Where the rooms of a simulated data set come from: who makes a building, and how many rooms it gives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from crossover_models.building import Building
from crossover_models.dataset.settings import MakeSettings
from crossover_models.dataset.store import SPLITS
from crossover_models.simulation.cad import FurnitureLibrary, open_library
from crossover_models.simulation.procedural import generate_building
from crossover_models.simulation.procthor import ProcThorRooms

_SEEDS = 1_000_000


@dataclass(frozen=True)
class Group:
    """Rooms that are made together because they share a building.

    Attributes:
        split: of the data set.
        index: of the group within its split.
        source: "procedural" or "procthor".
        number: the source's own number of the building: seed or row.
        rooms: how many rooms of it are used.
    """

    split: str
    index: int
    source: str
    number: int
    rooms: int


def rooms_of_splits(settings: MakeSettings) -> dict[str, int]:
    """How many rooms each split gets; they sum up to ``settings.rooms``, each share above zero gets at least one."""
    val = max(1, round(settings.val_share * settings.rooms)) if settings.val_share > 0 else 0
    test = max(1, round(settings.test_share * settings.rooms)) if settings.test_share > 0 else 0
    return {"train": max(0, settings.rooms - val - test), "val": val, "test": test}


def plan_groups(settings: MakeSettings, procthor: Path | None) -> list[Group]:
    """Every building of a data set, before any of them is made.

    Raises:
        BuildingError: the ProcTHOR folder cannot be read.
    """
    groups: list[Group] = []
    for split, rooms in rooms_of_splits(settings).items():
        drawn = 0
        if procthor is not None:
            drawn = min(round(settings.procthor_share * rooms), len(procthor_rooms(procthor, "parametric").ids(split)))
        own = [Group(split, k, "procthor", k, 1) for k in range(drawn)]
        left, number, each = rooms - drawn, 0, settings.rooms_per_building
        while left > 0:
            own.append(Group(split, len(own), "procedural", number, min(each, left)))
            left, number = left - each, number + 1
        groups += own
    return groups


@lru_cache(maxsize=4)
def furniture_library(kind: str) -> FurnitureLibrary:
    """The library of a name; opened once a process."""
    return open_library(kind)


@lru_cache(maxsize=4)
def procthor_rooms(folder: Path, library: str) -> ProcThorRooms:
    """ProcTHOR's rooms; read once a process."""
    return ProcThorRooms(folder, furniture_library(library))


def group_building(group: Group, settings: MakeSettings, procthor: Path | None) -> Building:
    """The building of a group, a pure function of its arguments.

    Raises:
        BuildingError: a ProcTHOR room that is none.
    """
    if group.source == "procthor":
        assert procthor is not None
        return procthor_rooms(procthor, settings.library).building(group.split, group.number)
    seed = settings.seed * _SEEDS + group.number
    return generate_building(
        seed,
        split=group.split,
        levels=1,
        rooms_per_level=settings.rooms_per_building - 1,
        building_id=f"p{seed}_{SPLITS.index(group.split)}",
        library=furniture_library(settings.library),
        clutter=settings.clutter,
        finishes=True,
    )
