"""Buildings of our own making: unlimited, furnished, several storeys, a pure function of their seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import box as shapely_box
from shapely.ops import unary_union

from crossover_models.building import Building, Door, Level, Lift, Place
from crossover_models.simulation.cad.dresser import Dresser
from crossover_models.simulation.cad.library import FurnitureLibrary
from crossover_models.simulation.clutter import clutter_pieces
from crossover_models.simulation.furnish import Placed, furnish_room, furnishing
from crossover_models.simulation.furniture import SPLITS, FurnitureError
from crossover_models.simulation.layout import INTERIOR_HALF_M, Layout, LayoutError
from crossover_models.simulation.skeleton import Skeleton, draw_layout, draw_skeleton, varied
from crossover_models.simulation.structure import floor_plan, structure_mesh
from crossover_models.simulation.wording import describe, referrals

_ATTEMPTS = 20


def generate_building(
    seed: int,
    *,
    split: str = "train",
    levels: int = 2,
    rooms_per_level: int = 7,
    building_id: str | None = None,
    kind: str = "",
    library: FurnitureLibrary | None = None,
    clutter: float = 0.0,
    finishes: bool = False,
) -> Building:
    """A simulated building with ``rooms_per_level`` rooms and a corridor on each of ``levels`` storeys.

    Furniture comes only from the model pool of ``split``; layouts of different splits are told apart by the seed's
    stream, so a seed gives different buildings in different splits. ``kind`` is "office", "home", "mixed" or drawn.

    Args:
        seed: decides everything, together with the other arguments.
        split: of the furniture models.
        levels: storeys.
        rooms_per_level: rooms beside the corridor.
        building_id: name; drawn from seed and split by default.
        kind: of building.
        library: whose models stand in the pieces' boxes; None for the parametric models themselves.
        clutter: share of surfaces with small things on them; 0 for tidy rooms.
        finishes: skirting boards, and walls of another color within a room.

    Raises:
        ValueError: an unknown split, fewer than 3 rooms, no level or a share that is none.
    """
    if split not in SPLITS:
        raise FurnitureError(f"split: must be one of {', '.join(SPLITS)}, got {split!r}")
    if levels < 1 or rooms_per_level < 3:
        raise ValueError(f"levels, rooms_per_level: need at least 1 and 3, got {levels} and {rooms_per_level}")
    if not 0.0 <= clutter <= 1.0:
        raise ValueError(f"clutter: must be in 0..1, got {clutter}")
    rng = np.random.default_rng([seed, SPLITS.index(split), 20250215])
    # Streams of their own, so that walls and pieces are the same whatever stands in for them.
    dressing = np.random.default_rng([seed, SPLITS.index(split), 20250216])
    painter = np.random.default_rng([seed, SPLITS.index(split), 20250217]) if finishes else None
    base, first = _first_layout(rng, rooms_per_level, kind, lift=levels > 1)
    made: list[Level] = []
    elevation = 0.0
    for number in range(1, levels + 1):
        layout = first if number == 1 else _next_layout(base, rng)
        furniture = _Furniture(library, clutter, dressing)
        made.append(_level(layout, number, elevation, split, rng, furniture, painter))
        elevation += round(layout.height_m + 0.4, 2)
    name = building_id if building_id is not None else f"sim_{split}_{seed}"
    return Building(name, tuple(made), f"simulated: procedural, seed {seed}, split {split}")


def _first_layout(rng: np.random.Generator, rooms: int, kind: str, lift: bool) -> tuple[Skeleton, Layout]:
    for _ in range(_ATTEMPTS):
        skeleton = draw_skeleton(rng, rooms, kind=kind, lift=lift)
        try:
            layout, skeleton = draw_layout(skeleton, rng)
        except LayoutError:
            continue
        if _sane(layout):
            return skeleton, layout
    raise LayoutError(f"rooms_per_level: no layout with {rooms} rooms found in {_ATTEMPTS} attempts")


def _next_layout(base: Skeleton, rng: np.random.Generator) -> Layout:
    for _ in range(_ATTEMPTS):
        try:
            layout, _skeleton = draw_layout(varied(base, rng), rng)
        except LayoutError:
            continue
        if _sane(layout):
            return layout
    return draw_layout(base, rng)[0]


def _sane(layout: Layout) -> bool:
    """No room is a slit."""
    return all(
        min(x1 - x0, y1 - y0) >= (1.2 if len(room.rects) > 1 else 1.5)
        for room in layout.rooms
        for x0, y0, x1, y1 in room.rects
    )


def room_polygon(layout: Layout, room: int) -> NDArray[np.float64]:
    """(N, 2) outline of a room between its walls' faces, counter-clockwise, not closed."""
    union = unary_union([shapely_box(*rect) for rect in layout.rooms[room].rects])
    inner = union.buffer(-INTERIOR_HALF_M, join_style="mitre")
    outline = np.asarray(inner.simplify(1e-6).exterior.coords, dtype=np.float64)[:-1]
    area = 0.5 * np.sum(outline[:, 0] * np.roll(outline[:, 1], -1) - np.roll(outline[:, 0], -1) * outline[:, 1])
    return outline if area > 0 else outline[::-1].copy()


@dataclass(frozen=True)
class _Furniture:
    """What stands in the pieces' boxes and lies about on them."""

    library: FurnitureLibrary | None
    clutter: float
    rng: np.random.Generator


def _level(
    layout: Layout,
    number: int,
    elevation_m: float,
    split: str,
    rng: np.random.Generator,
    furniture: _Furniture,
    painter: np.random.Generator | None,
) -> Level:
    structure = structure_mesh(layout, rng, painter)
    plan = floor_plan(layout)
    order = sorted(range(len(layout.rooms)), key=lambda i: (i == layout.lift, i == 0, _center(layout, i)))
    places: list[Place] = []
    for position, room in enumerate(order, start=1):
        placed = furnish_room(layout, room, split, rng)
        if room != layout.lift:
            places.append(_place(layout, room, f"{number}.{position:02d}", number, placed, rng, furniture, split))
    doors = tuple(_door(o.wall.axis, o.wall.at, o.low, o.high, o.kind) for o in layout.openings if o.kind != "window")
    lifts = () if layout.lift < 0 else (Lift("Lift A", np.array(_center(layout, layout.lift))),)
    return Level(
        f"L{number}", f"Level {number}", elevation_m, layout.height_m, plan, tuple(places), structure, doors, lifts
    )


def _center(layout: Layout, room: int) -> tuple[float, float]:
    x0, y0, x1, y1 = layout.rooms[room].rects[0]
    return (x0 + x1) / 2, (y0 + y1) / 2


def _door(axis: int, at: float, low: float, high: float, kind: str) -> Door:
    ends = [[low, at], [high, at]] if axis == 0 else [[at, low], [at, high]]
    return Door(np.array(ends, dtype=np.float64), kind)


def _place(
    layout: Layout,
    room: int,
    number: str,
    level: int,
    placed: list[Placed],
    rng: np.random.Generator,
    furniture: _Furniture,
    split: str,
) -> Place:
    category = layout.rooms[room].category
    place_id = f"L{level}_{number.split('.')[1]}"
    seen: Counter[str] = Counter()
    pieces, headings = [], {}
    dresser = None if furniture.library is None else Dresser(furniture.library, split, furniture.rng)
    for item in placed:
        seen[item.member.category] += 1
        object_id = f"{place_id}/{item.member.category.replace(' ', '_')}_{seen[item.member.category]}"
        pieces.append(furnishing(item, object_id, dresser))
        headings[object_id] = float(item.T_map_model[2])
    windows = sum(o.kind == "window" and room in (o.wall.below, o.wall.above) for o in layout.openings)
    doors = len(layout.doors_of(room))
    area = layout.rooms[room].area_m2
    text = (describe(category, area, pieces, windows, doors, rng), *referrals(pieces, headings, rng))
    name = f"{category.capitalize()} {number}"
    outline = room_polygon(layout, room)
    if furniture.clutter > 0:
        openings = [_door(o.wall.axis, o.wall.at, o.low, o.high, o.kind) for o in layout.doors_of(room)]
        pieces += clutter_pieces(
            pieces, category, outline, openings, furniture.clutter, split, furniture.library, furniture.rng, place_id
        )
    return Place(place_id, name, category, outline, text, furnishings=tuple(pieces))
