"""Simulated buildings: the same for the same seed, walls where the plan says, rooms that a robot can visit."""

import itertools
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from crossover_models.building import Building, Level
from crossover_models.floor_plan import FREE, OCCUPIED
from crossover_models.simulation.furniture import (
    CATEGORIES,
    SPLITS,
    WALL_MOUNTED,
    FurnitureError,
    draw_model,
    furniture_mesh,
    furniture_size,
    split_of_model,
)
from crossover_models.simulation.layout import DOOR_HEIGHT_M
from crossover_models.simulation.navigation import DrivableGround
from crossover_models.simulation.procedural import generate_building
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.skeleton import draw_layout, draw_skeleton
from crossover_models.simulation.structure import PANE, extruded_plan
from crossover_models.simulation.wording import referrals, relations

SEEDS = range(5)


@cache
def building(seed: int) -> Building:
    return generate_building(seed, split="test", levels=2)


def levels() -> list[Level]:
    return [level for seed in SEEDS for level in building(seed).levels]


def arrays(made: Building) -> list[np.ndarray]:
    out = []
    for level in made.levels:
        out += [level.plan.occupancy, level.structure.vertices, level.structure.face_colors]
        for place in level.places:
            out.append(place.polygon)
            out += [a for f in place.furnishings for a in (f.mesh.vertices, f.mesh.faces, f.mesh.face_colors)]
    return out


def test_equal_seeds_make_equal_buildings_bit_for_bit():
    one = generate_building(7, split="val")
    furniture_mesh.cache_clear()
    two = generate_building(7, split="val")
    for a, b in zip(arrays(one), arrays(two), strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b)
    assert [p.text for lv in one.levels for p in lv.places] == [p.text for lv in two.levels for p in lv.places]


def test_another_process_makes_the_same_building():
    script = (
        "import hashlib; from crossover_models.simulation.procedural import generate_building as g; "
        "b = g(7, levels=1); places = b.levels[0].places; "
        "h = hashlib.sha256(repr([(p.name, p.text, len(p.furnishings)) for p in places]).encode()); "
        "[h.update(f.mesh.vertices.tobytes()) for p in places for f in p.furnishings]; "
        "h.update(b.levels[0].plan.occupancy.tobytes()); print(h.hexdigest())"
    )
    digests = set()
    for hash_seed in ("1", "2"):
        path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        digests.add(done.stdout)
    assert len(digests) == 1


def test_seeds_and_splits_make_different_buildings():
    plans = [generate_building(s, split=split, levels=1).levels[0].plan for s in (1, 2) for split in SPLITS]
    for a, b in itertools.combinations(plans, 2):
        assert a.occupancy.shape != b.occupancy.shape or (a.occupancy != b.occupancy).mean() > 0.02


def test_levels_of_a_building_differ_and_no_plan_mirrors_itself():
    for seed in SEEDS:
        one, two = (level.plan.occupancy for level in building(seed).levels)
        assert one.shape != two.shape or (one != two).mean() > 0.003
        inside = one[np.ix_((one == FREE).any(axis=1), (one == FREE).any(axis=0))]
        for mirrored in (inside[::-1], inside[:, ::-1], inside[::-1, ::-1]):
            assert (mirrored != inside).mean() > 0.02


def test_model_pools_of_the_splits_are_disjoint_and_buildings_draw_from_their_own():
    rng = np.random.default_rng(0)
    pools = {split: {draw_model("chair", split, rng) for _ in range(2000)} for split in SPLITS}
    for a, b in itertools.combinations(SPLITS, 2):
        assert not pools[a] & pools[b]
    for split in SPLITS:
        assert {split_of_model(i) for i in pools[split]} == {split}
        made = generate_building(3, split=split, levels=1)
        used = [f.model_id.split("/")[1] for place in made.levels[0].places for f in place.furnishings]
        assert used and {split_of_model(int(i)) for i in used} == {split}


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_model_is_a_sane_solid_on_the_floor(category):
    sizes = []
    for index in range(12):
        mesh = furniture_mesh(category, index)
        depth, width, top = furniture_size(category, index)
        assert 0.01 < depth < 2.4 and 0.1 < width < 3.2 and 0.2 < top < 2.4
        low = mesh.vertices[:, 2].min()
        assert (low > 0.05) if category in WALL_MOUNTED else abs(low) < 0.01
        assert np.allclose(mesh.vertices[:, :2].min(axis=0), -mesh.vertices[:, :2].max(axis=0), atol=1e-4)
        assert mesh.face_colors is not None
        sizes.append((depth, width, top))
    assert len(set(sizes)) == 12


def test_unknown_furniture_and_splits_are_refused_by_name():
    with pytest.raises(FurnitureError, match="'throne'"):
        furniture_mesh("throne", 0)
    with pytest.raises(FurnitureError, match="'dev'"):
        generate_building(0, split="dev")
    with pytest.raises(ValueError, match="rooms_per_level"):
        generate_building(0, rooms_per_level=1)


def test_every_room_reaches_every_other_with_and_without_furniture():
    for level in levels():
        meshes = [f.mesh for place in level.places for f in place.furnishings]
        for obstacles in ([], meshes):
            ground = DrivableGround(level.plan, obstacles, 0.25)
            label = ground.main_region()
            for place in level.places:
                assert len(ground.cells_in(place.polygon, label)) > 20, (level.level_id, place.name, len(obstacles))
            for door in level.doors:
                assert ground.label_at(door.segment.mean(axis=0)) == label, "a door is blocked"


def boxes(level: Level):
    return [
        (f, f.mesh.vertices.min(axis=0), f.mesh.vertices.max(axis=0))
        for place in level.places
        for f in place.furnishings
    ]


def test_furniture_overlaps_neither_walls_nor_doors_nor_each_other():
    for level in levels():
        pieces = boxes(level)
        for f, low, high in pieces:
            xs = np.arange(low[0] + 0.03, high[0] - 0.02, 0.04)
            ys = np.arange(low[1] + 0.03, high[1] - 0.02, 0.04)
            inner = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
            assert (level.plan.value(inner) != OCCUPIED).all(), f"{f.object_id} stands in a wall"
            for door in level.doors:
                middle = door.segment.mean(axis=0)
                assert not ((low[:2] < middle) & (middle < high[:2])).all(), f"{f.object_id} stands in a door"
        for (f, low, high), (g, low_g, high_g) in itertools.combinations(pieces, 2):
            depth = np.minimum(high, high_g) - np.maximum(low, low_g)
            # Chairs may be pushed a hand's breadth under their table.
            allowed = 0.17 if "chair" in f.category + g.category else 0.0
            assert depth.min() <= allowed + 1e-6, f"{f.object_id} and {g.object_id} overlap by {depth}"


def test_the_structure_is_where_the_plan_says():
    """Rays at 1.5 m from free cells end on occupied cells, and pass through free ones only."""
    rng = np.random.default_rng(0)
    for level in levels()[:4]:
        scene = RayScene([level.structure])
        free = np.argwhere((level.plan.occupancy == FREE) & (level.plan.distance_m > 0.1))
        start = level.plan.position(free[rng.integers(len(free), size=400)])
        angle = rng.uniform(-np.pi, np.pi, 400)
        ray = np.stack([np.cos(angle), np.sin(angle), np.zeros(400)], axis=1)
        distance, face = scene.cast(np.column_stack([start, np.full(400, 1.5)]), ray)
        assert (face >= 0).all()
        hits = level.plan.cell(start + ray[:, :2] * distance[:, None])
        assert level.plan.distance_m[hits[:, 0], hits[:, 1]].max() < 0.1
        walk = np.arange(0.0, 30.0, 0.01)
        predicted = [
            walk[np.argmax(level.plan.value(p + d * walk[:, None]) == OCCUPIED)]
            for p, d in zip(start, ray[:, :2], strict=True)
        ]
        # Across the surface that was hit; the rest slip past a corner within half a cell.
        cosine = np.abs(np.einsum("ij,ij->i", scene.face_normals[face], ray))
        assert (np.abs(np.array(predicted) - distance) * cosine < 0.1).mean() > 0.985


def test_doors_are_open_to_2_m_and_have_lintels_and_windows_have_panes():
    level = building(0).levels[0]
    scene = RayScene([level.structure])
    doors = [d for d in level.doors if d.kind == "door"]
    assert doors
    for door in doors:
        along = door.segment[1] - door.segment[0]
        assert np.linalg.norm(along) == pytest.approx(0.9, abs=1e-3)
        across = np.array([-along[1], along[0]]) / np.linalg.norm(along)
        through = np.array([[*across, 0.0]])
        middle = door.segment.mean(axis=0) - 0.3 * across
        low, _ = scene.cast(np.array([[*middle, DOOR_HEIGHT_M - 0.05]]), through)
        high, _ = scene.cast(np.array([[*middle, DOOR_HEIGHT_M + 0.1]]), through)
        assert low[0] > 0.5 and high[0] < 0.3
    assert (scene.face_colors == PANE).all(axis=1).sum() > 0


def test_a_plan_can_be_extruded_into_the_same_walls():
    level = building(1).levels[0]
    scene = RayScene([extruded_plan(level.plan, 2.5)])
    free = np.argwhere(level.plan.distance_m > 0.3)
    free = free[level.plan.occupancy[free[:, 0], free[:, 1]] == FREE][::300]
    start = level.plan.position(free)
    for angle in (0.1, 1.9, 4.0):
        d = np.array([np.cos(angle), np.sin(angle)])
        distance, _ = scene.cast(
            np.column_stack([start, np.full(len(start), 1.0)]), np.tile([*d, 0.0], (len(start), 1))
        )
        for p, length in zip(start, distance, strict=True):
            assert (level.plan.value(p + d * np.arange(0, length - 0.03, 0.01)[:, None]) != OCCUPIED).all()
            assert (level.plan.value(p + d * (length + np.array([0.005, 0.02, 0.04]))[:, None]) == OCCUPIED).any()


def test_places_have_names_categories_outlines_and_text():
    for level in levels():
        names = [place.name for place in level.places]
        assert len(set(names)) == len(names) and any(place.category == "corridor" for place in level.places)
        for place in level.places:
            assert place.name.startswith(place.category.capitalize()) and place.name.split()[-1].startswith(
                level.level_id[1:]
            )
            edges = np.roll(place.polygon, -1, axis=0)
            assert 0.5 * np.sum(place.polygon[:, 0] * edges[:, 1] - edges[:, 0] * place.polygon[:, 1]) > 2.0
            assert place.category in place.text[0]


def test_descriptions_are_worded_in_many_ways():
    first = {place.text[0].split()[0] for seed in SEEDS for lv in building(seed).levels for place in lv.places}
    assert len(first) >= 4


def test_referrals_hold_for_exactly_one_object():
    rng = np.random.default_rng(0)
    checked = 0
    for level in levels():
        for place in level.places:
            pieces = place.furnishings
            triples = relations(pieces, {})
            for sentence in referrals(pieces, {}, rng):
                if " next to the " not in sentence:
                    continue
                target, anchor = (
                    sentence.rstrip(".").replace("The ", "", 1).replace(" that is", "").split(" next to the ")
                )
                hits = [
                    t
                    for t, r, a in triples
                    if r == "next to" and pieces[a].category == anchor and pieces[t].category == target
                ]
                assert len(hits) == 1 and sum(p.category == anchor for p in pieces) == 1
                checked += 1
    assert checked > 5


def test_layouts_of_all_sizes_can_be_drawn():
    for rooms in (3, 5, 12, 20):
        rng = np.random.default_rng(rooms)
        layout, _ = draw_layout(draw_skeleton(rng, rooms), rng)
        assert len(layout.rooms) == rooms + 2
