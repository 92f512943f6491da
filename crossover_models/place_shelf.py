"""One modality of all places of a map, its rows in the order of levels, so that a level is a run of them.

Small maps are held in memory and searched exactly. Large ones have an index on disk (:mod:`crossover_models.index`),
which keeps the rows in the same order and is mapped, not read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.estimate import LevelKey
from crossover_models.index.engine import best_rows
from crossover_models.index.files import IndexFileError
from crossover_models.index.vector_index import VectorIndex
from crossover_models.map_source import PlaceOutline, PlaceSource
from crossover_models.observation import Modality

Rows = NDArray[np.int64]
# Arrays kept beside an index.
TOKENS, SUMS = "tokens", "sums"


@dataclass
class PlaceCatalog:
    """All places of a map by row, and their levels by number; the same for the same map.

    Attributes:
        places: by row.
        levels: by number, in the order in which places name them.
        level_of: (P,) number of each place's level.
        row_of: (level, place id) -> row.
    """

    places: list[PlaceOutline] = field(default_factory=list)
    levels: list[LevelKey] = field(default_factory=list)
    level_of: Rows = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    row_of: dict[tuple[LevelKey, str], int] = field(default_factory=dict)
    _by_building: dict[str, dict[str, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, source: PlaceSource) -> PlaceCatalog:
        """List the places of a map."""
        out = cls()
        number: dict[LevelKey, int] = {}
        level_of = []
        for place in source.places():
            rows = out._by_building.setdefault(place.key.building_id, {})
            rows[place.place_id] = out.row_of[place.key, place.place_id] = len(out.places)
            out.places.append(place)
            level_of.append(number.setdefault(place.key, len(number)))
        out.levels = list(number)
        out.level_of = np.array(level_of, dtype=np.int64)
        return out

    def row_in(self, building_id: str, place_id: str) -> int:
        """Row of a place of a building."""
        return self._by_building[building_id][place_id]


@dataclass(frozen=True)
class Shelf:
    """Codes of one modality.

    Attributes:
        rows: (n,) place of each code.
        vectors: (n, D) unit vectors.
        tokens: (n, T); T is 0 where codes are vectors alone.
        begins: (L + 1,): level k has the codes from ``begins[k]`` to ``begins[k + 1]``.
        sums: (L, D) sum of the vectors of each level.
        slot_of: (P,) code of each place, -1 where it has none.
        index: over the same rows; None where they are few enough to be searched exactly.
    """

    rows: Rows
    vectors: NDArray[np.float32]
    tokens: NDArray[np.int8]
    begins: Rows
    sums: NDArray[np.float64]
    slot_of: Rows
    index: VectorIndex | None = None

    def near(self, query: NDArray[np.float32], count: int, levels: Rows | None) -> Rows:
        """Places (rows) of the best codes for a query (D,), at most ``count``, on some levels (numbers; None: all)."""
        if self.index is not None:
            return self.index.search(query, count, None if levels is None else levels.tolist())[0]
        if levels is None:
            return np.asarray(self.rows[best_rows(self.vectors, query, min(count, len(self.rows)))])
        slots = _runs(self.begins, levels)
        return np.asarray(self.rows[slots[best_rows(self.vectors[slots], query, min(count, len(slots)))]])

    def mean(self, query: NDArray[np.float32], levels: Rows | None) -> float | None:
        """Mean cosine of the query over all codes of some levels; None where there are none."""
        sums = self.sums if levels is None else self.sums[levels]
        counts = np.diff(self.begins) if levels is None else np.diff(self.begins)[levels]
        total = int(counts.sum())
        return float(sums.sum(axis=0) @ query) / total if total else None


def _runs(begins: Rows, levels: Rows) -> Rows:
    return np.concatenate([np.arange(begins[k], begins[k + 1]) for k in levels.tolist()] or [np.zeros(0, np.int64)])


def gathered(source: PlaceSource, catalog: PlaceCatalog, modality: Modality) -> Shelf | None:
    """Read the codes of a modality into memory; None where the map has none."""
    rows: list[int] = []
    vectors, tokens = [], []
    for building_id in source.building_ids():
        ids, matrix = source.embeddings(building_id, modality)
        if ids:
            rows += [catalog.row_in(building_id, place_id) for place_id in ids]
            vectors.append(matrix)
            tokens.append(source.tokens(building_id, modality))
    if not rows:
        return None
    placed = np.array(rows, dtype=np.int64)
    order = np.argsort(catalog.level_of[placed], kind="stable")
    matrix = np.ascontiguousarray(np.concatenate(vectors)[order], dtype=np.float32)
    return _shelf(catalog, placed[order], matrix, np.concatenate(tokens)[order], _sums(catalog, placed[order], matrix))


def indexed(catalog: PlaceCatalog, index: VectorIndex) -> Shelf:
    """The codes of an index that :func:`write_index` made of the same map, mapped.

    Raises:
        IndexFileError: it is of another map.
    """
    rows = index.ids
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(catalog.places):
        raise IndexFileError(f"{index.folder}: holds place {int(rows.max())} of {len(catalog.places)}; build it again")
    tokens = index.beside(TOKENS, (len(rows), -1), "|i1")
    sums = index.beside(SUMS, (len(catalog.levels), index.dim), "<f8")
    return _shelf(catalog, rows, index.vectors, tokens, sums, index)


def write_index(shelf: Shelf, catalog: PlaceCatalog, folder: Path, digest: str) -> VectorIndex:
    """Make an index of a shelf, with tokens and sums beside it."""
    groups = catalog.level_of[shelf.rows].astype(np.int32)
    beside: dict[str, NDArray[Any]] = {TOKENS: shelf.tokens, SUMS: shelf.sums}
    return VectorIndex.build(folder, shelf.vectors, groups, shelf.rows, digest, beside=beside)


def _sums(catalog: PlaceCatalog, rows: Rows, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    begins = _begins(catalog, rows)
    return np.stack([vectors[a:b].sum(axis=0, dtype=np.float64) for a, b in pairwise(begins.tolist())])


def _begins(catalog: PlaceCatalog, rows: Rows) -> Rows:
    return np.searchsorted(catalog.level_of[rows], np.arange(len(catalog.levels) + 1))


def _shelf(
    catalog: PlaceCatalog,
    rows: Rows,
    vectors: NDArray[np.float32],
    tokens: NDArray[np.int8],
    sums: NDArray[np.float64],
    index: VectorIndex | None = None,
) -> Shelf:
    slot_of = np.full(len(catalog.places), -1, dtype=np.int64)
    slot_of[rows] = np.arange(len(rows))
    return Shelf(rows, vectors, tokens, _begins(catalog, rows), sums, slot_of, index)
