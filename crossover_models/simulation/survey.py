"""What a mapping team would bring home from a simulated building: pictures and a point cloud of every place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Building, Level, Mesh, Place
from crossover_models.geometry import se3_from_se2, transform_points_se3
from crossover_models.places import interior_point
from crossover_models.simulation.appearance import Appearance, draw_appearance
from crossover_models.simulation.camera import PinholeCamera, optical_pose, render
from crossover_models.simulation.lidar import LidarModel, sweep
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.structure import extruded_plan

SURVEY_CAMERA = PinholeCamera(224, 224, 85.0)
SURVEY_LIDAR = LidarModel(beams=24, elevation_deg=(-55.0, 40.0), azimuths=300)


def level_meshes(level: Level) -> list[Mesh]:
    """The level's structure (extruded from the plan where the source has none) and then all its furnishings."""
    structure = level.structure if level.structure is not None else extruded_plan(level.plan, level.height_m)
    return [structure, *(f.mesh for place in level.places for f in place.furnishings)]


def lamp_positions(level: Level) -> NDArray[np.float64]:
    """(K, 3) lamps under the ceiling, map frame: one in each place, more in long ones."""
    lamps: list[tuple[float, float]] = []
    for place in level.places:
        extent = np.ptp(place.polygon, axis=0)
        low = place.polygon.min(axis=0)
        counts = np.maximum(1, np.round(extent / 4.5)).astype(int)
        grid = [low + extent * ((np.array([i, j]) + 0.5) / counts) for i in range(counts[0]) for j in range(counts[1])]
        inside = [(float(x), float(y)) for x, y in grid if _depth(place.polygon, (float(x), float(y))) > 0.4]
        lamps += inside or [interior_point(place.polygon)]
    return np.array([(x, y, level.height_m - 0.25) for x, y in lamps], dtype=np.float64).reshape(-1, 3)


def _depth(polygon: NDArray[np.float64], point: tuple[float, float]) -> float:
    return float(cv2.pointPolygonTest(np.ascontiguousarray(polygon, dtype=np.float32), point, True))


def standing_points(
    place: Place, count: int, rng: np.random.Generator, *, clearance_m: float = 0.3
) -> NDArray[np.float64]:
    """(count, 2) map-frame points of a place where a person or robot can stand, spread over it.

    Points keep ``clearance_m`` from walls and furniture where the place has such points at all, else less.
    """
    low, high = place.polygon.min(axis=0), place.polygon.max(axis=0)
    boxes = [
        (f.mesh.vertices[:, :2].min(axis=0), f.mesh.vertices[:, :2].max(axis=0))
        for f in place.furnishings
        if f.mesh.vertices[:, 2].min() < 1.0
    ]
    candidates = rng.uniform(low, high, (max(60, 25 * count), 2))
    slack = np.array([_depth(place.polygon, (float(x), float(y))) for x, y in candidates])
    for box_low, box_high in boxes:
        gap = np.maximum(np.maximum(box_low - candidates, candidates - box_high), 0.0)
        inside = (gap == 0).all(axis=1)
        slack = np.minimum(slack, np.where(inside, -1.0, np.hypot(gap[:, 0], gap[:, 1])))
    usable = candidates[slack >= clearance_m]
    if not len(usable):
        usable = candidates[np.argsort(-slack)[:1]]
    chosen = [usable[0]]
    while len(chosen) < count:
        nearest = np.min([np.linalg.norm(usable - c, axis=1) for c in chosen], axis=0)
        if nearest.max() < 1e-9:
            chosen.append(chosen[int(rng.integers(len(chosen)))])
            continue
        chosen.append(usable[int(np.argmax(nearest * rng.uniform(0.5, 1.0, len(usable))))])
    return np.array(chosen)


def view_poses(place: Place, views: int, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """(4, 4) camera poses: one stands somewhere in the place and looks across it, not at the nearest wall."""
    poses = []
    center = np.array(interior_point(place.polygon))
    low, high = place.polygon.min(axis=0), place.polygon.max(axis=0)
    for x, y in standing_points(place, views, rng):
        best, longest = 0.0, -1.0
        for _ in range(3):
            target = center + rng.normal(0.0, 0.22, 2) * (high - low)
            reach = float(np.hypot(target[0] - x, target[1] - y))
            if reach > longest:
                best, longest = float(np.arctan2(target[1] - y, target[0] - x)), reach
        yaw = best + rng.normal(0.0, 0.2)
        poses.append(optical_pose(np.array([x, y, rng.uniform(1.0, 1.6)]), yaw, rng.uniform(0.0, 0.25)))
    return poses


def place_images(
    scene: RayScene,
    lamps: NDArray[np.float64],
    place: Place,
    views: int,
    rng: np.random.Generator,
    camera: PinholeCamera = SURVEY_CAMERA,
    appearance: Appearance | None = None,
) -> tuple[NDArray[np.uint8], ...]:
    """``views`` pictures (H, W, 3) of a place, all in one light (drawn unless given)."""
    look = draw_appearance(lamps, rng) if appearance is None else appearance
    return tuple(render(scene, look, camera, pose, rng).image for pose in view_poses(place, views, rng))


def thinned(points: NDArray[np.float32], voxel_m: float) -> NDArray[np.float32]:
    """One point (the first) of each voxel of a cloud (N, 3)."""
    keys = np.floor(points / voxel_m).astype(np.int64)
    keys -= keys.min(axis=0) if len(keys) else 0
    packed = (keys[:, 0] << 42) | (keys[:, 1] << 21) | keys[:, 2]
    _, first = np.unique(packed, return_index=True)
    return points[np.sort(first)]


def place_cloud(
    scene: RayScene, place: Place, rng: np.random.Generator, *, stands: int = 3, voxel_m: float = 0.05
) -> NDArray[np.float32]:
    """Survey cloud (N, 3) float32 of a place in the map frame: sweeps from tripods in it, thinned, cut at its walls."""
    clouds = []
    for x, y in standing_points(place, stands, rng):
        T_map_sensor = se3_from_se2([x, y, rng.uniform(-np.pi, np.pi)], 1.4)
        clouds.append(transform_points_se3(T_map_sensor, sweep(scene, SURVEY_LIDAR, T_map_sensor, rng)))
    points = np.concatenate(clouds).astype(np.float32)
    # Returns through doors belong to the neighbors.
    kept = place_outline_mask(place, points[:, :2], 0.1)
    return thinned(points[kept], voxel_m)


def place_outline_mask(
    place: Place, points: NDArray[np.float32] | NDArray[np.float64], margin_m: float
) -> NDArray[np.bool_]:
    """Whether map-frame points (N, 2) lie in a place or up to ``margin_m`` outside of it, on a 2 cm raster."""
    polygon, cell = place.polygon, 0.02
    origin = polygon.min(axis=0) - 2 * margin_m - cell
    shape = np.ceil((polygon.max(axis=0) + 2 * margin_m + cell - origin) / cell).astype(int)
    mask = np.zeros((shape[1], shape[0]), dtype=np.uint8)
    cv2.fillPoly(mask, [np.round((polygon - origin) / cell).astype(np.int32)], 1)
    size = 2 * round(margin_m / cell) + 1
    mask = cv2.dilate(mask, np.ones((size, size), np.uint8))
    index = np.floor((points - origin) / cell).astype(int)
    inside = (index >= 0).all(axis=1) & (index < shape).all(axis=1)
    index = np.clip(index, 0, shape - 1)
    return np.asarray(inside & (mask[index[:, 1], index[:, 0]] > 0))


def survey(
    building: Building,
    rng: np.random.Generator,
    views: int = 8,
    camera: PinholeCamera = SURVEY_CAMERA,
    progress: Callable[[str], None] | None = None,
) -> Building:
    """The building with simulated pictures and a point cloud in every place; ``progress`` is told each place's name."""
    levels = []
    for level in building.levels:
        scene, lamps = RayScene(level_meshes(level)), lamp_positions(level)
        places = []
        for place in level.places:
            images = place_images(scene, lamps, place, views, rng, camera)
            places.append(replace(place, images=images, point_cloud=place_cloud(scene, place, rng)))
            if progress is not None:
                progress(place.name)
        levels.append(replace(level, places=tuple(places)))
    return replace(building, levels=tuple(levels))
