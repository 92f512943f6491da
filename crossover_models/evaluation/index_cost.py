"""``crossover bench index``: recall, time, size and opening of the index over places, beside plain FAISS.

Vectors are simulated (:mod:`crossover_models.index.planted_codes`). What was built stays in a folder: repeating an
interrupted command goes on with it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover_models.threads import use_threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from crossover_models.index.vector_index import VectorIndex

TARGETS = {"recall_at_10": 0.99, "p50_ms_1M": 1.5, "open_s": 1.0, "over_faiss": 1.1}
NEIGHBORS = 10
GROUPS_OF = 100


class IndexCostError(ValueError):
    """A size that cannot be measured; the message names it."""


def add_command(subparsers: Any) -> None:
    """Add the benchmark to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "index",
        help="recall, time, size and opening of the index over places, beside plain FAISS",
        description="Builds the index over simulated codes and compares it with brute force and, search by search in "
        "turn, with plain FAISS of the same parameters, on one thread. Repeating the command goes on.",
    )
    parser.add_argument("--json", type=Path, required=True, help="file to write the figures to")
    parser.add_argument("--places", type=int, default=100_000, metavar="N", help="vectors (100000)")
    parser.add_argument("--dimensions", type=int, default=256, metavar="D", help="of a vector (256)")
    parser.add_argument("--kind", choices=("flat", "hnsw", "ivf"), default="", help="default: by the number of places")
    parser.add_argument("--queries", type=int, default=200, metavar="N", help="searches (200)")
    parser.add_argument("--out", type=Path, default=Path("build/index"), help="folder of indexes (build/index)")
    parser.add_argument("--seed", type=int, default=0, help="of vectors and queries (0)")
    parser.set_defaults(run=run, resumes=True)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover bench index``."""
    import faiss

    if not 100 <= arguments.places <= 100_000_000:
        raise IndexCostError(f"--places: must be in 100..100000000, got {arguments.places}")
    if not 8 <= arguments.dimensions <= 4096 or not 1 <= arguments.queries <= arguments.places:
        raise IndexCostError("--dimensions, --queries: must be in 8..4096 and 1..places")
    use_threads(1)
    faiss.omp_set_num_threads(1)
    result = measure(arguments)
    _print(result)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Build or go on with an index, and measure it."""
    import numpy as np

    from crossover_models.index.choice import FLAT_PLACES, choose
    from crossover_models.index.planted_codes import PlantedCodes
    from crossover_models.index.vector_index import VectorIndex

    n, dim = arguments.places, arguments.dimensions
    choice = choose(n, kind=arguments.kind)
    if choice.kind != "flat" and n <= FLAT_PLACES:
        raise IndexCostError(f"--kind: up to {FLAT_PLACES} places are searched exactly, got {choice.kind}")
    name = f"{n}-{dim}-{choice.kind}-{arguments.seed}"
    folder, drawn = arguments.out / name, arguments.out / f"{n}-{dim}-{arguments.seed}.npy"
    built = folder.with_name(f"{name}.built.json")
    codes = PlantedCodes(dim, arguments.seed)
    if not drawn.exists():
        arguments.out.mkdir(parents=True, exist_ok=True)
        growing = drawn.with_suffix(".part")
        out = np.lib.format.open_memmap(growing, mode="w+", dtype="<f4", shape=(n, dim))
        begin = 0
        for part in codes.chunks(n):
            out[begin : begin + len(part)] = part
            begin += len(part)
        out.flush()
        growing.rename(drawn)
    vectors = np.load(drawn, mmap_mode="r", allow_pickle=False)
    rng = np.random.default_rng([arguments.seed, 1])
    queries = codes.looks(vectors[np.sort(rng.integers(0, n, arguments.queries))])
    groups = (np.arange(n) // GROUPS_OF).astype(np.int32)
    if not built.exists() or not folder.exists():
        wall, cpu = time.perf_counter(), time.process_time()
        VectorIndex.build(folder, vectors, groups, digest=name, choice=choice)
        spent = {"build_s": time.perf_counter() - wall, "build_cpu_s": time.process_time() - cpu}
        built.write_text(json.dumps(spent), encoding="utf-8")
    opening = []
    for _ in range(3):
        began = time.perf_counter()
        index = VectorIndex.open(folder, name, dim)
        opening.append(time.perf_counter() - began)
    truth = _brute_force(vectors, queries)
    wall, cpu = time.perf_counter(), time.process_time()
    figures = _searched(index, queries, truth)
    figures["cpu_share"] = (time.process_time() - cpu) / (time.perf_counter() - wall)
    return {
        "command": f"crossover bench index --places {n} --dimensions {dim} --kind {choice.kind}",
        "places": n,
        "dimensions": dim,
        "kind": choice.kind,
        "parameters": {k: v for k, v in vars(choice).items() if k != "kind"},
        **json.loads(built.read_text(encoding="utf-8")),
        "bytes_per_place": index.bytes_on_disk / n,
        "open_s": float(np.median(opening)),
        **figures,
        "filtered_ms": _filtered(index, queries, n // GROUPS_OF),
        "queries": len(queries),
        "peak_memory_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "note": "simulated codes",
        "hardware": hardware(),
        "targets": TARGETS,
    }


def hardware() -> dict[str, Any]:
    """What measured, and how busy it was: load averages of 1, 5 and 15 minutes."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {"cpu": model, "cores": os.cpu_count(), "threads": 1, "load_average": list(os.getloadavg())}


def _brute_force(vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """(q, 10) rows of the best vectors, read in pieces."""
    import faiss
    import numpy as np

    best = np.zeros((len(queries), 0), dtype=np.float32)
    rows = np.zeros((len(queries), 0), dtype=np.int64)
    for begin in range(0, len(vectors), 100_000):
        part = np.ascontiguousarray(vectors[begin : begin + 100_000])
        score, row = faiss.knn(queries, part, min(NEIGHBORS, len(part)), metric=faiss.METRIC_INNER_PRODUCT)
        best, rows = np.concatenate([best, score], axis=1), np.concatenate([rows, row + begin], axis=1)
        kept = np.argsort(-best, axis=1, kind="stable")[:, :NEIGHBORS]
        best, rows = np.take_along_axis(best, kept, axis=1), np.take_along_axis(rows, kept, axis=1)
    return rows


def _searched(index: VectorIndex, queries: NDArray[np.float32], truth: NDArray[np.int64]) -> dict[str, Any]:
    """Recall, times and their ratio to plain FAISS in memory, ours and theirs in turn."""
    import numpy as np

    plain = _plain_faiss(index)
    ours, theirs, shares = [], [], []
    for k, query in enumerate([*queries[: min(50, len(queries))], *queries]):
        first = k % 2 == 0
        if not first:
            theirs.append(_timed(plain, query))
        began = time.perf_counter()
        ids, _ = index.search(query, NEIGHBORS)
        ours.append(time.perf_counter() - began)
        if first:
            theirs.append(_timed(plain, query))
        row = k - min(50, len(queries))
        if row >= 0:
            shares.append(len(set(ids.tolist()) & set(truth[row].tolist())) / len(truth[row]))
    warm = len(ours) - len(queries)
    own, other = 1e3 * np.array(ours[warm:]), 1e3 * np.array(theirs[warm:])
    fifths = zip(np.array_split(own, 5), np.array_split(other, 5), strict=True)
    parts = np.array([np.median(a) / np.median(b) for a, b in fifths if len(a)])
    return {
        "recall_at_10": float(np.mean(shares)),
        "p50_ms": float(np.median(own)),
        "p99_ms": float(np.percentile(own, 99)),
        "faiss_p50_ms": float(np.median(other)),
        "over_faiss": float(np.median(own) / np.median(other)),
        "over_faiss_spread": [float(parts.min()), float(parts.max())],
    }


def _timed(search: Any, query: NDArray[np.float32]) -> float:
    began = time.perf_counter()
    search(query)
    return time.perf_counter() - began


def _plain_faiss(index: VectorIndex) -> Any:
    """The same search by FAISS alone, all in memory: same lists or graph, and its own refinement."""
    import faiss
    import numpy as np

    choice = index.choice
    flat = faiss.IndexFlatIP(index.dim)
    if choice.kind != "hnsw":
        flat.add(np.ascontiguousarray(index.vectors))
    if choice.kind == "flat":
        return lambda query: flat.search(query[None], NEIGHBORS)
    base: Any = faiss.read_index(str(index.path("engine")))
    if choice.kind == "hnsw":
        base.hnsw.efSearch = choice.effort
        return lambda query: base.search(query[None], NEIGHBORS)
    base.nprobe = choice.probes
    # It keeps no reference to its parts: the search below does.
    refined: Any = faiss.IndexRefine(base, flat)
    refined.k_factor = choice.refined / NEIGHBORS
    kept = (base, flat)
    return lambda query: (refined.search(query[None], NEIGHBORS), kept)


def _filtered(index: VectorIndex, queries: NDArray[np.float32], groups: int) -> dict[str, float]:
    """Median time (ms) of searches of one group, a tenth and half of them."""
    import numpy as np

    out = {}
    for label, count in (("one_group", 1), ("tenth", max(1, groups // 10)), ("half", max(1, groups // 2))):
        index.search(queries[0], NEIGHBORS, range(count))
        search = partial(index.search, count=NEIGHBORS, groups=range(count))
        out[label] = 1e3 * float(np.median([_timed(search, query) for query in queries]))
    return out


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Index over {result['places']} simulated codes of {result['dimensions']} ({result['kind']})")
    for column in ("", "measured", "target"):
        table.add_column(column, justify="right" if column else "left")
    low, high = result["over_faiss_spread"]
    for row in (
        ("recall@10", f"{result['recall_at_10']:.4f}", ">= 0.99"),
        ("search p50, one core (ms)", f"{result['p50_ms']:.3f}", "<= 1.5 for 1M"),
        ("search p99 (ms)", f"{result['p99_ms']:.3f}", ""),
        ("over plain FAISS", f"{result['over_faiss']:.2f} ({low:.2f} to {high:.2f})", "<= 1.1"),
        ("build, CPU (s)", f"{result['build_cpu_s']:.1f}", ""),
        ("open (s)", f"{result['open_s']:.4f}", "<= 1"),
        ("size (byte a place)", f"{result['bytes_per_place']:.0f}", ""),
        *((f"filtered, {k.replace('_', ' ')} (ms)", f"{v:.3f}", "") for k, v in result["filtered_ms"].items()),
        ("load average", f"{result['hardware']['load_average'][0]:.1f}", ""),
    ):
        table.add_row(*row)
    Console().print(table)
