"""Small things about the house: where they rest, what they keep off, and that they change nothing else."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from crossover_models.building import Mesh
from crossover_models.simulation.cad import open_library
from crossover_models.simulation.clutter import ON, ON_FLOOR
from crossover_models.simulation.furniture import (
    CATEGORIES,
    LOOSE_CATEGORIES,
    furniture_mesh,
    furniture_size,
    split_of_model,
)
from crossover_models.simulation.navigation import DrivableGround
from crossover_models.simulation.procedural import generate_building
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.repaint import repainted
from crossover_models.simulation.room_types import ROOM_TYPES
from crossover_models.simulation.shapes import MeshBuilder
from crossover_models.simulation.support import heights, resting_height


@functools.lru_cache(maxsize=8)
def building(seed, clutter=1.0, finishes=False, split="train"):
    library = open_library("parametric") if clutter else None
    return generate_building(seed, levels=1, split=split, clutter=clutter, finishes=finishes, library=library)


def places():
    for seed in range(4):
        tidy, full = building(seed, 0.0).levels[0], building(seed).levels[0]
        for before, after in zip(tidy.places, full.places, strict=True):
            yield full, after, len(before.furnishings)


def test_the_furniture_itself_stays_and_things_come_on_top():
    more = 0
    for _, place, count in places():
        more += len(place.furnishings) - count
        assert len({f.object_id for f in place.furnishings}) == len(place.furnishings)
    assert more > 60
    for seed in range(2):
        a, b = building(seed, 0.0).levels[0], generate_building(seed, levels=1).levels[0]
        assert np.array_equal(a.structure.vertices, b.structure.vertices)
        for p, q in zip(a.places, building(seed).levels[0].places, strict=True):
            assert p.text == q.text
            assert [f.category for f in p.furnishings] == [f.category for f in q.furnishings[: len(p.furnishings)]]


def test_nothing_floats_nothing_pokes_through_walls():
    for _, place, count in places():
        scene = RayScene([f.mesh for f in place.furnishings[:count]]) if count else None
        low, high = place.polygon.min(axis=0), place.polygon.max(axis=0)
        for thing in place.furnishings[count:]:
            a, b = thing.mesh.vertices.min(axis=0), thing.mesh.vertices.max(axis=0)
            assert (a[:2] > low).all() and (b[:2] < high).all(), thing.object_id
            if a[2] < 1e-3:
                assert thing.category in ON_FLOOR[place.category]
                continue
            assert scene is not None
            middle = np.array([[*thing.T_map_object[:2, 3], a[2] + 0.01]])
            distance, _ = scene.cast(middle, np.array([[0.0, 0.0, -1.0]]))
            assert distance[0] < 0.02, f"{thing.object_id} floats"


def test_things_keep_off_each_other():
    for _, place, count in places():
        things = place.furnishings[count:]
        spans = [(t.mesh.vertices.min(axis=0), t.mesh.vertices.max(axis=0)) for t in things]
        for i, (low, high) in enumerate(spans):
            for j, (low_j, high_j) in enumerate(spans[:i]):
                inner = np.minimum(high, high_j) - np.maximum(low, low_j)
                # Bounding boxes of turned things may touch where the things do not.
                assert inner.min() < 0.12, (things[i].object_id, things[j].object_id)


def test_the_way_stays_free():
    for seed in range(4):
        level = building(seed).levels[0]
        ground = DrivableGround(level.plan, [f.mesh for p in level.places for f in p.furnishings], 0.25)
        label = ground.main_region()
        for door in level.doors:
            assert ground.label_at(door.segment.mean(axis=0)) == label, "a door is blocked"


def test_the_same_seed_gives_the_same_things_from_the_splits_models():
    for split in ("train", "test"):
        twice = [
            generate_building(1, levels=1, split=split, clutter=0.7, library=open_library("parametric"))
            for _ in range(2)
        ]
        for p, q in zip(twice[0].levels[0].places, twice[1].levels[0].places, strict=True):
            assert [f.object_id for f in p.furnishings] == [f.object_id for f in q.furnishings]
            assert all(
                np.array_equal(f.mesh.vertices, g.mesh.vertices)
                for f, g in zip(p.furnishings, q.furnishings, strict=True)
            )
            for f in p.furnishings:
                assert split_of_model(int(f.model_id.rsplit("/", 1)[1])) == split
    with pytest.raises(ValueError, match="clutter"):
        generate_building(0, clutter=1.5)


def test_the_tables_name_what_exists():
    assert set(ON) <= set(CATEGORIES) and set(ON_FLOOR) <= set(ROOM_TYPES)
    for options in (*ON.values(), *ON_FLOOR.values()):
        assert set(options) <= {*CATEGORIES, *LOOSE_CATEGORIES}


@pytest.mark.parametrize("category", LOOSE_CATEGORIES)
def test_small_models_are_solids_of_a_sane_size(category):
    for index in range(6):
        mesh, size = furniture_mesh(category, index), furniture_size(category, index)
        assert mesh.vertices[:, 2].min() == pytest.approx(0.0, abs=1e-6)
        assert min(size) > 0.005 and max(size) < 1.6
        assert np.allclose(mesh.vertices[:, :2].min(axis=0), -mesh.vertices[:, :2].max(axis=0), atol=1e-4)


def two_boards() -> Mesh:
    b = MeshBuilder()
    for z in (0.5, 1.0):
        b.box((-0.5, -0.5, z), (0.5, 0.5, z + 0.02), (1, 2, 3))
    return b.mesh()


def square(x, y, half):
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    return corners + np.array([x, y])


def test_plumb_lines_meet_planted_boards():
    # Off the diagonals along which the boards are cut into triangles.
    on, off = heights(two_boards(), np.array([[0.1, 0.2], [0.7, 0.0]]))
    assert np.allclose(on, [0.5, 0.52, 1.0, 1.02]) and len(off) == 0


def test_things_rest_on_the_nearest_board_that_has_room():
    mesh = two_boards()
    assert resting_height(mesh, square(0.1, 0.2, 0.1), 0.3, 0.55) == pytest.approx(0.52)
    assert resting_height(mesh, square(0.1, 0.2, 0.1), 0.3, 0.9) == pytest.approx(1.02)
    # Too tall for below the upper board.
    assert resting_height(mesh, square(0.1, 0.2, 0.1), 0.6, 0.55) == pytest.approx(1.02)
    # Beside, too far away, or mostly over the edge.
    assert resting_height(mesh, square(0.8, 0.0, 0.1), 0.3, 0.5) is None
    assert resting_height(mesh, square(0.1, 0.2, 0.1), 0.3, 3.0) is None
    assert resting_height(mesh, square(0.45, 0.45, 0.3), 0.3, 1.0) is None


def test_finishes_add_paint_and_boards_but_move_nothing():
    plain, finished = building(2, 0.0).levels[0], building(2, 0.0, True).levels[0]
    assert len(finished.structure.faces) > len(plain.structure.faces)
    assert np.array_equal(plain.plan.occupancy, finished.plan.occupancy)
    for p, q in zip(plain.places, finished.places, strict=True):
        assert all(
            np.array_equal(f.mesh.vertices, g.mesh.vertices) for f, g in zip(p.furnishings, q.furnishings, strict=True)
        )


def test_repainting_keeps_shape_and_which_faces_belong_together():
    mesh = furniture_mesh("sofa", 3)
    colors, group = np.unique(mesh.face_colors, axis=0, return_inverse=True)
    changed = 0
    for seed in range(6):
        other = repainted(mesh, np.random.default_rng(seed))
        assert np.array_equal(other.vertices, mesh.vertices) and np.array_equal(other.faces, mesh.faces)
        for k in range(len(colors)):
            assert len(np.unique(other.face_colors[group.reshape(-1) == k], axis=0)) == 1
        changed += not np.array_equal(other.face_colors, mesh.face_colors)
    assert changed == 6
    bare = Mesh(mesh.vertices, mesh.faces)
    assert repainted(bare, np.random.default_rng(0)) is bare
