"""How a simulated scene looks under one light: textures fixed by the scene, lights and exposure drawn anew.

The same wall has the same texture in every picture of it, but never the same pixel colors: light, white balance and
exposure differ between pictures, so that a color histogram does not recognize a room.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.simulation.raycast import RayScene

PLAIN, SPECKLE, GRAIN, TILES, WEAVE = range(5)


@dataclass(frozen=True)
class Light:
    """A round lamp: position (3,) in the map frame, RGB power at 1 m."""

    position: NDArray[np.float64]
    power: NDArray[np.float64]


@dataclass(frozen=True)
class Appearance:
    """Everything beside geometry that makes a picture.

    Attributes:
        lights: lamps that may shine.
        ambient: (3,) light from everywhere.
        white_balance: (3,) gains of the camera.
        exposure: brightness that the picture's bright parts are brought to (1 is right).
        gamma: of the camera's curve.
        noise: standard deviation of the pixels' noise, in grey levels.
    """

    lights: tuple[Light, ...]
    ambient: NDArray[np.float64]
    white_balance: NDArray[np.float64]
    exposure: float
    gamma: float
    noise: float


def draw_appearance(lamps: NDArray[np.float64], rng: np.random.Generator) -> Appearance:
    """Draw a moment's light for lamps at (K, 3) map-frame positions: some are off, warm or cold, bright or dim."""

    def tint(spread: float) -> NDArray[np.float64]:
        warmth = rng.normal(0.0, spread)
        return np.array([1.0 + warmth, 1.0 + rng.normal(0.0, spread / 4), 1.0 - warmth])

    base = tint(0.12)
    lights = []
    for position in lamps:
        brightness = rng.uniform(0.5, 1.3) if rng.random() < 0.88 else rng.uniform(0.05, 0.2)
        shift = np.array([*rng.normal(0.0, 0.25, 2), -abs(rng.normal(0.0, 0.1))])
        lights.append(Light(position + shift, brightness * base * tint(0.04)))
    return Appearance(
        tuple(lights),
        rng.uniform(0.22, 0.5) * tint(0.08),
        np.clip(tint(0.07), 0.7, 1.3),
        float(rng.uniform(0.75, 1.2)),
        float(rng.uniform(1.9, 2.5)),
        float(rng.uniform(1.0, 4.0)),
    )


def _hash(x: NDArray[np.int64], y: NDArray[np.int64], seed: NDArray[np.int64]) -> NDArray[np.float32]:
    """Pseudo-random numbers in [0, 1) of integer lattice points (multiplicative hashing, no state)."""
    h = (x * np.int64(374761393) + y * np.int64(668265263) + seed * np.int64(2147483647 - 18)) & np.int64(0xFFFFFFFF)
    h = ((h ^ (h >> 13)) * np.int64(1274126177)) & np.int64(0xFFFFFFFF)
    return np.asarray(((h ^ (h >> 16)) & np.int64(0xFFFF)) / 65536.0, dtype=np.float32)


def _noise(u: NDArray[np.float32], v: NDArray[np.float32], seed: NDArray[np.int64]) -> NDArray[np.float32]:
    """Value noise: the lattice's random numbers, smoothly interpolated."""
    iu, iv = np.floor(u), np.floor(v)
    fu, fv = u - iu, v - iv
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    i, j = iu.astype(np.int64), iv.astype(np.int64)
    low = _hash(i, j, seed) * (1 - fu) + _hash(i + 1, j, seed) * fu
    high = _hash(i, j + 1, seed) * (1 - fu) + _hash(i + 1, j + 1, seed) * fu
    return np.asarray(low * (1 - fv) + high * fv, dtype=np.float32)


def albedo(scene: RayScene, points: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.float32]:
    """Linear reflectance (N, 3) at points (N, 3) on faces (N,): the faces' colors times a procedural texture.

    Kind, scale and strength of the texture follow from the color itself, so they are the same in every picture.
    """
    color = scene.face_colors[faces]
    packed = (color.astype(np.int64) * np.array([65536, 256, 1])).sum(axis=1)
    normal = scene.face_normals[faces]
    level = np.abs(normal[:, 2]) > 0.7
    along_x = np.abs(normal[:, 0]) > np.abs(normal[:, 1])
    u = np.where(along_x & ~level, points[:, 1], points[:, 0])
    v = np.where(level, points[:, 1], points[:, 2])
    zero = np.zeros_like(packed)
    kind = np.floor(_hash(packed, zero, zero + 1) * 5).astype(np.int64)
    # Painted walls have no grain, and ceilings hardly any texture.
    structure = scene.face_mesh[faces] == 0
    kind[structure & ~level & ((kind == GRAIN) | (kind == WEAVE))] = PLAIN
    strength = 0.1 + 0.22 * _hash(packed, zero, zero + 2)
    strength *= np.where(structure & (normal[:, 2] < -0.7), 0.25, np.where(structure & ~level, 0.6, 1.0))
    scale = 0.6 + 0.9 * _hash(packed, zero, zero + 3)
    cloudy = _noise(1.7 * scale * u, 1.7 * scale * v, packed) - 0.5
    fine = np.zeros_like(cloudy)
    for which, draw in (
        (SPECKLE, lambda m: _noise(38 * scale[m] * u[m], 38 * scale[m] * v[m], packed[m]) - 0.5),
        (GRAIN, lambda m: _noise(55 * scale[m] * u[m], 2.5 * scale[m] * v[m], packed[m]) - 0.5),
        (TILES, lambda m: -0.9 * _joint(u[m], v[m], 0.2 + 0.25 * scale[m])),
        (WEAVE, lambda m: 0.5 * np.sin(90 * u[m]) * np.sin(90 * v[m])),
    ):
        mask = kind == which
        if mask.any():
            fine[mask] = draw(mask)
    # Only floors and tall walls carry joints; on furniture they would look like cuts.
    fine[(kind == TILES) & ~structure] *= 0.2
    texture = np.clip(1.0 + strength * (0.7 * cloudy + 1.3 * fine), 0.3, 1.5)
    linear = (color.astype(np.float32) / np.float32(255.0)) ** np.float32(2.2)
    return (linear * texture[:, None]).astype(np.float32)


def _joint(u: NDArray[np.float32], v: NDArray[np.float32], side: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 on the joints of a grid of tiles, else 0."""
    return (((u / side) % 1.0 < 0.025) | ((v / side) % 1.0 < 0.025)).astype(np.float32)
