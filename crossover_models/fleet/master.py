"""The fleet's master database: one Lance table for each encoder, on a disk or an object store.

A row is a place, with its vector of each modality (null where the source lacks it), its tokens, and as ``content``
all of its units; a level's own units are a row with an empty place id, a building's head one with an empty level id
too. So the table is whole in itself: a building can be read back from it alone, bit for bit, and every commit
replaces one building at once. Lance's versions are the history, and its scans search all the fleet's places. Vectors
of different encoders cannot be compared, hence a table for each.

Lance and pyarrow come with the extra ``fleet``, installed where one publishes; see platform measurements in
docs/fleet.md.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from crossover_models.fleet.extraction import LocalBuilding, LocalLevel, LocalMap
from crossover_models.fleet.head import BuildingHead, LevelEntry, LevelIndex
from crossover_models.fleet.stores import EXTRA, KINDS, StoreError
from crossover_models.fleet.units import FleetError, decode_unit
from crossover_models.observation import Modality

KEYS = ("building_id", "level_id", "place_id")
# A delete names its rows one by one; beyond this many the building is written anew.
NAMED_DELETES = 200


def _engine(uri: str) -> tuple[Any, Any]:
    try:
        import lance
        import pyarrow
    except ModuleNotFoundError as error:
        raise StoreError(
            f"{uri}: the master database needs {error.name}, which the extra fleet brings: {EXTRA}; "
            "--objects-only publishes without it"
        ) from None
    return lance, pyarrow


@dataclass(frozen=True)
class _Row:
    """One row: its key, its number within the level, and its units."""

    level_id: str
    place_id: str
    name: str
    category: str
    ordinal: int
    units: tuple[bytes, ...]
    says: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.level_id, self.place_id

    @property
    def unit_digests(self) -> bytes:
        """32 bytes for each unit."""
        return b"".join(hashlib.sha256(unit).digest() for unit in self.units)

    @property
    def digest(self) -> bytes:
        """Of what the row ``says``, where its bytes say more than its content; else of them."""
        said = self.says.encode() if self.says else self.unit_digests
        return hashlib.sha256(str(self.ordinal).encode() + said).digest()


class Master:
    """Lance tables below ``URI/master``; takes the same addresses as a store that can be written.

    Raises:
        StoreError: Lance is not installed, or the address is of a kind that it cannot write.
    """

    def __init__(self, uri: str) -> None:
        self._lance, self._arrow = _engine(uri)
        if "://" in uri and not uri.startswith(("s3://", "file://")):
            raise StoreError(f"{uri}: no master there; known are {KINDS}, and HTTP cannot be written")
        self.uri = uri.rstrip("/")
        self._options: dict[str, str] | None = None
        if uri.startswith("s3://"):
            endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
            plain = {"aws_endpoint": endpoint, "allow_http": "true"} if endpoint else {}
            self._options = {"client_max_retries": "3", "request_timeout": "30s", **plain}

    def table(self, encoder_fingerprint: str) -> Any | None:
        """The Lance dataset of an encoder, None where nothing was published with it."""
        try:
            return self._lance.dataset(self._path(encoder_fingerprint), storage_options=self._options)
        except (ValueError, OSError) as error:
            if "not found" in str(error).lower():
                return None
            raise self._failed(error) from None

    def replace_building(self, local: LocalMap, building: LocalBuilding, previous: str) -> int:
        """Make a building's rows those of ``local`` in one commit; how many rows changed.

        Args:
            local: the file that is published.
            building: of that file.
            previous: encoder of the publication before, whose table loses the building if it is another.

        Raises:
            StoreError: the table cannot be written, or another publisher wrote the same rows meanwhile.
        """
        head = building.head
        try:
            changed = self._commit(local, building)
            other = self.table(previous) if previous not in ("", head.encoder_fingerprint) else None
            if other is not None:
                other.delete(f"building_id = {_quoted(head.building_id)}")
        except (ValueError, OSError, RuntimeError) as error:
            if isinstance(error, FleetError):
                raise
            raise self._failed(error) from None
        return changed

    def _commit(self, local: LocalMap, building: LocalBuilding) -> int:
        head = building.head
        table = self.table(head.encoder_fingerprint)
        if table is None:
            rows = list(_rows(local, building))
            path = self._path(head.encoder_fingerprint)
            self._lance.write_dataset(self._as_table(head, rows), path, mode="create", storage_options=self._options)
            return len(rows)
        chosen = f"building_id = {_quoted(head.building_id)}"
        found = table.to_table(columns=["level_id", "place_id", "digest"], filter=chosen).to_pylist()
        held = {(row["level_id"], row["place_id"]): row["digest"] for row in found}
        keys, changed = set(), []
        for row in _rows(local, building):
            keys.add(row.key)
            if held.get(row.key) != row.digest:
                changed.append(row)
        gone = [key for key in held if key not in keys]
        if not changed and not gone:
            return 0
        if len(gone) > NAMED_DELETES:
            changed, dropped = list(_rows(local, building)), chosen
        else:
            named = " OR ".join(f"(level_id = {_quoted(a)} AND place_id = {_quoted(b)})" for a, b in gone)
            dropped = f"{chosen} AND ({named})"
        merge = table.merge_insert(list(KEYS)).when_matched_update_all().when_not_matched_insert_all()
        if gone:
            merge = merge.when_not_matched_by_source_delete(dropped)
        merge.execute(self._as_table(head, changed))
        return len(changed) + len(gone)

    def _as_table(self, head: BuildingHead, rows: Sequence[_Row]) -> Any:
        arrow = self._arrow
        fields = [
            *(arrow.field(name, arrow.string()) for name in (*KEYS, "name", "category")),
            arrow.field("ordinal", arrow.int32()),
            arrow.field("digest", arrow.binary()),
            arrow.field("unit_digests", arrow.binary()),
            arrow.field("unit_sizes", arrow.list_(arrow.int64())),
            arrow.field("content", arrow.large_binary()),
        ]
        for modality in Modality:
            fields.append(arrow.field(f"vector_{modality.value}", arrow.list_(arrow.float32(), head.embedding_dim)))
            fields.append(arrow.field(f"tokens_{modality.value}", arrow.binary()))
        columns: dict[str, list[Any]] = {field.name: [] for field in fields}
        for row in rows:
            plain = (head.building_id, *row.key, row.name, row.category, row.ordinal, row.digest, row.unit_digests)
            sizes = [len(unit) for unit in row.units]
            for name, value in zip(columns, (*plain, sizes, b"".join(row.units)), strict=False):
                columns[name].append(value)
            codes = _codes(row.units) if row.place_id else {}
            for modality in Modality:
                vector, tokens = codes.get(modality.value, (None, None))
                columns[f"vector_{modality.value}"].append(None if vector is None else _floats(vector))
                columns[f"tokens_{modality.value}"].append(tokens)
        return arrow.table(columns, schema=arrow.schema(fields))

    def _path(self, encoder_fingerprint: str) -> str:
        return f"{self.uri}/master/{encoder_fingerprint}.lance"

    def _failed(self, error: BaseException) -> StoreError:
        return StoreError(f"{self.uri}: master database: {' '.join(str(error).split())[:400]}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _floats(vector: bytes) -> Any:
    import numpy as np

    return np.frombuffer(vector, dtype="<f4")


def _codes(units: Sequence[bytes]) -> dict[str, tuple[bytes, bytes | None]]:
    """(vector, tokens) by modality, out of a place's units."""
    for unit in units:
        table, rows = decode_unit(unit)
        if table == "embeddings":
            return {str(kind): (vector, tokens) for kind, vector, tokens in rows}  # type: ignore[misc]
    return {}


def _rows(local: LocalMap, building: LocalBuilding) -> Iterator[_Row]:
    """The building's rows: its head and interaction, then each level's own and its places'."""
    head = building.head
    # When and by which version it was built is no content: built again alike, the row stays.
    yield _Row("", "", head.source, "", 0, (head.to_json(), local.interaction.encode()), repr(head.content))
    for level in building.levels:
        yield from _level_rows(local, level)


def _level_rows(local: LocalMap, level: LocalLevel) -> Iterator[_Row]:
    place_id, name, category, ordinal = "", "", "", 0
    units: list[bytes] = []
    for location in level.locations:
        data = local.unit(location)
        if location.table == "places":
            yield _Row(level.level_id, place_id, name, category, ordinal, tuple(units))
            ((found, called, kind, _),) = decode_unit(data)[1]
            place_id, name, category, ordinal, units = str(found), str(called), str(kind), ordinal + 1, []
        units.append(data)
    yield _Row(level.level_id, place_id, name, category, ordinal, tuple(units))


class MasterSource:
    """Publications read from the master itself, for machines that have Lance; see :class:`.sources.UnitSource`.

    A robot that pulls this way fetches whole rows: all that a place holds where one of its sentences changed.
    """

    def __init__(self, uri: str, encoder_fingerprint: str) -> None:
        self._master = Master(uri)
        self.uri = self._master.uri
        table = self._master.table(encoder_fingerprint)
        if table is None:
            raise FleetError(f"{uri}: nothing is published there with encoder {encoder_fingerprint}")
        self._table = table
        self._table.io_stats_incremental()
        self._received = 0

    @property
    def received(self) -> int:
        """Bytes that Lance read so far."""
        self._received += int(self._table.io_stats_incremental().read_bytes)
        return self._received

    def head(self, building_id: str) -> BuildingHead:
        """See :class:`.sources.UnitSource`."""
        return BuildingHead.from_json(self._front(building_id)[0], f"{self.uri}: master, building {building_id}")

    def interaction(self, head: BuildingHead) -> str:
        """See :class:`.sources.UnitSource`."""
        return self._front(head.building_id)[1].decode()

    def _front(self, building_id: str) -> tuple[bytes, ...]:
        chosen = f"building_id = {_quoted(building_id)} AND level_id = ''"
        rows = self._table.to_table(columns=["unit_sizes", "content"], filter=chosen).to_pylist()
        if len(rows) != 1:
            raise FleetError(f"{self.uri}: master: no building {building_id}")
        return _split(rows[0])

    def index(self, head: BuildingHead, level: LevelEntry) -> LevelIndex:
        """See :class:`.sources.UnitSource`."""
        entries = [entry for _, row in self._level(head, level) for entry in row]
        return LevelIndex.from_bytes(LevelIndex(tuple(entries)).to_bytes(), level)

    def units(
        self, head: BuildingHead, level: LevelEntry, index: LevelIndex, wanted: Sequence[int]
    ) -> Iterator[tuple[bytes, bytes]]:
        """See :class:`.sources.UnitSource`."""
        chosen = {index.entries[number][0] for number in wanted}
        lacking = [ordinal for ordinal, row in self._level(head, level) if any(digest in chosen for digest, _ in row)]
        listed = ", ".join(str(ordinal) for ordinal in lacking)
        found = self._rows(head, level, ["unit_sizes", "content"], f" AND ordinal IN ({listed})")
        for row in found:
            for unit in _split(row):
                digest = hashlib.sha256(unit).digest()
                if digest in chosen:
                    chosen.remove(digest)
                    yield digest, unit
        if chosen:
            raise FleetError(
                f"{self.uri}: master: {len(chosen)} units of level {level.level_id} are missing or damaged"
            )

    def _level(self, head: BuildingHead, level: LevelEntry) -> Iterator[tuple[int, list[tuple[bytes, int]]]]:
        """(ordinal, digests and sizes of its units) of each row of a level."""
        for row in self._rows(head, level, ["ordinal", "unit_sizes", "unit_digests"]):
            digests = row["unit_digests"]
            yield row["ordinal"], [(digests[32 * i : 32 * i + 32], n) for i, n in enumerate(row["unit_sizes"])]

    def _rows(self, head: BuildingHead, level: LevelEntry, columns: list[str], also: str = "") -> list[dict[str, Any]]:
        chosen = f"building_id = {_quoted(head.building_id)} AND level_id = {_quoted(level.level_id)}{also}"
        rows = self._table.to_table(columns=sorted({"ordinal", *columns}), filter=chosen).to_pylist()
        return sorted(rows, key=lambda row: int(row["ordinal"]))


def _split(row: dict[str, Any]) -> tuple[bytes, ...]:
    out, position = [], 0
    for size in row["unit_sizes"]:
        out.append(row["content"][position : position + size])
        position += size
    return tuple(out)
