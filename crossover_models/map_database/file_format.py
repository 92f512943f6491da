"""What a map database file looks like from outside, and the errors of those who meet another."""

from __future__ import annotations

import struct
from pathlib import Path

from crossover_models.map_database.schema import APPLICATION_ID, SCHEMA_VERSION

SQLITE_MAGIC = b"SQLite format 3\0"
REBUILD = "build it again with 'crossover map build'"


class DatabaseError(ValueError):
    """A map database that cannot be written, opened or read; the message names the file and the reason."""


class FingerprintMismatch(DatabaseError):
    """A database whose embeddings another encoder made; both fingerprints are in the message."""


def check_header(path: Path) -> None:
    """Say in one line what is wrong with a file before SQLite says it in its own words."""
    if path.is_dir():
        raise DatabaseError(f"{path}: is a directory, not a map database")
    if not path.exists():
        raise DatabaseError(f"{path}: no such file")
    if not path.is_file():  # reading a pipe would wait for ever
        raise DatabaseError(f"{path}: is not a regular file")
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(SQLITE_MAGIC):
        raise DatabaseError(f"{path}: is not a map database (no SQLite header)")
    if struct.unpack(">I", header[68:72])[0] != APPLICATION_ID:
        raise DatabaseError(f"{path}: is an SQLite file, but not a map database")
    version = struct.unpack(">I", header[60:64])[0]
    if version != SCHEMA_VERSION:
        age, cure = ("newer", "update this software") if version > SCHEMA_VERSION else ("older", REBUILD)
        raise DatabaseError(f"{path}: schema version {version} is {age} than {SCHEMA_VERSION}, which is read; {cure}")
    page_size = struct.unpack(">H", header[16:18])[0]
    promised = (65536 if page_size == 1 else page_size) * struct.unpack(">I", header[28:32])[0]
    if not Path(f"{path}-wal").exists() and path.stat().st_size != promised:
        raise DatabaseError(f"{path}: truncated: {path.stat().st_size} of {promised} bytes; {REBUILD}")


def check_replaceable(out: Path) -> None:
    """Refuse to replace what is not a map database: a mistyped output must cost nothing.

    Raises:
        DatabaseError: ``out`` is a directory, a file of another kind, or a database that somebody edits in place.
    """
    if out.is_dir():
        raise DatabaseError(f"{out}: is a directory; give the file to write")
    if not out.exists():
        return
    if not out.is_file():
        raise DatabaseError(f"{out}: exists and is not a regular file; it is left as it is")
    with out.open("rb") as file:
        header = file.read(100)
    known = header.startswith(SQLITE_MAGIC) and header[68:72] == struct.pack(">I", APPLICATION_ID)
    if header and not known:
        raise DatabaseError(f"{out}: exists and is not a map database; it is left as it is")
    for side in (Path(f"{out}-wal"), Path(f"{out}-journal")):
        if side.exists():  # SQLite would replay it over the new file
            raise DatabaseError(
                f"{out}: {side.name} holds edits of the old file; close its editor, or remove both files"
            )
