"""The index over unit vectors: rows sorted by group, so that a building or a level is a run of rows on disk."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from crossover_models.index.choice import FLAT_PLACES, IndexChoice
from crossover_models.index.engine import best_rows, gpu_engine, near_rows, only, open_engine, prepared
from crossover_models.index.files import (
    IndexFileError,
    Manifest,
    fresh_names,
    mapped,
    marks_of,
    read_manifest,
    write_manifest,
)
from crossover_models.index.writing import ROLES, write_index

# Added and removed rows, as a share of all, after which the index asks to be compacted.
CHANGED_SHARE = 0.2
# A run of rows from which so many are wanted, at least, is worth a search of its own.
_RUN = 32


class VectorIndex:
    """Inner-product search over unit vectors (n, D) in a folder, opened by mapping. Use :meth:`build` or :meth:`open`.

    Each vector has an id (any int64, unique) and a group (int32: a level of a building, say). Vectors added later are
    searched exactly beside the index and removed ones are left out inside its search, until :meth:`compact` builds it
    anew. Not for two threads at once while it changes.

    Attributes:
        folder: where it lies.
        dim: length D of its vectors.
        choice: kind and parameters.
        digest: of the content that it indexes.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.dim, self.choice, self.digest = folder, manifest.dim, manifest.choice, manifest.digest
        self._manifest = manifest
        n, files = manifest.count, manifest.files
        if missing := {"vectors", "ids", "groups"} - set(files):
            raise IndexFileError(f"{folder}: damaged: no {', '.join(sorted(missing))}")
        # Plain views: every slice of a memmap object costs microseconds.
        self._vectors: NDArray[np.float32] = np.asarray(mapped(folder / files["vectors"], (n, self.dim), "<f4"))
        self._ids: NDArray[np.int64] = np.asarray(mapped(folder / files["ids"], (n,), "<i8"))
        self._groups: NDArray[np.int32] = np.array(mapped(folder / files["groups"], (n,), "<i4"))
        if (self.choice.kind == "flat") == ("engine" in files):
            raise IndexFileError(f"{folder}: damaged: kind {self.choice.kind}, files {sorted(files)}")
        self._engine = open_engine(folder / files["engine"], self.choice, n, self.dim) if "engine" in files else None
        self._gpu = None if self._engine is None else gpu_engine(self._engine)
        self._removed, self._any_removed = np.zeros(n, dtype=np.bool_), False
        self._row_of: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
        self._selected: dict[tuple[frozenset[int] | None, int], tuple[Any, ...]] = {}
        self._added_vectors = np.zeros((0, self.dim), dtype=np.float32)
        self._added_ids = np.zeros(0, dtype=np.int64)
        self._added_groups = np.zeros(0, dtype=np.int32)
        if "changes" in files:
            self._read_changes(folder / files["changes"])

    @classmethod
    def build(
        cls,
        folder: Path | str,
        vectors: NDArray[np.float32],
        groups: NDArray[np.int32] | None = None,
        ids: NDArray[np.int64] | None = None,
        digest: str = "",
        choice: IndexChoice | None = None,
        beside: Mapping[str, NDArray[Any]] | None = None,
    ) -> Self:
        """Write an index and open it; one that was there is replaced when the new one is whole.

        Killed at any moment, the folder holds the old index or the new one. One process at a time.

        Args:
            folder: to make.
            vectors: (n, D) unit vectors; may be mapped from disk, they are read in pieces.
            groups: (n,) by which searches are filtered; None: all one.
            ids: (n,) unique; None: row numbers.
            digest: of the content, by which a stale index is known.
            choice: None: by the number of vectors.
            beside: arrays kept with the index by name, see :meth:`beside`.

        Raises:
            IndexFileError: shapes disagree, ids repeat, vectors are not finite, or ``folder`` is a file.
        """
        write_index(Path(folder), vectors, groups, ids, digest, choice, beside or {})
        return cls.open(folder, digest, vectors.shape[1])

    @classmethod
    def open(cls, folder: Path | str, digest: str | None = None, dim: int | None = None) -> Self:
        """Map an index; nothing is read but ids' groups.

        Raises:
            StaleIndexError: it indexes another content than ``digest``.
            IndexFileError: missing, damaged, truncated, or of another vector length than ``dim``.
        """
        folder = Path(folder)
        return cls(folder, read_manifest(folder, digest, dim))

    def __len__(self) -> int:
        return len(self._ids) - int(self._removed.sum()) + len(self._added_ids)

    @property
    def bytes_on_disk(self) -> int:
        """Size of the index's files, byte."""
        return sum(mark.size for mark in self._manifest.marks.values())

    def path(self, role: str) -> Path:
        """File of a role: "vectors", "ids", "groups", "engine", "changes", or the name of an array kept beside.

        Raises:
            IndexFileError: there is none.
        """
        if role not in self._manifest.files:
            raise IndexFileError(f"{self.folder}: holds no {role}; build the index again")
        return self.folder / self._manifest.files[role]

    def beside(self, name: str, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
        """An array kept with the index, mapped; -1 in ``shape`` stands for any length.

        Raises:
            IndexFileError: none of that name, shape and type.
        """
        return np.asarray(mapped(self.path(name), shape, kind))

    @property
    def ids(self) -> NDArray[np.int64]:
        """(n,) ids of the rows as built, mapped: groups in ascending order, and within a group as given."""
        return self._ids

    @property
    def vectors(self) -> NDArray[np.float32]:
        """(n, D) of the same rows, mapped."""
        return self._vectors

    @property
    def wants_compaction(self) -> bool:
        """Whether so much changed that searches pay for it."""
        changed = len(self._added_ids) + int(self._removed.sum())
        return changed > CHANGED_SHARE * max(len(self._ids), FLAT_PLACES)

    def search(
        self, query: NDArray[np.float32], count: int, groups: Collection[int] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids (m,) and exact cosines (m,) of the best vectors of some groups, best first; equal ones by id.

        Only vectors of these groups are searched: exactly where they are few, inside the index otherwise.

        Args:
            query: (D,) unit vector.
            count: at most so many.
            groups: search these; None for all.

        Raises:
            ValueError: wrong length or not finite.
        """
        query = np.ascontiguousarray(query, dtype=np.float32)
        if query.shape != (self.dim,) or not math.isfinite(query @ query):
            raise ValueError(f"query: expected {self.dim} finite numbers, got {query.shape}")
        runs = self._runs(groups)
        if self._engine is None or sum(end - begin for begin, end in runs) <= FLAT_PLACES:
            rows = self._best(query, count, runs)
        else:
            rows = self._near(query, count if self.choice.kind == "hnsw" else max(count, self.choice.refined), groups)
        # Row by row: a product of matrices may sum equal rows in different orders, and the id would not decide.
        score = np.vecdot(self._vectors[rows], query)
        ids = self._ids[rows]
        if len(self._added_ids):
            wanted = slice(None) if groups is None else np.isin(self._added_groups, list(groups))
            ids = np.concatenate([ids, self._added_ids[wanted]])
            score = np.concatenate([score, np.vecdot(self._added_vectors[wanted], query)])
        best = np.lexsort((ids, -score))[:count]
        return np.asarray(ids[best]), np.asarray(score[best])

    def add(
        self, ids: NDArray[np.int64], vectors: NDArray[np.float32], groups: NDArray[np.int32] | None = None
    ) -> None:
        """Add vectors (m, D); searched at once.

        Raises:
            IndexFileError: shapes disagree, a vector is not finite, or an id is there already.
        """
        ids = np.asarray(ids, dtype=np.int64)
        groups = np.zeros(len(ids), dtype=np.int32) if groups is None else np.asarray(groups, dtype=np.int32)
        if vectors.shape != (len(ids), self.dim) or groups.shape != ids.shape or not np.isfinite(vectors).all():
            raise IndexFileError(f"vectors: expected ({len(ids)}, {self.dim}) finite numbers, got {vectors.shape}")
        rows = self._rows(ids)
        there = (rows >= 0) & ~self._removed[rows] if len(self._ids) else np.zeros(len(ids), dtype=np.bool_)
        there |= np.isin(ids, self._added_ids)
        if there.any() or len(np.unique(ids)) != len(ids):
            raise IndexFileError(f"ids: {ids[there][0] if there.any() else 'one'} is there already")
        self._added_ids = np.concatenate([self._added_ids, ids])
        self._added_groups = np.concatenate([self._added_groups, groups])
        self._added_vectors = np.concatenate([self._added_vectors, np.asarray(vectors, dtype=np.float32)])

    def remove(self, ids: NDArray[np.int64]) -> int:
        """Remove vectors by id; how many there were."""
        ids = np.unique(np.asarray(ids, dtype=np.int64))
        rows = self._rows(ids)
        rows = rows[rows >= 0]
        before = len(self)
        self._removed[rows] = True
        self._any_removed = bool(self._removed.any())
        kept = ~np.isin(self._added_ids, ids)
        self._added_ids, self._added_groups = self._added_ids[kept], self._added_groups[kept]
        self._added_vectors = self._added_vectors[kept]
        self._selected.clear()
        return before - len(self)

    def save(self, digest: str | None = None) -> None:
        """Write what was added and removed beside the index, and the digest of the content that it stands for now."""
        self.digest = self.digest if digest is None else digest
        name = fresh_names(self.folder, {"changes": ".npz"})["changes"]
        with (self.folder / name).open("wb") as out:
            np.savez(
                out,
                removed=np.flatnonzero(self._removed),
                ids=self._added_ids,
                groups=self._added_groups,
                vectors=self._added_vectors,
            )
        held = self._manifest
        marks = {k: v for k, v in held.marks.items() if k != held.files.get("changes")}
        self._manifest = replace(
            held,
            digest=self.digest,
            files={**held.files, "changes": name},
            marks=marks | marks_of(self.folder, [name]),
        )
        write_manifest(self.folder, self._manifest)

    def compact(self) -> Self:
        """The same content built anew, without what was removed; use the index returned.

        Raises:
            IndexFileError: arrays are kept beside, which may mean the rows that go.
        """
        if kept_beside := sorted(set(self._manifest.files) - set(ROLES)):
            raise IndexFileError(f"{self.folder}: {', '.join(kept_beside)} beside the index: build it again")
        kept = np.flatnonzero(~self._removed)
        vectors = np.concatenate([self._vectors[kept], self._added_vectors])
        groups = np.concatenate([self._groups[kept], self._added_groups])
        ids = np.concatenate([self._ids[kept], self._added_ids])
        return type(self).build(self.folder, vectors, groups, ids, self.digest)

    def _best(self, query: NDArray[np.float32], count: int, runs: list[tuple[int, int]]) -> NDArray[np.int64]:
        """Rows that hold the exact best of some runs, and all that equal the last of them."""
        total = sum(end - begin for begin, end in runs)
        if total > 8 * count and len(runs) <= total // (_RUN * count) and not self._any_removed:
            # One more than is wanted: where the last two are equal, which one is taken must not be chance.
            found = [
                begin + best_rows(self._vectors[begin:end], query, min(count + 1, end - begin)) for begin, end in runs
            ]
            rows = np.concatenate(found)
            score = self._vectors[rows] @ query
            if len(runs) > 1:
                best = np.argpartition(-score, count)[: count + 1]
                rows, score = rows[best], score[best]
            lowest = np.partition(score, 1)
            if lowest[0] < lowest[1] - 1e-6:
                return rows
        rows = np.concatenate([np.arange(*run) for run in runs]) if runs else np.zeros(0, dtype=np.int64)
        scores = [self._vectors[begin:end] @ query for begin, end in runs]
        score = np.concatenate(scores) if scores else np.zeros(0, dtype=np.float32)
        if self._any_removed:
            kept = ~self._removed[rows]
            rows, score = rows[kept], score[kept]
        if len(score) > 8 * count:
            # Those as good as the last one taken stay, so that equal scores are ordered by id.
            close = score >= np.partition(score, len(score) - count)[len(score) - count] - 1e-6
            rows = rows[close]
        return rows

    def _near(self, query: NDArray[np.float32], count: int, groups: Collection[int] | None) -> NDArray[np.int64]:
        everything = groups is None and not self._any_removed
        engine = (self._gpu or self._engine) if everything else self._engine
        key = None if groups is None else frozenset(groups), count
        if key not in self._selected:
            if len(self._selected) >= 16:
                self._selected.clear()
            if everything:
                self._selected[key] = (prepared(self.choice, count, engine),)
            else:
                allowed = np.zeros(len(self._ids), dtype=np.bool_)
                for begin, end in self._runs(groups):
                    allowed[begin:end] = True
                allowed &= ~self._removed
                # FAISS keeps no reference to bits and selector: they are kept beside the parameters.
                bits = np.packbits(allowed, bitorder="little")
                selector = only(bits)
                share = allowed.sum() / len(allowed)
                self._selected[key] = prepared(self.choice, count, engine, share, selector), selector, bits
        return near_rows(engine, query, count, self._selected[key][0])

    def _runs(self, groups: Collection[int] | None) -> list[tuple[int, int]]:
        """Runs of rows [begin, end) of the groups."""
        if groups is None:
            return [(0, len(self._ids))]
        asked = np.array(sorted(set(groups)), dtype=np.int32)
        begin, end = (np.searchsorted(self._groups, asked, side=side) for side in ("left", "right"))
        runs: list[tuple[int, int]] = []
        for a, b in zip(begin.tolist(), end.tolist(), strict=True):
            if runs and runs[-1][1] == a:
                runs[-1] = runs[-1][0], b
            elif b > a:
                runs.append((a, b))
        return runs

    def _rows(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of each id in the index, -1 where it has none."""
        if not len(self._ids):
            return np.full(len(ids), -1, dtype=np.int64)
        if self._row_of is None:
            order = np.argsort(self._ids, kind="stable")
            self._row_of = order, np.asarray(self._ids)[order]
        order, held = self._row_of
        at = np.minimum(np.searchsorted(held, ids), len(held) - 1)
        return np.where(held[at] == ids, order[at], -1)

    def _read_changes(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as held:
                self._removed[held["removed"]] = True
                self._any_removed = bool(self._removed.any())
                self._added_ids, self._added_groups = held["ids"], held["groups"]
                self._added_vectors = held["vectors"]
        except (OSError, ValueError, KeyError, IndexError, EOFError) as error:
            raise IndexFileError(f"{path}: damaged: {error}") from None
        if self._added_vectors.shape != (len(self._added_ids), self.dim):
            raise IndexFileError(f"{path}: damaged: vectors {self._added_vectors.shape}")
