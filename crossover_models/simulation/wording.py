"""What people say about rooms: descriptions in varied wording, and referrals that hold for exactly one object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Furnishing

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SIZES = (
    (7.0, ("tiny", "small", "narrow")),
    (14.0, ("small", "compact", "")),
    (24.0, ("medium-sized", "", "comfortable")),
)
_OPENINGS = ("This is {}.", "{}.", "You are in {}.", "Here is {}.", "The room is {}.")
_HOLDS = ("It has {}.", "It holds {}.", "Inside you find {}.", "It is furnished with {}.", "One sees {}.")


def _article(phrase: str) -> str:
    return ("an " if phrase[:1] in "aeiou" else "a ") + phrase


def _plural(name: str) -> str:
    if name.endswith(("shelf",)):
        return name[:-1] + "ves"
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def _counted(name: str, count: int, rng: np.random.Generator) -> str:
    if count == 1:
        return _article(name)
    if count > 4 and rng.random() < 0.5:
        return f"several {_plural(name)}"
    return f"{_NUMBERS[min(count, 10)]} {_plural(name)}"


def describe(
    category: str, area_m2: float, furnishings: Sequence[Furnishing], windows: int, doors: int, rng: np.random.Generator
) -> str:
    """A room's description: its type, size and part of what stands in it; two draws word it differently."""
    words = next((choices for limit, choices in _SIZES if area_m2 < limit), ("large", "spacious", "big"))
    size = str(rng.choice(list(words)))
    sentences = [str(rng.choice(list(_OPENINGS))).format(_article(f"{size} {category}".strip()))]
    counts = Counter(f.category for f in furnishings)
    if counts:
        names = list(counts)
        rng.shuffle(names)
        keep = names[: max(1, round(len(names) * rng.uniform(0.6, 1.0)))]
        holds = _listed([_counted(name, counts[name], rng) for name in keep])
        sentences.append(str(rng.choice(list(_HOLDS))).format(holds))
    if rng.random() < 0.5:
        opened = [_counted("window", windows, rng)] if windows else ["no window"]
        if rng.random() < 0.6:
            opened.append(_counted("door", doors, rng))
        sentences.append(f"It has {_listed(opened)}.")
    return " ".join(s[0].upper() + s[1:] for s in sentences)


def _centers(furnishings: Sequence[Furnishing]) -> NDArray[np.float64]:
    return np.array(
        [(f.mesh.vertices.min(axis=0) + f.mesh.vertices.max(axis=0)) / 2 for f in furnishings], dtype=np.float64
    )


def relations(furnishings: Sequence[Furnishing], headings: dict[str, float]) -> list[tuple[int, str, int]]:
    """(target, relation, anchor) triples by index; ``headings`` are the objects' fronts (map yaw, radians) by id.

    Left, right, in front and behind are meant in the anchor's own frame.
    """
    if len(furnishings) < 2:
        return []
    centers = _centers(furnishings)
    extents = np.array([np.ptp(f.mesh.vertices[:, :2], axis=0) / 2 for f in furnishings])
    found: list[tuple[int, str, int]] = []
    for anchor, piece in enumerate(furnishings):
        delta = centers[:, :2] - centers[anchor, :2]
        distance = np.linalg.norm(delta, axis=1)
        gap = np.maximum(np.abs(delta) - extents - extents[anchor], 0.0)
        heading = headings.get(piece.object_id)
        for target in range(len(furnishings)):
            if target == anchor:
                continue
            if np.hypot(*gap[target]) < 0.4:
                found.append((target, "next to", anchor))
            if heading is None or distance[target] > 3.0:
                continue
            ahead = delta[target] @ [np.cos(heading), np.sin(heading)]
            left = delta[target] @ [-np.sin(heading), np.cos(heading)]
            if abs(ahead) > 1.7 * abs(left):
                found.append((target, "in front of" if ahead > 0 else "behind", anchor))
            elif abs(left) > 1.7 * abs(ahead):
                found.append((target, "to the left of" if left > 0 else "to the right of", anchor))
    return found


def referrals(
    furnishings: Sequence[Furnishing], headings: dict[str, float], rng: np.random.Generator, most: int = 6
) -> tuple[str, ...]:
    """Up to ``most`` sentences, each true of exactly one object, whose anchor is the only one of its category."""
    counts = Counter(f.category for f in furnishings)
    triples = relations(furnishings, headings)
    said: list[str] = []
    claims = Counter((furnishings[t].category, relation, a) for t, relation, a in triples)
    for target, relation, anchor in triples:
        name, other = furnishings[target].category, furnishings[anchor].category
        if counts[other] == 1 and name != other and claims[name, relation, anchor] == 1:
            said.append(str(rng.choice(["the {} {} the {}", "the {} that is {} the {}"])).format(name, relation, other))
    centers = _centers(furnishings) if furnishings else np.zeros((0, 3))
    for name, count in counts.items():
        group = [i for i, f in enumerate(furnishings) if f.category == name]
        for anchor, piece in enumerate(furnishings):
            if count < 2 or counts[piece.category] != 1:
                continue
            order = np.sort(np.linalg.norm(centers[group, :2] - centers[anchor, :2], axis=1))
            if order[1] - order[0] > 0.3:
                said.append(f"the {name} closest to the {piece.category}")
            if order[-1] - order[-2] > 0.3:
                said.append(f"the {name} farthest from the {piece.category}")
    said = sorted(set(said))
    rng.shuffle(said)
    return tuple(s[0].upper() + s[1:] + "." for s in said[:most])
