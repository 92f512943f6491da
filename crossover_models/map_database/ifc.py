"""IFC buildings: storeys become levels, spaces places; walls, windows, slabs and furniture keep their geometry.

Plans are cut through the walls twice: low, where a window still has its parapet, and at breast height, where furniture
is mostly past; both cuts leave doors open. Door leaves are left out, as doors may stand open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
import trimesh
from numpy.typing import NDArray

from crossover_models.building import Building, BuildingError, Door, Furnishing, Level, Mesh, Place
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan
from crossover_models.map_database.raster import Raster
from crossover_models.map_database.wording import describe_place, furniture_category, guess_category, identifier

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
GREY = np.array([196, 192, 186], dtype=np.uint8)


@dataclass(frozen=True)
class _Part:
    """One element's triangles in building coordinates, metres."""

    element: Any
    mesh: Mesh

    @property
    def low_m(self) -> float:
        return float(self.mesh.vertices[:, 2].min())

    @property
    def high_m(self) -> float:
        return float(self.mesh.vertices[:, 2].max())


def read_ifc(path: Path | str) -> Building:
    """Read an IFC2x3 or IFC4 file.

    Storeys without spaces or without walls at breast height (foundations, roofs) are left out, and named in the
    building's ``source``. Map frames share x and y with the building; z = 0 is the storey's floor.

    Raises:
        BuildingError: not an IFC file, a truncated one, or one without storeys that hold spaces.
        OSError: the file cannot be read.
    """
    path = Path(path)
    model = _open(path)
    geometry = _Geometry()
    structure = geometry.parts(model, STRUCTURE)
    spaces = {part.element.id(): part for part in geometry.parts(model, ("IfcSpace",))}
    furniture = geometry.parts(model, FURNISHINGS)
    doors = geometry.parts(model, ("IfcDoor",))
    storeys = sorted(model.by_type("IfcBuildingStorey"), key=lambda s: float(s.Elevation or 0.0))
    if not storeys:
        raise BuildingError(f"{path}: IfcBuildingStorey: none, so there is no level to map")
    scale = geometry.unit_scale(model)
    levels: list[Level] = []
    skipped: list[str] = []
    taken: set[str] = set()
    for storey in storeys:
        elevation_m = float(storey.Elevation or 0.0) * scale
        above = [float(s.Elevation or 0.0) * scale for s in storeys]
        height_m = min((z - elevation_m for z in above if z > elevation_m + 1.5), default=DEFAULT_HEIGHT_M)
        name = storey.LongName or storey.Name or f"Storey {len(levels) + 1}"
        mine = [spaces[s.id()] for s in _spaces_of(storey) if s.id() in spaces]
        inside = [p for p in structure if p.low_m < elevation_m + height_m - 0.3 and p.high_m > elevation_m + 0.2]
        floor = [
            p for p in structure if p not in inside and p.element.is_a("IfcSlab") and abs(p.high_m - elevation_m) < 0.3
        ]
        level = _level(identifier(name, taken), name, elevation_m, height_m, mine, [*inside, *floor], furniture, doors)
        if level is None:
            skipped.append(name)
        else:
            levels.append(level)
    if not levels:
        raise BuildingError(f"{path}: no storey holds both spaces and walls; storeys: {', '.join(skipped)}")
    note = f"; left out: {', '.join(skipped)} (no spaces or no walls)" if skipped else ""
    failed = f"; {geometry.failed} elements without usable geometry" if geometry.failed else ""
    return Building(identifier(path.stem), tuple(levels), f"IFC {model.schema} {path.name}{note}{failed}")


def _open(path: Path) -> Any:
    """Open a file after checking that it is whole: the parser takes a file cut in the middle for a smaller model."""
    import ifcopenshell

    with path.open("rb") as file:
        head = file.read(256)
        file.seek(max(path.stat().st_size - 256, 0))
        tail = file.read()
    if b"ISO-10303-21" not in head:
        raise BuildingError(f"{path}: not an IFC file: it does not begin with ISO-10303-21")
    if b"END-ISO-10303-21" not in tail:
        raise BuildingError(f"{path}: truncated IFC file: END-ISO-10303-21 is missing at its end")
    try:
        model = ifcopenshell.open(str(path))
    except Exception as error:
        # The parser raises bare RuntimeError, OSError and its own kinds alike for a bad file.
        raise BuildingError(f"{path}: not a readable IFC file: {' '.join(str(error).split())[:200]}") from None
    if not hasattr(model, "by_type"):
        raise BuildingError(f"{path}: not an IFC model")
    return model


class _Geometry:
    """Triangulates elements, each once; those that have no body are left out and counted if they should have one."""

    def __init__(self) -> None:
        import ifcopenshell.geom

        self._settings = ifcopenshell.geom.settings()
        self._settings.set("use-world-coords", True)
        self.failed = 0

    def parts(self, model: Any, kinds: Sequence[str]) -> list[_Part]:
        """Elements of some IFC classes, subclasses included."""
        import ifcopenshell.geom

        elements: dict[int, Any] = {}
        for kind in kinds:
            try:
                elements.update({element.id(): element for element in model.by_type(kind)})
            except RuntimeError:  # the class does not exist in this schema
                continue
        out = []
        for element in elements.values():
            if element.Representation is None:
                continue
            try:
                shape = ifcopenshell.geom.create_shape(self._settings, element).geometry
            except RuntimeError:
                self.failed += 1
                continue
            vertices = np.asarray(shape.verts, dtype=np.float64).reshape(-1, 3)
            faces = np.asarray(shape.faces, dtype=np.int32).reshape(-1, 3)
            if not len(faces) or not np.isfinite(vertices).all():
                self.failed += 1
                continue
            out.append(_Part(element, Mesh(vertices.astype(np.float32), faces, _colors(shape, len(faces)))))
        return out

    def unit_scale(self, model: Any) -> float:
        """Metres in one unit of the file; geometry comes in metres already."""
        import ifcopenshell.util.unit

        return float(ifcopenshell.util.unit.calculate_unit_scale(model))


def _colors(shape: Any, count: int) -> NDArray[np.uint8]:
    """(F, 3) RGB of the styles; grey where there is none."""
    palette = [[material.diffuse.r(), material.diffuse.g(), material.diffuse.b()] for material in shape.materials]
    index = np.asarray(shape.material_ids, dtype=np.int64)
    if not palette or len(index) != count:
        return np.tile(GREY, (count, 1))
    colors = np.clip(np.array(palette) * 255.0, 0, 255).astype(np.uint8)
    return np.where(index[:, None] >= 0, colors[np.maximum(index, 0)], GREY).astype(np.uint8)


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
    spaces: Sequence[_Part],
    structure: Sequence[_Part],
    furniture: Sequence[_Part],
    doors: Sequence[_Part],
) -> Level | None:
    """One storey, or None if it holds no spaces or no walls."""
    outlines = [(part, _footprint(part.mesh)) for part in spaces]
    outlines = [(part, outline) for part, outline in outlines if outline is not None]
    walls = [part for part in structure if any(part.element.is_a(kind) for kind in WALLS)]
    low, high = (shapely.union_all([_section(part.mesh, elevation_m + z) for part in walls]) for z in CUTS_M)
    if not outlines or high.is_empty:
        return None
    plan = _plan(shapely.union(low, high), [outline for _, outline in outlines])
    taken: set[str] = set()
    places = []
    for part, outline in outlines:
        space = part.element
        number, spoken_name = space.Name or "", space.LongName or space.ObjectType or ""
        label = " ".join(word for word in (spoken_name, number) if word) or f"Room {len(places) + 1}"
        corners = np.asarray(outline.exterior.coords)[:-1, :2]
        held = [item for item in furniture if _stands_in(item, outline, elevation_m, height_m)]
        pieces = tuple(
            Furnishing(
                f"{item.element.GlobalId}",
                furniture_category(item.element.Name or item.element.ObjectType or "") or "furniture",
                _lowered(item.mesh, elevation_m),
                (item.element.ObjectType or item.element.Name or "").split(":")[0],
            )
            for item in held
        )
        category = guess_category(spoken_name or number)
        text = describe_place(label, category, name, float(outline.area), [piece.category for piece in pieces])
        place_id = f"{level_id}-{identifier(number or label, taken)}"
        places.append(Place(place_id, label, category, corners, text, furnishings=pieces))
    return Level(
        level_id,
        name,
        elevation_m,
        height_m,
        plan,
        tuple(places),
        _lowered(_joined(part.mesh for part in structure), elevation_m),
        tuple(
            Door(_door_segment(part.mesh))
            for part in doors
            if abs(part.low_m - elevation_m) < 0.5 * height_m and part.high_m > elevation_m + 1.0
        ),
    )


def _section(mesh: Mesh, z_m: float) -> Any:
    """Area of a solid at a height; where its triangles do not close, the convex hull of what was cut."""
    if not mesh.vertices[:, 2].min() < z_m < mesh.vertices[:, 2].max():
        return shapely.Polygon()
    body = trimesh.Trimesh(mesh.vertices.astype(np.float64), mesh.faces, process=False)
    segments = trimesh.intersections.mesh_plane(body, plane_normal=(0.0, 0.0, 1.0), plane_origin=(0.0, 0.0, z_m))
    lines = shapely.linestrings(np.round(segments[:, :, :2], 5)) if len(segments) else np.array([])
    if not len(lines):
        return shapely.Polygon()
    areas = shapely.get_parts(shapely.polygonize([shapely.union_all(lines)]))
    inside = [area for area in areas if _is_solid(area, lines)]
    return shapely.union_all(inside) if inside else shapely.union_all(lines).convex_hull


def _is_solid(area: Any, lines: NDArray[np.object_]) -> bool:
    """Even-odd rule: a point of the area sees an odd number of cut edges to its right."""
    point = area.representative_point()
    ray = shapely.LineString([(point.x, point.y), (point.x + 1e4, point.y + 1.7)])
    return bool(shapely.intersects(lines, ray).sum() % 2)


def _footprint(mesh: Mesh) -> Any:
    """Outline of a space from above: its largest part, without holes; None if it has no area."""
    corners = mesh.vertices[mesh.faces][:, :, :2].astype(np.float64)
    area = 0.5 * np.abs(
        np.cross(
            np.c_[corners[:, 1] - corners[:, 0], np.zeros(len(corners))],
            np.c_[corners[:, 2] - corners[:, 0], np.zeros(len(corners))],
        )[:, 2]
    )
    triangles = [shapely.Polygon(c) for c, a in zip(corners, area, strict=True) if a > 1e-6]
    if not triangles:
        return None
    union = shapely.union_all(triangles, grid_size=1e-4)
    parts = [part for part in shapely.get_parts(union) if isinstance(part, shapely.Polygon) and part.area > 0.2]
    return shapely.Polygon(max(parts, key=lambda part: part.area).exterior).simplify(0.01) if parts else None


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


def _stands_in(item: _Part, outline: Any, elevation_m: float, height_m: float) -> bool:
    middle = 0.5 * (item.mesh.vertices.min(axis=0) + item.mesh.vertices.max(axis=0))
    on_level = elevation_m - 0.3 < float(middle[2]) < elevation_m + height_m
    return on_level and bool(shapely.contains_xy(outline, float(middle[0]), float(middle[1])))


def _door_segment(mesh: Mesh) -> NDArray[np.float64]:
    """The longer middle line of a door's footprint (2, 2)."""
    (x, y), (width, depth), angle = cv2.minAreaRect(np.ascontiguousarray(mesh.vertices[:, :2], dtype=np.float32))
    turn = np.deg2rad(angle + (0.0 if width >= depth else 90.0))
    half = 0.5 * max(width, depth) * np.array([np.cos(turn), np.sin(turn)])
    return np.array([np.array([x, y]) - half, np.array([x, y]) + half], dtype=np.float64)


def _joined(meshes: Iterable[Mesh]) -> Mesh:
    several = list(meshes)
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in several)])[:-1]
    colors = [
        mesh.face_colors if mesh.face_colors is not None else np.tile(GREY, (len(mesh.faces), 1)) for mesh in several
    ]
    return Mesh(
        np.concatenate([mesh.vertices for mesh in several]),
        np.concatenate([mesh.faces + offset for mesh, offset in zip(several, offsets, strict=True)]).astype(np.int32),
        np.concatenate(colors),
    )


def _lowered(mesh: Mesh, elevation_m: float) -> Mesh:
    return Mesh(mesh.vertices - np.array([0.0, 0.0, elevation_m], dtype=np.float32), mesh.faces, mesh.face_colors)
