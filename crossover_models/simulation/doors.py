"""Door leaves that the plan does not show: closed ones in their openings, ajar ones standing into the room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Door, Level, Mesh
from crossover_models.simulation import palette
from crossover_models.simulation.navigation import DrivableGround
from crossover_models.simulation.shapes import MeshBuilder, moved

LEAF_M, HEIGHT_M = 0.045, 2.05
_LEAST_PLACES, _LEAST_SHARE = 2, 0.4
# Every other kind has one: drawings say "hinged", "double sliding" and the like.
_WITHOUT_LEAF = ("passage", "lift")


@dataclass(frozen=True)
class Leaves:
    """Leaves of a level: their meshes, and how many doors are closed and ajar of how many."""

    meshes: tuple[Mesh, ...]
    closed: int
    ajar: int
    doors: int


def leaf(door: Door, angle_rad: float, rng: np.random.Generator) -> Mesh:
    """A leaf hinged at the first end of the door's line, turned out of it by ``angle_rad``."""
    (x, y), end = door.segment[0], door.segment[1]
    way = end - door.segment[0]
    b = MeshBuilder()
    b.box((0.0, -LEAF_M / 2, 0.005), (float(np.hypot(*way)), LEAF_M / 2, HEIGHT_M), palette.front(rng))
    return moved(b.mesh(), [x, y, float(np.arctan2(way[1], way[0])) + angle_rad])


def put_leaves(
    level: Level,
    obstacles: Sequence[Mesh],
    radius_m: float,
    closed_share: float,
    ajar_share: float,
    rng: np.random.Generator,
) -> Leaves:
    """Close a share of the doors, leave a share of the others ajar.

    A door stays open if closing it would leave the robot fewer than two places, or 40 % of those it can reach now.
    """
    doors = [door for door in level.doors if door.kind not in _WITHOUT_LEAF]
    if not doors or (closed_share <= 0 and ajar_share <= 0):
        return Leaves((), 0, 0, len(doors))
    ground = DrivableGround(level.plan, obstacles, radius_m)
    wanted = max(_LEAST_PLACES, int(np.ceil(_LEAST_SHARE * len(_reachable(ground, level)))))
    order = rng.permutation(len(doors))
    meshes: list[Mesh] = []
    shut: set[int] = set()
    for index in order[: round(closed_share * len(doors))]:
        mesh = leaf(doors[int(index)], 0.0, rng)
        smaller = ground.with_obstacle(mesh)
        if len(_reachable(smaller, level)) >= wanted:
            ground, shut = smaller, shut | {int(index)}
            meshes.append(mesh)
    ajar = 0
    for index in order:
        if int(index) in shut or rng.random() >= ajar_share:
            continue
        mesh = leaf(doors[int(index)], float(rng.choice([-1, 1]) * np.deg2rad(rng.uniform(70.0, 110.0))), rng)
        smaller = ground.with_obstacle(mesh)
        if len(_reachable(smaller, level)) >= len(_reachable(ground, level)):
            ground, ajar = smaller, ajar + 1
            meshes.append(mesh)
    return Leaves(tuple(meshes), len(shut), ajar, len(doors))


def _reachable(ground: DrivableGround, level: Level) -> list[NDArray[np.int64]]:
    """Cells of the places that the robot can reach."""
    try:
        label = ground.main_region([place.polygon for place in level.places])
    except ValueError:
        return []
    return [cells for place in level.places if len(cells := ground.cells_in(place.polygon, label))]
