"""``crossover bench laser2d``: the plan it draws, its figures, its resuming, and what it says about bad files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crossover_models.config import RegistrationSettings
from crossover_models.estimate import LevelKey
from crossover_models.evaluation import laser2d
from crossover_models.evaluation.laser_map import plan_from_scans
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN
from crossover_models.observation import WallSlice
from crossover_models.registration import PlanMatcher

REAL = Path(__file__).parents[1] / "../shared/data/laser2d"
BEARINGS = np.linspace(-np.pi / 2, np.pi / 2, 120, endpoint=False)
RANGE_MAX_M = 10.0
# An L of 6 m x 4 m with a bay, as segments (x0, y0, x1, y1): no two views of it are alike.
WALLS = np.array(
    [
        (0, 0, 6, 0),
        (6, 0, 6, 2.5),
        (6, 2.5, 4, 2.5),
        (4, 2.5, 4, 4),
        (4, 4, 1, 4),
        (1, 4, 1, 3),
        (1, 3, 0, 3),
        (0, 3, 0, 0),
    ]
)


def ranges_at(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, B) exact distances to the nearest wall along each beam."""
    angle = poses[:, 2, None] + BEARINGS
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)[:, :, None]
    start, side = WALLS[:, :2] - poses[:, None, None, :2], WALLS[:, 2:] - WALLS[:, :2]
    across = direction[..., 0] * side[:, 1] - direction[..., 1] * side[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        along = (start[..., 0] * side[:, 1] - start[..., 1] * side[:, 0]) / across
        share = (start[..., 0] * direction[..., 1] - start[..., 1] * direction[..., 0]) / across
    hit = (along > 0) & (share >= 0) & (share <= 1)
    return np.asarray(np.where(hit, along, np.inf).min(axis=2))


def poses(count: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    inside = np.stack([rng.uniform(1.3, 3.7, count), rng.uniform(0.5, 3.5, count)], axis=1)
    return np.column_stack([inside, rng.uniform(-np.pi, np.pi, count)])


def save(path: Path, where: NDArray[np.float64], ranges: NDArray[np.float64] | None = None) -> None:
    np.savez(
        path,
        ranges_m=ranges_at(where) if ranges is None else ranges,
        pose_xy_yaw=where,
        angle_min_rad=BEARINGS[0],
        angle_increment_rad=BEARINGS[1] - BEARINGS[0],
        range_max_m=RANGE_MAX_M,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for k, building in enumerate(laser2d.BUILDINGS):
        save(folder / f"{building}_map.npz", poses(40, k))
        save(folder / f"{building}_query.npz", poses(4, 10 + k))
    return folder


def bench(data: Path, every: int = 1, markdown: Path | None = None) -> dict[str, dict[str, float]]:
    out = data.parent / "out" / "laser2d.json"
    asked = {"json": out, "data": data, "every": every, "travel": 0, "logs": data, "seed": 0}
    assert laser2d.run(argparse.Namespace(**asked, peers="", markdown=markdown)) == 0
    assert not list(out.parent.glob("*.jsonl"))
    result: dict[str, dict[str, float]] = json.loads(out.read_text())
    return result


def test_plan_holds_the_walls_that_the_scans_saw() -> None:
    where = poses(60, 0)
    ranges = ranges_at(where)
    ranges[:, ::5] = 81.0
    ranges[3, 1:9] = np.nan
    plan = plan_from_scans(ranges, where, BEARINGS, RANGE_MAX_M)
    share = np.linspace(0.1, 0.9, 60)[:, None, None]
    on_walls = (WALLS[:, :2] + share * (WALLS[:, 2:] - WALLS[:, :2])).reshape(-1, 2)
    row, col = plan.cell(on_walls).T
    near = [(plan.occupancy[r - 1 : r + 2, c - 1 : c + 2] == OCCUPIED).any() for r, c in zip(row, col, strict=True)]
    assert np.mean(near) > 0.95
    assert (plan.value(where[:, :2]) == FREE).all()
    assert (plan.value([[5.0, 3.5], [-0.7, 1.0], [30.0, 30.0]]) == UNKNOWN).all()
    walls = plan.position(np.argwhere(plan.occupancy == OCCUPIED))
    assert walls.min() > -0.1 and walls[:, 0].max() < 6.1 and walls[:, 1].max() < 4.1


def test_toy_scans_are_all_found(data: Path) -> None:
    result = bench(data)
    for building in (*laser2d.BUILDINGS, "pooled"):
        figures = result[building]
        assert set(figures) == {"r_0_1", "r_0_5", "r_1", "r_1m30", "auroc", "seconds_per_query", "n"}
        assert figures["r_0_5"] == figures["r_1m30"] == 1.0 and figures["seconds_per_query"] > 0
        assert figures["n"] == (8 if building == "pooled" else 4)
    assert result["likelihood_field_alone"]["pooled"]["n"] == 8
    table = data.parent / "tables" / "laser2d.md"
    assert bench(data, every=2, markdown=table)["pooled"]["n"] == 4
    assert "| pooled | target |  | >= 0.75 |" in table.read_text() and "Cold starts" not in table.read_text()


def test_a_scan_that_sees_nothing_counts_as_a_failure(data: Path) -> None:
    where = poses(4, 10)
    ranges = ranges_at(where)
    ranges[1] = 81.0
    save(data / "fr079_query.npz", where, ranges)
    assert bench(data)["fr079"]["r_0_5"] == 0.75


def test_a_run_interrupted_twice_goes_on_where_it_was(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    localize, seen, stop_at = laser2d._localize, [], [3, 9, 99]

    def interrupted(*arguments, **keywords):  # type: ignore[no-untyped-def]
        for row in localize(*arguments, **keywords):
            if len(seen) == stop_at[0]:
                raise KeyboardInterrupt
            seen.append((row["building"], row["method"], row["query"]))
            yield row

    monkeypatch.setattr(laser2d, "_localize", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            bench(data)
        journal = next((data.parent / "out").glob("*.jsonl"))
        # A kill may cut the last line short.
        journal.write_text(journal.read_text() + '{"building": "fr0')
        stop_at.pop(0)
    assert bench(data)["pooled"]["n"] == 8
    assert len(seen) == len(set(seen)) == 16


def test_rows_of_other_settings_are_not_reused(tmp_path: Path) -> None:
    row = {"building": "intel", "method": "crossover", "query": 0}
    journal = tmp_path / "rows.jsonl"
    journal.write_text("\n".join(json.dumps(line) for line in ({"key": "of this run"}, row)))
    assert laser2d._read_journal(journal, "of another") == {}
    assert list(laser2d._read_journal(journal, "of this run").values()) == [row]


def test_figures_of_known_rows() -> None:
    rows = [
        {"error_m": e, "error_deg": d, "margin": m, "seconds": 0.5}
        for e, d, m in ((0.05, 1, 0.4), (0.3, 40, 0.3), (0.8, 5, 0.1), (None, None, 0.0))
    ]
    figures = laser2d.summarize(rows)
    assert figures == {
        "r_0_1": 0.25,
        "r_0_5": 0.5,
        "r_1": 0.75,
        "r_1m30": 0.5,
        "auroc": 1.0,
        "seconds_per_query": 0.5,
        "n": 4,
    }
    assert laser2d.auroc(np.array([1.0, 2.0]), np.array([1.0, 0.0])) == 0.875
    assert laser2d.auroc(np.array([1.0]), np.array([])) is None


def test_files_that_cannot_be_read_are_named(data: Path) -> None:
    good = data / "intel_map.npz"
    missing = data / "nothing.npz"
    with pytest.raises(laser2d.BenchmarkError, match="no such file; give the folder"):
        laser2d.read_scans(missing)
    missing.write_bytes(b"not a zip file")
    with pytest.raises(laser2d.BenchmarkError, match=r"nothing\.npz"):
        laser2d.read_scans(missing)
    good.with_name("cut.npz").write_bytes(good.read_bytes()[:2000])
    with pytest.raises(laser2d.BenchmarkError, match=r"cut\.npz"):
        laser2d.read_scans(good.with_name("cut.npz"))
    save(missing, poses(3, 0), ranges_at(poses(4, 0)))
    with pytest.raises(laser2d.BenchmarkError, match="do not agree"):
        laser2d.read_scans(missing)
    np.savez(missing, ranges_m=np.array([object()], dtype=object))
    with pytest.raises(laser2d.BenchmarkError, match=r"nothing\.npz"):
        laser2d.read_scans(missing)
    with pytest.raises(laser2d.BenchmarkError, match="--every"):
        laser2d.run(argparse.Namespace(json=data / "x.json", data=data, every=0, travel=0, logs=data, seed=0))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real laser scans (../shared/data/laser2d) are not on this machine")
def test_some_real_scans_are_found() -> None:
    mapped, query = (laser2d.read_scans(REAL / f"intel_{part}.npz") for part in ("map", "query"))
    tested = PlanMatcher({LevelKey("intel", "scans"): laser2d.draw_plan(mapped)}, RegistrationSettings())
    errors = []
    for k in range(0, len(query.poses), 9):
        ranges = query.ranges_m[k]
        rays = np.stack([np.cos(query.bearings_rad), np.sin(query.bearings_rad)], axis=1)
        points = (ranges[:, None] * rays)[ranges < query.range_max_m].astype(np.float32)
        index = np.zeros(len(points), dtype=np.int32)
        fits = tested.register(WallSlice(0, points, np.zeros((1, 2), dtype=np.float32), index, np.zeros(3)))
        errors.append(np.hypot(*(fits[0].T_map_aligned[:2] - query.poses[k, :2])) if fits else np.inf)
    assert np.mean(np.array(errors) < 0.5) >= 0.6


def test_tables_show_peers_beside_ours_with_intervals_and_targets() -> None:
    from crossover_models.evaluation.laser_table import tables_markdown
    from crossover_models.evaluation.laser_travel import summarize_drives

    row = {"first_fix_m": 2.0, "first_fix_s": 4.0, "right": True, "error_m": 0.1, "error_deg": 1.0, "false_fixes": 0}
    lost = {**row, "right": False, "error_m": None, "error_deg": None, "false_fixes": 2}
    drove = {"crossover": {"pooled": summarize_drives([{**row, "cpu_s": 3.0}] * 20)}}
    drove["amcl"] = {"pooled": summarize_drives([{**row, "cpu_s": 1.0}, {**lost, "cpu_s": 1.0}])}
    text = tables_markdown({}, {}, drove)
    assert "| pooled | crossover | 1.000 | 0.84..1.00 | 0 | 2.000 |" in text
    assert "| pooled | amcl | 0.500 | 0.09..0.91 | 2 |" in text
    assert "| pooled | target | >= 0.95 |  | 0 |" in text


def test_peers_are_named_or_refused() -> None:
    from crossover_models.evaluation.laser_peers import PEERS
    from crossover_models.evaluation.laser_travel import peer_names

    assert peer_names("") == () and peer_names("all") == tuple(PEERS) and peer_names("amcl") == ("amcl",)
    with pytest.raises(ValueError, match="--peers: 'nobody' is not one of"):
        peer_names("amcl,nobody")
