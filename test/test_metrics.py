"""Trajectories, run records and figures, on planted runs with known answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from crossover_models.estimate import (
    FailureCategory,
    Hypothesis,
    LevelKey,
    LocalizationEstimate,
    LocalizationState,
    RankedPlace,
    RelocalizeCode,
    RelocalizeResponse,
    Retrieval,
)
from crossover_models.evaluation.judgement import judge
from crossover_models.evaluation.metrics import DEFINITIONS, metrics, mirror_twins
from crossover_models.evaluation.run_record import (
    EstimateEvent,
    RelocalizeEvent,
    RunInfo,
    RunRecord,
    RunRecordError,
    RunWriter,
    read_record,
)
from crossover_models.evaluation.trajectory import Trajectory, TrajectoryError, pose_error, read_tum, write_tum
from crossover_models.observation import Modality

S = 10**9
GROUND, UPPER = LevelKey("house", "L1"), LevelKey("house", "L2")
COVARIANCE = np.array([[0.04, 0.01, 0.002], [0.01, 0.09, -0.003], [0.002, -0.003, 0.01]])
INFO = RunInfo("planted", "replay", True, "database", "encoder", 0, 10 * S)


@dataclass(frozen=True)
class Room:
    key: LevelKey
    place_id: str
    name: str
    category: str
    polygon: NDArray[np.float64]


def room(place_id: str, x: float, level: LevelKey = GROUND) -> Room:
    square = np.array([[x, -5], [x + 5, -5], [x + 5, 5], [x, 5]], dtype=float)
    return Room(level, place_id, place_id.upper(), "room", square)


ROOMS = (room("a1", 0), room("b1", 5), room("a2", 0, UPPER), room("b2", 5, UPPER))


def straight_truth() -> Trajectory:
    """One m/s along x on the ground floor, 10 s: 5 s in a1, then 5 s in b1."""
    stamps = np.arange(0, 101, dtype=np.int64) * (S // 10)
    poses = np.stack([stamps / S, np.zeros(101), np.zeros(101)], axis=1)
    return Trajectory(stamps, poses).on_level(GROUND)


def hypothesis(
    x: float, y: float = 0.0, yaw: float = 0.0, level: LevelKey = GROUND, place: str = "", p: float = 0.95
) -> Hypothesis:
    name = place or next((r.place_id for r in ROOMS if r.key == level and r.polygon[0, 0] <= x < r.polygon[1, 0]), "")
    return Hypothesis(level, np.array([x, y, yaw]), COVARIANCE, p, -0.4, 0.9, 0.02, name, name.upper())


def estimate(
    t: float,
    *hypotheses: Hypothesis,
    state: LocalizationState = LocalizationState.LOCALIZED,
    latency_s: float | None = 0.05,
) -> EstimateEvent:
    ok = state == LocalizationState.LOCALIZED
    failure = FailureCategory.HEALTHY if ok else FailureCategory.AMBIGUOUS
    unknown = 1.0 - sum(h.probability for h in hypotheses)
    return EstimateEvent(
        LocalizationEstimate(
            round(t * S),
            state,
            failure,
            "said",
            hypotheses,
            unknown,
            None,
            (Modality.POINT_CLOUD,),
            (Modality.TEXT,),
            3,
            0.01,
        ),
        latency_s,
    )


def figures(
    *events: EstimateEvent, retrievals: tuple[Retrieval, ...] = (), calls: tuple[RelocalizeEvent, ...] = ()
) -> dict[str, object]:
    record = RunRecord(INFO, events, retrievals, calls, 12.5)
    return metrics(judge(record, straight_truth(), ROOMS))


def ranked(t: float, modality: Modality, *place_ids: str, abstained: bool = False) -> Retrieval:
    by_id = {r.place_id: r for r in ROOMS}
    places = tuple(
        RankedPlace(by_id[i].key, i, i, "room", 0.5, 0.4 / (k + 1), (0.0, 0.0)) for k, i in enumerate(place_ids)
    )
    return Retrieval(round(t * S), modality, places, abstained)


def perfect(start: float = 0.0, end: float = 10.0) -> list[EstimateEvent]:
    return [estimate(t, hypothesis(t + 0.1)) for t in np.arange(start, end, 0.1)]


# -- trajectories ------------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.integers(1, 10**12), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(-3.14, 3.14)),
        min_size=1,
        max_size=20,
    )
)
def test_tum_keeps_every_nanosecond_and_the_pose(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, float, float, float]]
) -> None:
    path = tmp_path_factory.mktemp("tum") / "run.tum"
    stamps = np.cumsum([row[0] for row in rows])
    poses = np.array([row[1:] for row in rows])
    write_tum(path, stamps, poses)
    back = read_tum(path)
    assert back.stamps_ns.tolist() == stamps.tolist()
    np.testing.assert_allclose(back.T_map_base, poses, atol=1e-8)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds no pose"),
        ("# only a comment\n", "holds no pose"),
        ("0.1 1 2 3\n", ":1: expected"),
        ("0.1 1 2 0 0 0 0 1\n0.1 1 2 0 0 0 0 1\n", ":2: stamp 0.1 does not follow"),
        ("0.1 1 nan 0 0 0 0 1\n", ":1: translation"),
        ("0.1 1 2 0 0 0 0 0\n", ":1: quaternion"),
        ("noon 1 2 0 0 0 0 1\n", ":1:"),
    ],
)
def test_a_bad_tum_file_is_refused_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "bad.tum"
    path.write_text(text)
    with pytest.raises(TrajectoryError, match=complaint):
        read_tum(path)


def test_poses_are_interpolated_along_the_shorter_turn_and_never_across_a_gap_or_a_level() -> None:
    stamps = np.array([0, S // 10, 5 * S, 5 * S + 10], dtype=np.int64)
    poses = np.array([[0, 0, 3.0], [1, 2, -3.0], [5, 5, 0], [6, 5, 0]], dtype=float)
    trajectory = Trajectory(stamps, poses, (GROUND, GROUND, GROUND, UPPER))
    found = trajectory.at(S // 20)
    assert found is not None
    assert found[0] == GROUND
    np.testing.assert_allclose(found[1][:2], [0.5, 1.0])
    assert abs(abs(found[1][2]) - np.pi) < 1e-6
    assert trajectory.at(S) is None
    assert trajectory.at(5 * S + 5) is None
    assert trajectory.at(-1) is None
    assert trajectory.at(6 * S) is None


def test_a_path_is_cut_where_the_robot_was_carried_or_on_another_level() -> None:
    stamps = np.array([0.0, 0.1, 0.2, 5.0, 5.1, 5.2, 5.3]) * S
    poses = np.stack([np.arange(7.0), np.zeros(7), np.zeros(7)], axis=1)
    levels = (GROUND, GROUND, GROUND, GROUND, UPPER, GROUND, GROUND)
    trajectory = Trajectory(stamps.astype(np.int64), poses, levels)
    assert [part[:, 0].tolist() for part in trajectory.parts(GROUND)] == [[0, 1, 2], [3], [5, 6]]
    assert [part[:, 0].tolist() for part in trajectory.parts(UPPER)] == [[4]]
    assert trajectory.parts(LevelKey("nowhere", "L9")) == []


@given(st.floats(-100, 100), st.floats(-100, 100), st.floats(-10, 10))
def test_pose_error_is_zero_for_itself_and_a_half_turn_at_most(x: float, y: float, yaw: float) -> None:
    a, b = np.array([x, y, yaw]), np.array([x + 3, y - 4, yaw + np.pi])
    assert pose_error(a, a) == (0.0, 0.0)
    meters, degrees = pose_error(a, b)
    assert meters == pytest.approx(5.0)
    assert degrees == pytest.approx(180.0)
    assert pose_error([0, 0, 3.1], [0, 0, -3.1])[1] == pytest.approx(np.degrees(2 * np.pi - 6.2))


# -- figures -----------------------------------------------------------------------------------------------------------


def test_a_perfect_run() -> None:
    out = figures(*perfect())
    assert list(out)[: len(DEFINITIONS)] == list(DEFINITIONS)
    assert out["places"] == 4
    assert out["retrieval_chance"] == 0.25
    assert out["retrieval_r1"] is None
    assert out["time_to_fix_s"] == 0.0
    assert out["pose_error_m_median"] == pytest.approx(0.1)
    assert out["pose_error_deg_median"] == 0.0
    assert out["false_fixes"] == 0
    assert out["latency_ms_p50"] == pytest.approx(50)
    assert out["latency_ms_p99"] == pytest.approx(50)
    assert out["relocalize_s"] is None
    assert out["wall_s"] == 12.5
    assert out["place_accuracy"] == pytest.approx(1.0, abs=0.021)
    assert out["right_share"] == 1.0
    json.dumps(out, allow_nan=False)


def test_the_time_before_the_fix_and_silence_stay_in_the_denominator() -> None:
    late = [estimate(t, hypothesis(t, p=0.5), state=LocalizationState.INITIALIZING) for t in np.arange(0, 4, 0.1)]
    out = figures(*late, *perfect(4.0, 6.0))
    assert out["time_to_fix_s"] == pytest.approx(4.0)
    # Localized from 4 s; the last estimate is of 5.9 s and speaks for 2 s more.
    assert out["localized_share"] == pytest.approx(0.4, abs=0.03)
    assert 0.3 < out["place_accuracy"] < 0.45  # type: ignore[operator]
    assert out["state_share"]["SILENT"] == pytest.approx(0.2, abs=0.03)  # type: ignore[index]
    assert out["state_share"]["INITIALIZING"] == pytest.approx(0.4, abs=0.03)  # type: ignore[index]


def test_what_never_happened_is_null_and_not_a_number() -> None:
    out = figures(*[estimate(t, state=LocalizationState.INITIALIZING, latency_s=None) for t in np.arange(0, 10, 0.5)])
    for key in ("time_to_fix_s", "pose_error_m_median", "pose_error_deg_median", "latency_ms_p50", "relocalize_s"):
        assert out[key] is None, key
    assert out["place_accuracy"] == 0.0
    assert out["fixes"] == 0


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda t: hypothesis(t + 1.2), "more than a meter"),
        (lambda t: hypothesis(t, yaw=0.6), "more than 30 degrees"),
        (lambda t: hypothesis(t, level=UPPER), "another level"),
    ],
)
def test_a_false_fix_is_counted_once_and_does_not_stop_the_clock(wrong: object, why: str) -> None:
    first = [estimate(t, wrong(t)) for t in np.arange(0, 2, 0.1)]  # type: ignore[operator]
    lost = [estimate(2.0, hypothesis(2.0, p=0.3), state=LocalizationState.LOST)]
    out = figures(*first, *lost, *perfect(3.0))
    assert out["false_fixes"] == 1, why
    assert out["fixes"] == 2
    assert out["time_to_fix_s"] == pytest.approx(3.0)
    assert out["diverged"] == 0


def test_a_right_pose_that_slides_away_is_divergence_not_a_false_fix() -> None:
    out = figures(*perfect(0, 5), *[estimate(t, hypothesis(t + 3)) for t in np.arange(5, 10, 0.1)])
    assert out["false_fixes"] == 0
    assert out["diverged"] == 1
    assert out["right_share"] == pytest.approx(0.5, abs=0.03)


def test_a_wrong_level_is_infinitely_far() -> None:
    half = [estimate(t, hypothesis(t, level=UPPER)) for t in np.arange(0, 7, 0.1)]
    out = figures(*half, *perfect(7.0))
    assert out["pose_error_m_median"] is None
    assert out["place_accuracy"] == pytest.approx(0.3, abs=0.03)


def test_retrieval_counts_every_query_and_tells_modalities_apart() -> None:
    out = figures(
        *perfect(),
        retrievals=(
            ranked(1, Modality.IMAGE, "a1", "b1"),
            ranked(2, Modality.IMAGE, "b1", "a1", abstained=True),
            ranked(6, Modality.POINT_CLOUD, "a1", "a2"),
            ranked(7, Modality.POINT_CLOUD, "b1"),
            ranked(0, Modality.TEXT, "b2"),
            ranked(99, Modality.IMAGE, "a1"),
        ),
    )
    assert out["retrieval_r1"] == 0.5
    by = out["retrieval_by_modality"]
    assert by["image"]["n"] == by["point_cloud"]["n"] == 2  # type: ignore[index]
    assert by["image"]["r3"] == 1.0  # type: ignore[index]
    assert by["image"]["abstained_share"] == 0.5  # type: ignore[index]
    assert by["image"]["r1_when_answered"] == 1.0  # type: ignore[index]
    assert by["point_cloud"]["r3"] == 0.5  # type: ignore[index]
    assert by["point_cloud"]["mean_reciprocal_rank"] == 0.5  # type: ignore[index]


def test_only_answers_count_as_seconds_of_relocalize() -> None:
    ok = RelocalizeResponse(RelocalizeCode.OK, "found", (hypothesis(3.0),))
    off = RelocalizeResponse(RelocalizeCode.UNKNOWN_PLACE, "nothing fits", ())
    out = figures(
        *perfect(),
        calls=(
            RelocalizeEvent(3 * S, 0.4, False, ok),
            RelocalizeEvent(4 * S, 9.0, False, off),
            RelocalizeEvent(5 * S, 30.0, True, None),
        ),
    )
    assert out["relocalize_s"] == pytest.approx(0.4)
    calls = out["relocalize_calls"]
    assert [c["right"] for c in calls] == [True, False, False]  # type: ignore[attr-defined]
    assert calls[2]["code"] == "TIMEOUT"  # type: ignore[index]


def test_the_mirror_twin_is_reported_with_its_share_of_the_belief() -> None:
    twins = mirror_twins([replace(r, name=r.place_id.upper()) for r in ROOMS], "A", "B")
    assert twins == {"a1": "b1", "b1": "a1", "a2": "b2", "b2": "a2"}
    named = [
        replace(r, name=n) for r, n in zip(ROOMS, ("Attic A203", "Attic B203", "Bath of A", "Bath of B"), strict=True)
    ]
    assert mirror_twins(named, "A", "B") == twins
    assert mirror_twins(named, "A", "C") == {}
    events = [estimate(t, hypothesis(t, p=0.6), hypothesis(9.0 - t, p=0.3)) for t in np.arange(0, 4, 0.1)]
    events += [estimate(t, hypothesis(9.0 - t, place="b1", p=0.95)) for t in np.arange(4, 5, 0.1)]
    record = RunRecord(replace(INFO, finished_ns=5 * S), tuple(events))
    out = metrics(judge(record, straight_truth(), ROOMS), twins)["twin"]
    assert out["places_with_twin"] == 4
    assert out["reported_share"] == pytest.approx(0.2, abs=0.05)
    assert out["probability_mean"] == pytest.approx(0.8 * 0.3 + 0.2 * 0.95, abs=0.05)


def test_a_truth_without_levels_or_of_another_time_is_refused() -> None:
    truth = straight_truth()
    record = RunRecord(INFO, tuple(perfect()))
    with pytest.raises(TrajectoryError, match="level"):
        judge(record, Trajectory(truth.stamps_ns, truth.T_map_base), ROOMS)
    later = Trajectory(truth.stamps_ns + 10**13, truth.T_map_base, truth.levels)
    with pytest.raises(TrajectoryError, match="share no time"):
        judge(record, later, ROOMS)


# -- records -----------------------------------------------------------------------------------------------------------


def write_run(path: Path) -> RunRecord:
    call = RelocalizeEvent(3 * S, 0.4, True, RelocalizeResponse(RelocalizeCode.OK, "found", (hypothesis(3.0),)))
    with RunWriter(path, INFO) as writer:
        for event in perfect(0, 1):
            writer.estimate(event.estimate, event.latency_s)
        writer.retrieval(ranked(1, Modality.IMAGE, "a1", "b1"))
        writer.relocalize(call)
        writer.relocalize(replace(call, response=None))
        writer.end(2.5)
    return read_record(path)


def test_a_record_reads_back_as_it_was(tmp_path: Path) -> None:
    record = write_run(tmp_path / "run.jsonl")
    assert record.info == INFO
    assert record.wall_s == 2.5
    wanted = perfect(0, 1)
    assert len(record.estimates) == len(wanted)
    for got, want in zip(record.estimates, wanted, strict=True):
        assert got.latency_s == want.latency_s
        assert got.estimate.state == want.estimate.state
        assert got.estimate.modalities_used == want.estimate.modalities_used
        best, true = got.estimate.best, want.estimate.best
        assert best is not None
        assert true is not None
        assert (best.level, best.place_id, best.probability) == (true.level, true.place_id, true.probability)
        np.testing.assert_allclose(best.T_map_base, true.T_map_base, atol=1e-9)
        np.testing.assert_allclose(best.covariance, COVARIANCE, atol=1e-9)
    assert record.retrievals[0].places[1].place_id == "b1"
    assert record.relocalizations[0].response is not None
    assert record.relocalizations[0].response.code == RelocalizeCode.OK
    assert record.relocalizations[1].response is None


def test_a_record_cut_at_any_byte_is_a_shorter_run_or_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write_run(path)
    whole = path.read_bytes()
    first_line = whole.index(b"\n")
    for cut in range(0, len(whole), 37):
        path.write_bytes(whole[:cut])
        if cut < first_line:
            with pytest.raises(RunRecordError):
                read_record(path)
        else:
            record = read_record(path)
            assert record.info == INFO
            assert record.wall_s in (None, 2.5)


def test_a_damaged_line_inside_a_record_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write_run(path)
    lines = path.read_text().split("\n")
    lines[3] = '{"kind":"estimate"}'
    path.write_text("\n".join(lines))
    with pytest.raises(RunRecordError, match=r"run\.jsonl:4: KeyError"):
        read_record(path)
    path.write_text('{"kind":"run","schema_version":99}\n{}\n')
    with pytest.raises(RunRecordError, match="schema_version"):
        read_record(path)
