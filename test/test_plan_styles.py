"""Drawn floor plans: to scale where they should be, independent of the furniture's boxes, never twice the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossover_models.building import Level, Place
from crossover_models.dataset.plan_styles import STYLES, PlanStyleError, draw_plans
from crossover_models.dataset.plan_styles.symbols import draw_symbols
from crossover_models.dataset.scene import PlanDrawing
from crossover_models.dataset.scene_frame import T_scene_map, scene_origin
from crossover_models.floor_plan import OCCUPIED, FloorPlan
from crossover_models.simulation.procedural import generate_building

LEVEL = generate_building(3, levels=1).levels[0]
ROOM = max(LEVEL.places, key=lambda p: len(p.furnishings))
# Styles in which walls are drawn straight and dark on a light ground.
INK = ("line", "filled", "furnished", "unfurnished", "scale-bar")


def ink(plan: PlanDrawing) -> np.ndarray:
    """(N, 2) scene-frame positions of what is drawn."""
    grey = plan.image.astype(float) if plan.image.ndim == 2 else plan.image.mean(axis=2)
    rows, cols = np.nonzero(np.abs(grey - np.median(grey)) > 60)
    return (np.stack([cols, rows], axis=1) + 0.5) * plan.resolution_m + plan.origin_xy


def draw(style: str, seed: int = 0, level: Level = LEVEL, place: Place = ROOM) -> PlanDrawing:
    return draw_plans(level, place, np.random.default_rng(seed), [style])[0]


def test_the_scene_frame_is_the_map_shifted_to_the_rooms_middle() -> None:
    origin = scene_origin(ROOM)
    moved = T_scene_map(ROOM) @ np.array([*origin, 1.5, 1.0])
    np.testing.assert_allclose(moved, [0.0, 0.0, 1.5, 1.0], atol=1e-12)
    box = ROOM.polygon - origin
    np.testing.assert_allclose(box.min(axis=0), -box.max(axis=0), atol=1e-12)


@pytest.mark.parametrize("style", STYLES)
def test_every_style_draws_something_on_the_same_metres(style: str) -> None:
    plan = draw(style)
    assert plan.style == style and plan.image.dtype == np.uint8
    height, width = (n * plan.resolution_m for n in plan.image.shape[:2])
    size = np.ptp(ROOM.polygon, axis=0)
    # The room and half a metre to 2.4 m around it.
    assert size[0] + 0.9 < width < size[0] + 5.0 and size[1] + 0.9 < height < size[1] + 5.0
    assert len(ink(plan)) > 20


@pytest.mark.parametrize("style", INK)
def test_walls_are_where_the_plan_has_them_but_for_the_draftsmans_error(style: str) -> None:
    for seed in range(3):
        plan = draw(style, seed, place=_bare(ROOM), level=_bare_level())
        true = np.argwhere(LEVEL.plan.occupancy == OCCUPIED)
        walls = LEVEL.plan.position(true) - scene_origin(ROOM)
        low = np.array(plan.origin_xy)
        high = low + np.array(plan.image.shape[1::-1]) * plan.resolution_m
        inside = ((walls > low + 0.4) & (walls < high - 0.4)).all(axis=1)
        drawn = ink(plan)
        distance = np.array([np.min(np.hypot(*(drawn - w).T)) for w in walls[inside][::25]])
        # Windows are openings in the drawn wall.
        assert np.quantile(distance, 0.75) < 0.2, (style, seed)


def _bare(place: Place) -> Place:
    return replace(place, furnishings=())


def _bare_level() -> Level:
    return replace(LEVEL, places=tuple(_bare(p) for p in LEVEL.places))


def test_symbols_are_near_the_pieces_and_never_on_them() -> None:
    pieces = ROOM.furnishings
    offsets, counts = [], []
    for seed in range(12):
        outline = ROOM.polygon - scene_origin(ROOM)
        rooms = (outline,) * len(pieces)
        drawn = draw_symbols(pieces, rooms, scene_origin(ROOM), outline, np.random.default_rng(seed))
        low, high = outline.min(axis=0), outline.max(axis=0)
        assert all(((s.pose[:2] > low) & (s.pose[:2] < high)).all() for s in drawn), "nobody draws through a wall"
        counts.append(len(drawn))
        centers = np.array([(f.mesh.vertices[:, :2].min(0) + f.mesh.vertices[:, :2].max(0)) / 2 for f in pieces])
        centers -= scene_origin(ROOM)
        for symbol in drawn:
            offsets.append(float(np.min(np.hypot(*(centers - symbol.pose[:2]).T))))
    assert len(set(counts)) > 1, "some pieces are not drawn"
    assert 0.02 < np.median(offsets) < 0.4
    assert np.mean(np.array(offsets) < 0.005) < 0.05, "nobody draws a piece exactly where it stands"


def test_seeds_decide_and_nothing_else_does() -> None:
    for style in STYLES:
        first, again, other = draw(style, 1), draw(style, 1), draw(style, 2)
        np.testing.assert_array_equal(first.image, again.image)
        assert first.image.shape != other.image.shape or (first.image != other.image).any()


def test_styles_come_each_once_before_any_twice() -> None:
    plans = draw_plans(LEVEL, ROOM, np.random.default_rng(0), None, len(STYLES) + 2)
    names = [p.style for p in plans]
    assert set(names[: len(STYLES)]) == set(STYLES) and len(names) == len(STYLES) + 2


def test_a_level_that_is_only_a_raster_is_drawn_too() -> None:
    grid = np.full((80, 100), OCCUPIED, np.int8)
    grid[10:70, 10:90] = 0
    square = Place("p", "Room", "office", np.array([[0.5, 0.5], [4.5, 0.5], [4.5, 3.5], [0.5, 3.5]]))
    level = Level("L1", "Level 1", 0.0, 2.8, FloorPlan(grid, 0.05, (0.0, 0.0)), (square,))
    for style in STYLES:
        assert len(ink(draw(style, 0, level, square))) > 20, style


def test_unknown_styles_are_refused() -> None:
    with pytest.raises(PlanStyleError, match="got 'cubist'"):
        draw("cubist")
    with pytest.raises(PlanStyleError, match="count of at least 0"):
        draw_plans(LEVEL, ROOM, np.random.default_rng(0), None, -1)
