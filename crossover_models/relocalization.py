"""Localizing from scratch when somebody asks: the newest data, hints, and a belief of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.belief import Belief
from crossover_models.config import BeliefSettings
from crossover_models.estimate import (
    Hypothesis,
    LevelKey,
    RelocalizeCode,
    RelocalizeRequest,
    RelocalizeResponse,
    Retrieval,
)
from crossover_models.floor_plan import FloorPlanError
from crossover_models.hypotheses import hypotheses_of
from crossover_models.level_names import LocalizerError, select_levels
from crossover_models.map_source import PlaceOutline
from crossover_models.observation import SceneEmbedding, WallSlice
from crossover_models.place_evidence import Alike, PlaceEvidence, nats_at
from crossover_models.places import PlaceMap
from crossover_models.registration import InsufficientStructure, PlanMatcher
from crossover_models.text_hint import TextHint, parse_text_hint

Array = NDArray[np.float64]
# Words beyond the names in a hint are a weak cue: people mix up rooms that look alike.
HINT_OUTLIERS = 0.2


@dataclass(frozen=True)
class Relocalized:
    """An answer, and the belief behind it where there is one to go on with."""

    response: RelocalizeResponse
    belief: Belief | None = None


@dataclass(frozen=True)
class Relocalization:
    """What a localization from scratch needs.

    Attributes:
        settings: of the belief.
        levels: all levels of the map, key -> name.
        places: outlines of all places.
        named_places: the same, with what they are called.
        matcher: of the plans.
        alike: whether retrieval cannot tell two places apart.
        retrieve: ranks places for an embedding on some levels.
        query_text: ranks places for a sentence on some levels; raises ValueError without a text encoder.
    """

    settings: BeliefSettings
    levels: Mapping[LevelKey, str]
    places: PlaceMap
    named_places: Sequence[PlaceOutline]
    matcher: PlanMatcher
    alike: Alike
    retrieve: Callable[[SceneEmbedding, Collection[LevelKey]], Retrieval]
    query_text: Callable[[str, Collection[LevelKey]], Retrieval]

    def run(
        self,
        request: RelocalizeRequest,
        wall_slice: WallSlice | None,
        embeddings: Sequence[SceneEmbedding],
        T_odom_base: Array | None,
        seen: Sequence[Hypothesis] = (),
    ) -> Relocalized:
        """Search for ``wall_slice`` with what the hints leave, and weigh what is found by ``embeddings`` and the text.

        A hint of a building or level is an order; one in the text may be wrong, and weighs only. Without a slice the
        answer is ``seen``: the places that pictures speak for, best first.
        """
        try:
            levels = select_levels(self.levels, request.building_hint, request.level_hint)
            hint, words = self._text(request.text_hint, levels)
        except LocalizerError as error:
            return _refused(RelocalizeCode.BAD_HINT, str(error))
        if wall_slice is None and (named := tuple(h for h in seen if h.level in levels)):
            best = named[0]
            message = (
                f"no lidar data: images name {best.place_name} with probability {best.probability:.2f}, and no pose"
            )
            limit = request.max_hypotheses or len(named)
            return Relocalized(RelocalizeResponse(RelocalizeCode.AMBIGUOUS, message, named[:limit]))
        if wall_slice is None:
            message = "no lidar data yet: an image alone names places, not a pose"
            return _refused(RelocalizeCode.NO_SENSOR_DATA, message)
        try:
            fits = self.matcher.register(wall_slice, levels=levels)
        except (InsufficientStructure, FloorPlanError) as error:
            return _refused(RelocalizeCode.INSUFFICIENT_STRUCTURE, str(error))
        trial = Belief(self.settings)
        trial.move(wall_slice.T_odom_aligned if T_odom_base is None else T_odom_base)
        trial.restart(fits, wall_slice.T_odom_aligned)
        looks = PlaceEvidence(self.places, self.settings, self.alike)
        for embedding in embeddings:
            looks.take(self.retrieve(embedding, levels), trial)
        if len(trial) and words is not None and words.nats:
            trial.look(*nats_at(words, self.places, trial.levels, trial.poses(), HINT_OUTLIERS))
        if len(trial) and hint is not None:
            trial.weigh(hint.log_likelihood(self.places, trial.levels, trial.poses()), 0.0)
        return self._answer(request, trial, levels)

    def _text(self, text: str, levels: Sequence[LevelKey]) -> tuple[TextHint | None, Retrieval | None]:
        """What a sentence names, and the ranking of places by all of it.

        Raises:
            LocalizerError: it names a floor that there is not, or nothing at all can be made of it.
        """
        if not text.strip():
            return None, None
        hint = parse_text_hint(text, self.levels, [place for place in self.named_places if place.key in levels])
        if hint.levels and not set(hint.levels) & set(levels):
            named = ", ".join(f"{key.building_id}/{key.level_id}" for key in hint.levels)
            raise LocalizerError(f"text_hint: names {named}, and the other hints leave that out")
        try:
            return hint, self.query_text(text, hint.levels or levels)
        except ValueError as error:
            if hint.says_something:
                return hint, None
            raise LocalizerError(f"text_hint: names no level or place of the map, and {error}") from None

    def _answer(self, request: RelocalizeRequest, trial: Belief, levels: Collection[LevelKey]) -> Relocalized:
        hypotheses: tuple[Hypothesis, ...] = hypotheses_of(trial, trial.poses(), self.places)
        best = hypotheses[0].probability if hypotheses else 0.0
        limit = request.max_hypotheses or len(hypotheses)
        if not hypotheses or trial.null_weight >= max(best, 0.5):
            where = ", ".join(sorted({f"{key.building_id}/{key.level_id}" for key in levels}))
            message = f"nothing in {where} explains the data (unknown {trial.null_weight:.2f})"
            return Relocalized(RelocalizeResponse(RelocalizeCode.UNKNOWN_PLACE, message, hypotheses[:limit]))
        top = hypotheses[0]
        spot = f"{top.level.building_id}/{top.level.level_id} {top.place_name or 'outside all places'}"
        if best >= self.settings.localized_probability:
            message = f"{spot} with probability {best:.2f}"
            return Relocalized(RelocalizeResponse(RelocalizeCode.OK, message, hypotheses[:limit]), trial)
        message = f"{len(hypotheses)} poses explain the data; the best is {spot} with probability {best:.2f}"
        return Relocalized(RelocalizeResponse(RelocalizeCode.AMBIGUOUS, message, hypotheses[:limit]), trial)


def _refused(code: RelocalizeCode, message: str) -> Relocalized:
    return Relocalized(RelocalizeResponse(code, message))
