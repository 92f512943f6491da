"""The levels of a map by what people call them."""

from __future__ import annotations

from collections.abc import Mapping

from crossover_models.estimate import LevelKey


class LocalizerError(ValueError):
    """A request that cannot be carried out; the message names the field and its value."""


def select_levels(levels: Mapping[LevelKey, str], building: str, level: str) -> tuple[LevelKey, ...]:
    """Levels (key -> name) that a building and a level (id or name, any case; empty for all) select.

    Raises:
        LocalizerError: no such building or level.
    """
    wanted_building, wanted_level = building.strip().lower(), level.strip().lower()
    buildings = sorted({key.building_id for key in levels})
    if wanted_building and wanted_building not in (b.lower() for b in buildings):
        raise LocalizerError(f"building: {building!r} is not in the database; it holds {', '.join(buildings)}")
    selected = tuple(
        key
        for key, name in levels.items()
        if (not wanted_building or key.building_id.lower() == wanted_building)
        and (not wanted_level or wanted_level in (key.level_id.lower(), name.lower()))
    )
    if not selected:
        held = ", ".join(f"{key.building_id}/{key.level_id}" for key in levels)
        raise LocalizerError(f"level: {level!r} is not in the database; it holds {held}")
    return selected
