"""From units to a database file: rows in the order in which a build writes them, so that equal units make equal files.

A file built at once and one put together of units have the same content fingerprint, row for row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import apsw

from crossover_models.fleet.extraction import read_building
from crossover_models.fleet.head import BuildingHead
from crossover_models.fleet.units import FleetError, Row, decode_unit
from crossover_models.map_database.codec import CodecError, nav2_image_name
from crossover_models.map_database.writer import DatabaseWriter
from crossover_models.observation import Modality
from crossover_models.sets.interaction import Interaction

# All units of one building, level by level, in the order of their objects.
BuildingUnits = Callable[[BuildingHead], Iterable[Iterable[bytes]]]
_KINDS = tuple(modality.value for modality in Modality)


def assemble(out: Path, heads: Sequence[BuildingHead], interaction: str, units: BuildingUnits) -> None:
    """Write a database of whole buildings; it replaces ``out`` at once, or ``out`` stays as it is.

    The file's content is read back and compared with the heads before it takes its name. Codes of one building are held
    in memory, for a build writes them modality by modality: about 15 kB a place.

    Args:
        out: file to write or replace.
        heads: of buildings of one encoder, in the order of the file.
        interaction: description of how tokens are compared, "" where there is none.
        units: gives a building's units.

    Raises:
        FleetError: a unit is damaged or out of its place, or what was written is not what the heads promise.
        DatabaseError: ``out`` cannot be replaced, or another process writes it.
    """
    first = heads[0]
    described = Interaction.from_json(interaction) if interaction else None
    if described is not None and described.to_json() != interaction:
        raise FleetError(
            f"building {first.building_id}: its interaction was written by another version; build it again"
        )
    with _RowWriter(
        out, first.encoder_fingerprint, first.encoder_profile, first.embedding_dim, described
    ) as writer:  # fmt: skip
        newest = max(heads, key=lambda head: head.created)
        writer.say_made(newest.created, newest.software_version)
        for head in heads:
            writer.add_units(head, units(head))
            writer.check(head)
        writer.publish()


class _RowWriter(DatabaseWriter):
    """A build whose rows exist already."""

    def say_made(self, created: str, software_version: str) -> None:
        """When and by which version the content was built; putting it together is no build."""
        rows = [(created, "created"), (software_version, "software_version")]
        self._live.executemany("UPDATE meta SET value=? WHERE key=?", rows)

    @property
    def _live(self) -> apsw.Connection:
        if self._connection is None:
            raise FleetError(f"{self.out}: is closed already")
        return self._connection

    def add_units(self, head: BuildingHead, levels: Iterable[Iterable[bytes]]) -> None:
        """Insert one building's rows."""
        building = self._insert("buildings", None, head.building_id, head.source)
        self._buildings[head.building_id] = building
        codes: dict[str, list[tuple[int, Row]]] = {kind: [] for kind in _KINDS}
        for entry, level_units in zip(head.levels, levels, strict=True):
            try:
                self._add_level_units(building, level_units, codes)
            except (FleetError, CodecError, KeyError) as error:
                raise FleetError(f"building {head.building_id}, level {entry.level_id}: {error}") from None
        for kind, held in codes.items():
            for place, (_, vector, tokens) in held:
                self._insert("embeddings", None, building, kind, place, vector, tokens)

    def _add_level_units(self, building: int, units: Iterable[bytes], codes: dict[str, list[tuple[int, Row]]]) -> None:
        level = place = None
        for data in units:
            table, rows = decode_unit(data)
            if table == "levels":
                if level is not None or len(rows) != 1:
                    raise FleetError("unit of levels: expected one, as the first")
                level = self._insert("levels", None, building, *rows[0])
            elif level is None:
                raise FleetError(f"unit of {table}: comes before the level's own")
            elif table in ("plans", "drawings", "structures"):
                for row in rows:
                    self._insert(table, level, *row)
                    if table == "plans":
                        self._claim_name(str(row[0]))
            elif table in ("doors", "lifts"):
                for row in rows:
                    self._insert(table, None, level, *row)
            elif table == "places":
                for row in rows:
                    place = self._insert("places", None, building, level, *row)
            elif place is None:
                raise FleetError(f"unit of {table}: comes before any place")
            elif table == "point_clouds":
                for row in rows:
                    self._insert(table, place, *row)
            elif table == "embeddings":
                for row in rows:
                    codes[str(row[0])].append((place, row))
            else:
                for row in rows:
                    self._insert(table, None, place, *row)

    def _claim_name(self, nav2_yaml: str) -> None:
        """Two plans of one name would overwrite each other when exported; only buildings built apart can have that."""
        name = nav2_image_name(nav2_yaml)
        if name in self._stems:
            raise FleetError(f"its plan is called {name}, as is another of this file; keep the two in different files")
        self._stems.add(name)

    def check(self, head: BuildingHead) -> None:
        """Read the building back.

        Raises:
            FleetError: its content is not what the head says.
        """
        meta = {str(key): str(value) for key, value in self._live.execute("SELECT key, value FROM meta")}
        found = read_building(self._live, head.building_id, meta).head
        if found.content != head.content:
            raise FleetError(
                f"{self.out}: building {head.building_id} read back is not what was published; left as it was"
            )
