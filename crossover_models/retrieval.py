"""Scene retrieval: which places of the map fit an embedding, over whatever modalities the map holds of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.config import RetrievalSettings
from crossover_models.estimate import LevelKey, RankedPlace, Retrieval
from crossover_models.index.vector_index import VectorIndex
from crossover_models.likelihood import RetrievalLikelihood
from crossover_models.map_source import PlaceSource
from crossover_models.observation import NO_TOKENS, Code, Modality
from crossover_models.place_shelf import PlaceCatalog, Shelf, gathered, indexed
from crossover_models.places import interior_point
from crossover_models.sets.interaction import Interaction, InteractionError

# Up to so many places all are scored; of more, those that are best in any modality.
SCORED = 4096
# Taken from each modality where not all are scored.
BREADTH = 256
# The best of those places by their vectors are scored by late interaction: about 0.1 ms for each modality of a place.
INTERACTED = 128
# Prior probability that a robot is at no place of the map, in the probabilities of a ranking.
NONE_PRIOR = 0.1
# Places searched first are the fewest that hold this much probability.
LIKELY_MASS = 0.9


# Places whose own codes are told apart by less (20 to 1) are twins to retrieval: that is how often it errs anyhow, by
# the logarithm of belief.retrieval_outliers.
ALIKE_NATS = 3.0
PlaceKey = tuple[LevelKey, str]
Rows = NDArray[np.int64]


class RetrievalError(ValueError):
    """A query that cannot be searched; the message names the field and its value."""


@dataclass(frozen=True)
class _Scores:
    """Scores of places in each modality, absent where a place has no code of it.

    Attributes:
        rows: (n,) places.
        of: modality -> (n,) scores, NaN where absent.
        centers: modality -> what is taken off before modalities are compared.
    """

    rows: Rows
    of: Mapping[Modality, NDArray[np.float64]]
    centers: Mapping[Modality, float]

    def ranked(self) -> tuple[Rows, NDArray[np.float64]]:
        """Order of the rows, best first, and in that order the mean of centered scores over modalities they have."""
        centered = np.stack([scores - self.centers[modality] for modality, scores in self.of.items()])
        held = ~np.isnan(centered)
        fused = np.where(held, centered, 0.0).sum(axis=0) / held.sum(axis=0)
        order = np.argsort(-fused, kind="stable")
        return order, fused[order]

    def detail(self, at: int) -> dict[Modality, float]:
        """Scores of one place (its position in ``rows``) by modality."""
        return {m: float(scores[at]) for m, scores in self.of.items() if not np.isnan(scores[at])}


class PlaceIndex:
    """Places by the cosines of their codes; filters by level apply before the search.

    Args:
        source: the map.
        settings: how to search.
        likelihood: what scores of late interaction are worth; None where that is not known for the map's encoder.
        indexes: of modalities that are too many to be searched exactly, made of the same map.

    Raises:
        IndexFileError: an index is of another map.
    """

    def __init__(
        self,
        source: PlaceSource,
        settings: RetrievalSettings,
        likelihood: RetrievalLikelihood | None = None,
        indexes: Mapping[Modality, VectorIndex] | None = None,
    ) -> None:
        self.settings = settings
        self.likelihood = likelihood
        self.dim = source.embedding_dim
        self._interaction = source.interaction
        self._catalog = PlaceCatalog.of(source)
        self.places = self._catalog.places
        self._number = {level: k for k, level in enumerate(self._catalog.levels)}
        self._shelves: dict[Modality, Shelf] = {}
        self._alike: dict[tuple[PlaceKey, PlaceKey], bool] = {}
        self._inside: dict[int, tuple[float, float]] = {}
        for modality in Modality:
            index = (indexes or {}).get(modality)
            shelf = gathered(source, self._catalog, modality) if index is None else indexed(self._catalog, index)
            if shelf is not None:
                self._shelves[modality] = shelf
        coded = np.zeros(len(self.places), dtype=np.bool_)
        for shelf in self._shelves.values():
            coded[shelf.rows] = True
        # Places that have any code, in the order of levels.
        self._coded = np.flatnonzero(coded)
        self._coded = self._coded[np.argsort(self._catalog.level_of[self._coded], kind="stable")]
        self._coded_level = self._catalog.level_of[self._coded]

    @property
    def modalities(self) -> set[Modality]:
        """What the map has codes of."""
        return set(self._shelves)

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
        numbers = None if levels is None else np.array(sorted(self._number[k] for k in levels if k in self._number))
        scores = self._scored(query, None if numbers is None else numbers.astype(np.int64))
        if scores is None:
            return Retrieval(stamp_ns, query_modality, (), abstained=True)
        order, fused = scores.ranked()
        s, image = self.settings, query_modality == Modality.IMAGE
        temperature = s.image_temperature if image else s.temperature
        nats: NDArray[np.float64] | None = None
        if s.late_interaction and self._interaction is not None and len(tokens):
            asked = Code(query, np.ascontiguousarray(tokens, dtype=np.int8))
            scores = self._interacted(self._interaction, scores.rows[order[:INTERACTED]], asked, query_modality)
            order, fused = scores.ranked()
            temperature = s.late_image_temperature if image else s.late_temperature
            if self.likelihood is not None and self.likelihood.covers(query_modality, scores.centers):
                nats = self._nats(self.likelihood, query_modality, scores)[order]
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
        ranked = tuple(
            self._place(int(scores.rows[at]), float(probability[k]), scores.detail(int(at)))
            for k, at in enumerate(order[: top_k or self.settings.top_k])
        )
        abstained = bool(probability[0] < self.settings.max_abstain_probability)
        told = {
            (self.places[row].key, self.places[row].place_id): value
            for row, value in zip(scores.rows[order].tolist(), nats.tolist(), strict=True)
        }
        return Retrieval(stamp_ns, query_modality, ranked, abstained, told, none_nats)

    def _place(self, row: int, probability: float, detail: dict[Modality, float]) -> RankedPlace:
        place, score = self.places[row], float(np.mean(list(detail.values())))
        if row not in self._inside:
            self._inside[row] = interior_point(place.polygon)
        inside = self._inside[row]
        return RankedPlace(place.key, place.place_id, place.name, place.category, score, probability, inside, detail)

    def _scored(self, query: NDArray[np.float32], levels: Rows | None) -> _Scores | None:
        """Cosines of the places of some levels, of all or of those near the query in any modality."""
        if levels is None:
            rows = self._coded
        else:
            ends = (np.searchsorted(self._coded_level, levels, side=side) for side in ("left", "right"))
            rows = np.concatenate([self._coded[a:b] for a, b in zip(*ends, strict=True)] or [self._coded[:0]])
        if len(rows) > SCORED:
            near = [shelf.near(query, BREADTH, levels) for shelf in self._shelves.values()]
            rows = np.concatenate(near)
        if not len(rows):
            return None
        rows = np.unique(rows)
        of, centers = {}, {}
        for modality, shelf in self._shelves.items():
            center = shelf.mean(query, levels)
            if center is None:
                continue
            slots = shelf.slot_of[rows]
            held = slots >= 0
            of[modality] = np.full(len(rows), np.nan)
            of[modality][held] = np.vecdot(shelf.vectors[slots[held]], query)
            centers[modality] = center
        return _Scores(rows, of, centers)

    def _interacted(self, interaction: Interaction, rows: Rows, query: Code, query_modality: Modality) -> _Scores:
        """Places scored by late interaction in every modality they have; centered by their means."""
        groups, where = [], []
        for modality, shelf in self._shelves.items():
            slots = shelf.slot_of[rows]
            held = slots >= 0
            if held.any():
                groups.append((shelf.vectors[slots[held]], shelf.tokens[slots[held]], modality))
                where.append(held)
        try:
            scores = interaction.scores_each(query, query_modality, groups)
        except InteractionError as error:
            raise RetrievalError(str(error)) from None
        of = {}
        for (_, _, modality), held, values in zip(groups, where, scores, strict=True):
            of[modality] = np.full(len(rows), np.nan)
            of[modality][held] = values
        return _Scores(rows, of, {modality: float(np.nanmean(values)) for modality, values in of.items()})

    @staticmethod
    def _nats(likelihood: RetrievalLikelihood, query_modality: Modality, scores: _Scores) -> NDArray[np.float64]:
        """(n,) what the scores of each place are worth."""
        out = []
        for at in range(len(scores.rows)):
            centered = {m: v - scores.centers[m] for m, v in scores.detail(at).items()}
            out.append(likelihood.nats(query_modality, centered))
        return np.array(out)

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
        row = self._catalog.row_of.get(key, -1)
        out = {}
        for modality, shelf in self._shelves.items():
            if row >= 0 and (slot := shelf.slot_of[row]) >= 0:
                out[modality] = Code(shelf.vectors[slot], shelf.tokens[slot])
        return out

    def likely_regions(self, retrieval: Retrieval) -> list[tuple[LevelKey, tuple[float, float], float]]:
        """The fewest places that together hold ``LIKELY_MASS``, as (level, center (2,) m, radius m) around each."""
        before = np.cumsum([0.0, *(place.probability for place in retrieval.places)])[:-1]
        regions = []
        for place, mass in zip(retrieval.places, before, strict=True):
            if mass < LIKELY_MASS:
                outline = self.places[self._catalog.row_of[place.level, place.place_id]].polygon
                reach = np.linalg.norm(outline - np.array(place.position_xy), axis=1)
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


def _probabilities(scores: NDArray[np.float64], temperature: float, none: float = 0.0) -> NDArray[np.float64]:
    """Softmax of (n,) scores with one more entry, at score ``none`` (0: the average place), for "none of them"."""
    logits = np.append(scores, none) / temperature
    weights = np.exp(logits - logits.max())
    return np.asarray((weights / weights.sum())[:-1], dtype=np.float64)
