"""Ray casting on triangles with Embree: what every simulated sensor looks through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import ArrayLike, NDArray

from crossover_models.building import Mesh

# Embree reports a miss as a huge finite distance.
_MISS_M = np.float32(1e30)


class RayScene:
    """Meshes to cast rays at.

    Attributes:
        face_mesh: (F,) int32, which of the meshes a face belongs to.
        face_normals: (F, 3) float32 unit normals by winding (zero for a degenerate face).
        face_colors: (F, 3) uint8; grey where a mesh has none.
    """

    def __init__(self, meshes: Sequence[Mesh]) -> None:
        triangles = [mesh.vertices[mesh.faces] for mesh in meshes]
        corners = np.concatenate(triangles) if triangles else np.zeros((0, 3, 3), np.float32)
        if not len(corners):
            raise ValueError("meshes: no faces to cast rays at")
        self.face_mesh = np.repeat(np.arange(len(meshes)), [len(t) for t in triangles]).astype(np.int32)
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        self.face_normals: NDArray[np.float32] = (normal / np.maximum(length, 1e-12)).astype(np.float32)
        colors = [
            np.full(mesh.faces.shape, 160, np.uint8) if mesh.face_colors is None else mesh.face_colors
            for mesh in meshes
        ]
        self.face_colors: NDArray[np.uint8] = np.concatenate(colors)
        self._embree = EmbreeScene()
        self._mesh = TriangleMesh(self._embree, np.ascontiguousarray(corners, dtype=np.float32))

    def cast(self, origins: ArrayLike, directions: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """First hits of rays: distances (N,) metres, inf for a miss, and faces (N,), -1 for a miss.

        ``origins`` (N, 3) or (3,) and unit ``directions`` (N, 3) are in the meshes' frame.
        """
        o, d = self._rays(origins, directions)
        hits = self._embree.run(o, d, output=True)
        distance = np.asarray(hits["tfar"], dtype=np.float32)
        face = np.asarray(hits["primID"], dtype=np.int32)
        missed = (distance > _MISS_M) | (face < 0)
        return np.where(missed, np.float32(np.inf), distance), np.where(missed, np.int32(-1), face)

    def blocked(self, origins: ArrayLike, targets: ArrayLike) -> NDArray[np.bool_]:
        """Whether something stands between points (N, 3) and targets (N, 3) or (3,), 2 mm kept clear at both ends."""
        o = np.asarray(origins, dtype=np.float32)
        delta = np.asarray(targets, dtype=np.float32) - o
        length = np.maximum(np.linalg.norm(delta, axis=-1), 1e-6)
        d = delta / length[:, None]
        start, direction = self._rays(o + 0.002 * d, d)
        hit = self._embree.run(start, direction, (length - 0.004).astype(np.float32), query="OCCLUDED")
        return np.asarray(np.asarray(hit) == 0, dtype=np.bool_)

    @staticmethod
    def _rays(origins: ArrayLike, directions: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        d = np.ascontiguousarray(directions, dtype=np.float32)
        o = np.ascontiguousarray(np.broadcast_to(np.asarray(origins, dtype=np.float32), d.shape))
        return o, d
