"""Which place a point lies in."""

from __future__ import annotations

import numpy as np
import pytest
from planted import PlantedPlace

from crossover_models.belief import Belief
from crossover_models.config import BeliefSettings
from crossover_models.estimate import LevelKey
from crossover_models.hypotheses import hypotheses_and_places
from crossover_models.places import NORMAL_POINTS, PlaceMap, interior_point

LEVEL = LevelKey("b", "L1")


def square(name: str, x: float, y: float, side: float) -> PlantedPlace:
    corners = np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]])
    return PlantedPlace(LEVEL, name, name, "room", corners)


@pytest.mark.parametrize("order", [1, -1])
def test_a_room_inside_a_hall_wins_over_the_hall(order: int) -> None:
    places = PlaceMap([square("hall", 0, 0, 20), square("kiosk", 8, 8, 3)][::order])
    for point, name in (((9.5, 9.5), "kiosk"), ((8.1, 8.1), "kiosk"), ((2.0, 2.0), "hall")):
        found = places.at(LEVEL, point)
        assert found is not None and found.place_id == name


def test_a_doorway_belongs_to_the_nearest_room_and_the_street_to_none() -> None:
    places = PlaceMap([square("west", 0, 0, 4), square("east", 4.3, 0, 4)])
    near = places.at(LEVEL, (4.2, 2.0))
    assert near is not None and near.place_id == "east"
    assert places.at(LEVEL, (12.0, 2.0)) is None
    assert places.at(LevelKey("b", "L2"), (2.0, 2.0)) is None


def test_interior_point_of_a_hooked_room_is_inside() -> None:
    hook = np.array([[0, 0], [10, 0], [10, 1], [1, 1], [1, 9], [10, 9], [10, 10], [0, 10]], dtype=float)
    x, y = interior_point(hook)
    assert x < 1 or y < 1 or y > 9


def test_the_points_of_a_normal_have_its_mean_and_nearly_its_spread() -> None:
    assert NORMAL_POINTS.mean(axis=0) == pytest.approx([0.0, 0.0], abs=1e-12)
    assert np.cov(NORMAL_POINTS.T, bias=True) == pytest.approx(np.eye(2), abs=0.12)


@pytest.mark.parametrize(
    ("x", "y", "sigma_x", "sigma_y"), [(3.9, 2.0, 0.3, 0.1), (4.1, 0.2, 0.5, 0.5), (9.0, 4.6, 1, 1)]
)
def test_shares_of_places_equal_monte_carlo(x: float, y: float, sigma_x: float, sigma_y: float) -> None:
    places = PlaceMap([square("west", 0, 0, 4), square("east", 4.3, 0, 4), square("kiosk", 5.0, 1.0, 1.0)])
    covariance = np.diag([sigma_x**2, sigma_y**2])
    shares = places.shares(LEVEL, (x, y), covariance)
    drawn = np.random.default_rng(1).multivariate_normal((x, y), covariance, 4000)
    found = [place.place_id if (place := places.at(LEVEL, point)) is not None else "" for point in drawn]
    assert sum(shares.values()) == pytest.approx(1.0)
    for name in {*shares, *found}:
        assert shares.get(name, 0.0) == pytest.approx(found.count(name) / len(found), abs=0.06)


def test_far_from_every_boundary_a_pose_is_wholly_where_its_mean_is() -> None:
    places = PlaceMap([square("hall", 0, 0, 20), square("kiosk", 8, 8, 3)])
    assert places.shares(LEVEL, (3.0, 3.0), 0.01 * np.eye(2)) == {"hall": 1.0}
    assert places.shares(LEVEL, (9.5, 9.5), 0.01 * np.eye(2)) == {"kiosk": 1.0}
    assert set(places.shares(LEVEL, (7.9, 9.5), 0.01 * np.eye(2))) == {"hall", "kiosk"}
    assert places.shares(LEVEL, (30.0, 3.0), 0.01 * np.eye(2)) == {"": 1.0}


def test_a_place_has_the_mass_of_all_poses_over_it() -> None:
    """Two headings in the east outweigh one in the west; a pose in the doorway is in both rooms."""
    places = PlaceMap([square("west", 0, 0, 4), square("east", 4, 0, 4)])
    belief = Belief(BeliefSettings())
    belief.move(np.zeros(3))
    belief.levels, belief.fits = [LEVEL] * 4, [None] * 4
    poses = np.array([[1.0, 1.0, 0.0], [6.0, 2.0, 0.0], [6.0, 2.0, 3.0], [4.0, 2.0, 0.0]])
    belief.T_map_odom, belief.covariance = poses, np.tile(0.01 * np.eye(3), (4, 1, 1))
    belief.weight, belief.null_weight = np.array([0.3, 0.25, 0.25, 0.1]), 0.1
    hypotheses, mass = hypotheses_and_places(belief, poses, places)
    assert [p.place_id for p in mass] == ["east", "west"]
    assert [p.probability for p in mass] == pytest.approx([0.55, 0.35], abs=0.01)
    assert [h.place_share for h in hypotheses] == pytest.approx([1.0, 1.0, 1.0, 0.5], abs=0.07)
    assert sum(p.probability for p in mass) + belief.null_weight == pytest.approx(1.0)
