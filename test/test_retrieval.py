"""Scene retrieval against a plain reference, filters, absent modalities and bad queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

import crossover_models.retrieval as retrieval_module
from crossover_models.config import RetrievalSettings
from crossover_models.estimate import LevelKey
from crossover_models.observation import Modality
from crossover_models.retrieval import PlaceIndex, RetrievalError
from crossover_models.sets.interaction import Interaction

SQUARE = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 3.0], [0.0, 3.0]])


@dataclass(frozen=True)
class PlantedPlace:
    key: LevelKey
    place_id: str
    name: str
    category: str
    polygon: NDArray[np.float64]


class PlantedSource:
    """Two levels of places whose vectors are known; every third place has no image."""

    embedding_dim = 16
    interaction: Interaction | None = None

    def __init__(self, count: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._places = [
            PlantedPlace(LevelKey("b", f"L{k % 2}"), f"p{k}", f"Room {k}", "office", SQUARE) for k in range(count)
        ]
        self.vectors = {}
        for modality in (Modality.IMAGE, Modality.FLOOR_PLAN):
            v = rng.normal(size=(count, 16)).astype(np.float32)
            self.vectors[modality] = v / np.linalg.norm(v, axis=1, keepdims=True)

    def has(self, k: int, modality: Modality) -> bool:
        return modality == Modality.FLOOR_PLAN or (modality == Modality.IMAGE and k % 3 != 0)

    def building_ids(self) -> tuple[str, ...]:
        return ("b",)

    def places(self, building_id: str | None = None, level_id: str | None = None) -> list[PlantedPlace]:
        return [p for p in self._places if level_id in (None, p.key.level_id)]

    def embeddings(self, building_id: str, modality: Modality) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        rows = [k for k in range(len(self._places)) if modality in self.vectors and self.has(k, modality)]
        if not rows:
            return (), np.zeros((0, 16), dtype=np.float32)
        return tuple(f"p{k}" for k in rows), self.vectors[modality][rows]

    def tokens(self, building_id: str, modality: Modality) -> NDArray[np.int8]:
        return np.zeros((len(self.embeddings(building_id, modality)[0]), 0), dtype=np.int8)


def plain_ranking(source: PlantedSource, query: NDArray[np.float32], level: str | None = None) -> list[str]:
    """The definition, written as loops."""
    rows = [k for k in range(len(source.places())) if level in (None, f"L{k % 2}")]
    score = {}
    for k in rows:
        terms = []
        for modality, vectors in source.vectors.items():
            if source.has(k, modality):
                peers = [float(vectors[j] @ query) for j in rows if source.has(j, modality)]
                terms.append(float(vectors[k] @ query) - float(np.mean(peers)))
        score[f"p{k}"] = float(np.mean(terms))
    return sorted(score, key=lambda p: -score[p])


@pytest.mark.parametrize("breadth", [4, 64])
def test_ranking_equals_the_plain_definition(breadth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval_module, "BREADTH", breadth)
    source = PlantedSource(30)
    index = PlaceIndex(source, RetrievalSettings(top_k=3))
    rng = np.random.default_rng(1)
    for _ in range(20):
        query = rng.normal(size=16).astype(np.float32)
        query /= np.linalg.norm(query)
        got = [p.place_id for p in index.search(query, Modality.IMAGE).places]
        assert got[0] == plain_ranking(source, query)[0]
        if breadth == 64:
            assert got == plain_ranking(source, query)[:3]


def test_level_filter_is_applied_before_the_search() -> None:
    source = PlantedSource(30)
    index = PlaceIndex(source, RetrievalSettings(top_k=30))
    query = source.vectors[Modality.FLOOR_PLAN][1]
    found = index.search(query, Modality.POINT_CLOUD, levels=[LevelKey("b", "L0")]).places
    assert len(found) == 15 and {p.level for p in found} == {LevelKey("b", "L0")}
    assert [p.place_id for p in found] == plain_ranking(source, query, "L0")


def test_an_absent_modality_is_no_evidence_against_a_place() -> None:
    source = PlantedSource(30)
    index = PlaceIndex(source, RetrievalSettings(top_k=30))
    best = index.search(source.vectors[Modality.FLOOR_PLAN][3], Modality.IMAGE).places[0]
    assert best.place_id == "p3"
    assert Modality.IMAGE not in best.modality_scores
    assert best.modality_scores[Modality.FLOOR_PLAN] == pytest.approx(1.0, abs=1e-5)


def test_probabilities_leave_room_for_none_of_them_and_abstain_when_unsure() -> None:
    source = PlantedSource(30)
    index = PlaceIndex(source, RetrievalSettings(top_k=30, max_abstain_probability=0.7, temperature=0.05))
    sure = index.search(source.vectors[Modality.FLOOR_PLAN][3], Modality.TEXT)
    assert not sure.abstained and sure.places[0].probability > 0.9
    between = source.vectors[Modality.FLOOR_PLAN][3] + source.vectors[Modality.FLOOR_PLAN][9]
    unsure = index.search(between, Modality.TEXT)
    assert {p.place_id for p in unsure.places[:2]} == {"p3", "p9"}
    assert unsure.abstained
    for result in (sure, unsure):
        assert sum(p.probability for p in result.places) < 1.0


def test_likely_regions_are_the_fewest_places_and_reach_their_corners() -> None:
    source = PlantedSource(30)
    index = PlaceIndex(source, RetrievalSettings(top_k=30, temperature=0.05))
    between = source.vectors[Modality.FLOOR_PLAN][3] + source.vectors[Modality.FLOOR_PLAN][9]
    retrieval = index.search(between, Modality.TEXT)
    regions = index.likely_regions(retrieval)
    shares = np.array([place.probability for place in retrieval.places])
    assert 2 <= len(regions) < 30
    assert shares[: len(regions) - 1].sum() < 0.9
    for level, center, radius_m in regions:
        assert level.building_id == "b"
        assert np.linalg.norm(SQUARE - np.array(center), axis=1).max() + 1.0 == pytest.approx(radius_m)


def test_each_query_modality_has_its_own_temperature() -> None:
    source = PlantedSource(30)
    index = PlaceIndex(source, RetrievalSettings(temperature=0.05, image_temperature=0.5))
    query = source.vectors[Modality.FLOOR_PLAN][3]
    cloud, image = (index.search(query, m).places[0].probability for m in (Modality.POINT_CLOUD, Modality.IMAGE))
    assert cloud > 0.9 > 0.5 > image


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        (np.zeros(16, dtype=np.float32), "norm"),
        (np.full(16, np.nan, dtype=np.float32), "norm"),
        (np.ones(8, dtype=np.float32), "expected 16"),
    ],
)
def test_bad_queries_are_refused(vector: NDArray[np.float32], words: str) -> None:
    index = PlaceIndex(PlantedSource(4), RetrievalSettings())
    with pytest.raises(RetrievalError, match=words):
        index.search(vector, Modality.IMAGE)
