"""What stands in a room is not painted as its CAD model: other cloth, other wood, older paint."""

from __future__ import annotations

import colorsys

import numpy as np

from crossover_models.building import Mesh

_OTHER_PAINT = 0.6


def repainted(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """The mesh with every color of it changed consistently: faces of one color keep one color.

    Six times of ten all hues are drawn anew, otherwise they only shift a little; saturation and brightness always vary.
    """
    if mesh.face_colors is None:
        return mesh
    colors, group = np.unique(mesh.face_colors, axis=0, return_inverse=True)
    turn = rng.uniform(0.0, 1.0) if rng.random() < _OTHER_PAINT else rng.normal(0.0, 0.03)
    saturation, value = rng.uniform(0.5, 1.5), rng.uniform(0.65, 1.35)
    grey_tint = rng.uniform(0.0, 0.35) if rng.random() < _OTHER_PAINT else 0.0
    changed = np.empty_like(colors)
    for i, color in enumerate(colors / 255.0):
        h, s, v = colorsys.rgb_to_hsv(*(float(c) for c in color))
        own = rng.normal(1.0, 0.08)
        s = min(1.0, max(s, grey_tint) * saturation)
        v = min(1.0, max(0.04, (v if v > 0.15 else v + rng.uniform(0.0, 0.3)) * value * own))
        changed[i] = np.rint(255.0 * np.array(colorsys.hsv_to_rgb((h + turn) % 1.0, s, v)))
    return Mesh(mesh.vertices, mesh.faces, changed[group.reshape(-1)].astype(np.uint8))
