"""Fine alignment of returns to a plan from a start pose, and how certain the result is."""

from __future__ import annotations

from dataclasses import dataclass

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

    Gauss-Newton on the distances, each return weighted by how probably a wall explains it (the E step of the mixture of
    hits and background), with Levenberg's damping. A step that lowers the likelihood is halved instead of taken.
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
        terms = _linearize(field, returns, trial[rows])
        likelihood = np.log(terms.hit + terms.background).mean(axis=1)
        better = likelihood > value[rows]
        current[rows[better]], value[rows[better]] = trial[rows[better]], likelihood[better]
        damping[rows] = np.where(better, damping[rows] * 0.3, damping[rows] * 10.0)
        worse = rows[~better]
        trial[worse] = 0.5 * (trial[worse] + current[worse])
        go = rows[better]
        trial[go] = current[go] + _step(terms, field.settings.sigma_m, damping[rows])[better]
        moved = np.abs(trial[rows] - current[rows]).max(axis=1)
        active[rows] = moved > CONVERGED_M
    return current


def covariance(field: LikelihoodField, returns: Returns, poses: Array) -> Array:
    """Covariance (K, 3, 3) of x, y and yaw at maxima (K, 3): the inverse of the Gauss-Newton information.

    Neighboring returns share what is wrong with plan and sensor, so that together they count for
    ``settings.independent_returns`` at most; without this cap the ellipse shrinks with the number of beams.
    """
    information, _ = _normal_equations(_linearize(field, returns, poses), field.settings.sigma_m)
    information *= min(1.0, field.settings.independent_returns / len(returns))
    information += np.diag(PRIOR_SIGMA**-2.0)
    out = np.linalg.inv(information) + np.diag(FLOOR_SIGMA**2)
    return np.asarray(0.5 * (out + out.transpose(0, 2, 1)))


@dataclass(frozen=True)
class _Terms:
    """The likelihood of returns around poses, to first order in the distances.

    Attributes:
        distance: (K, P) to the nearest wall, metres.
        gradient: (K, P, 2) of it.
        lever: (K, P, 2) from the pose to the return, map frame, metres.
        hit, background: (K, P) the two parts of the likelihood.
    """

    distance: Array
    gradient: Array
    lever: Array
    hit: Array
    background: Array


def _linearize(field: LikelihoodField, returns: Returns, poses: Array) -> _Terms:
    points = place(poses, returns.points)
    distance, gradient = field.distance(points, gradient=True)
    assert gradient is not None
    background = field.background(points)
    return _Terms(distance, gradient, points - poses[:, None, :2], field.hit(distance, background), background)


def _normal_equations(terms: _Terms, sigma_m: float) -> tuple[Array, Array]:
    """Information (K, 3, 3) of the poses and its right-hand side (K, 3)."""
    weight = terms.hit / (terms.hit + terms.background) / sigma_m**2
    turn = terms.lever[..., 0] * terms.gradient[..., 1] - terms.lever[..., 1] * terms.gradient[..., 0]
    jacobian = np.concatenate([terms.gradient, turn[..., None]], axis=-1)
    weighted = jacobian * weight[..., None]
    return weighted.transpose(0, 2, 1) @ jacobian, -(weighted * terms.distance[..., None]).sum(axis=1)


def _step(terms: _Terms, sigma_m: float, damping: Array) -> Array:
    information, target = _normal_equations(terms, sigma_m)
    scale = np.einsum("kii->ki", information)
    damped = information + np.einsum("ki,ij->kij", scale * damping[:, None] + 1e-6, np.eye(3))
    step = np.linalg.solve(damped, target[..., None])[..., 0]
    limit = np.maximum(np.hypot(step[:, 0], step[:, 1]) / MAX_STEP_M, np.abs(step[:, 2]) / MAX_STEP_RAD)
    return np.asarray(step / np.maximum(limit, 1.0)[:, None])
