"""Scene retrieval against a plain reference, filters, absent modalities and bad queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

import crossover_models.retrieval as retrieval_module
from crossover_models.config import RetrievalSettings
from crossover_models.estimate import LevelKey
from crossover_models.observation import Code, Modality
from crossover_models.retrieval import PlaceIndex, RetrievalError
from crossover_models.sets.interaction import PAIRS, Interaction, PairWeights

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


# -- late interaction ----------------------------------------------------------------------------------------------

ATTRIBUTES = 12


class TokenSource(PlantedSource):
    """The same places with tokens: attributes without layouts, compared by weights that differ by pair."""

    def __init__(self, count: int, seed: int = 0) -> None:
        super().__init__(count, seed)
        rng = np.random.default_rng(seed + 1)
        pairs = {}
        for a, b in PAIRS:
            pairs[a, b] = pairs[b, a] = PairWeights(*rng.uniform(1.0, 4.0, 4))
        rates, weights = rng.uniform(0.1, 0.9, (2, ATTRIBUTES)).astype(np.float32)
        self.interaction = Interaction(rates, weights, pairs, 0.01, (1, 2, 2), 1, 0)
        self.held = {m: rng.integers(-127, 128, (count, ATTRIBUTES)).astype(np.int8) for m in self.vectors}

    def tokens(self, building_id: str, modality: Modality) -> NDArray[np.int8]:
        if modality not in self.vectors:
            return np.zeros((0, 0), dtype=np.int8)
        return self.held[modality][[k for k in range(len(self._places)) if self.has(k, modality)]]


def plain_late_ranking(source: TokenSource, query: Code, kind: Modality, rows: list[int]) -> dict[str, float]:
    """The definition, written as loops: mean over modalities of scores less the modality's mean over the rows."""
    assert source.interaction is not None
    raw = {
        (k, m): float(source.interaction.scores(query, kind, source.vectors[m][[k]], source.held[m][[k]], m)[0])
        for k in rows
        for m in source.vectors
        if source.has(k, m)
    }
    center = {m: np.mean([s for (_, other), s in raw.items() if other == m]) for m in source.vectors}
    return {f"p{k}": float(np.mean([raw[k, m] - center[m] for m in source.vectors if (k, m) in raw])) for k in rows}


def random_query(seed: int) -> Code:
    rng = np.random.default_rng(seed)
    vector = rng.normal(size=16).astype(np.float32)
    tokens = rng.integers(-127, 128, ATTRIBUTES).astype(np.int8)
    return Code(vector / np.float32(np.linalg.norm(vector)), tokens)


@pytest.mark.parametrize("kind", [Modality.TEXT, Modality.IMAGE])
def test_late_interaction_ranks_by_the_plain_definition(kind: Modality) -> None:
    source = TokenSource(30)
    settings = RetrievalSettings(top_k=30, late_temperature=2.0, late_image_temperature=0.5)
    index = PlaceIndex(source, settings)
    for seed in range(5):
        query = random_query(seed)
        found = index.search(query.vector, kind, tokens=query.tokens).places
        plain = plain_late_ranking(source, query, kind, list(range(30)))
        assert [p.place_id for p in found] == sorted(plain, key=lambda place: -plain[place])
        weights = np.exp(np.array([*plain.values(), 0.0]) / (0.5 if kind == Modality.IMAGE else 2.0))
        assert found[0].probability == pytest.approx(weights[:-1].max() / weights.sum(), rel=1e-4)


def test_only_the_best_places_by_their_vectors_are_scored_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval_module, "INTERACTED", 7)
    source, query = TokenSource(30), random_query(3)
    index = PlaceIndex(source, RetrievalSettings(top_k=30))
    chosen = [p.place_id for p in index.search(query.vector, Modality.TEXT).places[:7]]
    found = [p.place_id for p in index.search(query.vector, Modality.TEXT, tokens=query.tokens).places]
    plain = plain_late_ranking(source, query, Modality.TEXT, sorted(int(p[1:]) for p in chosen))
    assert set(found) == set(chosen) and found == sorted(plain, key=lambda place: -plain[place])


def test_without_tokens_or_by_setting_vectors_decide_as_ever() -> None:
    source, query = TokenSource(30), random_query(4)
    ever = PlaceIndex(PlantedSource(30), RetrievalSettings()).search(query.vector, Modality.TEXT)
    off = PlaceIndex(source, RetrievalSettings(late_interaction=False))
    assert off.search(query.vector, Modality.TEXT, tokens=query.tokens) == ever
    assert PlaceIndex(source, RetrievalSettings()).search(query.vector, Modality.TEXT) == ever
    plain_map = PlaceIndex(PlantedSource(30), RetrievalSettings())
    assert plain_map.search(query.vector, Modality.TEXT, tokens=query.tokens) == ever
    late = PlaceIndex(source, RetrievalSettings()).search(query.vector, Modality.TEXT, tokens=query.tokens)
    assert [p.place_id for p in late.places] != [p.place_id for p in ever.places]


def test_late_interaction_keeps_to_the_levels_asked_for() -> None:
    source, query = TokenSource(30), random_query(5)
    index = PlaceIndex(source, RetrievalSettings(top_k=30))
    found = index.search(query.vector, Modality.TEXT, levels=[LevelKey("b", "L1")], tokens=query.tokens).places
    plain = plain_late_ranking(source, query, Modality.TEXT, list(range(1, 30, 2)))
    assert [p.place_id for p in found] == sorted(plain, key=lambda place: -plain[place])


def test_tokens_of_another_length_are_refused() -> None:
    query = random_query(6)
    index = PlaceIndex(TokenSource(8), RetrievalSettings())
    with pytest.raises(RetrievalError, match="tokens: expected 12 or 16 a code, got 9"):
        index.search(query.vector, Modality.TEXT, tokens=query.tokens[:9])
