"""What a pull has fetched so far, in a file beside its target, so that an interrupted one goes on where it was.

Each record is a unit behind its digest and length; whatever does not fit its digest is dropped when the file is read
again, above all the record that a kill cut off. One pull at a time holds the file's lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from pathlib import Path
from typing import BinaryIO

from crossover_models.fleet.units import FleetError

_RECORD = struct.Struct("<32sQ")


class Journal:
    """Units by digest, on disk; a context manager that releases the lock and keeps the file.

    Raises:
        FleetError: another pull writes the same target.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f".{target.name}.pulled")
        target.parent.mkdir(parents=True, exist_ok=True)
        self._file = _locked(self.path, target)
        self._where: dict[bytes, tuple[int, int]] = {}
        self._end = 0
        self._read_back()

    def _read_back(self) -> None:
        size = os.fstat(self._file.fileno()).st_size
        while size - self._end >= _RECORD.size:
            self._file.seek(self._end)
            digest, length = _RECORD.unpack(self._file.read(_RECORD.size))
            if length > size - self._end - _RECORD.size:
                break
            if hashlib.sha256(self._file.read(length)).digest() != digest:
                break
            self._where[digest] = (self._end + _RECORD.size, length)
            self._end += _RECORD.size + length
        self._file.truncate(self._end)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._where

    def __len__(self) -> int:
        return len(self._where)

    def add(self, digest: bytes, data: bytes) -> None:
        """Keep a unit whose digest was checked; a kill in here costs this unit only."""
        self._file.seek(self._end)
        self._file.write(_RECORD.pack(digest, len(data)) + data)
        self._file.flush()
        self._where[digest] = (self._end + _RECORD.size, len(data))
        self._end += _RECORD.size + len(data)

    def get(self, digest: bytes) -> bytes:
        """The unit with this digest; KeyError if it was not added."""
        start, length = self._where[digest]
        self._file.seek(start)
        return self._file.read(length)

    def finish(self) -> None:
        """Remove the file: what it held is in the target."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._end:
            self.finish()
        self._file.close()


def _locked(path: Path, target: Path) -> BinaryIO:
    """The file under an exclusive lock; the loop covers a holder that removes it between our open and our lock."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise FleetError(f"{target}: another pull is writing it") from None
        if path.exists() and os.fstat(file.fileno()).st_ino == path.stat().st_ino:
            return file
        file.close()
