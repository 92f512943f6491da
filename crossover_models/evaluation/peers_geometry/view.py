"""What every geometric peer is given: one view of the surroundings after the other, and the plans of the map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossover_models.estimate import LevelKey
from crossover_models.evaluation.buildings.answers import Answer
from crossover_models.floor_plan import FREE, OCCUPIED, FloorPlan
from crossover_models.geometry import compose_se2, relative_se2
from crossover_models.map_source import PlaceOutline
from crossover_models.observation import LocalCloud, WallSlice
from crossover_models.places import PlaceMap

Array = NDArray[np.float64]

BEAMS = 360


class PeerUnavailable(ValueError):
    """A peer that is not installed here; the message names what installs it."""


class PeerFailed(ValueError):
    """A peer's program that broke off; the message says how."""


@dataclass(frozen=True)
class View:
    """What is seen at one instant.

    Attributes:
        stamp_ns: of the sweep.
        T_odom_base: (3,) odometry at the stamp.
        ranges_m: (BEAMS,) distance from base_link of the nearest return of the sweep in the band of heights where walls
            stand, by bearing (:func:`bearings`); infinite where none came back.
        cloud: the sweeps accumulated so far, in base_link's planar frame; None before there are any.
        walls: the wall slice of that cloud.
    """

    stamp_ns: int
    T_odom_base: Array
    ranges_m: Array
    cloud: Callable[[], LocalCloud | None]
    walls: Callable[[], WallSlice | None]

    @property
    def scan_xy(self) -> Array:
        """(N, 2) end points of the scan in base_link's planar frame, m."""
        hit = np.isfinite(self.ranges_m)
        angle: Array = bearings()[hit]
        distance: Array = self.ranges_m[hit]
        return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)


def bearings() -> Array:
    """(BEAMS,) bearings of a scan's beams, rad, from -pi on."""
    return np.arange(BEAMS, dtype=np.float64) * (2.0 * np.pi / BEAMS) - np.pi


def planar_scan(points: NDArray[np.floating], low_m: float, high_m: float) -> Array:
    """(BEAMS,) nearest distance by bearing of points (N, 3) at heights from ``low_m`` to ``high_m``; else infinite."""
    band = points[(points[:, 2] >= low_m) & (points[:, 2] <= high_m)].astype(np.float64)
    angle = np.arctan2(band[:, 1], band[:, 0])
    beam = np.rint((angle + np.pi) * (BEAMS / (2.0 * np.pi))).astype(np.int64) % BEAMS
    ranges = np.full(BEAMS, np.inf)
    np.minimum.at(ranges, beam, np.hypot(band[:, 0], band[:, 1]))
    return ranges


@dataclass(frozen=True)
class PeerMap:
    """The map as geometry knows it.

    Attributes:
        plans: plan of each level that can be matched (with walls, and with free cells).
        heights_m: from floor to ceiling.
        places: outlines, to name the place of a pose.
        scans: (N, 3) points of a level's rooms as the mapping team scanned them, z above the floor; empty where the map
            is drawings alone.
    """

    plans: Mapping[LevelKey, FloorPlan]
    heights_m: Mapping[LevelKey, float]
    places: PlaceMap
    scans: Mapping[LevelKey, NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        plans: Mapping[LevelKey, FloorPlan],
        places: Sequence[PlaceOutline],
        heights_m: Mapping[LevelKey, float],
        scans: Mapping[LevelKey, NDArray[np.float32]] | None = None,
    ) -> PeerMap:
        """Leave out what cannot be matched.

        Raises:
            PeerFailed: no level can be matched.
        """
        usable = {
            key: plan
            for key, plan in plans.items()
            if (plan.occupancy == OCCUPIED).any() and (plan.occupancy == FREE).any()
        }
        if not usable:
            raise PeerFailed("map: no level has both walls and free space")
        return cls(usable, heights_m, PlaceMap(places), scans or {})

    def announce(
        self,
        stamp_ns: int,
        level: LevelKey,
        T_map_base: ArrayLike,
        probability: float | None,
        covariance: Array | None = None,
        announced: bool = True,
    ) -> Answer:
        """An answer with the place of its pose; ``announced`` false for a best guess that nobody commits to."""
        pose = np.asarray(T_map_base, dtype=np.float64)
        place = self.places.at(level, pose[:2])
        bounded = None if probability is None else float(min(max(probability, 0.0), 1.0))
        name = place.place_id if place is not None else ""
        return Answer(
            stamp_ns, announced, level, name, bounded, pose if announced else None, covariance if announced else None
        )


def abstain(stamp_ns: int) -> Answer:
    """No answer at all."""
    return Answer(stamp_ns, False, None, "", None, None, None)


@dataclass(frozen=True)
class Fix:
    """A pose in a level's map frame, with the odometry it belongs to: carried along with odometry until the next."""

    level: LevelKey
    T_map_base: Array
    T_odom_base: Array
    probability: float
    covariance: Array | None = None

    def at(self, T_odom_base: Array) -> Array:
        """(3,) pose after odometry went on."""
        return np.asarray(compose_se2(self.T_map_base, relative_se2(self.T_odom_base, T_odom_base)))


class GeometryPeer(Protocol):
    """A localizer: answers view after view, knowing nothing of those to come."""

    def __call__(self, views: Iterable[View], where: PeerMap, seed: int) -> Iterator[Answer]:
        """One answer a view."""
