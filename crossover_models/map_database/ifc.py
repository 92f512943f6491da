"""IFC buildings: storeys become levels, spaces places; walls, windows, slabs and furniture keep their geometry.

Plans are cut through the walls twice: low, where a window still has its parapet, and at breast height, where furniture
is mostly past; both cuts leave doors open. Door leaves are left out, as doors may stand open.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely

from crossover_models.building import Building, BuildingError, Door, Furnishing, Level, Place
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan
from crossover_models.map_database.ifc_geometry import (
    Geometry,
    Part,
    door_segment,
    footprint,
    joined,
    lowered,
    open_ifc,
    section,
)
from crossover_models.map_database.ifc_probe import check_survives
from crossover_models.map_database.raster import Raster
from crossover_models.map_database.wording import describe_place, furniture_category, guess_category, identifier

LOGGER = logging.getLogger(__name__)
WALLS = ("IfcWall", "IfcColumn", "IfcCurtainWall", "IfcPlate", "IfcMember", "IfcWindow")
STRUCTURE = (
    *WALLS,
    "IfcSlab",
    "IfcStair",
    "IfcStairFlight",
    "IfcRamp",
    "IfcRailing",
    "IfcCovering",
    "IfcBeam",
    "IfcRoof",
)
FURNISHINGS = ("IfcFurnishingElement", "IfcSanitaryTerminal", "IfcFlowTerminal")
CUTS_M = (0.3, 1.2)
DEFAULT_HEIGHT_M = 2.8


def read_ifc(path: Path | str) -> Building:
    """Read an IFC2x3 or IFC4 file.

    Storeys without walls or without a space that has a roof above it (foundations, roofs) are left out, and named in
    the building's ``source``. Map frames share x and y with the building, unless the file counts from a far origin
    (national grids): then they start near the building. z = 0 is the storey's floor.

    Raises:
        BuildingError: not an IFC file, a truncated one, or one without storeys that hold spaces.
        OSError: the file cannot be read.
    """
    path = Path(path)
    model = open_ifc(path)
    check_survives(path, (*STRUCTURE, "IfcSpace", *FURNISHINGS, "IfcDoor"))
    try:
        return _building(path, model)
    except (AttributeError, TypeError, IndexError, KeyError, RuntimeError) as error:
        # The parser hands out None for an attribute that the schema requires but a damaged file lacks.
        raise BuildingError(f"{path}: damaged IFC file: {type(error).__name__}: {error}") from error


def _building(path: Path, model: Any) -> Building:
    """Levels of a parsed file; raises whatever a damaged one makes of it."""
    geometry = Geometry(model)
    structure = geometry.parts(STRUCTURE)
    spaces = {part.element.id(): part for part in geometry.parts(("IfcSpace",))}
    furniture = geometry.parts(FURNISHINGS)
    doors = geometry.parts(("IfcDoor",))
    storeys = model.by_type("IfcBuildingStorey")
    if not storeys:
        raise BuildingError(f"{path}: IfcBuildingStorey: none, so there is no level to map")
    floors = sorted(((geometry.floor_m(storey), storey) for storey in storeys), key=lambda item: item[0])
    levels: list[Level] = []
    skipped: list[str] = []
    taken: set[str] = set()
    place_ids: set[str] = set()
    for elevation_m, storey in floors:
        height_m = min((z - elevation_m for z, _ in floors if z > elevation_m + 1.5), default=DEFAULT_HEIGHT_M)
        name = storey.LongName or storey.Name or f"Storey {len(levels) + 1}"
        mine = [spaces[s.id()] for s in _spaces_of(storey) if s.id() in spaces]
        covered = [part for part in mine if guess_category(part.element.LongName or "") != "roof"]
        inside = [p for p in structure if p.low_m < elevation_m + height_m - 0.3 and p.high_m > elevation_m + 0.2]
        floor = [
            p for p in structure if p not in inside and p.element.is_a("IfcSlab") and abs(p.high_m - elevation_m) < 0.3
        ]
        level_id = identifier(name, taken)
        elements = [*inside, *floor]
        try:
            level = _level(
                level_id, name, elevation_m, height_m, covered, elements, furniture, doors, place_ids, geometry
            )
        except BuildingError as error:
            raise BuildingError(f"{path}: level {name}: {error}") from None
        if level is None:
            skipped.append(name)
        else:
            levels.append(level)
    if not levels:
        raise BuildingError(f"{path}: no storey holds both spaces and walls; storeys: {', '.join(skipped)}")
    if skipped:
        LOGGER.warning("%s: left out for want of spaces or walls: %s", path.name, ", ".join(skipped))
    note = f"; left out: {', '.join(skipped)} (no spaces or no walls)" if skipped else ""
    failed = f"; {geometry.failed} elements without usable geometry" if geometry.failed else ""
    return Building(identifier(path.stem), tuple(levels), f"IFC {model.schema} {path.name}{note}{failed}")


def _spaces_of(storey: Any) -> list[Any]:
    """Spaces of a storey, through spaces that group others."""
    found = []
    for relation in storey.IsDecomposedBy or ():
        for child in relation.RelatedObjects:
            if child.is_a("IfcSpace"):
                found.append(child)
                found += _spaces_of(child)
    return found


def _level(
    level_id: str,
    name: str,
    elevation_m: float,
    height_m: float,
    spaces: Sequence[Part],
    structure: Sequence[Part],
    furniture: Sequence[Part],
    doors: Sequence[Part],
    place_ids: set[str],
    geometry: Geometry,
) -> Level | None:
    """One storey, or None if it holds no spaces or no walls."""
    outlines = {part: outline for part in spaces if (outline := footprint(part.mesh)) is not None}
    walls = [part for part in structure if any(part.element.is_a(kind) for kind in WALLS)]
    cut = shapely.union_all([section(part.mesh, elevation_m + z) for part in walls for z in CUTS_M])
    if not outlines or cut.is_empty:
        return None
    own_doors = tuple(
        Door(door_segment(part.mesh))
        for part in doors
        if abs(part.low_m - elevation_m) < 0.5 * height_m and part.high_m > elevation_m + 1.0
    )
    names = {part: _label(part.element, number) for number, part in enumerate(outlines, start=1)}
    beside = _neighbors(own_doors, outlines)
    held = _held(furniture, outlines, elevation_m, height_m)
    places = []
    for part, outline in outlines.items():
        space = part.element
        pieces = tuple(
            Furnishing(
                item.element.GlobalId,
                furniture_category(item.element.Name or item.element.ObjectType or "") or "furniture",
                lowered(item.mesh, elevation_m),
                (item.element.ObjectType or item.element.Name or "").split(":")[0],
            )
            for item in held.get(part, ())
        )
        category = guess_category(space.LongName or space.ObjectType or space.Name or "")
        things = [piece.category for piece in pieces]
        text = describe_place(
            names[part], category, name, float(outline.area), things, [names[other] for other in beside[part]]
        )
        corners = np.asarray(outline.exterior.coords)[:-1, :2]
        place_id = identifier(space.Name or names[part], place_ids)
        places.append(Place(place_id, names[part], category, corners, text, furnishings=pieces))
    return Level(
        level_id,
        name,
        elevation_m,
        height_m,
        _plan(cut, list(outlines.values())),
        tuple(places),
        lowered(joined(part.mesh for part in structure), elevation_m),
        own_doors,
        T_building_map=np.array([*geometry.origin_xy, 0.0]),
    )


def _label(space: Any, number: int) -> str:
    """A space as people say it, "Kitchen A103"; architects put the number into Name and the name into LongName."""
    return " ".join(word for word in (space.LongName or space.ObjectType, space.Name) if word) or f"Room {number}"


def _neighbors(doors: Sequence[Door], outlines: Mapping[Part, Any]) -> dict[Part, list[Part]]:
    """Spaces that a door joins: those within a wall's thickness of its two sides."""
    beside: dict[Part, list[Part]] = {part: [] for part in outlines}
    for door in doors:
        middle, along = door.segment.mean(axis=0), door.segment[1] - door.segment[0]
        normal = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-9)
        sides = []
        for point in (middle + 0.4 * normal, middle - 0.4 * normal):
            here = [part for part, outline in outlines.items() if outline.contains(shapely.Point(point))]
            sides.append(min(here, key=lambda part: float(outlines[part].area), default=None))
        a, b = sides
        if a is not None and b is not None and a is not b:
            beside[a].append(b)
            beside[b].append(a)
    return beside


def _held(
    furniture: Sequence[Part], outlines: Mapping[Part, Any], elevation_m: float, height_m: float
) -> dict[Part, list[Part]]:
    """Furniture by space: the one the file says it is in, else the smallest whose outline holds its middle."""
    by_id = {part.element.id(): part for part in outlines}
    held: dict[Part, list[Part]] = {}
    for item in furniture:
        middle = 0.5 * (item.mesh.vertices.min(axis=0) + item.mesh.vertices.max(axis=0))
        if not elevation_m - 0.3 < float(middle[2]) < elevation_m + height_m:
            continue
        inside = [part for part, area in outlines.items() if area.contains(shapely.Point(middle[:2]))]
        stated = [by_id[space] for space in item.containers if space in by_id]
        chosen = min(stated or inside, key=lambda part: float(outlines[part].area), default=None)
        if chosen is not None:
            held.setdefault(chosen, []).append(item)
    return held


def _plan(walls: Any, rooms: Sequence[Any]) -> FloorPlan:
    """Walls occupied; rooms, and the doorways between them, free; everything else unknown."""
    bounds = np.array([shapely.bounds(area) for area in (walls, *rooms)])
    raster = Raster(bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0))
    occupied = raster.area(walls)
    free = np.zeros(raster.shape, dtype=bool)
    for room in rooms:
        free |= raster.area(room)
    # A doorway lies in no space: close the gap of a wall's thickness between two of them.
    size = round(0.6 / raster.resolution_m) | 1
    kernel = np.ones((size, size), dtype=np.uint8)
    closed = cv2.morphologyEx(np.pad(free, size).astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    free |= closed[size:-size, size:-size].astype(bool)
    occupancy = np.full(raster.shape, UNKNOWN, dtype=np.int8)
    occupancy[free] = FREE
    occupancy[occupied] = OCCUPIED
    return FloorPlan(occupancy, raster.resolution_m, raster.origin_xy)
