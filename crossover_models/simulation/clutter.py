"""Small things on the furniture and on the floor of a room: nobody's room is tidy.

What lies where follows from the furniture: pillows on sofas, plates on tables, books on shelves. Nothing floats,
nothing stands in something else, and the floor stays passable.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import LineString, Polygon
from shapely.geometry import box as shapely_box

from crossover_models.building import Door, Furnishing, Mesh
from crossover_models.geometry import se3_from_se2, transform_points_se3
from crossover_models.simulation.cad.library import FittedModel, FurnitureLibrary
from crossover_models.simulation.cad.parametric import ParametricLibrary
from crossover_models.simulation.furniture import draw_model, furniture_size
from crossover_models.simulation.support import resting_height

_ON_TABLE = ("plate", "bowl", "cup", "bottle", "vase", "candle", "fruit", "newspaper", "book")
_ON_DESK = ("laptop", "book", "cup", "desk lamp", "phone", "tissue box", "monitor", "newspaper", "bottle")
_ON_COUNTER = ("kettle", "toaster", "coffee machine", "bowl", "bottle", "pan", "cup", "paper roll", "bread", "fruit")
_ON_CABINET = ("vase", "clock", "statue", "book", "box", "speaker", "candle", "desk lamp", "tissue box")
_ON_SHELF = ("book", "book", "box", "vase", "statue", "clock", "bowl", "speaker")

ON: dict[str, tuple[str, ...]] = {
    "bed": ("pillow", "book", "teddy bear", "laptop", "towel"),
    "sofa": ("pillow", "pillow", "remote control", "book", "laptop"),
    "armchair": ("pillow", "book"),
    "table": _ON_TABLE,
    "meeting table": ("laptop", "cup", "bottle", "book", "phone", "newspaper"),
    "coffee table": ("remote control", "book", "newspaper", "cup", "vase", "candle", "bowl"),
    "desk": _ON_DESK,
    "reception desk": _ON_DESK,
    "counter": _ON_COUNTER,
    "cabinet": _ON_CABINET,
    "nightstand": ("desk lamp", "clock", "book", "cup", "tissue box"),
    "tv stand": ("television", "speaker", "remote control", "vase"),
    "bookshelf": _ON_SHELF,
    "shelf": _ON_SHELF,
    "stove": ("pan", "kettle"),
    "washing machine": ("towel", "box", "bottle"),
}
"""What may lie on a category of furniture; one that is named twice comes twice as often."""

ON_FLOOR: dict[str, tuple[str, ...]] = {
    "bedroom": ("basketball", "box", "hamper", "boots", "pet bed"),
    "living room": ("box", "basketball", "pet bed", "ottoman"),
    "storage": ("box", "box", "crate", "vacuum cleaner", "bag"),
    "laundry room": ("hamper", "box", "vacuum cleaner"),
    "kitchen": ("bag", "box", "stool"),
    "corridor": ("boots", "box"),
    "office": ("box", "bin"),
}
"""What may stand on the floor of a type of room."""

_MOST_ON = 4
_ONE_OF = frozenset({"television", "monitor", "toaster", "microwave", "coffee machine", "kettle", "desk lamp", "clock"})
_TRIES = 8
_BESIDE_WALL_M = 0.06
_PASSAGE_M = 0.8
_DOOR_M = 1.1
_FALLBACK = ParametricLibrary()
_CROWDED = 2500
"""A model with more triangles than this is too much for a thing of a hand's size."""


def clutter_pieces(
    pieces: Sequence[Furnishing],
    category: str,
    polygon: NDArray[np.float64],
    doors: Sequence[Door],
    amount: float,
    split: str,
    library: FurnitureLibrary | None,
    rng: np.random.Generator,
    prefix: str,
) -> tuple[Furnishing, ...]:
    """Draw small things for a room.

    Args:
        pieces: the furniture, map frame.
        category: of the room.
        polygon: (N, 2) outline between the walls' faces, map frame.
        doors: of the level; things on the floor keep off them.
        amount: share of surfaces with things on them, 0 to 1.
        split: of the models.
        library: whose models are used; None for parametric ones.
        rng: decides everything.
        prefix: of the things' object ids, which go on counting where ``pieces`` ends.
    """
    maker = _Maker(library, split, rng, prefix, pieces)
    room = Polygon(polygon).buffer(-0.02)
    for piece in pieces:
        options = ON.get(piece.category)
        if options is not None and rng.random() < amount:
            _scatter(piece, options, room, pieces, maker, rng)
    options = ON_FLOOR.get(category)
    if options is not None and rng.random() < 0.7 * amount:
        _stand_about(options, room, pieces, doors, maker, rng)
    return tuple(maker.made)


class _Maker:
    def __init__(
        self,
        library: FurnitureLibrary | None,
        split: str,
        rng: np.random.Generator,
        prefix: str,
        pieces: Sequence[Furnishing],
    ) -> None:
        self._library, self._split, self._rng, self._prefix = library, split, rng, prefix
        self.made: list[Furnishing] = []
        self._ids = {piece.object_id for piece in pieces}

    def model(self, category: str) -> FittedModel:
        """A model of about the size that such things have."""
        # Parametric models say how large such a thing is.
        size = np.array(furniture_size(category, draw_model(category, self._split, self._rng)))
        for library in (self._library, _FALLBACK):
            found = None if library is None else library.fitted(category, size, self._split, self._rng)
            if found is not None and len(found.mesh.faces) <= _CROWDED:
                return found
        raise AssertionError(f"no parametric model of {category}")

    def put(self, category: str, model: FittedModel, T_map_object: NDArray[np.float64]) -> None:
        """Note a thing in the map frame."""
        number = 1
        stem = f"{self._prefix}/{category.replace(' ', '_')}"
        while f"{stem}_{number}" in self._ids:
            number += 1
        self._ids.add(f"{stem}_{number}")
        points = transform_points_se3(T_map_object, model.mesh.vertices).astype(np.float32)
        mesh = Mesh(points, model.mesh.faces, model.mesh.face_colors)
        self.made.append(Furnishing(f"{stem}_{number}", category, mesh, model.model_id, T_map_object))


def _area(model: FittedModel, T: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = model.mesh.vertices.min(axis=0), model.mesh.vertices.max(axis=0)
    corners = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]], dtype=np.float64)
    return np.asarray(corners @ T[:2, :2].T + T[:2, 3])


def _bounds(piece: Furnishing) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return piece.mesh.vertices.min(axis=0).astype(np.float64), piece.mesh.vertices.max(axis=0).astype(np.float64)


def _scatter(
    piece: Furnishing,
    options: Sequence[str],
    room: Polygon,
    pieces: Sequence[Furnishing],
    maker: _Maker,
    rng: np.random.Generator,
) -> None:
    """Set a few things down on a piece of furniture."""
    low, high = _bounds(piece)
    heading = 0.0
    if piece.T_map_object is not None:
        heading = float(np.arctan2(piece.T_map_object[1, 0], piece.T_map_object[0, 0]))
    around = [_bounds(p) for p in pieces if p is not piece]
    taken: list[tuple[Polygon, float, float]] = []
    used: set[str] = set()
    for _ in range(int(rng.integers(1, _MOST_ON + 1))):
        category = str(rng.choice(list(options)))
        if category in used and category in _ONE_OF:
            continue
        model = maker.model(category)
        height = float(model.mesh.vertices[:, 2].max())
        for _ in range(_TRIES):
            x, y = rng.uniform(low[:2] + 0.05, np.maximum(high[:2] - 0.05, low[:2] + 0.051))
            if category in ("television", "monitor", "clock", "pillow", "laptop"):
                turn = heading + rng.normal(0.0, 0.1)
            else:
                turn = rng.uniform(-np.pi, np.pi)
            # Shelves fill from any board; everything else lies on top of what carries it.
            wanted = rng.uniform(low[2], high[2]) if "shelf" in piece.category else _seat(piece.category, high[2])
            corners = _area(model, se3_from_se2([x, y, turn]))
            area = Polygon(corners)
            z = resting_height(piece.mesh, corners, height, float(wanted), 0.5)
            if z is None or not room.contains(area):
                continue
            if any(bottom < z + height and z < top and area.intersects(other) for other, bottom, top in taken):
                continue
            if any(a[2] < z + height and z < b[2] and area.intersects(shapely_box(*a[:2], *b[:2])) for a, b in around):
                continue
            maker.put(category, model, se3_from_se2([x, y, turn], z))
            taken.append((area, z, z + height))
            used.add(category)
            break


def _seat(category: str, top: float) -> float:
    """Height at which things lie on furniture of a category: on the seat, not on the back."""
    return 0.45 if category in ("bed", "sofa", "armchair") else top


def _stand_about(
    options: Sequence[str],
    room: Polygon,
    pieces: Sequence[Furnishing],
    doors: Sequence[Door],
    maker: _Maker,
    rng: np.random.Generator,
) -> None:
    """Stand one or two things by the walls, where nobody walks."""
    lines = [LineString(door.segment) for door in doors]
    # What stands low enough to be in the way.
    solid = [shapely_box(*a[:2], *b[:2]) for a, b in map(_bounds, pieces) if a[2] < 1.0]
    ring = room.exterior
    for _ in range(int(rng.integers(1, 3))):
        category = str(rng.choice(list(options)))
        model = maker.model(category)
        reach = float(np.hypot(*np.ptp(model.mesh.vertices[:, :2], axis=0))) / 2
        for _ in range(_TRIES):
            at = ring.interpolate(rng.uniform(0.0, ring.length))
            turn = rng.uniform(-np.pi, np.pi)
            towards = np.array(room.representative_point().coords[0]) - np.array(at.coords[0])
            step = (reach + _BESIDE_WALL_M) * towards / max(float(np.linalg.norm(towards)), 1e-6)
            x, y = np.array(at.coords[0]) + step
            area = Polygon(_area(model, se3_from_se2([x, y, turn])))
            if not room.contains(area) or any(line.distance(area) < _DOOR_M for line in lines):
                continue
            gaps = [other.distance(area) for other in solid]
            if any(gap < 0.03 or 0.15 < gap < _PASSAGE_M for gap in gaps):
                continue
            maker.put(category, model, se3_from_se2([x, y, turn]))
            solid.append(area)
            break
