"""Writing an index: its files first, under names of their own; then the manifest, which makes them the index."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from crossover_models.index.choice import IndexChoice, choose
from crossover_models.index.engine import build_engine, gpus
from crossover_models.index.files import (
    IndexFileError,
    Manifest,
    fresh_names,
    held_manifest,
    marks_of,
    remove_strays,
    write_manifest,
)

_CHUNK = 50_000
# Roles of an index's own files; arrays kept beside have others.
ROLES = ("vectors", "ids", "groups", "engine", "changes")


def write_index(
    folder: Path,
    vectors: NDArray[np.float32],
    groups: NDArray[np.int32] | None,
    ids: NDArray[np.int64] | None,
    digest: str,
    choice: IndexChoice | None,
    beside: Mapping[str, NDArray[Any]],
) -> None:
    """Make a folder the index of vectors (n, D); see :meth:`crossover_models.index.vector_index.VectorIndex.build`.

    Raises:
        IndexFileError: shapes disagree, ids repeat, vectors are not finite, or the folder cannot be made.
    """
    if vectors.ndim != 2 or vectors.shape[1] < 1:
        raise IndexFileError(f"vectors: expected (n, D), got {vectors.shape}")
    count, dim = vectors.shape
    groups = np.zeros(count, dtype=np.int32) if groups is None else np.asarray(groups, dtype=np.int32)
    ids = np.arange(count, dtype=np.int64) if ids is None else np.asarray(ids, dtype=np.int64)
    if groups.shape != (count,) or ids.shape != (count,):
        raise IndexFileError(f"groups, ids: expected ({count},), got {groups.shape} and {ids.shape}")
    if len(np.unique(ids)) != count:
        raise IndexFileError("ids: some occur twice")
    if set(beside) & set(ROLES):
        raise IndexFileError(f"arrays kept beside: {', '.join(sorted(set(beside) & set(ROLES)))} is the index's own")
    choice = choice or choose(count, gpu=gpus() > 0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise IndexFileError(f"{folder}: is not a folder") from None
    # What a build that was killed has left, which may be most of the disk.
    remove_strays(folder, held_manifest(folder))
    roles = dict.fromkeys(("ids", "groups", "vectors", *beside), ".npy")
    if choice.kind != "flat":
        roles["engine"] = ".faiss"
    names = fresh_names(folder, roles)
    order = np.argsort(groups, kind="stable")
    np.save(folder / names["ids"], ids[order])
    np.save(folder / names["groups"], groups[order])
    for role, array in beside.items():
        np.save(folder / names[role], array)
    _write_vectors(folder / names["vectors"], vectors, order)
    engine = build_engine(np.load(folder / names["vectors"], mmap_mode="r" if count else None), choice)
    if engine is not None:
        faiss.write_index(engine, str(folder / names["engine"]))
    marks = marks_of(folder, names.values())
    write_manifest(folder, Manifest(digest, count, dim, choice, names, marks))


def _write_vectors(path: Path, vectors: NDArray[np.float32], order: NDArray[np.int64]) -> None:
    out: Any = np.lib.format.open_memmap(path, mode="w+", dtype="<f4", shape=vectors.shape) if len(order) else None
    if out is None:
        np.save(path, np.zeros(vectors.shape, dtype="<f4"))
        return
    for begin in range(0, len(order), _CHUNK):
        part = np.asarray(vectors[order[begin : begin + _CHUNK]], dtype=np.float32)
        if not np.isfinite(part).all():
            raise IndexFileError("vectors: not all finite")
        out[begin : begin + _CHUNK] = part
    out.flush()
