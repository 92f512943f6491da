"""A data set on disk: ``dataset.json`` and one file a scan under ``scenes/SPLIT``; written piece by piece, read whole.

While it is being made ``complete`` is false and reading is refused, so that nobody trains on half of it unaware.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crossover_models.dataset.scene import Scene, SceneError
from crossover_models.dataset.scene_file import load_scene, scene_hash

SCHEMA_VERSION = 1
SPLITS = ("train", "val", "test")
INFO, SCENES, SUFFIX = "dataset.json", "scenes", ".safetensors"
_UNFINISHED_INFO = INFO + ".partial"


class DataSetError(ValueError):
    """A folder that holds no data set, or an unfinished one; the message says what to do."""


@dataclass(frozen=True)
class DataSetInfo:
    """What ``dataset.json`` says.

    Attributes:
        source: what the scenes are from, e.g. ``"simulated"`` or ``"ScanNet v2"``.
        command: that made it, and that goes on with an unfinished one.
        settings: everything that decides the content.
        complete: all scans are there.
        scans: split -> ids of its scans, in order; empty until complete.
        notes: figures of the making (rooms a minute, seconds a stage, failed scans).
    """

    source: str
    command: str
    settings: dict[str, Any]
    complete: bool = False
    scans: dict[str, list[str]] | None = None
    notes: dict[str, Any] | None = None

    @property
    def simulated(self) -> bool:
        """The sensor data come from a simulation."""
        return self.source.startswith("simulated")


def read_info(folder: Path) -> DataSetInfo:
    """Read ``dataset.json``, complete or not.

    Raises:
        DataSetError: there is none, it is damaged, or of another schema version.
    """
    path = folder / INFO
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version = values.pop("schema_version")
        if version != SCHEMA_VERSION:
            raise DataSetError(f"{path}: schema_version {version}, this program reads {SCHEMA_VERSION}")
        return DataSetInfo(**values)
    except FileNotFoundError:
        raise DataSetError(f"{folder}: no data set ({INFO} is missing)") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataSetError(f"{path}: damaged: {error}") from None


def write_info(folder: Path, info: DataSetInfo) -> None:
    """Write ``dataset.json``; it is whole or as before at any moment.

    Raises:
        DataSetError: it cannot be written.
    """
    path, partial = folder / INFO, folder / _UNFINISHED_INFO
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as stream:
            stream.write(json.dumps({"schema_version": SCHEMA_VERSION, **vars(info)}, indent=2, sort_keys=True) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise DataSetError(
            f"{path}: cannot be written: {error.strerror or error}; repeat the command to go on"
        ) from None


def begin(folder: Path, info: DataSetInfo) -> DataSetInfo:
    """Start a data set or go on with the one that is there; returns what ``dataset.json`` says now.

    Raises:
        DataSetError: the folder holds something else, or a data set made with other settings (the first that differs
            is named), or cannot be written.
    """
    if not (folder / INFO).exists():
        # Somebody who was killed while he began has left at most this.
        if folder.exists() and any(p.name != _UNFINISHED_INFO for p in folder.iterdir()):
            raise DataSetError(f"{folder}: is not empty and holds no data set; choose another folder")
        write_info(folder, info)
        return info
    known = read_info(folder)
    for name in sorted({*known.settings, *info.settings}):
        if known.settings.get(name) != info.settings.get(name):
            raise DataSetError(
                f"{folder}: was made with {name} {known.settings.get(name)!r}, not {info.settings.get(name)!r}; "
                "repeat its command or choose another folder"
            )
    return known


def finish(folder: Path, scans: dict[str, list[str]], notes: dict[str, Any]) -> DataSetInfo:
    """Mark a data set complete."""
    info = replace(read_info(folder), complete=True, scans=scans, notes=notes)
    write_info(folder, info)
    return info


def scene_path(folder: Path, split: str, scan_id: str) -> Path:
    """File of a scan."""
    return folder / SCENES / split / (scan_id.replace("/", "_") + SUFFIX)


class DataSet:
    """A complete data set, opened for reading."""

    def __init__(self, folder: Path, info: DataSetInfo) -> None:
        self.folder, self.info = folder, info
        self._split_of = {scan: split for split, scans in (info.scans or {}).items() for scan in scans}

    @classmethod
    def open(cls, folder: Path) -> DataSet:
        """Open a folder.

        Raises:
            DataSetError: no data set, unfinished, or a scan's file is missing.
        """
        folder = Path(folder)
        info = read_info(folder)
        if not info.complete:
            done = sum(1 for _ in (folder / SCENES).glob(f"*/*{SUFFIX}"))
            raise DataSetError(f"{folder}: unfinished ({done} scans so far); go on with: {info.command}")
        out = cls(folder, info)
        for scan_id in out.scan_ids():
            if not out.path(scan_id).is_file():
                raise DataSetError(f"{folder}: the file of scan {scan_id} is missing; repeat: {info.command}")
        return out

    def scan_ids(self, split: str | None = None) -> tuple[str, ...]:
        """Ids in order: of one split, or of all of them.

        Raises:
            DataSetError: an unknown split.
        """
        if split is not None and split not in SPLITS:
            raise DataSetError(f"split: must be one of {', '.join(SPLITS)}, got {split!r}")
        scans = self.info.scans or {}
        return tuple(scan for name in SPLITS if split in (None, name) for scan in scans.get(name, []))

    def path(self, scan_id: str) -> Path:
        """File of a scan.

        Raises:
            DataSetError: no scan of that name.
        """
        split = self._split_of.get(scan_id)
        if split is None:
            raise DataSetError(f"{self.folder}: no scan {scan_id!r}")
        return scene_path(self.folder, split, scan_id)

    def load(self, scan_id: str, parts: Collection[str] | None = None) -> Scene:
        """Read a scan; see :func:`load_scene`.

        Raises:
            DataSetError: no scan of that name.
            SceneError: its file is damaged.
        """
        return load_scene(self.path(scan_id), parts)

    def scenes(self, split: str | None = None, parts: Collection[str] | None = None) -> Iterator[Scene]:
        """Scans one after another."""
        for scan_id in self.scan_ids(split):
            yield self.load(scan_id, parts)

    def digest(self) -> str:
        """SHA-256 (hex) over the contents of all scans in order, each checked against its own hash.

        Raises:
            SceneError: a damaged file.
        """
        digest = hashlib.sha256()
        for scan_id in self.scan_ids():
            self.load(scan_id)
            digest.update(f"{self._split_of[scan_id]} {scan_id} {scene_hash(self.path(scan_id))}\n".encode())
        return digest.hexdigest()


def check_splits(scenes: Iterator[Scene] | Collection[Scene]) -> None:
    """No room, building or CAD model is in two splits.

    Raises:
        SceneError: names what is shared and by which splits.
    """
    owner: dict[tuple[str, str], str] = {}
    for scene in scenes:
        models = sorted({o.cad_id for o in scene.objects if o.cad_id})
        for mark in (("building", scene.building_id), ("room", scene.room_id), *(("CAD model", m) for m in models)):
            if owner.setdefault(mark, scene.split) != scene.split:
                raise SceneError(f"{mark[0]} {mark[1]!r} is in the splits {owner[mark]} and {scene.split}")
