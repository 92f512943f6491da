"""Units, the smallest things that travel: the rows of one table that belong to one level or to one place, as bytes.

Row numbers and references are left out: they say where a row lies in one file, not what it says. The same rows give
the same bytes on every machine, so that a unit is known by its SHA-256.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

Value = str | bytes | int | float | None
Row = tuple[Value, ...]


class FleetError(ValueError):
    """Something that cannot be published, fetched or put together; the message names it and says why."""


# Columns that travel, in the file's order. What belongs to a level comes before its places, what belongs to a place
# after the place's own row.
LEVEL_TABLES = {
    "levels": ("level_id", "name", "elevation_m", "height_m", "x_m", "y_m", "yaw_rad"),
    "plans": ("nav2_yaml", "png"),
    "drawings": ("png",),
    "structures": ("vertices", "faces", "face_colors"),
    "doors": ("kind", "x0_m", "y0_m", "x1_m", "y1_m"),
    "lifts": ("name", "x_m", "y_m"),
}
PLACE_TABLES = {
    "places": ("place_id", "name", "category", "polygon"),
    "texts": ("sentence",),
    "images": ("jpeg",),
    "point_clouds": ("points",),
    "furnishings": ("object_id", "category", "model_id", "vertices", "faces", "face_colors"),
    "embeddings": ("kind", "vector", "tokens"),
}
TABLES = LEVEL_TABLES | PLACE_TABLES


def encode_unit(table: str, rows: Sequence[Row]) -> bytes:
    """Rows of one table as bytes: its name, a line feed, the number of rows, then each value behind its type."""
    parts = [table.encode(), b"\n", struct.pack("<I", len(rows))]
    for row in rows:
        for value in row:
            if value is None:
                parts.append(b"n")
            elif isinstance(value, float):
                parts.append(b"f" + struct.pack("<d", value))
            elif isinstance(value, int):
                parts.append(b"i" + struct.pack("<q", value))
            else:
                data = value.encode() if isinstance(value, str) else bytes(value)
                parts += (b"s" if isinstance(value, str) else b"b", struct.pack("<Q", len(data)), data)
    return b"".join(parts)


def decode_unit(data: bytes) -> tuple[str, list[Row]]:
    """Table and rows of :func:`encode_unit`.

    Raises:
        FleetError: the bytes are no unit: an unknown table or type, a length beyond the end, bytes left over.
    """
    name, _, rest = data[:64].partition(b"\n")
    table = name.decode("ascii", "replace")
    if table not in TABLES or len(rest) < 4:
        raise FleetError(f"unit: begins with {name[:24]!r}, which is no table")
    position = len(name) + 1
    (count,) = struct.unpack_from("<I", data, position)
    position += 4
    width = len(TABLES[table])
    if count * width > len(data) - position:  # a value takes a byte at least
        raise FleetError(f"unit of {table}: promises {count} rows, but is too short for them")
    values: list[Value] = []
    try:
        for _ in range(count * width):
            value, position = _value(data, position)
            values.append(value)
    except (struct.error, UnicodeDecodeError, IndexError, KeyError) as error:
        raise FleetError(f"unit of {table}: damaged at byte {position}: {error}") from None
    if position != len(data):
        raise FleetError(f"unit of {table}: {len(data) - position} bytes left over")
    return table, [tuple(values[i * width : (i + 1) * width]) for i in range(count)]


def _value(data: bytes, position: int) -> tuple[Value, int]:
    kind, position = chr(data[position]), position + 1
    if kind == "n":
        return None, position
    if kind in "fi":
        (number,) = struct.unpack_from({"f": "<d", "i": "<q"}[kind], data, position)
        return number, position + 8
    if kind not in "sb":
        raise KeyError(f"type {kind!r}")
    (length,) = struct.unpack_from("<Q", data, position)
    position += 8
    if length > len(data) - position:
        raise IndexError(f"{length} bytes promised, {len(data) - position} left")
    held = data[position : position + length]
    return (held.decode() if kind == "s" else held), position + length
