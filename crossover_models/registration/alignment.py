"""Fine alignment of returns to a plan from a start pose, and how certain the result is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossover_models.registration.likelihood_field import LikelihoodField, place
from crossover_models.registration.returns import Returns

Array = NDArray[np.float64]
# Longest step of an iteration: the field is only locally quadratic.
MAX_STEP_M = 0.2
MAX_STEP_RAD = 0.1
CONVERGED_M = 1e-3
# What is known before any return counts: keeps the covariance finite along a bare corridor.
PRIOR_SIGMA = np.array([2.0, 2.0, 0.5])
# Plan and lidar are no better than this, however many returns agree.
FLOOR_SIGMA = np.array([0.02, 0.02, 0.005])


def align(field: LikelihoodField, returns: Returns, poses: Array, iterations: int = 12) -> Array:
    """Climb from poses (K, 3) to the nearest maxima of the likelihood field: (K, 3).

    Gauss-Newton on the distances, each return weighted by how probably a wall explains it (the E step of the hit-or-outlier
    mixture), with Levenberg's damping. A step that lowers the likelihood is halved instead of taken.
    """
    current = np.array(poses, dtype=np.float64)
    damping = np.full(len(current), 1e-3)
    active = np.ones(len(current), dtype=bool)
    value = np.full(len(current), -np.inf)
    trial = current.copy()
    for _ in range(iterations):
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        distance, gradient, lever = _linearize(field, returns, trial[rows])
        likelihood = field.log_likelihood(distance).mean(axis=1)
        better = likelihood > value[rows]
        current[rows[better]], value[rows[better]] = trial[rows[better]], likelihood[better]
        damping[rows] = np.where(better, damping[rows] * 0.3, damping[rows] * 10.0)
        worse = rows[~better]
        trial[worse] = 0.5 * (trial[worse] + current[worse])
        go = rows[better]
        step = _step(field, distance[better], gradient[better], lever[better], damping[go])
        trial[go] = current[go] + step
        moved = np.abs(trial[rows] - current[rows]).max(axis=1)
        active[rows] = moved > CONVERGED_M
    return current


def covariance(field: LikelihoodField, returns: Returns, poses: Array) -> Array:
    """Covariance (K, 3, 3) of x, y and yaw at maxima (K, 3): the inverse of the Gauss-Newton information.

    Neighboring returns share what is wrong with plan and sensor, so that together they count for
    ``settings.independent_returns`` at most; without this cap the ellipse shrinks with the number of beams.
    """
    distance, gradient, lever = _linearize(field, returns, poses)
    information, _ = _normal_equations(field, distance, gradient, lever)
    information *= min(1.0, field.settings.independent_returns / len(returns))
    information += np.diag(PRIOR_SIGMA**-2.0)
    out = np.linalg.inv(information) + np.diag(FLOOR_SIGMA**2)
    return np.asarray(0.5 * (out + out.transpose(0, 2, 1)))


def _linearize(field: LikelihoodField, returns: Returns, poses: Array) -> tuple[Array, Array, Array]:
    """Distances (K, P), their gradients (K, P, 2) and the lever arms (K, P, 2) of returns about the pose."""
    points = place(poses, returns.points)
    distance, gradient = field.distance(points, gradient=True)
    assert gradient is not None
    return distance, gradient, points - poses[:, None, :2]


def _normal_equations(field: LikelihoodField, distance: Array, gradient: Array, lever: Array) -> tuple[Array, Array]:
    """Information (K, 3, 3) and its right-hand side (K, 3) of the weighted distances, in units of 1 / sigma^2."""
    s = field.settings
    hit = (1.0 - s.outlier) * np.exp(-0.5 * np.square(distance / s.sigma_m))
    weight = hit / (hit + s.outlier) / s.sigma_m**2
    turn = lever[..., 0] * gradient[..., 1] - lever[..., 1] * gradient[..., 0]
    jacobian = np.concatenate([gradient, turn[..., None]], axis=-1)
    weighted = jacobian * weight[..., None]
    return weighted.transpose(0, 2, 1) @ jacobian, -(weighted * distance[..., None]).sum(axis=1)


def _step(field: LikelihoodField, distance: Array, gradient: Array, lever: Array, damping: Array) -> Array:
    information, target = _normal_equations(field, distance, gradient, lever)
    scale = np.einsum("kii->ki", information)
    damped = information + np.einsum("ki,ij->kij", scale * damping[:, None] + 1e-6, np.eye(3))
    step = np.linalg.solve(damped, target[..., None])[..., 0]
    limit = np.maximum(np.hypot(step[:, 0], step[:, 1]) / MAX_STEP_M, np.abs(step[:, 2]) / MAX_STEP_RAD)
    return np.asarray(step / np.maximum(limit, 1.0)[:, None])
