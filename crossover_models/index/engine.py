"""FAISS behind the index: building, opening without reading, and searching some rows only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from crossover_models.index.choice import IndexChoice
from crossover_models.index.files import IndexFileError

# Vectors for each inverted list that k-means sees, and its rounds: FAISS warns below 39 vectors.
_TRAINED, _ROUNDS = 40, 8
_CHUNK = 50_000


def build_engine(vectors: NDArray[np.float32], choice: IndexChoice, seed: int = 0) -> Any:
    """An index over rows (n, D), which may be mapped from disk; None where the search is exact.

    Equal vectors, choice and seed make equal indexes on one thread.
    """
    count, dim = vectors.shape
    if choice.kind == "flat":
        return None
    if choice.kind == "hnsw":
        engine: Any = faiss.IndexHNSWFlat(dim, choice.links, faiss.METRIC_INNER_PRODUCT)
        engine.hnsw.efConstruction = choice.construction
    else:
        engine = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dim),
            dim,
            min(choice.lists, count),
            faiss.ScalarQuantizer.QT_8bit,
            faiss.METRIC_INNER_PRODUCT,
        )
        engine.cp.niter, engine.cp.seed = _ROUNDS, seed + 1
        taken = np.random.default_rng(seed).permutation(count)[: _TRAINED * engine.nlist]
        engine.train(np.ascontiguousarray(vectors[np.sort(taken)]))
    for begin in range(0, count, _CHUNK):
        engine.add(np.ascontiguousarray(vectors[begin : begin + _CHUNK]))
    return engine


def open_engine(path: Path, choice: IndexChoice, count: int, dim: int) -> Any:
    """The index of a file, mapped and not read.

    Raises:
        IndexFileError: no FAISS index, or another one.
    """
    flags = faiss.IO_FLAG_MMAP_IFC if choice.kind == "hnsw" else faiss.IO_FLAG_MMAP
    try:
        engine = faiss.read_index(str(path), flags | faiss.IO_FLAG_READ_ONLY)
    except RuntimeError as error:
        raise IndexFileError(f"{path}: damaged: {str(error).splitlines()[0]}") from None
    lists = faiss.downcast_InvertedLists(engine.invlists) if hasattr(engine, "invlists") else None
    if lists is not None and hasattr(lists, "prefetch_nthread"):
        # By default every search starts 32 threads that read ahead, which costs several times the search.
        lists.prefetch_nthread = 0
    if (engine.ntotal, engine.d) != (count, dim):
        raise IndexFileError(f"{path}: holds {engine.ntotal} vectors of {engine.d}, not {count} of {dim}")
    return engine


def gpus() -> int:
    """GPUs that FAISS finds; 0 where it was built without."""
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def gpu_engine(engine: Any) -> Any:
    """A copy on the first GPU that FAISS finds; None where there is none, or the index cannot be there (a graph)."""
    if gpus() < 1 or hasattr(engine, "hnsw"):
        return None
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, engine)


def prepared(choice: IndexChoice, count: int, engine: Any, share: float = 1.0, selector: Any = None) -> Any:
    """Parameters of a search for :func:`near_rows`; making them costs as much as a tenth of a small search.

    Args:
        choice: of the engine.
        count: rows wanted.
        engine: from :func:`build_engine` or :func:`open_engine`.
        share: of the rows that the selector allows: the fewer, the wider is searched.
        selector: :func:`only`'s; None for all rows.
    """
    wider = min(1.0 / max(share, 1e-6), 64.0)
    # FAISS's type stubs know neither the Python constructors of parameters nor their keywords.
    made: Any = faiss
    if choice.kind == "hnsw":
        parameters = made.SearchParametersHNSW(efSearch=int(max(choice.effort, count) * wider))
    else:
        parameters = made.SearchParametersIVF(nprobe=min(int(choice.probes * wider), engine.nlist))
    if selector is not None:
        parameters.sel = selector
    return parameters


def only(bits: NDArray[np.uint8]) -> Any:
    """Selects rows whose bit is set (little-endian); others are passed over inside the search."""
    made: Any = faiss
    return made.IDSelectorBitmap(bits)


def near_rows(engine: Any, query: NDArray[np.float32], count: int, parameters: Any) -> NDArray[np.int64]:
    """Rows near a query (D,), at most ``count``, in no order that matters.

    Args:
        engine: from :func:`build_engine` or :func:`open_engine`.
        query: unit vector.
        count: rows wanted.
        parameters: from :func:`prepared`.
    """
    rows: NDArray[np.int64] = engine.search(query[None], count, params=parameters)[1][0]
    return rows if rows.min() >= 0 else rows[rows >= 0]


def best_rows(vectors: NDArray[np.float32], query: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The best ``count`` of rows (n, D), which may be mapped, without an index."""
    _, rows = faiss.knn(query[None], vectors, count, metric=faiss.METRIC_INNER_PRODUCT)
    return np.asarray(rows[0], dtype=np.int64)
