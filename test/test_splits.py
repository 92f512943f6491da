"""Training, validation and test rooms share no building and no furniture model."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from encoder_fakes import TINY, LetterFrontEnd, PixelFrontEnd

from crossover_models.simulation.furniture import SPLITS, split_of_model
from crossover_models.simulation.procedural import generate_building
from crossover_models.training.generate import ROOMS_PER_LEVEL, RoomSource, cached_rooms, color_histogram
from crossover_models.training.room_sample import CacheError

FRONT_ENDS = (PixelFrontEnd(), LetterFrontEnd())


def buildings(split: str, count: int = 4, seed: int = 0):  # type: ignore[no-untyped-def]
    source = RoomSource(split, 1, seed)
    return [
        generate_building(source.building_seed(i), split=split, levels=1, rooms_per_level=ROOMS_PER_LEVEL)
        for i in range(count)
    ]


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


def test_seeds_of_runs_and_buildings_are_disjoint() -> None:
    seen = [{RoomSource("train", 1, seed).building_seed(i) for i in range(5000)} for seed in range(4)]
    for a, b in itertools.combinations(seen, 2):
        assert not a & b


def test_interrupted_generation_goes_on_and_equals_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("ROOMS_PER_LEVEL", 3), ("SURVEY_VIEWS", 2), ("ROBOT_FRAMES", 2)):
        monkeypatch.setattr(f"crossover_models.training.generate.{name}", value)

    class Killed(Exception):
        pass

    def after_the_first(count: int) -> None:
        raise Killed

    source = RoomSource("val", 6, 3)
    with pytest.raises(Killed):
        cached_rooms(source, TINY, *FRONT_ENDS, tmp_path / "a", after_the_first)
    files = sorted((tmp_path / "a").iterdir())
    assert len(files) == 1
    made_at = files[0].stat().st_mtime_ns
    counts: list[int] = []
    rooms = cached_rooms(source, TINY, *FRONT_ENDS, tmp_path / "a", counts.append)
    assert files[0].stat().st_mtime_ns == made_at, "the finished building was made again"
    assert len(rooms) == source.rooms == counts[-1]
    whole = cached_rooms(source, TINY, *FRONT_ENDS, tmp_path / "b")
    assert [r.room_id for r in rooms] == [r.room_id for r in whole]
    for mine, other in zip(rooms, whole, strict=True):
        for name in ("survey_views", "robot_views", "plans", "texts", "survey_points", "robot_points", "mesh_points"):
            assert np.array_equal(getattr(mine, name), getattr(other, name)), name
    with pytest.raises(CacheError, match="other settings"):
        cached_rooms(source, TINY.with_flat({"plan_side_m": 9.0}), *FRONT_ENDS, tmp_path / "a")


def test_color_histogram_counts_shares() -> None:
    picture = np.zeros((2, 2, 3), dtype=np.uint8)
    picture[0, 0] = 255
    histogram = color_histogram(picture)
    assert histogram[0] ** 2 == pytest.approx(0.75) and histogram[-1] ** 2 == pytest.approx(0.25)
    assert float(histogram @ histogram) == pytest.approx(1.0)
