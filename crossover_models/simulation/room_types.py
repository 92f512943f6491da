"""Types of rooms: which kinds of buildings have them, how large they are, what stands in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

KINDS = ("office", "home", "mixed")


@dataclass(frozen=True)
class Step:
    """One thing to try to place: ``group`` of :mod:`crossover_models.simulation.groups`, how often, how likely."""

    group: str
    least: int = 1
    most: int = 1
    probability: float = 1.0


@dataclass(frozen=True)
class RoomType:
    """A type of room: usual area (m^2), weight by kind of building, most of one storey, furnishing in order."""

    area_m2: float
    office: float
    home: float
    most: int
    steps: tuple[Step, ...]


def _maybe(group: str, probability: float, most: int = 1) -> Step:
    return Step(group, 1, most, probability)


_WALLS = (_maybe("radiator", 0.7), _maybe("picture", 0.6, 3))

ROOM_TYPES: dict[str, RoomType] = {
    "bedroom": RoomType(
        16,
        0.0,
        3.0,
        3,
        (
            Step("bed"),
            Step("wardrobe"),
            _maybe("desk", 0.4),
            _maybe("cabinet", 0.4),
            _maybe("armchair", 0.3),
            _maybe("lamp", 0.35),
            _maybe("plant", 0.3),
            _maybe("mirror", 0.4),
            *_WALLS,
        ),
    ),
    "kitchen": RoomType(
        14,
        1.0,
        1.5,
        1,
        (
            Step("counter", 1, 2),
            Step("stove"),
            Step("fridge"),
            _maybe("kitchen sink", 0.5),
            Step("dining"),
            _maybe("cabinet", 0.4),
            _maybe("bin", 0.7),
            _maybe("plant", 0.2),
            *_WALLS,
        ),
    ),
    "living room": RoomType(
        24,
        0.0,
        2.0,
        1,
        (
            Step("sofa"),
            Step("tv stand"),
            _maybe("armchair", 0.7, 2),
            _maybe("bookshelf", 0.6, 2),
            _maybe("dining", 0.35),
            _maybe("cabinet", 0.4),
            _maybe("plant", 0.7, 2),
            _maybe("lamp", 0.7),
            *_WALLS,
        ),
    ),
    "dining room": RoomType(
        17, 0.0, 1.0, 1, (Step("dining"), _maybe("cabinet", 0.8, 2), _maybe("plant", 0.5), _maybe("lamp", 0.4), *_WALLS)
    ),
    "bathroom": RoomType(
        6,
        1.5,
        2.5,
        2,
        (
            Step("toilet"),
            Step("sink", 1, 2),
            _maybe("bathtub", 0.5),
            _maybe("shower", 0.5),
            _maybe("washing machine", 0.3),
            _maybe("bin", 0.5),
            _maybe("mirror", 0.8),
            _maybe("shelf", 0.2),
        ),
    ),
    "study": RoomType(
        12,
        0.3,
        1.2,
        1,
        (
            Step("desk"),
            Step("bookshelf", 1, 3),
            _maybe("armchair", 0.5),
            _maybe("lamp", 0.5),
            _maybe("plant", 0.4),
            _maybe("cabinet", 0.4),
            *_WALLS,
        ),
    ),
    "office": RoomType(
        15,
        4.0,
        0.0,
        4,
        (
            Step("desk", 1, 4),
            _maybe("bookshelf", 0.6, 2),
            _maybe("cabinet", 0.7, 2),
            _maybe("whiteboard", 0.5),
            _maybe("bin", 0.7),
            _maybe("plant", 0.4),
            _maybe("locker", 0.2),
            *_WALLS,
        ),
    ),
    "meeting room": RoomType(
        20,
        1.6,
        0.0,
        2,
        (
            Step("meeting"),
            Step("whiteboard"),
            _maybe("cabinet", 0.4),
            _maybe("tv stand", 0.4),
            _maybe("plant", 0.5),
            *_WALLS,
        ),
    ),
    "copy room": RoomType(
        8,
        0.8,
        0.0,
        1,
        (
            Step("copier", 1, 2),
            Step("shelf", 1, 2),
            _maybe("cabinet", 0.6),
            _maybe("bin", 0.8),
            _maybe("crate", 0.5),
            _maybe("counter", 0.3),
        ),
    ),
    "storage": RoomType(
        7,
        0.8,
        0.8,
        1,
        (
            Step("shelf", 1, 3),
            Step("crate", 1, 4),
            _maybe("locker", 0.3),
            _maybe("cabinet", 0.4),
            _maybe("washing machine", 0.1),
        ),
    ),
    "laundry room": RoomType(
        7,
        0.0,
        0.8,
        1,
        (
            Step("washing machine", 1, 2),
            _maybe("counter", 0.6),
            _maybe("sink", 0.6),
            _maybe("shelf", 0.6),
            _maybe("crate", 0.5),
        ),
    ),
    "lounge": RoomType(
        22,
        0.9,
        0.0,
        1,
        (
            Step("sofa", 1, 2),
            _maybe("armchair", 0.8, 3),
            _maybe("dining", 0.4),
            _maybe("plant", 0.9, 3),
            _maybe("bookshelf", 0.3),
            _maybe("tv stand", 0.3),
            _maybe("lamp", 0.5),
            *_WALLS,
        ),
    ),
    "reception": RoomType(
        18,
        0.7,
        0.0,
        1,
        (
            Step("reception desk"),
            _maybe("armchair", 0.9, 3),
            _maybe("sofa", 0.4),
            _maybe("plant", 0.9, 2),
            _maybe("cabinet", 0.4),
            *_WALLS,
        ),
    ),
    "classroom": RoomType(
        28,
        0.5,
        0.0,
        1,
        (
            Step("whiteboard"),
            Step("school desk", 3, 8),
            _maybe("cabinet", 0.5),
            _maybe("bookshelf", 0.4),
            _maybe("bin", 0.5),
            *_WALLS,
        ),
    ),
    "locker room": RoomType(
        11,
        0.5,
        0.0,
        1,
        (Step("locker", 2, 4), _maybe("sink", 0.4), _maybe("shower", 0.3), _maybe("bin", 0.5), _maybe("mirror", 0.5)),
    ),
    "corridor": RoomType(
        20,
        0.0,
        0.0,
        0,
        (
            _maybe("cabinet", 0.5),
            _maybe("plant", 0.5, 2),
            _maybe("bin", 0.4),
            _maybe("locker", 0.2),
            _maybe("crate", 0.2),
            _maybe("picture", 0.8, 4),
            _maybe("radiator", 0.4),
        ),
    ),
    "lift": RoomType(4, 0.0, 0.0, 0, (_maybe("mirror", 0.5),)),
}


def pick_category(kind: str, area_m2: float, used: Sequence[str], rng: np.random.Generator) -> str:
    """Draw a room type that suits an area, with fewer repetitions than chance."""
    names = [name for name, room in ROOM_TYPES.items() if room.most > 0]
    weights = []
    for name in names:
        room = ROOM_TYPES[name]
        wanted = {"office": room.office, "home": room.home, "mixed": room.office + room.home}[kind]
        fit = np.exp(-0.5 * (np.log(area_m2 / room.area_m2) / 0.35) ** 2)
        repeated = used.count(name)
        weights.append(wanted * fit * (0.6**repeated if repeated < room.most else 0.01) + 1e-9 * fit)
    p = np.asarray(weights)
    return names[int(rng.choice(len(names), p=p / p.sum()))]
