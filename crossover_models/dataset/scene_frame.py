"""Where the scene frame of a simulated room lies in its level's map frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Place


def scene_origin(place: Place) -> NDArray[np.float64]:
    """(2,) map-frame position of the scene frame's origin: the middle of the polygon's bounding box, metres.

    The axes are the map frame's, z = 0 is the level's floor: ``p_scene = p_map - [*scene_origin(place), 0]``.
    """
    polygon = np.asarray(place.polygon, dtype=np.float64)
    return np.asarray((polygon.min(axis=0) + polygon.max(axis=0)) / 2)


def T_scene_map(place: Place) -> NDArray[np.float64]:
    """(4, 4) from the level's map frame into the room's scene frame."""
    T = np.eye(4)
    T[:2, 3] = -scene_origin(place)
    return T
