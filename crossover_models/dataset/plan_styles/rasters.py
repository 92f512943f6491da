"""Plans as robots draw them: an occupancy grid, and the density of an earlier survey's points seen from above."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Furnishing, Level, Mesh, Place
from crossover_models.dataset.plan_styles.content import PlanContent
from crossover_models.dataset.plan_styles.symbols import footprint
from crossover_models.dataset.scene import PlanDrawing
from crossover_models.floor_plan import FREE, OCCUPIED

_GONE, _MOVED_M = 0.3, 0.25


def _smooth_noise(shape: tuple[int, int], sigma_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of unit spread that is alike over ``sigma_px`` pixels."""
    noise = np.asarray(cv2.GaussianBlur(rng.normal(0.0, 1.0, shape).astype(np.float32), (0, 0), sigma_px), np.float32)
    return np.asarray(noise / max(float(noise.std()), 1e-6), dtype=np.float32)


def occupancy_drawing(content: PlanContent, rng: np.random.Generator) -> PlanDrawing:
    """map_server's grays, as a mapping run leaves them: ragged walls, specks, furniture legs, unseen corners."""
    grid = content.occupancy
    wall = grid == OCCUPIED
    noise = _smooth_noise(grid.shape, 1.2, rng)
    ragged = wall & (noise > -1.3)
    ragged |= cv2.dilate(wall.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & (noise > 1.4) & (grid == FREE)
    rows, cols = grid.shape
    out = np.full((rows, cols), 205, dtype=np.uint8)
    hidden = _smooth_noise(grid.shape, 12.0, rng)
    out[(grid == FREE) & (hidden < 2.0)] = 254
    for piece in content.pieces:
        # A planar scan shows legs and fronts, never a footprint, and the room was furnished differently that day.
        if rng.random() < 0.5:
            continue
        pose, size = footprint(piece)
        x, y = (float(v) for v in pose[:2] - content.origin + rng.normal(0.0, _MOVED_M, 2))
        for dx, dy in rng.uniform(-0.5, 0.5, (5, 2)) * np.asarray(size):
            col = int((x + dx - content.low[0]) // content.resolution_m)
            row = int((y + dy - content.low[1]) // content.resolution_m)
            if 0 <= row < rows and 0 <= col < cols:
                out[row, col] = 0
    out[ragged] = 0
    specks = rng.random(grid.shape) < 0.0015
    out[specks & (grid == FREE)] = 0
    low = content.low
    return PlanDrawing(out, "occupancy", content.resolution_m, (float(low[0]), float(low[1])))


def density_drawing(level: Level, place: Place, content: PlanContent, rng: np.random.Generator) -> PlanDrawing:
    """Logarithm of the point count above each cell, of a survey of its own: other stands, furniture elsewhere.

    Dark is dense. The survey is one or two stands only and is not cut at the walls, so that parts stay unseen.
    """
    from crossover_models.geometry import se3_from_se2, transform_points_se3
    from crossover_models.simulation.lidar import sweep
    from crossover_models.simulation.raycast import RayScene
    from crossover_models.simulation.structure import extruded_plan
    from crossover_models.simulation.survey import SURVEY_LIDAR, standing_points

    structure = level.structure if level.structure is not None else extruded_plan(level.plan, level.height_m)
    near = tuple(_moved(f, rng) for f in content.pieces if rng.random() >= _GONE)
    scene = RayScene([structure, *(f.mesh for f in near)])
    own = {f.object_id for f in place.furnishings}
    shown = replace(place, furnishings=tuple(f for f in near if f.object_id in own))
    clouds = []
    for x, y in standing_points(shown, int(rng.integers(1, 3)), rng):
        T_map_sensor = se3_from_se2([x, y, rng.uniform(-np.pi, np.pi)], rng.uniform(0.9, 1.5))
        clouds.append(transform_points_se3(T_map_sensor, sweep(scene, SURVEY_LIDAR, T_map_sensor, rng)))
    points = np.concatenate(clouds)
    points = points[(points[:, 2] > 0.15) & (points[:, 2] < level.height_m - 0.2)]
    res = 0.05
    cols, rows = np.ceil((content.high - content.low) / res - 1e-6).astype(int)
    cells = np.floor((points[:, :2] - content.origin - content.low) / res).astype(int)
    cells = cells[(cells >= 0).all(axis=1) & (cells < [cols, rows]).all(axis=1)]
    count = np.zeros((rows, cols))
    np.add.at(count, (cells[:, 1], cells[:, 0]), 1.0)
    dense = np.log1p(count) / max(float(np.log1p(np.quantile(count[count > 0], 0.98))) if count.any() else 1.0, 1e-6)
    image = np.asarray(255 - np.round(255 * np.clip(dense, 0.0, 1.0)), dtype=np.uint8)
    return PlanDrawing(image, "density", res, (float(content.low[0]), float(content.low[1])))


def _moved(piece: Furnishing, rng: np.random.Generator) -> Furnishing:
    shift: NDArray[np.float32] = np.array([*rng.normal(0.0, _MOVED_M, 2), 0.0], dtype=np.float32)
    mesh = Mesh(piece.mesh.vertices + shift, piece.mesh.faces, piece.mesh.face_colors)
    return replace(piece, mesh=mesh, T_map_object=None)
