"""Simulated rooms for training: made building by building, encoded by the frozen front ends, kept in files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Furnishing, Level, Place
from crossover_models.encoders.front_ends import ImageFrontEnd, TextFrontEnd
from crossover_models.encoders.inputs import surface_points
from crossover_models.encoders.plan_patch import plan_features
from crossover_models.encoders.profile import EncoderProfile
from crossover_models.simulation.appearance import Appearance, draw_appearance
from crossover_models.simulation.camera import PinholeCamera, optical_pose, render
from crossover_models.simulation.lidar import LidarModel
from crossover_models.simulation.procedural import generate_building
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.rooms import robot_cloud
from crossover_models.simulation.survey import (
    lamp_positions,
    level_meshes,
    place_cloud,
    place_images,
    standing_points,
    thinned,
)
from crossover_models.training.room_sample import Array, RoomSample, load_samples, save_samples

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other rooms, so that stale caches are refused."""
ROOMS_PER_LEVEL = 7
SURVEY_VIEWS = 8
ROBOT_FRAMES = 6
_MISSING_FURNITURE = 0.15
_COLOR_BINS = 4
_THIN_M = 0.06
_ROBOT_CAMERA = PinholeCamera(160, 120, 80.0)
_SURVEY_CAMERA = PinholeCamera(160, 160, 85.0)


@dataclass(frozen=True)
class RoomSource:
    """Which rooms: ``split`` of the furniture models and seed of the first building."""

    split: str
    rooms: int
    seed: int

    def building_seed(self, index: int) -> int:
        """Seed of the ``index``-th building; runs of different seeds share none (below 100,000 buildings)."""
        return self.seed * 100_000 + index


def color_histogram(colors: NDArray[np.uint8]) -> Array:
    """(64,) shares of pixels (..., 3) in a 4x4x4 grid of RGB, square roots: their dot product is Bhattacharyya's."""
    cells = colors.reshape(-1, 3).astype(np.int64) // (256 // _COLOR_BINS)
    flat = (cells[:, 0] * _COLOR_BINS + cells[:, 1]) * _COLOR_BINS + cells[:, 2]
    counts = np.bincount(flat, minlength=_COLOR_BINS**3) / max(1, len(flat))
    return np.sqrt(counts).astype(np.float32)


def drive_frames(
    scene: RayScene, look: Appearance, place: Place, frames: int, rng: np.random.Generator
) -> list[NDArray[np.uint8]]:
    """Contiguous frames (120, 160, 3) of a robot that crosses up to 1.5 m of a place while it turns slowly."""
    start, goal = standing_points(place, 2, rng)
    way = goal - start
    way *= min(1.0, 1.5 / max(float(np.linalg.norm(way)), 1e-6))
    center = (place.polygon.min(axis=0) + place.polygon.max(axis=0)) / 2.0 - start
    yaw = float(np.arctan2(center[1], center[0]) + rng.normal(0.0, 0.8))
    turn, height = rng.normal(0.0, 0.35), rng.uniform(0.4, 1.2)
    pictures = []
    for k in range(frames):
        at = start + way * k / max(1, frames - 1)
        pose = optical_pose(np.array([*at, height]), yaw + k * turn, rng.normal(0.0, 0.03))
        pictures.append(render(scene, look, _ROBOT_CAMERA, pose, rng).image)
    return pictures


def without_some(level: Level, share: float, rng: np.random.Generator) -> Level:
    """The level with a share of its furniture gone, as rooms are on another day."""

    def kept(pieces: tuple[Furnishing, ...]) -> tuple[Furnishing, ...]:
        return tuple(piece for piece in pieces if rng.random() >= share)

    return replace(level, places=tuple(replace(p, furnishings=kept(p.furnishings)) for p in level.places))


def building_rooms(
    source: RoomSource, index: int, profile: EncoderProfile, image: ImageFrontEnd, text: TextFrontEnd
) -> list[RoomSample]:
    """All places of the ``index``-th building of a source: a pure function of its arguments."""
    seed = source.building_seed(index)
    rng = np.random.default_rng([seed, 77])
    building = generate_building(seed, split=source.split, levels=1, rooms_per_level=ROOMS_PER_LEVEL)
    samples = []
    for level in building.levels:
        lamps = lamp_positions(level)
        # Map and robot see the building on different days: other light, other furniture missing.
        mapped, met = without_some(level, 0.0, rng), without_some(level, _MISSING_FURNITURE, rng)
        map_scene, robot_scene = RayScene(level_meshes(mapped)), RayScene(level_meshes(met))
        for place, place_met in zip(mapped.places, met.places, strict=True):
            views = place_images(map_scene, lamps, place, SURVEY_VIEWS, rng, _SURVEY_CAMERA)
            frames = drive_frames(robot_scene, draw_appearance(lamps, rng), place_met, ROBOT_FRAMES, rng)
            features = image.views([*views, *frames]).cpu().numpy()
            robot_points, _ = robot_cloud(robot_scene, LidarModel(), place_met, int(rng.integers(1, 7)), rng)
            points, objects, colors = _furniture(place, profile)
            samples.append(
                RoomSample(
                    f"{building.building_id}/{place.place_id}",
                    place.category,
                    features[: len(views)],
                    features[len(views) :],
                    np.stack([color_histogram(view) for view in views]),
                    np.stack([color_histogram(frame) for frame in frames]),
                    _plans(level, place, profile, image, rng),
                    text.texts([" ".join(place.text), *place.text]).cpu().numpy(),
                    thinned(place_cloud(map_scene, place, rng), _THIN_M),
                    thinned(robot_points, _THIN_M),
                    points,
                    objects,
                    colors,
                )
            )
    return samples


def _furniture(place: Place, profile: EncoderProfile) -> tuple[Array, NDArray[np.int32], Array]:
    """Surface points (N, 3) of a place's furniture, the piece of each (N,), and their color histogram."""
    if not place.furnishings:
        return np.zeros((0, 3), np.float32), np.zeros(0, np.int32), np.zeros(_COLOR_BINS**3, np.float32)
    pieces = [surface_points([f.mesh], profile.mesh_points_per_m2, 3000) for f in place.furnishings]
    colors = [c for _, c in pieces if c is not None]
    return (
        np.concatenate([points for points, _ in pieces]),
        np.repeat(np.arange(len(pieces)), [len(points) for points, _ in pieces]).astype(np.int32),
        color_histogram(np.concatenate(colors)) if colors else np.zeros(_COLOR_BINS**3, np.float32),
    )


def _plans(
    level: Level, place: Place, profile: EncoderProfile, image: ImageFrontEnd, rng: np.random.Generator
) -> Array:
    """Plan features (2, plan): as the encoder makes them, and turned by a few degrees and shifted."""
    jitter = (float(rng.normal(0.0, np.deg2rad(5.0))), rng.normal(0.0, 0.3, 2))
    both = [plan_features(image, profile, level.plan, place.polygon, how).cpu().numpy() for how in (None, jitter)]
    return np.stack(both)


def cache_key(source: RoomSource, profile: EncoderProfile, image: ImageFrontEnd, text: TextFrontEnd) -> str:
    """Hash of everything that decides a cached building's content, apart from its index."""
    plan = [profile.plan_side_m, profile.plan_pixels, profile.plan_rotations, profile.mesh_points_per_m2]
    parts = [GENERATOR_VERSION, source.split, source.seed, image.weights_sha256, text.weights_sha256, plan]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def cached_rooms(
    source: RoomSource,
    profile: EncoderProfile,
    image: ImageFrontEnd,
    text: TextFrontEnd,
    folder: Path,
    progress: Callable[[int], None] | None = None,
) -> list[RoomSample]:
    """``source.rooms`` rooms, from files where a former (perhaps interrupted) call left them.

    Args:
        source: which rooms.
        profile: patch and sampling sizes.
        image: frozen 2D features.
        text: frozen 1D features.
        folder: where the files of buildings are kept.
        progress: told the number of rooms so far.

    Raises:
        CacheError: a file that is not readable, or made with other settings.
    """
    key = cache_key(source, profile, image, text)
    rooms: list[RoomSample] = []
    index = 0
    while len(rooms) < source.rooms:
        path = folder / f"{source.split}_{source.building_seed(index)}.safetensors"
        if not path.exists():
            save_samples(path, building_rooms(source, index, profile, image, text), key)
        # Always from the file, which rounds: a continued run must see the same numbers as an uninterrupted one.
        rooms.extend(load_samples(path, key))
        index += 1
        if progress is not None:
            progress(min(len(rooms), source.rooms))
    return rooms[: source.rooms]
