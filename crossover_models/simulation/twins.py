"""Buildings of look-alikes: storeys or rooms that are copies of each other down to the last chair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crossover_models.building import Building, Door, Furnishing, Level, Mesh, Place
from crossover_models.geometry import compose_se2
from crossover_models.simulation import palette
from crossover_models.simulation.furnish import Placed, furnish_room, furnishing
from crossover_models.simulation.layout import (
    DOOR_HEIGHT_M,
    DOOR_WIDTH_M,
    Layout,
    LayoutRoom,
    Opening,
    Rect,
    find_walls,
)
from crossover_models.simulation.procedural import generate_building, room_polygon
from crossover_models.simulation.structure import floor_plan, structure_mesh

_CORRIDOR_M = 2.0


def generate_twin_building(seed: int, *, rooms_per_level: int = 6, levels: int = 2) -> Building:
    """A simulated building whose storeys are exact copies: plan, furniture, paint. Only names tell them apart.

    Nothing that a robot senses can say on which it is; what it should say is "one of these".
    """
    one = generate_building(
        seed, split="test", levels=1, rooms_per_level=rooms_per_level, building_id=f"sim_twins_{seed}"
    )
    first = one.levels[0]
    copies = [first]
    for number in range(2, levels + 1):
        copies.append(_copy(first, number))
    return replace(
        one, levels=tuple(copies), source=f"simulated: twins, seed {seed}, {levels} storeys that are copies of one"
    )


def generate_twin_rooms(seed: int, *, pairs: int = 3, category: str = "") -> Building:
    """A simulated storey of equal rooms on both sides of a corridor, as in a hotel: copies shifted or half turned.

    Paint, furniture, door and window are the same in all of them; from inside, only what is seen through the door and
    the way driven can tell two apart.

    Raises:
        ValueError: no pair of rooms.
    """
    if pairs < 1:
        raise ValueError(f"pairs: need at least 1, got {pairs}")
    rng = np.random.default_rng([seed, 20250218])
    name = category or str(rng.choice(["bedroom", "office", "meeting room"]))
    width, depth = round(rng.uniform(3.6, 4.8), 2), round(rng.uniform(4.0, 5.2), 2)
    layout = _row_layout(name, pairs, width, depth, rng)
    one = furnish_room(layout, 1, "test", rng)
    lobby = furnish_room(layout, 0, "test", rng)
    structure = _painted_alike(layout, int(rng.integers(1 << 30)))
    places = [_room(layout, index, _copies(one, index, width)) for index in range(1, len(layout.rooms))]
    places.append(_room(layout, 0, lobby))
    doors = tuple(
        Door(np.array([[o.low, o.wall.at], [o.high, o.wall.at]]), "door") for o in layout.openings if o.kind == "door"
    )
    level = Level("L1", "Level 1", 0.0, layout.height_m, floor_plan(layout), tuple(places), structure, doors)
    return Building(
        f"sim_twin_rooms_{seed}", (level,), f"simulated: twins, seed {seed}, {2 * pairs} rooms that are copies"
    )


def twin_places(building: Building) -> dict[str, tuple[str, ...]]:
    """Place id -> ids of the places that look the same, for a building of this module; nothing for a corridor alone."""
    if len(building.levels) == 1:
        rooms = [p.place_id for p in building.levels[0].places if p.category != "corridor"]
        return {own: tuple(other for other in rooms if other != own) for own in rooms}
    rows = [[place.place_id for place in level.places] for level in building.levels]
    groups = list(zip(*rows, strict=True))
    return {own: tuple(other for other in group if other != own) for group in groups for own in group}


def _row_layout(category: str, pairs: int, width: float, depth: float, rng: np.random.Generator) -> Layout:
    """Corridor 0 along x; room 1 is the first above it, rooms of even number lie below."""
    rooms = [LayoutRoom("corridor", ((0.0, 0.0, round(pairs * width, 2), _CORRIDOR_M),))]
    for k in range(pairs):
        x0, x1 = round(k * width, 2), round((k + 1) * width, 2)
        above: Rect = (x0, _CORRIDOR_M, x1, _CORRIDOR_M + depth)
        below: Rect = (x0, -depth, x1, 0.0)
        rooms += [LayoutRoom(category, (above,)), LayoutRoom(category, (below,))]
    walls = find_walls(tuple(rooms))
    door_at, pane_at = rng.uniform(0.35, width - 0.35 - DOOR_WIDTH_M), rng.uniform(0.6, width - 2.2)
    pane = round(rng.uniform(1.0, 1.5), 2)
    openings = []
    for index in range(1, len(rooms)):
        x0, _, x1, _ = rooms[index].rects[0]
        inner = next(w for w in walls if {w.below, w.above} == {0, index})
        outer = next(w for w in walls if w.axis == 0 and w is not inner and index in (w.below, w.above))
        for wall, start, length, sill, head, kind in (
            (inner, door_at, DOOR_WIDTH_M, 0.0, DOOR_HEIGHT_M, "door"),
            (outer, pane_at, pane, 0.9, 2.1, "window"),
        ):
            low = x0 + start if index % 2 else x1 - start - length
            openings.append(Opening(wall, round(low, 3), round(low + length, 3), sill, head, kind))
    return Layout(tuple(rooms), walls, tuple(openings), round(rng.uniform(2.6, 2.9), 2))


def _copies(one: list[Placed], index: int, width: float) -> list[Placed]:
    """The first room's pieces where the ``index``-th room has them."""
    k = (index - 1) // 2
    T_map_first = np.array([k * width, 0.0, 0.0])
    if index % 2 == 0:
        # Turned about the middle of the corridor beside the two rooms.
        T_map_first = np.array([(2 * k + 1) * width - k * width, _CORRIDOR_M, np.pi])
    return [replace(p, T_map_model=compose_se2(T_map_first, p.T_map_model)) for p in one]


def _room(layout: Layout, index: int, placed: list[Placed]) -> Place:
    category, place_id = layout.rooms[index].category, f"L1_{index:02d}"
    pieces = []
    for number, item in enumerate(placed, start=1):
        pieces.append(furnishing(item, f"{place_id}/{item.member.category.replace(' ', '_')}_{number}"))
    name = f"{category.capitalize()} 1.{index:02d}"
    return Place(place_id, name, category, room_polygon(layout, index), furnishings=tuple(pieces))


def _painted_alike(layout: Layout, seed: int) -> Mesh:
    """The structure with all rooms but the corridor in the first one's paint and floor."""
    mesh = structure_mesh(layout, np.random.default_rng(seed))
    assert mesh.face_colors is not None
    # The same draws again tell which color belongs to which room.
    rng = np.random.default_rng(seed)
    paints = np.array([palette.paint(rng) for _ in layout.rooms], dtype=np.uint8)
    colors = mesh.face_colors.copy()
    corners = mesh.vertices[mesh.faces]
    floor = np.abs(corners[:, :, 2]).max(axis=1) < 1e-6
    middle = corners.mean(axis=1)
    own = np.array([layout.room_at(float(x), float(y)) for x, y in middle[:, :2]])
    first = np.flatnonzero(floor & (own == 1))
    for index in range(2, len(layout.rooms)):
        colors[(mesh.face_colors == paints[index]).all(axis=1)] = paints[1]
    colors[floor & (own > 1)] = mesh.face_colors[first[0]]
    return Mesh(mesh.vertices, mesh.faces, colors)


def _copy(level: Level, number: int) -> Level:
    """The storey again, with ids and names of its own."""

    def place(p: Place) -> Place:
        own = p.place_id.replace("L1_", f"L{number}_", 1)

        def piece(f: Furnishing) -> Furnishing:
            return replace(f, object_id=f.object_id.replace(p.place_id, own, 1))

        name = p.name.replace(" 1.", f" {number}.", 1)
        return replace(p, place_id=own, name=name, furnishings=tuple(piece(f) for f in p.furnishings))

    return replace(
        level,
        level_id=f"L{number}",
        name=f"Level {number}",
        elevation_m=round((number - 1) * (level.height_m + 0.4), 2),
        places=tuple(place(p) for p in level.places),
    )
