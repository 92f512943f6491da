"""The index against brute force: recall, filters, changes, reopening, and what is wrong with a bad folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

import crossover_models.index.engine as engine_module
import crossover_models.index.files as files_module
import crossover_models.index.vector_index as module
import crossover_models.index.writing as writing_module
from crossover_models.index.choice import IndexChoice, choose
from crossover_models.index.files import IndexFileError, StaleIndexError
from crossover_models.index.planted_codes import PlantedCodes
from crossover_models.index.vector_index import VectorIndex

COUNT, DIM = 3000, 32
CHOICES = {
    "flat": IndexChoice("flat"),
    "hnsw": IndexChoice("hnsw"),
    "ivf": IndexChoice("ivf", lists=32, probes=12, refined=60),
}


@pytest.fixture(params=list(CHOICES))
def choice(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> IndexChoice:
    # Small enough that the kind's own search is met, filtered too.
    monkeypatch.setattr(module, "FLAT_PLACES", 100)
    return CHOICES[request.param]


@pytest.fixture(scope="module")
def planted() -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    codes = PlantedCodes(DIM, seed=3)
    vectors = codes.draw(COUNT)
    groups = np.random.default_rng(0).integers(0, 8, COUNT).astype(np.int32)
    return vectors, groups, codes.looks(vectors[::60])


def best(vectors: NDArray[np.float32], allowed: NDArray[np.bool_], query: NDArray[np.float32], k: int) -> list[int]:
    scores = np.where(allowed, vectors @ query, -2.0)
    return [int(row) for row in np.argsort(-scores, kind="stable")[:k] if allowed[row]]


def recall(index: VectorIndex, vectors, queries, allowed, groups=None) -> float:
    shares = []
    for query in queries:
        ids, scores = index.search(query, 10, groups)
        assert allowed[ids].all(), "a filtered or removed vector was found"
        np.testing.assert_allclose(scores, vectors[ids] @ query, atol=1e-5)
        assert (np.diff(scores) <= 1e-6).all()
        truth = best(vectors, allowed, query, 10)
        assert len(ids) == len(truth)
        shares.append(len(set(ids.tolist()) & set(truth)) / len(truth))
    return float(np.mean(shares))


def test_finds_what_brute_force_finds(tmp_path: Path, choice: IndexChoice, planted) -> None:
    vectors, groups, queries = planted
    index = VectorIndex.build(tmp_path / "i", vectors, groups, choice=choice)
    found = recall(index, vectors, queries, np.ones(COUNT, bool))
    assert found == 1.0 if choice.kind == "flat" else found >= 0.97


@pytest.mark.parametrize("asked", [[2], [1, 5, 6]])
def test_filters_before_the_search(tmp_path: Path, choice: IndexChoice, planted, asked: list[int]) -> None:
    vectors, groups, queries = planted
    index = VectorIndex.build(tmp_path / "i", vectors, groups, choice=choice)
    # Ten are found in every group, however far from the query: a filter after the search would run dry.
    assert recall(index, vectors, queries, np.isin(groups, asked), asked) >= 0.97
    assert len(index.search(queries[0], 10, [99])[0]) == 0


def test_added_and_removed_are_seen_at_once_and_after_reopening(tmp_path: Path, choice: IndexChoice, planted) -> None:
    vectors, groups, queries = planted
    half = COUNT // 2
    index = VectorIndex.build(tmp_path / "i", vectors[:half], groups[:half], choice=choice, digest="a")
    index.add(np.arange(half, half + 200), vectors[half : half + 200], groups[half : half + 200])
    gone = np.concatenate([np.arange(0, 300), np.arange(half, half + 20)])
    assert index.remove(gone) == 320
    assert index.remove(gone) == 0
    allowed = np.zeros(COUNT, bool)
    allowed[: half + 200] = True
    allowed[gone] = False
    assert len(index) == allowed.sum()
    assert recall(index, vectors, queries, allowed) >= 0.97
    index.save("b")
    again = VectorIndex.open(tmp_path / "i", "b")
    assert len(again) == allowed.sum()
    for query in queries[:10]:
        np.testing.assert_array_equal(again.search(query, 10)[0], index.search(query, 10)[0])
    # What was removed can be added again.
    again.add(gone[:5], vectors[gone[:5]], groups[gone[:5]])
    allowed[gone[:5]] = True
    compact = again.compact()
    assert len(compact) == allowed.sum()
    assert recall(compact, vectors, queries, allowed) >= 0.97
    assert recall(compact, vectors, queries, allowed & (groups == 3), [3]) >= 0.97


def test_building_twice_is_the_same(tmp_path: Path, choice: IndexChoice, planted) -> None:
    vectors, groups, _ = planted
    for name in ("a", "b"):
        VectorIndex.build(tmp_path / name, vectors, groups, choice=choice)
    held = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("a", "b")]
    assert len(held[0]["marks"]) >= 3
    for name, mark in held[0]["marks"].items():
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
        assert mark["sha256"] == held[1]["marks"][name]["sha256"], name


def test_compaction_is_asked_for(tmp_path: Path, planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLAT_PLACES", 100)
    index = VectorIndex.build(tmp_path / "i", planted[0])
    assert not index.wants_compaction
    index.remove(np.arange(COUNT // 4))
    assert index.wants_compaction


def test_vectors_are_mapped_and_not_read(tmp_path: Path, planted) -> None:
    index = VectorIndex.build(tmp_path / "i", planted[0], choice=CHOICES["hnsw"])
    assert isinstance(index._vectors.base, np.memmap)


def test_kind_by_size() -> None:
    assert [choose(n).kind for n in (0, 30_000, 30_001, 1_000_000, 1_000_001)] == [
        "flat",
        "flat",
        "hnsw",
        "hnsw",
        "ivf",
    ]
    assert choose(100_000, gpu=True).kind == "ivf"
    assert choose(10, kind="ivf").lists <= 10
    with pytest.raises(ValueError, match="kind: must be one of flat, hnsw, ivf, got tree"):
        choose(10, kind="tree")


def test_gpu_copy_where_faiss_finds_one(monkeypatch: pytest.MonkeyPatch, planted) -> None:
    """The control flow alone: no GPU is asked of the machine."""
    engine = engine_module.build_engine(planted[0], CHOICES["ivf"])
    moved = []
    for name, value in {
        "StandardGpuResources": lambda: "resources",
        "get_num_gpus": lambda: 1,
        "index_cpu_to_gpu": lambda resources, device, index: moved.append((resources, device)) or index,
    }.items():
        monkeypatch.setattr(engine_module.faiss, name, value, raising=False)
    assert engine_module.gpu_engine(engine) is engine
    assert moved == [("resources", 0)]
    assert engine_module.gpu_engine(SimpleNamespace(hnsw=None)) is None
    monkeypatch.setattr(engine_module.faiss, "get_num_gpus", lambda: 0)
    assert engine_module.gpu_engine(engine) is None


def test_stale_index_is_told(tmp_path: Path, planted) -> None:
    VectorIndex.build(tmp_path / "i", planted[0], digest="old")
    with pytest.raises(StaleIndexError, match="indexes content old, but the map's is new"):
        VectorIndex.open(tmp_path / "i", "new")


def test_bad_folders_are_named(tmp_path: Path, planted) -> None:
    folder = tmp_path / "i"
    with pytest.raises(IndexFileError, match=r"manifest\.json: no index here"):
        VectorIndex.open(folder)
    for role in ("vectors", "engine", "groups"):
        path = VectorIndex.build(folder, planted[0], choice=CHOICES["ivf"]).path(role)
        with path.open("r+b") as out:
            out.truncate(200)
        with pytest.raises(IndexFileError, match=rf"{path.name}: has 200 bytes, but \d+ were written"):
            VectorIndex.open(folder)
        path.unlink()
        with pytest.raises(IndexFileError, match=f"{path.name}: is missing"):
            VectorIndex.open(folder)
    engine = VectorIndex.build(folder, planted[0], choice=CHOICES["ivf"]).path("engine")
    with pytest.raises(IndexFileError, match="holds vectors of 32 numbers, but 64 are asked for"):
        VectorIndex.open(folder, dim=64)
    engine.write_bytes(b"\0" * engine.stat().st_size)
    with pytest.raises(IndexFileError, match=r"engine-\d+\.faiss: is not what was written"):
        VectorIndex.open(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(IndexFileError, match=r"manifest\.json: cannot be read"):
        VectorIndex.open(folder)
    # A damaged folder is built over, and what it held goes.
    VectorIndex.build(folder, planted[0], choice=CHOICES["ivf"])
    assert len(list(folder.iterdir())) == 5
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(IndexFileError, match="file: is not a folder"):
        VectorIndex.build(blocked, planted[0])


def test_a_copied_index_opens_and_is_read_once(tmp_path: Path, planted) -> None:
    VectorIndex.build(tmp_path / "i", planted[0], digest="a")
    shutil.copytree(tmp_path / "i", tmp_path / "copy", copy_function=shutil.copyfile)
    copied = VectorIndex.open(tmp_path / "copy", "a")
    np.testing.assert_array_equal(
        copied.search(planted[2][0], 10)[0], best(planted[0], np.ones(COUNT, bool), planted[2][0], 10)
    )
    held = json.loads((tmp_path / "copy" / "manifest.json").read_text())
    for name, mark in held["marks"].items():
        assert (tmp_path / "copy" / name).stat().st_mtime_ns == mark["written_ns"], name


def test_a_build_killed_at_any_step_leaves_the_old_index(
    tmp_path: Path, planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step that touches the disk fails once; what is there afterwards is the old index, whole."""
    folder = tmp_path / "i"
    VectorIndex.build(folder, planted[0][:500], choice=CHOICES["ivf"], digest="old")
    steps = [
        (writing_module.np, "save"),
        (writing_module, "_write_vectors"),
        (writing_module, "build_engine"),
        (writing_module.faiss, "write_index"),
        (writing_module, "marks_of"),
        (files_module.os, "fsync"),
        (files_module.json, "dump"),
    ]
    for module_, name in steps:
        with monkeypatch.context() as patched:
            patched.setattr(module_, name, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                VectorIndex.build(folder, planted[0], choice=CHOICES["ivf"], digest="new")
        assert len(VectorIndex.open(folder, "old")) == 500, name
    assert len(list(folder.iterdir())) > 5, "nothing was left behind: the steps did not fail where they should"
    VectorIndex.build(folder, planted[0], choice=CHOICES["ivf"], digest="new")
    assert len(VectorIndex.open(folder, "new")) == COUNT
    assert len(list(folder.iterdir())) == 5, "strays stay"


def test_a_save_killed_at_any_step_loses_at_most_its_changes(
    tmp_path: Path, planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "i"
    index = VectorIndex.build(folder, planted[0], digest="old")
    index.remove(np.arange(10))
    index.save("first")
    index.remove(np.arange(20))
    for module_, name in [(module.np, "savez"), (files_module.os, "fsync"), (files_module.json, "dump")]:
        with monkeypatch.context() as patched:
            patched.setattr(module_, name, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                index.save("second")
        assert len(VectorIndex.open(folder, "first")) == COUNT - 10, name
    index.save("second")
    assert len(VectorIndex.open(folder, "second")) == COUNT - 20
    assert len(list(folder.iterdir())) == 5


def test_arrays_are_kept_beside(tmp_path: Path, planted) -> None:
    places = np.arange(COUNT, dtype=np.int32)
    index = VectorIndex.build(tmp_path / "i", planted[0], planted[1], beside={"places": places})
    np.testing.assert_array_equal(index.beside("places", (COUNT,), "<i4"), places)
    np.testing.assert_array_equal(index.ids, np.argsort(planted[1], kind="stable"))
    np.testing.assert_array_equal(index.vectors, planted[0][index.ids])
    with pytest.raises(IndexFileError, match="holds no tokens; build the index again"):
        index.beside("tokens", (COUNT,), "<i4")
    with pytest.raises(IndexFileError, match=r"places-\d+\.npy: expected <f4"):
        index.beside("places", (COUNT,), "<f4")
    with pytest.raises(IndexFileError, match="places beside the index: build it again"):
        index.compact()
    with pytest.raises(IndexFileError, match="arrays kept beside: ids is the index's own"):
        VectorIndex.build(tmp_path / "j", planted[0], beside={"ids": places})


@pytest.mark.parametrize("asked", [None, [2], [1, 5, 6], list(range(8))])
def test_equal_scores_are_ordered_by_id_and_none_is_left_out(tmp_path: Path, planted, asked: list[int] | None) -> None:
    """Many equal vectors, more than are wanted: which are taken is no matter of chance."""
    vectors, groups, queries = planted
    vectors = vectors.copy()
    vectors[::7] = vectors[0]
    ids = np.random.default_rng(5).permutation(COUNT)
    index = VectorIndex.build(tmp_path / "i", vectors, groups, ids)
    allowed = np.ones(COUNT, bool) if asked is None else np.isin(groups, asked)
    for query in (vectors[0], *queries[:20]):
        found, scores = index.search(query, 10, asked)
        truth = np.flatnonzero(allowed)
        exact = np.vecdot(vectors, query)
        np.testing.assert_allclose(scores, np.sort(exact[truth])[::-1][:10], atol=1e-5)
        clear = exact[truth] > scores[-1] + 1e-5
        assert set(ids[truth[clear]].tolist()) <= set(found.tolist())
        assert (np.diff(found)[np.abs(np.diff(scores)) == 0] > 0).all()
        tied = truth[np.abs(exact[truth] - scores[-1]) < 1e-7]
        wanted = 10 - int((scores > scores[-1] + 1e-7).sum())
        if len(tied) > wanted and np.ptp(exact[tied]) == 0:
            assert sorted(ids[tied].tolist())[:wanted] == found[-wanted:].tolist()


def test_bad_input_is_named(tmp_path: Path, planted) -> None:
    vectors = planted[0]
    with pytest.raises(IndexFileError, match="ids: some occur twice"):
        VectorIndex.build(tmp_path / "i", vectors[:2], ids=np.array([1, 1]))
    with pytest.raises(IndexFileError, match="not all finite"):
        VectorIndex.build(tmp_path / "i", np.full((3, 4), np.nan, dtype=np.float32))
    index = VectorIndex.build(tmp_path / "i", vectors[:5])
    with pytest.raises(ValueError, match="query: expected 32 finite numbers"):
        index.search(np.zeros(31, dtype=np.float32), 1)
    with pytest.raises(IndexFileError, match="ids: 3 is there already"):
        index.add(np.array([3]), vectors[:1])


def test_empty_index_grows(tmp_path: Path, planted) -> None:
    index = VectorIndex.build(tmp_path / "i", np.zeros((0, DIM), dtype=np.float32))
    assert len(index.search(planted[2][0], 10)[0]) == 0
    index.add(np.arange(20), planted[0][:20])
    assert index.search(planted[0][7], 1)[0].tolist() == [7]


def test_planted_codes_spread_like_real_ones() -> None:
    vectors = PlantedCodes(256, seed=1).draw(2000)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert 0.5 < np.linalg.norm(vectors.mean(axis=0)) < 0.62
    variance = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False) ** 2
    share = np.cumsum(variance / variance.sum())
    half, most, nearly = (int(np.searchsorted(share, q)) + 1 for q in (0.5, 0.9, 0.99))
    assert half <= 4
    assert 5 <= most <= 14
    assert 15 <= nearly <= 40
    np.testing.assert_array_equal(vectors, PlantedCodes(256, seed=1).draw(2000))
