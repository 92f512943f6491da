"""What a publication promises: the head of a building, and the index of units in the object of one of its levels."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import quote, unquote

from crossover_models.fleet.units import FleetError
from crossover_models.map_database.schema import SCHEMA_VERSION

FORMAT = 1
INDEX_MAGIC = b"XOLEVEL1"
_PREFIX = struct.Struct("<8sI")
_ENTRY = struct.Struct("<32sQ")
_HEX = re.compile("[0-9a-f]{64}")
HEADS = "buildings/"


def head_name(building_id: str) -> str:
    """Name in a store of a building's head."""
    return f"{HEADS}{quote(building_id, safe='')}.json"


def building_of(name: str) -> str | None:
    """Building whose head has this name, None if it is no head's."""
    return unquote(name[len(HEADS) : -5]) if name.startswith(HEADS) and name.endswith(".json") else None


def object_name(root: str) -> str:
    """Name in a store of the object with this digest."""
    return f"objects/{root[:2]}/{root}"


@dataclass(frozen=True)
class LevelEntry:
    """A level in a head: ``root`` (SHA-256 of its index, hex), number of units, size of its object in bytes."""

    level_id: str
    root: str
    units: int
    size: int

    @property
    def index_size(self) -> int:
        """Bytes of the index, which is the beginning of the object."""
        return _PREFIX.size + self.units * _ENTRY.size


@dataclass(frozen=True)
class BuildingHead:
    """What a reader goes by; everything else is named by digests in it.

    Attributes:
        interaction: SHA-256 (hex) of how tokens are compared, "" where codes are vectors alone.
        created, software_version: of the file that was published; no part of the content.
    """

    building_id: str
    source: str
    schema_version: int
    encoder_fingerprint: str
    encoder_profile: str
    embedding_dim: int
    interaction: str
    created: str
    software_version: str
    levels: tuple[LevelEntry, ...]

    @property
    def size(self) -> int:
        """Bytes of all levels: what a robot without any copy fetches."""
        return sum(level.size for level in self.levels)

    @property
    def content(self) -> tuple[object, ...]:
        """Everything but when and by which version it was made: equal contents, equal databases."""
        code = (self.schema_version, self.encoder_fingerprint, self.encoder_profile, self.embedding_dim)
        return (self.building_id, self.source, *code, self.interaction, self.levels)

    def to_json(self) -> bytes:
        """With a digest of itself, so that damage shows."""
        body = {"format": FORMAT, **asdict(self)}
        return json.dumps({**body, "digest": _digest(body)}, indent=1, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes, what: str) -> BuildingHead:
        """Read a head; ``what`` names it in errors.

        Raises:
            FleetError: damaged, or of another format or schema.
        """
        try:
            body = json.loads(data)
            if body["format"] != FORMAT:
                raise FleetError(f"{what}: format {body['format']!r}, but {FORMAT} is read; update this software")
            if body.pop("digest") != _digest(body):
                raise FleetError(f"{what}: damaged: its digest does not fit; publish the building again")
            version = body["schema_version"]
            if version != SCHEMA_VERSION:
                old = isinstance(version, int) and version < SCHEMA_VERSION
                age, cure = ("older", "build and publish it again") if old else ("newer", "update this software")
                raise FleetError(f"{what}: schema version {version} is {age} than {SCHEMA_VERSION}; {cure}")
            values = {field.name: body[field.name] for field in fields(cls)}
            values["levels"] = tuple(_entry(level) for level in body["levels"])
        except FleetError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FleetError(f"{what}: damaged: {error!r}; publish the building again") from None
        return cls(**values)


def _entry(values: Any) -> LevelEntry:
    entry = LevelEntry(**values)
    if not _HEX.fullmatch(entry.root) or not 1 <= entry.units <= 1 << 32 or entry.size < entry.index_size:
        raise ValueError(f"level {entry.level_id}: root, units or size make no sense")
    return entry


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class LevelIndex:
    """Digest (32 bytes) and length of every unit of a level, in the order of the object."""

    entries: tuple[tuple[bytes, int], ...]

    def to_bytes(self) -> bytes:
        """The beginning of a level's object."""
        return _PREFIX.pack(INDEX_MAGIC, len(self.entries)) + b"".join(_ENTRY.pack(*entry) for entry in self.entries)

    @classmethod
    def from_bytes(cls, data: bytes, level: LevelEntry) -> LevelIndex:
        """Read and check an index against the head.

        Raises:
            FleetError: it is not the one that the head names.
        """
        what = f"object {level.root[:16]} of level {level.level_id}"
        if hashlib.sha256(data).hexdigest() != level.root:
            raise FleetError(f"{what}: corrupted index; publish the building again with --check")
        magic, count = _PREFIX.unpack_from(data)
        if magic != INDEX_MAGIC or count != level.units or len(data) != level.index_size:
            raise FleetError(f"{what}: is no index of {level.units} units")
        index = cls(tuple(_ENTRY.iter_unpack(data[_PREFIX.size :])))
        if index.size != level.size:
            raise FleetError(f"{what}: lists {index.size} bytes, but the head says {level.size}")
        return index

    @property
    def size(self) -> int:
        """Bytes of the whole object."""
        return _PREFIX.size + _ENTRY.size * len(self.entries) + sum(length for _, length in self.entries)

    def entry(self, level_id: str) -> LevelEntry:
        """The level's line in a head."""
        root = hashlib.sha256(self.to_bytes()).hexdigest()
        return LevelEntry(level_id, root, len(self.entries), self.size)

    def offsets(self) -> Sequence[int]:
        """Where each unit begins in the object."""
        position, out = _PREFIX.size + _ENTRY.size * len(self.entries), []
        for _, length in self.entries:
            out.append(position)
            position += length
        return out
