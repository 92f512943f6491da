"""What the localizer says: hypotheses, states, retrieval rankings and answers to a relocalization request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossover_models.observation import Modality


class LevelKey(NamedTuple):
    """A level of a building."""

    building_id: str
    level_id: str

    @property
    def map_frame(self) -> str:
        """Name of the level's map frame (REP-105's ``map``, one a level)."""
        return f"map_{self.building_id}_{self.level_id}"


class LocalizationState(IntEnum):
    """States of msg/LocalizationResult, by the same numbers."""

    UNINITIALIZED = 0
    INITIALIZING = 1
    LOCALIZED = 2
    LOST = 3


class FailureCategory(str, Enum):
    """Why a state is not better; the strings of msg/LocalizationResult."""

    HEALTHY = "healthy"
    NO_DATABASE = "no_database"
    NO_SENSOR_DATA = "no_sensor_data"
    WEAK_OVERLAP = "weak_overlap"
    AMBIGUOUS = "ambiguous"
    STALE = "stale"
    OVERLOAD = "overload"


class RelocalizeCode(IntEnum):
    """Response codes of srv/Relocalize, by the same numbers."""

    OK = 0
    NO_DATABASE = 1
    NO_SENSOR_DATA = 2
    INSUFFICIENT_STRUCTURE = 3
    AMBIGUOUS = 4
    TIMEOUT = 5
    UNKNOWN_PLACE = 6
    BAD_HINT = 7


@dataclass(frozen=True)
class PoseFit:
    """How well a wall slice fits a plan at one pose.

    Attributes:
        level: whose plan.
        T_map_aligned: (3,) pose of the slice's frame in the level's map frame, metres and radians.
        covariance: (3, 3) of x, y (map frame) and yaw.
        score: mean log-likelihood a return, in nats, free-space penalty included.
        inlier_fraction: share of returns within three standard deviations of a wall.
        free_space_violation: share of rays that pass through a wall of the plan.
    """

    level: LevelKey
    T_map_aligned: NDArray[np.float64]
    covariance: NDArray[np.float64]
    score: float
    inlier_fraction: float
    free_space_violation: float


@dataclass(frozen=True)
class Hypothesis:
    """A weighted pose of base_link; ``probability`` is its share of the whole belief, null hypothesis included.

    ``place_share`` is the share of its position, as uncertain as the covariance says, that lies in the place named:
    less than 1 near a door.
    """

    level: LevelKey
    T_map_base: NDArray[np.float64]
    covariance: NDArray[np.float64]
    probability: float
    score: float = float("nan")
    inlier_fraction: float = float("nan")
    free_space_violation: float = float("nan")
    place_id: str = ""
    place_name: str = ""
    place_share: float = 1.0


@dataclass(frozen=True)
class PlaceProbability:
    """Probability that the robot is in a place, all poses there together; ``place_id`` "" is outside of all places."""

    level: LevelKey
    place_id: str
    probability: float


@dataclass(frozen=True)
class RankedPlace:
    """A place as an answer of retrieval; scores by the database's modality are cosines, or nats of late interaction."""

    level: LevelKey
    place_id: str
    name: str
    category: str
    score: float
    probability: float
    position_xy: tuple[float, float]
    modality_scores: dict[Modality, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Retrieval:
    """Ranked places of one query, best first; ``abstained`` where none is probable enough to be an answer.

    Attributes:
        stamp_ns: of the query's sensor data.
        query_modality: what it was made of.
        places: the best ones.
        abstained: none is probable enough to be an answer.
        nats: (level, place id) -> log-likelihood of the query for a robot there, of all places scored; what a place
            outside of it has is the least of them.
        none_nats: the same for a robot at no place of the map.
    """

    stamp_ns: int
    query_modality: Modality
    places: tuple[RankedPlace, ...]
    abstained: bool
    nats: Mapping[tuple[LevelKey, str], float] = field(default_factory=dict, repr=False, compare=False)
    none_nats: float = 0.0


@dataclass(frozen=True)
class LocalizationEstimate:
    """The localizer's answer at ``stamp_ns``; ``hypotheses`` best first, the first one reported if LOCALIZED.

    ``T_map_odom`` (3,) is the planar map->odom of the reported hypothesis, None unless LOCALIZED. ``places`` are best
    first; they hold what ``unknown_probability`` leaves.
    """

    stamp_ns: int
    state: LocalizationState
    failure: FailureCategory
    message: str
    hypotheses: tuple[Hypothesis, ...]
    unknown_probability: float
    T_map_odom: NDArray[np.float64] | None = None
    modalities_used: tuple[Modality, ...] = ()
    modalities_missing: tuple[Modality, ...] = ()
    scans_accumulated: int = 0
    runtime_s: float = 0.0
    places: tuple[PlaceProbability, ...] = ()

    @property
    def best(self) -> Hypothesis | None:
        """The most probable hypothesis, whatever the state."""
        return self.hypotheses[0] if self.hypotheses else None

    @property
    def ambiguity_margin(self) -> float:
        """Probability of the best hypothesis less that of the second."""
        if not self.hypotheses:
            return 0.0
        second = self.hypotheses[1].probability if len(self.hypotheses) > 1 else 0.0
        return self.hypotheses[0].probability - second


@dataclass(frozen=True)
class RelocalizeRequest:
    """Request of srv/Relocalize; empty strings are no hint, ``max_hypotheses`` 0 is the default."""

    building_hint: str = ""
    level_hint: str = ""
    text_hint: str = ""
    max_hypotheses: int = 0
    apply: bool = False


@dataclass(frozen=True)
class RelocalizeResponse:
    """Response of srv/Relocalize."""

    code: RelocalizeCode
    message: str
    hypotheses: tuple[Hypothesis, ...] = ()

    @property
    def success(self) -> bool:
        """The data were searched and the hypotheses mean something; ambiguity is an honest answer."""
        return self.code in (RelocalizeCode.OK, RelocalizeCode.AMBIGUOUS)
