"""The suite's figures against plain loops, planted answers, and methods that would escape their questions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from planted_method import EVERYTHING, PlantedMethod
from scene_features import synthetic_features

from crossover_models.evaluation.suite import measure
from crossover_models.evaluation.suite.intervals import Resamples, interval
from crossover_models.evaluation.suite.measure import Question
from crossover_models.evaluation.suite.methods import System
from crossover_models.evaluation.suite.outcome import Outcome, mean_over_seeds
from crossover_models.evaluation.suite.run import KEYS, evaluate
from crossover_models.evaluation.suite.scans import evaluated_scans
from crossover_models.evaluation.tasks.instances import instance_matching_by, temporal_outcome
from crossover_models.evaluation.tasks.ranking import TaskError
from crossover_models.evaluation.tasks.scenes import (
    SceneSet,
    category_recall,
    category_recall_by,
    intra_category,
    intra_category_by,
    scene_matching,
    scene_matching_by,
    temporal_scene,
    temporal_scene_by,
)
from crossover_models.training.feature_set import FeatureSet

RNG = np.random.default_rng(8)


@pytest.fixture(scope="module")
def features() -> FeatureSet:
    return synthetic_features(rooms=30, rescans=8, missing=0.15, seed=3, split="test")


@pytest.fixture(scope="module")
def question(features: FeatureSet) -> Question:
    return Question(evaluated_scans(features))


def system(name: str, *seeds: PlantedMethod, kind: str = "planted") -> System:
    return System(name, kind, tuple(f"{k}" for k in range(len(seeds))), tuple(seeds))


def test_similarities_and_embeddings_give_the_same_figures() -> None:
    number = 40
    query, gallery = (RNG.normal(size=(number, 5)).astype(np.float32) for _ in range(2))
    present, names = RNG.random(number) < 0.8, RNG.choice(["a", "b", "c", ""], number)
    references = tuple("" if i < 30 else f"s{i - 30}" for i in range(number))
    scans = SceneSet(tuple(f"s{i}" for i in range(number)), tuple(names.tolist()), references)
    similarity = query @ gallery.T
    similarity[~present], similarity[:, ~present] = np.nan, np.inf
    assert scene_matching_by(similarity, present).recalls == scene_matching(query, gallery, present).recalls
    by, plain = category_recall_by(similarity, present, scans), category_recall(query, gallery, present, scans)
    assert by.recalls == plain.recalls and np.array_equal(by.ranks, plain.ranks)
    assert intra_category_by(similarity, present, scans).recalls == intra_category(query, gallery, present, scans)
    for legacy in (False, True):
        of = temporal_scene_by(similarity, present, present, scans, legacy=legacy)
        assert of.recalls == temporal_scene(query, gallery, present, scans, legacy=legacy).recalls
    assert (of.queries < 10).all() and present[of.queries].all()


def test_chance_of_objects_is_what_random_embeddings_reach() -> None:
    sizes = RNG.integers(1, 9, 4000)
    task = instance_matching_by([RNG.random((n, n)).astype(np.float32) for n in sizes])
    for name, luck in task.chance.items():
        assert task.summary[name] == pytest.approx(luck, abs=0.025), name


def test_temporal_chance_is_what_random_embeddings_reach(features: FeatureSet) -> None:
    data = evaluated_scans(features)
    methods = [PlantedMethod(features, {"P": 1e3}, seed) for seed in range(40)]
    found, luck = [], {}
    for method in methods:
        things = method.objects("P") or ()
        task = temporal_outcome([(things[a], things[b]) for a, b in data.rescans], data.moved)
        found.append([task.summary[name] for name in task.chance])
        luck = task.chance
    assert np.mean(found, axis=0) == pytest.approx(list(luck.values()), abs=0.05)


def test_a_bootstrap_sample_is_the_figure_of_the_drawn_rooms() -> None:
    rooms = ["a", "a", "b", "c", "c", "d"]
    resamples = Resamples(rooms, 4, 50)
    hits, asked, groups = RNG.integers(0, 3, 5) * 1.0, RNG.integers(3, 6, 5) * 1.0, np.array([0, 1, 1, 0, 1])
    outcome = Outcome(np.array([0, 1, 2, 3, 5]), {"r1": (hits, asked)}, {"r1": None}, groups)
    samples = outcome.figures(resamples.weights)["r1"]
    for row, sample in zip(resamples.weights, samples, strict=True):
        # Scans of one room are drawn together, and as many rooms as there are.
        assert row[0] == row[1] and row[3] == row[4] and row[[0, 2, 3, 5]].sum() == 4
        each = []
        for group in (0, 1):
            above = sum(row[s] * h for s, h, g in zip(outcome.scans, hits, groups, strict=True) if g == group)
            below = sum(row[s] * n for s, n, g in zip(outcome.scans, asked, groups, strict=True) if g == group)
            each += [above / below] if below else []
        assert sample == pytest.approx(np.mean(each)) if each else np.isnan(sample)
    assert samples[0] == pytest.approx(
        np.mean([(hits[0] + hits[3]) / (asked[0] + asked[3]), hits[[1, 2, 4]].sum() / asked[[1, 2, 4]].sum()])
    )
    ends = interval(samples, resamples.rooms)
    assert ends is not None and ends[0] in samples[1:] and ends[0] <= samples[0] <= ends[1]
    assert interval(samples, 1) is None


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = 0
    for seed in range(200):
        hits = (np.random.default_rng(seed).random(80) < 0.3).astype(float)
        outcome = Outcome(np.arange(80), {"r1": (hits, np.ones(80))}, {})
        resamples = Resamples([f"{i}" for i in range(80)], seed, 200)
        ends = interval(outcome.figures(resamples.weights)["r1"], 80)
        assert ends is not None
        held += ends[0] <= 0.3 <= ends[1]
    assert 0.88 <= held / 200 <= 0.99


def test_seeds_are_averaged_question_by_question() -> None:
    one = Outcome(np.array([0, 1]), {"r1": (np.array([1.0, 0.0]), np.ones(2))}, {"r1": 0.5})
    two = replace(one, parts={"r1": (np.array([1.0, 1.0]), np.ones(2))})
    mean = mean_over_seeds([one, two])
    assert mean.parts["r1"][0].tolist() == [1.0, 0.5] and mean.seeds == (one, two)
    with pytest.raises(TaskError, match="different queries"):
        mean_over_seeds([one, replace(one, scans=np.array([0, 2]))])


def test_a_method_that_lacks_a_scan_does_not_escape_the_question(features: FeatureSet, question: Question) -> None:
    perfect = dict.fromkeys(EVERYTHING, 0.0)
    lacking = tuple(int(i) for i in np.flatnonzero(question.scans.places & question.scans.has["I"])[:5])
    for task in (measure.scene, measure.robot, measure.category, measure.intra, measure.missing):
        whole, blind = (task(PlantedMethod(features, perfect, blind=b), question) for b in ((), lacking))
        for pair, outcome in whole.items():
            other = blind[pair]
            if outcome is not None:
                assert other is not None and np.array_equal(outcome.scans, other.scans), (task, pair)
    scene = measure.scene(PlantedMethod(features, perfect, blind=lacking), question)["I-P"]
    assert scene is not None
    right = {int(s): h for s, h in zip(scene.scans, scene.parts["r1"][0], strict=True)}
    assert all(hit == (scan not in lacking) for scan, hit in right.items()) and len(right) > 10


def test_an_object_that_a_method_lacks_finds_nothing_and_is_not_found(features: FeatureSet, question: Question) -> None:
    method = PlantedMethod(features, dict.fromkeys("IPMR", 0.0))
    whole = measure.instance(method, question)["I-R"]
    # Without its first object, whose embedding is made the best answer to everything.
    method._objects["R"] = tuple(
        replace(
            o,
            embeddings=np.where(np.arange(len(o.object_ids))[:, None] == 0, 1e4, o.embeddings).astype(np.float32),
            present=o.present & (np.arange(len(o.object_ids)) > 0),
        )
        for o in method._objects["R"]
    )
    blind = measure.instance(method, question)["I-R"]
    assert whole is not None and blind is not None and np.array_equal(whole.scans, blind.scans)
    assert (whole.parts["r1"][0] == 1.0).all()
    for scan, recall in zip(blind.scans, blind.parts["r1"][0], strict=True):
        shown = question.scans.objects["I"][scan] & question.scans.objects["R"][scan]
        assert recall == pytest.approx((shown.sum() - shown[0]) / shown.sum())


def test_answers_that_are_no_numbers_are_named(features: FeatureSet, question: Question) -> None:
    method = PlantedMethod(features, EVERYTHING)
    row = int(np.flatnonzero(question.scans.has["I"] & question.scans.has["P"])[2])
    method._vectors["I"][row] = np.nan
    with pytest.raises(TaskError, match=rf"planted: I-P: similarities of {question.scans.scans.scan_ids[row]} "):
        measure.scene(method, question)
    method.present = lambda item: np.ones(3, dtype=bool)  # type: ignore[method-assign]
    with pytest.raises(TaskError, match="I: expected a mask"):
        measure.scene(method, question)


def test_a_place_is_a_room_unless_rescans_count(features: FeatureSet) -> None:
    rooms, scans = evaluated_scans(features), evaluated_scans(features, rescans_are_places=True)
    assert rooms.places.sum() == 30 and scans.places.sum() == 38
    assert not any(features.scans[i].reference_id for i in np.flatnonzero(rooms.places))
    assert all(features.scans[b].reference_id == features.scans[a].scan_id for a, b in rooms.rescans)
    assert len(rooms.rescans) == 8 and any(rooms.moved)


def test_what_the_data_show(features: FeatureSet) -> None:
    data = evaluated_scans(features)
    for row, scan in enumerate(features):
        about = [set(scan.referral_objects.tolist()), set(np.flatnonzero(scan.object_cad >= 0))]
        seen = [{k for k in range(len(scan.object_ids)) if (scan.instance == k).sum() >= 10}]
        seen += [set(np.flatnonzero(scan.object_crops))]
        for item, wanted in zip("RMPI", about + seen, strict=True):
            assert set(np.flatnonzero(data.objects[item][row])) == wanted, item
        kept = {"I": scan.views, "P": scan.points, "M": scan.cad_points, "F": scan.plans, "R": scan.texts}
        kept |= {"I1": scan.drive_views, "I10": scan.drive_views, "Pd": scan.drive_points}
        assert {item for item in kept if data.has[item][row]} == {item for item, rows in kept.items() if len(rows)}


def test_what_moved_is_what_the_data_moved(features: FeatureSet) -> None:
    data = evaluated_scans(features)
    for (a, b), moved in zip(data.rescans, data.moved, strict=True):
        before, after = features.scans[a], features.scans[b]
        common = [name for name in before.object_ids if name in after.object_ids]
        assert moved == {name for i, name in enumerate(common) if i % 2 == 0}


def test_what_a_lost_modality_costs() -> None:
    features = synthetic_features(rooms=40)
    question = Question(evaluated_scans(features))
    method = PlantedMethod(features, {"I": 0.0, "P": 0.3, "F": 2.0, "R": 2.0})
    outcomes = measure.missing(method, question)
    r1 = {key: o.parts["r1"][0].mean() for key, o in outcomes.items() if o is not None and key.startswith("I ")}
    assert r1.keys() == {"I none", "I P", "I F", "I R", "I any"}
    each = {item: method.similarity("I", item) for item in "PFR"}
    for lost, r in r1.items():
        kept = [similarity for item, similarity in each.items() if item != lost[2:]]
        if lost != "I any":
            assert r == np.mean(np.argmax(np.sum(kept, axis=0), axis=1) == np.arange(40)), lost
    # The cloud is what tells an image's place.
    assert r1["I P"] < r1["I any"] < r1["I none"]
    assert all(len(outcomes[key].scans) == 40 for key in r1)  # type: ignore[union-attr]


def test_modalities_on_other_scales_do_not_decide_who_is_found() -> None:
    features = synthetic_features(rooms=40)
    method = PlantedMethod(features, {"I": 0.0, "P": 0.0, "F": 0.0})
    plain = method.similarity
    method.similarity = lambda q, g: plain(q, g) + (1e3 if g == "F" else -1e3)  # type: ignore[method-assign, operator]
    outcome = measure.missing(method, Question(evaluated_scans(features)))["I any"]
    assert outcome is not None and outcome.parts["r1"][0].mean() > 0.9


def test_emergent_holds_in_both_orders_and_for_frames() -> None:
    method = PlantedMethod(synthetic_features(rooms=4), {"I": 1.0}, emergent=frozenset({("P", "I")}))
    assert measure.emergent(method, "I", "P") and measure.emergent(method, "I1", "P")
    assert measure.emergent(method, "Pd", "I") and not measure.emergent(method, "I", "R")


def evaluated(features: FeatureSet, **options: Any) -> dict[str, Any]:
    apart = frozenset({("P", "R")})
    ours = [PlantedMethod(features, dict.fromkeys(EVERYTHING, 0.4), seed, apart) for seed in (0, 1)]
    systems = [
        system("ours", *ours),
        system("reference", PlantedMethod(features, dict.fromkeys(EVERYTHING, 1.5), 7)),
        system("colors", PlantedMethod(features, {"I": 2.0, "P": 2.0}, 9, objects=False), kind="colors"),
    ]
    return evaluate(systems, features, tuple(KEYS), ablation=[system("less", ours[0])], **options)


def test_the_figures_of_a_run(features: FeatureSet) -> None:
    found = evaluated(features)
    pairs = found["pairs"]
    assert list(pairs) == ["I-P", "I-R", "P-R", "I-F", "P-F", "R-F", "M-P", "M-F", "M-R", "I-M"]
    for row in pairs.values():
        assert list(row) == ["ours", "reference", "colors", "chance"]
        assert {"r1", "r5", "r10"} <= row["ours"].keys() & row["reference"].keys() & row["chance"].keys()
        assert (
            row["ours"]["r1"]
            > row["reference"]["r1"]
            > row["chance"]["r1"]
            == pytest.approx(1 / row["ours"]["n"], abs=1e-6)
        )
        low, high = row["ours"]["r1_interval"]
        assert low <= row["ours"]["r1"] <= high and row["ours"]["seeds"] == 2
        assert row["ours"]["r1"] == pytest.approx(np.mean(row["ours"]["r1_seeds"]), abs=1e-6)
        assert row["ours"]["r1_spread"] == pytest.approx(np.std(row["ours"]["r1_seeds"], ddof=1), abs=1e-5)
    assert [p for p, row in pairs.items() if row["ours"]["emergent"]] == ["P-R"]
    assert pairs["I-F"]["colors"] == {"r1": None, "r5": None, "r10": None, "r20": None, "n": 0, "emergent": False}
    against = found["comparisons"]["ours/reference"]
    means = {name: np.mean([row[name]["r1"] for row in pairs.values()]) for name in ("ours", "reference")}
    assert against["r1_ratio"] == pytest.approx(means["ours"] / means["reference"], abs=1e-4)
    assert found["mean"]["ours"]["r1"] == pytest.approx(means["ours"], abs=1e-5) and against["not_above"] == []
    assert found["comparisons"]["colors/reference"]["pairs"] == ["I-P"] and found["mean"]["colors"]["pairs"] == 1
    reached = {row["target"]: row["met"] for row in found["targets"]}
    assert reached["mean R@1 over pairs, times the faithful model's"] and reached["pairs not above colors, of 1"]
    assert found["ablation"]["I-P"]["less"]["r1"] == pairs["I-P"]["ours"]["r1_seeds"][0]
    gain = found["robot"]["I10-P"]["ours"]["r1"] - found["robot"]["I1-P"]["ours"]["r1"]
    assert found["robot_gain"]["P"]["ours"]["r1_gain"] == pytest.approx(gain, abs=1e-5)
    loss = found["missing_loss"]["I"]["ours"]
    rest, whole = (found["missing"][key]["ours"]["r1"] for key in ("I F", "I none"))
    assert loss["F"]["r1_loss"] == pytest.approx(1 - rest / whole, abs=1e-5)
    assert found["temporal_instance"]["P-P"]["ours"]["all"] > found["temporal_instance"]["P-P"]["chance"]["all"]
    assert evaluated(features) == found


def test_legacy_changes_the_temporal_scene_task_alone(features: FeatureSet) -> None:
    plain, legacy = evaluated(features), evaluated(features, legacy=True)
    differing = {key for key in plain if plain[key] != legacy[key]}
    assert differing == {"legacy", "temporal_scene"}
    for pair, row in plain["temporal_scene"].items():
        assert row["ours"]["r10"] == legacy["temporal_scene"][pair]["ours"]["r10"]
