"""Pictures of places for the live page: the map's own photographs, or the place on its plan where there is none."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np

from crossover_models.estimate import LevelKey
from crossover_models.map_database.store import MapDatabase
from crossover_models.plan_picture import TRUE, plan_patch
from crossover_ros.view.board import Picture, encode

# A patch of plan is never smaller than a room, and shows a little of what is around the place.
WIDTH_PX, LEAST_M, AROUND = 320, 6.0, 1.3


class PlacePictures:
    """Pictures of the places of one map database at a time, kept once made; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._database: MapDatabase | None = None
        self._made: dict[tuple[str, str, str], Picture] = {}

    @property
    def fingerprint(self) -> str:
        """Of the database in use; empty without one."""
        with self._lock:
            return self._database.fingerprint if self._database is not None else ""

    def open(self, path: Path) -> None:
        """Use this database from now on.

        Raises:
            DatabaseError: it is no map database.
        """
        database = MapDatabase.open(path)
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database = database
            self._made.clear()

    def close(self) -> None:
        """Let the database go."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def picture(self, building_id: str, level_id: str, place_id: str) -> Picture | None:
        """A picture of a place; None if there is no database or no such place in it."""
        key = (building_id, level_id, place_id)
        with self._lock:
            if self._database is None:
                return None
            if key not in self._made:
                made = _made(self._database, LevelKey(building_id, level_id), place_id)
                if made is None:
                    return None
                self._made[key] = made
            return self._made[key]


def _made(database: MapDatabase, level: LevelKey, place_id: str) -> Picture | None:
    place = next((p for p in database.places(*level) if p.place_id == place_id), None)
    if place is None:
        return None
    images = database.images(level.building_id, place_id)
    if not images:
        low, high = place.polygon.min(axis=0), place.polygon.max(axis=0)
        side_m = max(LEAST_M, AROUND * float((high - low).max()))
        patch = plan_patch(database.floor_plan(level), (low + high) / 2, side_m, WIDTH_PX)
        patch.draw_outline(place.polygon, TRUE)
        return encode(patch.pixels)
    height = round(WIDTH_PX * images[0].shape[0] / images[0].shape[1])
    small = cv2.resize(images[0], (WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    return encode(np.asarray(small, dtype=np.uint8), jpeg=True)
