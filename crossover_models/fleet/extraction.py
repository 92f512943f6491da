"""From a database file to units: what a building on this machine consists of, and where each unit lies in the file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from crossover_models.fleet.head import BuildingHead, LevelIndex
from crossover_models.fleet.units import LEVEL_TABLES, PLACE_TABLES, FleetError, encode_unit
from crossover_models.map_database.store import MapDatabase
from crossover_models.observation import Modality

_KINDS = f"({', '.join(repr(modality.value) for modality in Modality)})"
_INDEXED = f"building=(SELECT building FROM places WHERE place=?1) AND kind IN {_KINDS}"
_KIND_ORDER = "CASE kind " + " ".join(f"WHEN '{m.value}' THEN {i}" for i, m in enumerate(Modality)) + " ELSE 99 END"


@dataclass(frozen=True)
class UnitLocation:
    """Where a unit lies: a table, and the row number of the level or place that it belongs to."""

    table: str
    owner: int


@dataclass(frozen=True)
class LocalLevel:
    """A level of a file: its index, and where each of the listed units lies."""

    level_id: str
    index: LevelIndex
    locations: tuple[UnitLocation, ...]


@dataclass(frozen=True)
class LocalBuilding:
    """A building of a file: its head, and its levels beside the head's."""

    head: BuildingHead
    levels: tuple[LocalLevel, ...]


class LocalMap:
    """A database file, read unit by unit; a context manager.

    Attributes:
        interaction: description of how tokens are compared, "" where there is none.

    Raises:
        DatabaseError: the file is no database that can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with MapDatabase.open(path) as database:
            self.building_ids = database.building_ids()
            self.encoder_fingerprint = database.encoder_fingerprint
        mode = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
        self._connection = apsw.Connection(
            f"file:{quote(str(path.absolute()))}?{mode}",
            flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
        )
        self._meta = dict(self._connection.execute("SELECT key, value FROM meta"))
        self.interaction = str(self._meta.get("interaction", ""))

    def __enter__(self) -> LocalMap:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def building(self, building_id: str) -> LocalBuilding:
        """Digests of everything in a building; reads all of it.

        Raises:
            FleetError: the file cannot be read.
        """
        with _reading(str(self.path)):
            return read_building(self._connection, building_id, self._meta)

    def unit(self, location: UnitLocation) -> bytes:
        """The bytes of one unit.

        Raises:
            FleetError: the file cannot be read.
        """
        with _reading(str(self.path)):
            return read_unit(self._connection, location)


def read_building(connection: Any, building_id: str, meta: dict[str, str]) -> LocalBuilding:
    """Digests of everything in a building, over a connection; ``meta`` as the file's own table has it."""
    ((building, source),) = connection.execute(
        "SELECT building, source FROM buildings WHERE building_id=?", (building_id,)
    )
    query = f"SELECT kind FROM embeddings WHERE building=? AND kind NOT IN {_KINDS} LIMIT 1"
    for (kind,) in connection.execute(query, (building,)):
        raise FleetError(f"building {building_id}: holds embeddings of {kind!r}, which is no modality; build it again")
    levels = []
    found = connection.execute("SELECT level, level_id FROM levels WHERE building=? ORDER BY level", (building,))
    for level, level_id in list(found):
        locations, entries = [], []
        for location in _locations(connection, level):
            data = read_unit(connection, location)
            locations.append(location)
            entries.append((hashlib.sha256(data).digest(), len(data)))
        levels.append(LocalLevel(level_id, LevelIndex(tuple(entries)), tuple(locations)))
    described = meta.get("interaction", "")
    (schema_version,) = next(iter(connection.execute("PRAGMA user_version")))
    head = BuildingHead(
        building_id,
        source,
        schema_version,
        meta["encoder_fingerprint"],
        meta["encoder_profile"],
        int(meta["embedding_dim"]),
        hashlib.sha256(described.encode()).hexdigest() if described else "",
        meta["created"],
        meta["software_version"],
        tuple(level.index.entry(level.level_id) for level in levels),
    )
    return LocalBuilding(head, tuple(levels))


def read_unit(connection: Any, location: UnitLocation) -> bytes:
    """Encode one unit from the rows of a file."""
    table = location.table
    if table in LEVEL_TABLES:
        columns, owner, order = LEVEL_TABLES[table], "level", "rowid"
    else:
        columns, owner = PLACE_TABLES[table], "place"
        order = _KIND_ORDER if table == "embeddings" else "rowid"
    # embeddings are indexed by building, kind and place, in this order
    also = f" AND {_INDEXED}" if table == "embeddings" else ""
    query = f"SELECT {', '.join(columns)} FROM {table} WHERE {owner}=?1{also} ORDER BY {order}"
    return encode_unit(table, list(connection.execute(query, (location.owner,))))


def _locations(connection: Any, level: int) -> Iterator[UnitLocation]:
    """Every unit of a level in the order of its object; tables without rows have none."""
    for table in LEVEL_TABLES:
        if list(connection.execute(f"SELECT 1 FROM {table} WHERE level=? LIMIT 1", (level,))):
            yield UnitLocation(table, level)
    held = {
        table: {row[0] for row in connection.execute(_OWNERS[table], (level,))}
        for table in PLACE_TABLES
        if table != "places"
    }
    for (place,) in list(connection.execute("SELECT place FROM places WHERE level=? ORDER BY place", (level,))):
        yield UnitLocation("places", place)
        for table, owners in held.items():
            if place in owners:
                yield UnitLocation(table, place)


# As above: looked up by what the index begins with.
_OWNERS = {
    table: f"SELECT DISTINCT p.place FROM places p JOIN {table} t ON t.place=p.place WHERE p.level=?"
    for table in PLACE_TABLES
} | {
    "embeddings": "SELECT DISTINCT e.place FROM places p JOIN embeddings e ON e.building=p.building"
    f" AND e.kind IN {_KINDS} AND e.place=p.place WHERE p.level=?"
}


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except (apsw.Error, ValueError, KeyError, TypeError) as error:
        raise FleetError(f"{what}: damaged map database: {' '.join(str(error).split())}") from None
