"""What retrieval says of the poses in the belief: by the place each lies in, look by look."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from crossover_models.belief import Belief, Look
from crossover_models.config import BeliefSettings
from crossover_models.estimate import LevelKey, PoseFit, Retrieval
from crossover_models.furniture_field import FurnitureField
from crossover_models.geometry import relative_se2
from crossover_models.likelihood import log_mean_exp
from crossover_models.observation import Modality, WallSlice
from crossover_models.places import PlaceMap

Array = NDArray[np.float64]


Alike = Callable[[tuple[LevelKey, str], tuple[LevelKey, str]], bool]


def never_alike(place: tuple[LevelKey, str], other: tuple[LevelKey, str]) -> bool:
    """Of a map without twins."""
    return place == other


def nats_at(
    retrieval: Retrieval,
    places: PlaceMap,
    levels: Sequence[LevelKey],
    poses: Array,
    outliers: float,
    alike: Alike = never_alike,
) -> tuple[list[Hashable], Array]:
    """Keys of the places at poses (H, 3), and the log-likelihoods (H,) of a look there, against the average place.

    Retrieval errs in a share ``outliers`` of places, whatever its scores: no look can say more against a place than
    that, and nothing that tells places apart which are ``alike``. Of a pose outside of all places it says nothing.
    """
    all_nats = np.array(list(retrieval.nats.values()))
    reference, least = log_mean_exp(all_nats), float(all_nats.min())
    keys: list[Hashable] = []
    nats = np.zeros(len(poses))
    found: dict[tuple[LevelKey, str], list[int]] = {}
    for k, (level, pose) in enumerate(zip(levels, poses, strict=True)):
        place = places.at(level, pose[:2])
        keys.append((retrieval.query_modality, level, place.place_id if place is not None else ""))
        if place is not None:
            found.setdefault((level, place.place_id), []).append(k)
            nats[k] = retrieval.nats.get((level, place.place_id), least) - reference
    means = {key: np.mean([nats[found[twin][0]] for twin in found if alike(key, twin)]) for key in found}
    for key, rows in found.items():
        nats[rows] = means[key]
    return keys, np.log((1.0 - outliers) * np.exp(nats) + outliers)


def furniture_looks(
    field: FurnitureField, wall_slice: WallSlice, spot: Hashable, fits: Sequence[PoseFit], belief: Belief
) -> list[Look]:
    """A slice against the map's furniture, under poses that may be born."""
    if not field.levels:
        return []
    poses = np.array([fit.T_map_aligned for fit in fits]).reshape(-1, 3)
    nats = field.nats(wall_slice, [fit.level for fit in fits], poses)
    best = 0.0
    if len(belief):
        at = belief.poses(wall_slice.T_odom_aligned)[:1]
        best = float(field.nats(wall_slice, belief.levels[:1], at)[0])
    return [Look([("furniture", spot)] * len(fits), nats, best)]


class PlaceEvidence:
    """Decides which looks count, and tells the belief of them.

    Args:
        places: outlines of the map's places.
        settings: of the belief.
        alike: whether retrieval cannot tell two places apart.
    """

    def __init__(self, places: PlaceMap, settings: BeliefSettings, alike: Alike = never_alike) -> None:
        self.settings = settings
        self._places, self._alike = places, alike
        self._looked_at: dict[Modality, Array] = {}
        self._latest: dict[Modality, Retrieval] = {}

    def clear(self) -> None:
        """The robot is elsewhere: what was looked at says nothing of where it is now."""
        self._looked_at.clear()
        self._latest.clear()

    def take(self, retrieval: Retrieval, belief: Belief) -> bool:
        """Weigh the belief by a look, if the robot moved or turned since the last one; whether it counted."""
        at = belief.T_odom_base
        if not retrieval.nats:
            return False
        self._latest[retrieval.query_modality] = retrieval
        if at is None or not len(belief) or not self._is_new(retrieval.query_modality, at):
            return False
        self._looked_at[retrieval.query_modality] = at
        belief.look(*self._nats(retrieval, belief.levels, belief.poses()))
        return True

    def of_births(self, fits: Sequence[PoseFit], belief: Belief) -> list[Look]:
        """The newest look with each modality, under poses that may be born into the belief."""
        levels = [fit.level for fit in fits]
        poses = np.array([fit.T_map_aligned for fit in fits]).reshape(-1, 3)
        looks = []
        for retrieval in self._latest.values():
            # The best pose tracked is asked with them, so that places alike get one value.
            here = belief.poses()[:1]
            keys, nats = self._nats(retrieval, [*levels, *belief.levels[:1]], np.concatenate([poses, here]))
            looks.append(Look(keys[: len(fits)], nats[: len(fits)], float(nats[-1]) if len(here) else 0.0))
            if belief.T_odom_base is not None:
                self._looked_at.setdefault(retrieval.query_modality, belief.T_odom_base)
        return looks

    def _nats(self, retrieval: Retrieval, levels: Sequence[LevelKey], poses: Array) -> tuple[list[Hashable], Array]:
        return nats_at(retrieval, self._places, levels, poses, self.settings.retrieval_outliers, self._alike)

    def _is_new(self, modality: Modality, at: Array) -> bool:
        last = self._looked_at.get(modality)
        if last is None:
            return True
        step = relative_se2(last, at)
        s = self.settings
        return float(np.hypot(step[0], step[1])) >= s.retrieval_travel_m or abs(float(step[2])) >= s.retrieval_turn_rad
