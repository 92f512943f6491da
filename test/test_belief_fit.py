"""Constants of the belief, fitted where their values are planted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from planted import PlantedMap, asymmetric_plan, drive
from planted_bag import PlantedEncoder, write_bag

from crossover_models import furniture_field, retrieval
from crossover_models.belief_fit import Believed, Furnished, fit_announcement, fit_furniture, fit_outliers
from crossover_models.config import BeliefSettings
from crossover_models.estimate import LevelKey
from crossover_models.evaluation import validation
from crossover_models.likelihood import SHIPPED, SHRINKAGE, RetrievalLikelihood
from crossover_models.likelihood_fit import FitError, Look
from crossover_models.observation import Modality
from crossover_ros.calibrate_belief import embeddings_in, heard_in
from crossover_ros.cli import main

IMAGE = Modality.IMAGE


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_the_share_of_places_where_retrieval_goes_wrong_is_found(share: float) -> None:
    """Scores that are right as they look, but at a share of the stays they are of another place."""
    rng = np.random.default_rng(3)
    worth = 2.0
    looks = []
    for visit in range(1500):
        scores = rng.standard_normal(8)
        logits = worth * scores / (1.0 + SHRINKAGE)
        true = int(rng.choice(8, p=np.exp(logits) / np.exp(logits).sum()))
        if rng.random() < share:
            true = int(rng.integers(8))
        looks.append(Look(visit, IMAGE, {IMAGE: scores}, true))
    likelihood = RetrievalLikelihood("planted", {(IMAGE, IMAGE): worth})
    assert fit_outliers(looks, likelihood) == pytest.approx(share, abs=0.04)


def test_furniture_is_worth_what_was_planted_and_nothing_where_it_tells_nothing() -> None:
    rng = np.random.default_rng(4)
    names, worth, rays = ("wall", "piece", "through", "open"), np.array([0.0, 1.0, -0.8, -0.2]), 12.0
    samples = []
    for number in range(400):
        shares = rng.dirichlet([8, 1, 1, 2], size=6)
        logits = rays * shares @ worth
        right = int(rng.choice(6, p=np.exp(logits) / np.exp(logits).sum()))
        samples.append(Furnished(number, shares[right], np.delete(shares, right, axis=0)))
    found = fit_furniture(samples, names, rays)
    # Shares sum to 1, so only differences between outcomes can be known.
    told = np.array([found[name] - found["wall"] for name in names])
    assert told == pytest.approx(worth, abs=0.2)
    mean = np.mean([np.exp(rays * s.wrong @ np.array(list(found.values()))).mean() for s in samples])
    assert mean == pytest.approx(1.0, abs=0.02)
    alike = [Furnished(k, np.full(4, 0.25), np.full((3, 4), 0.25)) for k in range(50)]
    assert list(fit_furniture(alike, names, rays).values()) == pytest.approx([0.0] * 4, abs=1e-3)


def test_the_level_of_announcement_follows_from_how_often_poses_are_right() -> None:
    rng = np.random.default_rng(5)

    def drawn(slope: float) -> list[Believed]:
        said = rng.uniform(-4, 6, 4000)
        right = rng.random(4000) < 1 / (1 + np.exp(-slope * said))
        return [Believed(k, 1 / (1 + np.exp(-z)), bool(r)) for k, (z, r) in enumerate(zip(said, right, strict=True))]

    honest, modest = fit_announcement(drawn(1.0)), fit_announcement(drawn(2.0))
    assert honest["least"] == pytest.approx(0.95, abs=0.01) and honest["most"] == pytest.approx(0.99, abs=0.005)
    assert modest["least"] == pytest.approx(1 / (1 + 19**-0.5), abs=0.02)


def test_many_looks_of_one_drive_are_hardly_more_than_one() -> None:
    many, few = (fit_announcement([Believed(0, 0.9, False)] * count) for count in (1000, 10))
    assert many == pytest.approx({**few, "samples": 1000.0}, abs=2e-3)


def test_nothing_to_fit_on_is_refused() -> None:
    with pytest.raises(FitError, match="looks"):
        fit_outliers([], RetrievalLikelihood("planted", {}))
    with pytest.raises(FitError, match="furniture"):
        fit_furniture([Furnished(0, np.zeros(4), np.zeros((0, 4)))], "abcd", 12.0)
    with pytest.raises(FitError, match="announcement"):
        fit_announcement([])


def test_what_is_shipped_lies_within_what_was_fitted() -> None:
    facts = json.loads((Path(SHIPPED) / "edge.likelihood.json").read_text(encoding="utf-8"))["facts"]
    fitted = facts["belief"]
    announced = fitted["localized_probability"]
    assert announced["least"] <= BeliefSettings().localized_probability <= announced["most"]
    assert BeliefSettings().localized_probability > announced["largest_wrong"]
    assert abs(retrieval.ALIKE_NATS + np.log(BeliefSettings().retrieval_outliers)) < 0.01
    assert set(fitted["furniture"]) == set(furniture_field.RATIOS)
    for name, ratio in furniture_field.RATIOS.items():
        assert np.sign(ratio) == np.sign(fitted["furniture"][name])


def test_validation_drives_have_furniture_moved_plans_that_err_and_look_alikes() -> None:
    plan = validation.plan_validation(3, buildings=2)
    assert [run.case.name for run in plan] == 2 * ["nominal", "moved-furniture", "defective-plan"]
    twins = validation.plan_twins(2)
    assert len(twins) == 4 and {run.building.numbers[0] % 2 for run in twins} == {0, 1}
    assert validation.plan_twins(0) == ()
    with pytest.raises(ValueError, match="--buildings"):
        validation.plan_validation(1, buildings=5)


def test_what_a_bag_tells_a_localizer_is_heard_in_order(tmp_path: Path) -> None:
    planted = PlantedMap({LevelKey("house", "L1"): asymmetric_plan()})
    poses = drive(np.array([1.5, 5.0, 0.0]), 6, step_m=0.3)
    write_bag(tmp_path / "bag", asymmetric_plan(), poses)
    heard = heard_in(tmp_path / "bag", PlantedEncoder(planted))
    odometry = [entry[0] for entry in heard if isinstance(entry, tuple)]
    embeddings = embeddings_in(heard)
    assert len(odometry) == len(poses) and odometry == sorted(odometry)
    assert {e.modality for e in embeddings} == {Modality.POINT_CLOUD, Modality.IMAGE}
    assert len(heard) == len(odometry) + len(embeddings)


def test_calibrate_refuses_buildings_that_there_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--buildings", "9"]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].endswith("--buildings: must be 1 to 4, got 9")
