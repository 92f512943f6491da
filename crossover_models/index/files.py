"""An index on disk: a folder of plain arrays, one FAISS file, and a manifest that says what belongs to it.

Files of a new index get names of their own, and the manifest that names them is replaced last and atomically: until
then the folder is the index that it was, and a build that was killed costs nothing but its files, which the next one
removes. The manifest holds the digest of the content that was indexed, so that an index of another content is stale,
and every file's size, time of writing and SHA-256. A file of that size and time is trusted without being read; one that
was touched or copied since is read once and compared. Nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.index.choice import KINDS, IndexChoice

FORMAT = 2
MANIFEST = "manifest.json"
_NUMBERED = re.compile(r"[a-z_]+-(\d+)\.(?:npy|npz|faiss)")


class IndexFileError(ValueError):
    """An index that is missing, damaged, or of another form; the message names the file and what is wrong."""


class StaleIndexError(IndexFileError):
    """An index of another content than the map's: build it again."""


@dataclass(frozen=True)
class FileMark:
    """How a file was left: bytes, time of writing (ns), SHA-256."""

    size: int
    written_ns: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a folder holds.

    Attributes:
        digest: of the content that is indexed.
        count: rows.
        dim: length of a row.
        choice: kind of index.
        files: role ("vectors", "changes") -> name.
        marks: name -> how it was left.
    """

    digest: str
    count: int
    dim: int
    choice: IndexChoice
    files: dict[str, str]
    marks: dict[str, FileMark]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make the files named in the manifest the folder's content."""
    growing = folder / f"{MANIFEST}.part"
    with growing.open("w", encoding="utf-8") as out:
        json.dump({"format": FORMAT, **asdict(manifest)}, out, indent=2)
        out.flush()
        os.fsync(out.fileno())
    growing.replace(folder / MANIFEST)
    remove_strays(folder, manifest)


def read_manifest(folder: Path, digest: str | None = None, dim: int | None = None) -> Manifest:
    """The manifest of a folder whose files are all there and whole.

    Raises:
        StaleIndexError: it indexes another content than ``digest``.
        IndexFileError: missing, damaged, of another format or vector length than ``dim``, or a file is truncated.
    """
    manifest = _parsed(folder / MANIFEST)
    if digest is not None and manifest.digest != digest:
        raise StaleIndexError(f"{folder}: indexes content {manifest.digest}, but the map's is {digest}; build it again")
    if dim is not None and manifest.dim != dim:
        raise IndexFileError(f"{folder}: holds vectors of {manifest.dim} numbers, but {dim} are asked for")
    for name, mark in manifest.marks.items():
        _check(folder / name, mark)
    return manifest


def held_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder, whatever became of the files; None where there is none that can be read."""
    try:
        return _parsed(folder / MANIFEST)
    except IndexFileError:
        return None


def _parsed(path: Path) -> Manifest:
    try:
        held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if held["format"] != FORMAT:
            raise IndexFileError(f"{path}: format {held['format']}, but {FORMAT} is read; build the index again")
        choice = IndexChoice(**held["choice"])
        files = {str(role): str(name) for role, name in held["files"].items()}
        marks = {
            str(name): FileMark(int(mark["size"]), int(mark["written_ns"]), str(mark["sha256"]))
            for name, mark in held["marks"].items()
        }
        manifest = Manifest(str(held["digest"]), int(held["count"]), int(held["dim"]), choice, files, marks)
    except FileNotFoundError:
        raise IndexFileError(f"{path}: no index here") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise IndexFileError(f"{path}: cannot be read: {error}") from None
    except IndexFileError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise IndexFileError(f"{path}: damaged: {error!r}") from None
    if set(files.values()) != set(marks) or any(Path(name).name != name for name in marks):
        raise IndexFileError(f"{path}: damaged: names of files {sorted(files.values())}")
    if choice.kind not in KINDS:
        raise IndexFileError(f"{path}: kind {choice.kind} is not known")
    return manifest


def _check(path: Path, mark: FileMark) -> None:
    """Raise an error unless a file is as it was left.

    Raises:
        IndexFileError: missing, of another length, or of another content.
    """
    found = path.stat() if path.is_file() else None
    if found is None or found.st_size != mark.size:
        what = "is missing" if found is None else f"has {found.st_size} bytes, but {mark.size} were written"
        raise IndexFileError(f"{path}: {what}; build the index again")
    if found.st_mtime_ns == mark.written_ns:
        return
    if _sha256(path) != mark.sha256:
        raise IndexFileError(f"{path}: is not what was written; build the index again")
    # Read once, not at every start; without a right to write, at every start.
    with contextlib.suppress(OSError):
        os.utime(path, ns=(mark.written_ns, mark.written_ns))


def mapped(path: Path, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
    """An array of a .npy file, mapped into memory and not read; -1 in ``shape`` stands for any length.

    Raises:
        IndexFileError: no such array.
    """
    try:
        with path.open("rb") as held:
            np.lib.format.read_magic(held)
            found, _, _ = np.lib.format.read_array_header_1_0(held)
        # An empty array cannot be mapped.
        array: NDArray[Any] = np.load(path, mmap_mode="r" if 0 not in found else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise IndexFileError(f"{path}: damaged: {error}") from None
    fits = len(array.shape) == len(shape) and all(b in (-1, a) for a, b in zip(array.shape, shape, strict=True))
    if not fits or array.dtype != np.dtype(kind):
        raise IndexFileError(f"{path}: expected {kind} {shape}, found {array.dtype} {array.shape}; build it again")
    return array


def marks_of(folder: Path, names: Iterable[str]) -> dict[str, FileMark]:
    """How files are now, on disk and not in a cache alone."""
    out = {}
    for name in names:
        path = folder / name
        with path.open("rb") as held:
            os.fsync(held.fileno())
        found = path.stat()
        out[name] = FileMark(found.st_size, found.st_mtime_ns, _sha256(path))
    return out


def _sha256(path: Path) -> str:
    with path.open("rb") as held:
        return hashlib.file_digest(held, "sha256").hexdigest()


def remove_strays(folder: Path, manifest: Manifest | None) -> None:
    """Remove files of earlier or unfinished indexes from a folder: of our names, and not the manifest's."""
    for path in folder.iterdir():
        if _NUMBERED.fullmatch(path.name) and (manifest is None or path.name not in manifest.marks):
            with contextlib.suppress(OSError):
                path.unlink()


def fresh_names(folder: Path, roles: dict[str, str]) -> dict[str, str]:
    """Role -> a name that no file in the folder has, for roles and their suffixes."""
    held = [_NUMBERED.fullmatch(path.name) for path in folder.iterdir()]
    number = max((int(match[1]) for match in held if match), default=0) + 1
    return {role: f"{role}-{number}{suffix}" for role, suffix in roles.items()}
