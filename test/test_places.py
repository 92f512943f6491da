"""Which place a point lies in."""

from __future__ import annotations

import numpy as np
import pytest
from planted import PlantedPlace

from crossover_models.estimate import LevelKey
from crossover_models.places import PlaceMap, interior_point

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
