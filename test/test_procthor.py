"""ProcTHOR's rooms: planted tiny rooms in the published form with known answers, damage named, and the real ones."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from crossover_models.building import BuildingError
from crossover_models.floor_plan import FREE, OCCUPIED
from crossover_models.geometry import inverse_se3, transform_points_se3, yaw_from_matrix
from crossover_models.simulation.cad import open_library
from crossover_models.simulation.furniture import CATEGORIES, LOOSE_CATEGORIES, split_of_model
from crossover_models.simulation.navigation import DrivableGround
from crossover_models.simulation.procthor import ProcThorRooms
from crossover_models.simulation.procthor.labels import LABELS, LEFT_OUT, label_of
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.structure import PANE

REAL = Path(__file__).parents[1] / ".." / "shared" / "data" / "procthor"
HEIGHT_M = 2.8
# An L in Unity's x and z: mirrored it would be another room.
CORNERS = [(0.0, 0.0), (0.0, 4.0), (3.0, 4.0), (3.0, 2.0), (6.0, 2.0), (6.0, 0.0)]
SIZES = {
    "Sofa_1": ("Sofa", (2.0, 0.8, 0.9)),
    "Table_1": ("DiningTable", (1.4, 0.75, 0.8)),
    "Chair_1": ("Chair", (0.45, 0.9, 0.5)),
    "Vase_1": ("Vase", (0.12, 0.24, 0.12)),
    "pillow_1": ("Pillow", (0.5, 0.14, 0.4)),
    "Painting_1": ("Painting", (0.8, 0.6, 0.03)),
    "Fridge_1": ("Fridge", (0.9, 1.8, 0.7)),
    "Tomato_1": ("Tomato", (0.08, 0.07, 0.08)),
    "Pen_1": ("Pen", (0.01, 0.01, 0.15)),
    "Countertop_L_6x4": ("CounterTop", (1.83, 0.94, 1.22)),
    "Odd_1": ("Gargoyle", (0.3, 0.3, 0.3)),
}


def xyz(x, y, z):
    return {"x": x, "y": y, "z": z}


def thing(name, asset, x, z, turn=0.0, y=None, children=()):
    height = SIZES[asset][1][1]
    made = {"id": name, "assetId": asset, "position": xyz(x, height / 2 if y is None else y, z)}
    return made | {"rotation": xyz(0.0, turn, 0.0), "children": list(children)}


def wall(a, b):
    polygon = [xyz(a[0], 0, a[1]), xyz(b[0], 0, b[1]), xyz(a[0], HEIGHT_M, a[1]), xyz(b[0], HEIGHT_M, b[1])]
    return {"id": f"wall|{a[0]}|{a[1]}|{b[0]}|{b[1]}", "roomId": "room|2", "polygon": polygon}


def house():
    walls = [wall(a, b) for a, b in zip(CORNERS, CORNERS[1:] + CORNERS[:1], strict=True)]
    return {
        "rooms": [
            {
                "roomType": "LivingRoom",
                "floorPolygon": [xyz(x, 0, z) for x, z in CORNERS],
                "floorMaterial": {"name": "Wood"},
            }
        ],
        # The wall at z = 0 runs from (6, 0) to (0, 0): the door is at x 4.0 to 5.0.
        "doors": [
            {"wall0": "wall|6.0|0.0|0.0|0.0", "assetId": "Doorway_1", "holePolygon": [xyz(1, 0, 0), xyz(2, 2.1, 0)]}
        ],
        # The wall at x = 0 runs from (0, 0) to (0, 4): the window is at z 2.5 to 3.5.
        "windows": [
            {
                "wall0": "wall|0.0|0.0|0.0|4.0",
                "assetId": "Window_Hung_1",
                "holePolygon": [xyz(2.5, 1, 0), xyz(3.5, 2, 0)],
            }
        ],
        "walls": walls,
        "objects": [
            thing("sofa", "Sofa_1", 0.5, 1.2, 90.0, children=[thing("p", "pillow_1", 0.45, 1.2, 90.0, y=0.52)]),
            thing("table", "Table_1", 1.5, 3.2, 0.0, children=[thing("v", "Vase_1", 1.2, 3.1, 30.0, y=0.95)]),
            # Under the table up to its back, facing it.
            thing("chair", "Chair_1", 1.5, 2.9, 0.0),
            thing("picture", "Painting_1", 5.98, 1.0, 270.0, y=1.6),
            thing("fridge", "Fridge_1", 2.6, 0.4, 0.0, children=[thing("t", "Tomato_1", 2.6, 0.4, y=1.5)]),
        ],
    }


def write(folder, train, val=(), database=None):
    for name, rows in (("train", train), ("val", val)):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as out:
            out.write("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    entries: dict[str, list] = {}
    for asset, (kind, (x, y, z)) in SIZES.items():
        entries.setdefault(kind, []).append({"assetId": asset, "boundingBox": xyz(x, y, z)})
    (folder / "asset-database.json").write_text(json.dumps(entries if database is None else database))
    return ProcThorRooms(folder, open_library("parametric"))


@pytest.fixture
def level(tmp_path):
    return write(tmp_path, [house()]).building("train", 0).levels[0]


def piece(level, category):
    (found,) = [f for f in level.places[0].furnishings if f.category == category]
    return found


def test_unity_becomes_our_map_without_mirroring(level):
    place = level.places[0]
    assert place.category == "living room" and place.name == "Living room 1.01"
    assert {tuple(p) for p in place.polygon.round(6)} == set(CORNERS)
    x, y = place.polygon.T
    assert x @ np.roll(y, -1) - y @ np.roll(x, -1) == pytest.approx(2 * 18.0)
    sofa = piece(level, "sofa")
    # Turned by 90 degrees Unity's forward points along its x, which is ours; left of the sofa is our y.
    assert yaw_from_matrix(sofa.T_map_object[:3, :3]) == pytest.approx(0.0, abs=1e-9)
    assert np.allclose(sofa.T_map_object[:3, 3], [0.5, 1.2, 0.0])
    assert np.linalg.det(sofa.T_map_object[:3, :3]) == pytest.approx(1.0)
    # 270 degrees about Unity's y: the picture on the wall at x = 6 looks back into the room.
    picture = piece(level, "picture")
    assert np.allclose(picture.T_map_object[:3, 0], [-1, 0, 0], atol=1e-9)
    assert picture.mesh.vertices[:, 2].min() == pytest.approx(1.3, abs=1e-3)
    # A yaw between the axes: 30 degrees clockwise from above, as Unity counts.
    assert yaw_from_matrix(piece(level, "vase").T_map_object[:3, :3]) == pytest.approx(np.deg2rad(60.0))


def test_models_fill_the_assets_boxes(level):
    sizes = {label_of(kind, asset).category: size for asset, (kind, size) in SIZES.items() if kind in LABELS}
    for f in level.places[0].furnishings:
        local = transform_points_se3(inverse_se3(f.T_map_object), f.mesh.vertices)
        width, height, depth = sizes[f.category]
        assert np.allclose(np.ptp(local, axis=0), [depth, width, height], atol=1e-3), f.category
        assert np.allclose(local[:, :2].min(axis=0) + local[:, :2].max(axis=0), 0.0, atol=1e-3)
        assert local[:, 2].min() == pytest.approx(0.0, abs=1e-3)
        assert f.model_id.startswith("parametric/") and split_of_model(int(f.model_id.rsplit("/", 1)[1])) == "train"


def cast(level, origin, direction):
    scene = RayScene([level.structure])
    distance, face = scene.cast(np.array([origin], dtype=float), np.array([direction], dtype=float))
    return float(distance[0]), scene.face_colors[face[0]] if face[0] >= 0 else None


def test_holes_are_where_the_file_has_them(level):
    assert np.allclose(sorted(level.doors[0].segment[:, 0]), [4.0, 5.0]) and (level.doors[0].segment[:, 1] < 0).all()
    for x in (4.1, 4.9):
        assert cast(level, [x, 1.0, 1.0], [0, -1, 0])[0] > 1.5
        assert cast(level, [x, 1.0, 2.3], [0, -1, 0])[0] == pytest.approx(1.0, abs=0.02)
    for x in (0.5, 1.5, 3.8, 5.2):
        assert cast(level, [x, 1.0, 1.0], [0, -1, 0])[0] == pytest.approx(1.0, abs=0.02)
    distance, color = cast(level, [1.0, 2.7, 1.3], [-1, 0, 0])
    assert tuple(color) == PANE and distance == pytest.approx(1.06, abs=0.02)
    for y, z in ((0.5, 1.3), (2.3, 1.3), (2.7, 0.8), (2.7, 2.2)):
        distance, color = cast(level, [1.0, y, z], [-1, 0, 0])
        assert tuple(color) != PANE and distance == pytest.approx(1.0, abs=0.06)


def test_the_shell_is_closed_on_all_sides(level):
    rng = np.random.default_rng(0)
    scene = RayScene([level.structure])
    directions = rng.normal(size=(4000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for origin in ([1.5, 3.0, 1.2], [4.5, 1.0, 1.5], [2.9, 2.1, 0.5]):
        _, face = scene.cast(np.tile(origin, (4000, 1)), directions)
        assert (face >= 0).all()


def test_the_plan_shows_the_room_its_door_and_its_walls(level):
    plan = level.plan
    assert (plan.value([[0.1, 0.1], [2.9, 3.9], [5.9, 0.1], [4.5, -0.07], [4.5, -0.5]]) == FREE).all()
    assert (plan.value([[-0.07, 1.0], [-0.07, 3.0], [3.07, 3.0], [4.5, 2.07], [3.5, -0.07]]) == OCCUPIED).all()
    assert plan.value([[4.5, 3.0]])[0] not in (FREE, OCCUPIED)
    ground = DrivableGround(plan, [], 0.25)
    assert ground.label_at(level.doors[0].segment.mean(axis=0)) == ground.main_region([level.places[0].polygon]) > 0


def test_children_stand_on_their_parents_and_hidden_ones_are_left_out(level):
    categories = [f.category for f in level.places[0].furnishings]
    assert "fruit" not in categories, "what lies in a closed fridge is not seen"
    table, vase = piece(level, "table"), piece(level, "vase")
    assert vase.mesh.vertices[:, 2].min() == pytest.approx(float(table.mesh.vertices[:, 2].max()), abs=0.01)
    sofa, pillow = piece(level, "sofa"), piece(level, "pillow")
    assert 0.2 < pillow.mesh.vertices[:, 2].min() < sofa.mesh.vertices[:, 2].max() - 0.1


def test_a_chair_is_drawn_out_from_under_its_table(level):
    table, chair = piece(level, "table"), piece(level, "chair")
    overlap = chair.mesh.vertices[:, 1].max() - table.mesh.vertices[:, 1].min()
    assert overlap == pytest.approx(0.2, abs=0.01)
    assert chair.T_map_object[0, 3] == pytest.approx(1.5)


def test_a_corner_counter_leaves_its_inner_corner_free(tmp_path):
    changed = house()
    changed["objects"] = [thing("counter", "Countertop_L_6x4", 1.5, 1.5, 0.0)]
    counter = piece(write(tmp_path, [changed]).building("train", 0).levels[0], "counter")
    scene = RayScene([counter.mesh])
    # Canonical frame: back at -x, leg on the right (-y).
    for (x, y), solid in {(-0.3, 0.5): True, (-0.3, -0.6): True, (0.4, -0.6): True, (0.4, 0.5): False}.items():
        above = transform_points_se3(counter.T_map_object, np.array([[x, y, 2.0]]))
        distance, _ = scene.cast(above, np.array([[0.0, 0.0, -1.0]]))
        assert np.isfinite(distance[0]) == solid, (x, y)


def test_splits_are_files_and_rows_parity_and_a_seed_gives_the_same_room(tmp_path):
    rooms = write(tmp_path, [house()], [house() for _ in range(5)])
    assert len(rooms) == 6 and [len(rooms.ids(s)) for s in ("train", "val", "test")] == [1, 3, 2]
    ids = [i for s in ("train", "val", "test") for i in rooms.ids(s)]
    assert len(set(ids)) == 6 and rooms.ids("test") == ("procthor_val_0001", "procthor_val_0003")
    a, b = rooms.building("val", 1), ProcThorRooms(tmp_path, open_library("parametric")).building("val", 1)
    assert a.building_id == "procthor_val_0002" and "simulated" in a.source
    assert np.array_equal(a.levels[0].structure.face_colors, b.levels[0].structure.face_colors)
    for f, g in zip(a.levels[0].places[0].furnishings, b.levels[0].places[0].furnishings, strict=True):
        assert f.object_id == g.object_id and np.array_equal(f.mesh.vertices, g.mesh.vertices)
    with pytest.raises(BuildingError, match="'dev'"):
        rooms.ids("dev")
    with pytest.raises(BuildingError, match="no room 7"):
        rooms.building("val", 7)


def crossing(h):
    corners = h["rooms"][0]["floorPolygon"]
    corners[1], corners[2] = corners[2], corners[1]


DAMAGES = {
    "crosses itself": (crossing, r"rooms\[0\]\.floorPolygon: crosses itself"),
    "corners": (
        lambda h: h["rooms"][0].update(floorPolygon=[xyz(0, 0, 0)]),
        r"rooms\[0\]\.floorPolygon: expected at least 3",
    ),
    "not finite": (
        lambda h: h["rooms"][0]["floorPolygon"][2].update(x="NaN"),
        r"rooms\[0\]\.floorPolygon\[2\]\.x: .*'NaN'",
    ),
    "key": (lambda h: h.pop("walls"), r"walls: missing"),
    "inner key": (lambda h: h["objects"][1].pop("position"), r"objects\[1\]\.position: missing"),
    "room type": (lambda h: h["rooms"][0].update(roomType="Crypt"), r"rooms\[0\]\.roomType: must be one of .*'Crypt'"),
    "two rooms": (lambda h: h["rooms"].append(h["rooms"][0]), r"rooms: expected a single room, got 2"),
    "asset": (lambda h: h["objects"][0].update(assetId="Throne_9"), r"objects\[0\]\.assetId: 'Throne_9'"),
    "type": (lambda h: h["objects"][0].update(assetId="Odd_1"), r"objects\[0\]\.assetId: .*'Gargoyle'"),
    "outside": (lambda h: h["objects"][1]["position"].update(x=5.0), r"objects\[1\]\.position: 'table' .*outside"),
    "child outside": (
        lambda h: h["objects"][1]["children"][0]["position"].update(z=9.0),
        r"objects\[1\]\.children\[0\]\.position: 'v' .*outside",
    ),
    "twice": (lambda h: h["objects"].append(h["objects"][0]), r"objects\[5\]\.id: 'sofa' occurs twice"),
    "wall": (lambda h: h["doors"][0].update(wall0="wall|9"), r"doors\[0\]\.wall0: no wall 'wall\|9'"),
    "hole": (lambda h: h["windows"][0]["holePolygon"][1].update(x=4.5), r"windows\[0\]\.holePolygon: .*not within"),
    "no door": (lambda h: h.update(doors=[]), r"doors: a room without a door"),
    "list": (lambda h: h.update(objects=3), r"objects: expected a list, got int"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_room_is_named_by_file_line_and_field_and_the_rest_is_read(tmp_path, damage):
    break_it, message = DAMAGES[damage]
    broken = copy.deepcopy(house())
    break_it(broken)
    rooms = write(tmp_path, [house(), broken, house()])
    with pytest.raises(BuildingError, match=r"train\.jsonl\.gz: line 2: " + message):
        rooms.building("train", 1)
    assert rooms.building("train", 2).levels[0].places


def test_broken_files_are_named(tmp_path):
    rooms = write(tmp_path, ['{"rooms": [', house()])
    with pytest.raises(BuildingError, match=r"train\.jsonl\.gz: line 1: not JSON"):
        rooms.building("train", 0)
    with pytest.raises(BuildingError, match=r"asset-database\.json: Sofa\[0\]\.boundingBox: missing"):
        write(tmp_path, [house()], database={"Sofa": [{"assetId": "Sofa_1"}]})
    write(tmp_path, [house()])
    (tmp_path / "val.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(BuildingError, match=r"val\.jsonl\.gz: not a gzipped"):
        ProcThorRooms(tmp_path, open_library("parametric"))
    whole = (tmp_path / "train.jsonl.gz").read_bytes()
    (tmp_path / "train.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BuildingError, match=r"train\.jsonl\.gz: not a gzipped"):
        ProcThorRooms(tmp_path, open_library("parametric"))
    (tmp_path / "asset-database.json").unlink()
    with pytest.raises(BuildingError, match=r"asset-database\.json"):
        ProcThorRooms(tmp_path, open_library("parametric"))


def test_every_label_has_a_parametric_model_and_means_what_it_says():
    known = {*CATEGORIES, *LOOSE_CATEGORIES}
    for kind, label in LABELS.items():
        assert known & set(label.models), kind
        assert label.category == label.category.lower() and label.category
    assert not set(LABELS) & LEFT_OUT
    assert label_of("Pillow", "pillow_1").category == "pillow" and label_of("Bed", "Bed_1").category == "bed"
    assert label_of("DogBed", "DogBed_1").category == "pet bed"
    assert label_of("Chair", "RoboTHOR_office_chair_jules").category == "office chair"
    assert label_of("CoffeeTable", "x").category == "coffee table" and label_of("TVStand", "x").category == "tv stand"
    assert label_of("Pen", "Pen_1") is None


@pytest.mark.skipif(not REAL.is_dir(), reason="ProcTHOR's rooms are not in ../shared/data/procthor")
def test_the_real_rooms():
    rooms = ProcThorRooms(REAL, open_library("parametric"))
    assert [len(rooms.ids(s)) for s in ("train", "val", "test")] == [500, 50, 50]
    for split, step in (("train", 60), ("val", 25), ("test", 25)):
        for index in range(0, len(rooms.ids(split)), step):
            level = rooms.building(split, index).levels[0]
            place = level.places[0]
            meshes = [f.mesh for f in place.furnishings]
            assert meshes and place.text[0]
            for f in place.furnishings:
                low, high = f.mesh.vertices.min(axis=0), f.mesh.vertices.max(axis=0)
                assert low[2] > -0.01 and high[2] < level.height_m, f.object_id
            ground = DrivableGround(level.plan, meshes, 0.2)
            assert ground.label_at(level.doors[0].segment.mean(axis=0)) > 0, f"{split} {index}: the door is blocked"
