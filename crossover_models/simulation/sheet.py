"""A picture sheet of random simulated rooms, for people to judge: ``python -m crossover_models.simulation.sheet``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Level, Place
from crossover_models.geometry import wrap_angle
from crossover_models.simulation.appearance import draw_appearance
from crossover_models.simulation.camera import PinholeCamera, optical_pose, render
from crossover_models.simulation.procedural import generate_building
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.survey import lamp_positions, level_meshes, standing_points

VIEW = PinholeCamera(360, 270, 95.0)
_LABEL_PX = 22


def overview(scene: RayScene, level: Level, place: Place, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The view (270, 360, 3) that shows most of a place's furniture among a few drawn ones."""
    look = draw_appearance(lamp_positions(level), rng)
    centers = np.array([f.mesh.vertices[:, :2].mean(axis=0) for f in place.furnishings] or [place.polygon.mean(axis=0)])
    best, most = None, -1.0
    for x, y in standing_points(place, 6, rng, clearance_m=0.35):
        bearing = np.arctan2(centers[:, 1] - y, centers[:, 0] - x)
        distance = np.hypot(centers[:, 0] - x, centers[:, 1] - y)
        for yaw in bearing:
            inside = (np.abs(wrap_angle(bearing - yaw)) < np.deg2rad(VIEW.fov_x_deg / 2.4)) & (distance > 0.9)
            score = float(inside.sum()) + 0.15 * float(distance[inside].sum())
            if score > most:
                most, best = score, optical_pose(np.array([x, y, 1.55]), float(yaw), 0.2)
    if best is None:
        raise ValueError(f"place {place.place_id}: nowhere to stand")
    return render(scene, look, VIEW, best, rng).image


def contact_sheet(rooms: int = 24, seed: int = 0, columns: int = 6, split: str = "train") -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: one random room of each of ``rooms`` simulated buildings, with its name."""
    rng = np.random.default_rng(seed)
    tiles = []
    for index in range(rooms):
        building = generate_building(seed * 1000 + index, split=split, levels=1)
        level = building.levels[0]
        place = level.places[int(rng.integers(len(level.places)))]
        tile = np.full((VIEW.height + _LABEL_PX, VIEW.width, 3), 255, dtype=np.uint8)
        tile[: VIEW.height] = overview(RayScene(level_meshes(level)), level, place, rng)
        at = (4, VIEW.height + _LABEL_PX - 6)
        cv2.putText(tile, f"{place.category} (simulated)", at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        tiles.append(tile)
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.vstack(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description="Picture sheet of random simulated rooms")
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    parser.add_argument("--rooms", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="train")
    arguments = parser.parse_args(argv)
    sheet = contact_sheet(arguments.rooms, arguments.seed, split=arguments.split)
    if not cv2.imwrite(str(arguments.out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{arguments.out}: cannot be written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
