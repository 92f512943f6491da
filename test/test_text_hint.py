"""Hints in words: levels by number, ordinal and name; places by name and category; and what a wrong one does."""

from __future__ import annotations

import numpy as np
import pytest

from crossover_models.estimate import LevelKey
from crossover_models.level_names import LocalizerError
from crossover_models.places import PlaceMap
from crossover_models.text_hint import WRONG, TextHint, parse_text_hint

B, G, F1, F2 = (LevelKey("b", name) for name in ("B", "G", "L1", "L2"))
LEVELS = {B: "Basement", G: "Ground floor", F1: "Floor 1", F2: "Floor 2"}
PLAIN = {LevelKey("b", name): f"Storey {name}" for name in ("low", "mid", "high")}


class _Place:
    def __init__(self, level: LevelKey, place_id: str, name: str, category: str, x: float) -> None:
        self.key, self.place_id, self.name, self.category = level, place_id, name, category
        self.polygon = np.array([[x, 0.0], [x + 4, 0.0], [x + 4, 4.0], [x, 4.0]])


PLACES = [
    _Place(F1, "k1", "Kitchen 1.01", "kitchen", 0.0),
    _Place(F1, "m1", "Room 1.02", "meeting room", 4.0),
    _Place(F2, "k2", "Kitchen 2.01", "kitchen", 0.0),
    _Place(F2, "r2", "Mercury", "room", 4.0),
]


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("near the kitchen on the second floor", (F2,)),
        ("2nd floor, by the window", (F2,)),
        ("level 1", (F1,)),
        ("on floor number two", (F2,)),
        ("on the ground floor", (G,)),
        ("somewhere in the basement", (B,)),
        ("the top floor", (F2,)),
        ("upstairs, maybe", ()),
        ("a floor with two sofas", ()),
        ("L2 east", (F2,)),
    ],
)
def test_levels_in_words(text: str, levels: tuple[LevelKey, ...]) -> None:
    assert parse_text_hint(text, LEVELS, PLACES).levels == levels


def test_floors_without_numbers_are_counted_from_the_ground() -> None:
    assert parse_text_hint("first floor", PLAIN, []).levels == (LevelKey("b", "low"),)
    assert parse_text_hint("the 3rd storey", PLAIN, []).levels == (LevelKey("b", "high"),)
    both = {**PLAIN, **{LevelKey("c", key.level_id): name for key, name in PLAIN.items()}}
    assert len(parse_text_hint("second floor", both, []).levels) == 2, "of either building"


@pytest.mark.parametrize("text", ["on the ninth floor", "floor 7"])
def test_a_floor_that_there_is_not_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(LocalizerError, match=r"text_hint: the map has no .*b/L2 \(Floor 2\)"):
        parse_text_hint(text, LEVELS, PLACES)


def test_places_by_name_before_category_and_the_longest_first() -> None:
    def named(text: str) -> list[str]:
        return [place.place_id for place in parse_text_hint(text, LEVELS, PLACES).places]

    assert named("next to Mercury") == ["r2"]
    assert named("in the meeting room") == ["m1"]
    assert named("kitchens") == ["k1", "k2"]
    assert named("near the kitchen on the second floor") == ["k2"]
    assert named("a purple sofa") == []
    assert parse_text_hint("next to Mercury", LEVELS, PLACES).near
    assert not parse_text_hint("in Mercury", LEVELS, PLACES).near


def test_likelihood_falls_with_the_distance_and_a_wrong_hint_can_be_outvoted() -> None:
    places = PlaceMap(PLACES)
    poses = np.array([[2.0, 2.0, 0.0], [6.0, 2.0, 0.0], [30.0, 2.0, 0.0], [2.0, 2.0, 0.0]])
    levels = [F1, F1, F1, F2]
    inside = TextHint((F1,), (PLACES[0],), near=False).log_likelihood(places, levels, poses)
    near = TextHint((F1,), (PLACES[0],), near=True).log_likelihood(places, levels, poses)
    assert inside[0] == pytest.approx(0.0, abs=0.03) and inside[1] < near[1] < near[0]
    assert inside[2] == pytest.approx(np.log(WRONG), abs=1e-3)
    assert inside[3] == pytest.approx(2 * np.log(WRONG), abs=1e-3), "another floor, and not the place"
    assert np.isfinite(inside).all()
