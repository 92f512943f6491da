"""Indexes beside a map: made where they are worth it, searched to the same answers, and left out once stale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import crossover_models.index.choice as choice_module
import crossover_models.index.vector_index as vector_index_module
import crossover_models.map_database.place_indexes as module
import crossover_models.retrieval as retrieval_module
from crossover_models.building import Building, Level, Place
from crossover_models.cli import main
from crossover_models.config import RetrievalSettings
from crossover_models.estimate import LevelKey
from crossover_models.floor_plan import FloorPlan
from crossover_models.index.files import IndexFileError
from crossover_models.index.planted_codes import PlantedCodes
from crossover_models.map_database.place_indexes import index_folder, open_place_indexes, write_place_indexes
from crossover_models.map_database.store import MapDatabase
from crossover_models.map_database.writer import DatabaseWriter
from crossover_models.observation import Code, Modality
from crossover_models.place_shelf import PlaceCatalog, indexed
from crossover_models.retrieval import PlaceIndex
from crossover_models.sets.interaction import PAIRS, Interaction, PairWeights

DIM, ATTRIBUTES, BUILDINGS, LEVELS, ROOMS = 32, 12, 3, 4, 100
SQUARE = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 3.0], [0.0, 3.0]])


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds beyond 30,000 places holds beyond 500 here."""
    for where in (choice_module, vector_index_module, module):
        monkeypatch.setattr(where, "FLAT_PLACES", 500)
    monkeypatch.setattr(retrieval_module, "SCORED", 150)
    monkeypatch.setattr(retrieval_module, "BREADTH", 64)


def interaction() -> Interaction:
    """Logits alone, alike for all pairs."""
    rates = np.full(ATTRIBUTES, 0.3, dtype=np.float32)
    weights = np.linspace(0.1, 0.5, ATTRIBUTES).astype(np.float32)
    pairs = {pair: PairWeights(6.0, 1.0, 0.0, 0.0) for a, b in PAIRS for pair in ((a, b), (b, a))}
    return Interaction(rates, weights, pairs, 0.01, (1, 2, 2), 1, 0)


def write_map(path: Path, seed: int = 0, described: bool = True) -> NDArray[np.float32]:
    """1,200 places of three buildings; every other place has no image. Returns the vectors of clouds."""
    codes, rng = PlantedCodes(DIM, seed=seed), np.random.default_rng(seed)
    count = BUILDINGS * LEVELS * ROOMS
    vectors = {m: codes.draw(count) for m in (Modality.POINT_CLOUD, Modality.IMAGE)}
    tokens = rng.integers(-127, 128, (count, ATTRIBUTES)).astype(np.int8)
    plan = FloorPlan(np.zeros((20, 20), dtype=np.int8), 0.5, (0.0, 0.0))
    with DatabaseWriter(path, f"planted-{seed}", "planted", DIM, interaction() if described else None) as writer:
        for b in range(BUILDINGS):
            levels = tuple(
                Level(
                    f"L{k}", f"Floor {k}", 3.0 * k, 2.8, plan,
                    tuple(Place(f"L{k}-{r}", f"Room {r}", "office", SQUARE) for r in range(ROOMS)),
                )
                for k in range(LEVELS)
            )  # fmt: skip
            writer.add_building(Building(f"b{b}", levels, "planted"))
            names = [f"L{k}-{r}" for k in range(LEVELS) for r in range(ROOMS)]
            for modality, matrix in vectors.items():
                held = {}
                for n, name in enumerate(names):
                    row = b * LEVELS * ROOMS + n
                    if modality == Modality.POINT_CLOUD or n % 2:
                        held[name] = Code(matrix[row], tokens[row]) if described else Code(matrix[row])
                writer.add_embeddings(f"b{b}", modality, held)
        writer.publish()
    return vectors[Modality.POINT_CLOUD]


@pytest.fixture
def large(tmp_path: Path) -> Path:
    write_map(tmp_path / "large.xmap")
    return tmp_path / "large.xmap"


def test_answers_with_and_without_indexes_agree(large: Path) -> None:
    with MapDatabase.open(large) as database:
        assert set(write_place_indexes(database)) == {Modality.IMAGE, Modality.POINT_CLOUD}
        held = open_place_indexes(database)
        assert {m: i.choice.kind for m, i in held.items()} == {Modality.IMAGE: "hnsw", Modality.POINT_CLOUD: "hnsw"}
        plain, quick = (PlaceIndex(database, RetrievalSettings(top_k=10), None, found) for found in ({}, held))
        vectors, rng = database.embeddings("b1", Modality.POINT_CLOUD)[1], np.random.default_rng(1)
        same = asked = 0
        for levels in (
            None,
            [LevelKey("b1", "L2")],
            [LevelKey("b0", "L0"), LevelKey("b2", "L3"), LevelKey("b1", "L1")],
        ):
            for query in vectors[::25]:
                for tokens in (np.zeros(0, np.int8), rng.integers(-127, 128, ATTRIBUTES).astype(np.int8)):
                    a, b = (i.search(query, Modality.IMAGE, levels=levels, tokens=tokens) for i in (plain, quick))
                    assert all(p.level in levels for p in b.places) if levels else True
                    # What both found has the same scores, wherever it was searched.
                    scores = [{(p.level, p.place_id): p.modality_scores for p in found.places} for found in (a, b)]
                    for key in scores[0].keys() & scores[1].keys():
                        assert scores[0][key] == pytest.approx(scores[1][key], abs=1e-4)
                    same, asked = same + len(scores[0].keys() & scores[1].keys()), asked + len(a.places)
        assert same >= 0.98 * asked and asked > 400


def test_an_index_is_mapped_and_holds_the_map_in_the_order_of_levels(large: Path) -> None:
    with MapDatabase.open(large) as database:
        write_place_indexes(database)
        catalog = PlaceCatalog.of(database)
        shelf = indexed(catalog, open_place_indexes(database)[Modality.IMAGE])
        for array in (shelf.vectors, shelf.tokens, shelf.sums):
            assert isinstance(array.base, np.memmap)
        assert (np.diff(catalog.level_of[shelf.rows]) >= 0).all() and len(shelf.rows) == BUILDINGS * LEVELS * ROOMS // 2
        for building_id in database.building_ids():
            ids, vectors = database.embeddings(building_id, Modality.IMAGE)
            tokens = database.tokens(building_id, Modality.IMAGE)
            slots = shelf.slot_of[[catalog.row_in(building_id, place_id) for place_id in ids]]
            np.testing.assert_array_equal(shelf.vectors[slots], vectors)
            np.testing.assert_array_equal(shelf.tokens[slots], tokens)


def test_what_is_fresh_is_kept_and_what_is_stale_or_damaged_is_left_out_and_made_again(large: Path) -> None:
    began: list[Modality] = []
    with MapDatabase.open(large) as database:
        write_place_indexes(database, began.append)
        assert len(began) == 2
        write_place_indexes(database, began.append)
        assert len(began) == 2, "a fresh index was made again"
        damaged = open_place_indexes(database)[Modality.IMAGE].path("vectors")
        damaged.write_bytes(damaged.read_bytes()[:-4])
        assert set(open_place_indexes(database)) == {Modality.POINT_CLOUD}
        write_place_indexes(database, began.append)
        assert began[2:] == [Modality.IMAGE]
    write_map(large, seed=1)
    with MapDatabase.open(large) as database:
        assert open_place_indexes(database) == {}
        write_place_indexes(database, began.append)
        assert len(began) == 5 and len(open_place_indexes(database)) == 2


def test_a_map_that_shrank_keeps_no_index(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with MapDatabase.open(large) as database:
        write_place_indexes(database)
        monkeypatch.setattr(module, "FLAT_PLACES", 1000)
        assert write_place_indexes(database) == (Modality.POINT_CLOUD,)
        assert [path.name for path in index_folder(large).iterdir()] == ["point_cloud"]
        monkeypatch.setattr(module, "FLAT_PLACES", 10_000)
        assert write_place_indexes(database) == () and not index_folder(large).exists()


def test_an_index_of_another_map_is_refused(large: Path, tmp_path: Path) -> None:
    with MapDatabase.open(large) as database:
        write_place_indexes(database)
        held = open_place_indexes(database)
        few = PlaceCatalog.of(database)
        few.places = few.places[:10]
        with pytest.raises(IndexFileError, match=r"holds place \d+ of 10"):
            indexed(few, held[Modality.IMAGE])


def test_the_command_indexes_and_says_where_none_is_needed(
    large: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["map", "index", str(large)]) == 0
    assert "large.xmap.index: " in capsys.readouterr().out
    monkeypatch.setattr(module, "FLAT_PLACES", 10_000)
    assert main(["map", "index", str(large)]) == 0
    assert "1200 places a modality at most are searched exactly" in capsys.readouterr().out


def test_codes_of_vectors_alone(tmp_path: Path) -> None:
    vectors = write_map(tmp_path / "plain.xmap", described=False)
    with MapDatabase.open(tmp_path / "plain.xmap") as database:
        write_place_indexes(database)
        index = PlaceIndex(database, RetrievalSettings(), None, open_place_indexes(database))
        best = index.search(vectors[776], Modality.POINT_CLOUD).places[0]
        assert (best.level, best.place_id) == (LevelKey("b1", "L3"), "L3-76")
