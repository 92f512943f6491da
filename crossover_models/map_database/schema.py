"""Layout of a map database file: SQLite, strict rowid tables, large pages.

Everything a consumer may find missing is a missing row, never an empty or zero value. Tables are filled building by
building, so that one building's vectors lie together; the layout's measurements are in ARCHITECTURE.md.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

SCHEMA_VERSION = 3
APPLICATION_ID = 0x584D4150  # "XMAP", SQLite's header field for the kind of file
PAGE_SIZE = 16384  # rows of 1-3 kB vectors: a 4 kB page holds one, and wastes the rest

SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE buildings(
    building INTEGER PRIMARY KEY, building_id TEXT NOT NULL UNIQUE, source TEXT NOT NULL) STRICT;
CREATE TABLE levels(
    level INTEGER PRIMARY KEY, building INTEGER NOT NULL REFERENCES buildings, level_id TEXT NOT NULL,
    name TEXT NOT NULL, elevation_m REAL NOT NULL, height_m REAL NOT NULL,
    x_m REAL NOT NULL, y_m REAL NOT NULL, yaw_rad REAL NOT NULL, UNIQUE(building, level_id)) STRICT;
CREATE TABLE plans(level INTEGER PRIMARY KEY REFERENCES levels, nav2_yaml TEXT NOT NULL, png BLOB NOT NULL) STRICT;
CREATE TABLE drawings(level INTEGER PRIMARY KEY REFERENCES levels, png BLOB NOT NULL) STRICT;
CREATE TABLE structures(
    level INTEGER PRIMARY KEY REFERENCES levels, vertices BLOB NOT NULL, faces BLOB NOT NULL, face_colors BLOB) STRICT;
CREATE TABLE doors(
    door INTEGER PRIMARY KEY, level INTEGER NOT NULL REFERENCES levels, kind TEXT NOT NULL,
    x0_m REAL NOT NULL, y0_m REAL NOT NULL, x1_m REAL NOT NULL, y1_m REAL NOT NULL) STRICT;
CREATE TABLE lifts(
    lift INTEGER PRIMARY KEY, level INTEGER NOT NULL REFERENCES levels, name TEXT NOT NULL,
    x_m REAL NOT NULL, y_m REAL NOT NULL) STRICT;
CREATE TABLE places(
    place INTEGER PRIMARY KEY, building INTEGER NOT NULL REFERENCES buildings,
    level INTEGER NOT NULL REFERENCES levels, place_id TEXT NOT NULL, name TEXT NOT NULL, category TEXT NOT NULL,
    polygon BLOB NOT NULL, UNIQUE(building, place_id)) STRICT;
CREATE TABLE texts(
    text INTEGER PRIMARY KEY, place INTEGER NOT NULL REFERENCES places, sentence TEXT NOT NULL) STRICT;
CREATE TABLE images(image INTEGER PRIMARY KEY, place INTEGER NOT NULL REFERENCES places, jpeg BLOB NOT NULL) STRICT;
CREATE TABLE point_clouds(place INTEGER PRIMARY KEY REFERENCES places, points BLOB NOT NULL) STRICT;
CREATE TABLE furnishings(
    furnishing INTEGER PRIMARY KEY, place INTEGER NOT NULL REFERENCES places, object_id TEXT NOT NULL,
    category TEXT NOT NULL, model_id TEXT NOT NULL,
    vertices BLOB NOT NULL, faces BLOB NOT NULL, face_colors BLOB) STRICT;
CREATE TABLE embeddings(
    embedding INTEGER PRIMARY KEY, building INTEGER NOT NULL REFERENCES buildings, kind TEXT NOT NULL,
    place INTEGER NOT NULL REFERENCES places, vector BLOB NOT NULL, tokens BLOB) STRICT;
CREATE UNIQUE INDEX embedding_of_place ON embeddings(building, kind, place);
CREATE INDEX level_of_door ON doors(level);
CREATE INDEX level_of_lift ON lifts(level);
CREATE INDEX level_of_place ON places(level);
CREATE INDEX place_of_text ON texts(place);
CREATE INDEX place_of_image ON images(place);
CREATE INDEX place_of_furnishing ON furnishings(place);
"""

CONTENT_TABLES = (
    "buildings", "levels", "plans", "drawings", "structures", "doors", "lifts", "places", "texts", "images",
    "point_clouds", "furnishings", "embeddings",
)  # fmt: skip


def content_fingerprint(connection: Any, encoder_fingerprint: str, interaction: str) -> str:
    """First 16 hex digits of a SHA-256 over every content row in rowid order.

    The encoder's fingerprint enters, and how its tokens are compared ("" where it has none).
    When and by which version the file was written does not enter: equal content has an equal fingerprint.
    """
    digest = hashlib.sha256(f"{SCHEMA_VERSION} {encoder_fingerprint} {interaction}".encode())
    for table in CONTENT_TABLES:
        digest.update(f"\0{table}\0".encode())
        for row in connection.execute(f"SELECT * FROM {table} ORDER BY rowid"):
            for value in row:
                digest.update(_tagged(value))
    return digest.hexdigest()[:16]


def _tagged(value: Any) -> bytes:
    """A value's bytes behind its type and length, so that no two rows run into the same bytes."""
    if value is None:
        return b"n"
    if isinstance(value, float):
        return b"f" + struct.pack("<d", value)
    if isinstance(value, int):
        return b"i" + struct.pack("<q", value)
    data = value.encode() if isinstance(value, str) else bytes(value)
    return (b"s" if isinstance(value, str) else b"b") + struct.pack("<Q", len(data)) + data
