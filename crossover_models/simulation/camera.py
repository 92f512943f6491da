"""A simulated pinhole camera: ray casting, Lambert shading with shadows, the camera's own exposure and noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crossover_models.simulation.appearance import Appearance, Light, albedo
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.structure import PANE

# base_link's axes (x forward, y left, z up) seen from the optical frame (z forward, x right, y down; REP-103).
R_BODY_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
_MOST_LIGHTS = 3


@dataclass(frozen=True)
class PinholeCamera:
    """Size in pixels and horizontal field of view; square pixels, principal point in the middle."""

    width: int = 224
    height: int = 224
    fov_x_deg: float = 85.0

    @property
    def focal_px(self) -> float:
        """Focal length in pixels."""
        return float(self.width / 2 / np.tan(np.deg2rad(self.fov_x_deg) / 2))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) intrinsics; pixel centers at integers."""
        f = self.focal_px
        return np.array([[f, 0.0, (self.width - 1) / 2], [0.0, f, (self.height - 1) / 2], [0.0, 0.0, 1.0]])

    @cached_property
    def directions(self) -> NDArray[np.float64]:
        """(H * W, 3) unit rays in the optical frame, row after row."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        k = self.matrix
        rays = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones(u.shape)], axis=-1).reshape(-1, 3)
        return np.asarray(rays / np.linalg.norm(rays, axis=1, keepdims=True), dtype=np.float64)


@dataclass(frozen=True)
class Picture:
    """What the camera saw.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        depth_m: (H, W) float32 along the optical axis, inf where nothing was hit.
        instance: (H, W) int32 index of the mesh in the scene, -1 where nothing was hit.
    """

    image: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    instance: NDArray[np.int32]


def optical_pose(position: NDArray[np.float64], yaw_rad: float, pitch_rad: float = 0.0) -> NDArray[np.float64]:
    """(4, 4) T_map_camera of a camera at ``position`` (3,), looking along ``yaw_rad``, tilted down by ``pitch_rad``."""
    cy, sy, cp, sp = np.cos(yaw_rad), np.sin(yaw_rad), np.cos(pitch_rad), np.sin(pitch_rad)
    turn = np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
    tilt = np.array([[cp, 0.0, sp], [0.0, 1.0, 0.0], [-sp, 0.0, cp]])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = turn @ tilt @ R_BODY_OPTICAL, position
    return T


def render(
    scene: RayScene,
    appearance: Appearance,
    camera: PinholeCamera,
    T_map_camera: NDArray[np.float64],
    rng: np.random.Generator,
) -> Picture:
    """Picture of a scene from a pose (4, 4) of the optical frame; ``rng`` makes the pixels' noise."""
    shape = (camera.height, camera.width)
    local = camera.directions.astype(np.float32)
    world = local @ T_map_camera[:3, :3].T.astype(np.float32)
    origin = T_map_camera[:3, 3].astype(np.float32)
    distance, face = scene.cast(origin, world)
    hit = np.flatnonzero(face >= 0)
    radiance = np.full((len(local), 3), 0.9, dtype=np.float32)
    points = origin + world[hit] * distance[hit, None]
    faces = face[hit]
    normal = scene.face_normals[faces]
    normal = np.where(np.einsum("ij,ij->i", normal, world[hit])[:, None] > 0, -normal, normal)
    light = _ambient(appearance, normal, points)
    for lamp in _nearest(appearance.lights, T_map_camera):
        light += _direct(scene, lamp, points, normal)
    radiance[hit] = albedo(scene, points, faces) * light
    pane = (scene.face_colors[faces] == np.array(PANE, dtype=np.uint8)).all(axis=1) & (scene.face_mesh[faces] == 0)
    radiance[hit[pane]] = 0.75 + 0.35 * appearance.ambient.astype(np.float32)
    depth = np.where(face >= 0, distance * local[:, 2], np.float32(np.inf)).astype(np.float32)
    instance = np.where(face >= 0, scene.face_mesh[face], -1).astype(np.int32)
    image = _developed(radiance, appearance, rng)
    return Picture(image.reshape(*shape, 3), depth.reshape(shape), instance.reshape(shape))


def _ambient(appearance: Appearance, normal: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    # More from above than from below, and less close to the floor: a cheap stand-in for light bounced about.
    sky = 0.9 + 0.1 * normal[:, 2] + 0.12 * np.abs(normal[:, 0])
    near_floor = 0.72 + 0.28 * np.clip(points[:, 2] / 0.6, 0.0, 1.0)
    return np.asarray((sky * near_floor)[:, None] * appearance.ambient, dtype=np.float32)


def _nearest(lights: tuple[Light, ...], T_map_camera: NDArray[np.float64]) -> list[Light]:
    # Lamps far behind the camera light nothing that it sees.
    eye, forward = T_map_camera[:3, 3], T_map_camera[:3, 2]
    center = eye + 2.0 * forward
    near = sorted(lights, key=lambda lamp: float(np.linalg.norm(lamp.position - center)))
    return near[:_MOST_LIGHTS]


def _direct(
    scene: RayScene, lamp: Light, points: NDArray[np.float32], normal: NDArray[np.float32]
) -> NDArray[np.float32]:
    position = lamp.position.astype(np.float32)
    delta = position - points
    squared = np.einsum("ij,ij->i", delta, delta)
    cosine = np.einsum("ij,ij->i", delta, normal) / np.sqrt(squared)
    lit = np.flatnonzero((cosine > 0) & (squared < 144.0))
    strength = np.zeros(len(points), dtype=np.float32)
    if len(lit):
        shaded = scene.blocked(points[lit] + 0.002 * normal[lit], position)
        strength[lit] = np.where(shaded, np.float32(0.0), cosine[lit] / (0.6 + 0.28 * squared[lit]))
    return strength[:, None] * lamp.power.astype(np.float32)


def _developed(radiance: NDArray[np.float32], appearance: Appearance, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Automatic exposure on the 90th percentile, white balance, soft shoulder, gamma, noise, rounding."""
    bright = float(np.percentile(radiance.max(axis=1), 90))
    gain = 0.75 * appearance.exposure / max(bright, 1e-3)
    value = radiance * np.asarray(gain * appearance.white_balance, dtype=np.float32)
    value = np.where(value < 0.6, value, 0.6 + 0.4 * (1.0 - np.exp(-(value - 0.6) / 0.4)))
    encoded = 255.0 * np.clip(value, 0.0, 1.0) ** np.float32(1.0 / appearance.gamma)
    noise = rng.standard_normal(encoded.shape, dtype=np.float32) * np.float32(appearance.noise)
    return np.clip(np.rint(encoded + noise), 0, 255).astype(np.uint8)
