"""A robot's way in legs: level after level by lift, place after place by being carried; odometry runs through it all.

A leg is a stretch with a truth; between legs lie the ride in the lift (the cabin is seen, there is no truth) and the
seconds in which somebody carries the robot (nothing is seen).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Level, Mesh, Place
from crossover_models.geometry import compose_se2, interpolate_se2, inverse_se2
from crossover_models.simulation.doors import Leaves, put_leaves
from crossover_models.simulation.navigation import DrivableGround, NoRoute
from crossover_models.simulation.robot import STEP_S, Tour, drifting_odometry, tour
from crossover_models.simulation.settings import RunSettings
from crossover_models.simulation.shapes import MeshBuilder
from crossover_models.simulation.variation import Changes, refurnished

CARRIED_S = 1.0
"""How long a kidnapped robot is carried; its sensors are covered, its wheels stand still."""
CABIN_HALF_M, CABIN_HEIGHT_M = 0.85, 2.2
_LIFT_REACH_M = 2.5
_STOP_M = 0.1
NO_LEG = -1


@dataclass(frozen=True)
class MetLevel:
    """A level as the robot finds it.

    Attributes:
        level: furniture as it is now.
        leaves: of doors that are not open.
        ground: where the robot fits.
        changes: how the furniture differs from the map's.
    """

    level: Level
    leaves: Leaves
    ground: DrivableGround
    changes: Changes


def meet(mapped: Level, settings: RunSettings, furniture: np.random.Generator, doors: np.random.Generator) -> MetLevel:
    """A level on the day of the run."""
    actual, changes = refurnished(mapped, settings, furniture)
    obstacles = [f.mesh for place in actual.places for f in place.furnishings]
    leaves = put_leaves(actual, obstacles, settings.radius_m, settings.doors_closed, settings.doors_ajar, doors)
    return MetLevel(
        actual, leaves, DrivableGround(actual.plan, [*obstacles, *leaves.meshes], settings.radius_m), changes
    )


@dataclass(frozen=True)
class Leg:
    """A stretch of the run: where it is, its first step, and what is around if not the level: a lift's cabin."""

    met: MetLevel
    first: int
    cabin: Mesh | None = None

    @property
    def true(self) -> bool:
        """There is a truth: a ride between levels has none."""
        return self.cabin is None


@dataclass(frozen=True)
class Event:
    """Something done to the robot at a step: "kidnap" (set down) or "lift" (doors open on another level)."""

    kind: str
    step: int
    from_level: str
    to_level: str


@dataclass(frozen=True)
class Itinerary:
    """A whole run, sampled every ``STEP_S``.

    Attributes:
        legs: in order.
        leg: (N,) index of the leg at each step, :data:`NO_LEG` while the robot is carried.
        T_map_base: (N, 3) true poses in the map frame of the leg's level; held while there is none.
        T_odom_base: (N, 3) poses by odometry, starting at zero, without a jump anywhere.
        velocity: (N, 2).
        visited: (level id, place id) driven to, in order.
        events: what was done to the robot.
    """

    legs: tuple[Leg, ...]
    leg: NDArray[np.int64]
    T_map_base: NDArray[np.float64]
    T_odom_base: NDArray[np.float64]
    velocity: NDArray[np.float64]
    visited: tuple[tuple[str, str], ...]
    events: tuple[Event, ...] = ()

    def at(self, poses: NDArray[np.float64], time_s: float) -> NDArray[np.float64]:
        """Pose (3,) of one of the tracks at a time, interpolated within a leg."""
        position = min(max(time_s / STEP_S, 0.0), len(poses) - 1.0)
        i = min(int(position), len(poses) - 2)
        if poses is self.T_map_base and self.leg[i] != self.leg[i + 1]:
            return np.asarray(poses[i].copy())
        return interpolate_se2(poses[i], poses[i + 1], position - i)

    def leg_at(self, time_s: float) -> Leg | None:
        """The leg at a time; None while the robot is carried."""
        index = int(self.leg[min(max(int(time_s / STEP_S + 1e-9), 0), len(self.leg) - 1)])
        return None if index == NO_LEG else self.legs[index]

    @property
    def distance_m(self) -> float:
        """Length of the way driven, being carried not counted."""
        same = self.leg[1:] == self.leg[:-1]
        return float(np.linalg.norm(np.diff(self.T_map_base[:, :2], axis=0), axis=1)[same].sum())


@dataclass
class _Track:
    legs: list[Leg] = field(default_factory=list)
    leg: list[NDArray[np.int64]] = field(default_factory=list)
    poses: list[NDArray[np.float64]] = field(default_factory=list)
    wheels: list[NDArray[np.float64]] = field(default_factory=list)
    velocity: list[NDArray[np.float64]] = field(default_factory=list)
    visited: list[tuple[int, str, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def steps(self) -> int:
        return sum(len(part) for part in self.poses)

    def drive(self, met: MetLevel, way: Tour) -> None:
        """A leg; the wheels' track goes on where it ended, whatever was done to the robot in between."""
        self.leg.append(np.full(len(way.poses), len(self.legs)))
        self.legs.append(Leg(met, self.steps))
        if self.wheels:
            T_wheels_map = compose_se2(self.wheels[-1][-1], inverse_se2(way.poses[0]))
            self.wheels.append(np.array([compose_se2(T_wheels_map, pose) for pose in way.poses]))
        else:
            self.wheels.append(way.poses)
        self.poses.append(way.poses)
        self.velocity.append(way.velocities)
        self.visited += [(len(self.legs) - 1, met.level.level_id, place_id) for place_id in way.visited]

    def wait(self, seconds: float, leg: Leg | None) -> None:
        """Stand still, in a cabin or in somebody's arms."""
        count = max(1, round(seconds / STEP_S))
        self.leg.append(np.full(count, NO_LEG if leg is None else len(self.legs)))
        if leg is not None:
            self.legs.append(leg)
        self.poses.append(np.tile(self.poses[-1][-1], (count, 1)))
        self.wheels.append(np.tile(self.wheels[-1][-1], (count, 1)))
        self.velocity.append(np.zeros((count, 2)))


def plan_itinerary(
    start: str,
    meeting: Callable[[str], MetLevel],
    levels: tuple[str, ...],
    settings: RunSettings,
    rng: np.random.Generator,
) -> Itinerary:
    """The whole run: a tour, cut by what the settings do to the robot.

    Args:
        start: id of the level to begin on.
        meeting: level id -> the level as the robot finds it, the same at every call.
        levels: ids of all levels, lowest first.
        settings: of the run; an event after its end does not happen.
        rng: draws the way and the odometry's errors.

    Raises:
        NoRoute: the robot fits nowhere, or no lift can be reached.
    """
    track, here, time_s = _Track(), meeting(start), 0.0
    events = sorted((at, kind) for kind, at in (("kidnap", settings.kidnap_at_s), ("lift", settings.lift_at_s)) if at)
    events = [(at, kind) for at, kind in events if at < settings.duration_s]
    begin: NDArray[np.float64] | None = None
    avoid = ""
    for at, kind in [*events, (settings.duration_s, "")]:
        left = max(at - time_s, STEP_S)
        places = here.level.places
        if kind == "lift":
            there = _other_level(here.level.level_id, levels, meeting, rng)
            spot = _lift_spot(here, there)
            way = tour(here.ground, places, settings, left, rng, start=begin, avoid=avoid, finish_at=spot)
            track.drive(here, way)
            track.wait(settings.lift_ride_s, Leg(here, track.steps, _cabin(way.poses[-1])))
            # The same spot of the building, one storey on: nobody turns the cabin.
            offset = compose_se2(inverse_se2(there.level.T_building_map), here.level.T_building_map)
            begin, avoid = compose_se2(offset, way.poses[-1]), ""
            track.events.append(Event("lift", track.steps, here.level.level_id, there.level.level_id))
            here = there
        else:
            way = tour(here.ground, places, settings, left, rng, start=begin, avoid=avoid)
            track.drive(here, way)
            if kind == "kidnap":
                begin, avoid = None, _place_of(places, way.poses[-1])
                track.wait(CARRIED_S, None)
                level_id = here.level.level_id
                track.events.append(Event("kidnap", track.steps, level_id, level_id))
        time_s = track.steps * STEP_S
    last = round(settings.duration_s / STEP_S) + 1
    wheels = np.concatenate(track.wheels)[:last]
    return Itinerary(
        tuple(leg for leg in track.legs if leg.first < last),
        np.concatenate(track.leg)[:last],
        np.concatenate(track.poses)[:last],
        drifting_odometry(wheels, settings, rng),
        np.concatenate(track.velocity)[:last],
        tuple((level, place) for leg, level, place in track.visited if track.legs[leg].first < last),
        tuple(event for event in track.events if event.step < last),
    )


def _other_level(
    here: str, levels: tuple[str, ...], meeting: Callable[[str], MetLevel], rng: np.random.Generator
) -> MetLevel:
    others = [level for level in levels if level != here]
    if not others:
        raise NoRoute(f"lift_at_s: level {here} is the only one with places")
    reachable = []
    for level_id in others:
        met = meeting(level_id)
        try:
            _lift_spot(meeting(here), met)
        except NoRoute:
            continue
        reachable.append(met)
    if not reachable:
        raise NoRoute(f"lift_at_s: no lift joins level {here} with another one where the robot fits")
    return reachable[int(rng.integers(len(reachable)))]


def _lift_spot(here: MetLevel, there: MetLevel) -> NDArray[np.float64]:
    """Where to stand for a lift, (2,) in the map frame.

    The spot nearest to the cabin at which the robot fits on both levels, so that it arrives where it left.

    Raises:
        NoRoute: no lift of the one level stands where the other has one, or the robot fits at none of them on both.
    """
    to_there = compose_se2(inverse_se2(there.level.T_building_map), here.level.T_building_map)
    label = here.ground.main_region([place.polygon for place in here.level.places])
    spots = here.ground.plan.position(np.argwhere(here.ground.labels == label))
    cos, sin = np.cos(to_there[2]), np.sin(to_there[2])
    across = spots @ np.array([[cos, sin], [-sin, cos]]) + to_there[:2]
    fits = _with_room(there, across)
    for lift in here.level.lifts:
        beyond = compose_se2(to_there, np.array([*lift.position, 0.0]))[:2]
        if not any(np.hypot(*(other.position - beyond)) < _LIFT_REACH_M for other in there.level.lifts):
            continue
        distance = np.where(fits, np.linalg.norm(spots - lift.position, axis=1), np.inf)
        nearest = int(np.argmin(distance))
        if distance[nearest] < _LIFT_REACH_M:
            return np.asarray(spots[nearest])
    raise NoRoute(f"no lift that the robot can use joins levels {here.level.level_id} and {there.level.level_id}")


def _with_room(met: MetLevel, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points (N, 2) lie where the robot fits with some room: it does not stop on the millimetre."""
    ground = met.ground
    label = ground.main_region([place.polygon for place in met.level.places])
    rows, cols = ground.labels.shape
    cell = ground.plan.cell(points)
    inside = (cell >= 0).all(axis=1) & (cell[:, 0] < rows) & (cell[:, 1] < cols)
    row, col = np.clip(cell[:, 0], 0, rows - 1), np.clip(cell[:, 1], 0, cols - 1)
    spare = ground.clearance_m[row, col] > ground.radius_m + _STOP_M
    return np.asarray(inside & (ground.labels[row, col] == label) & spare)


def _cabin(T_map_base: NDArray[np.float64]) -> Mesh:
    """Four walls, floor and ceiling around a robot, map frame."""
    x, y = T_map_base[:2]
    b, h, z = MeshBuilder(), CABIN_HALF_M, CABIN_HEIGHT_M
    steel = (172, 174, 178)
    for low, high in (
        ((-h, -h, -0.02), (h, h, 0.0)),
        ((-h, -h, z), (h, h, z + 0.02)),
        ((-h - 0.02, -h, 0.0), (-h, h, z)),
        ((h, -h, 0.0), (h + 0.02, h, z)),
        ((-h, -h - 0.02, 0.0), (h, -h, z)),
        ((-h, h, 0.0), (h, h + 0.02, z)),
    ):
        b.box(np.add(low, [x, y, 0.0]), np.add(high, [x, y, 0.0]), steel)
    return b.mesh()


def _place_of(places: tuple[Place, ...], pose: NDArray[np.float64]) -> str:
    for place in places:
        outline = np.ascontiguousarray(place.polygon, dtype=np.float32)
        if cv2.pointPolygonTest(outline, (float(pose[0]), float(pose[1])), False) >= 0:
            return place.place_id
    return ""
