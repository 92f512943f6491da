"""``crossover bench sparse``: what it measures is what it says, on small clouds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from crossover_models.cli import main
from crossover_models.encoders.profile import SparseResNetSettings
from crossover_models.encoders.resnet import SparseResNet
from crossover_models.evaluation import sparse_convolution
from crossover_models.evaluation.sparse_convolution import (
    Machine,
    SparseBenchmarkError,
    child_environment,
    compare,
    measure_apart,
    room_voxels,
)
from crossover_models.evaluation.sparse_measure import PeakMemory, count_gflop, filled, matrix_gflops, measure
from crossover_models.sparse import backend

TINY = SparseResNetSettings(
    in_channels=3, stem_channels=4, stem_kernel=3, channels="4,6", blocks="1,1", strides="1,2", last_channels=8
)  # fmt: skip


def plain_cloud(count: int = 400) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    c = torch.unique(torch.randint(0, 12, (count, 3), generator=generator), dim=0)
    return torch.nn.functional.pad(c, (1, 0))


def test_room_is_surfaces_and_larger_clouds_hold_the_smaller_ones() -> None:
    large, small = room_voxels(150_000), room_voxels(20_000)
    assert large.shape == (150_000, 4) and not large[:, 0].any()
    assert len(np.unique(large, axis=0)) == len(large)
    assert {tuple(c) for c in small} <= {tuple(c) for c in large}
    occupied = {tuple(c) for c in small[:, 1:].tolist()}
    steps = [(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)]
    neighbors = np.mean([
        sum((c[0] + x, c[1] + y, c[2] + z) in occupied for x, y, z in steps) for c in list(occupied)[:3000]
    ])  # fmt: skip
    # A plane has 9 of 27, a solid block 27, lone points 1.
    assert 7.0 < neighbors < 16.0
    with pytest.raises(SparseBenchmarkError, match="--voxels: the simulated room has"):
        room_voxels(50_000_000)


def test_products_are_counted_by_hand() -> None:
    # Two voxels side by side, far from borders of cells: pairs are 2 + 2 (each itself, each the other).
    cloud = torch.tensor([[0, 4, 4, 4], [0, 5, 4, 4]])
    settings = SparseResNetSettings(
        in_channels=3, stem_channels=4, stem_kernel=3, channels="6", blocks="1", strides="1", last_channels=8
    )
    network = filled(SparseResNet(settings, backend("torch")))
    # Stem of stride 2: both lie under the kernel of the one output (4 and 5). All after see that one voxel alone.
    products = 2 * 3 * 4 + 4 * 6 + 6 * 6 + 4 * 6 + 6 * 8
    assert count_gflop(network, cloud, 3) == pytest.approx(2e-9 * products)


def test_peak_memory_sees_what_was_freed_again_and_not_what_was_there() -> None:
    before = np.ones(100_000_000 // 8)
    del before
    memory = PeakMemory()
    if memory.peak_mb() is None:
        pytest.skip("this system does not let a process reset its peak memory")
    for _ in range(3):
        block = np.ones(40_000_000 // 8)
        del block
    assert 39.0 < memory.peak_mb() < 60.0  # type: ignore[operator]


def test_measure_gives_all_figures_and_the_floor_follows() -> None:
    figures = measure("torch", plain_cloud(), repeats=2, settings=TINY)
    assert set(figures) == {"ms", "ms_least", "mb", "output", "gflop", "machine_gflops", "floor_ms"}
    assert 0 < figures["ms_least"] <= figures["ms"]
    assert figures["floor_ms"] == pytest.approx(1e3 * figures["gflop"] / figures["machine_gflops"])
    assert len(figures["output"]) == 8 and np.abs(figures["output"]).max() > 0
    assert measure("torch", plain_cloud(), repeats=1, settings=TINY)["output"] == figures["output"]
    assert matrix_gflops(side=64, repeats=2) > 0


def test_difference_is_relative_to_ours() -> None:
    figures = {"torch": {"output": [2.0, -4.0]}, "minkowski": {"output": [2.0, -3.0]}}
    compare(figures)
    assert figures == {"torch": {}, "minkowski": {"difference": 0.25}}


def test_child_has_our_source_its_threads_and_no_marks_of_this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere")
    environment = child_environment(3)
    assert {environment[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "MKL")} == {"3"}
    assert Path(environment["PYTHONPATH"], "crossover_models").is_dir()
    assert not environment.keys() & {"_ROS_WHEELS_BOOTSTRAP_COMPLETE", "LD_LIBRARY_PATH"}


def test_command_writes_figures_of_a_small_cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sparse_convolution, "find_spec", lambda _name: None)
    out = tmp_path / "new" / "sparse.json"
    assert main(["bench", "sparse", "--voxels", "300", "300", "--repeats", "1", "--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert all(unit in said for unit in ("[ms]", "[MB]", "[GFLOP]")) and "only ours was measured" in said
    record = json.loads(out.read_text())
    assert record["threads"] == 1 and list(record["voxels"]) == ["300"]
    for figures in record["voxels"].values():
        assert list(figures) == ["torch"] and figures["torch"]["ms"] > figures["torch"]["floor_ms"] > 0


def test_measures_with_an_interpreter_without_minkowski_engine_say_so(tmp_path: Path) -> None:
    np.save(tmp_path / "cloud.npy", plain_cloud().numpy())
    if sparse_convolution.find_spec("MinkowskiEngine") is None:
        with pytest.raises(SparseBenchmarkError, match=r"minkowski in .* failed: ModuleNotFoundError"):
            measure_apart("minkowski", tmp_path / "cloud.npy", Machine(sys.executable, 1, 1))
    with pytest.raises(SparseBenchmarkError, match="--python: cannot start /nowhere/python"):
        measure_apart("minkowski", tmp_path / "cloud.npy", Machine("/nowhere/python", 1, 1))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--voxels", "5"], "--voxels: need at least 100, got 5"),
        (["--threads", "0"], "--threads: need at least 1, got 0"),
        (["--repeats", "0"], "--repeats: need at least 1, got 0"),
        (["--voxels", "99999999"], "--voxels: the simulated room has"),
    ],
)
def test_bad_options_are_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "sparse", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
