"""The localizer: embeddings and wall slices in, retrieval, registration and belief inside, an estimate out.

One object serves the live node, the replay of a bag and the tests. It reads no clock but the stamps of the data
(and a stopwatch for ``runtime_s``).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from crossover_models.belief import Belief
from crossover_models.config import LocalizerSettings
from crossover_models.continuity import slice_seen_before
from crossover_models.estimate import (
    FailureCategory,
    Hypothesis,
    LevelKey,
    LocalizationEstimate,
    LocalizationState,
    PoseFit,
    RelocalizeCode,
    RelocalizeRequest,
    RelocalizeResponse,
    Retrieval,
)
from crossover_models.floor_plan import FloorPlan, FloorPlanError
from crossover_models.geometry import compose_se2, relative_se2
from crossover_models.map_source import MapSource
from crossover_models.observation import NO_TOKENS, Code, Modality, SceneEmbedding, WallSlice
from crossover_models.odometry import OdometryHistory
from crossover_models.places import PlaceMap
from crossover_models.registration import InsufficientStructure, PlanMatcher
from crossover_models.retrieval import PlaceIndex

Array = NDArray[np.float64]
TextEncoder = Callable[[str], Code]
# An estimate that moves farther than this at once is another one.
JUMP_M, JUMP_RAD = 1.0, 0.5
# Hypotheses aligned at an update; the rest are scored where they are.
REFINED = 12


class LocalizerError(ValueError):
    """A request that cannot be carried out; the message names the field and its value."""


class Localizer:
    """Where is the robot, how sure is that, and what does it rest on?

    Args:
        database: the map; read once, here.
        settings: everything that can be tuned.
        encode_text: text encoder of the same checkpoint, for text queries and hints; None if there is none.

    Raises:
        LocalizerError: ``settings.building`` or ``settings.level`` is not in the database.
    """

    def __init__(
        self, database: MapSource, settings: LocalizerSettings, encode_text: TextEncoder | None = None
    ) -> None:
        self.settings = settings
        self.encoder_fingerprint = database.encoder_fingerprint
        self._encode_text = encode_text
        self._levels: dict[LevelKey, str] = {level.key: level.name for level in database.levels()}
        plans = {key: database.floor_plan(key) for key in self._levels}
        self.plans: Mapping[LevelKey, FloorPlan] = plans
        self._matcher = PlanMatcher(plans, settings.registration)
        self._index = PlaceIndex(database, settings.retrieval)
        self._places = PlaceMap(self._index.places)
        self._belief = Belief(settings.belief)
        self._active = self._select_levels(settings.building, settings.level)
        self._state = LocalizationState.UNINITIALIZED
        self._failure, self._message = FailureCategory.NO_SENSOR_DATA, "no sensor data yet"
        self._odometry = OdometryHistory()
        self._slice: WallSlice | None = None
        self._stamp_ns = 0
        self._embeddings: dict[Modality, SceneEmbedding] = {}
        self._scans = 0
        self._updated_at: Array | None = None
        self._searched_at: Array | None = None
        self._compared_at: deque[Array] = deque(maxlen=500)
        self._retrieved_at: dict[Modality, Array] = {}
        self._searched_all = False
        self._announced: tuple[LevelKey, Array] | None = None
        self._unusable = ""
        self.last_retrieval: Retrieval | None = None

    # -- sensor data -----------------------------------------------------------------------------------------------

    def on_odometry(self, stamp_ns: int, T_odom_base: Array) -> None:
        """Carry the belief along with odometry (3,); stamps that run backwards restart the history."""
        if self._odometry.add(stamp_ns, T_odom_base):
            self._belief.move(np.asarray(T_odom_base, dtype=np.float64))

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
        if self._state == LocalizationState.UNINITIALIZED:
            self._state = LocalizationState.INITIALIZING
        if len(embedding.vector):
            self._embeddings[embedding.modality] = embedding
            retrieval = self._retrieve(embedding, self._active)
            self.last_retrieval = retrieval
            self._weigh_places(retrieval)
        if embedding.wall_slice is not None:
            last, self._slice = self._slice, embedding.wall_slice
            self._scans = embedding.wall_slice.scans
            if last is not None and slice_seen_before(last, self._slice) < self.settings.belief.continuity_share:
                self._on_carried()
            self._on_slice(embedding.wall_slice)
        self._judge()
        return self.estimate(embedding.stamp_ns, runtime_s=time.perf_counter() - began)

    def _weigh_places(self, retrieval: Retrieval) -> None:
        """Multiply the belief by what a retrieval says of each hypothesis' place, once for every stretch of travel."""
        at = self._belief.T_odom_base
        if at is None or not len(self._belief) or not retrieval.places:
            return
        last = self._retrieved_at.get(retrieval.query_modality)
        if last is not None and _distance_m(last, at) < self.settings.belief.retrieval_travel_m:
            return
        self._retrieved_at[retrieval.query_modality] = at
        self._belief.weigh(self._place_log_likelihood(self._belief, retrieval), 0.0)

    def _place_log_likelihood(self, belief: Belief, retrieval: Retrieval) -> Array:
        """(H,) log-likelihood of a retrieval under each hypothesis, in nats."""
        places = [self._places.at(level, pose[:2]) for level, pose in zip(belief.levels, belief.poses(), strict=True)]
        return self._index.log_likelihood(retrieval, places, self.settings.belief.retrieval_weight)

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
        self._updated_at = self._searched_at = None
        self._searched_all = False
        self._compared_at.clear()
        self._retrieved_at.clear()
        if self._state == LocalizationState.LOCALIZED:
            self._state = LocalizationState.LOST

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
        belief.observe(scores, evidence, self._novelty(at))

    def _novelty(self, at: Array) -> float:
        """How far, of ``independence_m``, a spot of odometry lies from all where hypotheses were compared before."""
        s = self.settings.belief
        spots = np.array(self._compared_at).reshape(-1, 3)
        nearest_m = np.hypot(spots[:, 0] - at[0], spots[:, 1] - at[1]).min(initial=s.independence_m)
        self._compared_at.append(at)
        return float(nearest_m) / s.independence_m

    def _search_is_due(self, at: Array) -> bool:
        if not len(self._belief) or self._searched_at is None:
            return True
        confident = self._belief.weight[0] >= self.settings.belief.localized_probability
        if confident and self._searched_all:
            return False
        return _distance_m(self._searched_at, at) >= self.settings.belief.search_travel_m

    def _search(self, wall_slice: WallSlice) -> None:
        """Register among the retrieved places if retrieval is sure, else over all levels.

        A pose found among retrieved places only is not announced before a search of everything has confirmed it.
        """
        retrieval = self.last_retrieval
        cold = self._state == LocalizationState.INITIALIZING and self._searched_at is None
        regions = self._index.likely_regions(retrieval) if cold and retrieval and not retrieval.abstained else []
        if regions:
            fits = self._matcher.register(wall_slice, levels=self._active, regions=regions)
        else:
            fits = self._matcher.register(wall_slice, levels=self._active)
            self._searched_all = True
        self._searched_at = wall_slice.T_odom_aligned
        if len(self._belief):
            self._belief.add(fits, wall_slice.T_odom_aligned)
        else:
            self._belief.restart(fits, wall_slice.T_odom_aligned)

    # -- state -----------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Move the state by what the belief now says."""
        s = self.settings.belief
        belief = self._belief
        best = float(belief.weight[0]) if len(belief) else 0.0
        if self._state == LocalizationState.LOCALIZED:
            if best < s.lost_probability or not self._is_announced():
                self._state = LocalizationState.LOST
                self._searched_all = False
        elif best >= s.localized_probability and self._searched_all:
            self._state = LocalizationState.LOCALIZED
        if self._state == LocalizationState.LOCALIZED:
            self._announced = (belief.levels[0], belief.T_map_odom[0].copy())
            self._failure, self._message = FailureCategory.HEALTHY, "localized"
        elif self._slice is None:
            self._failure = FailureCategory.NO_SENSOR_DATA
            self._message = "no lidar data yet: an image alone names places, not a pose"
        elif self._unusable:
            self._failure, self._message = FailureCategory.WEAK_OVERLAP, self._unusable
        elif belief.null_weight >= max(best, 0.5):
            self._failure = FailureCategory.WEAK_OVERLAP
            self._message = f"no pose of the map explains what is seen (unknown {belief.null_weight:.2f})"
        else:
            self._failure = FailureCategory.AMBIGUOUS
            self._message = f"{len(belief)} poses explain what is seen, the best with probability {best:.2f}"

    def _is_announced(self) -> bool:
        """Whether the best hypothesis goes on from the pose announced last; another must earn its own announcement."""
        at = self._belief.T_odom_base
        if self._announced is None or at is None:
            return True
        level, T_map_odom = self._announced
        step = relative_se2(compose_se2(T_map_odom, at), self._belief.poses()[0])
        return self._belief.levels[0] == level and bool(np.hypot(step[0], step[1]) < JUMP_M and abs(step[2]) < JUMP_RAD)

    def estimate(self, stamp_ns: int, runtime_s: float = 0.0) -> LocalizationEstimate:
        """The answer at a stamp (ns); STALE if the newest sensor data are older than ``belief.stale_s``."""
        belief = self._belief
        T_odom_base = self._odometry_at(stamp_ns)
        state, failure, message = self._state, self._failure, self._message
        age_s = (stamp_ns - self._stamp_ns) * 1e-9
        if self._stamp_ns and age_s > self.settings.belief.stale_s:
            failure, message = FailureCategory.STALE, f"the newest sensor data are {age_s:.1f} s old"
        poses = belief.poses(T_odom_base)
        hypotheses = tuple(
            self._hypothesis(belief.levels[k], poses[k], belief.covariance[k], float(belief.weight[k]), belief.fits[k])
            for k in range(len(poses))
        )
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

    def _hypothesis(
        self, level: LevelKey, pose: Array, covariance: Array, probability: float, fit: PoseFit | None
    ) -> Hypothesis:
        place = self._places.at(level, pose[:2])
        return Hypothesis(
            level,
            pose.copy(),
            covariance.copy(),
            probability,
            score=fit.score if fit else float("nan"),
            inlier_fraction=fit.inlier_fraction if fit else float("nan"),
            free_space_violation=fit.free_space_violation if fit else float("nan"),
            place_id=place.place_id if place else "",
            place_name=place.name if place else "",
        )

    # -- requests --------------------------------------------------------------------------------------------------

    def relocalize(
        self, request: RelocalizeRequest, still_wanted: Callable[[], bool] = lambda: True
    ) -> RelocalizeResponse:
        """Localize from scratch with the newest data; with ``request.apply`` the answer becomes the belief.

        The belief stays as it is if ``still_wanted`` says at the end of the search that nobody waits any more.
        """
        try:
            levels = self._select_levels(request.building_hint, request.level_hint)
        except LocalizerError as error:
            return RelocalizeResponse(RelocalizeCode.BAD_HINT, str(error))
        if self._slice is None:
            return RelocalizeResponse(
                RelocalizeCode.NO_SENSOR_DATA, "no lidar data yet: an image alone names places, not a pose"
            )
        hint: Retrieval | None = None
        if request.text_hint.strip():
            try:
                hint = self.query_text(request.text_hint, top_k=len(self._index.places))
            except ValueError as error:
                return RelocalizeResponse(RelocalizeCode.BAD_HINT, f"text_hint: {error}")
        try:
            fits = self._matcher.register(self._slice, levels=levels)
        except (InsufficientStructure, FloorPlanError) as error:
            return RelocalizeResponse(RelocalizeCode.INSUFFICIENT_STRUCTURE, str(error))
        trial = Belief(self.settings.belief)
        if self._belief.T_odom_base is not None:
            trial.move(self._belief.T_odom_base)
        else:
            trial.move(self._slice.T_odom_aligned)
        trial.restart(fits, self._slice.T_odom_aligned)
        retrievals = [self._retrieve(embedding, levels) for embedding in self._embeddings.values()]
        for retrieval in [*retrievals, *([hint] if hint else [])]:
            if len(trial) and retrieval.places:
                trial.weigh(self._place_log_likelihood(trial, retrieval), 0.0)
        return self._answer(request, trial, levels, still_wanted)

    def _answer(
        self,
        request: RelocalizeRequest,
        trial: Belief,
        levels: Collection[LevelKey],
        still_wanted: Callable[[], bool],
    ) -> RelocalizeResponse:
        s = self.settings.belief
        poses = trial.poses()
        hypotheses = tuple(
            self._hypothesis(trial.levels[k], poses[k], trial.covariance[k], float(trial.weight[k]), trial.fits[k])
            for k in range(len(trial))
        )
        best = hypotheses[0].probability if hypotheses else 0.0
        limit = request.max_hypotheses or len(hypotheses)
        where = ", ".join(sorted({key.building_id + "/" + key.level_id for key in levels}))
        if not hypotheses or trial.null_weight >= max(best, 0.5):
            message = f"nothing in {where} explains the data (unknown {trial.null_weight:.2f})"
            return RelocalizeResponse(RelocalizeCode.UNKNOWN_PLACE, message, hypotheses[:limit])
        if request.apply and still_wanted():
            self._belief = trial
            self._searched_all = True
            self._searched_at = self._updated_at = self._slice.T_odom_aligned if self._slice else None
            self._state = LocalizationState.INITIALIZING
            self._judge()
        top = hypotheses[0]
        spot = f"{top.level.building_id}/{top.level.level_id} {top.place_name or 'outside all places'}"
        if best >= s.localized_probability:
            return RelocalizeResponse(RelocalizeCode.OK, f"{spot} with probability {best:.2f}", hypotheses[:limit])
        message = f"{len(hypotheses)} poses explain the data; the best is {spot} with probability {best:.2f}"
        return RelocalizeResponse(RelocalizeCode.AMBIGUOUS, message, hypotheses[:limit])

    def query_text(self, text: str, building: str = "", level: str = "", top_k: int = 0) -> Retrieval:
        """Rank places for a sentence.

        Raises:
            LocalizerError: empty text, an unknown building or level, or no text encoder at hand.
        """
        if not text.strip():
            raise LocalizerError("text: is empty")
        if self._encode_text is None:
            raise LocalizerError("text: this localizer was started without a text encoder")
        code = self._encode_text(text)
        return self.query_vector(
            code.vector, Modality.TEXT, self.encoder_fingerprint, building, level, top_k, code.tokens
        )

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
        levels = self._select_levels(building, level) if building or level else self._active
        return self._index.search(vector, modality, levels=levels, top_k=top_k, tokens=tokens)

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
        self._state, self._announced = LocalizationState.LOCALIZED, None
        self._failure, self._message = FailureCategory.HEALTHY, "placed by initialpose"
        self._searched_all, self._searched_at, self._updated_at = True, self._belief.T_odom_base, None

    def reconfigure(self, settings: LocalizerSettings) -> None:
        """Go on with other settings; the belief stays. ``building`` and ``level`` are those of the start."""
        if settings.registration != self.settings.registration:
            self._matcher = PlanMatcher(self.plans, settings.registration)
        self.settings = settings
        self._index.settings = settings.retrieval
        self._belief.settings = settings.belief

    def set_level(self, building_id: str, level_id: str) -> None:
        """Search only this level from now on; an empty ``level_id`` searches all of the building again.

        Raises:
            LocalizerError: unknown building or level.
        """
        self._active = self._select_levels(building_id, level_id)
        self._belief.keep_levels(self._active)
        self._searched_at = None
        self._searched_all = False
        if self._state != LocalizationState.UNINITIALIZED:
            self._state = LocalizationState.INITIALIZING
            self._judge()

    def _select_levels(self, building: str, level: str) -> tuple[LevelKey, ...]:
        """Levels that a building and a level (id or name, any case; empty for all) select."""
        wanted_building, wanted_level = building.strip().lower(), level.strip().lower()
        buildings = sorted({key.building_id for key in self._levels})
        if wanted_building and wanted_building not in (b.lower() for b in buildings):
            raise LocalizerError(f"building: {building!r} is not in the database; it holds {', '.join(buildings)}")
        selected = tuple(
            key
            for key, name in self._levels.items()
            if (not wanted_building or key.building_id.lower() == wanted_building)
            and (not wanted_level or wanted_level in (key.level_id.lower(), name.lower()))
        )
        if not selected:
            held = ", ".join(f"{key.building_id}/{key.level_id}" for key in self._levels)
            raise LocalizerError(f"level: {level!r} is not in the database; it holds {held}")
        return selected


def _distance_m(a: Array, b: Array) -> float:
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))
