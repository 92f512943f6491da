"""ProcTHOR's files as they are: the asset database, and rooms line by line, checked and turned into our axes.

Unity's world is left-handed with y up and z forward. Exchanging y and z makes it right-handed with z up without
mirroring anything a person would see: (x, y, z) becomes (x, z, y), a yaw of theta about Unity's y axis becomes
pi / 2 - theta for the front.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import LineString, Point, Polygon
from shapely.validation import explain_validity

from crossover_models.building import BuildingError
from crossover_models.simulation.procthor.labels import LABELS, LEFT_OUT, MOST_HEIGHT_M, ROOM_WORDS

_LEAST_AREA_M2 = 1.0
_THROUGH_WALL_M = 0.1
_ON_WALL_M = 0.02
# Exchanges Unity's y and z.
_MAP_UNITY = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
# A model's axes (x forward, y left, z up) in an asset's (z forward, x right, y up).
_UNITY_OBJECT = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


@dataclass(frozen=True)
class Asset:
    """An asset's type and its box: depth (x forward), width (y), height (z), metres."""

    asset_id: str
    asset_type: str
    size_m: tuple[float, float, float]


@dataclass(frozen=True)
class RawObject:
    """An object: ``T_map_object`` (4, 4) is the frame below the middle of its box, x forward."""

    object_id: str
    asset: Asset
    T_map_object: NDArray[np.float64]
    children: tuple[RawObject, ...] = ()

    @property
    def footprint(self) -> NDArray[np.float64]:
        """(4, 2) corners of the box's footprint, map frame."""
        return footprint(self.T_map_object, self.asset.size_m)


@dataclass(frozen=True)
class RawHole:
    """A hole in the wall on the outline's edge ``edge``, between ``low`` and ``high`` along it and in height."""

    edge: int
    low: float
    high: float
    sill_m: float
    head_m: float
    kind: str
    asset_id: str


@dataclass(frozen=True)
class RawRoom:
    """A room in the map frame.

    Attributes:
        where: file and line, for messages.
        category: in our words.
        outline: (N, 2) counter-clockwise.
        height_m: of the walls.
        holes: doors and windows.
        materials: names of the floor's and the walls' material.
        objects: without children of other objects.
    """

    where: str
    category: str
    outline: NDArray[np.float64]
    height_m: float
    holes: tuple[RawHole, ...]
    materials: tuple[str, str]
    objects: tuple[RawObject, ...]


def footprint(T_map_object: NDArray[np.float64], size_m: tuple[float, float, float]) -> NDArray[np.float64]:
    """(4, 2) map-frame corners of a box's footprint, counter-clockwise."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array(size_m[:2]) / 2
    return np.asarray(corners @ T_map_object[:2, :2].T + T_map_object[:2, 3])


def read_assets(path: Path) -> dict[str, Asset]:
    """The asset database by asset id.

    Raises:
        BuildingError: the file is none; the message names it and the field.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BuildingError(f"{path}: not an asset database: {error}") from None
    if not isinstance(data, dict) or not data:
        raise BuildingError(f"{path}: not an asset database: expected types with lists of assets")
    assets: dict[str, Asset] = {}
    for asset_type, entries in data.items():
        for i, entry in enumerate(_list(entries, str(path), asset_type)):
            field = f"{asset_type}[{i}]"
            x, y, z = _vector(_get(entry, "boundingBox", str(path), field), str(path), f"{field}.boundingBox")
            asset_id = str(_get(entry, "assetId", str(path), field))
            assets[asset_id] = Asset(asset_id, asset_type, (z, x, y))
    return assets


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and lines of a gzipped file.

    Raises:
        BuildingError: it is absent, or not gzipped text.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BuildingError(f"{path}: not a gzipped list of rooms: {error}") from None


def parse_room(line: str, where: str, assets: dict[str, Asset]) -> RawRoom:
    """One line of ProcTHOR's file as a room; ``where`` names file and line in messages.

    Raises:
        BuildingError: broken JSON, a missing key, an unknown asset, a polygon that crosses itself, a door or window
            that is not in its wall, an object outside of the room.
    """
    try:
        house = json.loads(line)
    except json.JSONDecodeError as error:
        raise BuildingError(f"{where}: not JSON: {error}") from None
    rooms = _list(_get(house, "rooms", where, ""), where, "rooms")
    if len(rooms) != 1:
        raise BuildingError(f"{where}: rooms: expected a single room, got {len(rooms)}")
    kind = _get(rooms[0], "roomType", where, "rooms[0]")
    if kind not in ROOM_WORDS:
        raise BuildingError(f"{where}: rooms[0].roomType: must be one of {', '.join(ROOM_WORDS)}, got {kind!r}")
    outline = _outline(rooms[0], where)
    walls, height = _walls(house, where)
    holes = tuple(
        _hole(entry, f"{group}[{i}]", group[:-1], walls, outline, height, where)
        for group in ("doors", "windows")
        for i, entry in enumerate(_list(_get(house, group, where, ""), where, group))
    )
    if not any(hole.kind == "door" for hole in holes):
        raise BuildingError(f"{where}: doors: a room without a door")
    inside = Polygon(outline).buffer(_THROUGH_WALL_M, join_style="mitre")
    seen: set[str] = set()
    objects = tuple(
        _object(entry, f"objects[{i}]", assets, inside, seen, where)
        for i, entry in enumerate(_list(_get(house, "objects", where, ""), where, "objects"))
    )
    floor = rooms[0].get("floorMaterial") or {}
    material = next((w.get("material") for w in house["walls"] if isinstance(w.get("material"), dict)), None) or {}
    materials = (str(floor.get("name", "")) if isinstance(floor, dict) else "", str(material.get("name", "")))
    return RawRoom(where, ROOM_WORDS[kind], outline, height, holes, materials, objects)


def _get(entry: Any, key: str, where: str, field: str) -> Any:
    name = f"{field}.{key}" if field else key
    if not isinstance(entry, dict):
        raise BuildingError(f"{where}: {field or 'line'}: expected an object, got {type(entry).__name__}")
    if key not in entry:
        raise BuildingError(f"{where}: {name}: missing")
    return entry[key]


def _list(value: Any, where: str, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise BuildingError(f"{where}: {field}: expected a list, got {type(value).__name__}")
    return value


def _vector(value: Any, where: str, field: str) -> NDArray[np.float64]:
    numbers = [_get(value, axis, where, field) for axis in "xyz"]
    for axis, number in zip("xyz", numbers, strict=True):
        if isinstance(number, bool) or not isinstance(number, int | float) or not np.isfinite(number):
            raise BuildingError(f"{where}: {field}.{axis}: expected a finite number, got {number!r}")
    return np.array(numbers, dtype=np.float64)


def _outline(room: Any, where: str) -> NDArray[np.float64]:
    field = "rooms[0].floorPolygon"
    corners = _list(_get(room, "floorPolygon", where, "rooms[0]"), where, field)
    points = np.array([_vector(c, where, f"{field}[{i}]")[[0, 2]] for i, c in enumerate(corners)]).reshape(-1, 2)
    if len(points) < 3:
        raise BuildingError(f"{where}: {field}: expected at least 3 corners, got {len(points)}")
    polygon = Polygon(points)
    if not polygon.is_valid:
        raise BuildingError(f"{where}: {field}: crosses itself: {explain_validity(polygon)}")
    if polygon.area < _LEAST_AREA_M2:
        raise BuildingError(f"{where}: {field}: area {polygon.area:.2f} m2 is no room")
    return points if polygon.exterior.is_ccw else points[::-1].copy()


def _walls(house: Any, where: str) -> tuple[dict[str, NDArray[np.float64]], float]:
    """(2, 2) foot lines of the walls by id, from the polygons' first to second corner; and their height."""
    walls: dict[str, NDArray[np.float64]] = {}
    height = 0.0
    for i, wall in enumerate(_list(_get(house, "walls", where, ""), where, "walls")):
        field = f"walls[{i}].polygon"
        corners = _list(_get(wall, "polygon", where, f"walls[{i}]"), where, field)
        if len(corners) != 4:
            raise BuildingError(f"{where}: {field}: expected 4 corners, got {len(corners)}")
        points = np.array([_vector(c, where, f"{field}[{k}]") for k, c in enumerate(corners)])
        walls[str(_get(wall, "id", where, f"walls[{i}]"))] = points[:2][:, [0, 2]]
        height = max(height, float(points[:, 1].max()))
    if not 1.8 < height < 20.0:
        raise BuildingError(f"{where}: walls: height {height:g} m is no room's")
    return walls, height


def _hole(
    entry: Any,
    field: str,
    kind: str,
    walls: dict[str, NDArray[np.float64]],
    outline: NDArray[np.float64],
    height_m: float,
    where: str,
) -> RawHole:
    wall_id = _get(entry, "wall0", where, field)
    if wall_id not in walls:
        raise BuildingError(f"{where}: {field}.wall0: no wall {wall_id!r}")
    corners = _list(_get(entry, "holePolygon", where, field), where, f"{field}.holePolygon")
    if len(corners) != 2:
        raise BuildingError(f"{where}: {field}.holePolygon: expected 2 corners, got {len(corners)}")
    points = np.array([_vector(c, where, f"{field}.holePolygon[{k}]") for k, c in enumerate(corners)])
    (low, sill), (high, head) = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    start, end = walls[wall_id]
    length = float(np.linalg.norm(end - start))
    if not (-1e-6 <= low < high <= length + 1e-6 and -1e-6 <= sill < head <= height_m + 1e-6):
        raise BuildingError(
            f"{where}: {field}.holePolygon: {low:.2f} to {high:.2f} m, {sill:.2f} to {head:.2f} m high is not within "
            f"the wall of {length:.2f} x {height_m:.2f} m"
        )
    along = (end - start) / length
    ends = start + np.outer([low, high], along)
    for edge, a in enumerate(outline):
        b = outline[(edge + 1) % len(outline)]
        if all(LineString([a, b]).distance(Point(p)) < _ON_WALL_M for p in ends):
            # Counted along the outline's own sense, whatever the wall's.
            unit = (b - a) / np.linalg.norm(b - a)
            first, last = sorted(float((p - a) @ unit) for p in ends)
            return RawHole(edge, first, last, float(sill), float(head), kind, str(entry.get("assetId", "")))
    raise BuildingError(f"{where}: {field}.wall0: wall {wall_id!r} is not on the room's outline")


def _object(
    entry: Any, field: str, assets: dict[str, Asset], inside: Polygon, seen: set[str], where: str, parent: bool = True
) -> RawObject:
    object_id = str(_get(entry, "id", where, field))
    if object_id in seen:
        raise BuildingError(f"{where}: {field}.id: {object_id!r} occurs twice")
    seen.add(object_id)
    asset_id = _get(entry, "assetId", where, field)
    asset = assets.get(asset_id) if isinstance(asset_id, str) else None
    if asset is None:
        raise BuildingError(f"{where}: {field}.assetId: {asset_id!r} is not in the asset database")
    if asset.asset_type not in LABELS and asset.asset_type not in LEFT_OUT:
        raise BuildingError(f"{where}: {field}.assetId: {asset_id!r} is of unknown type {asset.asset_type!r}")
    position = _vector(_get(entry, "position", where, field), where, f"{field}.position")
    turn = np.deg2rad(_vector(_get(entry, "rotation", where, field), where, f"{field}.rotation"))
    T = np.eye(4)
    T[:3, :3] = _MAP_UNITY @ _unity_rotation(turn) @ _UNITY_OBJECT
    # Positions are of the boxes' middles.
    T[:3, 3] = _MAP_UNITY @ position - T[:3, :3] @ [0.0, 0.0, asset.size_m[2] / 2]
    lowered = min(asset.size_m[2], MOST_HEIGHT_M.get(asset.asset_type, np.inf))
    asset = replace(asset, size_m=(*asset.size_m[:2], lowered))
    area = Polygon(footprint(T, asset.size_m)) if parent else Point(T[:2, 3])
    if not inside.contains(area):
        raise BuildingError(
            f"{where}: {field}.position: {object_id!r} at x {position[0]:.2f}, z {position[2]:.2f} m "
            "is outside the room"
        )
    children = entry.get("children") or []
    return RawObject(
        object_id,
        asset,
        T,
        tuple(
            _object(child, f"{field}.children[{i}]", assets, inside, seen, where, parent=False)
            for i, child in enumerate(_list(children, where, f"{field}.children"))
        ),
    )


def _unity_rotation(angles_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unity's Euler angles: about z first, then x, then y."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles_rad), np.sin(angles_rad)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_y @ about_x @ about_z, dtype=np.float64)
