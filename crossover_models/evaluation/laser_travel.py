"""Cold starts drawn along real laser logs: how far a robot drives until the localizer announces the right pose.

Nothing but raw odometry and planar scans is fed to the localizer, each scan alone, as the nodes do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.accumulation import scan_slice
from crossover_models.config import LocalizerSettings, RegistrationSettings
from crossover_models.estimate import LevelKey, LocalizationState
from crossover_models.evaluation.judgement import RIGHT_DEG, RIGHT_M
from crossover_models.evaluation.laser_log import LaserLog, read_log
from crossover_models.floor_plan import FloorPlan
from crossover_models.geometry import se3_from_se2, wrap_angle
from crossover_models.localizer import Localizer
from crossover_models.observation import Modality, SceneEmbedding
from crossover_models.perception import NO_VECTOR

if TYPE_CHECKING:
    from crossover_models.evaluation.laser2d import LaserScans

# Names these rows among the others of a benchmark.
TRAVEL = "travel"
TRAVEL_M = 10.0
# A fix counts as right within this (the R@0.5 m of the single scans) and as false beyond RIGHT_M or RIGHT_DEG.
FIX_M = 0.5
# Scans nearer together than this are not fed: a standing robot's scans say the same again and again.
LEAST_STEP_M, LEAST_TURN_RAD = 0.05, 0.05
_FINGERPRINT = "planar scans"


@dataclass(frozen=True)
class _Level:
    key: LevelKey
    name: str = "scans"


class PlanMap:
    """A map that holds nothing but floor plans, as the localizer reads it."""

    embedding_dim = 1
    interaction = None
    encoder_fingerprint = _FINGERPRINT

    def __init__(self, plans: dict[LevelKey, FloorPlan]) -> None:
        self._plans = plans

    def building_ids(self) -> tuple[str, ...]:
        """All buildings."""
        return tuple(dict.fromkeys(key.building_id for key in self._plans))

    def levels(self, building_id: str | None = None) -> tuple[_Level, ...]:
        """Levels of a building, or all."""
        return tuple(_Level(key) for key in self._plans if building_id in (None, key.building_id))

    def floor_plan(self, key: LevelKey) -> FloorPlan:
        """Plan of a level."""
        return self._plans[key]

    def places(self, building_id: str | None = None, level_id: str | None = None) -> tuple[()]:
        """None: a bare plan names no rooms."""
        return ()

    def embeddings(self, building_id: str, modality: Modality) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """None."""
        return (), np.zeros((0, 1), dtype=np.float32)

    def tokens(self, building_id: str, modality: Modality) -> NDArray[np.int8]:
        """None."""
        return np.zeros((0, 0), dtype=np.int8)


def last_row(log: LaserLog, start: int) -> int | None:
    """The last scan with a corrected pose on the ``TRAVEL_M`` after a start; None if the second half has none."""
    way = log.travel_m
    first, last = np.searchsorted(way, [way[start] + TRAVEL_M / 2, way[start] + TRAVEL_M])
    known = np.flatnonzero(log.doubt[first:last, 0] == 0.0)
    return int(first + known[-1]) if len(known) else None


def draw_starts(log: LaserLog, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows (count,) of a log, increasing, drawn evenly along its way, whose drives end at a corrected pose.

    Raises:
        ValueError: the part of the log whose poses are known is shorter than a drive.
    """
    way, known = log.travel_m, np.flatnonzero(np.isfinite(log.T_map_laser[:, 0]))
    first, last = way[known[0]], way[known[-1]] - TRAVEL_M
    drawn: list[int] = []
    for _ in range(100 * count if last > first else 0):
        row = int(np.searchsorted(way, rng.uniform(first, last)))
        if last_row(log, row) is not None:
            drawn.append(row)
        if len(drawn) == count:
            return np.sort(np.array(drawn, dtype=np.int64))
    raise ValueError(f"log: no drives of {TRAVEL_M} m with corrected poses in {way[known[-1]] - way[known[0]]:.1f} m")


def drive(
    building: str,
    plan: FloorPlan,
    log: LaserLog,
    bearings_rad: NDArray[np.float64],
    range_max_m: float,
    starts: Sequence[int],
    settings: LocalizerSettings,
) -> Iterator[dict[str, Any]]:
    """One row a start, each from scratch over at most ``TRAVEL_M``, as long as the last scan with a corrected pose.

    ``first_fix_m`` of way and ``first_fix_s`` of the log (None without a fix), whether the first fix was ``right``,
    ``false_fixes`` (announcements beyond 1 m or 30 deg), ``error_m`` and ``error_deg`` of the pose announced at the
    end (None if none is), ``cpu_s``. Errors are those of :meth:`LaserLog.error`.
    """
    way = log.travel_m
    base = PlanMap({LevelKey(building, "scans"): plan})
    step_rad = float(bearings_rad[1] - bearings_rad[0])
    for start in starts:
        localizer = Localizer(base, settings)
        row: dict[str, Any] = {"building": building, "start": int(start), "false_fixes": 0}
        row.update(first_fix_m=None, first_fix_s=None, right=False, error_m=None, error_deg=None)
        began, announced, last = time.process_time(), False, None
        end = last_row(log, int(start))
        assert end is not None
        for k in range(int(start), end + 1):
            pose = log.T_odom_laser[k]
            if last is not None and k < end and not _moved(last, pose):
                continue
            last = pose
            stamp = int(log.stamps_ns[k])
            scan = scan_slice(
                stamp,
                log.ranges_m[k],
                float(bearings_rad[0]),
                step_rad,
                0.05,
                range_max_m,
                np.eye(4),
                se3_from_se2(pose),
            )
            localizer.on_odometry(stamp, pose)
            seen = SceneEmbedding(stamp, Modality.POINT_CLOUD, NO_VECTOR, _FINGERPRINT, scan)
            estimate = localizer.on_embedding(seen)
            row["error_m"] = row["error_deg"] = None
            if estimate.state != LocalizationState.LOCALIZED or estimate.best is None:
                announced = False
                continue
            row["error_m"], row["error_deg"] = log.error(k, estimate.best.T_map_base)
            false = row["error_m"] > RIGHT_M or row["error_deg"] > RIGHT_DEG
            if not announced:
                announced = True
                row["false_fixes"] += int(false)
                if row["first_fix_m"] is None:
                    row["first_fix_m"] = float(way[k] - way[start])
                    row["first_fix_s"] = (stamp - int(log.stamps_ns[start])) * 1e-9
                    row["right"] = row["error_m"] <= FIX_M and row["error_deg"] <= RIGHT_DEG
        row["cpu_s"] = time.process_time() - began
        yield row


@dataclass(frozen=True)
class Drives:
    """Drives that a benchmark asks for.

    Attributes:
        logs: folder of ``<building>.clf.bz2``.
        count: drives in each building.
        seed: of the starts.
        registration: settings beside the default ones.
        peers: whom to give the same drives, of :data:`laser_peers.PEERS`.
    """

    logs: Path
    count: int
    seed: int
    registration: RegistrationSettings
    peers: tuple[str, ...] = ()

    def rows(
        self,
        building: str,
        plan: FloorPlan,
        corrected: Sequence[LaserScans],
        done: Collection[tuple[str, str, int]],
    ) -> Iterator[dict[str, Any]]:
        """Rows of :func:`drive` that are not done yet, by (building, ``TRAVEL``, start), then those of the peers.

        A peer that is not installed has none, and a warning names it.

        Raises:
            LaserLogError: there is no such log, or it cannot be read.
        """
        if not self.count:
            return
        ranges = np.concatenate([scans.ranges_m for scans in corrected])
        poses = np.concatenate([scans.poses for scans in corrected])
        log = read_log(self.logs / f"{building}.clf.bz2", ranges, poses)
        starts = draw_starts(log, self.count, np.random.default_rng([self.seed, *building.encode()]))
        left = _left(starts, building, TRAVEL, done)
        settings = LocalizerSettings(registration=self.registration)
        bearings, limit = corrected[0].bearings_rad, corrected[0].range_max_m
        for row in drive(building, plan, log, bearings, limit, left, settings):
            yield {**row, "method": TRAVEL, "query": row["start"]}
        for name in self.peers:
            # Peers bring libraries that a run without them does not need.
            from crossover_models.evaluation.laser_peers import drive_peer
            from crossover_models.evaluation.peers_geometry.view import PeerUnavailable

            method = peer_method(name)
            left = _left(starts, building, method, done)
            try:
                for row in drive_peer(name, building, plan, log, bearings, limit, left, self.seed):
                    yield {**row, "method": method, "query": row["start"]}
            except PeerUnavailable as error:
                logging.getLogger(__name__).warning("%s: %s", name, error)


def peer_method(name: str) -> str:
    """How a benchmark names the rows of a peer's drives."""
    return f"{TRAVEL} {name}"


def peer_names(text: str) -> tuple[str, ...]:
    """Names of peers from ``"a,b"``, ``"all"`` or ``""``.

    Raises:
        ValueError: there is no such peer.
    """
    from crossover_models.evaluation.laser_peers import PEERS

    names = tuple(PEERS) if text == "all" else tuple(name for name in text.split(",") if name)
    for name in names:
        if name not in PEERS:
            raise ValueError(f"--peers: {name!r} is not one of {', '.join(PEERS)}")
    return names


def _left(starts: NDArray[np.int64], building: str, method: str, done: Collection[tuple[str, str, int]]) -> list[int]:
    return [int(k) for k in np.unique(starts) if (building, method, int(k)) not in done]


def summarize_drives(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares and medians over drives; ``right_by_end`` is the share announced within 0.5 m when the way is over.

    ``right_by_end_95`` is its 95 % interval.
    """
    if not rows:
        return {"n": 0}
    fixed = [row for row in rows if row["first_fix_m"] is not None]
    ended = [row for row in rows if row["error_m"] is not None]
    right = [row for row in ended if row["error_m"] <= FIX_M and row["error_deg"] <= RIGHT_DEG]
    return {
        "right_by_end": len(right) / len(rows),
        "right_by_end_95": wilson(len(right), len(rows)),
        "first_fix_right": sum(row["right"] for row in rows) / len(rows),
        "false_fixes": sum(row["false_fixes"] for row in rows),
        "metres_to_fix": float(np.median([row["first_fix_m"] for row in fixed])) if fixed else None,
        "seconds_to_fix": float(np.median([row["first_fix_s"] for row in fixed])) if fixed else None,
        "error_m": float(np.median([row["error_m"] for row in right])) if right else None,
        "error_deg": float(np.median([row["error_deg"] for row in right])) if right else None,
        "cpu_s": float(np.mean([row["cpu_s"] for row in rows])),
        "n": len(rows),
    }


def wilson(hits: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): it stays within 0..1 and is sound for few trials."""
    z = 1.96
    center, spread = hits + z * z / 2, z * float(np.sqrt(hits * (of - hits) / of + z * z / 4))
    return max(0.0, (center - spread) / (of + z * z)), min(1.0, (center + spread) / (of + z * z))


def _moved(old: NDArray[np.float64], new: NDArray[np.float64]) -> bool:
    step = float(np.hypot(*(new[:2] - old[:2])))
    return step >= LEAST_STEP_M or abs(float(wrap_angle(new[2] - old[2]))) >= LEAST_TURN_RAD
