"""small_gicp (Koide 2024, "Efficient and parallel algorithms for point cloud registration") on extruded plans.

A local method: it is started from poses all over the map, then follows from where it was, and starts all over when
what it sees no longer fits.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.estimate import LevelKey
from crossover_models.evaluation.buildings.answers import Answer
from crossover_models.evaluation.peers_geometry.extruded import extruded_cloud, upright
from crossover_models.evaluation.peers_geometry.view import Fix, PeerMap, PeerUnavailable, View, abstain
from crossover_models.floor_plan import FREE, FloorPlan
from crossover_models.geometry import se2_from_se3, se3_from_se2, transform_points_se2

Array = NDArray[np.float64]

PERIOD_S, SEARCH_PERIOD_S = 1.0, 3.0
# Starts of the global search: so far apart, as the method's basin of about 1 m and 20 deg asks for.
START_M, START_RAD = 2.0, float(np.deg2rad(45.0))
# Returns this near to a wall fit; a pose is announced from such a share of them on, and dropped below the other.
FIT_M, SHARE, SHARE_KEPT = 0.25, 0.8, 0.6
REFINED = 8
LEAST_POINTS = 100


def load_small_gicp() -> Any:
    """The module.

    Raises:
        PeerUnavailable: it is not installed.
    """
    try:
        return importlib.import_module("small_gicp")
    except ImportError:
        raise PeerUnavailable("small_gicp is not installed; it comes with the extra 'peers'") from None


@dataclass(frozen=True)
class Aligned:
    """Where an alignment ended: planar pose (3,), and the share of returns near a wall there."""

    pose: Array
    share: float


class Target:
    """A level's extruded plan, ready to be aligned with.

    Args:
        cloud: (N, 3) in the level's map frame, m.
        plan: to tell how well a pose fits.
    """

    def __init__(self, cloud: NDArray[np.floating], plan: FloorPlan) -> None:
        self._module = load_small_gicp()
        self._plan = plan
        self._points, self._tree = self._module.preprocess_points(
            np.asarray(cloud, dtype=np.float64), downsampling_resolution=0.1, num_neighbors=10, num_threads=1
        )

    def align(
        self, source: NDArray[np.floating], start: Array, reach_m: float, iterations: int = 20, voxel_m: float = 0.15
    ) -> Aligned:
        """Align a cloud (M, 3) of base_link's planar frame from a pose (3,)."""
        return self.align_prepared(self.prepare(source, voxel_m), source, start, reach_m, iterations)

    def prepare(self, source: NDArray[np.floating], voxel_m: float) -> Any:
        """A cloud thinned, with its normals: the part that is the same for every start."""
        return self._module.preprocess_points(
            np.asarray(source, dtype=np.float64), downsampling_resolution=voxel_m, num_neighbors=10, num_threads=1
        )[0]

    def align_prepared(
        self, prepared: Any, source: NDArray[np.floating], start: Array, reach_m: float, iterations: int = 20
    ) -> Aligned:
        """As :meth:`align` with a cloud from :meth:`prepare`."""
        result = self._module.align(
            self._points,
            prepared,
            self._tree,
            init_T_target_source=se3_from_se2(start),
            registration_type="PLANE_ICP",
            max_correspondence_distance=reach_m,
            num_threads=1,
            max_iterations=iterations,
        )
        pose = np.asarray(se2_from_se3(np.asarray(result.T_target_source)))
        return Aligned(pose, self.share(source, pose)) if np.isfinite(pose).all() else Aligned(start, 0.0)

    def share(self, source: NDArray[np.floating], pose: Array) -> float:
        """Share of points (M, 3) that lie near a wall of the plan at a pose (3,)."""
        cells = self._plan.cell(transform_points_se2(pose, source[:: max(1, len(source) // 500), :2]))
        rows, cols = self._plan.occupancy.shape
        inside = ((cells >= 0) & (cells < [rows, cols])).all(axis=1)
        near = self._plan.distance_m[cells[inside, 0], cells[inside, 1]] <= FIT_M
        return float(near.sum() / max(len(cells), 1))


def starts(plan: FloorPlan) -> Array:
    """(S, 3) poses all over the free space of a plan."""
    step = max(1, round(START_M / plan.resolution_m))
    cells = np.argwhere(plan.occupancy == FREE)
    block = cells // step
    # Of each block of free cells, the one nearest to their middle.
    _, member = np.unique(block, axis=0, return_inverse=True)
    member = member.reshape(-1)
    count = np.bincount(member)
    middle = np.stack([np.bincount(member, weights=cells[:, k]) / count for k in (0, 1)], axis=1)
    off = np.square(cells - middle[member]).sum(axis=1)
    order = np.lexsort((off, member))
    chosen = cells[order[np.searchsorted(member[order], np.arange(len(count)))]]
    xy = plan.position(chosen)
    yaw = np.arange(-np.pi, np.pi - 1e-9, START_RAD)
    return np.concatenate([np.repeat(xy, len(yaw), axis=0), np.tile(yaw, len(xy))[:, None]], axis=1)


def small_gicp(views: Iterable[View], where: PeerMap, seed: int = 0) -> Iterator[Answer]:
    """Start everywhere, follow from the best, announce while it fits."""
    load_small_gicp()
    targets = {key: Target(extruded_cloud(plan, where.heights_m[key]), plan) for key, plan in where.plans.items()}
    everywhere = {key: starts(plan) for key, plan in where.plans.items()}
    aligned_ns: int | None = None
    searched_ns: int | None = None
    fix: Fix | None = None
    for view in views:
        if aligned_ns is None or (view.stamp_ns - aligned_ns) * 1e-9 >= PERIOD_S * 0.999:
            aligned_ns = view.stamp_ns
            local = view.cloud()
            source = upright(local) if local is not None else np.zeros((0, 3), dtype=np.float32)
            if len(source) >= LEAST_POINTS:
                if fix is not None:
                    found = targets[fix.level].align(source, fix.at(view.T_odom_base), reach_m=0.5)
                    kept = found.share >= SHARE_KEPT
                    fix = Fix(fix.level, found.pose, view.T_odom_base, found.share) if kept else None
                due = searched_ns is None or (view.stamp_ns - searched_ns) * 1e-9 >= SEARCH_PERIOD_S * 0.999
                if fix is None and due:
                    searched_ns = view.stamp_ns
                    key, best = _search(targets, everywhere, source)
                    fix = Fix(key, best.pose, view.T_odom_base, best.share) if best.share >= SHARE else None
        if fix is None:
            yield abstain(view.stamp_ns)
        else:
            yield where.announce(view.stamp_ns, fix.level, fix.at(view.T_odom_base), fix.probability)


def _search(
    targets: dict[LevelKey, Target], everywhere: dict[LevelKey, Array], source: NDArray[np.float32]
) -> tuple[LevelKey, Aligned]:
    """Coarse alignments of a thinned cloud from every start, the best of them again with all of it."""
    coarse = []
    for key, target in targets.items():
        prepared = target.prepare(source, 0.5)
        coarse += [
            (key, target.align_prepared(prepared, source, start, reach_m=2.0, iterations=8))
            for start in everywhere[key]
        ]
    coarse.sort(key=lambda entry: -entry[1].share)
    fine = [(key, targets[key].align(source, found.pose, reach_m=0.5)) for key, found in coarse[:REFINED]]
    return max(fine, key=lambda entry: entry[1].share)
