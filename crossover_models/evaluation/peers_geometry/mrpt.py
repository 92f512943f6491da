"""MRPT's particle filter (``pf-localization`` of Debian's mrpt-apps) on our odometry, scans and plans.

The bag becomes a CARMEN log and by ``carmen2rawlog`` a rawlog, the plans one picture and by ``image2gridmap`` a grid
map; an ini file says how the filter is set; what it estimates after every scan is read from what it prints. The filter
draws its own seed, and it has no recovery: a cloud that converged stays where it is.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.evaluation.buildings.answers import Answer
from crossover_models.evaluation.peers_geometry.atlas import Atlas
from crossover_models.evaluation.peers_geometry.carmen import CarmenScan, carmen_log
from crossover_models.evaluation.peers_geometry.view import (
    BEAMS,
    Fix,
    PeerFailed,
    PeerMap,
    PeerUnavailable,
    View,
    abstain,
    bearings,
)
from crossover_models.floor_plan import FREE, OCCUPIED, FloorPlan
from crossover_models.geometry import relative_se2

Array = NDArray[np.float64]

PROGRAMS = ("pf-localization", "carmen2rawlog", "image2gridmap")
PACKAGE = "mrpt-apps"
# A scan is handed on after this way or turn, as to the filter of our own.
TRAVEL_M, TURN_RAD = 0.1, 0.1
MAX_RANGE_M = 20.0
# Root of the trace of the cloud's covariance (m, m, rad) from which on its mean is announced.
SPREAD = 0.5
PARTICLES = 40_000
# 3DSceneFrequency must not be 0 (version 2.5.8 divides by it); with an adaptive number only multinomial resampling (0).
_INI = """\
[LocalizationExperiment]
use_3D_poses = false
map_file = {folder}/map.gridmap
rawlog_file = {folder}/log.rawlog
logOutput_dir = {folder}/out
3DSceneFrequency = -1
SHOW_PROGRESS_3D_REAL_TIME = false
experimentRepetitions = 1
particles_count = {particles}
init_PDF_mode = 0
init_PDF_min_x = {low_x}
init_PDF_max_x = {high_x}
init_PDF_min_y = {low_y}
init_PDF_max_y = {high_y}
[PF_options]
PF_algorithm = 0
resamplingMethod = 0
adaptiveSampleSize = 1
BETA = 0.5
sampleSize = 1
[KLD_options]
KLD_binSize_XY = 0.25
KLD_binSize_PHI_deg = 10
KLD_delta = 0.01
KLD_epsilon = 0.02
KLD_minSampleSize = 500
KLD_maxSampleSize = {particles}
KLD_minSamplesPerBin = 0
[DummyOdometryParams]
minStdXY = 0.03
minStdPHI = 1.0
[MetricMap]
occupancyGrid_count = 1
gasGrid_count = 0
landmarksMap_count = 0
pointsMap_count = 0
beaconMap_count = 0
likelihoodMapSelection = -1
[MetricMap_occupancyGrid_00_creationOpts]
resolution = {resolution}
[MetricMap_occupancyGrid_00_insertOpts]
[MetricMap_occupancyGrid_00_likelihoodOpts]
likelihoodMethod = 4
LF_decimation = 6
LF_stdHit = 0.2
LF_maxCorrsDistance = 0.5
LF_zHit = 0.9
LF_zRandom = 0.1
LF_maxRange = {max_range}
LF_alternateAverageMethod = 0
"""
_NUMBER = r"(-?(?:\d[\d.]*(?:[eE][-+]?\d+)?|nan|inf))"
_PRINTED = re.compile(rf"PDF estimation: \({_NUMBER},{_NUMBER},{_NUMBER}deg\).*tr\(cov\): {_NUMBER}")


@dataclass(frozen=True)
class Estimate:
    """Mean pose (3,) of the cloud in the grid map's frame, m and rad, and the root of its covariance's trace."""

    pose: Array
    spread: float


def grid_picture(plan: FloorPlan) -> NDArray[np.uint8]:
    """(rows, cols) uint8 with y up, as ``image2gridmap`` reads it: white is free, black a wall, gray unknown."""
    gray = np.full(plan.occupancy.shape, 128, dtype=np.uint8)
    gray[plan.occupancy == FREE] = 255
    gray[plan.occupancy == OCCUPIED] = 0
    return np.ascontiguousarray(gray[::-1])


def settings_file(folder: Path, plan: FloorPlan) -> str:
    """The ini file of a run in ``folder`` on a plan whose corner is the origin."""
    width, height = plan.size_m
    return _INI.format(
        folder=folder,
        particles=PARTICLES,
        low_x=0.0,
        high_x=width,
        low_y=0.0,
        high_y=height,
        resolution=plan.resolution_m,
        max_range=MAX_RANGE_M,
    )


def read_estimates(printed: str) -> list[Estimate]:
    """What the filter said of every scan, in their order."""
    return [
        Estimate(np.array([float(x), float(y), np.radians(float(yaw))]), float(spread))
        for x, y, yaw, spread in _PRINTED.findall(printed)
    ]


def programs() -> dict[str, str]:
    """Paths of MRPT's programs.

    Raises:
        PeerUnavailable: one of them is not installed.
    """
    found = {name: shutil.which(name) for name in PROGRAMS}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise PeerUnavailable(f"{', '.join(missing)}: not installed; on Debian they come with {PACKAGE}")
    return {name: str(path) for name, path in found.items()}


def mrpt(views: Iterable[View], where: PeerMap, seed: int = 0) -> Iterator[Answer]:
    """Run the filter over all views at once, as the program does, and announce its mean where the cloud is narrow."""
    tools = programs()
    atlas = Atlas.of(where.plans)
    kept, scans = _chosen(views)
    estimates: list[Estimate] = []
    if scans:
        with tempfile.TemporaryDirectory(prefix="mrpt-") as scratch:
            estimates = localize(scans, atlas.plan, Path(scratch), tools)
        if len(estimates) != len(scans):
            raise PeerFailed(f"pf-localization: {len(estimates)} estimates of {len(scans)} scans")
    fix: Fix | None = None
    held = False
    for stamp_ns, odometry, k in kept:
        if k is not None and k < len(estimates) and np.isfinite(estimates[k].pose).all():
            level, pose = atlas.to_level(estimates[k].pose)
            fix = Fix(level, pose, odometry, 0.0)
            held = estimates[k].spread <= SPREAD
        if fix is None:
            yield abstain(stamp_ns)
        else:
            yield where.announce(stamp_ns, fix.level, fix.at(odometry), None, None, held)


def localize(scans: Sequence[CarmenScan], plan: FloorPlan, folder: Path, tools: dict[str, str]) -> list[Estimate]:
    """Convert, run and read; ``plan`` has its corner in the origin.

    Raises:
        PeerFailed: a program broke off.
    """
    (folder / "log.log").write_text(carmen_log(scans), encoding="ascii")
    if not cv2.imwrite(str(folder / "map.png"), grid_picture(plan)):
        raise PeerFailed("map.png: could not be written")
    (folder / "pf.ini").write_text(settings_file(folder, plan), encoding="utf-8")
    _run([tools["carmen2rawlog"], "-q", "-w", "-i", "log.log", "-o", "log.rawlog"], folder)
    resolution = f"{plan.resolution_m:.9g}"
    origin = ["--px", "0", "--py", "0"]
    _run([tools["image2gridmap"], "-w", "-i", "map.png", "-o", "map.gridmap", "-r", resolution, *origin], folder)
    return read_estimates(_run([tools["pf-localization"], "pf.ini"], folder))


def _chosen(views: Iterable[View]) -> tuple[list[tuple[int, Array, int | None]], list[CarmenScan]]:
    """(stamp, odometry, number of the scan made of it or None) of every view, and the scans."""
    kept: list[tuple[int, Array, int | None]] = []
    scans: list[CarmenScan] = []
    last: Array | None = None
    for view in views:
        motion = np.zeros(3) if last is None else relative_se2(last, view.T_odom_base)
        moved = last is None or np.hypot(motion[0], motion[1]) >= TRAVEL_M or abs(motion[2]) >= TURN_RAD
        kept.append((view.stamp_ns, view.T_odom_base, len(scans) if moved else None))
        if moved:
            last = view.T_odom_base
            step = 2.0 * np.pi / BEAMS
            middle = float(bearings().mean())
            scans.append(CarmenScan(view.stamp_ns * 1e-9, view.T_odom_base, middle, step, MAX_RANGE_M, view.ranges_m))
    return kept, scans


def _run(command: Sequence[str], folder: Path) -> str:
    """What a program printed.

    Raises:
        PeerFailed: it failed.
    """
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    printed = f"{done.stdout}\n{done.stderr}"
    if done.returncode != 0:
        said = next((line for line in printed.splitlines() if "Message:" in line or "rror" in line), "")
        raise PeerFailed(
            f"{Path(command[0]).name}: exit status {done.returncode} {' '.join(said.split())[:150]}".strip()
        )
    return printed
