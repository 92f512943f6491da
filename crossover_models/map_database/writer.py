"""Writing a map database: beside its final name, then moved there in one step, so that a kill loses nothing."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import apsw
import numpy as np

from crossover_models import __version__
from crossover_models.building import Building, Level, Mesh, Place
from crossover_models.map_database.codec import CodecError, encode_array, encode_jpeg, encode_nav2, encode_png
from crossover_models.map_database.file_format import DatabaseError, check_replaceable
from crossover_models.map_database.schema import (
    APPLICATION_ID,
    PAGE_SIZE,
    SCHEMA,
    SCHEMA_VERSION,
    content_fingerprint,
)
from crossover_models.map_database.wording import identifier
from crossover_models.observation import Code, Modality
from crossover_models.sets.interaction import Interaction


class DatabaseWriter:
    """One build of a database; nothing appears under ``out`` before :meth:`publish`.

    The file grows as ``.NAME.building`` in the same directory under an exclusive lock; what a killed build left there
    is removed by the next one. ``publish`` checkpoints the WAL, syncs the file, renames it over ``out`` and syncs the
    directory: whoever has the old file open keeps reading the old content whole.

    Raises:
        DatabaseError: ``out`` is a directory or a file that is no map database, or another build is writing it.
    """

    def __init__(
        self,
        out: Path | str,
        encoder_fingerprint: str,
        profile: str,
        embedding_dim: int,
        interaction: Interaction | None = None,
    ) -> None:
        self.out = Path(out)
        self.encoder_fingerprint = encoder_fingerprint
        self.embedding_dim = embedding_dim
        self.interaction = interaction
        check_replaceable(self.out)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self._lock_path, self._temporary = _beside(self.out)
        self._lock = _acquire(self._lock_path, self.out)
        self._buildings: dict[str, int] = {}
        self._stems: set[str] = set()
        self._places: dict[tuple[str, str], int] = {}
        self._connection: apsw.Connection | None = None
        try:
            self._remove_temporary()
            self._connection = self._create(profile)
        except BaseException:
            self.discard()
            raise

    def _create(self, profile: str) -> apsw.Connection:
        connection = apsw.Connection(str(self._temporary))
        connection.execute(f"PRAGMA page_size={PAGE_SIZE}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute(SCHEMA)
        meta = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "software_version": __version__,
            "encoder_fingerprint": self.encoder_fingerprint,
            "encoder_profile": profile,
            "embedding_dim": str(self.embedding_dim),
        }
        if self.interaction is not None:
            meta["interaction"] = self.interaction.to_json()
        connection.executemany("INSERT INTO meta VALUES(?, ?)", list(meta.items()))
        connection.execute("BEGIN")
        return connection

    def add_building(self, building: Building) -> None:
        """Write a building's levels, places and whatever they hold.

        Raises:
            DatabaseError: its id is already in the database, a level occurs twice, or a value cannot be stored.
        """
        if building.building_id in self._buildings:
            raise DatabaseError(f"building {building.building_id}: given twice; building ids must differ")
        self._buildings[building.building_id] = row = self._insert(
            "buildings", None, building.building_id, building.source
        )
        seen: set[str] = set()
        for level in building.levels:
            if level.level_id in seen:
                raise DatabaseError(f"building {building.building_id}: level {level.level_id} occurs twice")
            seen.add(level.level_id)
            try:
                self._add_level(building.building_id, row, level)
            except (CodecError, DatabaseError) as error:
                raise DatabaseError(f"building {building.building_id}, level {level.level_id}: {error}") from None

    def _add_level(self, building_id: str, building: int, level: Level) -> None:
        x, y, yaw = (float(v) for v in level.T_building_map)
        row = self._insert(
            "levels", None, building, level.level_id, level.name, float(level.elevation_m), float(level.height_m),
            x, y, yaw,
        )  # fmt: skip
        # Names may become alike when made fit for files: "a b" and "a_b".
        stem = identifier(f"{building_id}_{level.level_id}", self._stems)
        self._insert("plans", row, *encode_nav2(level.plan, f"{stem}.png"))
        if level.drawing is not None:
            self._insert("drawings", row, encode_png(level.drawing))
        if level.structure is not None:
            self._insert("structures", row, *_mesh_values(level.structure))
        for door in level.doors:
            (x0, y0), (x1, y1) = np.asarray(door.segment, dtype=np.float64).tolist()
            self._insert("doors", None, row, door.kind, x0, y0, x1, y1)
        for lift in level.lifts:
            self._insert("lifts", None, row, lift.name, float(lift.position[0]), float(lift.position[1]))
        for place in level.places:
            self._places[building_id, place.place_id] = self._add_place(building, row, place)

    def _add_place(self, building: int, level: int, place: Place) -> int:
        polygon = encode_array(np.asarray(place.polygon, dtype=np.float64))
        row = self._insert("places", None, building, level, place.place_id, place.name, place.category, polygon)
        for sentence in place.text:
            self._insert("texts", None, row, sentence)
        for image in place.images:
            self._insert("images", None, row, encode_jpeg(image))
        if place.point_cloud is not None and len(place.point_cloud):
            self._insert("point_clouds", row, encode_array(place.point_cloud.astype(np.float32)))
        for item in place.furnishings:
            self._insert(
                "furnishings", None, row, item.object_id, item.category, item.model_id, *_mesh_values(item.mesh)
            )
        return row

    def add_embeddings(self, building_id: str, modality: Modality, codes: Mapping[str, Code]) -> None:
        """Write one modality's codes of a building added before; places left out stay absent.

        Raises:
            DatabaseError: an unknown place, a wrong length, a value that is not finite, a norm that is not 1, or
                tokens that the file's interaction cannot compare.
        """
        lengths = (0,) if self.interaction is None else self.interaction.token_lengths
        for place_id, code in codes.items():
            name = f"embedding of {building_id}/{place_id}, {modality.value}"
            if (building_id, place_id) not in self._places:
                raise DatabaseError(f"{name}: no such place")
            if code.vector.shape != (self.embedding_dim,):
                raise DatabaseError(f"{name}: expected ({self.embedding_dim},), got {code.vector.shape}")
            norm = float(np.linalg.norm(code.vector))
            if not abs(norm - 1.0) < 1e-3:
                raise DatabaseError(f"{name}: norm must be 1, got {norm:.4f}")
            if code.tokens.ndim != 1 or code.tokens.dtype != np.int8 or len(code.tokens) not in lengths:
                listed = " or ".join(str(length) for length in lengths)
                raise DatabaseError(
                    f"{name}: expected {listed} int8 tokens, got {code.tokens.shape} {code.tokens.dtype}"
                )
            self._insert(
                "embeddings", None, self._buildings[building_id], modality.value,
                self._places[building_id, place_id], np.asarray(code.vector, dtype="<f4").tobytes(),
                code.tokens.tobytes() if len(code.tokens) else None,
            )  # fmt: skip

    def publish(self) -> None:
        """Make the build visible under its name, all at once.

        Raises:
            DatabaseError: nothing was added, or the writer is closed.
        """
        connection = self._connection
        if connection is None:
            raise DatabaseError(f"{self.out}: this build is already closed")
        if not self._buildings:
            raise DatabaseError(f"{self.out}: no building was added")
        described = "" if self.interaction is None else self.interaction.to_json()
        fingerprint = content_fingerprint(connection, self.encoder_fingerprint, described)
        connection.execute("INSERT INTO meta VALUES('fingerprint', ?)", (fingerprint,))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        self._connection = None
        _sync(self._temporary)
        self._temporary.replace(self.out)
        _sync(self.out.parent)
        self.discard()

    def discard(self) -> None:
        """Drop an unpublished build; does nothing after :meth:`publish`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if not self._lock.closed:
            self._remove_temporary()
            self._lock_path.unlink(missing_ok=True)
            self._lock.close()

    def _remove_temporary(self) -> None:
        for path in _temporaries(self._temporary):
            path.unlink(missing_ok=True)

    def _insert(self, table: str, *values: object) -> int:
        if self._connection is None:
            raise DatabaseError(f"{self.out}: this build is already closed")
        marks = ", ".join("?" * len(values))
        try:
            self._connection.execute(f"INSERT INTO {table} VALUES({marks})", tuple(values))
        except (apsw.Error, TypeError, UnicodeError) as error:  # NaN is NULL to SQLite, and no column takes NULL
            raise DatabaseError(f"{self.out}: {table}: cannot be stored: {error}") from None
        return self._connection.last_insert_rowid()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def remove_unfinished(out: Path) -> None:
    """Remove what a killed build of ``out`` left beside it; what another process is writing stays.

    The next build does so too; this is for those that find nothing to build.
    """
    lock_path, temporary = _beside(out)
    if not any(path.exists() for path in (lock_path, *_temporaries(temporary))):
        return
    try:
        lock = _acquire(lock_path, out)
    except DatabaseError:
        return
    for path in (*_temporaries(temporary), lock_path):
        path.unlink(missing_ok=True)
    lock.close()


def _beside(out: Path) -> tuple[Path, Path]:
    """The lock of a build and the file that grows."""
    return out.with_name(f".{out.name}.lock"), out.with_name(f".{out.name}.building")


def _temporaries(growing: Path) -> tuple[Path, ...]:
    return tuple(Path(f"{growing}{suffix}") for suffix in ("", "-wal", "-shm", "-journal"))


def _mesh_values(mesh: Mesh) -> Sequence[bytes | None]:
    colors = None if mesh.face_colors is None else encode_array(mesh.face_colors.astype(np.uint8))
    return encode_array(mesh.vertices.astype(np.float32)), encode_array(mesh.faces.astype(np.int32)), colors


def _acquire(path: Path, out: Path) -> IO[bytes]:
    """Exclusive lock on ``path``; the loop covers a holder that removes the file between our open and our lock."""
    while True:
        lock = path.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise DatabaseError(f"{out}: another process is building it") from None
        if path.exists() and os.fstat(lock.fileno()).st_ino == path.stat().st_ino:
            return lock
        lock.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
