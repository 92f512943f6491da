"""A building in memory as a simulated run reads it: no database, hence no encoders, is needed to drive through it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Building, Door, Furnishing, Level, Lift, Mesh, Place
from crossover_models.estimate import LevelKey
from crossover_models.floor_plan import FloorPlan


@dataclass(frozen=True)
class WorldLevel:
    """What a run wants to know of a level before it reads the rest."""

    key: LevelKey
    name: str
    elevation_m: float
    height_m: float
    T_building_map: NDArray[np.float64]


class BuildingWorld:
    """A :class:`Building` behind the interface that :func:`crossover_models.simulation.run.simulate` reads."""

    def __init__(self, building: Building) -> None:
        self.building = building
        self._levels = {LevelKey(building.building_id, level.level_id): level for level in building.levels}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of plans, places and furniture (hex)."""
        digest = hashlib.sha256(self.building.building_id.encode())
        for level in self.building.levels:
            digest.update(f"{level.level_id} {level.plan.resolution_m} {level.plan.origin_xy}".encode())
            digest.update(level.plan.occupancy.tobytes())
            for place in level.places:
                digest.update(place.place_id.encode() + place.polygon.tobytes())
                for piece in place.furnishings:
                    digest.update(piece.object_id.encode() + piece.mesh.vertices.tobytes())
        return digest.hexdigest()

    def levels(self, building_id: str | None = None) -> tuple[WorldLevel, ...]:
        """In the building's order."""
        if building_id not in (None, self.building.building_id):
            return ()
        return tuple(
            WorldLevel(key, v.name, v.elevation_m, v.height_m, v.T_building_map) for key, v in self._levels.items()
        )

    def places(self, building_id: str | None = None, level_id: str | None = None) -> tuple[Place, ...]:
        """Of one level, or of all."""
        return tuple(
            place
            for key, level in self._levels.items()
            if building_id in (None, key.building_id) and level_id in (None, key.level_id)
            for place in level.places
        )

    def floor_plan(self, key: LevelKey) -> FloorPlan:
        """Structural plan of a level."""
        return self._level(key).plan

    def structure(self, key: LevelKey) -> Mesh | None:
        """Walls, floor and ceiling of a level, where the source has them."""
        return self._level(key).structure

    def doors(self, key: LevelKey) -> tuple[Door, ...]:
        """Doors of a level."""
        return self._level(key).doors

    def lifts(self, key: LevelKey) -> tuple[Lift, ...]:
        """Lifts of a level."""
        return self._level(key).lifts

    def furnishings(self, key: LevelKey) -> tuple[tuple[str, Furnishing], ...]:
        """(place id, furnishing) of a level."""
        return tuple((place.place_id, piece) for place in self._level(key).places for piece in place.furnishings)

    def _level(self, key: LevelKey) -> Level:
        return self._levels[key]
