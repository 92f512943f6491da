"""Peers on a planted laser log: rows that our own localizer's summary understands, and who finds the room."""

from __future__ import annotations

import numpy as np
import pytest

from crossover_models.evaluation import laser_travel
from crossover_models.evaluation.laser_log import LaserLog
from crossover_models.evaluation.laser_peers import PEERS, drive_peer, log_views
from crossover_models.evaluation.laser_travel import summarize_drives
from crossover_models.floor_plan import FREE, OCCUPIED, FloorPlan
from crossover_models.geometry import compose_se2, transform_points_se2

BEARINGS = np.radians(np.arange(-90.0, 91.0, 2.0))
STEP = np.array([0.12, 0.0, 0.16])


def planted() -> tuple[FloorPlan, LaserLog]:
    """A room with a niche and a bar, and two rounds in it with half a turn of view."""
    occupancy = np.full((120, 160), FREE, dtype=np.int8)
    occupancy[[0, 1, -2, -1]] = occupancy[:, [0, 1, -2, -1]] = OCCUPIED
    occupancy[0:50, 40:46] = occupancy[80:86, 110:160] = OCCUPIED
    plan = FloorPlan(occupancy, 0.05, (-1.0, -2.0))
    along = np.arange(0.05, 12.0, 0.02)
    pose, odometry = np.array([3.5, -0.25, 0.0]), np.array([3.0, -7.0, 2.0])
    ranges, true, odom = [], [], []
    for _ in range(40):
        true.append(pose)
        odom.append(odometry)
        scan = []
        for bearing in BEARINGS:
            beam = np.stack([along * np.cos(bearing), along * np.sin(bearing)], axis=1)
            scan.append(along[np.argmax(plan.value(transform_points_se2(pose, beam)) == OCCUPIED)])
        ranges.append(scan)
        pose, odometry = compose_se2(pose, STEP), compose_se2(odometry, STEP)
    stamps = 10**9 + np.arange(40, dtype=np.int64) * 200_000_000
    return plan, LaserLog(stamps, np.array(ranges), np.stack(odom), np.stack(true), np.zeros((40, 2)))


PLAN, LOG = planted()


def test_views_are_in_the_lasers_frame_and_standing_still_gives_none() -> None:
    rows_of: dict[int, int] = {}
    still = LaserLog(LOG.stamps_ns, LOG.ranges_m, LOG.T_odom_laser[[0, 0, *range(2, 40)]], LOG.T_map_laser, LOG.doubt)
    views = list(log_views(still, BEARINGS, 20.0, range(6), rows_of))
    assert list(rows_of.values()) == [0, 2, 3, 4, 5] and [view.stamp_ns for view in views] == list(rows_of)
    for view, k in zip(views, rows_of.values(), strict=True):
        ends = transform_points_se2(LOG.T_map_laser[k], view.scan_xy)
        near = PLAN.distance_m[tuple(PLAN.cell(ends).clip(0, [119, 159]).T)]
        assert np.quantile(near, 0.95) < 0.1 and len(ends) > 80
        cloud = view.cloud()
        assert cloud is not None and cloud.points[:, 2].min() == pytest.approx(0.3)


@pytest.mark.parametrize("name", ["likelihood-field", "amcl"])
def test_a_peer_finds_the_planted_room(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laser_travel, "TRAVEL_M", 3.5)
    (row,) = drive_peer(name, "b", PLAN, LOG, BEARINGS, 20.0, [2], seed=1)
    assert row["building"] == "b" and row["start"] == 2 and row["right"] and row["false_fixes"] == 0
    assert row["error_m"] < 0.2 and row["error_deg"] < 5.0
    summary = summarize_drives([row])
    assert summary["right_by_end"] == 1.0 and summary["n"] == 1
    # Announcing at once is what a one-shot peer does; the filter waits until its cloud has held for a metre.
    assert (row["first_fix_m"] == 0.0) == (name == "likelihood-field")


def test_every_peer_for_planar_scans_is_one_of_the_benchmark() -> None:
    from crossover_models.evaluation.buildings.peers import GEOMETRY_PEERS

    assert set(PEERS) <= set(GEOMETRY_PEERS)
