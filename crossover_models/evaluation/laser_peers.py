"""Peers on real laser logs: the same cold starts, scans and raw odometry as :mod:`laser_travel` gives our localizer.

One row a start, of the same fields, so that :func:`laser_travel.summarize_drives` sums up either. Geometry alone: a
planar laser has no heights, so that peers which match clouds get the walls of plan and scan drawn up alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.accumulation import scan_slice
from crossover_models.config import EncoderSettings
from crossover_models.estimate import LevelKey
from crossover_models.evaluation.judgement import RIGHT_DEG, RIGHT_M
from crossover_models.evaluation.laser_log import LaserLog
from crossover_models.evaluation.laser_travel import FIX_M, LEAST_STEP_M, LEAST_TURN_RAD, last_row
from crossover_models.evaluation.peers_geometry.amcl import amcl
from crossover_models.evaluation.peers_geometry.extruded import HIGH_M, LOW_M
from crossover_models.evaluation.peers_geometry.mrpt import mrpt
from crossover_models.evaluation.peers_geometry.one_shot import likelihood_field
from crossover_models.evaluation.peers_geometry.small_gicp import small_gicp
from crossover_models.evaluation.peers_geometry.view import GeometryPeer, PeerMap, View, planar_scan
from crossover_models.floor_plan import FloorPlan
from crossover_models.geometry import relative_se2, se3_from_se2
from crossover_models.observation import LocalCloud, WallSlice
from crossover_models.scan_accumulation import ScanAccumulator

Array = NDArray[np.float64]

PEERS: Mapping[str, GeometryPeer] = {
    "amcl": amcl,
    "likelihood-field": likelihood_field,
    "likelihood-field-gated": partial(likelihood_field, gated=True),
    "small-gicp": small_gicp,
    "mrpt": mrpt,
}
_SPACING_M = 0.1


def drive_peer(
    name: str,
    building: str,
    plan: FloorPlan,
    log: LaserLog,
    bearings_rad: Array,
    range_max_m: float,
    starts: Sequence[int],
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Rows of a peer of :data:`PEERS`, one a start; fields as of :func:`laser_travel.drive`.

    Raises:
        ValueError: a start without a corrected pose on the second half of its way.
        PeerUnavailable: the peer is not installed.
        PeerFailed: its program broke off.
    """
    level = LevelKey(building, "scans")
    where = PeerMap.of({level: plan}, [], {level: HIGH_M})
    way = log.travel_m
    for start in starts:
        end = last_row(log, int(start))
        if end is None:
            raise ValueError(f"start {start}: no corrected pose on the second half of its way")
        rows_of: dict[int, int] = {}
        row: dict[str, Any] = {"building": building, "start": int(start), "false_fixes": 0}
        row.update(first_fix_m=None, first_fix_s=None, right=False, error_m=None, error_deg=None)
        began, announced = time.process_time(), False
        views = log_views(log, bearings_rad, range_max_m, range(int(start), end + 1), rows_of)
        for answer in PEERS[name](views, where, seed + int(start)):
            k = rows_of[answer.stamp_ns]
            row["error_m"] = row["error_deg"] = None
            if not answer.announced or answer.T_map_base is None:
                announced = False
                continue
            row["error_m"], row["error_deg"] = log.error(k, answer.T_map_base)
            if announced:
                continue
            announced = True
            row["false_fixes"] += int(row["error_m"] > RIGHT_M or row["error_deg"] > RIGHT_DEG)
            if row["first_fix_m"] is None:
                row["first_fix_m"] = float(way[k] - way[start])
                row["first_fix_s"] = (int(log.stamps_ns[k]) - int(log.stamps_ns[start])) * 1e-9
                row["right"] = row["error_m"] <= FIX_M and row["error_deg"] <= RIGHT_DEG
        row["cpu_s"] = time.process_time() - began
        yield row


def log_views(
    log: LaserLog, bearings_rad: Array, range_max_m: float, rows: Sequence[int], rows_of: dict[int, int]
) -> Iterator[View]:
    """Scans of a log as views: the last one, and others unless nearer together than our localizer is given them.

    ``rows_of`` is told the row of each stamp. A scan's frame is the laser's, which stands for base_link.
    """
    accumulator = ScanAccumulator(EncoderSettings().accumulation)
    step_rad = float(bearings_rad[1] - bearings_rad[0])
    last: Array | None = None
    for k in rows:
        pose = log.T_odom_laser[k]
        motion = np.zeros(3) if last is None else relative_se2(last, pose)
        still = np.hypot(motion[0], motion[1]) < LEAST_STEP_M and abs(motion[2]) < LEAST_TURN_RAD
        if last is not None and still and k != rows[-1]:
            continue
        last = pose
        stamp = int(log.stamps_ns[k])
        rows_of[stamp] = int(k)
        mounting = np.eye(4)
        start_rad = float(bearings_rad[0])
        scan = scan_slice(stamp, log.ranges_m[k], start_rad, step_rad, 0.05, range_max_m, mounting, se3_from_se2(pose))
        walls = accumulator.add(scan)
        level = np.concatenate([scan.points, np.ones((len(scan.points), 1), dtype=np.float32)], axis=1)
        yield View(stamp, pose, planar_scan(level, 0.5, 1.5), cache(partial(_drawn_up, walls)), _giving(walls))


def _giving(walls: WallSlice) -> Callable[[], WallSlice | None]:
    return lambda: walls


def _drawn_up(walls: WallSlice) -> LocalCloud | None:
    """The returns of a slice at every height at which an extruded plan has walls."""
    heights = np.arange(LOW_M, HIGH_M + 1e-9, _SPACING_M, dtype=np.float32)
    count = len(heights)
    ground = np.repeat(walls.points, count, axis=0)
    points = np.concatenate([ground, np.tile(heights, len(walls.points))[:, None]], axis=1)
    origins = np.concatenate([walls.origins, np.zeros((len(walls.origins), 1), dtype=np.float32)], axis=1)
    index = np.repeat(walls.origin_index, count)
    return LocalCloud(walls.stamp_ns, points, origins, index, walls.T_odom_aligned, walls.scans)
