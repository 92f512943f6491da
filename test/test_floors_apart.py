"""What tells storeys of one plan apart, and what moves a robot between them: furniture and lifts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray
from planted import PlantedMap, asymmetric_plan, drive, lidar_embedding, scan

from crossover_models.building import Furnishing, Lift, Mesh
from crossover_models.config import LocalizerSettings
from crossover_models.estimate import LevelKey, LocalizationState
from crossover_models.floor_plan import OCCUPIED, FloorPlan
from crossover_models.furniture_field import LARGEST_NATS, OUTCOMES, FurnitureField
from crossover_models.geometry import compose_se2
from crossover_models.lift_rides import LiftRides, LiftStop
from crossover_models.localizer import Localizer
from crossover_models.observation import WallSlice

L1, L2 = LevelKey("house", "L1"), LevelKey("house", "L2")
START = np.array([1.5, 5.0, 0.1])


def box(x: float, y: float, width: float, depth: float, height: float, bottom: float = 0.0) -> Mesh:
    corners = np.array([[a, b, c] for c in (bottom, height) for a in (x, x + width) for b in (y, y + depth)])
    faces = [[0, 1, 3], [0, 3, 2], [4, 5, 7], [4, 7, 6], [0, 1, 5], [0, 5, 4], [2, 3, 7], [2, 7, 6]]
    faces += [[0, 2, 6], [0, 6, 4], [1, 3, 7], [1, 7, 5]]
    return Mesh(corners.astype(np.float32), np.array(faces, dtype=np.int32))


def with_pieces(plan: FloorPlan, meshes: list[Mesh]) -> FloorPlan:
    """The plan as a lidar meets it: pieces are obstacles."""
    occupancy = plan.occupancy.copy()
    for mesh in meshes:
        low, high = (plan.cell(corner) for corner in (mesh.vertices.min(axis=0)[:2], mesh.vertices.max(axis=0)[:2]))
        occupancy[low[0] : high[0] + 1, low[1] : high[1] + 1] = OCCUPIED
    return FloorPlan(occupancy, plan.resolution_m, plan.origin_xy)


SHELVES = [box(2.0, 7.0, 1.2, 0.6, 1.9), box(1.0, 1.0, 0.6, 1.2, 1.8), box(7.0, 1.0, 1.0, 0.8, 2.0)]
OTHERS = [box(4.0, 9.0, 1.2, 0.6, 1.9), box(3.2, 2.2, 0.6, 1.2, 1.8), box(6.0, 3.0, 1.0, 0.6, 2.0)]


@dataclass
class FurnishedMap(PlantedMap):
    pieces: dict[LevelKey, list[Mesh]] = field(default_factory=dict)

    def furnishings(self, key: LevelKey) -> list[tuple[str, Furnishing]]:
        return [("room", Furnishing(f"{k}", "shelf", mesh)) for k, mesh in enumerate(self.pieces.get(key, []))]


def test_rays_end_on_walls_on_pieces_beyond_them_or_in_the_open() -> None:
    plan = asymmetric_plan()
    field_ = FurnitureField([(L1, plan, SHELVES), (L2, plan, [box(2.0, 7.0, 1.2, 0.6, 0.7)])])
    assert field_.levels == (L1,), "a table is below the slice"
    pose = np.array([2.6, 8.6, -np.pi / 2])
    ends = np.array([[1.0, 0.0], [2.4, 0.0], [0.0, 1.0], [1.45, 0.9]], dtype=np.float32)
    for k, outcome in ((0, "piece"), (1, "through"), (2, "open")):
        one = WallSlice(0, ends[k : k + 1], np.zeros((1, 2), np.float32), np.zeros(1, np.int32), np.zeros(3))
        shares = field_.outcomes(one, L1, pose[None])
        assert shares is not None and OUTCOMES[int(np.argmax(shares[0]))] == outcome
    seen = scan(plan, START)
    shares = field_.outcomes(seen, L1, START[None])
    assert shares is not None and shares[0].sum() == pytest.approx(1.0) and shares[0, 0] > 0.8
    nothing = WallSlice(0, np.zeros((0, 2), np.float32), np.zeros((1, 2), np.float32), np.zeros(0, np.int32), START)
    assert field_.outcomes(nothing, L1, START[None]) is None
    assert field_.nats(nothing, [L1, L2], np.stack([START, START])) == pytest.approx([0.0, 0.0])


def test_furniture_decides_between_storeys_of_one_plan_and_twins_stay_apart() -> None:
    plan = asymmetric_plan()
    true = with_pieces(plan, SHELVES)
    pose = np.array([2.5, 8.5, -1.2])
    field_ = FurnitureField([(L1, plan, SHELVES), (L2, plan, OTHERS)])
    nats = field_.nats(scan(true, pose), [L1, L2], np.stack([pose, pose]))
    assert nats[0] > nats[1] + 0.5 and np.abs(nats).max() <= LARGEST_NATS
    same = FurnitureField([(L1, plan, SHELVES), (L2, plan, SHELVES)])
    nats = same.nats(scan(true, pose), [L1, L2], np.stack([pose, pose]))
    assert nats[0] == nats[1]


def final_shares(pieces: dict[LevelKey, list[Mesh]]) -> dict[LevelKey, float]:
    plan = asymmetric_plan()
    true = with_pieces(plan, SHELVES)
    localizer = Localizer(FurnishedMap({L1: plan, L2: plan}, pieces=pieces), LocalizerSettings())
    for k, pose in enumerate(drive(np.array([1.0, 8.3, -0.2]), 10, step_m=0.4)):
        localizer.on_odometry(round((1 + 0.5 * k) * 1e9), pose)
        estimate = localizer.on_embedding(lidar_embedding(scan(true, pose, pose, round((1 + 0.5 * k) * 1e9), seed=k)))
    shares: dict[LevelKey, float] = {}
    for hypothesis in estimate.hypotheses:
        shares[hypothesis.level] = shares.get(hypothesis.level, 0.0) + hypothesis.probability
    return shares


def test_the_localizer_reads_furniture_where_the_map_has_some() -> None:
    told = final_shares({L1: SHELVES, L2: OTHERS})
    assert told[L1] > 0.7
    twins = final_shares({L1: SHELVES, L2: SHELVES})
    assert twins[L1] == pytest.approx(twins[L2], abs=0.05)


def stops() -> list[LiftStop]:
    turned = np.array([10.0, 0.0, np.pi / 2])
    return [LiftStop(L1, "A", np.array([3.0, 4.0]), np.zeros(3)), LiftStop(L2, "A", np.array([4.0, 7.0]), turned)]


def test_who_stands_still_in_a_cabin_may_step_out_elsewhere() -> None:
    rides = LiftRides(stops())
    here = np.array([3.1, 4.0, 0.0])
    assert not rides.may_ride(0, here) and not rides.may_ride(round(2e9), here)
    assert rides.may_ride(round(3.5e9), here)
    assert not rides.may_ride(round(4e9), np.array([3.6, 4.0, 0.0])), "it drives on"
    ((level, pose),) = rides.exits(L1, here, [L1, L2])
    assert level == L2 and pose == pytest.approx([4.0, 6.9, -np.pi / 2]), "turned with the level's frame"
    assert rides.exits(L1, np.array([5.0, 4.0, 0.0]), [L1, L2]) == []
    assert rides.exits(L1, here, [L1]) == [], "only levels that are searched"
    assert not LiftRides([]).may_ride(round(9e9), here)


@dataclass(frozen=True)
class _Level:
    key: LevelKey
    name: str
    T_building_map: NDArray[np.float64]


@dataclass
class LiftedMap(PlantedMap):
    def levels(self, building_id: str | None = None) -> list[_Level]:  # type: ignore[override]
        return [_Level(key, key.level_id, np.zeros(3)) for key in self.plans]

    def lifts(self, key: LevelKey) -> list[Lift]:
        return [Lift("A", START[:2])]


def test_after_standing_in_a_lift_both_floors_are_possible_and_odometry_goes_on() -> None:
    plan = asymmetric_plan()
    localizer = Localizer(LiftedMap({L1: plan, L2: plan}), LocalizerSettings())
    odom = compose_se2(np.array([3.0, -2.0, 0.7]), START)
    localizer.on_odometry(0, odom)
    localizer.set_pose(L1, START, np.diag([0.01, 0.01, 0.001]))
    states = []
    for k in range(8):
        stamp_ns = round((1 + 0.5 * k) * 1e9)
        localizer.on_odometry(stamp_ns, odom)
        estimate = localizer.on_embedding(lidar_embedding(scan(plan, START, odom, stamp_ns, seed=k)))
        states.append(estimate.state)
    assert states[2] == LocalizationState.LOCALIZED and states[-1] == LocalizationState.LOST
    shares = {h.level: h for h in estimate.hypotheses[:2]}
    assert shares[L1].probability == pytest.approx(shares[L2].probability, abs=0.05)
    assert shares[L2].T_map_base == pytest.approx(START, abs=0.05), "the same spot of the other floor"
