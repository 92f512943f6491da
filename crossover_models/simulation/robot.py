"""A simulated differential robot: a tour of the rooms, smooth motion along it, odometry that drifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Place
from crossover_models.geometry import interpolate_se2, wrap_angle
from crossover_models.simulation.navigation import DrivableGround, NoRoute, Roadmap
from crossover_models.simulation.settings import RunSettings

STEP_S = 0.02
_LOOK_AHEAD_M = 0.35
_LONGEST_STEPS = 6000


@dataclass(frozen=True)
class Motion:
    """A drive, sampled every ``STEP_S``.

    Attributes:
        T_map_base: (N, 3) true poses in the level's map frame.
        T_odom_base: (N, 3) poses by odometry, starting at zero.
        velocity: (N, 2) true speed and rate of turning, m/s and rad/s.
        visited: ids of the places driven to, in order.
    """

    T_map_base: NDArray[np.float64]
    T_odom_base: NDArray[np.float64]
    velocity: NDArray[np.float64]
    visited: tuple[str, ...]

    def at(self, poses: NDArray[np.float64], time_s: float) -> NDArray[np.float64]:
        """Pose (3,) of one of the two tracks at a time, interpolated."""
        position = min(max(time_s / STEP_S, 0.0), len(poses) - 1.0)
        i = min(int(position), len(poses) - 2)
        return interpolate_se2(poses[i], poses[i + 1], position - i)

    @property
    def distance_m(self) -> float:
        """Length of the true way."""
        return float(np.linalg.norm(np.diff(self.T_map_base[:, :2], axis=0), axis=1).sum())


@dataclass(frozen=True)
class Tour:
    """A true way, sampled every ``STEP_S``: poses (N, 3) in a map frame, velocities (N, 2), ids of places driven to."""

    poses: NDArray[np.float64]
    velocities: NDArray[np.float64]
    visited: tuple[str, ...]


def drive(ground: DrivableGround, places: Sequence[Place], settings: RunSettings, rng: np.random.Generator) -> Motion:
    """Drive from place to place until the time is over.

    Raises:
        NoRoute: no place can be driven in.
    """
    way = tour(ground, places, settings, settings.duration_s, rng)
    return Motion(way.poses, drifting_odometry(way.poses, settings, rng), way.velocities, way.visited)


def tour(
    ground: DrivableGround,
    places: Sequence[Place],
    settings: RunSettings,
    duration_s: float,
    rng: np.random.Generator,
    *,
    start: NDArray[np.float64] | None = None,
    avoid: str = "",
    finish_at: NDArray[np.float64] | None = None,
) -> Tour:
    """A tour of the places that takes ``duration_s``.

    Args:
        ground: where the robot fits.
        places: to be visited.
        settings: of the robot.
        duration_s: length; with ``finish_at`` the time at which the robot sets off for there, however long that takes.
        rng: draws starts and goals.
        start: (3,) pose to begin with; drawn in one of the places if None.
        avoid: place in which a drawn start must not lie, unless there is no other.
        finish_at: (2,) point to drive to in the end.

    Raises:
        NoRoute: no place can be driven in, or there is no way to ``finish_at``.
    """
    label = ground.main_region([place.polygon for place in places])
    cells = {place.place_id: ground.cells_in(place.polygon, label) for place in places}
    reachable = [place.place_id for place in places if len(cells[place.place_id])]
    if not reachable:
        raise NoRoute("places: the robot can reach none of them")
    roadmap = Roadmap(ground, label)

    def stand(place_id: str) -> NDArray[np.float64]:
        options = cells[place_id]
        spare = ground.clearance_m[options[:, 0], options[:, 1]] - ground.radius_m
        weight = np.minimum(spare, 0.5) + 1e-3
        return ground.plan.position(options[int(rng.choice(len(options), p=weight / weight.sum()))])

    if start is None:
        choices = [p for p in reachable if p != avoid] or reachable
        here = choices[int(rng.integers(len(choices)))]
        position = stand(here)
        pose = np.array([*position, rng.uniform(-np.pi, np.pi)])
    else:
        pose = start
        here = next((p for p in reachable if _in(ground, cells[p], pose[:2])), reachable[0])
    poses, velocities, visited = [pose.copy()], [np.zeros(2)], [here]
    steps = round(duration_s / STEP_S)
    unseen = [p for p in reachable if p != here]
    while len(poses) <= steps:
        if rng.random() < 0.35 or len(reachable) == 1:
            goal = visited[-1]
        else:
            unseen = unseen or [p for p in reachable if p != visited[-1]]
            goal = unseen.pop(int(rng.integers(len(unseen))))
            visited.append(goal)
        _follow(roadmap.path(poses[-1][:2], stand(goal)), poses, velocities, settings, steps)
        _settle(poses, velocities, settings)
    if finish_at is None:
        return Tour(np.array(poses[: steps + 1]), np.array(velocities[: steps + 1]), tuple(visited))
    del poses[steps + 1 :], velocities[steps + 1 :]
    _follow(roadmap.path(poses[-1][:2], finish_at), poses, velocities, settings, len(poses) + _LONGEST_STEPS)
    _settle(poses, velocities, settings)
    return Tour(np.array(poses), np.array(velocities), tuple(visited))


def _in(ground: DrivableGround, cells: NDArray[np.int64], point: NDArray[np.float64]) -> bool:
    return bool((cells == ground.plan.cell(point)).all(axis=1).any())


def _follow(
    path: NDArray[np.float64],
    poses: list[NDArray[np.float64]],
    velocities: list[NDArray[np.float64]],
    settings: RunSettings,
    steps: int,
) -> None:
    """Pure pursuit: steer for a point a little ahead on the path, turn on the spot when it is far to the side."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    if lengths[-1] < 1e-6:
        return
    dense_at = np.arange(0.0, lengths[-1] + 0.02, 0.02)
    dense = np.stack([np.interp(dense_at, lengths, path[:, i]) for i in (0, 1)], axis=1)
    nearest = 0
    while len(poses) <= steps:
        pose, v = poses[-1], float(velocities[-1][0])
        window = dense[nearest : nearest + 30]
        nearest += int(np.argmin(np.linalg.norm(window - pose[:2], axis=1)))
        remaining = float(np.linalg.norm(dense[-1] - pose[:2]))
        along = (len(dense) - 1 - nearest) * 0.02
        if along < 0.03 and remaining < 0.08:
            return
        ahead = _LOOK_AHEAD_M * (0.5 + 0.5 * abs(v) / settings.speed_m_s)
        target = dense[min(len(dense) - 1, nearest + max(2, int(ahead / 0.02)))]
        error = float(wrap_angle(np.arctan2(target[1] - pose[1], target[0] - pose[0]) - pose[2]))
        braking = np.sqrt(2.0 * 0.8 * settings.acceleration_m_s2 * max(along, 0.0)) + 0.04
        wanted_v = 0.0 if abs(error) > 0.6 else min(settings.speed_m_s, braking) * max(0.15, 1.0 - abs(error) / 0.5)
        wanted_w = float(np.clip(2.5 * error, -settings.turn_rad_s, settings.turn_rad_s))
        _step(poses, velocities, wanted_v, wanted_w, settings)


def _settle(poses: list[NDArray[np.float64]], velocities: list[NDArray[np.float64]], settings: RunSettings) -> None:
    """Come to rest and wait half a second."""
    for _ in range(25):
        _step(poses, velocities, 0.0, 0.0, settings)


def _step(
    poses: list[NDArray[np.float64]],
    velocities: list[NDArray[np.float64]],
    wanted_v: float,
    wanted_w: float,
    settings: RunSettings,
) -> None:
    (x, y, yaw), (v, w) = poses[-1], velocities[-1]
    dv, dw = settings.acceleration_m_s2 * STEP_S, settings.turn_acceleration_rad_s2 * STEP_S
    # Braking may be twice as hard as speeding up.
    v = float(np.clip(wanted_v, v - 2.0 * dv, v + dv))
    w = float(np.clip(wanted_w, w - dw, w + dw))
    middle = yaw + 0.5 * w * STEP_S
    poses.append(
        np.array(
            [x + v * STEP_S * np.cos(middle), y + v * STEP_S * np.sin(middle), float(wrap_angle(yaw + w * STEP_S))]
        )
    )
    velocities.append(np.array([v, w]))


def drifting_odometry(
    T_map_base: NDArray[np.float64], settings: RunSettings, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Odometry (N, 3) from zero along true poses (N, 3): random walks per metre and per radian plus constant biases.

    Each step's forward motion and turn get independent noise whose variance grows with distance and turn (Thrun,
    Burgard, Fox 2005, section 5.4, with one bias of scale and one of heading drawn per run).
    """
    step = np.diff(T_map_base[:, :2], axis=0)
    turn = wrap_angle(np.diff(T_map_base[:, 2]))
    heading = T_map_base[:-1, 2] + 0.5 * turn
    forward = np.cos(heading) * step[:, 0] + np.sin(heading) * step[:, 1]
    scale = rng.normal(0.0, settings.odom_scale_bias)
    bias = rng.normal(0.0, settings.odom_drift_bias)
    length = np.abs(forward)
    spread = settings.odom_rotation**2 * np.abs(turn) + settings.odom_drift**2 * length
    forward = forward * (1.0 + scale) + rng.normal(0.0, 1.0, len(step)) * settings.odom_translation * np.sqrt(length)
    turn = turn * (1.0 + scale) + bias * length + rng.normal(0.0, 1.0, len(step)) * np.sqrt(spread)
    yaw = np.concatenate([[0.0], np.cumsum(turn)])
    middle = yaw[:-1] + 0.5 * turn
    xy = np.cumsum(np.stack([forward * np.cos(middle), forward * np.sin(middle)], axis=1), axis=0)
    return np.column_stack([np.vstack([[0.0, 0.0], xy]), wrap_angle(yaw)])
