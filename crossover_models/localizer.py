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
from crossover_models.geometry import compose_se2, relative_se2
from crossover_models.hypotheses import hypotheses_of
from crossover_models.level_names import LocalizerError as LocalizerError
from crossover_models.level_names import select_levels
from crossover_models.lift_rides import LiftRides, LiftStop
from crossover_models.likelihood import RetrievalLikelihood, shipped_likelihood
from crossover_models.map_source import FurnishedSource, LiftSource, MapSource
from crossover_models.observation import NO_TOKENS, Code, Modality, SceneEmbedding, WallSlice
from crossover_models.odometry import OdometryHistory
from crossover_models.odometry_leap import odometry_leap
from crossover_models.place_evidence import PlaceEvidence, furniture_looks
from crossover_models.places import PlaceMap
from crossover_models.registration import InsufficientStructure, PlanMatcher
from crossover_models.relocalization import Relocalization
from crossover_models.retrieval import PlaceIndex

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

    Raises:
        LocalizerError: ``settings.building`` or ``settings.level`` is not in the database.
    """

    def __init__(
        self,
        database: MapSource,
        settings: LocalizerSettings,
        encode_text: TextEncoder | None = None,
        likelihood: RetrievalLikelihood | None = None,
    ) -> None:
        self.settings = settings
        self.encoder_fingerprint = database.encoder_fingerprint
        self._encode_text = encode_text
        self._levels: dict[LevelKey, str] = {level.key: level.name for level in database.levels()}
        plans = {key: database.floor_plan(key) for key in self._levels}
        self.plans: Mapping[LevelKey, FloorPlan] = plans
        self._matcher = PlanMatcher(plans, settings.registration)
        worth = likelihood if likelihood is not None else shipped_likelihood(database.encoder_fingerprint)
        self._index = PlaceIndex(database, settings.retrieval, worth)
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
        return leap

    def on_embedding(self, embedding: SceneEmbedding) -> LocalizationEstimate:
        """Take one observation in and return the estimate at its stamp.

        Raises:
            LocalizerError: the embedding was made by another encoder than the database's.
        """
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
            retrieval = self._retrieve(embedding, self._active)
            self.last_retrieval = retrieval
            self._looks.take(retrieval, self._belief)
        if embedding.wall_slice is not None:
            last, self._slice = self._slice, embedding.wall_slice
            self._scans = embedding.wall_slice.scans
            if last is not None and slice_seen_before(last, self._slice) < self.settings.belief.continuity_share:
                self._on_carried()
            self._on_slice(embedding.wall_slice)
            self._on_lift(embedding.wall_slice)
        self._judge()
        return self.estimate(embedding.stamp_ns, runtime_s=time.perf_counter() - began)

    def _on_slice(self, wall_slice: WallSlice) -> None:
        s = self.settings.belief
        at = wall_slice.T_odom_aligned
        if self._belief.T_odom_base is None:
            self._belief.move(at)
        evidence = 1.0
        if self._updated_at is not None:
            step = relative_se2(self._updated_at, at)
            travel_m, turn_rad = float(np.hypot(step[0], step[1])), abs(float(step[2]))
            if travel_m < s.update_travel_m and turn_rad < s.update_turn_rad:
                return
            evidence = min(1.0, (travel_m + 0.5 * turn_rad) / s.independence_m)
        self._unusable = ""
        try:
            if len(self._belief):
                self._update(wall_slice, evidence)
            if self._search_is_due(at):
                self._search(wall_slice)
            self._updated_at = at
        except (InsufficientStructure, FloorPlanError) as error:
            self._unusable = str(error)

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
        confident = self._belief.weight[0] >= self.settings.belief.localized_probability
        if confident and self._announcement.searched_all:
            return False
        return _distance_m(self._searched_at, at) >= self.settings.belief.search_travel_m

    def _search(self, wall_slice: WallSlice) -> None:
        """Register among the retrieved places if retrieval is sure, else over all levels.

        A pose found among retrieved places only is not announced before a search of everything has confirmed it.
        """
        retrieval = self.last_retrieval
        cold = self._announcement.state == LocalizationState.INITIALIZING and self._searched_at is None
        regions = self._index.likely_regions(retrieval) if cold and retrieval and not retrieval.abstained else []
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
        """The answer at a stamp (ns); STALE if the newest sensor data are older than ``belief.stale_s``."""
        belief = self._belief
        T_odom_base = self._odometry_at(stamp_ns)
        told = self._announcement
        state, failure, message = told.state, told.failure, told.message
        age_s = (stamp_ns - self._stamp_ns) * 1e-9
        if self._stamp_ns and age_s > self.settings.belief.stale_s:
            failure, message = FailureCategory.STALE, f"the newest sensor data are {age_s:.1f} s old"
        poses = belief.poses(T_odom_base)
        hypotheses = hypotheses_of(belief, poses, self._places)
        held = tuple(modality for modality in Modality if modality in self._index.modalities)
        used = tuple(self._embeddings)
        localized = state == LocalizationState.LOCALIZED and len(hypotheses) > 0
        return LocalizationEstimate(
            stamp_ns,
            state,
            failure,
            message,
            hypotheses,
            belief.null_weight,
            T_map_odom=belief.T_map_odom[0].copy() if localized else None,
            modalities_used=used,
            modalities_missing=tuple(m for m in Modality if m not in held and m not in used),
            scans_accumulated=self._scans,
            runtime_s=runtime_s,
        )

    def _odometry_at(self, stamp_ns: int) -> Array | None:
        """Odometry (3,) at a stamp; what came with the newest slice where there is no odometry topic."""
        pose = self._odometry.at(stamp_ns)
        return self._belief.T_odom_base if pose is None else pose

    # -- a second opinion ------------------------------------------------------------------------------------------

    def apart(self, building: str = "", level: str = "") -> Localizer:
        """A localizer on the same map that believes nothing yet; it shares what was read, and what is seen now.

        Raises:
            LocalizerError: unknown building or level.
        """
        out = copy(self)
        out._active = select_levels(self._levels, building, level)
        out._looks = PlaceEvidence(self._places, self.settings.belief)
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
        found = search.run(request, self._slice, tuple(self._embeddings.values()), self._belief.T_odom_base)
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
        self._searched_at = None
        self._announcement.restart(searched_all=False)
        if self._announcement.state != LocalizationState.UNINITIALIZED:
            self._judge()


def _distance_m(a: Array, b: Array) -> float:
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))
