"""Objects of a simulated room with their CAD: the model as the catalog has it, where it stands in the room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Furnishing, Mesh, Place
from crossover_models.dataset.scene import SceneObject
from crossover_models.geometry import inverse_se3, se3_from_se2, transform_points_se3


def cad_id(piece: Furnishing) -> str:
    """Library and model of a piece, unique over libraries; "" where nobody knows."""
    if not piece.model_id or piece.model_id.startswith(("sweet-home/", "parametric/")):
        return piece.model_id
    return f"parametric/{piece.model_id}"


def scene_object(piece: Furnishing, T_scene_map: NDArray[np.float64]) -> SceneObject:
    """A piece of furniture in the scene frame, its CAD mesh in the canonical one."""
    T_map_object = piece.T_map_object
    if T_map_object is None:
        low, high = piece.mesh.vertices.min(axis=0), piece.mesh.vertices.max(axis=0)
        middle = (low + high) / 2.0
        T_map_object = se3_from_se2([middle[0], middle[1], 0.0], float(low[2]))
    local = transform_points_se3(inverse_se3(T_map_object), piece.mesh.vertices).astype(np.float32)
    size = np.ptp(local, axis=0).astype(np.float64)
    mesh = Mesh(local, piece.mesh.faces, piece.mesh.face_colors)
    return SceneObject(piece.object_id, piece.category, T_scene_map @ T_map_object, size, mesh, cad_id(piece))


def scene_objects(place: Place, T_scene_map: NDArray[np.float64]) -> tuple[SceneObject, ...]:
    """All pieces of a room, in the place's order."""
    return tuple(scene_object(piece, T_scene_map) for piece in place.furnishings)
