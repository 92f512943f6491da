"""PLY files with every property they carry: labels of vertices and faces, not only their geometry.

Turk, "The PLY polygon file format" (1994); ASCII and binary of both byte orders.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any]

_TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float": "f4",
    "double": "f8",
    "float32": "f4",
    "float64": "f8",
}
_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_FACE_LISTS = ("vertex_indices", "vertex_index")
_LONGEST_HEADER = 1 << 20


class PlyError(ValueError):
    """A file that is no PLY file, or a broken one; the message names the file and what is wrong."""


@dataclass(frozen=True)
class PlyData:
    """What a PLY file holds.

    Attributes:
        vertices: property -> (V,) array in the file's type.
        faces: (F, 3) int32 indices of vertices, polygons cut into fans of triangles; None without faces.
        face_properties: scalar property -> (F,) array, one value a *triangle*.
        polygon: (F,) int32 row of the file's face that each triangle is cut from; None without faces.
        comments: lines of the header's comments.
    """

    vertices: dict[str, Column]
    faces: NDArray[np.int32] | None = None
    face_properties: dict[str, Column] = field(default_factory=dict)
    polygon: NDArray[np.int32] | None = None
    comments: tuple[str, ...] = ()

    def positions(self) -> NDArray[np.float64]:
        """(V, 3) x, y, z.

        Raises:
            PlyError: no such properties, or a position that is not finite.
        """
        if not {"x", "y", "z"} <= self.vertices.keys():
            raise PlyError(f"vertices without x, y, z; they have {', '.join(self.vertices) or 'nothing'}")
        points = np.stack([self.vertices[axis] for axis in "xyz"], axis=1).astype(np.float64)
        if not np.isfinite(points).all():
            raise PlyError("a vertex's position is not finite")
        return points

    def colors(self) -> NDArray[np.uint8] | None:
        """(V, 3) red, green, blue; None unless all three are there as bytes."""
        names = ("red", "green", "blue")
        if not set(names) <= self.vertices.keys() or any(self.vertices[n].dtype != np.uint8 for n in names):
            return None
        return np.stack([self.vertices[n] for n in names], axis=1)


@dataclass(frozen=True)
class _Property:
    name: str
    dtype: str
    count: str = ""
    """Type of a list's length; "" for a scalar."""


@dataclass(frozen=True)
class _Element:
    name: str
    rows: int
    properties: list[_Property] = field(default_factory=list)


@dataclass(frozen=True)
class _Lists:
    """A list property: row i is ``values[starts[i] : starts[i] + lengths[i]]``."""

    values: Column
    lengths: NDArray[np.int64]


def read_ply(path: Path) -> PlyData:
    """Read a PLY file.

    Raises:
        PlyError: not a PLY file, an unknown type, fewer data than the header promises, or a face of missing vertices.
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    try:
        order, elements, comments, start = _header(content)
        tables = dict(_ascii(content[start:], elements) if not order else _binary(content, start, order, elements))
        return _assembled(tables, comments)
    except PlyError as error:
        raise PlyError(f"{path}: {error}") from None


def _header(content: bytes) -> tuple[str, list[_Element], tuple[str, ...], int]:
    if content[:3] != b"ply":
        raise PlyError("not a PLY file: it does not begin with 'ply'")
    end = content.find(b"end_header", 0, _LONGEST_HEADER)
    newline = content.find(b"\n", end)
    if end < 0 or newline < 0:
        raise PlyError("cut short in its header: no 'end_header'")
    order: str | None = None
    elements: list[_Element] = []
    comments: list[str] = []
    for line in content[3:end].decode("latin-1").splitlines():
        words = line.split()
        if not words or words[0] == "obj_info":
            continue
        if words[0] == "comment":
            comments.append(line.strip()[len("comment") :].strip())
        elif words[0] == "format" and len(words) == 3:
            if words[1] not in _FORMATS:
                raise PlyError(f"format: unknown {words[1]!r}; known: {', '.join(_FORMATS)}")
            order = _FORMATS[words[1]]
        elif words[0] == "element" and len(words) == 3 and words[2].isdigit():
            elements.append(_Element(words[1], int(words[2])))
        elif words[0] == "property" and elements and len(words) == 3:
            elements[-1].properties.append(_Property(words[2], _type(words[1], words[2])))
        elif words[:2] == ["property", "list"] and elements and len(words) == 5:
            elements[-1].properties.append(_Property(words[4], _type(words[3], words[4]), _type(words[2], words[4])))
        else:
            raise PlyError(f"header: cannot read {line.strip()!r}")
    if order is None:
        raise PlyError("header: no 'format'")
    return order, elements, tuple(comments), newline + 1


def _type(name: str, of: str) -> str:
    if name not in _TYPES:
        raise PlyError(f"property {of}: unknown type {name!r}; known: {', '.join(_TYPES)}")
    return _TYPES[name]


Table = dict[str, "Column | _Lists"]


def _binary(content: bytes, at: int, order: str, elements: list[_Element]) -> Iterator[tuple[str, Table]]:
    for element in elements:
        lengths: dict[str, int] = {}
        if element.rows:
            lengths = _first_lengths(content, at, order, element)
        row = _row_type(element, order, lengths)
        size = row.itemsize * element.rows
        table = np.frombuffer(content, row, element.rows, at) if at + size <= len(content) and size else None
        if table is not None and all((table[f"{name} length"] == n).all() for name, n in lengths.items()):
            at += size
            yield element.name, _columns(element, table, lengths)
        elif not lengths and size:
            have = max(0, len(content) - at) // row.itemsize
            raise PlyError(f"cut short: {have} of {element.rows} rows of {element.name}")
        else:
            ragged, at = _ragged_binary(content, at, order, element)
            yield element.name, ragged


def _first_lengths(content: bytes, at: int, order: str, element: _Element) -> dict[str, int]:
    """Lengths of the lists in the first row: files of triangles have the same ones everywhere."""
    lengths = {}
    for prop in element.properties:
        dtype = np.dtype(order + (prop.count or prop.dtype))
        if at + dtype.itemsize > len(content):
            raise PlyError(f"cut short: 0 of {element.rows} rows of {element.name}")
        if prop.count:
            lengths[prop.name] = _length(np.frombuffer(content, dtype, 1, at)[0], element, prop)
            at += np.dtype(prop.dtype).itemsize * lengths[prop.name]
        at += dtype.itemsize
    return lengths


def _length(value: Any, element: _Element, prop: _Property) -> int:
    if value < 0:
        raise PlyError(f"{element.name}: {prop.name}: a list of {int(value)} entries")
    return int(value)


def _row_type(element: _Element, order: str, lengths: dict[str, int]) -> np.dtype[np.void]:
    fields: list[Any] = []
    for prop in element.properties:
        if prop.count:
            fields.append((f"{prop.name} length", order + prop.count))
            fields.append((prop.name, order + prop.dtype, (lengths.get(prop.name, 0),)))
        else:
            fields.append((prop.name, order + prop.dtype))
    try:
        return np.dtype(fields)
    except ValueError as error:
        raise PlyError(f"{element.name}: {error}") from None


def _columns(element: _Element, table: NDArray[np.void], lengths: dict[str, int]) -> Table:
    out: Table = {}
    for prop in element.properties:
        column = np.ascontiguousarray(table[prop.name]).astype(prop.dtype)
        if prop.count:
            out[prop.name] = _Lists(column.reshape(-1), np.full(len(table), lengths[prop.name], dtype=np.int64))
        else:
            out[prop.name] = column
    return out


def _ragged_binary(content: bytes, at: int, order: str, element: _Element) -> tuple[Table, int]:
    cells: dict[str, list[Column]] = {prop.name: [] for prop in element.properties}
    types = [(p, np.dtype(order + p.dtype), np.dtype(order + p.count) if p.count else None) for p in element.properties]
    for row in range(element.rows):
        for prop, dtype, count in types:
            number = 1
            if count is not None:
                if at + count.itemsize > len(content):
                    raise PlyError(f"cut short: {row} of {element.rows} rows of {element.name}")
                number = _length(np.frombuffer(content, count, 1, at)[0], element, prop)
                at += count.itemsize
            if at + number * dtype.itemsize > len(content):
                raise PlyError(f"cut short: {row} of {element.rows} rows of {element.name}")
            cells[prop.name].append(np.frombuffer(content, dtype, number, at))
            at += number * dtype.itemsize
    return _joined(element, cells), at


def _joined(element: _Element, cells: dict[str, list[Column]]) -> Table:
    out: Table = {}
    for prop in element.properties:
        rows = cells[prop.name]
        values = np.concatenate(rows).astype(prop.dtype) if rows else np.zeros(0, prop.dtype)
        out[prop.name] = _Lists(values, np.array([len(r) for r in rows], dtype=np.int64)) if prop.count else values
    return out


def _ascii(content: bytes, elements: list[_Element]) -> Iterator[tuple[str, Table]]:
    words = content.split()
    at = 0
    for element in elements:
        if not any(prop.count for prop in element.properties):
            width = len(element.properties)
            have = words[at : at + width * element.rows]
            if len(have) < width * element.rows:
                raise PlyError(f"cut short: {len(have) // width} of {element.rows} rows of {element.name}")
            at += len(have)
            yield (
                element.name,
                {p.name: _numbers(have[i::width], p.dtype, element, p.name) for i, p in enumerate(element.properties)},
            )
            continue
        cells: dict[str, list[Column]] = {prop.name: [] for prop in element.properties}
        for row in range(element.rows):
            for prop in element.properties:
                number = 1
                if prop.count:
                    number = _length(_numbers(words[at : at + 1], "i8", element, prop.name).sum(), element, prop)
                    at += 1
                if at + number > len(words):
                    raise PlyError(f"cut short: {row} of {element.rows} rows of {element.name}")
                cells[prop.name].append(_numbers(words[at : at + number], prop.dtype, element, prop.name))
                at += number
        yield element.name, _joined(element, cells)


def _numbers(words: list[bytes], dtype: str, element: _Element, name: str) -> Column:
    try:
        values = np.array([float(word) for word in words], dtype=np.float64)
    except ValueError:
        raise PlyError(f"{element.name}: {name}: a value is no number") from None
    if dtype[0] in "iu":
        limits = np.iinfo(dtype)
        if not (np.isfinite(values).all() and (values >= limits.min).all() and (values <= limits.max).all()):
            raise PlyError(f"{element.name}: {name}: a value is beyond its type")
    return values.astype(dtype)


def _assembled(tables: dict[str, Table], comments: tuple[str, ...]) -> PlyData:
    vertices = {name: column for name, column in tables.get("vertex", {}).items() if not isinstance(column, _Lists)}
    count = len(next(iter(vertices.values()), ()))
    table = tables.get("face", {})
    corners = next((table[name] for name in _FACE_LISTS if isinstance(table.get(name), _Lists)), None)
    if not isinstance(corners, _Lists):
        return PlyData(vertices, comments=comments)
    values = corners.values.astype(np.int64)
    if len(values) and (values.min() < 0 or values.max() >= count):
        raise PlyError(f"a face names vertex {int(values.max())}, there are {count}")
    starts = np.cumsum(corners.lengths) - corners.lengths
    # A polygon of n corners is a fan of n - 2 triangles around its first one; points and edges have no area.
    fans = np.maximum(corners.lengths - 2, 0)
    polygon = np.repeat(np.arange(len(fans)), fans)
    step = np.arange(len(polygon)) - np.repeat(np.cumsum(fans) - fans, fans)
    first = starts[polygon]
    faces = np.stack([values[first], values[first + step + 1], values[first + step + 2]], axis=1).astype(np.int32)
    scalars = {name: column[polygon] for name, column in table.items() if not isinstance(column, _Lists)}
    return PlyData(vertices, faces, scalars, polygon.astype(np.int32), comments)
