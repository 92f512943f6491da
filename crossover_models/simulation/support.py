"""On what things stand: heights of a mesh below a footprint, by plumb lines through its triangles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Mesh

_LEVEL_M = 0.025
_SAME_M = 1e-3


def heights(mesh: Mesh, points_xy: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Heights, ascending, at which the plumb line through each point (N, 2) meets the mesh."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    low, high = corners[:, :, :2].min(axis=(0, 1)), corners[:, :, :2].max(axis=(0, 1))
    found = []
    for point in np.asarray(points_xy, dtype=np.float64):
        if (point < low).any() or (point > high).any():
            found.append(np.zeros(0))
            continue
        near = corners[
            (corners[:, :, :2].min(axis=1) <= point).all(axis=1) & (corners[:, :, :2].max(axis=1) >= point).all(axis=1)
        ]
        a, u, v = near[:, 0], near[:, 1] - near[:, 0], near[:, 2] - near[:, 0]
        area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
        flat = np.abs(area) > 1e-12
        a, u, v, area = a[flat], u[flat], v[flat], area[flat]
        d = point - a[:, :2]
        s = (d[:, 0] * v[:, 1] - d[:, 1] * v[:, 0]) / area
        t = (u[:, 0] * d[:, 1] - u[:, 1] * d[:, 0]) / area
        inside = (s >= -1e-9) & (t >= -1e-9) & (s + t <= 1 + 1e-9)
        z = np.sort(a[inside, 2] + s[inside] * u[inside, 2] + t[inside] * v[inside, 2])
        found.append(z[np.diff(z, prepend=-np.inf) > _SAME_M])
    return found


def resting_height(
    mesh: Mesh, footprint_xy: NDArray[np.float64], height_m: float, wanted_z: float, most_m: float = 0.6
) -> float | None:
    """Height nearest to ``wanted_z`` at which a thing can stand on the mesh, or None.

    Args:
        mesh: what it stands on, map frame.
        footprint_xy: (4, 2) corners of the thing's footprint.
        height_m: of the thing, for which there must be room above.
        wanted_z: where it should stand.
        most_m: at most so far from there.
    """
    center = footprint_xy.mean(axis=0)
    columns = heights(mesh, np.vstack([center, center + 0.6 * (footprint_xy - center)]))
    options = []
    for i, z in enumerate(columns[0]):
        above = columns[0][i + 1] if i + 1 < len(columns[0]) else np.inf
        # Up to a third may sink into what is soft.
        if above - z >= 0.9 * height_m and abs(z - wanted_z) <= most_m:
            options.append(float(z))
    for z in sorted(options, key=lambda value: abs(value - wanted_z)):
        held = [bool(len(c)) and float(np.abs(c - z).min()) < _LEVEL_M for c in columns[1:]]
        blocked = any(((c > z + _LEVEL_M) & (c < z + 0.9 * height_m)).any() for c in columns[1:])
        if sum(held) >= 3 and not blocked:
            return z
    return None
