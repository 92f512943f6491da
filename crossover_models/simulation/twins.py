"""Buildings of look-alikes: storeys that are copies of each other down to the last chair."""

from __future__ import annotations

from dataclasses import replace

from crossover_models.building import Building, Furnishing, Level, Place
from crossover_models.simulation.procedural import generate_building


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


def twin_places(building: Building) -> dict[str, tuple[str, ...]]:
    """Place id -> ids of the places that look the same, for a building of :func:`generate_twin_building`."""
    rows = [[place.place_id for place in level.places] for level in building.levels]
    groups = list(zip(*rows, strict=True))
    return {own: tuple(other for other in group if other != own) for group in groups for own in group}


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
