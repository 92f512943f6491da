"""Logs of planar lasers are read with their truth, and drives along them are judged by it."""

from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from test_laser2d import BEARINGS, RANGE_MAX_M, poses, ranges_at

from crossover_models.accumulation import scan_slice
from crossover_models.config import AccumulationSettings, LocalizerSettings
from crossover_models.evaluation import laser_travel
from crossover_models.evaluation.laser_log import LaserLog, LaserLogError, read_log
from crossover_models.evaluation.laser_map import plan_from_scans
from crossover_models.geometry import relative_se2, se3_from_se2
from crossover_models.scan_accumulation import ScanAccumulator


def way(count: int) -> NDArray[np.float64]:
    """Around the middle of the L-shaped room, looking along the way."""
    t = np.linspace(0.0, 6 * np.pi, count)
    return np.stack([2.6 + 0.9 * np.cos(t), 1.6 + 0.7 * np.sin(t), t + np.pi / 2], axis=1)


def write(path: Path, truth: NDArray[np.float64], drift: float = 0.0) -> NDArray[np.float64]:
    """Write a log of a drive; returns its scans. Odometry starts at zero and turns by ``drift`` rad a scan."""
    ranges = np.round(ranges_at(truth), 2)
    odometry = relative_se2(truth[:1], truth)
    odometry[:, 2] += drift * np.arange(len(truth))
    lines = ["# a log", "PARAM x 1 nohost 0"]
    for k, (scan, pose) in enumerate(zip(ranges, odometry, strict=True)):
        where = " ".join(f"{v:.6f}" for v in pose)
        lines.append(
            f"FLASER {len(scan)} {' '.join(f'{r:.2f}' for r in scan)} {where} {where} {k * 0.1:.3f} nohost {k}"
        )
    path.write_bytes(bz2.compress("\n".join(lines).encode()))
    return ranges


def test_a_log_is_read_and_its_truth_goes_through_the_corrected_scans(tmp_path: Path) -> None:
    truth = way(60)
    ranges = write(tmp_path / "a.clf.bz2", truth, drift=0.002)
    known = np.array([3, 20, 50])
    log = read_log(tmp_path / "a.clf.bz2", ranges[known], truth[known])
    np.testing.assert_allclose(log.T_map_laser[known, :2], truth[known, :2], atol=1e-5)
    assert np.isnan(log.T_map_laser[[0, 59]]).all() and (log.doubt[known] == 0.0).all()
    errors = np.array([log.error(k, truth[k]) for k in range(3, 51)])
    assert (errors < [0.02, 0.5]).all() and log.doubt[35].min() > 0.0
    assert log.error(20, truth[20] + [3.0, 4.0, 0.0])[0] == pytest.approx(5.0, abs=1e-4)
    assert (np.diff(log.stamps_ns) > 0).all()


def test_logs_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    truth = way(10)
    ranges = write(tmp_path / "a.clf.bz2", truth)
    with pytest.raises(LaserLogError, match="no such file"):
        read_log(tmp_path / "b.clf.bz2", ranges, truth)
    with pytest.raises(LaserLogError, match="holds 1 of the 1"):
        read_log(tmp_path / "a.clf.bz2", ranges[:1], truth[:1])
    for text, word in (("FLASER 3 1 2 3 0 0 0", "line 1"), ("ODOM 1", "no FLASER"), ("FLASER x", "x")):
        (tmp_path / "c.clf").write_text(text)
        with pytest.raises(LaserLogError, match=word):
            read_log(tmp_path / "c.clf", ranges, truth)
    (tmp_path / "d.clf.bz2").write_bytes((tmp_path / "a.clf.bz2").read_bytes()[:200])
    with pytest.raises(LaserLogError, match=r"d\.clf"):
        read_log(tmp_path / "d.clf.bz2", ranges, truth)


def toy(tmp_path: Path) -> LaserLog:
    truth = way(300)
    ranges = write(tmp_path / "toy.clf.bz2", truth)
    return read_log(tmp_path / "toy.clf.bz2", ranges[::10], truth[::10])


def test_a_drive_announces_the_right_pose(tmp_path: Path) -> None:
    log, where = toy(tmp_path), poses(60, 0)
    plan = plan_from_scans(ranges_at(where), where, BEARINGS, RANGE_MAX_M)
    starts = laser_travel.draw_starts(log, 2, np.random.default_rng(0))
    assert all(laser_travel.last_row(log, int(k)) is not None for k in starts)
    rows = list(laser_travel.drive("toy", plan, log, BEARINGS, RANGE_MAX_M, starts[:1], LocalizerSettings()))
    figures = laser_travel.summarize_drives(rows)
    assert figures["right_by_end"] == 1.0 and figures["false_fixes"] == 0 and figures["n"] == 1
    assert rows[0]["first_fix_m"] <= 10.0 and rows[0]["error_m"] < 0.1
    moved = LaserLog(
        log.stamps_ns, log.ranges_m, log.T_odom_laser, log.T_map_laser + np.array([2.0, 0.0, 0.0]), log.doubt
    )
    wrong = next(laser_travel.drive("toy", plan, moved, BEARINGS, RANGE_MAX_M, starts[:1], LocalizerSettings()))
    assert wrong["false_fixes"] >= 1 and not wrong["right"]


def test_a_log_too_short_for_a_drive_is_refused(tmp_path: Path) -> None:
    truth = way(60)[:10]
    ranges = write(tmp_path / "a.clf.bz2", truth)
    with pytest.raises(ValueError, match="no drives"):
        laser_travel.draw_starts(read_log(tmp_path / "a.clf.bz2", ranges, truth), 1, np.random.default_rng(0))


def scan(stamp_s: float, odometry: NDArray[np.float64], truth: NDArray[np.float64]):  # type: ignore[no-untyped-def]
    ranges = ranges_at(truth[None])[0]
    step = float(BEARINGS[1] - BEARINGS[0])
    at = se3_from_se2(odometry)
    return scan_slice(round(stamp_s * 1e9), ranges, float(BEARINGS[0]), step, 0.05, RANGE_MAX_M, np.eye(4), at)


def test_scans_on_the_way_become_one_slice_in_the_newest_frame() -> None:
    truth = way(300)[:60]
    odometry = relative_se2(truth[:1], truth) + np.array([5.0, -2.0, 0.0])
    accumulator = ScanAccumulator(AccumulationSettings())
    for k in range(60):
        joined = accumulator.add(scan(0.1 * k, odometry[k], truth[k]))
    assert joined.scans > 10 and len(joined.origins) == joined.scans
    # Laid at the true pose, all returns are on walls: none is farther from one than the thinning grid.
    alone = scan(5.9, odometry[59], truth[59])
    assert len(joined.points) > 2 * len(alone.points)
    pose = truth[59]
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    on_map = joined.points @ np.array([[cos, sin], [-sin, cos]]) + pose[:2]
    origins = joined.origins @ np.array([[cos, sin], [-sin, cos]]) + pose[:2]
    np.testing.assert_allclose(origins[-1], pose[:2], atol=1e-5)
    x, y = on_map.T
    edges = [
        np.abs(x),
        np.abs(y),
        np.abs(x - 6),
        np.abs(y - 4),
        np.abs(y - 2.5),
        np.abs(x - 4),
        np.abs(x - 1),
        np.abs(y - 3),
    ]
    assert np.min(edges, axis=0).max() < 0.02
    seen_from = np.hypot(*(on_map - origins[joined.origin_index]).T)
    assert seen_from.max() < RANGE_MAX_M


@pytest.mark.parametrize(("stamp_s", "leap_m"), [(-1.0, 0.0), (0.2, 30.0)])
def test_a_clock_or_odometry_that_leaps_starts_a_new_slice(stamp_s: float, leap_m: float) -> None:
    accumulator, pose = ScanAccumulator(AccumulationSettings()), poses(1, 3)[0]
    accumulator.add(scan(0.0, np.zeros(3), pose))
    assert accumulator.add(scan(0.1, np.array([0.2, 0.0, 0.0]), pose)).scans == 2
    assert accumulator.add(scan(stamp_s, np.array([0.4 + leap_m, 0.0, 0.0]), pose)).scans == 1


def test_peers_are_given_the_same_starts_and_one_not_installed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from crossover_models.config import RegistrationSettings
    from crossover_models.evaluation import laser_peers
    from crossover_models.evaluation.laser2d import LaserScans
    from crossover_models.evaluation.peers_geometry.view import PeerUnavailable

    log, known = toy(tmp_path), np.arange(0, 300, 10)
    corrected = LaserScans(log.ranges_m[known], way(300)[known], BEARINGS, RANGE_MAX_M)
    starts = np.unique(laser_travel.draw_starts(log, 3, np.random.default_rng([0, *b"toy"])))
    drives = laser_travel.Drives(tmp_path, 3, 0, RegistrationSettings(), ("absent", "amcl"))
    given: list[tuple[str, list[int]]] = []

    def drive_peer(name, building, plan, log, bearings, limit, left, seed):  # type: ignore[no-untyped-def]
        given.append((name, left))
        if name == "absent":
            raise PeerUnavailable("it is not here")
        for start in left:
            yield {"start": start}

    monkeypatch.setattr(laser_peers, "drive_peer", drive_peer)
    # Ours have driven already, and the first of the peer's drives was done before an interruption.
    done = {("toy", laser_travel.TRAVEL, int(k)) for k in starts} | {("toy", "travel amcl", int(starts[0]))}
    plan = plan_from_scans(corrected.ranges_m, corrected.poses, BEARINGS, RANGE_MAX_M)
    rows = list(drives.rows("toy", plan, [corrected], done))
    assert given == [("absent", starts.tolist()), ("amcl", starts[1:].tolist())]
    assert [(row["method"], row["query"]) for row in rows] == [("travel amcl", k) for k in starts[1:]]
    assert "absent: it is not here" in caplog.text
