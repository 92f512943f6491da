"""Boxes, cylinders and prisms, from which furniture and walls are put together."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossover_models.building import Mesh

Color = tuple[int, int, int]

# Corners of a unit box in the order (x, y, z) bits, and its six sides as quads seen from outside.
_CORNERS = np.array([[(i >> 2) & 1, (i >> 1) & 1, i & 1] for i in range(8)], dtype=np.float64)
_SIDES = {
    "-x": (0, 1, 3, 2),
    "+x": (4, 6, 7, 5),
    "-y": (0, 4, 5, 1),
    "+y": (2, 3, 7, 6),
    "-z": (0, 2, 6, 4),
    "+z": (1, 5, 7, 3),
}


class MeshBuilder:
    """Collects colored solids; :meth:`mesh` makes one triangle mesh of them."""

    def __init__(self) -> None:
        self._vertices: list[NDArray[np.float64]] = []
        self._faces: list[NDArray[np.int64]] = []
        self._colors: list[NDArray[np.uint8]] = []
        self._count = 0

    def add(self, vertices: NDArray[np.float64], faces: NDArray[np.int64], color: Color) -> None:
        """Add triangles: vertices (V, 3) metres, faces (F, 3) into them."""
        self._vertices.append(vertices)
        self._faces.append(faces + self._count)
        self._colors.append(np.tile(np.array(color, dtype=np.uint8), (len(faces), 1)))
        self._count += len(vertices)

    def quad(self, corners: ArrayLike, color: Color) -> None:
        """Add a plane quad (4, 3), counter-clockwise seen from its front."""
        self.add(np.asarray(corners, dtype=np.float64), np.array([[0, 1, 2], [0, 2, 3]]), color)

    def box(self, low: ArrayLike, high: ArrayLike, color: Color, sides: dict[str, Color | None] | None = None) -> None:
        """Add an axis-aligned box; ``sides`` gives single sides ("-x" ... "+z") another color, or None to omit them."""
        a, b = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        corners = a + _CORNERS * (b - a)
        for side, index in _SIDES.items():
            side_color = color if sides is None else sides.get(side, color)
            if side_color is not None:
                self.quad(corners[list(index)], side_color)

    def prism(self, outline: ArrayLike, z0: float, z1: float, color: Color, scale_top: float = 1.0) -> None:
        """Add an upright prism (or, with ``scale_top``, a frustum) over a convex outline (N, 2), counter-clockwise."""
        base = np.asarray(outline, dtype=np.float64)
        n = len(base)
        center = base.mean(axis=0)
        top = center + (base - center) * scale_top
        vertices = np.vstack([np.c_[base, np.full(n, z0)], np.c_[top, np.full(n, z1)]])
        i = np.arange(n)
        j = (i + 1) % n
        fan = np.arange(1, n - 1)
        faces = np.vstack(
            [
                np.c_[i, j, j + n],
                np.c_[i, j + n, i + n],
                np.c_[np.zeros_like(fan), fan + 1, fan],
                np.c_[np.full_like(fan, n), fan + n, fan + n + 1],
            ]
        )
        self.add(vertices, faces, color)

    def cylinder(
        self,
        center_xy: tuple[float, float],
        radius_m: float,
        z0: float,
        z1: float,
        color: Color,
        *,
        sides: int = 12,
        scale_top: float = 1.0,
        stretch_y: float = 1.0,
    ) -> None:
        """Add an upright cylinder, cone frustum or (with ``stretch_y``) elliptic cylinder."""
        angle = np.arange(sides) * (2 * np.pi / sides)
        outline = np.c_[center_xy[0] + radius_m * np.cos(angle), center_xy[1] + radius_m * stretch_y * np.sin(angle)]
        self.prism(outline, z0, z1, color, scale_top)

    def mesh(self) -> Mesh:
        """All that was added, as one mesh with face colors."""
        if not self._vertices:
            return Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros((0, 3), np.uint8))
        return Mesh(
            np.concatenate(self._vertices).astype(np.float32),
            np.concatenate(self._faces).astype(np.int32),
            np.concatenate(self._colors),
        )


def moved(mesh: Mesh, T_map_mesh: ArrayLike, z_m: float = 0.0) -> Mesh:
    """The mesh turned and shifted by a planar pose (3,) and lifted by ``z_m``."""
    x, y, yaw = np.asarray(T_map_mesh, dtype=np.float64)
    cos, sin = np.cos(yaw), np.sin(yaw)
    rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    vertices = mesh.vertices.astype(np.float64) @ rotation.T + [x, y, z_m]
    return Mesh(vertices.astype(np.float32), mesh.faces, mesh.face_colors)


def joined(meshes: list[Mesh]) -> Mesh:
    """One mesh of several; a mesh without colors becomes grey."""
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    colors = [
        np.full(mesh.faces.shape, 160, np.uint8) if mesh.face_colors is None else mesh.face_colors for mesh in meshes
    ]
    if not meshes:
        return MeshBuilder().mesh()
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=False)]).astype(np.int32),
        np.concatenate(colors),
    )
