"""Pictures of a simulated room: a survey's, with depth and instances, and a robot's contiguous frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Level, Place
from crossover_models.dataset.scene import View
from crossover_models.simulation.appearance import draw_appearance
from crossover_models.simulation.camera import PinholeCamera, optical_pose, render
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.survey import lamp_positions, standing_points, view_poses


@dataclass(frozen=True)
class Stage:
    """A level at one moment, ready to be looked at, and one of its rooms.

    Attributes:
        level: with the furniture of that moment.
        place: the room.
        scene: its triangles: the structure is mesh 0.
        object_of: (meshes,) index into the room's objects, -1 for structure and what stands in other rooms.
        T_scene_map: (4, 4).
    """

    level: Level
    place: Place
    scene: RayScene
    object_of: NDArray[np.int32]
    T_scene_map: NDArray[np.float64]

    def instances(self, mesh: NDArray[np.int32]) -> NDArray[np.int32]:
        """Objects of the room by mesh index, any shape; -1 stays -1."""
        return np.asarray(np.where(mesh >= 0, self.object_of[mesh], -1), dtype=np.int32)


def survey_views(stage: Stage, camera: PinholeCamera, count: int, rng: np.random.Generator) -> tuple[View, ...]:
    """``count`` pictures from all over the room, in one light, with depth (0 where nothing is) and instances."""
    look = draw_appearance(lamp_positions(stage.level), rng)
    views = []
    for T_map_camera in view_poses(stage.place, count, rng):
        picture = render(stage.scene, look, camera, T_map_camera, rng)
        depth = np.where(np.isfinite(picture.depth_m), picture.depth_m, 0.0).astype(np.float32)
        T_scene_camera = stage.T_scene_map @ T_map_camera
        views.append(View(picture.image, T_scene_camera, camera.matrix, depth, stage.instances(picture.instance)))
    return tuple(views)


def drive_poses(place: Place, frames: int, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """(4, 4) camera poses of a robot that crosses up to 1.5 m of a room while it turns slowly."""
    start, goal = standing_points(place, 2, rng)
    way = goal - start
    way *= min(1.0, 1.5 / max(float(np.linalg.norm(way)), 1e-6))
    center = (place.polygon.min(axis=0) + place.polygon.max(axis=0)) / 2.0 - start
    yaw = float(np.arctan2(center[1], center[0]) + rng.normal(0.0, 0.8))
    turn, height = rng.normal(0.0, 0.25), rng.uniform(0.4, 1.2)
    return [
        optical_pose(np.array([*(start + way * k / max(1, frames - 1)), height]), yaw + k * turn, rng.normal(0.0, 0.03))
        for k in range(frames)
    ]


def drive_views(stage: Stage, camera: PinholeCamera, count: int, rng: np.random.Generator) -> tuple[View, ...]:
    """``count`` frames of a robot's drive, in order; no depth, no labels: a robot has none."""
    look = draw_appearance(lamp_positions(stage.level), rng)
    return tuple(
        View(render(stage.scene, look, camera, pose, rng).image, stage.T_scene_map @ pose, camera.matrix)
        for pose in drive_poses(stage.place, count, rng)
    )
