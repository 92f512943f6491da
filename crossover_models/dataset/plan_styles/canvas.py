"""A sheet of paper with metric coordinates, and the pen that draws on it: straight, or as by hand."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Ink = tuple[int, int, int]
_SHIFT = 4


class Canvas:
    """An RGB sheet, row 0 at the lowest y; what is drawn beyond its edges is lost."""

    def __init__(
        self,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        resolution_m: float,
        paper: Ink,
        rng: np.random.Generator,
        *,
        wobble_m: float = 0.0,
        distortion: NDArray[np.float64] | None = None,
    ) -> None:
        """``distortion`` (2, 2) maps true positions to drawn ones: a draftsman's errors of scale and angle."""
        cols, rows = np.maximum(np.ceil((high - low) / resolution_m).astype(int), 1)
        self.image = np.full((int(rows), int(cols), 3), paper, dtype=np.uint8)
        self.paper, self.low, self.resolution_m = paper, np.asarray(low, dtype=np.float64), resolution_m
        self._rng, self._wobble_m = rng, wobble_m
        self._distortion = np.eye(2) if distortion is None else distortion

    def _pixels(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        drawn = points @ self._distortion.T
        return np.asarray(np.round(((drawn - self.low) / self.resolution_m - 0.5) * (1 << _SHIFT)), dtype=np.int32)

    def _stroke(self, points: NDArray[np.float64], closed: bool) -> NDArray[np.float64]:
        """The way the pen really takes: wavering, and a little beside the corners."""
        if self._wobble_m <= 0 or len(points) < 2:
            return points
        way = np.vstack([points, points[:1]]) if closed else points
        pieces = []
        for a, b in pairwise(way):
            count = max(2, round(float(np.linalg.norm(b - a)) / 0.12))
            t = np.linspace(0.0, 1.0, count)[:, None]
            # A bow over the whole stroke, and a tremor that returns to the line.
            bow = self._rng.normal(0.0, self._wobble_m, 2) * np.sin(np.pi * t)
            tremor = np.cumsum(self._rng.normal(0.0, 0.25 * self._wobble_m, (count, 2)), axis=0)
            tremor -= tremor[-1] * t
            pieces.append(a + (b - a) * t + bow + tremor + self._rng.normal(0.0, 0.3 * self._wobble_m, 2))
        return np.vstack(pieces)

    def line(self, points: ArrayLike, ink: Ink, width_px: int = 1, closed: bool = False) -> None:
        """A polyline through scene-frame points (N, 2), metres."""
        way = self._stroke(np.asarray(points, dtype=np.float64), closed)
        cv2.polylines(
            self.image, [self._pixels(way)], closed and self._wobble_m <= 0, ink, width_px, cv2.LINE_AA, _SHIFT
        )

    def fill(self, outlines: list[NDArray[np.float64]], ink: Ink) -> None:
        """The area inside an odd number of closed outlines (N, 2), metres."""
        ways = [self._pixels(self._stroke(outline, True)) for outline in outlines if len(outline) >= 3]
        if ways:
            cv2.fillPoly(self.image, ways, ink, cv2.LINE_AA, _SHIFT)

    def arc(
        self, center: ArrayLike, radius_m: float, start_rad: float, sweep_rad: float, ink: Ink, width_px: int = 1
    ) -> None:
        """Part of a circle around a scene-frame center (2,)."""
        angle = start_rad + sweep_rad * np.linspace(0.0, 1.0, max(6, round(abs(sweep_rad) * 10)))
        way = np.asarray(center, dtype=np.float64) + radius_m * np.column_stack([np.cos(angle), np.sin(angle)])
        cv2.polylines(self.image, [self._pixels(way)], False, ink, width_px, cv2.LINE_AA, _SHIFT)

    def label(self, text: str, at: ArrayLike, ink: Ink, height_m: float = 0.18) -> None:
        """Text that reads upright when the picture is shown with y up; ``at`` (2,) is its lower left corner."""
        scale = height_m / self.resolution_m / 22.0
        column, row = (np.asarray(at, dtype=np.float64) - self.low) / self.resolution_m
        upright = np.ascontiguousarray(self.image[::-1])
        place = (round(float(column)), self.image.shape[0] - 1 - round(float(row)))
        cv2.putText(upright, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)
        self.image[:] = upright[::-1]
