"""Training, validation and test rooms share no building and no furniture model."""

from __future__ import annotations

import itertools

from crossover_models.dataset.room_source import Group, plan_groups
from crossover_models.dataset.settings import MakeSettings
from crossover_models.simulation.furniture import SPLITS, split_of_model
from crossover_models.simulation.procedural import generate_building


def buildings(split: str, count: int = 4, seed: int = 0):  # type: ignore[no-untyped-def]
    return [generate_building(seed * 1_000_000 + i, split=split, levels=1, rooms_per_level=7) for i in range(count)]


def test_no_building_and_no_furniture_model_occurs_in_two_splits() -> None:
    names, models, outlines = {}, {}, {}
    for split in SPLITS:
        made = buildings(split)
        places = [place for building in made for level in building.levels for place in level.places]
        names[split] = {building.building_id for building in made}
        models[split] = {piece.model_id for place in places for piece in place.furnishings}
        outlines[split] = {place.polygon.round(3).tobytes() for place in places}
        assert models[split], "no furniture to compare"
        assert {split_of_model(int(model.rsplit("/", 1)[1])) for model in models[split]} == {split}
    for a, b in itertools.combinations(SPLITS, 2):
        assert not names[a] & names[b]
        assert not models[a] & models[b]
        assert not outlines[a] & outlines[b]


def test_no_building_is_planned_twice() -> None:
    for seed in range(3):
        made: list[Group] = plan_groups(MakeSettings(rooms=400, seed=seed, val_share=0.3, test_share=0.3), None)
        assert len({(g.split, g.source, g.number) for g in made}) == len(made)
        assert len({(g.split, g.index) for g in made}) == len(made)
        assert {s: sum(g.rooms for g in made if g.split == s) for s in SPLITS} == {
            "train": 160,
            "val": 120,
            "test": 120,
        }
