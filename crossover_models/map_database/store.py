"""Reading a map database: buildings, levels, places, what they hold, and their embeddings.

A published file is replaced as a whole and never edited, so that it is opened immutable: no side files, no locks, and
a read-only directory will do. Should somebody edit one in place, its ``-wal`` file is honored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import apsw
import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Door, Furnishing, Lift, Mesh
from crossover_models.estimate import LevelKey
from crossover_models.floor_plan import FloorPlan
from crossover_models.map_database.codec import decode_array, decode_image, decode_nav2, nav2_image_name
from crossover_models.map_database.file_format import (
    REBUILD,
    DatabaseError,
    FingerprintMismatch,
    check_header,
)
from crossover_models.map_database.schema import SCHEMA_VERSION, content_fingerprint
from crossover_models.observation import Modality
from crossover_models.sets.interaction import Interaction

PLACES = "SELECT count(*) FROM places JOIN buildings USING(building) WHERE ?1 IS NULL OR building_id=?1"
OF_KIND = "SELECT count(*) FROM embeddings JOIN buildings USING(building) WHERE building_id=? AND kind=?"


@dataclass(frozen=True)
class LevelRecord:
    """One level; ``T_building_map`` (3,) places its map frame in the building's, lengths in metres."""

    key: LevelKey
    name: str
    elevation_m: float
    height_m: float
    T_building_map: NDArray[np.float64]


@dataclass(frozen=True)
class PlaceRecord:
    """One place; ``polygon`` (N, 2) is its outline in the level's map frame, metres."""

    key: LevelKey
    place_id: str
    name: str
    category: str
    polygon: NDArray[np.float64]
    text: tuple[str, ...]


class MapDatabase:
    """A published database, read-only. Use :meth:`open`, and close it or use it as a context manager.

    Attributes:
        path: the file.
        schema_version: of its layout.
        created: ISO 8601 time of the build.
        software_version: that built it.
        encoder_fingerprint: of the encoder that made its embeddings.
        encoder_profile: that encoder's profile name.
        embedding_dim: length D of its vectors.
        fingerprint: of its content; equal content, equal fingerprint.
        interaction: how tokens of its codes are compared; None where codes are vectors alone.
    """

    def __init__(self, path: Path, connection: apsw.Connection, meta: dict[str, str]) -> None:
        self.path = path
        self._connection = connection
        self.schema_version = SCHEMA_VERSION
        try:
            self.created = meta["created"]
            self.software_version = meta["software_version"]
            self.encoder_fingerprint = meta["encoder_fingerprint"]
            self.encoder_profile = meta["encoder_profile"]
            self.embedding_dim = int(meta["embedding_dim"])
            self.fingerprint = meta["fingerprint"]
            self._described = meta.get("interaction", "")
            self.interaction = Interaction.from_json(self._described) if self._described else None
        except (KeyError, ValueError) as error:
            raise DatabaseError(f"{path}: damaged map database: meta entry {error}; {REBUILD}") from None

    @classmethod
    def open(cls, path: Path | str, expected_fingerprint: str | None = None) -> Self:
        """Open a database; with ``expected_fingerprint``, only one that this encoder built.

        Raises:
            DatabaseError: no file, a directory, not a map database, truncated, damaged, or of another schema version.
            FingerprintMismatch: its embeddings come from another encoder.
        """
        path = Path(path)
        check_header(path)
        mode = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
        try:
            connection = apsw.Connection(
                f"file:{quote(str(path.absolute()))}?{mode}", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            )
        except apsw.Error as error:
            raise DatabaseError(f"{path}: cannot be opened: {error}") from None
        try:
            meta = dict(connection.execute("SELECT key, value FROM meta"))
            database = cls(path, connection, meta)
        except DatabaseError:
            connection.close()
            raise
        except (apsw.Error, ValueError, TypeError) as error:
            connection.close()
            raise DatabaseError(f"{path}: damaged map database: {_line(error)}; {REBUILD}") from None
        except BaseException:
            connection.close()
            raise
        if expected_fingerprint is not None and expected_fingerprint != database.encoder_fingerprint:
            connection.close()
            raise FingerprintMismatch(
                f"{path}: built with encoder {database.encoder_fingerprint}, but the encoder in use is "
                f"{expected_fingerprint}; use that one, or {REBUILD}"
            )
        return database

    def close(self) -> None:
        """Release the file; reading afterwards is an error."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def verify(self) -> None:
        """Read everything, compare it with the content fingerprint, and the indexes with the tables.

        Raises:
            DatabaseError: a row was damaged or altered since the build.
        """
        with self._reading():
            faults = [row[0] for row in self._connection.execute("PRAGMA integrity_check(1)")]
            found = content_fingerprint(self._connection, self.encoder_fingerprint, self._described)
        if faults != ["ok"]:
            raise DatabaseError(f"{self.path}: damaged map database: {' '.join(str(faults[0]).split())}; {REBUILD}")
        if found != self.fingerprint:
            raise DatabaseError(f"{self.path}: content is {found}, but {self.fingerprint} was built; {REBUILD}")

    def building_ids(self) -> tuple[str, ...]:
        """Ids of all buildings, in the order of the build."""
        return tuple(row[0] for row in self._rows("SELECT building_id FROM buildings ORDER BY building"))

    def source(self, building_id: str) -> str:
        """What a building was read from."""
        return str(self._one("SELECT source FROM buildings WHERE building_id=?", (building_id,), building_id)[0])

    def levels(self, building_id: str | None = None) -> tuple[LevelRecord, ...]:
        """Levels of a building, or of all, in the order of the build."""
        rows = self._rows(
            "SELECT building_id, level_id, name, elevation_m, height_m, x_m, y_m, yaw_rad FROM levels"
            " JOIN buildings USING(building) WHERE ?1 IS NULL OR building_id=?1 ORDER BY level",
            (building_id,),
        )
        with self._reading():
            return tuple(LevelRecord(LevelKey(r[0], r[1]), r[2], r[3], r[4], np.array(r[5:8])) for r in rows)

    def places(self, building_id: str | None = None, level_id: str | None = None) -> tuple[PlaceRecord, ...]:
        """Places of a building and level, or of all, in the order of the build."""
        texts: dict[int, list[str]] = {}
        for place, sentence in self._rows("SELECT place, sentence FROM texts ORDER BY text"):
            texts.setdefault(place, []).append(sentence)
        rows = self._rows(
            "SELECT building_id, level_id, place, place_id, p.name, category, polygon FROM places p"
            " JOIN levels USING(level) JOIN buildings b ON b.building=p.building"
            " WHERE (?1 IS NULL OR building_id=?1) AND (?2 IS NULL OR level_id=?2) ORDER BY place",
            (building_id, level_id),
        )
        if level_id is None:
            self._check_count(len(rows), "places", PLACES, (building_id,))
        with self._reading():
            return tuple(
                PlaceRecord(
                    LevelKey(r[0], r[1]), r[3], r[4], r[5], decode_array(r[6], f"polygon of {r[3]}", "float64", 2),
                    tuple(texts.get(r[2], ())),
                )
                for r in rows
            )  # fmt: skip

    def floor_plan(self, key: LevelKey) -> FloorPlan:
        """Structural plan of a level.

        Raises:
            DatabaseError: no such level.
        """
        with self._reading():
            return decode_nav2(*self.nav2_map(key), what=f"plan of {key.building_id}/{key.level_id}")

    def nav2_map(self, key: LevelKey) -> tuple[str, bytes]:
        """(YAML text, PNG bytes) of a level's plan, as map_server reads them; the YAML names the PNG.

        Raises:
            DatabaseError: no such level.
        """
        row = self._one("SELECT nav2_yaml, png FROM plans WHERE level=?", (self._level(key),), str(key))
        return row[0], row[1]

    def export_nav2(self, directory: Path | str) -> tuple[Path, ...]:
        """Write every plan's YAML and PNG into ``directory`` (made if missing); the YAML files' paths."""
        directory = Path(directory)
        if directory.exists() and not directory.is_dir():
            raise DatabaseError(f"{directory}: exists and is not a directory")
        directory.mkdir(parents=True, exist_ok=True)
        written = []
        for level in self.levels():
            text, png = self.nav2_map(level.key)
            with self._reading():
                picture = directory / nav2_image_name(text)
            picture.write_bytes(png)
            picture.with_suffix(".yaml").write_text(text, encoding="utf-8")
            written.append(picture.with_suffix(".yaml"))
        return tuple(written)

    def structure(self, key: LevelKey) -> Mesh | None:
        """Walls, floor and ceiling of a level; None where the source is only a drawing."""
        rows = self._rows("SELECT vertices, faces, face_colors FROM structures WHERE level=?", (self._level(key),))
        with self._reading():
            return _mesh(rows[0], f"structure of {key.level_id}") if rows else None

    def drawing(self, key: LevelKey) -> NDArray[np.uint8] | None:
        """(H, W, 3) RGB original drawing of a level, or None."""
        rows = self._rows("SELECT png FROM drawings WHERE level=?", (self._level(key),))
        with self._reading():
            return decode_image(rows[0][0], f"drawing of {key.level_id}") if rows else None

    def doors(self, key: LevelKey) -> tuple[Door, ...]:
        """Doors of a level."""
        rows = self._rows(
            "SELECT x0_m, y0_m, x1_m, y1_m, kind FROM doors WHERE level=? ORDER BY door", (self._level(key),)
        )
        return tuple(Door(np.array(r[:4]).reshape(2, 2), r[4]) for r in rows)

    def lifts(self, key: LevelKey) -> tuple[Lift, ...]:
        """Lifts of a level."""
        rows = self._rows("SELECT name, x_m, y_m FROM lifts WHERE level=? ORDER BY lift", (self._level(key),))
        return tuple(Lift(r[0], np.array(r[1:3])) for r in rows)

    def furnishings(self, key: LevelKey) -> tuple[tuple[str, Furnishing], ...]:
        """(place id, furnishing) of a level, meshes in its map frame."""
        rows = self._rows(
            "SELECT place_id, object_id, f.category, model_id, vertices, faces, face_colors FROM furnishings f"
            " JOIN places USING(place) WHERE level=? ORDER BY furnishing",
            (self._level(key),),
        )
        with self._reading():
            return tuple((r[0], Furnishing(r[1], r[2], _mesh(r[4:7], f"mesh of {r[1]}"), r[3])) for r in rows)

    def images(self, building_id: str, place_id: str) -> tuple[NDArray[np.uint8], ...]:
        """(H, W, 3) RGB views of a place, possibly none."""
        rows = self._rows("SELECT jpeg FROM images WHERE place=? ORDER BY image", (self._place(building_id, place_id),))
        with self._reading():
            return tuple(decode_image(row[0], f"image of {place_id}") for row in rows)

    def point_cloud(self, building_id: str, place_id: str) -> NDArray[np.float32] | None:
        """(N, 3) points of a place in the level's map frame, metres, or None."""
        rows = self._rows("SELECT points FROM point_clouds WHERE place=?", (self._place(building_id, place_id),))
        with self._reading():
            return decode_array(rows[0][0], f"point cloud of {place_id}", "float32", 3) if rows else None

    def embedding_counts(self) -> dict[Modality, int]:
        """How many places have a code of each modality, over all buildings."""
        rows = self._rows("SELECT kind, count(*) FROM embeddings GROUP BY kind")
        return {Modality(kind): int(count) for kind, count in rows}

    def embeddings(self, building_id: str, modality: Modality) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Place ids and their unit vectors (n, D) float32; places without this modality are left out."""
        rows = self._rows(
            "SELECT place_id, vector FROM embeddings e JOIN buildings b USING(building) JOIN places p USING(place)"
            " JOIN levels USING(level) WHERE building_id=? AND kind=? AND p.building=e.building ORDER BY e.place",
            (building_id, modality.value),
        )
        what = f"{modality.value} embeddings of {building_id}"
        self._check_count(len(rows), what, OF_KIND, (building_id, modality.value))
        if any(len(row[1]) != 4 * self.embedding_dim for row in rows):
            raise DatabaseError(
                f"{self.path}: damaged map database: a vector of {building_id} is not {self.embedding_dim} long"
            )
        matrix = np.frombuffer(b"".join(row[1] for row in rows), dtype="<f4").astype(np.float32)
        return tuple(row[0] for row in rows), matrix.reshape(len(rows), self.embedding_dim)

    def tokens(self, building_id: str, modality: Modality) -> NDArray[np.int8]:
        """(n, T) int8 beside the rows of :meth:`embeddings`; T is 0 where codes are vectors alone."""
        rows = self._rows(
            "SELECT tokens FROM embeddings e JOIN buildings b USING(building) WHERE building_id=? AND kind=?"
            " ORDER BY e.place",
            (building_id, modality.value),
        )
        held = [row[0] or b"" for row in rows]
        lengths = {len(tokens) for tokens in held}
        if len(lengths) > 1 or not lengths <= set((0,) if self.interaction is None else self.interaction.token_lengths):
            raise DatabaseError(
                f"{self.path}: damaged map database: tokens of {building_id}, {modality.value} are"
                f" {sorted(lengths)} long; {REBUILD}"
            )
        return np.frombuffer(b"".join(held), dtype=np.int8).reshape(len(held), max(lengths, default=0))

    def _check_count(self, found: int, what: str, query: str, values: tuple[Any, ...] = ()) -> None:
        """Rows that hang in the air (of no place, level or building) would silently be left out.

        Raises:
            DatabaseError: there are some.
        """
        held = int(self._rows(query, values)[0][0])
        if held != found:
            raise DatabaseError(
                f"{self.path}: damaged map database: {held - found} of {held} {what} belong to nothing; {REBUILD}"
            )

    def _level(self, key: LevelKey) -> int:
        return int(
            self._one(
                "SELECT level FROM levels JOIN buildings USING(building) WHERE building_id=? AND level_id=?",
                tuple(key), f"level {key.building_id}/{key.level_id}",
            )[0]
        )  # fmt: skip

    def _place(self, building_id: str, place_id: str) -> int:
        return int(
            self._one(
                "SELECT place FROM places p JOIN buildings b USING(building) WHERE building_id=? AND place_id=?",
                (building_id, place_id), f"place {building_id}/{place_id}",
            )[0]
        )  # fmt: skip

    def _one(self, query: str, values: tuple[Any, ...], what: str) -> tuple[Any, ...]:
        rows = self._rows(query, values)
        if not rows:
            raise DatabaseError(f"{self.path}: no {what} in this database")
        return rows[0]

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._reading():
            return list(self._connection.execute(query, values))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (DatabaseError, apsw.ConnectionClosedError):
            raise
        except (apsw.Error, ValueError, TypeError, IndexError) as error:
            # Whatever senseless content makes of a decoder: codec, plan, mesh and text errors are ValueError.
            raise DatabaseError(f"{self.path}: damaged map database: {_line(error)}; {REBUILD}") from None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _mesh(row: tuple[Any, ...], what: str) -> Mesh:
    colors = None if row[2] is None else decode_array(row[2], what, "uint8", 3)
    return Mesh(decode_array(row[0], what, "float32", 3), decode_array(row[1], what, "int32", 3), colors)
