"""Geometry of IFC elements: opening a file, triangulating, cutting, outlines from above."""

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

from crossover_models.building import BuildingError, Mesh

GREY = np.array([196, 192, 186], dtype=np.uint8)


# A file whose coordinates lie farther out than this counts from a national grid: float32 has no millimeters there.
FAR_M = 1000.0


@dataclass(frozen=True, eq=False)
class Part:
    """One element's triangles in building coordinates less ``Geometry.origin_xy``, metres."""

    element: Any
    mesh: Mesh
    containers: tuple[int, ...] = ()

    @property
    def low_m(self) -> float:
        """Lowest point."""
        return float(self.mesh.vertices[:, 2].min())

    @property
    def high_m(self) -> float:
        """Highest point."""
        return float(self.mesh.vertices[:, 2].max())


def open_ifc(path: Path) -> Any:
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


class Geometry:
    """Triangulates elements, each once; those that have no body are left out and counted if they should have one.

    Attributes:
        origin_xy: building coordinates of the map frames' origin, metres; (0, 0) unless the file's lie far out.
        failed: elements whose geometry could not be made.
    """

    def __init__(self, model: Any) -> None:
        import ifcopenshell.geom
        import ifcopenshell.util.unit

        self._model = model
        kernel: Any = ifcopenshell.geom  # its annotations promise more kinds of result than these settings give
        self._create_shape = kernel.create_shape
        self._settings = kernel.settings()
        self._settings.set("use-world-coords", True)
        self._scale = float(ifcopenshell.util.unit.calculate_unit_scale(model))
        self._origin: NDArray[np.float64] | None = None
        self.failed = 0

    @property
    def origin_xy(self) -> tuple[float, float]:
        """See the class."""
        return (0.0, 0.0) if self._origin is None else (float(self._origin[0]), float(self._origin[1]))

    def floor_m(self, storey: Any) -> float:
        """Height of a storey's floor in building coordinates, metres: its placement, else its stated elevation."""
        import ifcopenshell.util.placement

        if storey.ObjectPlacement is not None:
            return float(ifcopenshell.util.placement.get_local_placement(storey.ObjectPlacement)[2, 3]) * self._scale
        return float(storey.Elevation or 0.0) * self._scale

    def parts(self, kinds: Sequence[str]) -> list[Part]:
        """Elements of some IFC classes, subclasses included."""
        elements: dict[int, Any] = {}
        for kind in kinds:
            try:
                elements.update({element.id(): element for element in self._model.by_type(kind)})
            except RuntimeError:  # the class does not exist in this schema
                continue
        out = []
        for element in elements.values():
            if element.Representation is None:
                continue
            try:
                shape = self._create_shape(self._settings, element).geometry
            except RuntimeError:
                self.failed += 1
                continue
            vertices = np.asarray(shape.verts, dtype=np.float64).reshape(-1, 3)
            faces = np.asarray(shape.faces, dtype=np.int32).reshape(-1, 3)
            if not len(faces) or not np.isfinite(vertices).all():
                self.failed += 1
                continue
            if self._origin is None:
                corner = np.floor(vertices.min(axis=0))
                self._origin = np.where(np.abs(corner[:2]).max() > FAR_M, corner, 0.0) * [1.0, 1.0, 0.0]
            near = (vertices - self._origin).astype(np.float32)
            out.append(Part(element, Mesh(near, faces, _colors(shape, len(faces))), _containers(element)))
        return out


def _containers(element: Any) -> tuple[int, ...]:
    """Ids of the spaces an element is said to be in."""
    relations = getattr(element, "ContainedInStructure", None) or ()
    places = [relation.RelatingStructure for relation in relations]
    return tuple(place.id() for place in places if place.is_a("IfcSpace"))


def _colors(shape: Any, count: int) -> NDArray[np.uint8]:
    """(F, 3) RGB of the styles; grey where there is none."""
    palette = [[material.diffuse.r(), material.diffuse.g(), material.diffuse.b()] for material in shape.materials]
    index = np.asarray(shape.material_ids, dtype=np.int64)
    if not palette or len(index) != count:
        return np.tile(GREY, (count, 1))
    colors = np.clip(np.array(palette) * 255.0, 0, 255).astype(np.uint8)
    return np.where(index[:, None] >= 0, colors[np.maximum(index, 0)], GREY).astype(np.uint8)


def section(mesh: Mesh, z_m: float) -> Any:
    """Area of a solid at a height; where its triangles do not close, the convex hull of what was cut."""
    if not mesh.vertices[:, 2].min() < z_m < mesh.vertices[:, 2].max():
        return shapely.Polygon()
    body = trimesh.Trimesh(mesh.vertices.astype(np.float64), mesh.faces, process=False)
    intersect: Any = trimesh.intersections.mesh_plane
    segments = intersect(body, plane_normal=(0.0, 0.0, 1.0), plane_origin=(0.0, 0.0, z_m))
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


def footprint(mesh: Mesh) -> Any:
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


def door_segment(mesh: Mesh) -> NDArray[np.float64]:
    """The longer middle line of a door's footprint (2, 2)."""
    (x, y), (width, depth), angle = cv2.minAreaRect(np.ascontiguousarray(mesh.vertices[:, :2], dtype=np.float32))
    turn = np.deg2rad(angle + (0.0 if width >= depth else 90.0))
    half = 0.5 * max(width, depth) * np.array([np.cos(turn), np.sin(turn)])
    return np.array([np.array([x, y]) - half, np.array([x, y]) + half], dtype=np.float64)


def joined(meshes: Iterable[Mesh]) -> Mesh:
    """Several meshes as one; grey where one has no color."""
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


def lowered(mesh: Mesh, elevation_m: float) -> Mesh:
    """A mesh in a level's frame, whose floor lies at z = 0."""
    return Mesh(mesh.vertices - np.array([0.0, 0.0, elevation_m], dtype=np.float32), mesh.faces, mesh.face_colors)
