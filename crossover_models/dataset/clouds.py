"""Point clouds of a simulated room as sensors see it: partial, noisy, colored only where a camera looked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.scene import ScenePoints
from crossover_models.dataset.views import Stage
from crossover_models.geometry import se3_from_se2, transform_points_se3
from crossover_models.simulation.appearance import draw_appearance
from crossover_models.simulation.camera import PinholeCamera, render
from crossover_models.simulation.lidar import LidarModel, sweep_hits
from crossover_models.simulation.survey import lamp_positions, place_outline_mask, standing_points, view_poses

SURVEY_LIDAR = LidarModel(beams=32, elevation_deg=(-55.0, 45.0), azimuths=400)
ROBOT_LIDAR = LidarModel()
RGBD_CAMERA = PinholeCamera(160, 120, 70.0)
COLOR_CAMERA = PinholeCamera(320, 240, 85.0)
RGBD_RANGE_M = (0.4, 5.0)
_OUTSIDE_M = 0.1


def lidar_cloud(stage: Stage, spacing_m: float, rng: np.random.Generator) -> ScenePoints:
    """A survey by lidar from two to four tripods; a few pictures color what they see of it, the rest stays bare."""
    points, faces = [], []
    for x, y in standing_points(stage.place, int(rng.integers(2, 5)), rng):
        T_map_sensor = se3_from_se2([x, y, rng.uniform(-np.pi, np.pi)], rng.uniform(1.1, 1.7))
        seen, face = sweep_hits(stage.scene, SURVEY_LIDAR, T_map_sensor, rng)
        points.append(transform_points_se3(T_map_sensor, seen))
        faces.append(face)
    xyz, face = _inside(stage, np.concatenate(points), np.concatenate(faces))
    kept = _thinned_rows(xyz, spacing_m)
    xyz, face = xyz[kept], face[kept]
    colors, colored = _colored(stage, xyz, int(rng.integers(2, 5)), rng)
    return _in_scene(stage, xyz, face, colors, colored)


def rgbd_cloud(stage: Stage, spacing_m: float, rng: np.random.Generator) -> ScenePoints:
    """A walk with an RGB-D camera: 12 to 20 depth pictures, noise growing with the square of depth, holes at edges."""
    look = draw_appearance(lamp_positions(stage.level), rng)
    camera = RGBD_CAMERA
    near, far = RGBD_RANGE_M
    points, faces, colors = [], [], []
    for pose in view_poses(stage.place, int(rng.integers(12, 21)), rng):
        turned = pose @ _tilt(rng.uniform(-0.1, 0.35))
        picture = render(stage.scene, look, camera, turned, rng)
        depth = picture.depth_m
        # Khoshelham and Elberink 2012: the standard deviation grows with the square of the distance, 1.4 mm at 1 m.
        noisy = depth + rng.normal(0.0, 1.0, depth.shape) * 0.0014 * np.minimum(depth, far) ** 2
        edge = _edges(depth) & (rng.random(depth.shape) < 0.8)
        seen = np.isfinite(depth) & (noisy > near) & (noisy < far) & ~edge & (rng.random(depth.shape) > 0.02)
        rows, cols = np.nonzero(seen)
        k = camera.matrix
        z = noisy[rows, cols]
        local = np.stack([(cols - k[0, 2]) / k[0, 0] * z, (rows - k[1, 2]) / k[1, 1] * z, z], axis=1)
        points.append(transform_points_se3(turned, local))
        faces.append(picture.instance[rows, cols])
        colors.append(picture.image[rows, cols])
    xyz, mesh, rgb = np.concatenate(points), np.concatenate(faces), np.concatenate(colors)
    inside = place_outline_mask(stage.place, xyz[:, :2], _OUTSIDE_M)
    xyz, mesh, rgb = xyz[inside], mesh[inside], rgb[inside]
    kept = _thinned_rows(xyz, spacing_m)
    moved = transform_points_se3(stage.T_scene_map, xyz[kept]).astype(np.float32)
    return ScenePoints(moved, rgb[kept], np.ones(len(moved), np.bool_), stage.instances(mesh[kept]))


def robot_cloud(stage: Stage, spacing_m: float, rng: np.random.Generator) -> ScenePoints:
    """A few sweeps of a robot's lidar on a drive of up to 1.5 m, not cut at the walls: doors let it see more."""
    stands = standing_points(stage.place, 2, rng)
    way = stands[0] - stands[1]
    way *= min(1.0, 1.5 / max(float(np.linalg.norm(way)), 1e-6))
    points, faces = [], []
    for fraction in np.linspace(1.0, 0.0, int(rng.integers(1, 7))):
        T_map_sensor = se3_from_se2([*(stands[1] + way * fraction), rng.uniform(-np.pi, np.pi)], 0.6)
        seen, face = sweep_hits(stage.scene, ROBOT_LIDAR, T_map_sensor, rng)
        points.append(transform_points_se3(T_map_sensor, seen))
        faces.append(face)
    xyz, face = np.concatenate(points), np.concatenate(faces)
    kept = _thinned_rows(xyz, spacing_m)
    return _in_scene(stage, xyz[kept], face[kept], None, None)


def _in_scene(
    stage: Stage,
    xyz: NDArray[np.float64],
    face: NDArray[np.int32],
    colors: NDArray[np.uint8] | None,
    colored: NDArray[np.bool_] | None,
) -> ScenePoints:
    moved = transform_points_se3(stage.T_scene_map, xyz).astype(np.float32)
    return ScenePoints(moved, colors, colored, stage.instances(stage.scene.face_mesh[face]))


def _inside(
    stage: Stage, xyz: NDArray[np.float64], face: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    inside = place_outline_mask(stage.place, xyz[:, :2], _OUTSIDE_M)
    return xyz[inside], face[inside]


def _thinned_rows(xyz: NDArray[np.float64], spacing_m: float) -> NDArray[np.int64]:
    """Rows of one point (the first) in each cell of a grid, in their order."""
    cells = np.floor(xyz / spacing_m).astype(np.int64)
    cells -= cells.min(axis=0) if len(cells) else 0
    _, first = np.unique((cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2], return_index=True)
    return np.sort(first)


def _colored(
    stage: Stage, xyz: NDArray[np.float64], pictures: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Colors of points by pictures taken in a light of their own; what no picture shows stays black and uncolored."""
    look = draw_appearance(lamp_positions(stage.level), rng)
    camera, k = COLOR_CAMERA, COLOR_CAMERA.matrix
    colors, colored = np.zeros((len(xyz), 3), np.uint8), np.zeros(len(xyz), np.bool_)
    for pose in view_poses(stage.place, pictures, rng):
        picture = render(stage.scene, look, camera, pose, rng)
        local = transform_points_se3(np.linalg.inv(pose), xyz)
        with np.errstate(divide="ignore", invalid="ignore"):
            col = np.rint(local[:, 0] / local[:, 2] * k[0, 0] + k[0, 2])
            row = np.rint(local[:, 1] / local[:, 2] * k[1, 1] + k[1, 2])
        inside = (local[:, 2] > 0.1) & (col >= 0) & (col < camera.width) & (row >= 0) & (row < camera.height)
        index = np.flatnonzero(inside & ~colored)
        r, c = row[index].astype(int), col[index].astype(int)
        # Behind something else in the picture: not seen.
        visible = np.abs(picture.depth_m[r, c] - local[index, 2]) < 0.05 + 0.01 * local[index, 2]
        index, r, c = index[visible], r[visible], c[visible]
        colors[index], colored[index] = picture.image[r, c], True
    return colors, colored


def _edges(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels whose neighbor is farther off by over 8 % of the depth: there RGB-D cameras measure nothing."""
    finite = np.where(np.isfinite(depth), depth, 1e3)
    edge = np.zeros(depth.shape, np.bool_)
    for axis in (0, 1):
        step = np.abs(np.diff(finite, axis=axis)) > 0.08 * np.take(finite, range(finite.shape[axis] - 1), axis)
        if axis == 0:
            edge[:-1] |= step
            edge[1:] |= step
        else:
            edge[:, :-1] |= step
            edge[:, 1:] |= step
    return edge


def _tilt(angle_rad: float) -> NDArray[np.float64]:
    """Turn of an optical frame about its x axis: positive looks farther down."""
    cos, sin = np.cos(-angle_rad), np.sin(-angle_rad)
    T = np.eye(4)
    T[1:3, 1:3] = [[cos, -sin], [sin, cos]]
    return T
