"""KISS-Matcher (Lim et al. 2025, "KISS-Matcher: Fast and robust point cloud registration revisited") on map clouds.

The features it matches need furniture, corners and the like: where the map holds scans of its rooms, the accumulated
cloud is matched with those; with an extruded plan, where all points of a wall look alike, it finds nothing.

Used as its authors use it: features and outlier rejection give a coarse pose (yaw and translation, for both clouds are
upright), a match counts from five final inliers on, and small_gicp refines it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from crossover_models.evaluation.buildings.answers import Answer
from crossover_models.evaluation.peers_geometry.extruded import map_cloud, upright
from crossover_models.evaluation.peers_geometry.small_gicp import Target, load_small_gicp
from crossover_models.evaluation.peers_geometry.view import Fix, PeerMap, PeerUnavailable, View, abstain
from crossover_models.geometry import yaw_from_matrix

PERIOD_S = 3.0
# Half of the default: rooms are small, and a wall of 0.1 m must not melt into the one behind it.
VOXEL_M = 0.15
LEAST_INLIERS, LEAST_POINTS = 5, 100


def load_kiss_matcher() -> Any:
    """The module.

    Raises:
        PeerUnavailable: it is not installed.
    """
    try:
        return importlib.import_module("kiss_matcher")
    except ImportError:
        raise PeerUnavailable("kiss_matcher is not installed; it comes with the extra 'peers'") from None


def kiss_matcher(views: Iterable[View], where: PeerMap, seed: int = 0) -> Iterator[Answer]:
    """Match the accumulated cloud with that of every level; announce the match with most inliers."""
    module = load_kiss_matcher()
    load_small_gicp()
    clouds = {key: map_cloud(plan, where.heights_m[key], where.scans.get(key)) for key, plan in where.plans.items()}
    targets = {key: Target(cloud, where.plans[key]) for key, cloud in clouds.items()}
    matched_ns: int | None = None
    fix: Fix | None = None
    for view in views:
        if matched_ns is None or (view.stamp_ns - matched_ns) * 1e-9 >= PERIOD_S * 0.999:
            matched_ns = view.stamp_ns
            local = view.cloud()
            source = upright(local) if local is not None else np.zeros((0, 3), dtype=np.float32)
            fix = None
            best = LEAST_INLIERS - 1
            for key, cloud in clouds.items() if len(source) >= LEAST_POINTS else ():
                inliers, pose, share = _match(module, source, cloud)
                if inliers > best:
                    best = inliers
                    fitted = targets[key].align(source, pose, reach_m=1.0).pose
                    fix = Fix(key, fitted, view.T_odom_base, share)
        if fix is None:
            yield abstain(view.stamp_ns)
        else:
            yield where.announce(view.stamp_ns, fix.level, fix.at(view.T_odom_base), fix.probability)


def _match(module: Any, source: Any, target: Any) -> tuple[int, Any, float]:
    """Final inliers (0 for no solution), planar pose (3,) of the source, and inliers as a share of first matches."""
    config = module.KISSMatcherConfig(voxel_size=VOXEL_M, use_quatro=True)
    matcher = module.KISSMatcher(config)
    solution = matcher.estimate(source, target)
    inliers = int(matcher.get_num_final_inliers()) if solution.valid else 0
    rotation, shift = np.asarray(solution.rotation), np.asarray(solution.translation).reshape(-1)
    pose = np.array([shift[0], shift[1], yaw_from_matrix(rotation)])
    if not np.isfinite(pose).all():
        return 0, np.zeros(3), 0.0
    first = len(matcher.get_initial_correspondences())
    return inliers, pose, min(inliers / max(first, 1), 1.0)
