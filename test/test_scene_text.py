"""Sentences about rooms: each referral is true of exactly one object, by a checker that knows nothing of the maker."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from crossover_models.dataset.scene import SceneObject
from crossover_models.dataset.text import ALONE, RELATIONS, describe_scene, satisfying, scene_referrals
from crossover_models.geometry import se3_from_se2

KINDS = {
    "table": (1.0, 1.6, 0.75), "chair": (0.5, 0.5, 0.9), "sofa": (0.9, 2.0, 0.8), "cabinet": (0.5, 0.9, 1.2),
    "vase": (0.15, 0.15, 0.3), "bed": (2.0, 1.6, 0.5), "wardrobe": (0.6, 1.2, 2.0), "desk": (0.7, 1.4, 0.74),
}  # fmt: skip


def thing(
    name: str, category: str, x: float, y: float, yaw: float = 0.0, z: float = 0.0, scale: float = 1.0
) -> SceneObject:
    return SceneObject(name, category, se3_from_se2([x, y, yaw], z), np.array(KINDS[category]) * scale)


def room(seed: int) -> list[SceneObject]:
    rng = np.random.default_rng(seed)
    names = list(KINDS)
    return [
        thing(
            f"o{i}",
            names[int(rng.integers(len(names)))],
            *rng.uniform(-3, 3, 2),
            float(rng.integers(4)) * np.pi / 2,
            0.75 if rng.random() < 0.2 else 0.0,
            rng.uniform(0.6, 1.4),
        )
        for i in range(int(rng.integers(3, 12)))
    ]


def corners(o: SceneObject) -> np.ndarray:
    x, y, z = o.size_m
    box = np.array([[a * x / 2, b * y / 2, c * z, 1.0] for a in (-1, 1) for b in (-1, 1) for c in (0, 1)])
    return (box @ o.T_scene_object.T)[:, :3]


def holds(objects: list[SceneObject], relation: str, t: int, a: int | None) -> bool:
    """The relation, written out anew from corners."""
    target = objects[t]
    if a is None:
        volumes = {i: float(np.prod(o.size_m)) for i, o in enumerate(objects) if o.category == target.category}
        others = [v for i, v in volumes.items() if i != t]
        if relation == "largest":
            return bool(others) and volumes[t] > 1.3 * max(others)
        return bool(others) and volumes[t] * 1.3 < min(others)
    anchor = objects[a]
    p, q = corners(target), corners(anchor)
    center_t, center_a = (p.min(0) + p.max(0)) / 2, (q.min(0) + q.max(0)) / 2
    if relation in ("closest to", "farthest from"):
        distance = {}
        for i, o in enumerate(objects):
            if o.category == target.category and i != a:
                c = corners(o)
                distance[i] = float(np.hypot(*((c.min(0) + c.max(0)) / 2 - center_a)[:2]))
        rest = [v for i, v in distance.items() if i != t]
        if not rest:
            return False
        return distance[t] < min(rest) - 0.3 if relation == "closest to" else distance[t] > max(rest) + 0.3
    inside = all(q.min(0)[k] < center_t[k] < q.max(0)[k] for k in (0, 1))
    lifted = q[:, 2].min() + 0.15 < p[:, 2].min() < q[:, 2].max() + 0.06
    on = inside and lifted and np.prod(target.size_m) < np.prod(anchor.size_m)
    if relation == "on":
        return bool(on)
    if on:
        return False
    gap = np.maximum(np.maximum(p.min(0) - q.max(0), q.min(0) - p.max(0)), 0.0)
    if relation == "next to":
        return bool(np.hypot(gap[0], gap[1]) < 0.4 and gap[2] < 1e-9)
    local = np.linalg.inv(anchor.T_scene_object) @ np.array([*center_t, 1.0])
    if np.hypot(local[0], local[1]) > 3.0:
        return False
    ahead, left = local[0], local[1]
    return {
        "in front of": ahead > 1.7 * abs(left),
        "behind": -ahead > 1.7 * abs(left),
        "to the left of": left > 1.7 * abs(ahead),
        "to the right of": -left > 1.7 * abs(ahead),
    }[relation]


WAYS = {
    "on": r"that stands on|lying on top of|on",
    "next to": r"that is next to|next to|beside",
    "in front of": r"that is in front of|in front of",
    "behind": r"that is behind|behind",
    "closest to": r"closest to|nearest to",
    "farthest from": r"that is farthest away from|farthest from",
    "to the left of": r"to the left of",
    "to the right of": r"to the right of",
}


def understood(sentence: str) -> tuple[str, str, str | None]:
    """Category, relation and anchor of a sentence."""
    found = re.fullmatch(r"the (?:(largest|biggest|smallest)) (.+?)(?: in the room)?", sentence)
    if found:
        return found[2], "smallest" if found[1] == "smallest" else "largest", None
    found = re.fullmatch(r"the (.+?) on the (.+?)'s (left|right)", sentence)
    if found:
        return found[1], f"to the {found[3]} of", found[2]
    for relation in ("next to", "in front of", "behind", "closest to", "farthest from", "to the left of",
                     "to the right of", "on"):  # fmt: skip
        found = re.fullmatch(rf"the (.+?) (?:{WAYS[relation]}) the (.+)", sentence)
        if found:
            return found[1], relation, found[2]
    raise AssertionError(f"nobody understands {sentence!r}")


def test_every_referral_is_true_of_its_object_alone() -> None:
    seen: Counter[str] = Counter()
    for seed in range(120):
        objects = room(seed)
        counts = Counter(o.category for o in objects)
        for referral in scene_referrals(objects, np.random.default_rng(seed), most=50):
            category, relation, other = understood(referral.utterance)
            seen[relation] += 1
            anchor = None
            if other is not None:
                assert counts[other] == 1 and other != category
                anchor = next(i for i, o in enumerate(objects) if o.category == other)
            true = [i for i, o in enumerate(objects) if o.category == category and holds(objects, relation, i, anchor)]
            assert [objects[i].object_id for i in true] == [referral.target_id], referral
    assert set(seen) == {*RELATIONS, *ALONE}, "every relation was said"


def test_relations_are_the_checkers() -> None:
    for seed in range(40):
        objects = room(seed)
        for a, anchor in enumerate(objects):
            for category in {o.category for o in objects} - {anchor.category}:
                for relation in RELATIONS:
                    want = [
                        i for i, o in enumerate(objects) if o.category == category and holds(objects, relation, i, a)
                    ]
                    assert list(satisfying(objects, category, relation, a)) == want, (seed, relation)


def test_left_and_right_are_the_anchors_own() -> None:
    # The sofa looks along +y, so its left is at -x.
    sofa, left, ahead = thing("s", "sofa", 0, 0, np.pi / 2), thing("l", "chair", -1.6, 0), thing("f", "cabinet", 0, 1.5)
    objects = [sofa, left, ahead]
    assert satisfying(objects, "chair", "to the left of", 0) == (1,)
    assert satisfying(objects, "cabinet", "in front of", 0) == (2,)
    assert satisfying(objects, "chair", "to the right of", 0) == ()


def test_boxes_without_fronts_get_no_directions() -> None:
    said = [r for seed in range(20) for r in scene_referrals(room(seed), np.random.default_rng(0), 50, oriented=False)]
    assert said and not [
        r for r in said if understood(r.utterance)[1].split()[-1] in ("behind",) or "left" in r.utterance
    ]
    assert not [r for r in said if "in front of" in r.utterance or "behind" in r.utterance or "right" in r.utterance]


def test_two_that_fit_are_not_referred_to() -> None:
    objects = [thing("t", "table", 0, 0), thing("a", "chair", 0.9, 0), thing("b", "chair", -0.9, 0)]
    said = [r.utterance for seed in range(10) for r in scene_referrals(objects, np.random.default_rng(seed), 50)]
    assert not [s for s in said if s.startswith("the chair") and ("next" in s or "beside" in s)]


def test_descriptions_vary_and_name_what_is_there() -> None:
    objects = [thing("a", "chair", 0, 0), thing("b", "chair", 1, 0), thing("c", "bed", 2, 2)]
    polygon = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]])
    said = {s for seed in range(30) for s in describe_scene(objects, "bedroom", polygon, np.random.default_rng(seed))}
    assert len(said) > 20 and all("bedroom" in s for s in said)
    assert any("two chairs" in s for s in said) and not any("tables" in s or "There is two" in s for s in said)
    assert describe_scene([], "", None, np.random.default_rng(0), 1)[0].count("room") >= 1
    assert scene_referrals([], np.random.default_rng(0)) == ()


def test_the_same_seed_says_the_same() -> None:
    objects = room(7)
    assert scene_referrals(objects, np.random.default_rng(3)) == scene_referrals(objects, np.random.default_rng(3))


def test_relations_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="'above' with anchor 0"):
        satisfying(room(1), "chair", "above", 0)
    with pytest.raises(ValueError, match="'on' with anchor None"):
        satisfying(room(1), "chair", "on")
