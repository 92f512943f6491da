"""Registration on planted scenes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from crossover_models.config import RegistrationSettings
from crossover_models.estimate import LevelKey
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan, FloorPlanError
from crossover_models.geometry import wrap_angle
from crossover_models.observation import WallSlice
from crossover_models.registration import InsufficientStructure, PlanMatcher

LEVEL = LevelKey("test", "ground")
RESOLUTION_M = 0.05


def draw(rooms: list[tuple[float, float, float, float]], size_m: tuple[float, float]) -> FloorPlan:
    """Rooms (x0, y0, x1, y1) in metres as free rectangles with 0.1 m walls around, in unknown space."""
    occupancy = np.full((round(size_m[1] / RESOLUTION_M), round(size_m[0] / RESOLUTION_M)), UNKNOWN, dtype=np.int8)
    cells = [[round(v / RESOLUTION_M) for v in room] for room in rooms]
    for x0, y0, x1, y1 in cells:
        occupancy[y0 - 2 : y1 + 2, x0 - 2 : x1 + 2] = OCCUPIED
    for x0, y0, x1, y1 in cells:
        occupancy[y0:y1, x0:x1] = FREE
    return FloorPlan(occupancy, RESOLUTION_M, (0.0, 0.0))


def scan(
    plan: FloorPlan, pose: NDArray[np.float64], *, fov_rad: float = 2 * np.pi, beams: int = 240, noise_m: float = 0.01
) -> WallSlice:
    """What a planar lidar at a pose sees of a plan, by marching along the rays."""
    bearing = np.linspace(-fov_rad / 2, fov_rad / 2, beams, endpoint=False)
    along = np.arange(0.0, 20.0, 0.01)
    heading = bearing + pose[2]
    ray = pose[:2] + along[None, :, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)[:, None]
    wall = plan.value(ray) == OCCUPIED
    seen = wall.any(axis=1)
    ranges = along[np.argmax(wall, axis=1)] + np.random.default_rng(3).normal(0.0, noise_m, beams)
    points = (ranges[:, None] * np.stack([np.cos(bearing), np.sin(bearing)], axis=-1))[seen]
    return WallSlice(
        stamp_ns=0,
        points=points.astype(np.float32),
        origins=np.zeros((1, 2), dtype=np.float32),
        origin_index=np.zeros(len(points), dtype=np.int32),
        T_odom_aligned=np.zeros(3),
    )


def matcher(plan: FloorPlan, **changes: float) -> PlanMatcher:
    return PlanMatcher({LEVEL: plan}, RegistrationSettings(**changes))


def error(pose: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[float, float]:
    return float(np.hypot(*(pose[:2] - truth[:2]))), float(abs(wrap_angle(pose[2] - truth[2])))


ASYMMETRIC = draw([(1, 1, 7, 5), (7.2, 1, 9, 3.5), (6.9, 2, 7.3, 3), (2, 4.9, 3, 6.5)], (11, 8))
RECTANGLE = draw([(1, 1, 7, 5)], (8, 6))
CORRIDOR = draw([(0.5, 1, 29.5, 3)], (30, 4))
TRUTH = np.array([4.3, 2.9, 0.6])


def test_asymmetric_room_is_recovered_within_centimeters() -> None:
    best = matcher(ASYMMETRIC).register(scan(ASYMMETRIC, TRUTH))[0]
    distance_m, turn_rad = error(best.T_map_aligned, TRUTH)
    assert distance_m < 0.03 and turn_rad < 0.01
    assert best.inlier_fraction > 0.98 and best.free_space_violation == 0.0


def test_symmetric_rectangle_has_two_equal_answers() -> None:
    fits = matcher(RECTANGLE).register(scan(RECTANGLE, TRUTH))
    twin = np.array([8.0 - TRUTH[0], 6.0 - TRUTH[1], TRUTH[2] - np.pi])
    assert len(fits) >= 2 and abs(fits[0].score - fits[1].score) < 0.02
    found = [min(error(fit.T_map_aligned, pose)[0] for fit in fits[:2]) for pose in (TRUTH, twin)]
    assert max(found) < 0.05
    assert abs(abs(wrap_angle(fits[0].T_map_aligned[2] - fits[1].T_map_aligned[2])) - np.pi) < 0.02


def test_bad_plans_and_slices_are_named() -> None:
    seen = scan(ASYMMETRIC, TRUTH)
    for value, word in ((FREE, "no occupied cell"), (OCCUPIED, "no free cell"), (UNKNOWN, "no occupied cell")):
        blank = matcher(FloorPlan(np.full((40, 40), value, dtype=np.int8), 0.05, (0.0, 0.0)))
        with pytest.raises(FloorPlanError, match=word):
            blank.register(seen)
    one = WallSlice(0, seen.points[:1], seen.origins, seen.origin_index[:1], np.zeros(3))
    with pytest.raises(InsufficientStructure, match=r"1 usable returns of 1, at least 30"):
        matcher(ASYMMETRIC).register(one)
