"""Small things on what has a flat top, as people leave them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Furnishing, Mesh
from crossover_models.geometry import se3_from_se2
from crossover_models.simulation.cad.library import FurnitureLibrary
from crossover_models.simulation.cad.parametric import ParametricLibrary
from crossover_models.simulation.furniture import draw_model, furniture_size
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.shapes import moved

# What lies on what, most usual first.
ON: dict[str, tuple[str, ...]] = {
    "bed": ("pillow", "teddy bear", "book"),
    "bookshelf": ("statue", "vase", "box"),
    "cabinet": ("vase", "desk lamp", "book", "clock", "statue"),
    "coffee table": ("newspaper", "remote control", "cup", "book", "bowl", "candle"),
    "counter": ("kettle", "toaster", "microwave", "coffee machine", "bottle", "plate", "bread", "bowl"),
    "desk": ("laptop", "monitor", "book", "cup", "desk lamp", "phone", "tissue box"),
    "meeting table": ("laptop", "bottle", "cup", "newspaper"),
    "nightstand": ("desk lamp", "clock", "book", "phone"),
    "reception desk": ("monitor", "phone", "vase"),
    "sofa": ("pillow", "towel", "book"),
    "stove": ("pan", "kettle"),
    "table": ("plate", "bowl", "vase", "bottle", "fruit", "cup", "newspaper"),
    "tv stand": ("television",),
    "washing machine": ("towel", "box", "bottle"),
}
_MOST = {"tv stand": 1, "nightstand": 2, "stove": 2, "bed": 2, "sofa": 2, "bookshelf": 1}
_FLAT_M = 0.02
_ATTEMPTS = 6


def clutter(
    pieces: Sequence[Furnishing],
    place_id: str,
    share: float,
    split: str,
    rng: np.random.Generator,
    library: FurnitureLibrary | None = None,
) -> list[Furnishing]:
    """Small things for the pieces of a room.

    Args:
        pieces: furniture in the map frame.
        place_id: prefix of the things' ids.
        share: chance that a piece which can carry something does.
        split: of the models.
        rng: decides everything.
        library: whose models; None for the parametric ones.
    """
    source = library if library is not None else ParametricLibrary()
    placed: list[Furnishing] = []
    count: Counter[str] = Counter()
    for piece in pieces:
        choices = ON.get(piece.category)
        if choices is None or piece.T_map_object is None or rng.random() >= share:
            continue
        ground, boxes = RayScene([piece.mesh]), list[NDArray[np.float64]]()
        for _ in range(int(rng.integers(1, _MOST.get(piece.category, 4) + 1))):
            weight = 1.0 / (1.0 + np.arange(len(choices)))
            category = choices[int(rng.choice(len(choices), p=weight / weight.sum()))]
            thing = _put(category, piece, ground, boxes, split, rng, source)
            if thing is not None:
                count[category] += 1
                mesh, model, pose = thing
                name = f"{place_id}/{category.replace(' ', '_')}_on_{count[category]}"
                placed.append(Furnishing(name, category, mesh, model, pose))
    return placed


def _put(
    category: str,
    piece: Furnishing,
    ground: RayScene,
    boxes: list[NDArray[np.float64]],
    split: str,
    rng: np.random.Generator,
    library: FurnitureLibrary,
) -> tuple[Mesh, str, NDArray[np.float64]] | None:
    size = np.array(furniture_size(category, draw_model(category, split, rng)))
    T = piece.T_map_object
    assert T is not None
    yaw = float(np.arctan2(T[1, 0], T[0, 0]))
    low, high = piece.mesh.vertices.min(axis=0), piece.mesh.vertices.max(axis=0)
    for _ in range(_ATTEMPTS):
        turn = (
            rng.normal(0.0, 0.15) if category in ("television", "monitor", "laptop", "pillow") else rng.uniform(-3, 3)
        )
        if category in ("laptop", "monitor"):
            # Whoever sits at a desk sits in front of it, and the screen looks there.
            turn = rng.normal(0.0, 0.2)
        at = rng.uniform(low[:2], high[:2])
        heading = yaw + turn
        cos, sin = np.cos(heading), np.sin(heading)
        corners = np.array([[a * size[0], b * size[1]] for a in (-0.5, 0, 0.5) for b in (-0.5, 0, 0.5)])
        feet = corners @ np.array([[cos, sin], [-sin, cos]]) + at
        start = np.column_stack([feet, np.full(len(feet), high[2] + 1.0)])
        distance, face = ground.cast(start, np.tile([0.0, 0.0, -1.0], (len(feet), 1)))
        if (face < 0).any() or np.ptp(distance) > _FLAT_M:
            continue
        z = float(high[2] + 1.0 - distance.min())
        # A shelf's lowest board or a chair's foot is no place to leave things.
        if z < 0.3:
            continue
        reach = np.hypot(size[0], size[1]) / 2
        if any(np.hypot(*(at - other[:2])) < reach + other[2] for other in boxes):
            continue
        fitted = library.fitted(category, size, split, rng)
        if fitted is None:
            fitted = ParametricLibrary().fitted(category, size, split, rng)
        if fitted is None:
            return None
        boxes.append(np.array([at[0], at[1], reach]))
        pose = [float(at[0]), float(at[1]), float(heading)]
        return moved(fitted.mesh, pose, z), fitted.model_id, se3_from_se2(pose, z)
    return None
