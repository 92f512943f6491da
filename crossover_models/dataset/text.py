"""What people say about a room and its things: descriptions in varied wording, referrals true of exactly one object.

Everything follows from the objects' boxes, so real scans get the same kind of sentences as simulated ones. Left, right,
in front of and behind are meant in the anchor's own frame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.scene import Referral, SceneObject

RELATIONS = (
    "on",
    "next to",
    "in front of",
    "behind",
    "to the left of",
    "to the right of",
    "closest to",
    "farthest from",
)
DIRECTED = frozenset({"in front of", "behind", "to the left of", "to the right of"})
ALONE = ("largest", "smallest")
NEXT_M, BESIDE_M, MARGIN_M = 0.4, 3.0, 0.3
VOLUME_RATIO = 1.3
_CLEARLY = 1.7
_ON_LEAST_M, _ON_OVER_M = 0.15, 0.06

# No front that anybody would name, whatever way the model was drawn.
_FRONTLESS = frozenset(
    {"coffee table", "meeting table", "pet bed", "potted plant", "table lamp", "ball", "basketball", "bin", "bottle"}
    | {"bowl", "box", "candle", "crate", "cup", "fruit", "lamp", "ottoman", "plant", "plate", "rug", "stool", "table"}
    | {"vase"}
)
_ANCHOR_LEAST_M3 = 0.03

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SIZES = (
    (7.0, ("tiny", "small", "narrow")),
    (14.0, ("small", "compact", "")),
    (24.0, ("medium-sized", "", "comfortable")),
)
_OPENINGS = ("This is {}.", "{}.", "You are in {}.", "Here is {}.", "The room is {}.", "I am standing in {}.")
_HOLDS = (
    "It has {}.",
    "It holds {}.",
    "Inside you find {}.",
    "It is furnished with {}.",
    "One sees {}.",
    "I can see {}.",
    "It contains {}.",
)
_WAYS = {
    "on": ("the {t} on the {a}", "the {t} that stands on the {a}", "the {t} lying on top of the {a}"),
    "next to": ("the {t} next to the {a}", "the {t} that is next to the {a}", "the {t} beside the {a}"),
    "in front of": ("the {t} in front of the {a}", "the {t} that is in front of the {a}"),
    "behind": ("the {t} behind the {a}", "the {t} that is behind the {a}"),
    "to the left of": ("the {t} to the left of the {a}", "the {t} on the {a}'s left"),
    "to the right of": ("the {t} to the right of the {a}", "the {t} on the {a}'s right"),
    "closest to": ("the {t} closest to the {a}", "the {t} nearest to the {a}"),
    "farthest from": ("the {t} farthest from the {a}", "the {t} that is farthest away from the {a}"),
    "largest": ("the largest {t}", "the biggest {t} in the room"),
    "smallest": ("the smallest {t}", "the smallest {t} in the room"),
}


@dataclass(frozen=True)
class _Boxes:
    """Boxes of objects: centers (N, 3), half extents along the scene's axes (N, 3), volumes, fronts (N, 2)."""

    center: NDArray[np.float64]
    half: NDArray[np.float64]
    volume: NDArray[np.float64]
    front: NDArray[np.float64]


def _boxes(objects: Sequence[SceneObject]) -> _Boxes:
    center, half, front = [], [], []
    for thing in objects:
        T, size = thing.T_scene_object, np.asarray(thing.size_m, dtype=np.float64)
        center.append(T[:3, :3] @ [0.0, 0.0, size[2] / 2] + T[:3, 3])
        half.append(np.abs(T[:3, :3]) @ size / 2)
        front.append(T[:2, 0] / max(float(np.linalg.norm(T[:2, 0])), 1e-9))
    shape = (len(objects), 3)
    sizes = np.array([o.size_m for o in objects], dtype=np.float64).reshape(shape)
    return _Boxes(
        np.array(center).reshape(shape),
        np.array(half).reshape(shape),
        sizes.prod(axis=1),
        np.array(front).reshape(-1, 2),
    )


def satisfying(
    objects: Sequence[SceneObject], category: str, relation: str, anchor: int | None = None
) -> tuple[int, ...]:
    """Indices of the objects of a category of which a relation to an anchor is true.

    Args:
        objects: of a scene.
        category: asked for.
        relation: one of :data:`RELATIONS` with an anchor, or of :data:`ALONE` without.
        anchor: index of the anchor.

    Raises:
        ValueError: an unknown relation, or an anchor where none belongs or is missing.
    """
    if relation not in (*RELATIONS, *ALONE) or (anchor is None) != (relation in ALONE):
        raise ValueError(f"relation: {relation!r} with anchor {anchor}; known are {', '.join((*RELATIONS, *ALONE))}")
    group = [i for i, o in enumerate(objects) if o.category == category and i != anchor]
    if not group:
        return ()
    boxes = _boxes(objects)
    if anchor is None:
        return _extreme(group, boxes.volume[group], relation == "largest", ratio=True)
    if relation in ("closest to", "farthest from"):
        distance = np.linalg.norm(boxes.center[group, :2] - boxes.center[anchor, :2], axis=1)
        return _extreme(group, distance, relation == "farthest from", ratio=False)
    return tuple(i for i in group if relation in _between(boxes, i, anchor))


def _extreme(group: list[int], values: NDArray[np.float64], most: bool, *, ratio: bool) -> tuple[int, ...]:
    """The one that stands out, if one clearly does among at least two."""
    if len(group) < 2:
        return ()
    order = np.argsort(-values if most else values, kind="stable")
    first, second = float(values[order[0]]), float(values[order[1]])
    if ratio:
        clear = max(first, second) > VOLUME_RATIO * max(min(first, second), 1e-9)
    else:
        clear = abs(first - second) > MARGIN_M
    return (group[int(order[0])],) if clear else ()


def _between(boxes: _Boxes, target: int, anchor: int) -> set[str]:
    delta = boxes.center[target] - boxes.center[anchor]
    gap = np.maximum(np.abs(delta) - boxes.half[target] - boxes.half[anchor], 0.0)
    bottom = boxes.center[target, 2] - boxes.half[target, 2]
    low, high = (boxes.center[anchor, 2] + sign * boxes.half[anchor, 2] for sign in (-1, 1))
    above = bool((np.abs(delta[:2]) < boxes.half[anchor, :2]).all())
    if above and low + _ON_LEAST_M < bottom < high + _ON_OVER_M and boxes.volume[target] < boxes.volume[anchor]:
        return {"on"}
    found: set[str] = set()
    if np.hypot(gap[0], gap[1]) < NEXT_M and gap[2] == 0.0:
        found.add("next to")
    if np.hypot(delta[0], delta[1]) <= BESIDE_M:
        front = boxes.front[anchor]
        ahead, left = float(delta[:2] @ front), float(delta[:2] @ [-front[1], front[0]])
        if abs(ahead) > _CLEARLY * abs(left):
            found.add("in front of" if ahead > 0 else "behind")
        elif abs(left) > _CLEARLY * abs(ahead):
            found.add("to the left of" if left > 0 else "to the right of")
    return found


def scene_referrals(
    objects: Sequence[SceneObject], rng: np.random.Generator, most: int = 12, *, oriented: bool = True
) -> tuple[Referral, ...]:
    """Up to ``most`` sentences; each is true of exactly one object, and its anchor is the only one of its category.

    Args:
        objects: of a scene.
        rng: draws which are said, and the wording.
        most: sentences.
        oriented: the objects' frames say where their fronts are; boxes of real scans often do not.
    """
    counts = Counter(o.category for o in objects)
    said: list[tuple[str, int, int | None]] = []
    for category, count in sorted(counts.items()):
        said += [
            (r, found[0], None) for r in ALONE if len(found := satisfying(objects, category, r)) == 1 and count > 1
        ]
        for anchor, other in enumerate(objects):
            # Nobody says where a sofa is by the remote control.
            small = float(np.prod(other.size_m)) < _ANCHOR_LEAST_M3
            if counts[other.category] != 1 or other.category == category or small:
                continue
            for relation in RELATIONS:
                if relation in DIRECTED and (not oriented or other.category in _FRONTLESS):
                    continue
                found = satisfying(objects, category, relation, anchor)
                if len(found) == 1:
                    said.append((relation, found[0], anchor))
    chosen = [said[int(i)] for i in rng.permutation(len(said))[:most]]
    return tuple(Referral(objects[t].object_id, _sentence(objects, r, t, a, rng)) for r, t, a in chosen)


def _sentence(
    objects: Sequence[SceneObject], relation: str, target: int, anchor: int | None, rng: np.random.Generator
) -> str:
    other = "" if anchor is None else objects[anchor].category
    return _pick(_WAYS[relation], rng).format(t=objects[target].category, a=other)


def describe_scene(
    objects: Sequence[SceneObject],
    category: str,
    polygon: NDArray[np.float64] | None,
    rng: np.random.Generator,
    wordings: int = 2,
) -> tuple[str, ...]:
    """Descriptions of a room, worded independently: its type, its size, and part of what is in it.

    Args:
        objects: of the scene; none is fine.
        category: type of the room, or "".
        polygon: (N, 2) outline, metres, or None.
        rng: draws the wording and what is mentioned.
        wordings: how many.
    """
    area = None if polygon is None else _area(np.asarray(polygon, dtype=np.float64))
    return tuple(_description(objects, category, area, rng) for _ in range(wordings))


def _description(objects: Sequence[SceneObject], category: str, area_m2: float | None, rng: np.random.Generator) -> str:
    size = ""
    if area_m2 is not None:
        words = next((choices for limit, choices in _SIZES if area_m2 < limit), ("large", "spacious", "big"))
        size = _pick(words, rng)
    room = _article(f"{size} {category or 'room'}".strip())
    sentences = [_pick(_OPENINGS, rng).format(room)]
    counts = Counter(o.category for o in objects)
    names = sorted(counts)
    if names:
        # Large things first: nobody describes a room by its cups.
        volume = {n: max(float(np.prod(o.size_m)) for o in objects if o.category == n) for n in names}
        keep = max(1, round(min(len(names), 9) * rng.uniform(0.55, 1.0)))
        likely = np.array([np.cbrt(volume[n]) for n in names])
        drawn = rng.choice(len(names), size=keep, replace=False, p=likely / likely.sum())
        sentences.append(
            _pick(_HOLDS, rng).format(_listed([_counted(names[int(i)], counts[names[int(i)]], rng) for i in drawn]))
        )
    return " ".join(s[0].upper() + s[1:] for s in sentences)


def _area(polygon: NDArray[np.float64]) -> float:
    x, y = polygon[:, 0], polygon[:, 1]
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _article(phrase: str) -> str:
    return ("an " if phrase[:1] in "aeiou" else "a ") + phrase


def _plural(name: str) -> str:
    if name.endswith("shelf"):
        return name[:-1] + "ves"
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")


def _counted(name: str, count: int, rng: np.random.Generator) -> str:
    if count == 1:
        return _article(name)
    if count >= len(_NUMBERS) or (count > 4 and rng.random() < 0.5):
        return f"several {_plural(name)}"
    return f"{_NUMBERS[count]} {_plural(name)}"


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
