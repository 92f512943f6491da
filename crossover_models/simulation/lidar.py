"""A simulated multi-beam lidar: range noise, drop-out by chance and by grazing incidence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crossover_models.simulation.raycast import RayScene


@dataclass(frozen=True)
class LidarModel:
    """A spinning lidar; x forward, z up.

    Attributes:
        beams: number of rings.
        elevation_deg: lowest and highest ring.
        azimuths: returns a ring over the full turn.
        range_m: nearest and farthest range.
        noise_m: standard deviation of the range.
        dropout: share of returns lost whatever they hit.
        grazing: incidence cosine at which half of the remaining returns are lost.
    """

    beams: int = 16
    elevation_deg: tuple[float, float] = (-15.0, 15.0)
    azimuths: int = 360
    range_m: tuple[float, float] = (0.3, 20.0)
    noise_m: float = 0.02
    dropout: float = 0.02
    grazing: float = 0.03

    @cached_property
    def directions(self) -> NDArray[np.float64]:
        """(beams * azimuths, 3) unit vectors in the sensor frame, ring after ring from the lowest."""
        elevation = np.deg2rad(np.linspace(*self.elevation_deg, self.beams))[:, None]
        azimuth = (np.arange(self.azimuths) * (2 * np.pi / self.azimuths) - np.pi)[None, :]
        x, y = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth)
        return np.stack([x, y, np.broadcast_to(np.sin(elevation), x.shape)], axis=-1).reshape(-1, 3)


def sweep(
    scene: RayScene, model: LidarModel, T_map_sensor: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """One sweep from a pose (4, 4): points (N, 3) float32 in the sensor frame, only the returns that came back."""
    return sweep_hits(scene, model, T_map_sensor, rng)[0]


def sweep_hits(
    scene: RayScene, model: LidarModel, T_map_sensor: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """As :func:`sweep`, and the face (N,) that each return came from."""
    local = model.directions
    world = local @ T_map_sensor[:3, :3].T
    distance, face = scene.cast(T_map_sensor[:3, 3], world)
    draw = rng.random(len(local))
    noise = rng.normal(0.0, model.noise_m, len(local))
    cosine = np.abs(np.einsum("ij,ij->i", world, scene.face_normals[face]))
    kept = (1.0 - model.dropout) * (1.0 - np.exp2(-cosine / model.grazing))
    measured = distance + noise
    near, far = model.range_m
    with np.errstate(invalid="ignore"):
        seen = (face >= 0) & (measured > near) & (measured < far) & (draw < kept)
    return np.asarray(local[seen] * measured[seen, None], dtype=np.float32), face[seen]
