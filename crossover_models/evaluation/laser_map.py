"""An occupancy plan of planar scans with known poses, by counting hits and passes of every cell."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan

# OpenCV draws lines in fixed point: fractional bits of a coordinate.
SHIFT = 4


def plan_from_scans(
    ranges_m: NDArray[np.floating],
    poses: NDArray[np.floating],
    bearings_rad: NDArray[np.floating],
    range_max_m: float,
    resolution_m: float = 0.05,
    occupied_share: float = 0.3,
) -> FloorPlan:
    """Draw a plan from scans (N, B) at poses (N, 3) of the laser with bearings (B,).

    A cell is occupied where at least ``occupied_share`` of the rays that reached it ended there, free where rays passed
    and fewer ended, unknown where none came. Ranges that are not finite, not positive or beyond ``range_max_m`` are no
    hits; their rays say nothing (Probabilistic Robotics, section 9.2, as a counting model).
    """
    ranges = np.asarray(ranges_m, dtype=np.float64)
    places = np.asarray(poses, dtype=np.float64)
    usable = np.isfinite(ranges) & (ranges > 0.05) & (ranges < range_max_m)
    ranges = np.where(usable, ranges, 0.0)
    heading = places[:, 2, None] + bearings_rad[None]
    ends = places[:, None, :2] + ranges[..., None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    low = np.minimum(ends.min(axis=(0, 1)), places[:, :2].min(axis=0)) - 1.0
    high = np.maximum(ends.max(axis=(0, 1)), places[:, :2].max(axis=0)) + 1.0
    cols, rows = np.ceil((high - low) / resolution_m).astype(int)
    hits, passes = np.zeros((rows, cols), dtype=np.int32), np.zeros((rows, cols), dtype=np.int32)
    for k in range(len(ranges)):
        # One scan counts once per cell, however many of its beams cross it.
        swept = np.zeros((rows, cols), dtype=np.uint8)
        start = _fixed(places[k, :2], low, resolution_m)
        for end in _fixed(ends[k, usable[k]], low, resolution_m):
            cv2.line(swept, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), 1, 1, cv2.LINE_8, SHIFT)
        cells = np.floor((ends[k, usable[k]] - low) / resolution_m).astype(np.int64)
        swept[cells[:, 1], cells[:, 0]] = 0
        passes += swept
        hit = np.zeros((rows, cols), dtype=bool)
        hit[cells[:, 1], cells[:, 0]] = True
        hits += hit
    seen = hits + passes
    occupancy = np.full((rows, cols), UNKNOWN, dtype=np.int8)
    occupancy[seen > 0] = FREE
    occupancy[(hits > 0) & (hits >= occupied_share * seen)] = OCCUPIED
    return FloorPlan(occupancy, resolution_m, (float(low[0]), float(low[1])))


def _fixed(points: NDArray[np.float64], low: NDArray[np.float64], resolution_m: float) -> NDArray[np.int64]:
    return np.asarray(np.rint(((points - low) / resolution_m - 0.5) * (1 << SHIFT)), dtype=np.int64)
