"""Pull: keep a robot's database file what its buildings' heads say, fetching only what it lacks.

The new file is put together beside the old one and takes its name at the end; the old one stays whatever happens
before. What the robot holds is read from the old file itself, so that a damaged unit counts as lacking and is fetched
again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossover_models.fleet.assembly import assemble
from crossover_models.fleet.extraction import LocalBuilding, LocalMap, UnitLocation
from crossover_models.fleet.head import BuildingHead, LevelEntry, LevelIndex
from crossover_models.fleet.journal import Journal
from crossover_models.fleet.sources import UnitSource
from crossover_models.fleet.units import FleetError
from crossover_models.map_database.file_format import DatabaseError, FingerprintMismatch, check_replaceable
from crossover_models.map_database.writer import remove_unfinished

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pulled:
    """What a pull did.

    Attributes:
        changed: whether the file was replaced.
        building_ids: in the file.
        received: bytes that travelled, heads and indexes too.
        whole: bytes of all levels, which a robot without a copy fetches.
        units_fetched: that were fetched now.
        units_resumed: that an interrupted pull had fetched before.
        units: in the file.
        seconds: it took.
    """

    changed: bool
    building_ids: tuple[str, ...]
    received: int
    whole: int
    units_fetched: int
    units_resumed: int
    units: int
    seconds: float


@dataclass(frozen=True)
class _Copy:
    """The robot's file as it is; empty where there is none that can be read."""

    local: LocalMap | None
    buildings: tuple[LocalBuilding, ...]
    where: dict[bytes, UnitLocation]


def pull(
    source: UnitSource,
    out: Path,
    building_ids: Sequence[str] = (),
    change_encoder: bool = False,
    progress: Progress | None = None,
) -> Pulled:
    """Bring a file up to date.

    Args:
        source: publications.
        out: the robot's file; need not exist.
        building_ids: that it shall hold, in this order; by default those that it holds.
        change_encoder: accept a publication of another encoder than the file's.
        progress: told units fetched and units to fetch.

    Raises:
        FleetError: the source cannot be reached, a building is not there, an object is missing or corrupted, or the
            buildings do not fit one file.
        FingerprintMismatch: the publication is of another encoder than the file.
        DatabaseError: ``out`` is no database, or cannot be replaced.
    """
    began, before = time.perf_counter(), source.received
    check_replaceable(out)
    with Journal(out) as journal:
        copy = _read_copy(out)
        try:
            wanted = tuple(dict.fromkeys(building_ids)) or tuple(b.head.building_id for b in copy.buildings)
            if not wanted:
                raise FleetError(f"{out}: holds no building yet; name those to pull with --building")
            heads = tuple(source.head(building_id) for building_id in wanted)
            _check_alike(heads, source.uri)
            ours = copy.local.encoder_fingerprint if copy.local is not None else ""
            theirs = heads[0].encoder_fingerprint
            if ours and ours != theirs and not change_encoder:
                raise FingerprintMismatch(
                    f"{source.uri}: building {wanted[0]} is of encoder {theirs}, but {out} is of {ours}, which stays; "
                    "--change-encoder replaces it"
                )
            whole = sum(head.size for head in heads)
            units = sum(level.units for head in heads for level in head.levels)
            if tuple(b.head.content for b in copy.buildings) == tuple(head.content for head in heads):
                # A pull that was killed after it had replaced the file, or while putting another version together.
                remove_unfinished(out)
                journal.finish()
                taken = time.perf_counter() - began
                return Pulled(False, wanted, source.received - before, whole, 0, 0, units, taken)
            resumed = len(journal)
            indexes = _fetch(source, heads, copy, journal, progress)
            interaction = _interaction(source, heads[0], copy)
            fetched = len(journal) - resumed
            assemble(out, heads, interaction, lambda head: _units(head, indexes, copy, journal))
        finally:
            if copy.local is not None:
                copy.local.__exit__()
        journal.finish()
    taken = time.perf_counter() - began
    return Pulled(True, wanted, source.received - before, whole, fetched, resumed, units, taken)


def _read_copy(out: Path) -> _Copy:
    """What the file holds; one that is damaged or of another schema counts as none, for pulling is its cure."""
    if not out.exists():
        return _Copy(None, (), {})
    try:
        local = LocalMap(out)
    except DatabaseError:
        return _Copy(None, (), {})
    try:
        buildings = tuple(local.building(building_id) for building_id in local.building_ids)
    except FleetError:
        local.__exit__()
        return _Copy(None, (), {})
    where = {
        digest: location
        for building in buildings
        for level in building.levels
        for (digest, _), location in zip(level.index.entries, level.locations, strict=True)
    }
    return _Copy(local, buildings, where)


def _check_alike(heads: Sequence[BuildingHead], uri: str) -> None:
    first = heads[0]
    for head in heads:
        for name in ("encoder_fingerprint", "encoder_profile", "embedding_dim", "interaction"):
            ours, theirs = getattr(first, name), getattr(head, name)
            if ours != theirs:
                raise FleetError(
                    f"{uri}: buildings {first.building_id} and {head.building_id} do not fit one file: "
                    f"{name} {ours} and {theirs}"
                )


def _fetch(
    source: UnitSource,
    heads: Sequence[BuildingHead],
    copy: _Copy,
    journal: Journal,
    progress: Progress | None,
) -> dict[str, LevelIndex]:
    """Indexes of all levels by root; every unit that neither file nor journal holds is in the journal afterwards."""
    held = {
        entry.root: level.index
        for building in copy.buildings
        for entry, level in zip(building.head.levels, building.levels, strict=True)
    }
    indexes: dict[str, LevelIndex] = {}
    todo: list[tuple[BuildingHead, LevelEntry, list[int]]] = []
    asked: set[bytes] = set()
    for head in heads:
        for level in head.levels:
            if level.root in indexes:
                continue
            index = held.get(level.root) or source.index(head, level)
            indexes[level.root] = index
            lacking = []
            for number, (digest, _) in enumerate(index.entries):
                if digest not in copy.where and digest not in journal and digest not in asked:
                    asked.add(digest)
                    lacking.append(number)
            if lacking:
                todo.append((head, level, lacking))
    total = sum(len(lacking) for _, _, lacking in todo)
    count = 0
    for head, level, lacking in todo:
        for digest, data in source.units(head, level, indexes[level.root], lacking):
            journal.add(digest, data)
            count += 1
            if progress is not None:
                progress(count, total)
    return indexes


def _interaction(source: UnitSource, head: BuildingHead, copy: _Copy) -> str:
    if copy.local is not None and hashlib.sha256(copy.local.interaction.encode()).hexdigest() == head.interaction:
        return copy.local.interaction
    return source.interaction(head)


def _units(
    head: BuildingHead, indexes: dict[str, LevelIndex], copy: _Copy, journal: Journal
) -> Iterator[Iterator[bytes]]:
    for level in head.levels:
        yield (_unit(digest, copy, journal) for digest, _ in indexes[level.root].entries)


def _unit(digest: bytes, copy: _Copy, journal: Journal) -> bytes:
    if digest in journal:
        return journal.get(digest)
    if copy.local is None:
        raise FleetError("a unit is in neither the file nor the journal; pull again")
    return copy.local.unit(copy.where[digest])
