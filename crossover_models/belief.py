"""Recursive Bayes belief over weighted poses on all levels, with a null hypothesis that can win.

Each hypothesis is a Gaussian over base_link's pose in its level's map frame, tracked as T_map_odom so that odometry
moves all of them at once (multi-hypothesis tracking; Thrun, Burgard, Fox: Probabilistic Robotics, ch. 7.6). The null
hypothesis says "none of these": it holds the mass of everything not tracked, grows while no pose explains what is
seen, and is what new hypotheses are born from.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.config import BeliefSettings
from crossover_models.estimate import LevelKey, PoseFit
from crossover_models.geometry import (
    compose_se2,
    inverse_se2,
    relative_se2,
    wrap_angle,
)
from crossover_models.likelihood import SHRINKAGE
from crossover_models.repeated_evidence import RepeatedEvidence

Array = NDArray[np.float64]
# The null hypothesis never dies, or nothing could be born after a kidnapping.
NULL_FLOOR = 1e-3
PRUNE_BELOW = 1e-6
# A pose that explains what is seen as well as the best one is never less likely than this share of it: whatever
# decided against it may have been wrong together (a ride unnoticed, a pose stated wrongly).
RIVAL_SHARE, RIVAL_NATS = 1e-3, 0.15
# Imagined slices at every spot that tell no pose from another; with one, a wrong pose was announced after 1.6 s.
SPOT_SHRINKAGE = 2.0


@dataclass(frozen=True)
class Look:
    """What was looked with lately, under poses that may be born.

    Attributes:
        places: of each pose, told apart by what was looked with.
        nats: (n,) log-likelihood at each, against a robot that is at no pose known.
        nats_of_best: the same at the best pose tracked.
    """

    places: Sequence[Hashable]
    nats: Array
    nats_of_best: float = 0.0


class Belief:
    """Weighted Gaussian poses plus the null hypothesis; all weights sum to 1."""

    def __init__(self, settings: BeliefSettings) -> None:
        self.settings = settings
        self.levels: list[LevelKey] = []
        self.fits: list[PoseFit | None] = []
        self.T_map_odom: Array = np.zeros((0, 3))
        self.covariance: Array = np.zeros((0, 3, 3))
        self.weight: Array = np.zeros(0)
        self.score: Array = np.zeros(0)
        self.null_weight = 1.0
        self.spots, self.looks = RepeatedEvidence(SPOT_SHRINKAGE), RepeatedEvidence(SHRINKAGE)
        self._T_odom_base: Array | None = None

    def __len__(self) -> int:
        return len(self.levels)

    def clear(self) -> None:
        """Back to knowing nothing: all mass on the null hypothesis."""
        self.levels, self.fits = [], []
        self.T_map_odom, self.covariance = np.zeros((0, 3)), np.zeros((0, 3, 3))
        self.weight, self.score = np.zeros(0), np.zeros(0)
        self.spots.resize(0)
        self.looks.resize(0)
        self.null_weight = 1.0

    @property
    def T_odom_base(self) -> Array | None:
        """(3,) newest odometry, None before the first."""
        return self._T_odom_base

    def poses(self, T_odom_base: Array | None = None) -> Array:
        """(H, 3) T_map_base of all hypotheses, at the newest odometry or at ``T_odom_base`` (3,)."""
        at = self._T_odom_base if T_odom_base is None else T_odom_base
        if at is None:
            return np.zeros((0, 3))
        return compose_se2(self.T_map_odom, at)

    def move(self, T_odom_base: Array) -> None:
        """Let odometry (3,) carry all hypotheses and widen them by its noise."""
        previous, self._T_odom_base = self._T_odom_base, np.asarray(T_odom_base, dtype=np.float64)
        if previous is None or not len(self):
            return
        step = relative_se2(previous, self._T_odom_base)
        travel_m, turn_rad = float(np.hypot(step[0], step[1])), abs(float(step[2]))
        if travel_m == 0.0 and turn_rad == 0.0:
            return
        s = self.settings
        new = self.poses()
        old = compose_se2(self.T_map_odom, previous)
        jacobian = np.tile(np.eye(3), (len(self), 1, 1))
        jacobian[:, 0, 2] = -(new[:, 1] - old[:, 1])
        jacobian[:, 1, 2] = new[:, 0] - old[:, 0]
        # A random walk: variance grows with the way, so the rate at which odometry arrives does not matter.
        noise = np.diag(
            [
                s.odometry_translation**2 * travel_m,
                s.odometry_translation**2 * travel_m,
                s.odometry_rotation**2 * turn_rad + s.odometry_drift_rad**2 * travel_m,
            ]
        )
        self.covariance = jacobian @ self.covariance @ jacobian.transpose(0, 2, 1) + noise

    def reanchor(self, T_odom_base: Array) -> None:
        """Odometry begins anew at (3,): every pose stays where it is in the map."""
        if len(self) and self._T_odom_base is not None:
            self.T_map_odom = compose_se2(self.poses(), inverse_se2(T_odom_base))
        self._T_odom_base = np.asarray(T_odom_base, dtype=np.float64)

    def restart(self, fits: Sequence[PoseFit], T_odom_aligned: Array, looks: Sequence[Look] = ()) -> None:
        """Replace everything by the hypotheses of a global search at odometry ``T_odom_aligned`` (3,)."""
        self.clear()
        self.add(fits, T_odom_aligned, looks, share=1.0 - self.settings.null_probability)

    def add(
        self, fits: Sequence[PoseFit], T_odom_aligned: Array, looks: Sequence[Look] = (), share: float = 0.0
    ) -> int:
        """Give birth to hypotheses out of the null hypothesis' mass; those already tracked are not doubled.

        Args:
            fits: poses of the slice's frame, from a global search.
            T_odom_aligned: (3,) odometry of that frame.
            looks: what was looked at lately, under each fit.
            share: of the null mass that the births have as prior together; 0 for the setting.

        Returns:
            Number of hypotheses born.
        """
        s = self.settings
        T_map_odom = [compose_se2(fit.T_map_aligned, inverse_se2(T_odom_aligned)) for fit in fits]
        at = T_odom_aligned if self._T_odom_base is None else self._T_odom_base
        fresh = [k for k, fit in enumerate(fits) if not self._tracked(fit.level, compose_se2(T_map_odom[k], at), at)]
        if not fresh:
            return 0
        prior = self.null_weight * (share or s.birth_share) / len(fits)
        scores = self.decisive(np.array([fits[k].score for k in fresh]))
        bound = self._bound(scores)
        memory = RepeatedEvidence(SHRINKAGE)
        memory.resize(len(fresh))
        told = np.zeros(len(fresh))
        for look in looks:
            told += memory.tell([look.places[k] for k in fresh], look.nats[fresh])
        # A look that the best pose had too is no advantage over it.
        best_told = sum(look.nats_of_best for look in looks) / (1.0 + SHRINKAGE)
        ratios = np.exp(s.evidence_returns * (scores - s.null_score) + told)
        weights = np.minimum(prior * ratios, bound * np.exp(told - best_told))
        self.levels += [fits[k].level for k in fresh]
        self.fits += [fits[k] for k in fresh]
        self.T_map_odom = np.concatenate([self.T_map_odom, np.stack([T_map_odom[k] for k in fresh])])
        self.covariance = np.concatenate([self.covariance, np.stack([fits[k].covariance for k in fresh])])
        self.weight = np.concatenate([self.weight, weights])
        self.score = np.concatenate([self.score, [fits[k].score for k in fresh]])
        self.spots.resize(len(self))
        self.looks.extend(memory)
        self.null_weight -= prior * len(fresh)
        self.settle()
        return len(fresh)

    def _bound(self, scores: Array) -> Array:
        """Most weight (n,) that births with these scores may have: what the best tracked pose's fit to the slice earns.

        The null hypothesis has a floor; without this bound, births out of it would overtake a pose as good as they are.
        """
        if not len(self) or np.isnan(self.score[0]):
            return np.full(len(scores), np.inf)
        return np.asarray(self.weight[0] * np.exp(self.settings.evidence_returns * (scores - self.score[0])))

    def doubt(self, probability: float) -> None:
        """Something happened after which, with this probability, the robot is at none of the poses tracked."""
        self.null_weight = probability + (1.0 - probability) * self.null_weight
        self.weight = (1.0 - probability) * self.weight
        self.settle()

    def widen(self, error: Array) -> None:
        """Odometry went wrong by so much (x m, y m, yaw rad) at once, whichever hypothesis is right."""
        self.covariance += np.diag(np.square(error))

    def ride(self, exits: Sequence[Sequence[tuple[LevelKey, Array]]]) -> bool:
        """Share the mass of each hypothesis evenly with the poses (3,) on other levels where it may be as well.

        What is seen from now on decides; what was seen before the ride decided for all of them together.

        Args:
            exits: of each hypothesis, none where it is in no lift.

        Returns:
            Whether there was any.
        """
        if self._T_odom_base is None or not any(exits):
            return False
        to_odom = inverse_se2(self._T_odom_base)
        rows = [k for k, others in enumerate(exits) for _ in others]
        found = [exit_ for others in exits for exit_ in others]
        share = self.weight / np.array([len(others) + 1.0 for others in exits])
        self.levels += [level for level, _ in found]
        self.fits += [None] * len(found)
        self.T_map_odom = np.concatenate([self.T_map_odom, [compose_se2(pose, to_odom) for _, pose in found]])
        self.covariance = np.concatenate([self.covariance, self.covariance[rows]])
        self.weight = np.concatenate([share, share[rows]])
        self.score = np.concatenate([self.score, self.score[rows]])
        for memory in (self.spots, self.looks):
            memory.resize(len(self))
            memory.clear()
        self.settle()
        return True

    def place(self, level: LevelKey, T_map_base: Array, covariance: Array) -> None:
        """Believe a pose somebody states (initialpose), as firmly as the prior allows."""
        at = np.zeros(3) if self._T_odom_base is None else self._T_odom_base
        self.clear()
        self._T_odom_base = at
        self.levels, self.fits = [level], [None]
        self.T_map_odom = compose_se2(np.asarray(T_map_base, dtype=np.float64), inverse_se2(at))[None]
        self.covariance = np.asarray(covariance, dtype=np.float64)[None].copy()
        self.null_weight = 0.05
        self.weight, self.score = np.array([1.0 - self.null_weight]), np.array([np.nan])
        self.spots.resize(1)
        self.looks.resize(1)

    def keep_levels(self, levels: Sequence[LevelKey]) -> None:
        """Drop hypotheses on other levels; their mass goes to the null hypothesis."""
        member = np.array([level in levels for level in self.levels], dtype=bool)
        if len(self):
            self.null_weight += float(self.weight[~member].sum())
            self._select(np.flatnonzero(member))
            self.settle()

    def correct(self, k: int, fit: PoseFit, T_odom_aligned: Array) -> None:
        """Kalman update of hypothesis ``k`` with a registration at odometry ``T_odom_aligned`` (3,).

        The slice shares returns with earlier ones, so its covariance is widened by ``settings.correlation``.
        """
        at = T_odom_aligned if self._T_odom_base is None else self._T_odom_base
        measured = compose_se2(fit.T_map_aligned, relative_se2(T_odom_aligned, at))
        predicted = compose_se2(self.T_map_odom[k], at)
        innovation = measured - predicted
        innovation[2] = wrap_angle(innovation[2])
        P = self.covariance[k]
        gain = P @ np.linalg.inv(P + self.settings.correlation * fit.covariance)
        corrected = predicted + gain @ innovation
        corrected[2] = wrap_angle(corrected[2])
        P = (np.eye(3) - gain) @ P
        self.covariance[k] = 0.5 * (P + P.T)
        self.T_map_odom[k] = compose_se2(corrected, inverse_se2(at))
        self.fits[k] = fit

    def weigh(self, log_likelihood: Array, null_log_likelihood: float) -> None:
        """Bayes' rule with log-likelihoods (H,) of the hypotheses and one of the null hypothesis, in nats."""
        logs = np.append(np.log(np.maximum(self.weight, 1e-300)) + log_likelihood, 0.0)
        logs[-1] = np.log(self.null_weight) + null_log_likelihood
        weights = np.exp(logs - logs.max())
        self.weight, self.null_weight = weights[:-1], float(weights[-1])
        self.settle()

    def observe(self, scores: Array, evidence: float, spot: Hashable) -> None:
        """Bayes' rule for a wall slice that scores (H,) under the hypotheses (nats a return).

        Furniture that the map does not hold shifts the scores of two poses apart by some amount that stays the same
        while the robot stays nearby. Between poses, therefore, what is seen from one spot counts once, by its mean and
        beyond a deadband; it would decide between twins else.

        Args:
            scores: as in PoseFit.
            evidence: 0..1, how new the slice is as a test of whether any pose explains what is seen.
            spot: where it was seen from, as a test between poses.
        """
        if not len(self):
            return
        s = self.settings
        self.score = np.asarray(scores, dtype=np.float64).copy()
        best = float(scores.max())
        between = self.spots.tell(
            [spot] * len(self), s.evidence_returns * (self.score - best), s.evidence_returns * s.score_deadband
        )
        self.weigh(s.evidence_returns * evidence * (best - s.null_score) + between, 0.0)
        if not len(self):
            return
        rivals = self.score >= self.score.max() - RIVAL_NATS
        self.weight = np.where(rivals, np.maximum(self.weight, RIVAL_SHARE * self.weight.max()), self.weight)
        self._normalize()

    def look(self, places: Sequence[Hashable], nats: Array) -> None:
        """Bayes' rule for a look whose log-likelihood (H,) by the place of each hypothesis is known.

        Args:
            places: of each hypothesis, told apart by what was looked with; looks at one place count once.
            nats: against a robot that is at none of the hypotheses.
        """
        if len(self):
            self.weigh(self.looks.tell(places, nats), 0.0)

    def decisive(self, scores: Array) -> Array:
        """Scores (H,) with differences from the best one shrunk by the deadband."""
        if not len(scores):
            return scores
        best = float(scores.max())
        return np.asarray(best - np.maximum(best - scores - self.settings.score_deadband, 0.0))

    def settle(self) -> None:
        """Merge hypotheses that became one, drop hopeless ones, normalize; best first afterwards."""
        self._normalize()
        order = np.argsort(-self.weight, kind="stable")
        poses = self.poses(np.zeros(3) if self._T_odom_base is None else self._T_odom_base)
        kept: list[int] = []
        weight = self.weight.copy()
        for k in order:
            for j in kept:
                if self.levels[j] == self.levels[k] and self._near(poses[j], poses[k]):
                    weight[j] += weight[k]
                    break
            else:
                if weight[k] >= PRUNE_BELOW and len(kept) < self.settings.max_hypotheses:
                    kept.append(int(k))
                else:
                    self.null_weight += float(weight[k])
        self.weight = weight
        self._select(np.array(kept, dtype=np.int64))
        self._normalize()

    def _normalize(self) -> None:
        total = float(self.weight.sum()) + self.null_weight
        self.weight = self.weight / total
        self.null_weight = max(self.null_weight / total, NULL_FLOOR)
        mass = float(self.weight.sum())
        if mass > 0:
            self.weight *= (1.0 - self.null_weight) / mass
        else:
            self.null_weight = 1.0

    def _select(self, rows: NDArray[np.int64]) -> None:
        rows = np.asarray(rows, dtype=np.int64)
        self.levels = [self.levels[k] for k in rows]
        self.fits = [self.fits[k] for k in rows]
        self.T_map_odom, self.covariance = self.T_map_odom[rows], self.covariance[rows]
        self.weight, self.score = self.weight[rows], self.score[rows]
        self.spots.select(rows.tolist())
        self.looks.select(rows.tolist())

    def _near(self, pose: Array, other: Array) -> bool:
        s = self.settings
        return bool(
            np.hypot(pose[0] - other[0], pose[1] - other[1]) <= s.merge_m
            and abs(float(wrap_angle(pose[2] - other[2]))) <= s.merge_rad
        )

    def _tracked(self, level: LevelKey, T_map_base: Array, T_odom_base: Array) -> bool:
        poses = self.poses(T_odom_base)
        return any(self.levels[j] == level and self._near(poses[j], T_map_base) for j in range(len(self)))
