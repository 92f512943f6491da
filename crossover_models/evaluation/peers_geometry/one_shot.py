"""Exhaustive likelihood field: the accumulated wall slice matched everywhere, each time from scratch.

The search is branch and bound, which gives what an exhaustive one gives; rays and blank cells of the plan play no part,
as in the plain method. Between two matches the pose is carried along with odometry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from crossover_models.config import RegistrationSettings
from crossover_models.estimate import PoseFit
from crossover_models.evaluation.buildings.answers import Answer
from crossover_models.evaluation.peers_geometry.view import Fix, PeerMap, View, abstain
from crossover_models.registration import InsufficientStructure, PlanMatcher
from crossover_models.threads import use_threads

PERIOD_S = 2.0
# Of the gated variant: mean log-likelihood a return of the best pose, and its lead over the second.
SCORE_NAT, LEAD_NAT = -0.6, 0.1


def plain_settings() -> RegistrationSettings:
    """Neither rays nor blank cells count: the likelihood field of table 6.3 alone."""
    settings = RegistrationSettings()
    return RegistrationSettings(violation_weight=0.0, unknown_likelihood=settings.outlier)


def likelihood_field(views: Iterable[View], where: PeerMap, seed: int = 0, gated: bool = False) -> Iterator[Answer]:
    """Announce the best pose of the newest match, always, or (``gated``) only where score and lead suffice."""
    # As everywhere in this package: more threads are slower beside other work.
    use_threads(1)
    settings = plain_settings()
    matcher = PlanMatcher(where.plans, settings)
    matched_ns: int | None = None
    fix: Fix | None = None
    held = False
    for view in views:
        if matched_ns is None or (view.stamp_ns - matched_ns) * 1e-9 >= PERIOD_S * 0.999:
            matched_ns = view.stamp_ns
            fits = _fits(matcher, view)
            if fits:
                lead = fits[0].score - fits[1].score if len(fits) > 1 else settings.search_margin
                held = not gated or (fits[0].score >= SCORE_NAT and lead >= LEAD_NAT)
                probability = _probability(fits, settings.independent_returns)
                best = fits[0]
                fix = Fix(best.level, best.T_map_aligned, view.T_odom_base, probability, best.covariance)
            elif gated:
                held = False
        if fix is None:
            yield abstain(view.stamp_ns)
        else:
            pose = fix.at(view.T_odom_base)
            yield where.announce(view.stamp_ns, fix.level, pose, fix.probability, fix.covariance, held)


def _fits(matcher: PlanMatcher, view: View) -> tuple[PoseFit, ...]:
    walls = view.walls()
    if walls is None:
        return ()
    try:
        return matcher.register(walls)
    except InsufficientStructure:
        return ()


def _probability(fits: tuple[PoseFit, ...], returns: float) -> float:
    """Of the best among all found, if a slice were worth so many independent returns."""
    scores = np.array([fit.score for fit in fits])
    return float(1.0 / np.exp(returns * (scores - scores[0])).sum())
