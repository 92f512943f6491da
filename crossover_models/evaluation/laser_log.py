"""CARMEN logs of planar lasers: scans with raw odometry in the order of driving, beside poses corrected afterwards."""

from __future__ import annotations

import bz2
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossover_models.geometry import compose_se2, inverse_se2, wrap_angle

Array = NDArray[np.float64]
# Fields after a FLASER's ranges: pose and odometry (x, y, theta each), and the stamp.
_ODOMETRY, _STAMP, _LEAST_TAIL = 3, 6, 7
# Stamps of some logs run backwards by a little where two processes wrote; the robot's time does not.
_LEAST_STEP_S = 1e-3


class LaserLogError(ValueError):
    """A log that cannot be read or does not hold the corrected scans; the message names the file."""


@dataclass(frozen=True)
class LaserLog:
    """A drive.

    Attributes:
        stamps_ns: (N,) increasing.
        ranges_m: (N, B).
        T_odom_laser: (N, 3) raw odometry of the laser, which drifts.
        T_map_laser: (N, 3) corrected poses: those of the scans that have one, and in between odometry with its error
            spread over the way. NaN before the first and after the last.
        doubt: (N, 2) metres and radians by which those in between may be wrong: 0 at a corrected scan, half of what
            odometry missed midway (the spread of a Brownian bridge).
    """

    stamps_ns: NDArray[np.int64]
    ranges_m: Array
    T_odom_laser: Array
    T_map_laser: Array
    doubt: Array

    def error(self, row: int, T_map_laser: Array) -> tuple[float, float]:
        """Metres and degrees by which a pose (3,) is wrong at least, for all that is known of the truth at that row."""
        offset = np.asarray(T_map_laser, dtype=np.float64) - self.T_map_laser[row]
        turn_rad = abs(float(wrap_angle(offset[2])))
        metres = float(np.hypot(offset[0], offset[1]) - self.doubt[row, 0])
        return max(0.0, metres), float(np.degrees(max(0.0, turn_rad - self.doubt[row, 1])))

    @property
    def travel_m(self) -> Array:
        """(N,) way driven so far by odometry, metres."""
        return travelled(self.T_odom_laser)


def travelled(poses: Array) -> Array:
    """(N,) way along poses (N, 3), metres."""
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(poses[:, :2], axis=0).T))])


def read_log(path: Path, corrected_ranges_m: Array, corrected_poses: Array) -> LaserLog:
    """Read the front laser of a CARMEN log (``.clf``, or ``.clf.bz2``) and find its corrected poses.

    Args:
        path: the log; lines ``FLASER n r1..rn x y theta odom_x odom_y odom_theta stamp host logger_stamp``.
        corrected_ranges_m: (M, B) scans whose poses are known; each is looked up by its ranges, to the centimetre.
        corrected_poses: (M, 3) of them.

    Raises:
        LaserLogError: no such file, lines that are cut short, or fewer than two of the corrected scans in it.
    """
    if not path.is_file():
        raise LaserLogError(f"{path}: no such file; give the folder of the logs with --logs")
    ranges: list[Array] = []
    odometry: list[list[float]] = []
    stamps: list[float] = []
    try:
        with bz2.open(path, "rt") if path.suffix == ".bz2" else path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.startswith("FLASER "):
                    continue
                fields = line.split()
                count = int(fields[1])
                tail = fields[2 + count :]
                if len(tail) < _LEAST_TAIL or (ranges and count != len(ranges[0])):
                    raise LaserLogError(f"{path}: line {number}: {len(fields)} fields for {count} ranges")
                ranges.append(np.array(fields[2 : 2 + count], dtype=np.float64))
                odometry.append([float(value) for value in tail[_ODOMETRY:_STAMP]])
                stamps.append(float(tail[_STAMP]))
    except (ValueError, OSError, EOFError, IndexError) as error:
        if isinstance(error, LaserLogError):
            raise
        raise LaserLogError(f"{path}: {error}") from None
    if not ranges:
        raise LaserLogError(f"{path}: no FLASER line")
    seconds = np.array(stamps) - min(stamps)
    seconds = np.maximum.accumulate(seconds) + np.arange(len(seconds)) * _LEAST_STEP_S
    scans, T_odom = np.array(ranges), np.array(odometry)
    truth, doubt = _between(T_odom, *_known(path, scans, corrected_ranges_m, corrected_poses))
    return LaserLog(np.round(seconds * 1e9).astype(np.int64), scans, T_odom, truth, doubt)


def _known(path: Path, ranges: Array, corrected_ranges_m: Array, corrected_poses: Array) -> tuple[Array, Array]:
    """Rows (K,), increasing, of the scans with a corrected pose, and the poses (K, 3)."""
    row_of = {_key(scan): row for row, scan in enumerate(ranges)}
    rows = np.array([row_of.get(_key(scan), -1) for scan in corrected_ranges_m])
    found = np.flatnonzero(rows >= 0)
    rows, first = np.unique(rows[found], return_index=True)
    if len(rows) < 2:
        raise LaserLogError(f"{path}: holds {len(rows)} of the {len(corrected_poses)} scans whose poses are known")
    return rows, corrected_poses[found[first]]


def _key(scan: Array) -> bytes:
    return np.round(scan * 100.0).astype(np.int32).tobytes()


def _between(T_odom: Array, rows: Array, poses: Array) -> tuple[Array, Array]:
    """Truth (N, 3): each scan goes from the known one before it along odometry, less its share of what that misses.

    Also its doubt (N, 2).
    """
    out, doubt = np.full(T_odom.shape, np.nan), np.full((len(T_odom), 2), np.inf)
    way = travelled(T_odom)
    T_map_odom = compose_se2(poses, inverse_se2(T_odom[rows]))
    for k in range(len(rows) - 1):
        part = np.arange(rows[k], rows[k + 1] + 1)
        guess = compose_se2(T_map_odom[k], T_odom[part])
        missed = poses[k + 1] - guess[-1]
        missed[2] = wrap_angle(missed[2])
        length = way[rows[k + 1]] - way[rows[k]]
        share = (way[part] - way[rows[k]]) / length if length > 0.0 else np.linspace(0.0, 1.0, len(part))
        out[part] = guess + share[:, None] * missed
        spread = np.sqrt(share * (1.0 - share))[:, None]
        doubt[part] = spread * [np.hypot(missed[0], missed[1]), abs(missed[2])]
    doubt[rows] = 0.0
    out[:, 2] = wrap_angle(out[:, 2])
    return out, doubt
