"""Adaptive Monte Carlo localization with recovery: Probabilistic Robotics, tables 8.2 to 8.4 (MCL, augmented, KLD).

Motion: table 5.6 (odometry). Measurement: table 6.3 (likelihood field), its product over beams raised to a power below
one, for beams are not independent (section 6.3.4). Particles live in an atlas of all levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.evaluation.buildings.answers import Answer
from crossover_models.evaluation.peers_geometry.atlas import Atlas
from crossover_models.evaluation.peers_geometry.kld import enough
from crossover_models.evaluation.peers_geometry.view import Fix, PeerMap, View, abstain
from crossover_models.floor_plan import FREE, OCCUPIED, FloorPlan
from crossover_models.geometry import relative_se2, wrap_angle

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AmclSettings:
    """How the filter is set.

    Attributes:
        most, least: bounds of the number of particles; it starts with the most.
        epsilon, delta: of the KLD bound.
        bin_m, bin_rad: its bins.
        alphas: (4,) noise of table 5.6, as variances: turn by turn, turn by way, way by way, way by turn.
        sigma_m: of a return from the nearest wall.
        random_share: weight of a return that no wall explains, in units of one on a wall.
        power: of the product over beams.
        beams: used at most, evenly spread.
        alpha_slow, alpha_fast: decay of the two averages of table 8.3.
        travel_m, turn_rad: way or turn after which the filter is updated.
        share, sigma_announced_m, way_announced_m: a pose is announced once its cluster has held so much of the weight
            and been so narrow for so much of way, for a cloud that has just collapsed may have done so anywhere;
        share_kept: and until it holds less than this.
    """

    most: int = 20_000
    least: int = 500
    epsilon: float = 0.05
    delta: float = 0.01
    bin_m: float = 0.5
    bin_rad: float = float(np.deg2rad(15.0))
    alphas: tuple[float, float, float, float] = (0.2, 0.2, 0.2, 0.2)
    sigma_m: float = 0.2
    random_share: float = 0.05
    power: float = 0.03
    beams: int = 60
    alpha_slow: float = 0.01
    alpha_fast: float = 0.1
    travel_m: float = 0.1
    turn_rad: float = 0.1
    share: float = 0.9
    sigma_announced_m: float = 0.5
    way_announced_m: float = 1.0
    share_kept: float = 0.5


@dataclass(frozen=True)
class Cluster:
    """The heaviest heap of particles: its share of the weight, mean pose (3,) and covariance (3, 3)."""

    share: float
    pose: Array
    covariance: Array


class Amcl:
    """The filter over one raster.

    Args:
        plan: with walls and free cells.
        settings: see there.
        seed: of all that is drawn.
    """

    def __init__(self, plan: FloorPlan, settings: AmclSettings | None = None, seed: int = 0) -> None:
        self.settings = settings or AmclSettings()
        self._rng = np.random.default_rng(seed)
        self._plan = plan
        self._free = np.argwhere(plan.occupancy == FREE)
        s = self.settings
        margin = round(1.0 / plan.resolution_m)
        wall = np.pad((plan.occupancy == OCCUPIED).astype(np.uint8), margin)
        distance = cv2.distanceTransform(1 - wall, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * plan.resolution_m
        hit = (1.0 - s.random_share) * np.exp(-0.5 * np.square(distance / s.sigma_m))
        self._log_field = np.log(hit + s.random_share).astype(np.float32)
        self._corner = np.asarray(plan.origin_xy) - margin * plan.resolution_m
        self.poses = self.uniform(s.most)
        self.weights: Array = np.full(s.most, 1.0 / s.most)
        self.slow = self.fast = 0.0

    def uniform(self, count: int) -> Array:
        """(count, 3) poses anywhere in free space."""
        cells = self._free[self._rng.integers(len(self._free), size=count)] + self._rng.random((count, 2)) - 0.5
        yaw = self._rng.uniform(-np.pi, np.pi, count)
        return np.concatenate([self._plan.position(cells), yaw[:, None]], axis=1)

    def update(self, motion: Array, scan_xy: Array) -> None:
        """One pass of tables 8.3 and 8.4: draw, move by odometry's ``motion`` (3,), weigh by a scan (N, 2) in m."""
        s = self.settings
        lost = max(0.0, 1.0 - self.fast / self.slow) if self.slow > 0.0 else 0.0
        drawn = self._rng.choice(len(self.poses), size=s.most, p=self.weights)
        poses = self._moved(self.poses[drawn], motion)
        anew = self._rng.random(s.most) < lost
        poses[anew] = self.uniform(int(anew.sum()))
        poses = poses[: enough(poses, s.bin_m, s.bin_rad, s.epsilon, s.delta, s.least)]
        likelihood = self._likelihood(poses, scan_xy)
        average = float(likelihood.mean())
        self.slow += (s.alpha_slow if self.slow > 0.0 else 1.0) * (average - self.slow)
        self.fast += (s.alpha_fast if self.fast > 0.0 else 1.0) * (average - self.fast)
        self.poses, self.weights = poses, likelihood / likelihood.sum()

    def _moved(self, poses: Array, motion: Array) -> Array:
        """Table 5.6, with its noise drawn for each pose (N, 3)."""
        a1, a2, a3, a4 = self.settings.alphas
        way = float(np.hypot(motion[0], motion[1]))
        # Turning on the spot has no direction of travel, and one backwards is no turn by half a circle.
        first = float(np.arctan2(motion[1], motion[0])) if way > 1e-3 else 0.0
        if abs(first) > np.pi / 2:
            first, way = float(wrap_angle(first + np.pi)), -way
        second = float(wrap_angle(motion[2] - first))
        normal = self._rng.standard_normal((3, len(poses)))
        turn_1 = first + normal[0] * np.sqrt(a1 * first**2 + a2 * way**2)
        moved = way + normal[1] * np.sqrt(a3 * way**2 + a4 * (first**2 + second**2))
        turn_2 = second + normal[2] * np.sqrt(a1 * second**2 + a2 * way**2)
        heading = poses[:, 2] + turn_1
        x, y = poses[:, 0] + moved * np.cos(heading), poses[:, 1] + moved * np.sin(heading)
        return np.stack([x, y, np.asarray(wrap_angle(heading + turn_2))], axis=1)

    def _likelihood(self, poses: Array, scan_xy: Array) -> Array:
        """(N,) of a scan at poses (N, 3)."""
        s = self.settings
        scan = scan_xy[np.linspace(0, len(scan_xy) - 1, min(s.beams, len(scan_xy))).round().astype(np.int64)]
        if not len(scan):
            return np.ones(len(poses))
        cos, sin = (f(poses[:, 2, None]).astype(np.float32) for f in (np.cos, np.sin))
        x, y = scan[None, :, 0].astype(np.float32), scan[None, :, 1].astype(np.float32)
        scale = np.float32(1.0 / self._plan.resolution_m)
        start = ((poses[:, :2] - self._corner) / self._plan.resolution_m).astype(np.float32)
        rows, cols = self._log_field.shape
        column = np.clip((start[:, 0, None] + (cos * x - sin * y) * scale).astype(np.int32), 0, cols - 1)
        row = np.clip((start[:, 1, None] + (sin * x + cos * y) * scale).astype(np.int32), 0, rows - 1)
        # A mean over beams, so that a scan with few returns is no likelier than one with many.
        mean = self._log_field.reshape(-1)[row * cols + column].mean(axis=1, dtype=np.float64)
        return np.asarray(np.exp(s.power * s.beams * mean))

    def heaviest(self) -> Cluster:
        """The heap around the heaviest bin of 1 m and 30 deg: what lies within as much of its mean."""
        bins = np.floor(self.poses / [1.0, 1.0, np.pi / 6]).astype(np.int64)
        _, member = np.unique(bins, axis=0, return_inverse=True)
        best = int(np.argmax(np.bincount(member.reshape(-1), weights=self.weights)))
        near = member.reshape(-1) == best
        for _ in range(3):
            pose = _mean(self.poses[near], self.weights[near])
            off = self._off(pose)
            near = (np.hypot(off[:, 0], off[:, 1]) <= 1.0) & (np.abs(off[:, 2]) <= np.pi / 6)
        weight = self.weights[near]
        share = float(weight.sum())
        if share <= 0.0:
            return Cluster(0.0, pose, np.eye(3))
        off = self._off(_mean(self.poses[near], weight))[near]
        # Never narrower than a cell: particles that all came from one are no proof.
        covariance = (off * weight[:, None]).T @ off / share + np.diag([2.5e-4, 2.5e-4, 1e-4])
        return Cluster(share, _mean(self.poses[near], weight), covariance)

    def _off(self, pose: Array) -> Array:
        off = self.poses - pose
        off[:, 2] = wrap_angle(off[:, 2])
        return np.asarray(off)


def _mean(poses: Array, weights: Array) -> Array:
    weights = weights / max(float(weights.sum()), 1e-300)
    yaw = np.arctan2(weights @ np.sin(poses[:, 2]), weights @ np.cos(poses[:, 2]))
    return np.array([weights @ poses[:, 0], weights @ poses[:, 1], yaw])


def amcl(
    views: Iterable[View], where: PeerMap, seed: int = 0, settings: AmclSettings | None = None
) -> Iterator[Answer]:
    """Answers of the filter, one a view; it starts from nothing but the map."""
    atlas = Atlas.of(where.plans)
    filter_ = Amcl(atlas.plan, settings, seed)
    s = filter_.settings
    last: Array | None = None
    fix: Fix | None = None
    held, since_m = False, 0.0
    for view in views:
        motion = np.zeros(3) if last is None else relative_se2(last, view.T_odom_base)
        if last is None or np.hypot(motion[0], motion[1]) >= s.travel_m or abs(motion[2]) >= s.turn_rad:
            filter_.update(motion, view.scan_xy)
            last = view.T_odom_base
            heap = filter_.heaviest()
            narrow = float(np.sqrt(np.linalg.eigvalsh(heap.covariance[:2, :2])[1])) <= s.sigma_announced_m
            steady = heap.share >= (s.share_kept if held else s.share) and narrow
            since_m = since_m + float(np.hypot(motion[0], motion[1])) if steady else 0.0
            held = steady and (held or since_m >= s.way_announced_m)
            fix = Fix(*atlas.to_level(heap.pose), view.T_odom_base, heap.share, heap.covariance)
        if fix is None:
            yield abstain(view.stamp_ns)
        else:
            pose = fix.at(view.T_odom_base)
            yield where.announce(view.stamp_ns, fix.level, pose, fix.probability, fix.covariance, held)
