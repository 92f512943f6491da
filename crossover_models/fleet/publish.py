"""Publish: bring buildings of a database file to a store, and into the master where one is given.

Objects first, then the master's commit, then the head, each whole or not at all: a reader sees the old publication
until the last step, and repeating an interrupted publication completes it. One publisher a building at a time; two of
different buildings do not meet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from crossover_models.fleet.extraction import LocalBuilding, LocalLevel, LocalMap
from crossover_models.fleet.head import BuildingHead, head_name, object_name
from crossover_models.fleet.stores import NotThere, Store
from crossover_models.fleet.units import FleetError
from crossover_models.map_database.store import MapDatabase

Progress = Callable[[str], None]


class MasterWriter(Protocol):
    """The master database, as far as publishing needs it; see :class:`crossover_models.fleet.master.Master`."""

    def replace_building(self, local: LocalMap, building: LocalBuilding, previous: str) -> int:
        """Make the building's rows those of ``local``, in one commit; rows that changed.

        ``previous`` is the encoder of the publication that this one replaces, "" where there is none.
        """


@dataclass(frozen=True)
class Published:
    """What one building cost: bytes written to the store of those it has, levels likewise, rows of the master."""

    building_id: str
    written: int
    whole: int
    levels_written: int
    levels: int
    master_rows: int | None
    digest: str


def publish(
    path: Path,
    store: Store,
    master: MasterWriter | None = None,
    building_ids: Sequence[str] = (),
    change_encoder: bool = False,
    check: bool = False,
    progress: Progress | None = None,
) -> tuple[Published, ...]:
    """Publish buildings of a file, all of them by default.

    Args:
        path: a database; all of it is read and verified first.
        store: with write access.
        master: also told.
        change_encoder: replace a publication that another encoder made. Robots that use that one will refuse it.
        check: read objects that the store holds already, and repair damaged ones; else only their sizes are compared.
        progress: told the name of each building before it is published.

    Raises:
        FleetError: no such building, one published by another encoder or newer software, or the store fails.
        DatabaseError: the file is damaged.
    """
    with MapDatabase.open(path) as database:
        database.verify()
    with LocalMap(path) as local:
        for building_id in building_ids:
            if building_id not in local.building_ids:
                raise FleetError(f"{path}: no building {building_id}; it holds {', '.join(local.building_ids)}")
        chosen = tuple(dict.fromkeys(building_ids)) or local.building_ids
        previous = {building_id: _previous(store, building_id) for building_id in chosen}
        for building_id, old in previous.items():
            if old is not None and old.encoder_fingerprint != local.encoder_fingerprint and not change_encoder:
                raise FleetError(
                    f"{store.uri}: building {building_id} is of encoder {old.encoder_fingerprint}, but {path} of "
                    f"{local.encoder_fingerprint}; its robots would refuse that (--change-encoder publishes it)"
                )
        done = []
        for building_id in chosen:
            if progress is not None:
                progress(building_id)
            done.append(_publish_one(local, store, master, building_id, previous[building_id], check))
        return tuple(done)


def _previous(store: Store, building_id: str) -> BuildingHead | None:
    """The head in the store; a damaged or older one counts as none, for publishing is its cure."""
    name = head_name(building_id)
    try:
        data = store.read(name)
    except NotThere:
        return None
    try:
        return BuildingHead.from_json(data, f"{store.uri}/{name}")
    except FleetError as error:
        if "update this software" in str(error):
            raise
        return None


def _publish_one(
    local: LocalMap, store: Store, master: MasterWriter | None, building_id: str, old: BuildingHead | None, check: bool
) -> Published:
    building = local.building(building_id)
    head = building.head
    written = levels = 0
    if head.interaction:
        written += _put(store, head.interaction, len(local.interaction.encode()), check, local.interaction.encode)
    for entry, level in zip(head.levels, building.levels, strict=True):
        cost = _put(store, entry.root, entry.size, check, partial(level_object, local, level))
        written, levels = written + cost, levels + bool(cost)
    rows = None
    if master is not None:
        rows = master.replace_building(local, building, old.encoder_fingerprint if old is not None else "")
    if old is None or old.content != head.content:
        data = head.to_json()
        store.write(head_name(building_id), data)
        written += len(data)
    digest = hashlib.sha256(repr(head.content).encode()).hexdigest()[:16]
    return Published(building_id, written, head.size, levels, len(head.levels), rows, digest)


def level_object(local: LocalMap, level: LocalLevel) -> bytes:
    """Index and units of a level.

    Raises:
        FleetError: the file changed while it was read.
    """
    units = [local.unit(location) for location in level.locations]
    for data, (digest, _) in zip(units, level.index.entries, strict=True):
        if hashlib.sha256(data).digest() != digest:
            raise FleetError(f"{local.path}: changed while it was read; publish again")
    return level.index.to_bytes() + b"".join(units)


def _put(store: Store, root: str, size: int, check: bool, make: Callable[[], bytes]) -> int:
    """Write an object unless it is there; bytes written."""
    name = object_name(root)
    data = None
    if store.size(name) == size:
        if not check:
            return 0
        data = make()
        if store.read(name) == data:
            return 0
    store.write(name, make() if data is None else data)
    return size
