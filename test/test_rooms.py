"""Rooms of a drawing: parted at doors and necks, and named by nobody."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crossover_models.building import Door
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan
from crossover_models.map_database.prisms import PrismBuilder
from crossover_models.map_database.raster import Raster
from crossover_models.map_database.rooms import neck_of, split_rooms
from crossover_models.map_database.wording import (
    describe_place,
    furniture_category,
    guess_category,
    identifier,
    spoken,
)

RES = 0.05


def plan_of(rooms: list[tuple[float, float, float, float]], gaps: list[tuple[float, float, float, float]]) -> FloorPlan:
    """Free rectangles (x0, y0, x1, y1) in a block of wall, joined by free gaps."""
    low, high = np.array([-1.0, -1.0]), np.array([12.0, 9.0])
    cells = np.full(tuple(np.round((high - low)[::-1] / RES).astype(int)), UNKNOWN, dtype=np.int8)

    def fill(box: tuple[float, float, float, float], grow: float, value: int) -> None:
        c0, r0, c1, r1 = np.round((np.array(box) - np.tile(low, 2) + [-grow, -grow, grow, grow]) / RES).astype(int)
        cells[r0:r1, c0:c1] = value

    for box in rooms:
        fill(box, 0.1, OCCUPIED)
    for box in [*rooms, *gaps]:
        fill(box, 0.0, FREE)
    return FloorPlan(cells, RES, (float(low[0]), float(low[1])))


def test_a_door_parts_two_rooms_however_wide() -> None:
    plan = plan_of([(0, 0, 4, 4), (4.2, 0, 9, 4)], [(4, 1, 4.2, 3)])
    door = Door(np.array([[4.1, 1.0], [4.1, 3.0]]), "double hinged")
    rooms = split_rooms(plan, [door])
    assert rooms.count == 2
    left, right = rooms.at((2.0, 2.0)), rooms.at((6.0, 2.0))
    assert set(rooms.beside(door)) == {left, right} == {1, 2}
    # Both areas with half of the doorway each.
    assert rooms.area_m2(left) == pytest.approx(16.2, abs=0.25)
    assert rooms.area_m2(right) == pytest.approx(19.4, abs=0.25)


def test_a_gap_as_narrow_as_a_door_parts_and_a_wide_one_does_not() -> None:
    narrow = split_rooms(plan_of([(0, 0, 4, 4), (4.2, 0, 9, 4)], [(4, 1, 4.2, 1.9)]), [])
    wide = split_rooms(plan_of([(0, 0, 4, 4), (4.2, 0, 9, 4)], [(4, 1, 4.2, 2.6)]), [])
    assert (narrow.count, wide.count) == (2, 1)
    boundary = narrow.labels[:, round(5.1 / RES)]  # the column of the gap's middle, x = 4.1
    assert set(boundary[boundary > 0]) <= {1, 2}
    assert narrow.at((3.9, 1.5)) == narrow.at((2, 2)) and narrow.at((4.3, 1.5)) == narrow.at((6, 2))


def test_a_corridor_narrower_than_the_neck_is_a_room_of_its_own() -> None:
    plan = plan_of([(0, 0, 4, 4), (8, 0, 11, 4), (4.2, 1.0, 7.8, 1.8)], [(4, 1.0, 4.2, 1.8), (7.8, 1.0, 8, 1.8)])
    rooms = split_rooms(plan, [])
    assert rooms.count == 3
    assert len({rooms.at(point) for point in ((2, 2), (6, 1.4), (9, 2))}) == 3


def test_crumbs_are_no_rooms() -> None:
    plan = plan_of([(0, 0, 4, 4), (5, 5, 6, 6)], [])
    rooms = split_rooms(plan, [])
    assert rooms.count == 1 and rooms.at((5.5, 5.5)) == 0


def test_no_free_space_has_no_rooms() -> None:
    plan = FloorPlan(np.full((20, 20), OCCUPIED, dtype=np.int8), RES, (0.0, 0.0))
    rooms = split_rooms(plan, [])
    assert rooms.count == 0 and rooms.at((0.5, 0.5)) == 0 and rooms.near(np.array([0.5, 0.5]), 1.0) == 0


def test_an_outline_is_the_room() -> None:
    plan = plan_of([(1.0, 2.0, 5.0, 4.5)], [])
    rooms = split_rooms(plan, [])
    outline = shapely.Polygon(rooms.outline(1))
    assert outline.symmetric_difference(shapely.box(1.0, 2.0, 5.0, 4.5)).area < 0.35
    assert np.allclose(rooms.deepest(1)[1], 3.25, atol=0.1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), neck_m=st.floats(0.6, 2.0))
def test_rooms_lie_in_free_space_and_hang_together(seed: int, neck_m: float) -> None:
    rng = np.random.default_rng(seed)
    cells = np.full((90, 120), FREE, dtype=np.int8)
    for _ in range(25):
        r, c = rng.integers(0, 90), rng.integers(0, 120)
        size = rng.integers(2, 40)
        if rng.random() < 0.5:
            cells[r : r + 2, c : c + size] = OCCUPIED
        else:
            cells[r : r + size, c : c + 2] = OCCUPIED
    plan = FloorPlan(cells, RES, (3.0, -2.0))
    doors = [Door(rng.uniform((3, -2), (9, 2.5), (2, 2))) for _ in range(3)]
    rooms = split_rooms(plan, doors, neck_m)
    assert not (rooms.labels[cells != FREE] > 0).any()
    assert set(np.unique(rooms.labels)) - {0} == set(range(1, rooms.count + 1))
    for label in range(1, rooms.count + 1):
        assert rooms.area_m2(label) >= 1.5
        assert _parts(rooms.labels == label) == 1
        assert rooms.at(rooms.deepest(label)) == label
        assert len(rooms.outline(label)) >= 3


def _parts(mask: NDArray[np.bool_]) -> int:
    return int(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0]) - 1


def test_the_neck_follows_the_levels_doors() -> None:
    def doors(*widths: float) -> list[Door]:
        return [Door(np.array([[0.0, 0.0], [width, 0.0]]), "hinged") for width in widths]

    assert neck_of([]) == 1.1
    assert neck_of(doors(0.8, 0.9)) == 1.1
    assert neck_of(doors(1.4, 1.4, 1.5)) == pytest.approx(1.61)
    assert neck_of(doors(5.0)) == 1.7
    assert neck_of([Door(np.array([[0.0, 0.0], [1.6, 0.0]]), "double hinged")]) == 1.1


def test_a_raster_holds_area_and_cells_that_edges_touch() -> None:
    raster = Raster(np.array([0.0, 0.0]), np.array([2.0, 1.0]))
    outer = shapely.box(0.0, 0.0, 2.0, 1.0) - shapely.box(0.5, 0.25, 1.5, 0.75)
    mask = raster.area(outer)
    assert mask.sum() * RES**2 == pytest.approx(outer.area, abs=outer.length * RES)
    plan = FloorPlan(np.where(mask, OCCUPIED, FREE).astype(np.int8), RES, raster.origin_xy)
    assert plan.value([(0.25, 0.5), (1.0, 0.5), (1.75, 0.5), (-0.2, 0.5)]).tolist() == [OCCUPIED, FREE, OCCUPIED, FREE]
    line = raster.lines(np.array([[[0.1, 0.1], [1.9, 0.1]]]))
    plan = FloorPlan(np.where(line, OCCUPIED, FREE).astype(np.int8), RES, raster.origin_xy)
    assert (plan.value(np.stack([np.linspace(0.12, 1.88, 50), np.full(50, 0.11)], axis=1)) == OCCUPIED).all()


def test_a_prism_is_closed_and_faces_outward() -> None:
    outline = shapely.box(0, 0, 4, 3) - shapely.box(1, 1, 2, 2)
    builder = PrismBuilder()
    builder.prism(outline, 0.5, 3.0, (1, 2, 3))
    mesh = builder.mesh()
    assert mesh is not None
    a, b, c = (mesh.vertices[mesh.faces[:, k]].astype(np.float64) for k in range(3))
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 == pytest.approx(11 * 2.5, rel=1e-5)
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    assert {tuple(e) for e in edges.tolist()} == {tuple(e) for e in edges[:, ::-1].tolist()}
    assert PrismBuilder().mesh() is None


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("Bathroom 1", "bathroom"),
        ("L1_left_consult_rm_13", "consulting room"),
        ("Master suite", "bedroom"),
        ("WC", "bathroom"),
        ("Cleaning_supplies", "storage room"),
        ("Restaurant", "restaurant"),
        ("Room 12", ""),
        ("Coe", ""),
        ("", ""),
    ],
)
def test_categories_come_from_whole_words(name: str, category: str) -> None:
    assert guess_category(name) == category


@pytest.mark.parametrize(
    ("name", "thing"),
    [
        ("M_Table-Coffee:0610 x 0610 x 0610mm:0610 x 0610 x 0610mm:167584", "coffee table"),
        ("M_Tall Cabinet-Single Door(2):800 mm:800 mm:157200", "tall cabinet"),
        ("M_Counter Top w Sink Hole:600mm Depth:600mm Depth:161165", "counter top with sink"),
        ("M_Vanity Cabinet-Double Door Sink Unit:650 x 450 mm", "vanity cabinet with sink"),
        ("M_Bed-Standard:1525 x 2007mm - Queen", "bed"),
        ("OpenRobotics/OfficeChairBlack", "black office chair"),
        ("OpenRobotics/FoodCourtTable1", "food court table"),
        ("OpenRobotics/Cafe table", "cafe table"),
        ("", ""),
    ],
)
def test_things_are_called_what_they_are(name: str, thing: str) -> None:
    assert furniture_category(name) == thing


def test_descriptions_say_only_what_is_known() -> None:
    assert describe_place("Room 1", "", "Level 2", 0.4, []) == ("Room 1 on Level 2, about 1 square meter.",)
    text = describe_place("A104", "office", "Level 1", 12.4, ["desk", "shelf", "shelf", ""], ["Foyer", "Foyer", "B1"])
    assert text == (
        "A104, an office, on Level 1, about 12 square meters.",
        "It holds two shelves and a desk.",
        "A door leads to Foyer and B1.",
    )


@given(st.text(max_size=30))
def test_any_name_can_be_worked_with(name: str) -> None:
    guess_category(name)
    furniture_category(name)
    taken: set[str] = set()
    ids = [identifier(name, taken) for _ in range(3)]
    assert len(set(ids)) == 3 and all(set(i) <= set("._-0123456789") | set(_LETTERS) and i for i in ids)
    assert spoken(spoken(name)) == spoken(name)


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
