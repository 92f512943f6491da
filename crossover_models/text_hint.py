"""Where somebody says the robot is: levels and places named in a sentence such as "near the kitchen on floor two"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.estimate import LevelKey
from crossover_models.level_names import LocalizerError
from crossover_models.map_source import PlaceOutline
from crossover_models.places import PlaceMap

Array = NDArray[np.float64]
_CARDINALS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_ORDINALS = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
]
_FLOOR = r"(?:floor|level|storey|story)"
_NUMBER = rf"\d{{1,3}}|{'|'.join(_CARDINALS)}"
_NTH = rf"\d{{1,3}}(?:st|nd|rd|th)|{'|'.join(_ORDINALS)}"
_NUMBERED = re.compile(rf"\b(?:(?P<nth>{_NTH})\s+{_FLOOR}|{_FLOOR}\s+(?:number\s+|no\.?\s*)?(?P<number>{_NUMBER}))\b")
_GROUND, _TOP = re.compile(rf"\bground\s+{_FLOOR}\b"), re.compile(rf"\b(?:top|uppermost)\s+{_FLOOR}\b")
_BASEMENT = re.compile(r"\b(?:basement|cellar)\b")
_NEAR = re.compile(r"\b(?:near(?:by)?|close to|next to|beside|by|outside|opposite|in front of|not far from|around)\b")
Group = list[tuple[LevelKey, str]]
# Probability that people name the wrong level or place.
WRONG = 0.02
# How far from a place people say that they are in it, and near it, m.
IN_M, NEAR_M = 1.0, 4.0


@dataclass(frozen=True)
class TextHint:
    """What a sentence names of a map.

    Attributes:
        levels: named; none for any.
        places: named by their name, or by their category where no name is said; none for any.
        near: the robot is near one of them and not inside.
    """

    levels: tuple[LevelKey, ...]
    places: tuple[PlaceOutline, ...]
    near: bool

    @property
    def says_something(self) -> bool:
        """Whether a level or a place was recognized."""
        return bool(self.levels or self.places)

    def log_likelihood(self, places: PlaceMap, levels: Sequence[LevelKey], poses: Array) -> Array:
        """(H,) of the sentence for a robot at poses (H, 3), in nats against the best pose there could be."""
        out = np.zeros(len(poses))
        reach_m = NEAR_M if self.near else IN_M
        for k, (level, pose) in enumerate(zip(levels, poses, strict=True)):
            if self.levels and level not in self.levels:
                out[k] += np.log(WRONG)
            if self.places:
                away_m = min(places.distance_m(place, level, pose[:2]) for place in self.places)
                out[k] += np.log((1.0 - WRONG) * np.exp(-0.5 * (away_m / reach_m) ** 2) + WRONG)
        return out


def parse_text_hint(text: str, levels: Mapping[LevelKey, str], places: Sequence[PlaceOutline]) -> TextHint:
    """Find the levels (key -> name, from the lowest up) and places that a sentence names.

    Levels have the number in their name, or else in their id. Where none has any, floors are counted as in American
    English: the first one is at ground level.

    Raises:
        LocalizerError: the sentence names a floor that no building of the map has.
    """
    said = " ".join(text.lower().split())
    found, said = _levels(said, levels)
    candidates = [place for place in places if not found or place.key in found]
    named = _named(said, candidates, lambda place: place.name) or _named(said, candidates, lambda p: p.category)
    return TextHint(found, named, bool(named and _NEAR.search(said)))


def _levels(said: str, levels: Mapping[LevelKey, str]) -> tuple[tuple[LevelKey, ...], str]:
    """Levels named, and the sentence without what named them."""
    for key, name in sorted(levels.items(), key=lambda item: -len(item[1])):
        for word in (name.lower(), key.level_id.lower()):
            whole = re.compile(rf"(?<![\w.]){re.escape(word)}(?![\w.])")
            if len(word) > 1 and not word.isdigit() and whole.search(said):
                same = tuple(k for k, n in levels.items() if word in (n.lower(), k.level_id.lower()))
                return same, whole.sub(" ", said)
    for pattern, choose in ((_GROUND, _ground), (_TOP, _top), (_BASEMENT, _basement)):
        if pattern.search(said):
            return _chosen(pattern, said, levels, choose)
    match = _NUMBERED.search(said)
    if match is None:
        return (), said
    word = match["nth"] or match["number"]
    digits = re.match(r"\d+", word)
    number = int(digits[0]) if digits else (_ORDINALS if word in _ORDINALS else _CARDINALS).index(word) + 1
    return _chosen(_NUMBERED, said, levels, lambda group: _numbered(group, number))


def _chosen(
    pattern: re.Pattern[str], said: str, levels: Mapping[LevelKey, str], choose: Callable[[Group], Group]
) -> tuple[tuple[LevelKey, ...], str]:
    """What ``choose`` picks of each building's levels."""
    groups: dict[str, Group] = {}
    for key, name in levels.items():
        groups.setdefault(key.building_id, []).append((key, name))
    found = tuple(key for group in groups.values() for key, _ in choose(group))
    match = pattern.search(said)
    if not found and match is not None:
        held = ", ".join(f"{key.building_id}/{key.level_id} ({name})" for key, name in levels.items())
        raise LocalizerError(f"text_hint: the map has no {match[0]}; it holds {held}")
    return found, pattern.sub(" ", said)


def _numbered(group: Group, number: int) -> Group:
    by_name = [entry for entry in group if str(number) in _numbers(entry)]
    if by_name or any(_numbers(entry) for entry in group):
        return by_name
    above = [entry for entry in group if not _is_below(entry)]
    return above[number - 1 : number] if number > 0 else _ground(group)


def _ground(group: Group) -> Group:
    by_name = [entry for entry in group if "ground" in entry[1].lower() or "0" in _numbers(entry)]
    return by_name or [entry for entry in group if not _is_below(entry)][:1]


def _top(group: Group) -> Group:
    return group[-1:]


def _basement(group: Group) -> Group:
    return [entry for entry in group if _is_below(entry)]


def _is_below(entry: tuple[LevelKey, str]) -> bool:
    words = f"{entry[0].level_id} {entry[1]}".lower()
    return bool(re.search(r"basement|cellar|underground|(?<![\w.])-\d|\bb\d\b", words))


def _numbers(entry: tuple[LevelKey, str]) -> set[str]:
    """Whole numbers in a level's name and, if there are none, in its id."""
    for words in (entry[1], entry[0].level_id):
        found = {str(int(digits)) for digits in re.findall(r"(?<![\d.-])\d{1,3}(?![\d.])", words)}
        if found:
            return found
    return set()


def _named(
    said: str, places: Sequence[PlaceOutline], words_of: Callable[[PlaceOutline], str]
) -> tuple[PlaceOutline, ...]:
    """Places one of whose words is said; the longest one said wins ("meeting room" before "room")."""
    best: list[PlaceOutline] = []
    length = 0
    for place in places:
        word = " ".join(words_of(place).lower().replace("_", " ").split())
        if not word or not re.search(rf"(?<![\w.]){re.escape(word)}s?(?![\w.])", said):
            continue
        if len(word) > length:
            best, length = [], len(word)
        if len(word) == length:
            best.append(place)
    return tuple(best)
