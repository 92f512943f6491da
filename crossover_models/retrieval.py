"""Scene retrieval: which places of the map fit an embedding, over whatever modalities the map holds of each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from crossover_models.config import RetrievalSettings
from crossover_models.estimate import LevelKey, RankedPlace, Retrieval
from crossover_models.likelihood import RetrievalLikelihood
from crossover_models.map_source import PlaceOutline, PlaceSource
from crossover_models.observation import NO_TOKENS, Code, Modality
from crossover_models.places import interior_point
from crossover_models.sets.interaction import Interaction, InteractionError

# Candidates taken from each exact index; all of them are then scored in every modality they have.
BREADTH = 64
# The best of those places by their vectors are scored by late interaction: about 0.1 ms for each modality of a place.
INTERACTED = 128
# Prior probability that a robot is at no place of the map, in the probabilities of a ranking.
NONE_PRIOR = 0.1
# Places searched first are the fewest that hold this much probability.
LIKELY_MASS = 0.9


# Places whose own codes are told apart by less (20 to 1) are twins to retrieval: that is how often it errs anyhow.
ALIKE_NATS = 3.0
PlaceKey = tuple[LevelKey, str]


class RetrievalError(ValueError):
    """A query that cannot be searched; the message names the field and its value."""


@dataclass(frozen=True)
class _Shard:
    """One modality of one level: place rows (n,), vectors (n, D), tokens (n, T); and the exact index over vectors."""

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]
    vector_sum: NDArray[np.float64]
    index: Any
    tokens: NDArray[np.int8]


@dataclass(frozen=True)
class _Scored:
    """Scores of one modality of some places of one level, by row."""

    modality: Modality
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


class PlaceIndex:
    """Exact inner-product indexes, one for each level and modality, so that a filter is applied before the search.

    Args:
        source: the map.
        settings: how to search.
        likelihood: what scores of late interaction are worth; None where that is not known for the map's encoder.
    """

    def __init__(
        self, source: PlaceSource, settings: RetrievalSettings, likelihood: RetrievalLikelihood | None = None
    ) -> None:
        self.settings = settings
        self.likelihood = likelihood
        self.dim = source.embedding_dim
        self._interaction = source.interaction
        self.places: list[PlaceOutline] = []
        self._positions: list[tuple[float, float]] = []
        self._shards: dict[LevelKey, dict[Modality, _Shard]] = {}
        self.modalities: set[Modality] = set()
        self._alike: dict[tuple[PlaceKey, PlaceKey], bool] = {}
        for building_id in source.building_ids():
            self._add_building(source, building_id)

    def _add_building(self, source: PlaceSource, building_id: str) -> None:
        row_of: dict[str, int] = {}
        for place in source.places(building_id):
            row_of[place.place_id] = len(self.places)
            self.places.append(place)
            self._positions.append(interior_point(place.polygon))
        for modality in Modality:
            ids, vectors = source.embeddings(building_id, modality)
            if not ids:
                continue
            self.modalities.add(modality)
            tokens = source.tokens(building_id, modality)
            rows = np.array([row_of[place_id] for place_id in ids], dtype=np.int64)
            levels = [self.places[row].key for row in rows]
            for level in dict.fromkeys(levels):
                member = np.array([key == level for key in levels])
                shard = np.ascontiguousarray(vectors[member], dtype=np.float32)
                self._shards.setdefault(level, {})[modality] = _Shard(
                    rows[member], shard, shard.sum(axis=0, dtype=np.float64), _exact_index(shard), tokens[member]
                )

    def search(
        self,
        vector: NDArray[np.float32],
        query_modality: Modality,
        stamp_ns: int = 0,
        levels: Collection[LevelKey] | None = None,
        top_k: int = 0,
        tokens: NDArray[np.int8] = NO_TOKENS,
    ) -> Retrieval:
        """Rank places for a unit vector (D,), and tokens where the query's encoder makes some.

        A place's score is the mean over the modalities that the map has of it, each cosine first centered by that
        modality's mean over the places searched (the gap between modalities is not evidence). Probabilities are the
        softmax of the scores over the query modality's temperature, with the mean score standing for "none of them".

        Where query and map have tokens (and the setting asks for it), the best places by their vectors are scored once
        more by late interaction, centered over the places scored. These scores become nats by the weights that were
        fitted for each pair of modalities, and probabilities by Bayes' rule; without such weights, by a temperature.

        Args:
            vector: (D,) float32, unit norm.
            query_modality: what made it, for the record.
            stamp_ns: stamp of its sensor data, for the record.
            levels: search only these; None for all.
            top_k: places returned; 0 for the setting.
            tokens: (T,) int8 of the query; empty for none.

        Raises:
            RetrievalError: wrong length, not finite, or no norm; tokens of another length than the map's.
        """
        query = self._checked(vector)
        shards = [shard for level, shard in self._shards.items() if levels is None or level in levels]
        scored = [entry for by_modality in shards for entry in _scored_candidates(by_modality, query)]
        if not scored:
            return Retrieval(stamp_ns, query_modality, (), abstained=True)
        order, fused, detail = _fused(scored, _mean_scores(shards, query))
        s, image = self.settings, query_modality == Modality.IMAGE
        temperature = s.image_temperature if image else s.temperature
        nats: NDArray[np.float64] | None = None
        if s.late_interaction and self._interaction is not None and len(tokens):
            asked = Code(query, np.ascontiguousarray(tokens, dtype=np.int8))
            rescored = _interacted(self._interaction, shards, order[:INTERACTED], asked, query_modality)
            center = _means(rescored)
            order, fused, detail = _fused(rescored, center)
            temperature = s.late_image_temperature if image else s.late_temperature
            if self.likelihood is not None and self.likelihood.covers(query_modality, center):
                nats = np.array(
                    [
                        self.likelihood.nats(query_modality, {m: v - center[m] for m, v in detail[row].items()})
                        for row in order.tolist()
                    ]
                )
                best_first = np.argsort(-nats, kind="stable")
                order, nats = order[best_first], nats[best_first]
        none_nats = 0.0
        if nats is not None and self.likelihood is not None:
            none_nats = self.likelihood.none.get(query_modality, 0.0)
            prior = none_nats + float(np.log(NONE_PRIOR / (1.0 - NONE_PRIOR)))
            probability = _probabilities(nats - np.log(len(nats)), 1.0, prior)
        else:
            probability = _probabilities(fused, temperature)
            nats = s.uncalibrated_weight * fused / temperature
        kept = order[: top_k or self.settings.top_k]
        ranked = tuple(
            RankedPlace(
                self.places[row].key,
                self.places[row].place_id,
                self.places[row].name,
                self.places[row].category,
                float(np.mean(list(detail[row].values()))),
                float(probability[k]),
                self._positions[row],
                detail[row],
            )
            for k, row in enumerate(kept.tolist())
        )
        abstained = bool(probability[0] < self.settings.max_abstain_probability)
        told = {
            (self.places[row].key, self.places[row].place_id): value
            for row, value in zip(order.tolist(), nats.tolist(), strict=True)
        }
        return Retrieval(stamp_ns, query_modality, ranked, abstained, told, none_nats)

    def alike(self, place: PlaceKey, other: PlaceKey) -> bool:
        """Whether the map's own codes of two places cannot be told apart: as a robot's looks, they fit both.

        What a look then says for one of them and against the other is chance: twins differ by their survey's noise.
        False where codes have no tokens or scores no weights.
        """
        if place == other:
            return True
        pair = min(place, other), max(place, other)
        if pair not in self._alike:
            self._alike[pair] = self._most_apart(*pair) < ALIKE_NATS
        return self._alike[pair]

    def _most_apart(self, place: PlaceKey, other: PlaceKey) -> float:
        """By how many nats a place explains its own code better than another one does; the larger of both and kinds."""
        if self._interaction is None or self.likelihood is None:
            return float("inf")
        codes = [self._codes(key) for key in (place, other)]
        shared = [modality for modality in codes[0] if modality in codes[1]]
        apart = []
        for query in (Modality.POINT_CLOUD, Modality.IMAGE):
            if query not in shared or not self.likelihood.covers(query, shared):
                continue
            for mine, its in (codes, codes[::-1]):
                if not len(mine[query].tokens):
                    return float("inf")
                asked = self._interaction.prepared(mine[query])
                both = {
                    m: self._interaction.scores(
                        asked,
                        query,
                        np.stack([mine[m].vector, its[m].vector]),
                        np.stack([mine[m].tokens, its[m].tokens]),
                        m,
                    )
                    for m in shared
                }
                apart.append(self.likelihood.nats(query, {m: float(s[0] - s[1]) for m, s in both.items()}))
        return max(apart, default=float("inf"))

    def _codes(self, key: PlaceKey) -> dict[Modality, Code]:
        out = {}
        for modality, shard in self._shards.get(key[0], {}).items():
            for k, row in enumerate(shard.rows.tolist()):
                if self.places[row].place_id == key[1]:
                    out[modality] = Code(shard.vectors[k], shard.tokens[k])
        return out

    def likely_regions(self, retrieval: Retrieval) -> list[tuple[LevelKey, tuple[float, float], float]]:
        """The fewest places that together hold ``LIKELY_MASS``, as (level, center (2,) m, radius m) around each."""
        before = np.cumsum([0.0, *(place.probability for place in retrieval.places)])[:-1]
        outlines = {(place.key, place.place_id): place.polygon for place in self.places}
        regions = []
        for place, mass in zip(retrieval.places, before, strict=True):
            if mass < LIKELY_MASS:
                reach = np.linalg.norm(outlines[place.level, place.place_id] - np.array(place.position_xy), axis=1)
                regions.append((place.level, place.position_xy, float(reach.max()) + 1.0))
        return regions

    def _checked(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        query = np.ascontiguousarray(vector, dtype=np.float32)
        if query.shape != (self.dim,):
            raise RetrievalError(f"vector: expected {self.dim} numbers as in the database, got {query.shape}")
        norm = float(np.linalg.norm(query))
        if not np.isfinite(norm) or norm < 1e-6:
            raise RetrievalError(f"vector: norm must be finite and positive, got {norm}")
        return query / np.float32(norm)


def _exact_index(vectors: NDArray[np.float32]) -> Any:
    """Flat inner-product index; on a GPU where faiss finds one."""
    index: Any = faiss.IndexFlatIP(vectors.shape[1])
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0:
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    index.add(vectors)
    return index


def _mean_scores(shards: Sequence[dict[Modality, _Shard]], query: NDArray[np.float32]) -> dict[Modality, float]:
    """Mean cosine of the query over all places searched, by modality."""
    sums: dict[Modality, NDArray[np.float64]] = {}
    counts: dict[Modality, int] = {}
    for by_modality in shards:
        for modality, shard in by_modality.items():
            sums[modality] = sums.get(modality, np.zeros(len(query))) + shard.vector_sum
            counts[modality] = counts.get(modality, 0) + len(shard.rows)
    return {modality: float(total @ query) / counts[modality] for modality, total in sums.items()}


def _scored_candidates(by_modality: dict[Modality, _Shard], query: NDArray[np.float32]) -> Iterator[_Scored]:
    """Places near the query in any modality of a level, scored in every modality they have."""
    found = [
        shard.rows[shard.index.search(query[None], min(BREADTH, len(shard.rows)))[1][0]]
        for shard in by_modality.values()
    ]
    candidates = np.unique(np.concatenate(found))
    for modality, shard in by_modality.items():
        member = np.isin(shard.rows, candidates)
        yield _Scored(modality, shard.rows[member], shard.vectors[member] @ query)


def _interacted(
    interaction: Interaction,
    shards: Sequence[dict[Modality, _Shard]],
    places: NDArray[np.int64],
    query: Code,
    query_modality: Modality,
) -> list[_Scored]:
    """Places (rows) scored by late interaction in every modality they have."""
    out = []
    try:
        prepared = interaction.prepared(query)
        for by_modality in shards:
            for modality, shard in by_modality.items():
                member = np.isin(shard.rows, places)
                if member.any():
                    codes = shard.vectors[member], shard.tokens[member]
                    scores = interaction.scores(prepared, query_modality, *codes, modality)
                    out.append(_Scored(modality, shard.rows[member], scores))
    except InteractionError as error:
        raise RetrievalError(str(error)) from None
    return out


def _means(scored: Sequence[_Scored]) -> dict[Modality, float]:
    """Mean score by modality over all places scored."""
    by_modality: dict[Modality, list[NDArray[np.float32]]] = {}
    for entry in scored:
        by_modality.setdefault(entry.modality, []).append(entry.scores)
    return {modality: float(np.concatenate(parts).mean()) for modality, parts in by_modality.items()}


def _fused(
    scored: Sequence[_Scored], center: dict[Modality, float]
) -> tuple[NDArray[np.int64], NDArray[np.float64], dict[int, dict[Modality, float]]]:
    """Rows of places, best first; their mean centered scores; their scores by modality."""
    total: dict[int, float] = {}
    detail: dict[int, dict[Modality, float]] = {}
    for entry in scored:
        for row, score in zip(entry.rows.tolist(), entry.scores.tolist(), strict=True):
            total[row] = total.get(row, 0.0) + score - center[entry.modality]
            detail.setdefault(row, {})[entry.modality] = score
    order = np.array(sorted(total, key=lambda row: total[row] / len(detail[row]), reverse=True))
    fused = np.array([total[row] / len(detail[row]) for row in order.tolist()])
    return order, fused, detail


def _probabilities(scores: NDArray[np.float64], temperature: float, none: float = 0.0) -> NDArray[np.float64]:
    """Softmax of (n,) scores with one more entry, at score ``none`` (0: the average place), for "none of them"."""
    logits = np.append(scores, none) / temperature
    weights = np.exp(logits - logits.max())
    return np.asarray((weights / weights.sum())[:-1], dtype=np.float64)
