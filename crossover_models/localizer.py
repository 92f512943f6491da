"""The localizer: embeddings and wall slices in, retrieval, registration and belief inside, an estimate out.

One object serves the live node, the replay of a bag and the tests. It reads no clock but the stamps of the data
(and a stopwatch for ``runtime_s``).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from copy import copy

import numpy as np
from numpy.typing import NDArray

from crossover_models.announcement import Announcement
from crossover_models.belief import Belief
from crossover_models.config import LocalizerSettings
from crossover_models.continuity import slice_seen_before
from crossover_models.estimate import (
    FailureCategory,
    LevelKey,
    LocalizationEstimate,
    LocalizationState,
    RelocalizeRequest,
    RelocalizeResponse,
    Retrieval,
)
from crossover_models.floor_plan import FloorPlan, FloorPlanError
from crossover_models.furniture_field import FurnitureField
from crossover_models.geometry import compose_se2, relative_se2, wrap_angle
from crossover_models.hypotheses import hypotheses_and_places
from crossover_models.index.vector_index import VectorIndex
from crossover_models.level_names import LocalizerError as LocalizerError
from crossover_models.level_names import select_levels
from crossover_models.lift_rides import LiftRides, LiftStop
from crossover_models.likelihood import RetrievalLikelihood, shipped_likelihood
from crossover_models.map_source import FurnishedSource, LiftSource, MapSource
from crossover_models.observation import NO_TOKENS, Code, Modality, SceneEmbedding, WallSlice
from crossover_models.odometry import OdometryHistory
from crossover_models.odometry_leap import odometry_leap
from crossover_models.place_evidence import PlaceEvidence, furniture_looks
from crossover_models.place_filter import PlaceFilter
from crossover_models.places import PlaceMap
from crossover_models.registration import InsufficientStructure, PlanMatcher
from crossover_models.relocalization import Relocalization
from crossover_models.retrieval import PlaceIndex
from crossover_models.stage_clock import StageClock

Array = NDArray[np.float64]
TextEncoder = Callable[[str], Code]
# Hypotheses aligned at an update; the rest are scored where they are.
REFINED = 12


class Localizer:
    """Where is the robot, how sure is that, and what does it rest on?

    Args:
        database: the map; read once, here.
        settings: everything that can be tuned.
        encode_text: text encoder of the same checkpoint, for text queries and hints; None if there is none.
        likelihood: what retrieval's scores are worth; those shipped for the map's encoder by default.
        clock: where the time of each stage is counted.
        indexes: of modalities with too many places to be searched exactly.

    Raises:
        LocalizerError: ``settings.building`` or ``settings.level`` is not in the database.
    """

    def __init__(
        self,
        database: MapSource,
        settings: LocalizerSettings,
        encode_text: TextEncoder | None = None,
        likelihood: RetrievalLikelihood | None = None,
        clock: StageClock | None = None,
        indexes: Mapping[Modality, VectorIndex] | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock if clock is not None else StageClock()
        self.encoder_fingerprint = database.encoder_fingerprint
        self._encode_text = encode_text
        self._levels: dict[LevelKey, str] = {level.key: level.name for level in database.levels()}
        plans = {key: database.floor_plan(key) for key in self._levels}
        self.plans: Mapping[LevelKey, FloorPlan] = plans
        self._matcher = PlanMatcher(plans, settings.registration)
        worth = likelihood if likelihood is not None else shipped_likelihood(database.encoder_fingerprint)
        self._index = PlaceIndex(database, settings.retrieval, worth, indexes)
        self._places = PlaceMap(self._index.places)
        lifted = database if isinstance(database, LiftSource) else None
        self._lifts = LiftRides(
            LiftStop(level.key, lift.name, lift.position, level.T_building_map)
            for level in (lifted.levels() if lifted else ())
            for lift in (lifted.lifts(level.key) if lifted else ())
        )
        furnished = database if isinstance(database, FurnishedSource) else None
        self._furniture = FurnitureField(
            (key, plan, [piece.mesh for _, piece in furnished.furnishings(key)] if furnished else ())
            for key, plan in plans.items()
        )
        self._looks = PlaceEvidence(self._places, settings.belief, self._index.alike)
        self._belief = Belief(settings.belief)
        self._active = select_levels(self._levels, settings.building, settings.level)
        self._announcement = Announcement()
        self._odometry = OdometryHistory()
        self._slice: WallSlice | None = None
        self._stamp_ns = 0
        self._embeddings: dict[Modality, SceneEmbedding] = {}
        self._scans = 0
        self._updated_at: Array | None = None
        self._searched_at: Array | None = None
        self._spots: deque[tuple[int, Array]] = deque(maxlen=500)
        self._spots_made = 0
        self._unusable = ""
        self._by_images: PlaceFilter | None = None
        self.last_retrieval: Retrieval | None = None

    # -- sensor data -----------------------------------------------------------------------------------------------

    def on_odometry(self, stamp_ns: int, T_odom_base: Array) -> str:
        """Carry the belief along with odometry (3,); stamps that run backwards restart the history.

        Returns:
            Empty, or how it leaps: that tells nothing of where the robot went, so all poses are doubted where they are.
        """
        leap = odometry_leap(self._odometry.newest, stamp_ns, T_odom_base)
        if self._odometry.add(stamp_ns, T_odom_base):
            if leap:
                self._belief.reanchor(T_odom_base)
                self._on_carried()
                self._judge()
            else:
                self._belief.move(np.asarray(T_odom_base, dtype=np.float64))
            if self._by_images is not None:
                if leap:
                    self._by_images.carried()
                self._by_images.move(T_odom_base)
        return leap

    def on_embedding(self, embedding: SceneEmbedding) -> LocalizationEstimate:
        """Take one observation in and return the estimate at its stamp.

        Raises:
            LocalizerError: the embedding was made by another encoder than the database's.
        """
        with self.clock.stage("belief"):
            return self._take(embedding)

    def _take(self, embedding: SceneEmbedding) -> LocalizationEstimate:
        began = time.perf_counter()
        if embedding.fingerprint != self.encoder_fingerprint:
            raise LocalizerError(
                f"fingerprint: the embedding was made by encoder {embedding.fingerprint}, "
                f"the database by {self.encoder_fingerprint}"
            )
        if embedding.wall_slice is not None or self._slice is None:  # A picture keeps no pose fresh.
            self._stamp_ns = embedding.stamp_ns
        self._announcement.begin()
        if len(embedding.vector):
            self._embeddings[embedding.modality] = embedding
            with self.clock.stage("retrieve"):
                retrieval = self._retrieve(embedding, self._active)
            self.last_retrieval = retrieval
            self._looks.take(retrieval, self._belief)
            if embedding.wall_slice is None and self._slice is None:
                self._look_without_lidar(retrieval)
        if embedding.wall_slice is not None:
            self._by_images = None
            last, self._slice = self._slice, embedding.wall_slice
            self._scans = embedding.wall_slice.scans
            share = 1.0 if last is None else slice_seen_before(last, self._slice)
            if share < self.settings.belief.continuity_share:
                explained = self._explained(self._slice)
                if explained is None:
                    self._on_carried()
                else:
                    # Odometry may not have noticed: this look corrects the pose, however little the robot moved.
                    self._belief.widen(explained)
                    self._updated_at = None
            self._on_slice(embedding.wall_slice)
            self._on_lift(embedding.wall_slice)
        self._judge()
        return self.estimate(embedding.stamp_ns, runtime_s=time.perf_counter() - began)

    def _on_slice(self, wall_slice: WallSlice) -> None:
        s = self.settings.belief
        at = wall_slice.T_odom_aligned
        if self._belief.T_odom_base is None:
            self._belief.move(at)
        evidence, moved = 1.0, True
        if self._updated_at is not None:
            step = relative_se2(self._updated_at, at)
            travel_m, turn_rad = float(np.hypot(step[0], step[1])), abs(float(step[2]))
            moved = travel_m >= s.update_travel_m or turn_rad >= s.update_turn_rad
            evidence = min(1.0, (travel_m + 0.5 * turn_rad) / s.independence_m)
        if not moved and not self._is_unconfirmed():
            return
        self._unusable = ""
        try:
            if len(self._belief) and moved:
                self._update(wall_slice, evidence)
            if self._search_is_due(at):
                self._search(wall_slice)
            if moved:
                self._updated_at = at
        except (InsufficientStructure, FloorPlanError) as error:
            self._unusable = str(error)

    def _look_without_lidar(self, retrieval: Retrieval) -> None:
        """A picture alone, moved along the plans by odometry: it tells places apart, and no poses."""
        newest = self._odometry.newest
        if newest is None:
            return
        if self._by_images is None:
            plans = {level: self.plans[level] for level in self._active}
            self._by_images = PlaceFilter(plans, self._index.places, self.settings.belief, self._index.alike)
            self._by_images.move(newest[1])
        self._by_images.look(retrieval)

    def _explained(self, wall_slice: WallSlice) -> Array | None:
        """How far (3,) the announced pose is from explaining surroundings unlike the last ones; None if it does not.

        A door passed, or odometry that turned by less or more than the robot, change what is seen at once too. Set down
        elsewhere, robots saw -1.7 nat a return and less; past doors and turns, -0.9 and more, mostly -0.3.
        """
        if self._announcement.state != LocalizationState.LOCALIZED or not len(self._belief):
            return None
        predicted = self._belief.poses(wall_slice.T_odom_aligned)[0]
        try:
            fit = self._matcher.refine(wall_slice, self._belief.levels[0], predicted)
        except InsufficientStructure:
            return None
        step = fit.T_map_aligned - predicted
        step[2] = wrap_angle(step[2])
        fits = fit.score > self.settings.belief.continuity_score and float(np.hypot(step[0], step[1])) <= 1.0
        return step if fits else None

    def _on_carried(self) -> None:
        """The surroundings changed at once: doubt all poses, and search everything with what is seen now."""
        self._belief.doubt(self.settings.belief.carried_probability)
        self._belief.spots.clear()
        self._belief.looks.clear()
        self._updated_at = self._searched_at = None
        self._spots.clear()
        self._looks.clear()
        self._announcement.lose()

    def _on_lift(self, wall_slice: WallSlice) -> None:
        """Who stands in a lift may be on any of its floors; told again and again until the robot drives out."""
        belief, at = self._belief, wall_slice.T_odom_aligned
        if self._lifts.may_ride(wall_slice.stamp_ns, at):
            poses = zip(belief.levels, belief.poses(at), strict=True)
            if belief.ride([self._lifts.exits(level, pose, self._active) for level, pose in poses]):
                self._spots.clear()
                self._looks.clear()

    def _update(self, wall_slice: WallSlice, evidence: float) -> None:
        """Score every hypothesis where odometry says it is now, and correct the best ones."""
        belief, s = self._belief, self.settings.belief
        at = wall_slice.T_odom_aligned
        predicted = belief.poses(at)
        scores = np.full(len(belief), s.null_score)
        best = {int(k) for k in np.argsort(-belief.weight)[:REFINED]}
        with self.clock.stage("register"):
            for level in dict.fromkeys(belief.levels):
                rows = np.array([k for k, key in enumerate(belief.levels) if key == level])
                scores[rows] = self._matcher.evaluate(wall_slice, level, predicted[rows])[0]
                refined = [k for k in rows.tolist() if k in best]
                fits = self._matcher.refine_all(wall_slice, level, predicted[refined]) if refined else ()
                for k, fit in zip(refined, fits, strict=True):
                    if _distance_m(fit.T_map_aligned, predicted[k]) <= 1.0 and fit.score >= scores[k]:
                        scores[k] = fit.score
                        belief.correct(k, fit, at)
        spot = self._spot(at)
        belief.observe(scores, evidence, spot)
        if self._furniture.levels:
            nats = self._furniture.nats(wall_slice, belief.levels, belief.poses(at))
            belief.look([("furniture", spot)] * len(belief), nats)

    def _spot(self, at: Array) -> int:
        """Number of the spot of odometry (3,) around a pose; spots lie ``independence_m`` apart."""
        for number, spot in self._spots:
            if _distance_m(spot, at) < self.settings.belief.independence_m:
                return number
        self._spots_made += 1
        self._spots.append((self._spots_made, at))
        return self._spots_made

    def _search_is_due(self, at: Array) -> bool:
        if not len(self._belief) or self._searched_at is None:
            return True
        if self._belief.weight[0] >= self.settings.belief.localized_probability:
            return self._is_unconfirmed()
        return _distance_m(self._searched_at, at) >= self.settings.belief.search_travel_m

    def _is_unconfirmed(self) -> bool:
        """A pose is certain that was found among retrieved places only; who stands or turns must hear of it too."""
        best = float(self._belief.weight[0]) if len(self._belief) else 0.0
        return best >= self.settings.belief.localized_probability and not self._announcement.searched_all

    def _search(self, wall_slice: WallSlice) -> None:
        """Register among the retrieved places if retrieval is sure, else over all levels.

        A pose found among retrieved places only is not announced before a search of everything has confirmed it.
        """
        retrieval = self.last_retrieval
        cold = self._announcement.state == LocalizationState.INITIALIZING and self._searched_at is None
        regions = self._index.likely_regions(retrieval) if cold and retrieval and not retrieval.abstained else []
        with self.clock.stage("register"):
            if regions:
                fits = self._matcher.register(wall_slice, levels=self._active, regions=regions)
            else:
                fits = self._matcher.register(wall_slice, levels=self._active)
                self._announcement.searched_all = True
        self._searched_at = wall_slice.T_odom_aligned
        looks = self._looks.of_births(fits, self._belief)
        looks += furniture_looks(self._furniture, wall_slice, self._spot(wall_slice.T_odom_aligned), fits, self._belief)
        if len(self._belief):
            self._belief.add(fits, wall_slice.T_odom_aligned, looks)
        else:
            self._belief.restart(fits, wall_slice.T_odom_aligned, looks)

    # -- state -----------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Move the state by what the belief now says."""
        self._announcement.judge(self._belief, self.settings.belief, self._slice is not None, self._unusable)

    def estimate(self, stamp_ns: int, runtime_s: float = 0.0) -> LocalizationEstimate:
        """The answer at a stamp (ns); STALE if the newest sensor data are older than ``belief.stale_s``.

        A stamp from before all odometry that is remembered, or from where odometry was lost, is answered for the first
        moment that is known, and one that odometry has not reached for the newest: with another moment's odometry, a
        right belief would give a wrong pose.
        """
        belief = self._belief
        age_s = (stamp_ns - self._stamp_ns) * 1e-9
        if self._slice_odometry(stamp_ns) is None:
            stamp_ns = self._odometry.known_at(stamp_ns)
        T_odom_base = self._odometry_at(stamp_ns)
        told = self._announcement
        state, failure, message = told.state, told.failure, told.message
        if self._stamp_ns and age_s > self.settings.belief.stale_s:
            failure, message = FailureCategory.STALE, f"the newest sensor data are {age_s:.1f} s old"
        poses = belief.poses(T_odom_base)
        hypotheses, places = hypotheses_and_places(belief, poses, self._places)
        unknown = belief.null_weight
        if self._by_images is not None and not hypotheses and len(self._by_images):
            hypotheses, places = self._by_images.hypotheses(), self._by_images.probabilities()
            unknown = self._by_images.unknown
            if failure == FailureCategory.NO_SENSOR_DATA and places:
                failure, message = FailureCategory.AMBIGUOUS, self._by_images.sentence()
        held = tuple(modality for modality in Modality if modality in self._index.modalities)
        used = tuple(self._embeddings)
        localized = state == LocalizationState.LOCALIZED and len(hypotheses) > 0
        return LocalizationEstimate(
            stamp_ns,
            state,
            failure,
            message,
            hypotheses,
            unknown,
            T_map_odom=belief.T_map_odom[0].copy() if localized else None,
            modalities_used=used,
            modalities_missing=tuple(m for m in Modality if m not in held and m not in used),
            scans_accumulated=self._scans,
            runtime_s=runtime_s,
            places=places,
        )

    def _odometry_at(self, stamp_ns: int) -> Array | None:
        """Odometry (3,) at a stamp; what came with the newest slice where there is no odometry topic, or not yet."""
        if self._odometry.newest is None or self._odometry.known_at(stamp_ns) != stamp_ns:
            pose = self._slice_odometry(stamp_ns)
            if pose is not None:
                return pose
        pose = self._odometry.at(stamp_ns)
        return self._belief.T_odom_base if pose is None else pose

    def _slice_odometry(self, stamp_ns: int) -> Array | None:
        """Odometry (3,) that the newest wall slice brought along, for its own stamp."""
        seen = self._slice
        return seen.T_odom_aligned if seen is not None and seen.stamp_ns == stamp_ns else None

    # -- a second opinion ------------------------------------------------------------------------------------------

    def apart(self, building: str = "", level: str = "") -> Localizer:
        """A localizer on the same map that believes nothing yet; it shares what was read, and what is seen now.

        Raises:
            LocalizerError: unknown building or level.
        """
        out = copy(self)
        out._active = select_levels(self._levels, building, level)
        out._looks = PlaceEvidence(self._places, self.settings.belief, self._index.alike)
        out._by_images = None
        out._belief = Belief(self.settings.belief)
        out._announcement = Announcement()
        out._odometry = OdometryHistory()
        out._embeddings = dict(self._embeddings)
        out._updated_at = out._searched_at = None
        out._spots, out._spots_made = deque(maxlen=500), 0
        out._unusable = ""
        return out

    def adopt(self, other: Localizer) -> None:
        """Go on with what a localizer that was :meth:`apart` has come to believe; the levels to search stay."""
        self._belief, self._looks, self._announcement = other._belief, other._looks, other._announcement
        self._updated_at, self._searched_at = other._updated_at, other._searched_at
        self._spots, self._spots_made, self._unusable = other._spots, other._spots_made, other._unusable

    # -- requests --------------------------------------------------------------------------------------------------

    def relocalize(
        self, request: RelocalizeRequest, still_wanted: Callable[[], bool] = lambda: True
    ) -> RelocalizeResponse:
        """Localize from scratch with the newest data; with ``request.apply`` the answer becomes the belief.

        The belief stays as it is if ``still_wanted`` says at the end of the search that nobody waits any more.
        """
        search = Relocalization(
            self.settings.belief,
            self._levels,
            self._places,
            self._index.places,
            self._matcher,
            self._index.alike,
            self._retrieve,
            self._query_text,
        )
        seen = self._by_images.hypotheses() if self._by_images is not None else ()
        found = search.run(request, self._slice, tuple(self._embeddings.values()), self._belief.T_odom_base, seen)
        if found.belief is not None and self._slice is not None and request.apply and still_wanted():
            self._belief = found.belief
            self._searched_at = self._updated_at = self._slice.T_odom_aligned
            self._announcement.restart(searched_all=True)
            self._judge()
        return found.response

    def query_text(self, text: str, building: str = "", level: str = "", top_k: int = 0) -> Retrieval:
        """Rank places for a sentence.

        Raises:
            LocalizerError: empty text, an unknown building or level, or no text encoder at hand.
        """
        if not text.strip():
            raise LocalizerError("text: is empty")
        return self._query_text(text, self._selected(building, level), top_k)

    def _query_text(self, text: str, levels: Collection[LevelKey], top_k: int = 0) -> Retrieval:
        if self._encode_text is None:
            raise LocalizerError("text: this localizer was started without a text encoder")
        code = self._encode_text(text)
        return self._index.search(code.vector, Modality.TEXT, levels=levels, top_k=top_k, tokens=code.tokens)

    def query_vector(
        self,
        vector: NDArray[np.float32],
        modality: Modality,
        fingerprint: str,
        building: str = "",
        level: str = "",
        top_k: int = 0,
        tokens: NDArray[np.int8] = NO_TOKENS,
    ) -> Retrieval:
        """Rank places for a vector (D,) of the shared space, with its tokens (T,) if there are some.

        Raises:
            LocalizerError: another encoder's fingerprint, or an unknown building or level.
            RetrievalError: a vector of the wrong length, not finite or without norm; tokens of the wrong length.
        """
        if fingerprint != self.encoder_fingerprint:
            raise LocalizerError(
                f"fingerprint: the vector was made by encoder {fingerprint or '(none given)'}, "
                f"the database by {self.encoder_fingerprint}"
            )
        levels = self._selected(building, level)
        return self._index.search(vector, modality, levels=levels, top_k=top_k, tokens=tokens)

    def _selected(self, building: str, level: str) -> tuple[LevelKey, ...]:
        return select_levels(self._levels, building, level) if building or level else self._active

    def _retrieve(self, embedding: SceneEmbedding, levels: Collection[LevelKey]) -> Retrieval:
        return self._index.search(
            embedding.vector, embedding.modality, embedding.stamp_ns, levels=levels, tokens=embedding.tokens
        )

    def set_pose(self, level: LevelKey, T_map_base: Array, covariance: Array, stamp_ns: int | None = None) -> None:
        """Believe a stated pose (3,) with covariance (3, 3) of x, y, yaw.

        A pose of the past (``stamp_ns``) is carried along odometry to now, as far as odometry is remembered.

        Raises:
            LocalizerError: the level is not in the database, the pose is not finite or off the map, or the
                covariance is not positive definite.
        """
        pose = np.asarray(T_map_base, dtype=np.float64)
        P = np.asarray(covariance, dtype=np.float64)
        if level not in self._levels:
            raise LocalizerError(f"level: {level.building_id}/{level.level_id} is not in the database")
        if pose.shape != (3,) or not np.isfinite(pose).all():
            raise LocalizerError(f"pose: must be three finite numbers, got {pose.tolist()}")
        if P.shape != (3, 3) or not np.isfinite(P).all() or np.linalg.eigvalsh(0.5 * (P + P.T)).min() <= 0:
            raise LocalizerError("covariance: must be positive definite in x, y and yaw")
        plan = self.plans[level]
        row, col = plan.cell(pose[:2])
        if not (0 <= row < plan.occupancy.shape[0] and 0 <= col < plan.occupancy.shape[1]):
            raise LocalizerError(f"pose: ({pose[0]:.2f}, {pose[1]:.2f}) m is off the plan of {level.map_frame}")
        then, now = None if stamp_ns is None else self._odometry_at(stamp_ns), self._belief.T_odom_base
        if then is not None and now is not None:
            pose = compose_se2(pose, relative_se2(then, now))
        self._belief.place(level, pose, P)
        self._announcement.placed()
        self._searched_at, self._updated_at = self._belief.T_odom_base, None

    def reconfigure(self, settings: LocalizerSettings) -> None:
        """Go on with other settings; the belief stays. ``building`` and ``level`` are those of the start."""
        if settings.registration != self.settings.registration:
            self._matcher = PlanMatcher(self.plans, settings.registration)
        self.settings = settings
        self._index.settings = settings.retrieval
        self._belief.settings = self._looks.settings = settings.belief

    def set_level(self, building_id: str, level_id: str) -> None:
        """Search only this level from now on; an empty ``level_id`` searches all of the building again.

        Raises:
            LocalizerError: unknown building or level.
        """
        self._active = select_levels(self._levels, building_id, level_id)
        self._belief.keep_levels(self._active)
        self._searched_at = self._by_images = None
        self._announcement.restart(searched_all=False)
        if self._announcement.state != LocalizationState.UNINITIALIZED:
            self._judge()


def _distance_m(a: Array, b: Array) -> float:
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))
