"""The paper's metrics against plain loops, planted orders and known traps: ties, absent rows, the data set's order."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crossover_models.evaluation.tasks.instances import (
    SceneObjects,
    has_moved,
    instance_matching,
    temporal_instances,
)
from crossover_models.evaluation.tasks.ranking import TaskError, chance, first_ranks, scores
from crossover_models.evaluation.tasks.scenes import (
    SceneSet,
    category_recall,
    intra_category,
    scene_matching,
    temporal_scene,
)
from crossover_models.geometry import se3_from_se2

RNG = np.random.default_rng(5)


def unit(rows: int, dim: int = 6) -> np.ndarray:
    values = RNG.normal(size=(rows, dim)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_ranks_equal_sorting_by_hand() -> None:
    similarity, right = RNG.normal(size=(30, 12)).astype(np.float32), RNG.random((30, 12)) < 0.2
    allowed = RNG.random((30, 12)) < 0.8
    ranks = first_ranks(similarity, right, allowed)
    for row in range(30):
        order = [j for j in np.argsort(-similarity[row]) if allowed[row, j]]
        hits = [position for position, j in enumerate(order) if right[row, j]]
        assert ranks[row] == (hits[0] if hits else 12)


def test_a_constant_embedding_is_never_first() -> None:
    same = np.ones((8, 4), dtype=np.float32)
    task = scene_matching(same, same, np.ones(8, dtype=bool))
    assert task.recalls["r1"] == 0.0 and (task.ranks == 7).all()


def test_chance_is_what_random_orders_reach() -> None:
    right = np.zeros((400, 9), dtype=bool)
    right[:, :2] = True
    drawn = first_ranks(RNG.random((400, 9)).astype(np.float32), right)
    for k in (1, 3, 5):
        exact = 1 - math.comb(7, k) / math.comb(9, k)
        assert chance(right, (k,))[f"r{k}"] == pytest.approx(exact)
        assert (drawn < k).mean() == pytest.approx(exact, abs=0.08)
    assert chance(right, (20,))["r20"] == pytest.approx(1.0)


def test_absent_scans_neither_ask_nor_answer() -> None:
    query, gallery, present = unit(6), unit(6), np.array([1, 1, 0, 1, 1, 0], dtype=bool)
    before = scene_matching(query, gallery, present)
    query[~present], gallery[~present] = np.nan, np.inf
    after = scene_matching(query, gallery, present)
    assert len(after.ranks) == 4 and (after.ranks == before.ranks).all()
    with pytest.raises(TaskError, match="query: row 2 is not finite"):
        scene_matching(query, gallery, np.ones(6, dtype=bool))


def planted(categories: str, references: tuple[str, ...] | None = None) -> SceneSet:
    ids = tuple(f"s{i}" for i in range(len(categories)))
    names = tuple("" if c == "?" else c for c in categories)
    return SceneSet(ids, names, references or ("",) * len(ids))


def test_category_recall_takes_the_own_scan_out() -> None:
    scans, everyone = planted("aabb?"), np.ones(5, dtype=bool)
    # Every scan finds itself first, then a scan of the other category, then its own.
    similarity = np.array(
        [[9, 1, 5, 2, 9], [1, 9, 2, 5, 9], [5, 2, 9, 1, 9], [2, 5, 1, 9, 9], [9, 9, 9, 9, 9]], dtype=np.float32
    )
    task = category_recall(similarity, np.eye(5, dtype=np.float32), everyone, scans)
    assert task.ranks.tolist() == [2, 2, 2, 2]
    assert task.recalls == {"r1": 0.0, "r5": 1.0, "r10": 1.0}


def test_intra_category_is_the_mean_over_categories_and_not_over_scans() -> None:
    scans = planted("aaab" + "b" + "c")
    similarity = np.eye(6, dtype=np.float32)
    similarity[3, 4], similarity[4, 3] = 2.0, 2.0
    out = intra_category(similarity, np.eye(6, dtype=np.float32), np.ones(6, dtype=bool), scans)
    # a: all right; b: all wrong; c has one scan and does not count.
    assert out["r1"] == pytest.approx(0.5) and out["r3"] == 1.0


def test_temporal_ranks_are_ranks_and_legacy_is_the_data_sets_order() -> None:
    # Scan 0 is repeated by scan 13; ten scans in between score less, one more.
    references = ("",) * 13 + ("s0",)
    scans = planted("x" * 14, references)
    similarity = np.zeros((14, 14), dtype=np.float32)
    similarity[0] = [99, 5, *range(-10, 1), 9]
    ours = temporal_scene(similarity, np.eye(14, dtype=np.float32), np.ones(14, dtype=bool), scans)
    theirs = temporal_scene(similarity, np.eye(14, dtype=np.float32), np.ones(14, dtype=bool), scans, legacy=True)
    assert ours.ranks.tolist() == [0] and ours.recalls["r1"] == 1.0
    # Best ten: scans 1, 5..12 and 13; in order of the data set scan 13 is the last of them.
    assert theirs.ranks.tolist() == [9] and theirs.recalls == {"r1": 0.0, "r5": 0.0, "r10": 1.0}


def test_only_reference_scans_with_a_rescan_ask() -> None:
    scans = planted("xxxx", ("", "s0", "", "gone"))
    task = temporal_scene(unit(4), unit(4), np.ones(4, dtype=bool), scans)
    assert len(task.ranks) == 1 and task.queries.tolist() == [0]
    # A rescan asks nothing, though another scan repeats it.
    chain = temporal_scene(unit(3), unit(3), np.ones(3, dtype=bool), planted("xxx", ("", "s0", "s1")))
    assert chain.queries.tolist() == [0]


def things(names: str, embeddings: np.ndarray, present: str | None = None) -> SceneObjects:
    mask = np.array([c == "1" for c in present or "1" * len(names)], dtype=bool)
    return SceneObjects(tuple(names), embeddings.astype(np.float32), mask)


def test_instance_recall_is_averaged_over_scenes() -> None:
    eye = np.eye(4)
    swapped = eye[[1, 0, 2, 3]] + 0.1 * eye
    scenes = [
        (things("abcd", eye), things("abcd", eye)),
        (things("abcd", eye), things("abcd", swapped)),
        (things("ab", eye[:2]), things("ab", eye[:2], "00")),
    ]
    out = instance_matching(scenes)
    assert out == {"r1": 0.75, "r3": 1.0, "scene_r25": 1.0, "scene_r50": 1.0, "scene_r75": 0.5}
    assert instance_matching([])["r1"] is None
    with pytest.raises(TaskError, match="different objects"):
        instance_matching([(things("ab", eye[:2]), things("ba", eye[:2]))])


def test_objects_without_both_modalities_are_no_answers() -> None:
    eye = np.eye(3)
    # Without its mask, "c" would take "a"'s place.
    gallery = np.stack([eye[0], eye[1], 2 * eye[0]])
    assert instance_matching([(things("abc", eye), things("abc", gallery, "110"))])["r1"] == 1.0
    assert instance_matching([(things("abc", eye), things("abc", gallery))])["r1"] == pytest.approx(1 / 3)


def test_temporal_instances_tell_moved_objects_apart() -> None:
    eye = np.eye(4)
    before = things("abcd", eye)
    after = things("bacx", eye[[1, 0, 2, 3]])
    wrong = things("bac", np.stack([eye[0], eye[1], eye[2]]))
    out = temporal_instances([(before, after), (before, wrong)], [frozenset("a"), frozenset("a")])
    # First rescan: all three found ("d" is gone and does not ask). Second: only "c".
    assert out["all"] == pytest.approx(4 / 6)
    assert out["dynamic"] == pytest.approx(1 / 2) and out["static"] == pytest.approx(3 / 4)
    assert (out["scene_r25"], out["scene_r50"]) == (1.0, 0.5)


def test_moved_means_a_degree_or_five_centimetres() -> None:
    start = se3_from_se2([1.0, 2.0, 0.3])
    for pose, moved in (
        ([1.04, 2.0, 0.3], False),
        ([1.06, 2.0, 0.3], True),
        ([1.0, 2.0, 0.3 + np.radians(0.9)], False),
        ([1.0, 2.0, 0.3 - np.radians(1.1)], True),
    ):
        assert has_moved(start, se3_from_se2(pose)) == moved


def test_shapes_that_do_not_agree_are_refused() -> None:
    with pytest.raises(TaskError, match=r"expected \(Q, D\) and \(G, D\)"):
        scores(unit(2, 3), unit(2, 4))
    with pytest.raises(TaskError, match="one occurs twice"):
        SceneSet(("a", "a"), ("", ""), ("", ""))
