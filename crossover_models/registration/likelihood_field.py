"""How well returns and rays agree with one plan, at any pose: likelihood field and free-space violation."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.config import RegistrationSettings
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan, FloorPlanError
from crossover_models.registration.returns import Returns

Array = NDArray[np.float64]
INLIER_SIGMAS = 3.0


class LikelihoodField:
    """Distance to the nearest wall of a plan, read between cells, and what follows from it.

    A return at distance d from the nearest wall has the log-likelihood log((1 - b) exp(-d^2 / 2 sigma^2) + b)
    (Probabilistic Robotics, table 6.3, scaled so that a return on a wall has 0). The background b is the share of
    outliers where the plan is known: clutter in free space is rare. It is higher where the plan is blank, for there a
    return contradicts nothing.

    Args:
        plan: with at least one wall and one free cell.
        settings: sigma and the two backgrounds.

    Raises:
        FloorPlanError: the plan has no wall, or no free cell for a robot to stand in.
    """

    def __init__(self, plan: FloorPlan, settings: RegistrationSettings) -> None:
        if not (plan.occupancy == OCCUPIED).any():
            raise FloorPlanError("occupancy: no occupied cell; a plan without walls cannot be matched")
        if not (plan.occupancy == FREE).any():
            raise FloorPlanError("occupancy: no free cell; a robot cannot be anywhere in this plan")
        self.plan, self.settings = plan, settings
        # A margin, so that distances around the raster's edge are true ones.
        margin = int(np.ceil(4 * settings.sigma_m / plan.resolution_m)) + 2
        occupancy = np.pad(plan.occupancy, margin, constant_values=UNKNOWN)
        distance = cv2.distanceTransform((occupancy != OCCUPIED).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        self._distance = np.ascontiguousarray(distance * plan.resolution_m, dtype=np.float32)
        self._corner = np.asarray(plan.origin_xy) + (0.5 - margin) * plan.resolution_m
        self._background = np.where(plan.occupancy == UNKNOWN, settings.unknown_likelihood, settings.outlier)

    def distance(self, points_xy: Array, gradient: bool = False) -> tuple[Array, Array | None]:
        """Distance (...,) to the nearest wall at points (..., 2) of the map frame, and its gradient (..., 2)."""
        rows, cols = self._distance.shape
        u = (points_xy - self._corner) / self.plan.resolution_m
        limit = np.array([cols - 1.001, rows - 1.001])
        inside = np.clip(u, 0.0, limit)
        beyond = (u - inside) * self.plan.resolution_m
        cell = inside.astype(np.int64)
        fx, fy = inside[..., 0] - cell[..., 0], inside[..., 1] - cell[..., 1]
        index = cell[..., 1] * cols + cell[..., 0]
        flat = self._distance.reshape(-1)
        d00, d01, d10, d11 = flat[index], flat[index + 1], flat[index + cols], flat[index + cols + 1]
        low, high = d00 + fx * (d01 - d00), d10 + fx * (d11 - d10)
        distance = low + fy * (high - low) + np.abs(beyond).sum(axis=-1)
        if not gradient:
            return distance, None
        slope_x = (1 - fy) * (d01 - d00) + fy * (d11 - d10)
        return distance, np.stack([slope_x, high - low], axis=-1) / self.plan.resolution_m

    def background(self, points_xy: Array) -> Array:
        """Likelihood (...,) of a return at map-frame points (..., 2) that no wall explains."""
        cells = self.plan.cell(points_xy)
        row, col = cells[..., 0], cells[..., 1]
        rows, cols = self._background.shape
        inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
        known = self._background[np.where(inside, row, 0), np.where(inside, col, 0)]
        return np.where(inside, known, self.settings.unknown_likelihood)

    def hit(self, distance_m: Array, background: Array) -> Array:
        """The walls' share of the likelihood of returns at these distances."""
        return np.asarray((1.0 - background) * np.exp(-0.5 * np.square(distance_m / self.settings.sigma_m)))

    def log_likelihood(self, points_xy: Array) -> Array:
        """Log-likelihood (...,), at most 0, of returns at map-frame points (..., 2)."""
        background = self.background(points_xy)
        return np.asarray(np.log(self.hit(self.distance(points_xy)[0], background) + background))

    def evaluate(self, returns: Returns, poses: Array) -> tuple[Array, Array, Array]:
        """Score (K,), inlier fraction (K,) and free-space violation (K,) of poses (K, 3); see PoseFit."""
        points = place(poses, returns.points)
        distance, background = self.distance(points)[0], self.background(points)
        violation = self.violation(returns, poses)
        likelihood = np.log(self.hit(distance, background) + background)
        score = likelihood.mean(axis=1) - self.settings.violation_weight * violation
        return score, (distance <= INLIER_SIGMAS * self.settings.sigma_m).mean(axis=1), violation

    def violation(self, returns: Returns, poses: Array) -> Array:
        """Share (K,) of rays that pass through a wall, at poses (K, 3)."""
        spacing = max(self.plan.resolution_m, 0.05)
        rays = returns.every(self.settings.max_rays)
        samples, exists = rays.ray_samples(spacing)
        which_ray, which_sample = np.nonzero(exists)
        violated = np.zeros((len(poses), len(rays)), dtype=bool)
        if len(which_ray):
            wall = self.plan.value(place(poses, samples[which_ray, which_sample])) == OCCUPIED
            starts = np.flatnonzero(np.diff(which_ray, prepend=-1))
            violated[:, which_ray[starts]] = np.logical_or.reduceat(wall, starts, axis=1)
        return np.asarray(violated.mean(axis=1))


def place(poses: Array, points: Array) -> Array:
    """Map points (P, 2) of the aligned frame into the map frame at poses (K, 3): (K, P, 2)."""
    cos, sin = np.cos(poses[:, 2, None]), np.sin(poses[:, 2, None])
    x, y = points[None, :, 0], points[None, :, 1]
    return np.stack([poses[:, 0, None] + cos * x - sin * y, poses[:, 1, None] + sin * x + cos * y], axis=-1)
