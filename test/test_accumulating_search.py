"""A search that goes on while the robot turns or drives, on planted plans."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from planted import PlantedMap, asymmetric_plan, drive, lidar_embedding, other_plan, scan

from crossover_models.accumulating_search import AccumulatingSearch
from crossover_models.config import LocalizerSettings
from crossover_models.estimate import LevelKey, LocalizationState, RelocalizeCode, RelocalizeRequest
from crossover_models.floor_plan import FloorPlan
from crossover_models.geometry import compose_se2
from crossover_models.level_names import LocalizerError
from crossover_models.localizer import Localizer
from crossover_models.observation import SceneEmbedding, WallSlice

L1, L2 = LevelKey("house", "L1"), LevelKey("house", "L2")
S = 1_000_000_000
ODOM_FROM_MAP = np.array([3.0, -2.0, 0.7])
# Looks much the same from the other end of the corridor, so that one look does not decide.
START = np.array([1.5, 5.0, 0.1])


def localizer() -> Localizer:
    return Localizer(PlantedMap({L1: asymmetric_plan(), L2: other_plan()}), LocalizerSettings())


def looks(plan: FloorPlan, poses: list[NDArray[np.float64]], **how: float) -> list[tuple[SceneEmbedding, WallSlice]]:
    out = []
    for k, pose in enumerate(poses, start=1):
        seen = scan(plan, pose, compose_se2(ODOM_FROM_MAP, pose), k * S, seed=k, **how)  # type: ignore[arg-type]
        out.append((lidar_embedding(seen), seen))
    return out


def go_on(search: AccumulatingSearch, data: list[tuple[SceneEmbedding, WallSlice]]) -> int:
    """Feed looks until the search is over; returns how many it took."""
    for k, (embedding, seen) in enumerate(data):
        if search.over:
            return k
        search.on_odometry(embedding.stamp_ns, seen.T_odom_aligned)
        search.on_embedding(embedding)
    return len(data)


def test_looks_add_up_until_one_pose_is_certain_and_only_then_it_is_applied() -> None:
    host = localizer()
    search = AccumulatingSearch(host, RelocalizeRequest(apply=True))
    assert search.answer().code == RelocalizeCode.NO_SENSOR_DATA
    poses = drive(START, 12)
    data = looks(asymmetric_plan(), poses)
    used = go_on(search, data)
    assert 1 < used < len(data), "one look is not enough in this plan, and twelve are not needed"
    progress, answer = search.progress, search.answer()
    assert progress.observations == used and progress.travelled_m == pytest.approx(0.3 * (used - 1), abs=1e-6)
    assert answer.code == RelocalizeCode.OK and answer.success
    best = answer.hypotheses[0]
    assert best.level == L1 and np.hypot(*(best.T_map_base - poses[used - 1])[:2]) < 0.15
    assert host.estimate(99 * S).state == LocalizationState.UNINITIALIZED, "asked beside the localizer"
    search.apply()
    taken = host.estimate(data[used - 1][0].stamp_ns)
    assert taken.state == LocalizationState.LOCALIZED and taken.best is not None
    assert np.hypot(*(taken.best.T_map_base - poses[used - 1])[:2]) < 0.15
    host.on_odometry(data[used][0].stamp_ns, data[used][1].T_odom_aligned)
    assert host.on_embedding(data[used][0]).state == LocalizationState.LOCALIZED, "and goes on from there"


def test_a_localizer_that_knows_its_place_is_not_disturbed_by_a_search_beside_it() -> None:
    host, alone = localizer(), localizer()
    data = looks(asymmetric_plan(), drive(START, 14))
    search: AccumulatingSearch | None = None
    for k, (embedding, seen) in enumerate(data):
        for each in (host, alone):
            each.on_odometry(embedding.stamp_ns, seen.T_odom_aligned)
        if k == 5:
            search = AccumulatingSearch(host, RelocalizeRequest(level_hint="L2"))
            search.begin(embedding.stamp_ns)
        if search is not None:
            search.on_odometry(embedding.stamp_ns, seen.T_odom_aligned)
            search.on_embedding(embedding)
        a, b = host.on_embedding(embedding), alone.on_embedding(embedding)
        assert (a.state, a.unknown_probability) == (b.state, b.unknown_probability)
        for mine, its in zip(a.hypotheses, b.hypotheses, strict=True):
            assert mine.probability == its.probability
            np.testing.assert_array_equal(mine.T_map_base, its.T_map_base)
    assert search is not None and search.answer().code == RelocalizeCode.UNKNOWN_PLACE


def test_a_narrow_view_is_searched_again_as_the_robot_turns() -> None:
    """A lidar of 60 degrees that first sees one bare wall: turning on the spot shows the rest."""
    here = np.array([3.0, 8.0, 1.6])
    poses = [compose_se2(here, [0.0, 0.0, -0.25 * k]) for k in range(25)]
    data = looks(asymmetric_plan(), poses, field_of_view_rad=np.radians(60.0))
    first = localizer()
    first.on_embedding(data[0][0])
    assert first.relocalize(RelocalizeRequest()).code != RelocalizeCode.OK, "one look is not enough"
    search = AccumulatingSearch(localizer(), RelocalizeRequest())
    used = go_on(search, data)
    assert search.progress.travelled_m == pytest.approx(0.0, abs=1e-6)
    assert search.progress.turned_rad == pytest.approx(0.25 * (used - 1), abs=1e-6)
    answer = search.answer()
    assert answer.code == RelocalizeCode.OK and 1 < used < 25
    assert np.hypot(*(answer.hypotheses[0].T_map_base - poses[used - 1])[:2]) < 0.3


def test_twin_floors_stay_ambiguous_however_long_one_looks() -> None:
    plan = asymmetric_plan()
    host = Localizer(PlantedMap({L1: plan, L2: plan}), LocalizerSettings())
    search = AccumulatingSearch(host, RelocalizeRequest(max_hypotheses=2))
    assert go_on(search, looks(plan, drive(START, 12))) == 13 and not search.over
    answer = search.answer()
    assert answer.code == RelocalizeCode.AMBIGUOUS and answer.success
    assert {h.level for h in answer.hypotheses} == {L1, L2} and "after 13 looks" in answer.message


def test_what_cannot_be_searched_says_why() -> None:
    with pytest.raises(LocalizerError, match="L9"):
        AccumulatingSearch(localizer(), RelocalizeRequest(level_hint="L9"))
    dot = WallSlice(S, np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32), np.zeros(1, np.int32), np.zeros(3))
    search = AccumulatingSearch(localizer(), RelocalizeRequest())
    search.on_embedding(lidar_embedding(dot))
    assert search.answer().code == RelocalizeCode.INSUFFICIENT_STRUCTURE and not search.over
    search = AccumulatingSearch(localizer(), RelocalizeRequest(text_hint="xyzzy"))
    search.on_embedding(lidar_embedding(scan(asymmetric_plan(), START)))
    assert search.over and search.answer().code == RelocalizeCode.BAD_HINT
