"""Rooms of a drawing that names none: free space parted at its doors and at necks as narrow as a door."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crossover_models.building import Door
from crossover_models.floor_plan import FREE, FloorPlan
from crossover_models.map_database.raster import RESOLUTION_M

_EIGHT = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Rooms:
    """Rooms as labels of a plan's cells.

    Attributes:
        plan: whose cells are labelled.
        labels: (rows, cols) int32; 0 is no room, rooms are 1..count.
        count: number of rooms.
    """

    plan: FloorPlan
    labels: NDArray[np.int32]
    count: int

    def at(self, point_xy: Sequence[float] | NDArray[np.float64]) -> int:
        """Label at a map-frame point, 0 for none."""
        row, col = self.plan.cell(np.asarray(point_xy, dtype=np.float64)).tolist()
        rows, cols = self.labels.shape
        return int(self.labels[row, col]) if 0 <= row < rows and 0 <= col < cols else 0

    def near(self, point_xy: NDArray[np.float64], reach_m: float) -> int:
        """Label nearest to a map-frame point within ``reach_m``, 0 for none."""
        row, col = self.plan.cell(point_xy).tolist()
        k = max(1, round(reach_m / self.plan.resolution_m))
        r0, c0 = max(0, row - k), max(0, col - k)
        window = self.labels[r0 : row + k + 1, c0 : col + k + 1]
        cells = np.argwhere(window > 0)
        if not len(cells):
            return 0
        distance = np.hypot(cells[:, 0] + r0 - row, cells[:, 1] + c0 - col)
        best = cells[int(np.argmin(distance))]
        return int(window[best[0], best[1]]) if distance.min() <= k else 0

    def beside(self, door: Door, reach_m: float = 0.5) -> tuple[int, int]:
        """Labels on the two sides of a door, 0 for none."""
        middle = door.segment.mean(axis=0)
        along = door.segment[1] - door.segment[0]
        normal = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-9)
        left, right = middle + reach_m * normal, middle - reach_m * normal
        return self.at(left) or self.near(left, 0.3), self.at(right) or self.near(right, 0.3)

    def deepest(self, label: int) -> NDArray[np.float64]:
        """(2,) map-frame point of a room farthest from its edge."""
        depth = _depth(self.labels == label)
        return self.plan.position(np.unravel_index(int(depth.argmax()), depth.shape))

    def area_m2(self, label: int) -> float:
        """Area of a room."""
        return float((self.labels == label).sum()) * self.plan.resolution_m**2

    def outline(self, label: int) -> NDArray[np.float64]:
        """(N, 2) outer outline of a room in the map frame, simplified to a cell."""
        # Doubled cells: OpenCV's contour runs through pixel centers, here a quarter cell inside the room's edge.
        mask = (self.labels == label).astype(np.uint8)
        c0, r0, width, height = cv2.boundingRect(mask)
        mask = mask[r0 : r0 + height, c0 : c0 + width].repeat(2, axis=0).repeat(2, axis=1)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        contour = max(contours, key=cv2.contourArea)
        simple = cv2.approxPolyDP(contour, 2.0, True)
        chosen = simple if len(simple) >= 3 else cv2.boxPoints(cv2.minAreaRect(contour))[:, None]
        xy = (np.asarray(chosen, dtype=np.float64)[:, 0] + 0.5) / 2.0 + (c0, r0)
        return xy * self.plan.resolution_m + self.plan.origin_xy


def split_rooms(
    plan: FloorPlan, doors: Sequence[Door], neck_m: float = 1.1, min_area_m2: float = 1.5, core_m2: float = 1.0
) -> Rooms:
    """Part a plan's free space into rooms.

    Doors are closed first. What then hangs together is parted further at necks narrower than ``neck_m``: free space
    shrunk by half of it falls apart there, and each piece of at least ``core_m2`` grows back to its walls.

    Args:
        plan: with doors drawn open.
        doors: of the level.
        neck_m: widest passage that parts two rooms.
        min_area_m2: smaller pieces belong to the neighbor they touch most, or are no room.
        core_m2: least area of a shrunk piece that makes a room of its own.
    """
    res = plan.resolution_m
    free = plan.occupancy == FREE
    closed = free & ~_door_cells(plan, doors)
    distance = _depth(closed)
    cores = _large(_parts(distance * res > neck_m / 2), core_m2 / res**2)
    labels = _regain(cores, distance, neck_m / 2 / res)
    # Pieces that no core reaches: rooms as narrow as their doors.
    rest = _large(_parts(closed & (labels == 0)), min_area_m2 / res**2)
    labels = np.where(rest > 0, rest + labels.max(), labels)
    labels = _without_small(labels, min_area_m2 / res**2)
    labels = _grow(labels, free)  # doorways belong to the nearer room
    values = np.unique(labels)
    values = values[values > 0]
    order = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.int32)
    order[values] = np.arange(1, len(values) + 1)
    return Rooms(plan, order[labels], len(values))


def neck_of(doors: Sequence[Door]) -> float:
    """Width up to which a gap in a level's walls is taken for a doorway: a little over its own doors'."""
    widths = [float(np.linalg.norm(d.segment[1] - d.segment[0])) for d in doors if "double" not in d.kind]
    return float(np.clip(1.15 * np.median(widths), 1.1, 1.7)) if widths else 1.1


def _regain(cores: NDArray[np.int32], depth_cells: NDArray[np.float64], first: float) -> NDArray[np.int32]:
    """Let cores flow back to their walls, a cell of depth at a time, so that they meet where the passage is narrowest.

    A core gains at most three cells a step: what lies farther is a corridor of its own.
    """
    labels = cores
    for level in np.arange(first, -1.0, -1.0):
        labels = _grow(labels, depth_cells > max(level, 0.0), 3)
    return labels


FAR_CELLS = 1 << 24


def _door_cells(plan: FloorPlan, doors: Sequence[Door]) -> NDArray[np.bool_]:
    mask = np.zeros(plan.occupancy.shape, dtype=np.uint8)
    thick = max(2, round(2 * RESOLUTION_M / plan.resolution_m))
    for door in doors:
        cells = np.round((door.segment - plan.origin_xy) / plan.resolution_m - 0.5)
        # A door drawn kilometres away is off the plan either way, and OpenCV counts in 32 bits.
        a, b = np.clip(cells, -FAR_CELLS, FAR_CELLS).astype(int).tolist()
        cv2.line(mask, a, b, 1, thick)
    return mask.astype(bool)


def _depth(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance of every cell of a mask from the nearest cell outside it, in cells; beyond the raster is outside."""
    padded = np.pad(mask, 1).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), dtype=np.float64)[1:-1, 1:-1]


def _parts(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Connected parts of a mask, 1..n."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    return np.asarray(labels, dtype=np.int32)


def _large(labels: NDArray[np.int32], cells: float) -> NDArray[np.int32]:
    """Labels of at least so many cells, renumbered from 1."""
    sizes = np.bincount(labels.ravel())
    keep = sizes >= cells
    keep[0] = False
    order = np.where(keep, np.cumsum(keep), 0)
    return np.asarray(order[labels], dtype=np.int32)


def _without_small(labels: NDArray[np.int32], cells: float) -> NDArray[np.int32]:
    """Give each room of fewer cells to the neighbor it touches most, or to none."""
    out = labels.copy()
    sizes = np.bincount(labels.ravel())
    for label in np.flatnonzero((sizes > 0) & (sizes < cells)):
        if label == 0:
            continue
        mask = out == label
        around = out[ndimage.binary_dilation(mask, _EIGHT, iterations=2) & ~mask]
        around = around[around > 0]
        out[mask] = np.bincount(around).argmax() if len(around) else 0
    return out


def _grow(labels: NDArray[np.int32], within: NDArray[np.bool_], steps: int | None = None) -> NDArray[np.int32]:
    """Grow all labels at the same pace through ``within``, so many cells or until nothing is left to reach."""
    out = labels.copy()
    while steps is None or steps > 0:
        steps = None if steps is None else steps - 1
        spread = cv2.dilate(out.astype(np.float32), np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8))
        new = (out == 0) & within & (spread > 0)
        if not new.any():
            break
        out[new] = spread[new].astype(np.int32)
    return out
