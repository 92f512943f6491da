"""A picture sheet of random simulated rooms, for people to judge: ``python -m crossover_models.simulation.sheet``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Level, Place
from crossover_models.geometry import wrap_angle
from crossover_models.simulation.appearance import draw_appearance
from crossover_models.simulation.cad import FurnitureLibrary, open_library
from crossover_models.simulation.camera import PinholeCamera, optical_pose, render
from crossover_models.simulation.procedural import generate_building
from crossover_models.simulation.procthor import ProcThorRooms
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.survey import lamp_positions, level_meshes, standing_points

VIEW = PinholeCamera(360, 270, 95.0)
_LABEL_PX = 22


def overview(scene: RayScene, level: Level, place: Place, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The view (270, 360, 3) that shows most of a place's furniture among a few drawn ones."""
    look = draw_appearance(lamp_positions(level), rng)
    middles = [(f.mesh.vertices.min(axis=0) + f.mesh.vertices.max(axis=0)) / 2 for f in place.furnishings]
    centers = np.array(middles or [[*place.polygon.mean(axis=0), 1.0]], dtype=np.float32)
    best, most = None, -1.0
    for x, y in standing_points(place, 6, rng, clearance_m=0.35):
        eye = np.array([x, y, 1.55])
        delta = centers - eye
        bearing, distance = np.arctan2(delta[:, 1], delta[:, 0]), np.hypot(delta[:, 0], delta[:, 1])
        # What the walls hide does not count; furniture before furniture does.
        reached, face = scene.cast(eye, delta / np.linalg.norm(delta, axis=1, keepdims=True))
        seen = (scene.face_mesh[face] != 0) | (reached > np.linalg.norm(delta, axis=1))
        for yaw in bearing:
            inside = (np.abs(wrap_angle(bearing - yaw)) < np.deg2rad(VIEW.fov_x_deg / 2.4)) & (distance > 0.9) & seen
            score = float(inside.sum()) + 0.15 * float(distance[inside].sum())
            if score > most:
                most, best = score, optical_pose(eye, float(yaw), 0.2)
    if best is None:
        raise ValueError(f"place {place.place_id}: nowhere to stand")
    return render(scene, look, VIEW, best, rng).image


def procedural_rooms(
    seed: int, split: str, library: FurnitureLibrary | None, clutter: float, rng: np.random.Generator
) -> Iterator[tuple[str, Level, Place]]:
    """One random room of each of endlessly many procedural buildings, with a caption."""
    index = 0
    while True:
        finishes = library is not None
        building = generate_building(
            seed * 1000 + index, split=split, levels=1, library=library, clutter=clutter, finishes=finishes
        )
        level = building.levels[0]
        place = level.places[int(rng.integers(len(level.places)))]
        yield f"{place.category} (simulated)", level, place
        index += 1


def procthor_rooms(rooms: ProcThorRooms, split: str, rng: np.random.Generator) -> Iterator[tuple[str, Level, Place]]:
    """Random rooms of ProcTHOR, none twice, with a caption."""
    for index in rng.permutation(len(rooms.ids(split))):
        level = rooms.building(split, int(index)).levels[0]
        yield f"{level.places[0].category} (ProcTHOR {split} {index})", level, level.places[0]


def contact_sheet(
    rooms: int = 24,
    seed: int = 0,
    columns: int = 6,
    split: str = "train",
    *,
    library: FurnitureLibrary | None = None,
    clutter: float = 0.0,
    procthor: ProcThorRooms | None = None,
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: ``rooms`` random rooms, each with its name, procedural ones unless ``procthor`` is given."""
    rng = np.random.default_rng(seed)
    if procthor is None:
        source = procedural_rooms(seed, split, library, clutter, rng)
    else:
        source = procthor_rooms(procthor, split, rng)
    tiles = []
    for _, (caption, level, place) in zip(range(rooms), source, strict=False):
        tile = np.full((VIEW.height + _LABEL_PX, VIEW.width, 3), 255, dtype=np.uint8)
        tile[: VIEW.height] = overview(RayScene(level_meshes(level)), level, place, rng)
        at = (4, VIEW.height + _LABEL_PX - 6)
        cv2.putText(tile, caption, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
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
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="train")
    parser.add_argument("--library", default="", help="furniture models: auto, sweet-home or parametric")
    parser.add_argument("--clutter", type=float, default=0.0, help="share of surfaces with small things on them")
    parser.add_argument("--procthor", type=Path, help="folder of ProcTHOR's rooms, to show those")
    arguments = parser.parse_args(argv)
    library = open_library(arguments.library) if arguments.library else None
    procthor = None
    if arguments.procthor is not None:
        procthor = ProcThorRooms(arguments.procthor, library if library is not None else open_library())
    sheet = contact_sheet(
        arguments.rooms,
        arguments.seed,
        arguments.columns,
        arguments.split,
        library=library,
        clutter=arguments.clutter,
        procthor=procthor,
    )
    if not cv2.imwrite(str(arguments.out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{arguments.out}: cannot be written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
