"""Names of rooms and things in drawings, as people would say them, and what can be said of a place in words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

# The first category one of whose words occurs in a room's name; the more specific stand first.
_CATEGORIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("bathroom", ("bathroom", "bath", "toilet", "wc", "washroom", "restroom", "shower", "lavatory")),
    ("bedroom", ("bedroom", "master bedroom", "suite", "guest room", "dormitory")),
    ("living room", ("living room", "living", "family room", "sitting room")),
    ("kitchen", ("kitchen", "pantry", "kitchenette")),
    ("dining room", ("dining",)),
    ("restaurant", ("restaurant", "cafeteria", "canteen", "cafe")),
    ("meeting room", ("meeting room", "conference", "boardroom", "meeting")),
    ("waiting area", ("waiting",)),
    ("consulting room", ("consult", "consulting", "counselling", "counsel")),
    ("treatment room", ("treatment", "procedure", "negative air pressure", "operating")),
    ("nurse station", ("nurse",)),
    ("reception", ("reception", "counter", "front desk")),
    ("lobby", ("lobby", "atrium")),
    ("lift", ("lift", "elevator")),
    ("lounge", ("lounge",)),
    ("hallway", ("hallway", "corridor", "hall", "passage", "foyer", "entrance", "entry", "vestibule")),
    ("staircase", ("stair", "stairs", "stairwell", "staircase")),
    ("storage room", ("storage", "store", "supplies", "closet", "cleaning supplies", "depot", "hardware")),
    ("utility room", ("utility", "mechanical", "plant room", "maintenance", "technical", "electrical", "server")),
    ("laundry room", ("laundry",)),
    ("garage", ("garage", "carport")),
    ("shop", ("shop",)),
    ("library", ("library",)),
    ("laboratory", ("laboratory", "lab")),
    ("classroom", ("classroom", "lecture")),
    ("roof", ("roof", "attic")),
    ("office", ("office", "workspace", "cubicle")),
)
_NUMBERS = ("no", "a", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_SIZE = re.compile(r"\d+([.,]\d+)?\s*(x|mm|cm|m\b)", re.IGNORECASE)
# Qualifiers that say nothing of what a thing is.
_DULL = {"standard", "generic", "default", "basic", "single", "double", "wall", "normal", "main"}
_COLORS = {"black", "white", "grey", "gray", "blue", "red", "green", "yellow", "brown"}
_ABBREVIATIONS = {"rm": "room", "w": "with", "conf": "conference", "adj": "adjustable"}


def guess_category(name: str) -> str:
    """Room type of a name, lower case, or "" where it tells none."""
    words = f" {' '.join(spoken(name).lower().split())} "
    for category, keys in _CATEGORIES:
        if any(f" {key} " in words for key in keys):
            return category
    return ""


def category_by_things(things: Sequence[str]) -> str:
    """Room type that furniture alone gives away, "" where it does not."""
    words = {word for thing in things for word in thing.split()}
    if "bed" in words:
        return "bedroom"
    return "bathroom" if words & {"toilet", "shower", "bathtub"} else ""


def spoken(identifier: str) -> str:
    """An identifier in words.

    ``L1_left_consult_rm_3`` -> ``L1 left consult room 3``, ``OfficeChairBlue`` -> ``Office Chair Blue``.
    """
    text = re.sub(r"[_\s]+", " ", identifier)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z]{3})(?=\d)", " ", text)
    return " ".join(_ABBREVIATIONS.get(word.lower(), word) for word in text.split())


def furniture_category(type_name: str) -> str:
    """What a piece of furniture is, from the name a CAD family gives it; "" if nothing is left.

    ``M_Table-Coffee:0610 x 0610 x 0610mm`` -> ``coffee table``; ``OpenRobotics/OfficeChairBlack2`` -> ``black office
    chair``.
    """
    family = type_name.split(":")[0].rsplit("/", 1)[-1]
    family = re.sub(r"^M_", "", family)
    family = re.sub(r"\([^)]*\)|\b\d[\d.,]*\s*(x|mm|cm)\b.*", " ", family)
    head, _, qualifier = family.partition("-")
    words = [word for word in spoken(head).lower().split() if not word.isdigit()]
    if len(words) > 1 and words[0] in _DULL:
        words = words[1:]
    if len(words) > 1 and words[-1] in _COLORS:
        words = [words[-1], *words[:-1]]
    extra = [word for word in spoken(qualifier).lower().split() if word.isalpha()]
    if "sink" in extra and "sink" not in words:
        words += ["with", "sink"]
    elif len(words) == 1 and len(extra) == 1 and extra[0] not in _DULL and not _SIZE.search(qualifier):
        words = extra + words
    phrase = re.sub(r"\s+\d+$", "", " ".join(words)).strip()
    return phrase.removesuffix(" hole")


def describe_place(
    name: str,
    category: str,
    level_name: str,
    area_m2: float,
    things: Sequence[str],
    neighbors: Sequence[str] = (),
    remarks: Sequence[str] = (),
) -> tuple[str, ...]:
    """Sentences about a place: what and where it is, what stands in it, where its doors lead; only what is known."""
    kind = f", {_article(category)}," if category and category not in name.lower() else ""
    sentences = [f"{name}{kind} on {level_name}, {_area(area_m2)}."]
    counts = Counter(thing for thing in things if thing)
    if counts:
        items = [_counted(thing, count) for thing, count in counts.most_common()]
        sentences.append(f"It holds {_listed(items)}.")
    if neighbors:
        sentences.append(f"A door leads to {_listed(list(dict.fromkeys(neighbors)))}.")
    sentences.extend(remarks)
    return tuple(sentences)


def identifier(text: str, taken: set[str] | None = None) -> str:
    """Letters, digits, ``_``, ``.`` and ``-`` of a name; with ``taken``, made unique among and added to those."""
    base = re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("_") or "unnamed"
    if taken is None:
        return base
    unique, number = base, 2
    while unique in taken:
        unique, number = f"{base}_{number}", number + 1
    taken.add(unique)
    return unique


def _area(area_m2: float) -> str:
    count = max(1, round(area_m2))
    return f"about {count} square meter{'s' if count > 1 else ''}"


def _article(phrase: str) -> str:
    vowel = phrase[:1] in tuple("aeio") or (phrase[:1] == "u" and not phrase.startswith(("uni", "uti", "use")))
    return ("an " if vowel else "a ") + phrase


def _counted(thing: str, count: int) -> str:
    if count == 1:
        return _article(thing)
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    head, separator, rest = thing.partition(" with ")
    ending = "ves" if head.endswith("shelf") else "es" if head.endswith(("s", "x", "ch", "sh")) else "s"
    stem = head[:-1] if head.endswith("shelf") else head
    return f"{number} {stem}{ending}{separator}{rest}"


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
