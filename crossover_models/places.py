"""Which place of the map a point lies in."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossover_models.estimate import LevelKey
from crossover_models.map_source import PlaceOutline

# A Gaussian position lies within so many standard deviations, and is represented by as many points of equal mass.
REACH_SIGMAS = 3.0
_TURNS, _QUANTILES = 8, (np.arange(4) + 0.5) / 4
_ANGLE = 2.0 * np.pi * (np.arange(_TURNS)[None, :] + 0.5 * np.arange(len(_QUANTILES))[:, None]) / _TURNS
# (32, 2) points of equal mass under the standard normal of the plane: rings at quantiles of the Rayleigh distribution.
NORMAL_POINTS = np.sqrt(-2.0 * np.log1p(-_QUANTILES))[:, None, None] * np.stack([np.cos(_ANGLE), np.sin(_ANGLE)], -1)
NORMAL_POINTS = NORMAL_POINTS.reshape(-1, 2)


class PlaceMap:
    """Outlines of all places, by level."""

    def __init__(self, places: Iterable[PlaceOutline]) -> None:
        self._by_level: dict[LevelKey, list[tuple[PlaceOutline, NDArray[np.float32], float]]] = {}
        for place in places:
            outline = np.ascontiguousarray(place.polygon, dtype=np.float32)
            self._by_level.setdefault(place.key, []).append((place, outline, float(cv2.contourArea(outline))))
        for places_of_level in self._by_level.values():
            # An outline has no holes: a room that stands inside a hall is asked before the hall.
            places_of_level.sort(key=lambda entry: entry[2])

    def at(self, level: LevelKey, point_xy: ArrayLike, margin_m: float = 0.5) -> PlaceOutline | None:
        """The place around a map-frame point: the smallest that holds it, or else the nearest within ``margin_m``."""
        x, y = (float(v) for v in np.asarray(point_xy, dtype=np.float64)[:2])
        nearest: PlaceOutline | None = None
        best_m = -margin_m
        for place, outline, _ in self._of(level):
            inside_m = cv2.pointPolygonTest(outline, (x, y), True)
            if inside_m >= 0.0:
                return place
            if inside_m > best_m:
                nearest, best_m = place, inside_m
        return nearest

    def shares(
        self, level: LevelKey, position_xy: ArrayLike, covariance: ArrayLike, margin_m: float = 0.5
    ) -> dict[str, float]:
        """Share of a Gaussian position that lies in each place, by id; "" for outside of all. They sum to 1.

        Args:
            level: where.
            position_xy: (2,) mean, m.
            covariance: (2, 2), m^2.
            margin_m: as in :meth:`at`.
        """
        mean = np.asarray(position_xy, dtype=np.float64)[:2]
        values, axes = np.linalg.eigh(np.asarray(covariance, dtype=np.float64)[:2, :2])
        sigma = np.sqrt(np.maximum(values, 0.0))
        reach_m = REACH_SIGMAS * float(sigma[-1])
        depths = [cv2.pointPolygonTest(o, (float(mean[0]), float(mean[1])), True) for _, o, _ in self._of(level)]
        for (place, _, _), inside_m in zip(self._of(level), depths, strict=True):
            if inside_m >= reach_m:
                return {place.place_id: 1.0}
            if inside_m > -reach_m:
                break
        if all(inside_m < -(reach_m + margin_m) for inside_m in depths):
            return {"": 1.0}
        out: dict[str, float] = {}
        for point in mean + (NORMAL_POINTS * sigma) @ axes.T:
            found = self.at(level, point, margin_m)
            name = found.place_id if found is not None else ""
            out[name] = out.get(name, 0.0) + 1.0 / len(NORMAL_POINTS)
        return out

    def _of(self, level: LevelKey) -> list[tuple[PlaceOutline, NDArray[np.float32], float]]:
        """Of a level, the smallest place first."""
        return self._by_level.get(level, [])

    def distance_m(self, place: PlaceOutline, level: LevelKey, point_xy: ArrayLike) -> float:
        """From a map-frame point on a level to a place, 0 inside of it, infinite from another level."""
        if level != place.key:
            return float("inf")
        x, y = (float(v) for v in np.asarray(point_xy, dtype=np.float64)[:2])
        outline = np.ascontiguousarray(place.polygon, dtype=np.float32)
        return max(0.0, -float(cv2.pointPolygonTest(outline, (x, y), True)))


def interior_point(polygon: NDArray[np.float64]) -> tuple[float, float]:
    """A point well inside a simple polygon (N, 2), m: the centroid if it is inside, else the deepest grid point."""
    outline = np.ascontiguousarray(polygon, dtype=np.float32)
    center = polygon.mean(axis=0)
    if cv2.pointPolygonTest(outline, (float(center[0]), float(center[1])), False) > 0:
        return float(center[0]), float(center[1])
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    xs, ys = np.meshgrid(np.linspace(low[0], high[0], 24), np.linspace(low[1], high[1], 24))
    candidates = np.stack([xs.ravel(), ys.ravel()], axis=1)
    depth = [cv2.pointPolygonTest(outline, (float(x), float(y)), True) for x, y in candidates]
    x, y = candidates[int(np.argmax(depth))]
    return float(x), float(y)
