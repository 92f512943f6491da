"""What `crossover evaluate --answers` writes is what the benchmark reads, and a bag without lidar will do for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import PlantedMap, asymmetric_plan, drive, other_plan
from planted_bag import START_NS, STEP_NS, PlantedEncoder, write_bag

from crossover_models.estimate import (
    FailureCategory,
    Hypothesis,
    LevelKey,
    LocalizationEstimate,
    LocalizationState,
    PlaceProbability,
    RankedPlace,
    Retrieval,
)
from crossover_models.evaluation.buildings.answers import read_answers, write_answers
from crossover_models.evaluation.run_record import EstimateEvent, RunInfo, RunRecord, RunWriter, read_record
from crossover_models.localizer import Localizer
from crossover_models.observation import Modality
from crossover_models.perception import Perception
from crossover_ros.bag_reading import Bag, BagError
from crossover_ros.evaluate import node_settings
from crossover_ros.replay import Replay

A, B = LevelKey("house", "L1"), LevelKey("house", "L2")
INFO = RunInfo("run", "replay", True, "db", "encoder", 0, 10 * 10**9)
COVARIANCE = np.array([[0.04, 0.01, 0.0], [0.01, 0.02, 0.001], [0.0, 0.001, 0.003]])


def estimate(stamp_s: float, state: str, *hypotheses: Hypothesis) -> EstimateEvent:
    return EstimateEvent(
        LocalizationEstimate(
            round(stamp_s * 1e9), LocalizationState[state], FailureCategory.HEALTHY, "", hypotheses, 0.1
        ),
        0.0,
    )


def hypothesis(level: LevelKey, place: str, probability: float = 0.9) -> Hypothesis:
    return Hypothesis(level, np.array([1.0, 2.0, -3.0]), COVARIANCE, probability, place_id=place)


def read(folder: Path):  # type: ignore[no-untyped-def]
    return read_answers(folder, [(A, "K1"), (B, "K2")], [A, B], (0, 10 * 10**9))


def test_estimates_survive_the_way_through_the_files(tmp_path: Path) -> None:
    guess = Retrieval(
        round(0.9e9), Modality.IMAGE, (RankedPlace(B, "K2", "Kitchen", "", 0.5, 0.3, (0.0, 0.0)),), abstained=False
    )
    record = RunRecord(
        INFO,
        (
            estimate(0.5, "INITIALIZING"),
            estimate(1.0, "INITIALIZING"),
            estimate(3.0, "LOCALIZED", hypothesis(A, "K1")),
            estimate(2.0, "INITIALIZING", hypothesis(A, "K1", 0.5), hypothesis(B, "K2", 0.4)),
            estimate(4.0, "LOCALIZED", hypothesis(A, "K1")),
            estimate(4.0, "LOST", hypothesis(B, "", 1.0 + 1e-9)),
        ),
        (guess,),
    )
    assert write_answers(tmp_path / "new" / "folder", record) == 1
    nothing, retrieved, ambiguous, fix, lost = read(tmp_path / "new" / "folder")
    assert nothing.level is None and nothing.probability is None
    assert (retrieved.level, retrieved.place_id, retrieved.probability) == (B, "K2", 0.3) and not retrieved.announced
    assert (ambiguous.level, ambiguous.probability, ambiguous.T_map_base) == (A, 0.5, None)
    assert fix.announced and fix.place_id == "K1" and fix.probability == 0.9
    np.testing.assert_allclose(fix.T_map_base, [1.0, 2.0, -3.0], atol=1e-9)
    np.testing.assert_allclose(fix.covariance, COVARIANCE)
    assert not lost.announced and lost.level == B and lost.place_id == "" and lost.probability == 1.0


def test_a_guess_is_the_most_probable_place_and_an_announced_pose_is_as_sure_as_its_place(tmp_path: Path) -> None:
    beside_a_door = replace(hypothesis(A, "K1", 0.4), place_share=0.75)
    places = (PlaceProbability(B, "K2", 0.5), PlaceProbability(A, "K1", 0.4))
    guess, fix = (estimate(s, state, beside_a_door) for s, state in ((1.0, "LOST"), (2.0, "LOCALIZED")))
    events = [EstimateEvent(replace(event.estimate, places=places), 0.0) for event in (guess, fix)]
    with RunWriter(tmp_path / "run.jsonl", INFO) as writer:
        for event in events:
            writer.estimate(event.estimate, event.latency_s)
    record = read_record(tmp_path / "run.jsonl")
    assert record.estimates[0].estimate.places == places
    write_answers(tmp_path, record)
    first, second = read(tmp_path)
    assert (first.level, first.place_id, first.probability) == (B, "K2", 0.5)
    assert (second.level, second.place_id, second.probability) == (A, "K1", pytest.approx(0.3))


def test_a_covariance_that_is_none_is_left_out(tmp_path: Path) -> None:
    for covariance in (np.full((3, 3), np.nan), np.zeros((3, 3)), -COVARIANCE):
        unknown = replace(hypothesis(A, "K1"), covariance=covariance)
        write_answers(tmp_path, RunRecord(INFO, (estimate(1.0, "LOCALIZED", unknown),)))
        assert read(tmp_path)[0].covariance is None and read(tmp_path)[0].T_map_base is not None


def test_a_run_that_said_nothing_is_an_abstention(tmp_path: Path) -> None:
    assert write_answers(tmp_path, RunRecord(INFO)) == 0
    assert read(tmp_path) == ()


def test_a_bag_without_lidar_names_places_and_no_pose(tmp_path: Path) -> None:
    planted = PlantedMap({A: asymmetric_plan(), B: other_plan()})
    poses = drive(np.array([1.5, 5.0, 0.0]), 10, step_m=0.3)
    write_bag(tmp_path / "bag", planted.plans[A], poses, leave_out=("/points",))
    settings, encoder = node_settings(None), PlantedEncoder(planted)
    with pytest.raises(BagError, match="no lidar topic"):
        Bag(tmp_path / "bag")
    with Bag(tmp_path / "bag", lidar_required=False) as bag:
        assert bag.started_ns == START_NS and bag.finished_ns == START_NS + (len(poses) - 1) * STEP_NS
        with RunWriter(tmp_path / "run.jsonl", INFO) as writer:
            localizer = Localizer(planted, settings.localizer)
            Replay(Perception(encoder, settings.encoder), localizer, settings.encoder, writer).run(bag)
    assert write_answers(tmp_path / "answers", read_record(tmp_path / "run.jsonl")) == 0
    places = [(place.key, place.place_id) for place in planted.places()]
    span = (START_NS, START_NS + (len(poses) - 1) * STEP_NS)
    answers = read_answers(tmp_path / "answers", places, [A, B], span)
    assert answers and not any(a.announced for a in answers)
    assert {(a.level, a.place_id) for a in answers} == {places[0]}
    write_bag(tmp_path / "deaf", planted.plans[A], poses, leave_out=("/points", "/camera/image_raw"))
    with pytest.raises(BagError, match="no lidar topic"):
        Bag(tmp_path / "deaf", lidar_required=False)
