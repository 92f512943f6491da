"""What the online stages read of a map, wherever it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Furnishing, Lift
from crossover_models.estimate import LevelKey
from crossover_models.floor_plan import FloorPlan
from crossover_models.observation import Modality
from crossover_models.sets.interaction import Interaction


class PlaceOutline(Protocol):
    """Where a place is and what it is called."""

    @property
    def key(self) -> LevelKey:
        """Level of the place."""

    @property
    def place_id(self) -> str:
        """Identity in its building."""

    @property
    def name(self) -> str:
        """As people say it."""

    @property
    def category(self) -> str:
        """Room type or empty."""

    @property
    def polygon(self) -> NDArray[np.float64]:
        """(N, 2) outline in the level's map frame, metres."""


class LevelOutline(Protocol):
    """A level and what it is called."""

    @property
    def key(self) -> LevelKey:
        """Building and level."""

    @property
    def name(self) -> str:
        """As people say it."""


class PlaceSource(Protocol):
    """The part of a map that retrieval reads."""

    @property
    def embedding_dim(self) -> int:
        """Length of the vectors."""

    def building_ids(self) -> tuple[str, ...]:
        """All buildings."""

    def places(self, building_id: str | None = None, level_id: str | None = None) -> Sequence[PlaceOutline]:
        """Places of a building and level, or of all."""

    def embeddings(self, building_id: str, modality: Modality) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Place ids and their vectors (n, D), only where present."""

    @property
    def interaction(self) -> Interaction | None:
        """How tokens are compared; None where codes are vectors alone."""

    def tokens(self, building_id: str, modality: Modality) -> NDArray[np.int8]:
        """(n, T) of the same places; T is 0 where codes are vectors alone."""


class MapSource(PlaceSource, Protocol):
    """The part of a map that the localizer reads."""

    @property
    def encoder_fingerprint(self) -> str:
        """Of the encoder whose embeddings it holds."""

    def levels(self, building_id: str | None = None) -> Sequence[LevelOutline]:
        """Levels of a building, or all."""

    def floor_plan(self, key: LevelKey) -> FloorPlan:
        """Structural plan of a level."""


@runtime_checkable
class FurnishedSource(Protocol):
    """A map that knows what stands in its rooms."""

    def furnishings(self, key: LevelKey) -> Sequence[tuple[str, Furnishing]]:
        """(place id, furnishing) of a level, meshes in its map frame."""


class LevelFrame(LevelOutline, Protocol):
    """A level and where it lies in its building."""

    @property
    def T_building_map(self) -> NDArray[np.float64]:
        """(3,) planar pose of the level's map frame in the building's."""


@runtime_checkable
class LiftSource(Protocol):
    """A map that knows its lifts."""

    def levels(self, building_id: str | None = None) -> Sequence[LevelFrame]:
        """Levels of a building, or all."""

    def lifts(self, key: LevelKey) -> Sequence[Lift]:
        """Lifts of a level, in its map frame."""
