"""What a pull reads: heads, indexes and units, out of the objects of a store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from crossover_models.fleet.head import BuildingHead, LevelEntry, LevelIndex, building_of, head_name, object_name
from crossover_models.fleet.stores import NotThere, Store
from crossover_models.fleet.units import FleetError

# Neighbors are fetched in one request, and what lies between them too where that is less than a request costs.
RUN_BYTES = 1 << 20
GAP_BYTES = 1 << 12
HEAD_BYTES = 1 << 24


class UnitSource(Protocol):
    """Publications, as a pull reads them; ``received`` counts the bytes that travelled."""

    uri: str

    @property
    def received(self) -> int:
        """Bytes so far."""

    def head(self, building_id: str) -> BuildingHead:
        """Of a building; FleetError where it is not there."""

    def interaction(self, head: BuildingHead) -> str:
        """How the building's tokens are compared, "" where there are none."""

    def index(self, head: BuildingHead, level: LevelEntry) -> LevelIndex:
        """Units of a level, checked against the head."""

    def units(
        self, head: BuildingHead, level: LevelEntry, index: LevelIndex, wanted: Sequence[int]
    ) -> Iterator[tuple[bytes, bytes]]:
        """(digest, bytes) of some units by their numbers in ascending order, checked."""


class ObjectSource:
    """Publications in a store, by byte ranges of their objects."""

    def __init__(self, store: Store) -> None:
        self.store, self.uri = store, store.uri

    @property
    def received(self) -> int:
        """Bytes so far."""
        return self.store.received

    def head(self, building_id: str) -> BuildingHead:
        """See :class:`UnitSource`."""
        name = head_name(building_id)
        try:
            data = self.store.read_range(name, 0, HEAD_BYTES)
        except NotThere:
            raise FleetError(f"{self.uri}: no building {building_id}{self._known()}") from None
        head = BuildingHead.from_json(data, f"{self.uri}/{name}")
        if head.building_id != building_id:
            raise FleetError(f"{self.uri}/{name}: is the head of building {head.building_id}; publish it again")
        return head

    def _known(self) -> str:
        names = self.store.heads()
        if names is None:
            return ""
        listed = ", ".join(sorted(str(building_of(name)) for name in names))
        return f"; it holds {listed}" if listed else "; nothing is published there"

    def interaction(self, head: BuildingHead) -> str:
        """See :class:`UnitSource`."""
        if not head.interaction:
            return ""
        data = self._object(head.interaction, 0, -1, f"building {head.building_id}")
        if hashlib.sha256(data).hexdigest() != head.interaction:
            raise _corrupted(self.uri, head.interaction, f"building {head.building_id}, interaction")
        return data.decode()

    def index(self, head: BuildingHead, level: LevelEntry) -> LevelIndex:
        """See :class:`UnitSource`."""
        what = f"building {head.building_id}, level {level.level_id}"
        data = self._object(level.root, 0, level.index_size, what)
        if len(data) != level.index_size:
            raise FleetError(f"{self.uri}: object {level.root[:16]} ({what}): truncated; publish again with --check")
        return LevelIndex.from_bytes(data, level)

    def units(
        self, head: BuildingHead, level: LevelEntry, index: LevelIndex, wanted: Sequence[int]
    ) -> Iterator[tuple[bytes, bytes]]:
        """See :class:`UnitSource`."""
        what = f"building {head.building_id}, level {level.level_id}"
        for run, start, length in _runs(index, wanted):
            data = self._object(level.root, start, length, what)
            position = 0
            for number in range(run[0], run[-1] + 1):
                digest, size = index.entries[number]
                unit, position = data[position : position + size], position + size
                if number not in run:
                    continue
                if hashlib.sha256(unit).digest() != digest:
                    raise _corrupted(self.uri, level.root, f"{what}, unit {number}")
                yield digest, unit

    def _object(self, root: str, start: int, length: int, what: str) -> bytes:
        name = object_name(root)
        try:
            return self.store.read(name) if length < 0 else self.store.read_range(name, start, length)
        except NotThere:
            raise FleetError(f"{self.uri}: object {root[:16]} ({what}) is missing; publish again") from None


def _corrupted(uri: str, root: str, what: str) -> FleetError:
    return FleetError(f"{uri}: object {root[:16]} ({what}) is corrupted; publish again with --check")


def _runs(index: LevelIndex, wanted: Sequence[int]) -> Iterator[tuple[list[int], int, int]]:
    """(unit numbers, first byte, bytes) of each request."""
    offsets = index.offsets()
    run: list[int] = []
    for number in wanted:
        end = offsets[number] + index.entries[number][1]
        if run:
            first, last = offsets[run[0]], offsets[run[-1]] + index.entries[run[-1]][1]
            if offsets[number] - last > GAP_BYTES or end - first > RUN_BYTES:
                yield run, first, last - first
                run = []
        run.append(number)
    if run:
        first = offsets[run[0]]
        yield run, first, offsets[run[-1]] + index.entries[run[-1]][1] - first
