"""A robot without lidar: which place, from pictures and odometry along the plan."""

from __future__ import annotations

import numpy as np
import pytest
from planted import FINGERPRINT, PlantedMap, PlantedPlace, asymmetric_plan, rooms_plan
from scipy.special import softmax

from crossover_models.config import BeliefSettings, LocalizerSettings
from crossover_models.estimate import (
    FailureCategory,
    LevelKey,
    LocalizationState,
    RelocalizeCode,
    RelocalizeRequest,
    Retrieval,
)
from crossover_models.floor_plan import FREE, FloorPlan
from crossover_models.localizer import Localizer
from crossover_models.observation import Modality, SceneEmbedding
from crossover_models.place_filter import SHARPENED, PlaceFilter

L1, L2 = LevelKey("house", "L1"), LevelKey("house", "L2")


def room(level: LevelKey, name: str, x0: float, y0: float, x1: float, y1: float) -> PlantedPlace:
    return PlantedPlace(level, name, name, "room", np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))


# Three rooms in a row; only west and middle are joined by a door.
ROW = rooms_plan([(4, 0, 4, 1.5), (4, 2.5, 4, 4), (8, 0, 8, 4)], 12.0, 4.0)
ROOMS = [room(L1, name, 4.0 * k, 0.0, 4.0 * k + 4, 4.0) for k, name in enumerate(("west", "middle", "east"))]


def looks_like(nats: dict[str, float], none: float = -3.0, level: LevelKey = L1) -> Retrieval:
    return Retrieval(0, Modality.IMAGE, (), False, {(level, name): value for name, value in nats.items()}, none)


def probability(filter_: PlaceFilter, name: str) -> float:
    return sum(p.probability for p in filter_.probabilities() if p.place_id == name)


def started(*, settings: BeliefSettings | None = None, **options: object) -> PlaceFilter:
    out = PlaceFilter({L1: ROW}, ROOMS, settings or BeliefSettings(), **options)  # type: ignore[arg-type]
    out.move(np.zeros(3))
    return out


def test_knowing_nothing_it_is_as_likely_in_every_room_as_the_room_is_large() -> None:
    found = started()
    assert [round(probability(found, place.place_id), 1) for place in ROOMS] == [0.3, 0.3, 0.3]
    assert sum(p.probability for p in found.probabilities()) + found.unknown == pytest.approx(1.0)


def test_one_look_is_bayes_rule_with_the_shrunk_likelihood() -> None:
    found = started()
    nats = {"west": 1.5, "middle": 0.0, "east": -1.0}
    assert found.look(looks_like(nats))
    values = np.array(list(nats.values()))
    likelihood = 0.95 * np.exp(values) / np.exp(values).mean() + 0.05
    expected = softmax(SHARPENED * np.log(likelihood) / 2.0)
    for place, share in zip(ROOMS, expected, strict=True):
        assert probability(found, place.place_id) / (1 - found.unknown) == pytest.approx(share, abs=0.02)


def test_looks_at_one_place_count_once_and_only_after_motion() -> None:
    found, nats = started(), {"west": 1.0, "middle": 0.0, "east": 0.0}
    assert found.look(looks_like(nats)) and not found.look(looks_like(nats))
    for k in range(1, 40):
        found.move(np.array([0.0, 0.0, 0.4 * k]))
        assert found.look(looks_like(nats))
    told = 0.95 * np.array([np.e, 1.0, 1.0]) / ((np.e + 2) / 3) + 0.05
    assert probability(found, "west") < (told**SHARPENED / (told**SHARPENED).sum())[0] + 0.06


def test_a_way_that_leads_through_no_wall_tells_rooms_apart() -> None:
    """It looked like west or east; then it drove 5.5 m straight on, farther than any room is wide."""
    found = started()
    found.look(looks_like({"west": 1.5, "middle": -2.0, "east": 1.5}))
    assert probability(found, "west") == pytest.approx(probability(found, "east"), abs=0.06)
    for k in range(1, 56):
        found.move(np.array([0.1 * k, 0.0, 0.0]))
    assert probability(found, "east") < 0.1
    found.look(looks_like({"west": -2.0, "middle": 1.5, "east": -2.0}))
    assert probability(found, "middle") > 0.7
    best = found.hypotheses()[0]
    assert best.place_id == "middle" and best.covariance[0, 0] > 0.01
    assert best.probability == pytest.approx(probability(found, "middle"))


def test_twins_that_no_picture_tells_apart_stay_even() -> None:
    alike = {"west", "east"}
    found = started(alike=lambda a, b: a == b or {a[1], b[1]} == alike)
    for k in range(1, 10):
        found.move(np.array([0.0, 0.0, 0.4 * k]))
        found.look(looks_like({"west": 2.0, "middle": -1.0, "east": 0.5}))
    assert probability(found, "west") == pytest.approx(probability(found, "east"), abs=0.07)
    assert probability(found, "middle") < 0.25


def test_none_of_the_places_can_win() -> None:
    found = started()
    for k in range(1, 10):
        found.move(np.array([0.0, 0.0, 0.4 * k]))
        found.look(looks_like({"west": 0.1, "middle": 0.0, "east": -0.1}, none=5.0))
    assert found.unknown > 0.5
    assert sum(p.probability for p in found.probabilities()) + found.unknown == pytest.approx(1.0)


def test_the_same_data_give_the_same_answer_and_a_leap_forgets() -> None:
    runs = []
    for _ in range(2):
        found = started()
        for k in range(1, 20):
            found.move(np.array([0.12 * k, 0.0, 0.1 * k]))
            found.look(looks_like({"west": 1.0, "middle": 0.0, "east": -1.0}))
        runs.append(found.probabilities())
    assert runs[0] == runs[1]
    found.carried()
    found.move(np.array([50.0, 0.0, 0.0]))
    assert probability(found, "east") == pytest.approx(probability(found, "west"), abs=0.05)


def test_a_plan_without_free_space_or_places_says_nothing() -> None:
    walls = FloorPlan(np.full((20, 20), 100, dtype=np.int8), 0.1, (0.0, 0.0))
    for plan, places in ((walls, ROOMS), (ROW, [])):
        found = PlaceFilter({L1: plan}, places, BeliefSettings())
        found.move(np.zeros(3))
        found.move(np.array([1.0, 0.0, 0.0]))
        assert not found.look(looks_like({"west": 1.0}))
        assert found.probabilities() == () and found.unknown == 1.0 and found.hypotheses() == ()


def test_a_plan_without_walls_is_free_everywhere_in_its_places() -> None:
    blank = FloorPlan(np.full((100, 160), FREE, dtype=np.int8), 0.1, (-2.0, -2.0))
    found = PlaceFilter({L1: blank}, ROOMS, BeliefSettings())
    assert probability(found, "east") == pytest.approx(0.3, abs=0.05)


def test_a_robot_without_lidar_names_places_with_their_probability_and_announces_no_pose() -> None:
    source = PlantedMap({L1: asymmetric_plan()})
    localizer = Localizer(source, LocalizerSettings().with_flat({"retrieval.uncalibrated_weight": 1.0}))
    for k in range(12):
        stamp_ns = round((1 + 0.5 * k) * 1e9)
        localizer.on_odometry(stamp_ns, np.array([0.2 * k, 0.0, 0.1 * k]))
        seen = SceneEmbedding(stamp_ns, Modality.IMAGE, source.vector("L1-east"), FINGERPRINT)
        estimate = localizer.on_embedding(seen)
    assert estimate.state == LocalizationState.INITIALIZING and estimate.T_map_odom is None
    assert estimate.failure == FailureCategory.AMBIGUOUS and "no lidar" in estimate.message
    assert estimate.best is not None and estimate.best.place_id == "L1-east" and estimate.best.probability > 0.6
    assert estimate.places[0].place_id == "L1-east"
    total = sum(p.probability for p in estimate.places) + estimate.unknown_probability
    assert total == pytest.approx(1.0)
    answer = localizer.relocalize(RelocalizeRequest(max_hypotheses=1))
    assert answer.code == RelocalizeCode.AMBIGUOUS and [h.place_id for h in answer.hypotheses] == ["L1-east"]
