"""A building as every importer delivers it and every consumer (database, simulation, training) reads it.

All geometry of a level is in its map frame: metres, z up from the level's floor, x and y as drawn. ``T_building_map``
places that frame in the building's. Only what the source says is present: an absent modality is absent, not empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crossover_models.floor_plan import FloorPlan


class BuildingError(ValueError):
    """A source that describes no usable building; the message names the file, the element and the value."""


@dataclass(frozen=True)
class Mesh:
    """Triangles.

    Attributes:
        vertices: (V, 3) float32, metres.
        faces: (F, 3) int32 indices into ``vertices``.
        face_colors: (F, 3) uint8 RGB, or None where the source has no colour.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    face_colors: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3 or not np.isfinite(self.vertices).all():
            raise BuildingError(f"vertices: expected finite (V, 3), got {self.vertices.shape}")
        if self.faces.ndim != 2 or self.faces.shape[1] != 3:
            raise BuildingError(f"faces: expected (F, 3), got {self.faces.shape}")
        if len(self.faces) and not (self.faces.min() >= 0 and self.faces.max() < len(self.vertices)):
            raise BuildingError(f"faces: index out of range of {len(self.vertices)} vertices")
        if self.face_colors is not None and self.face_colors.shape != self.faces.shape:
            raise BuildingError(f"face_colors: expected {self.faces.shape}, got {self.face_colors.shape}")


@dataclass(frozen=True)
class Furnishing:
    """One piece of furniture: ``mesh`` is already in the level's map frame.

    ``T_map_object`` (4, 4) is the pose of the model's own frame (x forward, footprint centered, z = 0 below), where the
    source knows it.
    """

    object_id: str
    category: str
    mesh: Mesh
    model_id: str = ""
    T_map_object: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Door:
    """A passage: a line (2, 2) in the map frame on the wall's axis, metres."""

    segment: NDArray[np.float64]
    kind: str = "door"


@dataclass(frozen=True)
class Place:
    """A room (or named area) of a level: what retrieval returns.

    Attributes:
        place_id: unique in the building.
        name: as people say it, e.g. ``"Kitchen 1.04"``.
        category: room type in lower case (``"kitchen"``), or "" where unknown.
        polygon: (N, 2) outline in the map frame, metres, not closed.
        text: descriptions and referrals; empty where the source says nothing.
        images: (H, W, 3) uint8 RGB views, possibly none.
        point_cloud: (N, 3) float32 survey points in the map frame, or None.
        furnishings: CAD meshes inside, possibly none.
    """

    place_id: str
    name: str
    category: str
    polygon: NDArray[np.float64]
    text: tuple[str, ...] = ()
    images: tuple[NDArray[np.uint8], ...] = ()
    point_cloud: NDArray[np.float32] | None = None
    furnishings: tuple[Furnishing, ...] = ()

    def __post_init__(self) -> None:
        if self.polygon.ndim != 2 or self.polygon.shape[1] != 2 or len(self.polygon) < 3:
            raise BuildingError(f"place {self.place_id}: polygon needs at least 3 corners, got {self.polygon.shape}")


@dataclass(frozen=True)
class Lift:
    """A lift's name and cabin centre (2,) in the map frame, metres."""

    name: str
    position: NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """One storey.

    Attributes:
        level_id: unique in the building, e.g. ``"L2"``.
        elevation_m: height of the floor in the building frame.
        height_m: floor to ceiling.
        plan: structural floor plan (walls, no furniture; doors drawn open).
        structure: walls, floor and ceiling as triangles, or None where the source is only a drawing.
        T_building_map: (3,) planar pose of the level's map frame in the building frame.
        drawing: (H, W, 3) uint8 RGB original drawing, where there is one.
    """

    level_id: str
    name: str
    elevation_m: float
    height_m: float
    plan: FloorPlan
    places: tuple[Place, ...]
    structure: Mesh | None = None
    doors: tuple[Door, ...] = ()
    lifts: tuple[Lift, ...] = ()
    T_building_map: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    drawing: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Building:
    """A named building; ``source`` says what it was read from."""

    building_id: str
    levels: tuple[Level, ...]
    source: str = ""

    def __post_init__(self) -> None:
        if not self.levels:
            raise BuildingError(f"building {self.building_id}: no levels")
        seen: set[str] = set()
        for level in self.levels:
            for place in level.places:
                if place.place_id in seen:
                    raise BuildingError(f"building {self.building_id}: place {place.place_id} occurs twice")
                seen.add(place.place_id)
