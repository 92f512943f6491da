"""Training samples of simulated rooms: every modality of a place, each taken on its own occasion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Building, Furnishing, Level, Mesh, Place
from crossover_models.floor_plan import FloorPlan
from crossover_models.geometry import se3_from_se2, transform_points_se3
from crossover_models.simulation.camera import PinholeCamera
from crossover_models.simulation.lidar import LidarModel, sweep
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.survey import (
    lamp_positions,
    level_meshes,
    place_images,
    standing_points,
    thinned,
)

ROBOT_CAMERA = PinholeCamera(160, 120, 80.0)


@dataclass(frozen=True)
class RoomSample:
    """Every modality of one simulated place.

    Attributes:
        place_id: ``building/place``, unique over buildings.
        category: room type.
        images: views (H, W, 3) uint8 RGB, as a robot or a mapping team takes them.
        cloud: (N, 3) float32 metres: a few lidar sweeps from inside, gravity-aligned, z = 0 on the floor, in a frame
            with a random heading whose origin is the last standing point; not cut at the walls.
        cloud_colors: (N, 3) uint8, or None (the simulated lidar sees no color).
        meshes: CAD of the furnishings, map frame.
        plan: of the whole level.
        polygon: (N, 2) of the place, map frame.
        text: description and referrals.
        T_map_cloud: (3,) where the cloud was taken.
    """

    place_id: str
    category: str
    images: tuple[NDArray[np.uint8], ...]
    cloud: NDArray[np.float32]
    cloud_colors: NDArray[np.uint8] | None
    meshes: tuple[Mesh, ...]
    plan: FloorPlan
    polygon: NDArray[np.float64]
    text: tuple[str, ...]
    T_map_cloud: NDArray[np.float64]


def room_samples(
    building: Building,
    rng: np.random.Generator,
    *,
    views: int = 4,
    camera: PinholeCamera = ROBOT_CAMERA,
    lidar: LidarModel | None = None,
    sweeps: int = 4,
    missing: float = 0.15,
    levels: tuple[str, ...] | None = None,
) -> Iterator[RoomSample]:
    """Sample every place of a building.

    Images and clouds see the rooms with a share ``missing`` of the furniture gone, drawn separately for each, so that
    no modality matches the CAD exactly. ``views`` 0 renders nothing.
    """
    model = LidarModel() if lidar is None else lidar
    for level in building.levels:
        if levels is not None and level.level_id not in levels:
            continue
        lamps = lamp_positions(level)
        seen_by_camera, seen_by_lidar = _thinned_out(level, missing, rng), _thinned_out(level, missing, rng)
        camera_scene, lidar_scene = RayScene(level_meshes(seen_by_camera)), RayScene(level_meshes(seen_by_lidar))
        for i, place in enumerate(level.places):
            images = place_images(camera_scene, lamps, seen_by_camera.places[i], views, rng, camera) if views else ()
            cloud, T_map_cloud = robot_cloud(lidar_scene, model, seen_by_lidar.places[i], sweeps, rng)
            yield RoomSample(
                f"{building.building_id}/{place.place_id}",
                place.category,
                images,
                cloud,
                None,
                tuple(f.mesh for f in place.furnishings),
                level.plan,
                place.polygon,
                place.text,
                T_map_cloud,
            )


def robot_cloud(
    scene: RayScene, model: LidarModel, place: Place, sweeps: int, rng: np.random.Generator, height_m: float = 0.6
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Cloud (N, 3) of a short drive inside a place, in its last pose's floor frame, and that pose (3,) in the map."""
    stands = standing_points(place, 2, rng)
    T_map_cloud = np.array([*stands[-1], rng.uniform(-np.pi, np.pi)])
    T_cloud_map = np.linalg.inv(se3_from_se2(T_map_cloud))
    clouds = []
    way = stands[0] - stands[-1]
    way *= min(1.0, 1.5 / max(float(np.linalg.norm(way)), 1e-6))
    for fraction in np.linspace(1.0, 0.0, max(1, sweeps)):
        at = stands[-1] + way * fraction
        T_map_sensor = se3_from_se2([*at, rng.uniform(-np.pi, np.pi)], height_m)
        points_map = transform_points_se3(T_map_sensor, sweep(scene, model, T_map_sensor, rng))
        clouds.append(transform_points_se3(T_cloud_map, points_map))
    return thinned(np.concatenate(clouds).astype(np.float32), 0.03), T_map_cloud


def _thinned_out(level: Level, missing: float, rng: np.random.Generator) -> Level:
    def kept(furnishings: tuple[Furnishing, ...]) -> tuple[Furnishing, ...]:
        return tuple(f for f in furnishings if rng.random() >= missing)

    return replace(level, places=tuple(replace(p, furnishings=kept(p.furnishings)) for p in level.places))
