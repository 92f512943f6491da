"""Where a robot without lidar is: particles over the plans, moved by odometry, weighed by what images say.

A picture tells places apart and no poses, but a robot's way does not lead through walls: which turns and how many
metres lie between two looks leaves few rooms for both (Monte Carlo localization, Dellaert et al. 1999, with a map as
the only constraint of motion). The particles' mass over the places is the answer; a pose is never announced from it.

Looks count as in :mod:`crossover_models.repeated_evidence`: those of one place by their shrunk mean, here kept of every
particle and place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from crossover_models.config import BeliefSettings
from crossover_models.estimate import Hypothesis, LevelKey, PlaceProbability, Retrieval
from crossover_models.floor_plan import FREE, OCCUPIED, FloorPlan
from crossover_models.geometry import compose_se2, relative_se2, wrap_angle
from crossover_models.likelihood import SHRINKAGE, log_mean_exp
from crossover_models.map_source import PlaceOutline
from crossover_models.place_evidence import Alike, never_alike

Array = NDArray[np.float64]
Key = tuple[LevelKey, str]
CELL_M = 0.1
# A robot's center stays this far from drawn walls; a step into one is a plan that errs, which costs this many nats.
CLEARANCE_M, BLOCKED_NATS = 0.15, 3.0
# Steps of odometry are gathered up to this much.
STEP_M, STEP_RAD = 0.1, 0.1
PARTICLES, MEMORY = 10_000, 4_000_000
# Prior probability of being at no place of the map, and share of the particles drawn anew whenever they are resampled.
NONE_PRIOR, REDRAWN = 0.1, 0.005
# Power of the mass over places: with looks of one place counted once, the filter alone is too modest. By maximum
# likelihood on 18 simulated drives in seven validation buildings (seeds 600000001 to 4, 11 to 13): right in 76 %
# of the instants at a mean probability of .76 instead of .62.
SHARPENED = 1.6
# Of places, the best by a look are asked for twins.
ASKED_FOR_TWINS = 8
MARGIN_M = 0.5
# Places told of as hypotheses.
NAMED = 12


class PlaceFilter:
    """Probabilities of places from odometry and looks.

    Args:
        plans: of the levels the robot may be on.
        places: all places of these levels.
        settings: noise of odometry, and how often retrieval errs.
        alike: whether retrieval cannot tell two places apart.
        seed: of everything drawn.
    """

    def __init__(
        self,
        plans: Mapping[LevelKey, FloorPlan],
        places: Sequence[PlaceOutline],
        settings: BeliefSettings,
        alike: Alike = never_alike,
        seed: int = 0,
    ) -> None:
        self.settings = settings
        self._alike = alike
        self._rng = np.random.default_rng([seed, 20])
        self.places = [place for place in places if place.key in plans]
        self._rows = {(place.key, place.place_id): k for k, place in enumerate(self.places)}
        self._levels = list(plans)
        self._rasters = [_Raster(plan, [p for p in self.places if p.key == level]) for level, plan in plans.items()]
        for raster, level in zip(self._rasters, self._levels, strict=True):
            raster.name([self._rows[key] for key in self._rows if key[0] == level])
        free = [np.argwhere(raster.free & (raster.label >= 0)) for raster in self._rasters]
        self._starts = np.concatenate([*free, np.zeros((0, 2), dtype=np.int64)])
        self._start_levels = np.repeat(np.arange(len(free)), [len(cells) for cells in free])
        count = min(PARTICLES, MEMORY // max(len(self.places), 1)) if len(self._starts) else 0
        self._level, self._pose = self._draw(count)
        self._log = np.zeros(count)
        self._total = np.zeros((count, len(self.places)), dtype=np.float32)
        self._counted, self._looks = np.zeros_like(self._total), np.zeros_like(self._total)
        self._none = float(np.log(NONE_PRIOR / (1.0 - NONE_PRIOR)))
        self._none_told: list[float] = []
        self._none_counted = 0.0
        self._at: Array | None = None
        self._looked_at: Array | None = None

    def __len__(self) -> int:
        return len(self._level)

    # -- what happens ----------------------------------------------------------------------------------------------

    def move(self, T_odom_base: Array) -> None:
        """Let odometry (3,) carry the particles."""
        at = np.asarray(T_odom_base, dtype=np.float64)
        if self._at is None:
            self._at = at
        step = relative_se2(self._at, at)
        travel_m, turn_rad = float(np.hypot(step[0], step[1])), abs(float(step[2]))
        if travel_m < STEP_M and turn_rad < STEP_RAD:
            return
        self._at = at
        s, n = self.settings, len(self)
        sigma_m = s.odometry_translation * np.sqrt(travel_m)
        sigma_rad = np.sqrt(s.odometry_rotation**2 * turn_rad + s.odometry_drift_rad**2 * travel_m)
        noise = self._rng.standard_normal((n, 3)) * (sigma_m, sigma_m, sigma_rad)
        before = self._pose
        self._pose = compose_se2(before, step + noise)
        # Long steps (odometry that comes seldom) are looked at in pieces no wall slips between.
        pieces = max(1, int(np.ceil(travel_m / CELL_M)))
        blocked = np.zeros(n)
        for part in np.arange(1, pieces + 1) / pieces:
            between = before[:, :2] + part * (self._pose[:, :2] - before[:, :2])
            blocked += ~self._lookup(between, "free", False)
        self._log -= BLOCKED_NATS * blocked
        self._resample()

    def carried(self) -> None:
        """Odometry begins anew, or the robot may be anywhere: nothing of before says where it is."""
        self._at = self._looked_at = None
        self._level, self._pose = self._draw(len(self))
        self._log[:] = 0.0
        self._forget(np.arange(len(self)))

    def look(self, retrieval: Retrieval) -> bool:
        """Weigh by a look, if the robot moved or turned since the last one; whether it counted."""
        if not retrieval.nats or not len(self) or self._at is None:
            return False
        if self._looked_at is not None:
            step = relative_se2(self._looked_at, self._at)
            s = self.settings
            if np.hypot(step[0], step[1]) < s.retrieval_travel_m and abs(step[2]) < s.retrieval_turn_rad:
                return False
        self._looked_at = self._at
        nats, none = self._nats(retrieval)
        place = self._place()
        rows = np.flatnonzero(place >= 0)
        cells = rows, place[rows]
        self._total[cells] += nats[place[rows]]
        self._looks[cells] += 1.0
        counts = self._total[cells] / (self._looks[cells] + SHRINKAGE)
        self._log[rows] += counts - self._counted[cells]
        self._counted[cells] = counts
        self._none_told.append(none)
        counts_none = sum(self._none_told) / (len(self._none_told) + SHRINKAGE)
        # The mean likelihood of the places is what "none" is compared with, so both are told alike.
        self._none += counts_none - self._none_counted
        self._none_counted = counts_none
        self._resample()
        return True

    # -- what is believed ------------------------------------------------------------------------------------------

    @property
    def unknown(self) -> float:
        """Probability of being at no place of the map."""
        return float(1.0 / (1.0 + np.exp(-self._none))) if len(self) else 1.0

    def probabilities(self) -> tuple[PlaceProbability, ...]:
        """Of all places that hold any mass, best first; what they lack to 1 is :attr:`unknown`."""
        known = 1.0 - self.unknown
        mass = self._mass()
        order = [k for k in np.argsort(-mass, kind="stable").tolist() if mass[k] > 0.0]
        return tuple(
            PlaceProbability(self.places[k].key, self.places[k].place_id, known * float(mass[k])) for k in order
        )

    def sentence(self) -> str:
        """What is believed, for people."""
        best = self.probabilities()[0]
        name = self.places[self._rows[best.level, best.place_id]].name
        return f"no lidar data: images name {name} with probability {best.probability:.2f}, and no pose"

    def hypotheses(self, count: int = NAMED) -> tuple[Hypothesis, ...]:
        """The best places as poses: mean and covariance of the particles in each, which is wide."""
        weights, place = self._weights(), self._place()
        out = []
        for entry in self.probabilities()[:count]:
            outline = self.places[self._rows[entry.level, entry.place_id]]
            member = place == self._rows[entry.level, entry.place_id]
            pose, covariance = _moments(self._pose[member], weights[member])
            name = outline.name
            out.append(
                Hypothesis(entry.level, pose, covariance, entry.probability, place_id=entry.place_id, place_name=name)
            )
        return tuple(out)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _nats(self, retrieval: Retrieval) -> tuple[NDArray[np.float32], float]:
        """(P,) log-likelihoods of a look at each place, against the average one; and of being at none of them."""
        least = min(retrieval.nats.values())
        raw = np.array([retrieval.nats.get((place.key, place.place_id), least) for place in self.places])
        reference = log_mean_exp(raw)
        nats = raw - reference
        best = [
            (k, (self.places[k].key, self.places[k].place_id)) for k in np.argsort(-nats)[:ASKED_FOR_TWINS].tolist()
        ]
        twins = {k: [j for j, other in best if self._alike(key, other)] for k, key in best}
        for k, mean in {k: float(np.mean(nats[members])) for k, members in twins.items()}.items():
            nats[k] = mean
        outliers = self.settings.retrieval_outliers
        told = np.log((1.0 - outliers) * np.exp(nats) + outliers)
        return told.astype(np.float32), retrieval.none_nats - reference

    def _draw(self, count: int) -> tuple[NDArray[np.int64], Array]:
        """Levels (n,) and poses (n, 3), even over all free cells that lie in a place."""
        chosen = self._rng.integers(len(self._starts), size=count) if count else np.zeros(0, dtype=np.int64)
        levels = self._start_levels[chosen]
        poses = np.zeros((count, 3))
        offset = self._rng.random((count, 2))
        for k, raster in enumerate(self._rasters):
            rows = levels == k
            poses[rows, :2] = raster.origin + (self._starts[chosen[rows]][:, ::-1] + offset[rows]) * CELL_M
        poses[:, 2] = self._rng.uniform(-np.pi, np.pi, count)
        return levels, poses

    def _lookup(self, points: Array, name: str, outside: int | bool) -> NDArray[np.int64]:
        """Values of a raster at points (n, 2) of each particle's level."""
        out = np.full(len(points), outside)
        for k, raster in enumerate(self._rasters):
            rows = np.flatnonzero(self._level == k)
            cells = np.floor((points[rows] - raster.origin) / CELL_M).astype(np.int64)
            values = getattr(raster, name)
            inside = ((cells >= 0) & (cells < values.shape[::-1])).all(axis=1)
            out[rows[inside]] = values[cells[inside, 1], cells[inside, 0]]
        return out

    def _place(self) -> NDArray[np.int64]:
        return self._lookup(self._pose[:, :2], "label", -1)

    def _weights(self) -> Array:
        weights = np.exp(self._log - self._log.max()) if len(self) else np.zeros(0)
        return np.asarray(weights / weights.sum()) if len(self) else weights

    def _mass(self) -> Array:
        """(P,) probability of each place, if it is one of them: the particles' weight in it, sharpened."""
        place = self._place()
        inside = place >= 0
        mass = np.bincount(place[inside], self._weights()[inside], minlength=len(self.places)) ** SHARPENED
        total = float(mass.sum())
        return np.asarray(mass / max(total, 1e-300), dtype=np.float64)

    def _resample(self) -> None:
        """Draw the particles anew in proportion to their weights, once few of them hold most of it."""
        weights, n = self._weights(), len(self)
        if not n or 1.0 / float((weights**2).sum()) > n / 2:
            return
        positions = (self._rng.random() + np.arange(n)) / n
        rows = np.minimum(np.searchsorted(np.cumsum(weights), positions), n - 1)
        self._level, self._pose = self._level[rows], self._pose[rows]
        self._total, self._counted, self._looks = self._total[rows], self._counted[rows], self._looks[rows]
        self._log = np.zeros(n)
        fresh = self._rng.choice(n, round(REDRAWN * n), replace=False)
        self._level[fresh], self._pose[fresh] = self._draw(len(fresh))
        self._forget(fresh)

    def _forget(self, rows: NDArray[np.int64]) -> None:
        self._total[rows] = self._counted[rows] = self._looks[rows] = 0.0


class _Raster:
    """Of one level on cells of :data:`CELL_M`: where a robot may stand, and in which place each cell lies."""

    def __init__(self, plan: FloorPlan, places: Sequence[PlaceOutline]) -> None:
        self.origin = np.array(plan.origin_xy)
        cols, rows = (int(np.ceil(side / CELL_M)) for side in plan.size_m)
        x, y = np.meshgrid(*(np.arange(count) * CELL_M + 0.5 * CELL_M for count in (cols, rows)))
        centers = np.stack([x, y], axis=-1) + self.origin
        self.free: NDArray[np.bool_] = plan.value(centers) == FREE
        if (plan.occupancy == OCCUPIED).any():
            away = distance_transform_edt(plan.occupancy != OCCUPIED) * plan.resolution_m
            cells = np.clip(plan.cell(centers), 0, np.array(plan.occupancy.shape) - 1)
            self.free &= away[cells[..., 0], cells[..., 1]] >= CLEARANCE_M
        outlines = [np.ascontiguousarray((p.polygon - self.origin) / CELL_M - 0.5) for p in places]
        order = sorted(range(len(places)), key=lambda k: -cv2.contourArea(outlines[k].astype(np.float32)))
        filled = np.full((rows, cols), -1, dtype=np.int32)
        for k in order:
            # With four bits for fractions of a cell.
            cv2.fillPoly(filled, [np.round(outlines[k] * 16).astype(np.int32)], k, shift=4)
        self.label = filled.astype(np.int64)
        if len(places) and (filled < 0).any():
            away, nearest = distance_transform_edt(filled < 0, return_indices=True)
            self.label = np.where(away * CELL_M <= MARGIN_M, filled[tuple(nearest)], -1).astype(np.int64)

    def name(self, rows: Sequence[int]) -> None:
        """Call the places of this level by their rows among all."""
        names = np.array([*rows, -1])
        self.label = names[self.label]


def _moments(poses: Array, weights: Array) -> tuple[Array, Array]:
    """Mean (3,) and covariance (3, 3) of weighted poses (n, 3); headings by their mean direction."""
    share = weights / weights.sum()
    heading = np.arctan2(share @ np.sin(poses[:, 2]), share @ np.cos(poses[:, 2]))
    mean = np.array([*(share @ poses[:, :2]), heading])
    off = poses - mean
    off[:, 2] = wrap_angle(off[:, 2])
    # A single particle has no spread; its cell has.
    return mean, (off * share[:, None]).T @ off + np.diag([CELL_M**2, CELL_M**2, 0.05**2])
