"""Localizing from scratch over many looks: what the robot sees as it turns or drives adds up until one pose is certain.

A belief of its own runs beside the localizer's on the same data. The localizer goes on undisturbed, and takes the
result over only if that is wanted and certain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.estimate import (
    FailureCategory,
    LocalizationEstimate,
    LocalizationState,
    RelocalizeCode,
    RelocalizeRequest,
    RelocalizeResponse,
)
from crossover_models.geometry import relative_se2
from crossover_models.localizer import Localizer
from crossover_models.observation import SceneEmbedding

Array = NDArray[np.float64]
# Turning as far as that shows walls that a narrow field of view did not: all is searched again.
SEARCH_TURN_RAD = 1.0


@dataclass(frozen=True)
class SearchProgress:
    """How far a search is.

    Attributes:
        estimate: of this search alone.
        observations: looks taken in.
        travelled_m: way driven since it began, by odometry.
        turned_rad: turning since it began, both ways added up.
    """

    estimate: LocalizationEstimate
    observations: int
    travelled_m: float
    turned_rad: float


class AccumulatingSearch:
    """A search that goes on with every look.

    Args:
        localizer: whose map is searched; not changed before :meth:`apply`.
        request: hints; those of building and level are orders, a text weighs.

    Raises:
        LocalizerError: a hint names no building or level of the map.
    """

    def __init__(self, localizer: Localizer, request: RelocalizeRequest) -> None:
        self._localizer, self._request = localizer, request
        self._own = localizer.apart(request.building_hint, request.level_hint)
        self._wanted = RelocalizeRequest(
            request.building_hint, request.level_hint, request.text_hint, request.max_hypotheses, apply=True
        )
        self._found: RelocalizeResponse | None = None
        self._estimate = self._own.estimate(0)
        self._observations = 0
        self._looked = False
        self._travelled_m = self._turned_rad = 0.0
        self._turned_at_search = 0.0
        self._at: Array | None = None

    @property
    def over(self) -> bool:
        """Whether more looks change nothing: a pose is certain, or a hint makes no sense."""
        refused = self._found is not None and self._found.code == RelocalizeCode.BAD_HINT
        return refused or self._estimate.state == LocalizationState.LOCALIZED

    @property
    def has_answer(self) -> bool:
        """Whether walls were searched for: :meth:`answer` says more than that no data came."""
        return self._looked or self._found is not None or self.over

    @property
    def progress(self) -> SearchProgress:
        """What is known by now."""
        return SearchProgress(self._estimate, self._observations, self._travelled_m, self._turned_rad)

    def begin(self, stamp_ns: int) -> None:
        """Search with the newest data that the localizer has, if they are fresh enough to be used."""
        self._search(stamp_ns)

    def on_odometry(self, stamp_ns: int, T_odom_base: Array) -> None:
        """Carry the search's own belief along with odometry (3,)."""
        if self._at is not None:
            step = relative_se2(self._at, T_odom_base)
            self._travelled_m += float(np.hypot(step[0], step[1]))
            self._turned_rad += abs(float(step[2]))
        self._at = np.asarray(T_odom_base, dtype=np.float64)
        self._own.on_odometry(stamp_ns, T_odom_base)

    def on_embedding(self, embedding: SceneEmbedding) -> None:
        """Take in one look.

        Raises:
            LocalizerError: it was made by another encoder than the map.
        """
        self._observations += 1
        if embedding.wall_slice is not None and self._at is None:
            self._at = embedding.wall_slice.T_odom_aligned
        self._estimate = self._own.on_embedding(embedding)
        if embedding.wall_slice is None:
            return
        hint_waits = self._found is None and bool(self._request.text_hint.strip())
        if self._estimate.state == LocalizationState.LOCALIZED and not hint_waits:
            return
        nothing_yet = self._found is None and not self._estimate.hypotheses
        if hint_waits or nothing_yet or self._turned_rad - self._turned_at_search >= SEARCH_TURN_RAD:
            self._search(embedding.stamp_ns)
        self._looked = True

    def _search(self, stamp_ns: int) -> None:
        self._turned_at_search = self._turned_rad
        self._found = self._own.relocalize(self._wanted)
        self._estimate = self._own.estimate(stamp_ns)

    def answer(self) -> RelocalizeResponse:
        """What came of it: OK, or why it is not decided."""
        estimate, found = self._estimate, self._found
        hypotheses = estimate.hypotheses[: self._request.max_hypotheses or len(estimate.hypotheses)]
        if found is not None and found.code == RelocalizeCode.BAD_HINT:
            return found
        best = estimate.best
        if estimate.state == LocalizationState.LOCALIZED and best is not None:
            where = f"{best.level.building_id}/{best.level.level_id} {best.place_name or 'outside all places'}"
            message = f"{where} with probability {best.probability:.2f} after {self._observations} looks"
            return RelocalizeResponse(RelocalizeCode.OK, message, hypotheses)
        if not self.has_answer:
            return RelocalizeResponse(RelocalizeCode.NO_SENSOR_DATA, "no wall slice came: is the encoder running?")
        if best is not None and estimate.failure == FailureCategory.AMBIGUOUS:
            message = f"after {self._observations} looks {estimate.message}"
            return RelocalizeResponse(RelocalizeCode.AMBIGUOUS, message, hypotheses)
        if best is None and found is not None and not found.success:
            return RelocalizeResponse(found.code, found.message)
        return RelocalizeResponse(RelocalizeCode.UNKNOWN_PLACE, estimate.message, hypotheses)

    def apply(self) -> None:
        """Let the localizer believe what was found."""
        self._localizer.adopt(self._own)
