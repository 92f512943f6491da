"""A floor plan of a scanned room as the paper draws it: layout and furniture from above, white paper, black walls."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.readers.scan2cad import object_corners
from crossover_models.dataset.scene import PlanDrawing, SceneObject

RESOLUTION_M = 0.02
MARGIN_M = 0.5
WALL_M = 0.08
CUT_M = 1.5
"""What begins above this height is not drawn, as in a plan cut at that height."""
PAPER, FURNITURE, OUTLINE, WALL = 255, 190, 90, 0
_SHIFT = 4


def top_view(
    walls: NDArray[np.float64], objects: Sequence[SceneObject], style: str, resolution_m: float = RESOLUTION_M
) -> PlanDrawing | None:
    """Draw a room from above: CAD as its silhouette, an object without CAD as its box.

    Args:
        walls: (S, 2, 2) lines, scene frame, metres.
        objects: furniture; none for the walls alone.
        style: what the drawing is called.
        resolution_m: metres a pixel.

    Returns:
        (H, W) grey with half a metre around; None where there is nothing to draw.
    """
    drawn = [thing for thing in objects if thing.T_scene_object[2, 3] < CUT_M]
    shapes = [_triangles(thing) for thing in drawn]
    points = np.concatenate([walls.reshape(-1, 2), *(shape.reshape(-1, 2) for shape in shapes)])
    if not len(points):
        return None
    low, high = points.min(axis=0) - MARGIN_M, points.max(axis=0) + MARGIN_M
    size = np.ceil((high - low) / resolution_m).astype(int)
    image = np.full((size[1], size[0]), PAPER, dtype=np.uint8)

    def pixels(xy: NDArray[np.float64]) -> NDArray[np.int32]:
        # Pixel centers at (i + 0.5) * resolution; cv2 takes fixed-point coordinates of centers at integers.
        return np.asarray(np.rint(((xy - low) / resolution_m - 0.5) * (1 << _SHIFT)), dtype=np.int32)

    for shape in shapes:
        silhouette = np.zeros_like(image)
        for triangle in pixels(shape):
            cv2.fillConvexPoly(silhouette, triangle, 255, cv2.LINE_8, _SHIFT)
        image[silhouette > 0] = FURNITURE
        contours, _ = cv2.findContours(silhouette, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, contours, -1, OUTLINE, 1)
    for start, end in pixels(walls):
        thickness = max(1, round(WALL_M / resolution_m))
        cv2.line(image, start.tolist(), end.tolist(), WALL, thickness, cv2.LINE_8, _SHIFT)
    return PlanDrawing(image, style, resolution_m, (float(low[0]), float(low[1])))


def _triangles(thing: SceneObject) -> NDArray[np.float64]:
    """(T, 3, 2) triangles seen from above."""
    if thing.cad is None:
        square = object_corners(thing.T_scene_object, thing.size_m)[:4, :2]
        return np.stack([square[[0, 1, 2]], square[[0, 2, 3]]])
    points = thing.cad.vertices.astype(np.float64) @ thing.T_scene_object[:3, :3].T + thing.T_scene_object[:3, 3]
    return np.asarray(points[thing.cad.faces][:, :, :2])
