"""Open-RMF buildings: drawn walls, doors, floors, lifts and named places become levels with plan, walls and rooms.

A level's map frame is its drawing in metres, x right, y up, origin at the drawing's top left; the building's frame is
the reference level's, in which Open-RMF itself counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from crossover_models.building import Building, BuildingError, Door, Level, Lift, Place
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan
from crossover_models.geometry import compose_se2, inverse_se2, transform_points_se2
from crossover_models.map_database.prisms import PrismBuilder
from crossover_models.map_database.raster import Raster
from crossover_models.map_database.rmf_file import DrawnLevel, RmfFile, read_rmf_file
from crossover_models.map_database.rmf_frames import LevelFrame, level_frames
from crossover_models.map_database.rooms import Rooms, neck_of, split_rooms
from crossover_models.map_database.wording import (
    category_by_things,
    describe_place,
    furniture_category,
    guess_category,
    identifier,
    spoken,
)

# Open-RMF draws walls as lines and builds them so thick and high; its doors are 2.2 m high.
WALL_THICKNESS_M, WALL_HEIGHT_M, DOOR_HEIGHT_M = 0.1, 2.5, 2.2
LARGEST_CABIN_M2 = 20.0
WALL_COLOR, FLOOR_COLOR, CEILING_COLOR = (214, 210, 202), (150, 140, 126), (232, 232, 230)
# What the models of a drawing show that is no furniture: people, vehicles, gardens, and what stands outside.
_NOT_FURNITURE = re.compile(
    r"visitor|patient(?! wheel)|^nurse$|scrubs|tree|ambulance|suv|playground|teleport|^coke$|escalator", re.IGNORECASE
)
_ROBOT_WORDS = re.compile(
    r"charger|patrol|clean(er)?|holding|dispenser|ingestor|supplies$|spawn|waypoint|tinybot|bot\b"
)


def read_rmf(path: Path | str, scales: Mapping[str, float] | None = None) -> Building:
    """Read an Open-RMF building.

    Args:
        path: ``*.building.yaml``; drawings are looked for beside it.
        scales: metres per pixel by level, for levels without a measurement; overrules the file.

    Raises:
        BuildingError: what is wrong with the file, in one line that names the level and field.
        OSError: the file cannot be read.
    """
    path = Path(path)
    rmf = read_rmf_file(path)
    frames = level_frames(path, rmf, scales or {})
    building_id = identifier(re.sub(r"\.building\.ya?ml$", "", path.name, flags=re.IGNORECASE))
    elevations = sorted({level.elevation_m for level in rmf.levels.values()})
    taken: set[str] = set()
    levels = []
    for drawn in rmf.levels.values():
        above = [e for e in elevations if e > drawn.elevation_m]
        height = min([WALL_HEIGHT_M, *(e - drawn.elevation_m for e in above)])
        try:
            levels.append(_level(path, rmf, drawn, frames, height, taken))
        except BuildingError as error:
            raise BuildingError(f"{path}: level {drawn.name}: {error}") from None
    return Building(building_id, tuple(levels), f"Open-RMF {path.name}")


def _level(
    path: Path, rmf: RmfFile, drawn: DrawnLevel, frames: Mapping[str, LevelFrame], height_m: float, taken: set[str]
) -> Level:
    if not drawn.walls and not drawn.floors:
        raise BuildingError("no walls and no floors")
    frame = frames[drawn.name]
    xy = drawn.vertices * frame.scale
    walls = shapely.union_all([_strip(xy[i], xy[j], WALL_THICKNESS_M / 2) for i, j in drawn.walls])
    doors = tuple(Door(xy[list(door.edge)], door.kind.replace("_", " ")) for door in drawn.doors)
    gaps = [shapely.LineString(d.segment).buffer(1.5 * WALL_THICKNESS_M, cap_style="flat") for d in doors]
    holes = shapely.union_all([shapely.Polygon(xy[list(ring)]).buffer(0) for ring in drawn.holes])
    floors = shapely.union_all([shapely.Polygon(xy[list(ring)]).buffer(0) for ring in drawn.floors]) - holes
    solid = walls - shapely.union_all(gaps)
    plan = _plan(solid, floors, doors)
    builder = PrismBuilder()
    builder.prism(solid, 0.0, height_m, WALL_COLOR)
    if height_m > DOOR_HEIGHT_M:
        for door in doors:
            lintel = shapely.LineString(door.segment).buffer(WALL_THICKNESS_M / 2, cap_style="flat") - solid
            builder.prism(lintel, DOOR_HEIGHT_M, height_m, WALL_COLOR)
    ground = floors if not floors.is_empty else shapely.box(*solid.bounds)
    builder.sheet(ground, 0.0, FLOOR_COLOR, up=True)
    builder.sheet(ground, height_m, CEILING_COLOR, up=False)
    lifts, lift_doors = _lifts(rmf, drawn.name, frames)
    rooms = split_rooms(plan, [*doors, *lift_doors], neck_of(doors))
    return Level(
        level_id=identifier(drawn.name),
        name=_level_name(drawn.name),
        elevation_m=drawn.elevation_m,
        height_m=height_m,
        plan=plan,
        places=_places(drawn, rooms, doors, lifts, xy, frame.scale, taken),
        structure=builder.mesh(),
        doors=doors,
        lifts=lifts,
        T_building_map=frame.T_building_map,
        drawing=_drawing(path, drawn),
    )


def _strip(a: NDArray[np.float64], b: NDArray[np.float64], half_m: float) -> BaseGeometry:
    """Footprint of a wall, which reaches half its thickness beyond both ends so that corners close."""
    return shapely.LineString([a, b]).buffer(half_m, cap_style="square", join_style="mitre")


def _plan(solid: BaseGeometry, floors: BaseGeometry, doors: tuple[Door, ...]) -> FloorPlan:
    """Walls occupied; floors free, or, where none are drawn, whatever walls and doors shut off from outside."""
    drawn = shapely.union_all([solid, floors])
    bounds = np.array(drawn.bounds).reshape(2, 2)
    raster = Raster(bounds[0], bounds[1])
    wall = raster.area(solid)
    if floors.is_empty:
        shut = wall | raster.lines(np.array([door.segment for door in doors]).reshape(-1, 2, 2))
        parts, _ = ndimage.label(~shut)
        free = parts != parts[0, 0]  # the corner lies in the margin, outside
        if not (free & ~wall).any():
            free = raster.area(solid.convex_hull)  # walls that do not close: all that is known of an inside
    else:
        free = raster.area(floors)
    cells = np.full(raster.shape, UNKNOWN, dtype=np.int8)
    cells[free] = FREE
    cells[wall] = OCCUPIED
    return FloorPlan(cells, raster.resolution_m, raster.origin_xy)


def _lifts(rmf: RmfFile, level_name: str, frames: Mapping[str, LevelFrame]) -> tuple[tuple[Lift, ...], list[Door]]:
    """Cabins that stop at a level and their doors there, carried from their reference level through the building."""
    T_map_building = inverse_se2(frames[level_name].T_building_map)
    lifts, doors = [], []
    for lift in rmf.lifts:
        if level_name in lift.levels:
            home = frames[lift.reference]
            T_home_cabin = np.array([*(lift.position * home.scale), lift.yaw_rad])
            T_map_cabin = compose_se2(T_map_building, compose_se2(home.T_building_map, T_home_cabin))
            lifts.append(Lift(lift.name, T_map_cabin[:2]))
            doors += [Door(transform_points_se2(T_map_cabin, line), "lift") for line in lift.doors]
    return tuple(lifts), doors


def _places(
    drawn: DrawnLevel,
    rooms: Rooms,
    doors: tuple[Door, ...],
    lifts: tuple[Lift, ...],
    xy: NDArray[np.float64],
    scale: float,
    taken: set[str],
) -> tuple[Place, ...]:
    level_name = _level_name(drawn.name)
    points: dict[int, list[tuple[str, NDArray[np.float64]]]] = {}
    for name, point, in_lift in zip(drawn.names, xy, drawn.in_lift, strict=True):
        label = 0 if in_lift or not name else rooms.near(point, 0.5)
        if label:
            points.setdefault(label, []).append((_room_name(name, drawn.name), point))
    things: dict[int, list[str]] = {}
    for thing in drawn.things:
        label = rooms.near(thing.position * scale, 0.3)
        if label and not _NOT_FURNITURE.search(thing.model_name.rsplit("/", 1)[-1]):
            things.setdefault(label, []).append(furniture_category(thing.model_name))
    names = _room_names(rooms, points, _names_on_doors(drawn, rooms, doors), lifts)
    beside: dict[int, list[str]] = {}
    for door in doors:
        a, b = rooms.beside(door)
        if a and b and a != b:
            beside.setdefault(a, []).append(names[b])
            beside.setdefault(b, []).append(names[a])
    places = []
    for label, name in names.items():
        category = guess_category(name) or category_by_things(things.get(label, ()))
        others = dict.fromkeys(other for other, _ in points.get(label, ()) if other != name)
        remarks = [f"Marked in it: {', '.join(others)}."] if others else []
        area = rooms.area_m2(label)
        text = describe_place(name, category, level_name, area, things.get(label, ()), beside.get(label, ()), remarks)
        place_id = identifier(f"{drawn.name}_{name}", taken)
        places.append(Place(place_id, name, category, rooms.outline(label), text))
    return tuple(places)


def _room_names(
    rooms: Rooms,
    points: Mapping[int, list[tuple[str, NDArray[np.float64]]]],
    on_doors: Mapping[int, list[str]],
    lifts: tuple[Lift, ...],
) -> dict[int, str]:
    """A different name for every room: of a lift, a named vertex that is no robot's own, its door, or a number."""
    cabins = {rooms.at(lift.position): _room_name(lift.name, "") for lift in lifts}
    names: dict[int, str] = {}
    for label in range(1, rooms.count + 1):
        proper = [(name, point) for name, point in points.get(label, ()) if not _ROBOT_WORDS.search(name.lower())]
        known = [(name, point) for name, point in proper if guess_category(name)]
        if label in cabins and rooms.area_m2(label) < LARGEST_CABIN_M2:
            names[label] = cabins[label]
        elif known:
            middle = rooms.deepest(label)
            names[label] = min(known, key=lambda item: float(np.linalg.norm(item[1] - middle)))[0]
        elif len(proper) == 1:
            names[label] = proper[0][0]
        elif label in on_doors:  # several names of no kind are stops in front of other rooms, as in a corridor
            names[label] = on_doors[label][0]
    for name in set(names.values()):
        same = [label for label in names if names[label] == name]
        if len(same) > 1:
            names.update({label: f"{name} {k + 1}" for k, label in enumerate(same)})
    given, number = set(names.values()) | {name for marks in points.values() for name, _ in marks}, 0
    for label in range(1, rooms.count + 1):
        while label not in names:
            number += 1
            if f"Room {number}" not in given:
                names[label] = f"Room {number}"
    return dict(sorted(names.items()))


def _names_on_doors(drawn: DrawnLevel, rooms: Rooms, doors: tuple[Door, ...]) -> dict[int, list[str]]:
    """Rooms named by their doors, as ``L1_consult_rm_3_outer``: the smaller of the two rooms at such a door."""
    out: dict[int, list[str]] = {}
    for entry, door in zip(drawn.doors, doors, strict=True):
        name = _room_name(re.sub(r"_?(inner|outer|door\d*)$", "", entry.name), drawn.name)
        sides = [label for label in rooms.beside(door) if label]
        if guess_category(name) and sides:
            out.setdefault(min(sides, key=rooms.area_m2), []).append(name)
    return out


def _room_name(name: str, level_name: str) -> str:
    text = re.sub(rf"^{re.escape(level_name)}[_\s]+", "", name)
    words = spoken(text)
    return words[:1].upper() + words[1:]


def _level_name(name: str) -> str:
    number = re.fullmatch(r"[Ll](\d+)", name)
    return f"Level {number.group(1)}" if number else name


def _drawing(path: Path, drawn: DrawnLevel) -> NDArray[np.uint8] | None:
    """The drawing beside the file, RGB; a missing one is absent, for the walls do not depend on it."""
    file = path.parent / drawn.drawing
    if not drawn.drawing or not file.is_file():
        return None
    image = cv2.imdecode(np.frombuffer(file.read_bytes(), dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise BuildingError(f"drawing {drawn.drawing} is not a picture")
    if image.dtype != np.uint8:
        image = (image / 257).astype(np.uint8)
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB).astype(np.uint8)
    if image.shape[2] == 4:
        # Paper is white where the drawing is transparent.
        alpha = image[..., 3:].astype(np.float32) / 255.0
        image = (image[..., :3] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(image[..., ::-1]).astype(np.uint8)
