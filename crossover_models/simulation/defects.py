"""Maps that are not like the building: drawn at a wrong scale, with walls missing, by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Building, Door, Furnishing, Level, Lift, Mesh, Place
from crossover_models.floor_plan import FREE, OCCUPIED, FloorPlan

_LEAST_WALL_M = 0.5
_WALL_STEP_M = 0.9


@dataclass(frozen=True)
class DefectiveMap:
    """A map with defects.

    Attributes:
        building: the map.
        to_map: scale that takes true positions into the map's frame: ``p_map = to_map * p_true``, angles as they are.
        walls_missing: share of the drawn walls' cells that are gone.
    """

    building: Building
    to_map: float
    walls_missing: float


def with_defects(
    building: Building,
    rng: np.random.Generator,
    scale_error: float = 0.0,
    missing_walls: float = 0.0,
    hand_drawn: float = 0.0,
) -> DefectiveMap:
    """A building's map as somebody drew it who measured badly.

    Args:
        building: the true one.
        rng: draws the sign of the scale's error, which walls are missing and where the pen slips.
        scale_error: 0.01 for a map 1 % too large or too small.
        missing_walls: share of the walls (by length) that is not drawn.
        hand_drawn: typical distance of drawn lines from where they should be, metres.

    Raises:
        ValueError: a share or a length that is none.
    """
    if not 0.0 <= scale_error < 0.5:
        raise ValueError(f"scale_error: must be in 0..0.5, got {scale_error}")
    if not 0.0 <= missing_walls < 1.0:
        raise ValueError(f"missing_walls: must be in 0..1, got {missing_walls}")
    if not 0.0 <= hand_drawn < 1.0:
        raise ValueError(f"hand_drawn: must be in 0..1 m, got {hand_drawn}")
    scale = 1.0 + float(rng.choice([-1.0, 1.0])) * scale_error
    gone, drawn, levels = 0, 0, []
    for level in building.levels:
        plan = level.plan
        before = int((plan.occupancy == OCCUPIED).sum())
        if hand_drawn > 0:
            plan = _by_hand(plan, hand_drawn, rng)
        if missing_walls > 0:
            plan, lost = _without_walls(plan, missing_walls, rng)
            gone += lost
        drawn += before
        levels.append(_scaled(replace(level, plan=plan), scale))
    return DefectiveMap(replace(building, levels=tuple(levels)), scale, gone / max(drawn, 1))


def _without_walls(plan: FloorPlan, share: float, rng: np.random.Generator) -> tuple[FloorPlan, int]:
    """Interior walls rubbed out piece by piece until the share is reached; outer walls stay, as on real plans."""
    grid = plan.occupancy.copy()
    wall = grid == OCCUPIED
    half = max(1, round(_WALL_STEP_M / 2 / plan.resolution_m))
    # A cell of an inner wall has free floor on two opposite sides.
    reach = max(1, round(0.35 / plan.resolution_m))
    free = np.pad(grid == FREE, reach)
    rows, cols = grid.shape

    def shifted(dr: int, dc: int) -> NDArray[np.bool_]:
        return free[reach + dr : reach + dr + rows, reach + dc : reach + dc + cols]

    inner = wall & ((shifted(-reach, 0) & shifted(reach, 0)) | (shifted(0, -reach) & shifted(0, reach)))
    wanted, lost = round(share * int(wall.sum())), 0
    spots = np.argwhere(inner)
    for index in rng.permutation(len(spots)):
        if lost >= wanted:
            break
        row, col = spots[index]
        window = (slice(max(0, row - half), row + half + 1), slice(max(0, col - half), col + half + 1))
        here = inner[window] & (grid[window] == OCCUPIED)
        lost += int(here.sum())
        grid[window] = np.where(here, FREE, grid[window])
    return FloorPlan(grid, plan.resolution_m, plan.origin_xy), lost


def _by_hand(plan: FloorPlan, spread_m: float, rng: np.random.Generator) -> FloorPlan:
    """The drawing warped by a smooth random field of that spread, as lines drawn without a ruler are."""
    rows, cols = plan.occupancy.shape
    step = 1.5
    grid = (int(np.ceil(rows * plan.resolution_m / step)) + 3, int(np.ceil(cols * plan.resolution_m / step)) + 3)
    spread = spread_m / plan.resolution_m
    fields = [
        cv2.resize(rng.normal(0.0, spread, grid).astype(np.float32), (cols, rows), interpolation=cv2.INTER_CUBIC)
        for _ in range(2)
    ]
    col, row = np.meshgrid(np.arange(cols, dtype=np.float32), np.arange(rows, dtype=np.float32))
    values = plan.occupancy.astype(np.int16) + 1
    warped = cv2.remap(values, col + fields[0], row + fields[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return FloorPlan((warped - 1).astype(np.int8), plan.resolution_m, plan.origin_xy)


def _scaled(level: Level, scale: float) -> Level:
    if scale == 1.0:
        return level
    plan = level.plan
    x, y = plan.origin_xy

    def mesh(m: Mesh) -> Mesh:
        return Mesh((m.vertices * np.array([scale, scale, 1.0])).astype(np.float32), m.faces, m.face_colors)

    def piece(f: Furnishing) -> Furnishing:
        pose = f.T_map_object
        if pose is not None:
            pose = pose.copy()
            pose[:2, 3] *= scale
        return replace(f, mesh=mesh(f.mesh), T_map_object=pose)

    def place(p: Place) -> Place:
        cloud = p.point_cloud
        if cloud is not None:
            cloud = (cloud * np.array([scale, scale, 1.0])).astype(np.float32)
        return replace(
            p, polygon=p.polygon * scale, point_cloud=cloud, furnishings=tuple(piece(f) for f in p.furnishings)
        )

    offset = level.T_building_map.copy()
    offset[:2] *= scale
    return replace(
        level,
        plan=FloorPlan(plan.occupancy, plan.resolution_m * scale, (x * scale, y * scale)),
        places=tuple(place(p) for p in level.places),
        structure=None if level.structure is None else mesh(level.structure),
        doors=tuple(Door(d.segment * scale, d.kind) for d in level.doors),
        lifts=tuple(Lift(lift.name, lift.position * scale) for lift in level.lifts),
        T_building_map=offset,
    )
