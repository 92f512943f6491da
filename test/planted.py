"""Planted plans, scans and maps with known answers, for tests of the core."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crossover_models.estimate import LevelKey
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan
from crossover_models.geometry import compose_se2
from crossover_models.observation import Modality, SceneEmbedding, WallSlice

RESOLUTION_M = 0.05
FINGERPRINT = "planted-encoder"


def rooms_plan(walls: list[tuple[float, float, float, float]], width_m: float, height_m: float) -> FloorPlan:
    """A plan of straight walls (x0, y0, x1, y1), metres, 0.1 m thick, inside an outer wall; unknown outside."""
    margin = 1.0
    rows, cols = (round((v + 2 * margin) / RESOLUTION_M) for v in (height_m, width_m))
    occupancy = np.full((rows, cols), UNKNOWN, dtype=np.int8)
    offset = round(margin / RESOLUTION_M)
    occupancy[offset : rows - offset, offset : cols - offset] = FREE
    outer = [(0, 0, width_m, 0), (0, height_m, width_m, height_m), (0, 0, 0, height_m), (width_m, 0, width_m, height_m)]
    for x0, y0, x1, y1 in [*outer, *walls]:
        count = max(2, int(np.hypot(x1 - x0, y1 - y0) / RESOLUTION_M * 2))
        for x, y in np.linspace((x0, y0), (x1, y1), count):
            r, c = int((y + margin) / RESOLUTION_M), int((x + margin) / RESOLUTION_M)
            occupancy[max(r - 1, 0) : r + 1, max(c - 1, 0) : c + 1] = OCCUPIED
    return FloorPlan(occupancy, RESOLUTION_M, (-margin, -margin))


def asymmetric_plan() -> FloorPlan:
    """Four different rooms off a corridor."""
    return rooms_plan(
        [
            (0, 4, 3, 4),
            (4, 4, 9, 4),
            (10, 4, 14, 4),
            (5, 0, 5, 4),
            (0, 6, 6, 6),
            (7, 6, 14, 6),
            (9, 6, 9, 10),
            (11.5, 0, 11.5, 2.5),
        ],
        14.0,
        10.0,
    )


def other_plan() -> FloorPlan:
    """A building that looks like nothing in :func:`asymmetric_plan`."""
    return rooms_plan([(2, 0, 2, 2), (0, 5, 5, 5), (5, 5, 7, 7), (3, 8, 3, 12), (5, 2, 7.5, 2.5)], 7.5, 12.0)


def scan(
    plan: FloorPlan,
    T_map_base: NDArray[np.float64],
    T_odom_base: NDArray[np.float64] | None = None,
    stamp_ns: int = 0,
    beams: int = 240,
    field_of_view_rad: float = 2 * np.pi,
    noise_m: float = 0.01,
    seed: int = 0,
) -> WallSlice:
    """What a planar lidar at base_link would see of the plan: rays marched to the first occupied cell, 12 m at most."""
    rng = np.random.default_rng(seed)
    angles = np.linspace(-field_of_view_rad / 2, field_of_view_rad / 2, beams, endpoint=False)
    steps = np.arange(0.02, 12.0, 0.02)
    world = T_map_base[2] + angles
    x = T_map_base[0] + np.cos(world)[:, None] * steps
    y = T_map_base[1] + np.sin(world)[:, None] * steps
    hit = plan.value(np.stack([x, y], axis=-1)) == OCCUPIED
    seen = hit.any(axis=1)
    ranges = steps[hit.argmax(axis=1)] + 0.02 + rng.normal(0, noise_m, beams)
    points = np.stack([ranges * np.cos(angles), ranges * np.sin(angles)], axis=1)[seen]
    odom = T_map_base if T_odom_base is None else T_odom_base
    return WallSlice(
        stamp_ns,
        points.astype(np.float32),
        np.zeros((1, 2), dtype=np.float32),
        np.zeros(len(points), dtype=np.int32),
        np.asarray(odom, dtype=np.float64),
    )


@dataclass(frozen=True)
class PlantedLevel:
    """A level and its name."""

    key: LevelKey
    name: str


@dataclass(frozen=True)
class PlantedPlace:
    """A place and its outline."""

    key: LevelKey
    place_id: str
    name: str
    category: str
    polygon: NDArray[np.float64]


@dataclass
class PlantedMap:
    """A map in memory: plans by level, one place for each half of a plan, one-hot embeddings."""

    plans: dict[LevelKey, FloorPlan]
    encoder_fingerprint: str = FINGERPRINT
    embedding_dim: int = 32
    _places: list[PlantedPlace] = field(default_factory=list)

    def __post_init__(self) -> None:
        for key, plan in self.plans.items():
            x0, y0 = plan.origin_xy
            width, height = plan.size_m
            for half, low in (("west", x0), ("east", x0 + width / 2)):
                corners = [(low, y0), (low + width / 2, y0), (low + width / 2, y0 + height), (low, y0 + height)]
                place_id = f"{key.level_id}-{half}"
                self._places.append(PlantedPlace(key, place_id, place_id, "hall", np.array(corners, dtype=float)))

    def building_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(key.building_id for key in self.plans))

    def levels(self, building_id: str | None = None) -> list[PlantedLevel]:
        return [
            PlantedLevel(key, f"Floor {key.level_id}") for key in self.plans if building_id in (None, key.building_id)
        ]

    def places(self, building_id: str | None = None, level_id: str | None = None) -> list[PlantedPlace]:
        return [
            p for p in self._places if building_id in (None, p.key.building_id) and level_id in (None, p.key.level_id)
        ]

    def floor_plan(self, key: LevelKey) -> FloorPlan:
        return self.plans[key]

    def embeddings(self, building_id: str, modality: Modality) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        if modality != Modality.FLOOR_PLAN:
            return (), np.zeros((0, self.embedding_dim), dtype=np.float32)
        places = self.places(building_id)
        return tuple(p.place_id for p in places), np.stack([self.vector(p.place_id) for p in places])

    interaction = None

    def tokens(self, building_id: str, modality: Modality) -> NDArray[np.int8]:
        return np.zeros((len(self.embeddings(building_id, modality)[0]), 0), dtype=np.int8)

    def vector(self, place_id: str) -> NDArray[np.float32]:
        """The one-hot vector of a place."""
        out = np.zeros(self.embedding_dim, dtype=np.float32)
        out[[p.place_id for p in self._places].index(place_id)] = 1.0
        return out


def lidar_embedding(wall_slice: WallSlice, vector: NDArray[np.float32] | None = None) -> SceneEmbedding:
    """A wall slice as it reaches the localizer, with or without a vector."""
    empty = np.zeros(0, dtype=np.float32)
    return SceneEmbedding(
        wall_slice.stamp_ns, Modality.POINT_CLOUD, empty if vector is None else vector, FINGERPRINT, wall_slice
    )


def drive(
    T_map_base: NDArray[np.float64], steps: int, step_m: float = 0.3, turn_rad: float = 0.0
) -> list[NDArray[np.float64]]:
    """Poses of a robot that goes ahead and turns a little at each step."""
    poses = [np.asarray(T_map_base, dtype=np.float64)]
    for _ in range(steps):
        poses.append(compose_se2(poses[-1], np.array([step_m, 0.0, turn_rad])))
    return poses
