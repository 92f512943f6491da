"""Map databases: what is written comes back, what is absent stays absent, and no kill or damage yields a wrong map."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import apsw
import cv2
import numpy as np
import pytest
import yaml
from planted_building import DIM, HashEncoder, box, full_building

from crossover_models.building import Building, Level, Mesh
from crossover_models.estimate import LevelKey
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan
from crossover_models.map_database.build import build_database
from crossover_models.map_database.codec import CodecError, decode_array, encode_array, encode_nav2
from crossover_models.map_database.file_format import DatabaseError, FingerprintMismatch
from crossover_models.map_database.schema import SCHEMA_VERSION
from crossover_models.map_database.store import MapDatabase
from crossover_models.map_database.writer import DatabaseWriter
from crossover_models.observation import Code, Modality

GROUND, ATTIC = LevelKey("house", "L1"), LevelKey("house", "L2")
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database of the planted building; never written to."""
    out = tmp_path_factory.mktemp("map") / "house.xmap"
    build_database(full_building(), HashEncoder(), out)
    return out


def assert_mesh(found: Mesh | None, expected: Mesh) -> None:
    assert found is not None
    np.testing.assert_array_equal(found.vertices, expected.vertices)
    np.testing.assert_array_equal(found.faces, expected.faces)
    assert (found.vertices.dtype, found.faces.dtype) == (np.float32, np.int32)
    if expected.face_colors is None:
        assert found.face_colors is None
    else:
        np.testing.assert_array_equal(found.face_colors, expected.face_colors)


def assert_plan(found: FloorPlan, expected: FloorPlan) -> None:
    np.testing.assert_array_equal(found.occupancy, expected.occupancy)
    assert found.occupancy.dtype == np.int8
    assert found.resolution_m == expected.resolution_m
    assert found.origin_xy == expected.origin_xy


def assert_holds(database: MapDatabase, building: Building) -> None:
    """Everything of the building is in the database as it was."""
    key_of = {level.level_id: LevelKey(building.building_id, level.level_id) for level in building.levels}
    records = database.levels(building.building_id)
    assert [record.key for record in records] == list(key_of.values())
    assert database.source(building.building_id) == building.source
    for record, level in zip(records, building.levels, strict=True):
        key = record.key
        assert (record.name, record.elevation_m, record.height_m) == (level.name, level.elevation_m, level.height_m)
        np.testing.assert_array_equal(record.T_building_map, level.T_building_map)
        assert_plan(database.floor_plan(key), level.plan)
        assert_level_extras(database, key, level)
        places = database.places(building.building_id, level.level_id)
        assert [p.place_id for p in places] == [p.place_id for p in level.places]
        for found, place in zip(places, level.places, strict=True):
            assert (found.key, found.name, found.category, found.text) == (key, place.name, place.category, place.text)
            np.testing.assert_array_equal(found.polygon, place.polygon)
            images = database.images(building.building_id, place.place_id)
            assert [image.shape for image in images] == [image.shape for image in place.images]
            for image, original in zip(images, place.images, strict=True):
                assert np.abs(image.astype(int) - original).mean() < 3.0
            cloud = database.point_cloud(building.building_id, place.place_id)
            if place.point_cloud is None:
                assert cloud is None
            else:
                np.testing.assert_array_equal(cloud, place.point_cloud)
                assert cloud is not None and cloud.dtype == np.float32


def assert_level_extras(database: MapDatabase, key: LevelKey, level: Level) -> None:
    if level.structure is None:
        assert database.structure(key) is None
    else:
        assert_mesh(database.structure(key), level.structure)
    if level.drawing is None:
        assert database.drawing(key) is None
    else:
        np.testing.assert_array_equal(database.drawing(key), level.drawing)
    doors = database.doors(key)
    assert [door.kind for door in doors] == [door.kind for door in level.doors]
    for door, original in zip(doors, level.doors, strict=True):
        np.testing.assert_array_equal(door.segment, original.segment)
    lifts = database.lifts(key)
    assert [lift.name for lift in lifts] == [lift.name for lift in level.lifts]
    for lift, known in zip(lifts, level.lifts, strict=True):
        np.testing.assert_array_equal(lift.position, known.position)
    stored = database.furnishings(key)
    expected = [(place.place_id, item) for place in level.places for item in place.furnishings]
    assert [(p, f.object_id, f.category, f.model_id) for p, f in stored] == [
        (p, f.object_id, f.category, f.model_id) for p, f in expected
    ]
    for (_, item), (_, meant) in zip(stored, expected, strict=True):
        assert_mesh(item.mesh, meant.mesh)


def assert_embeddings(database: MapDatabase, building: Building, encoder: HashEncoder) -> None:
    """Vectors are those of the encoder, in the order of the places, and only where the modality is."""
    expected: dict[Modality, list[tuple[str, np.ndarray]]] = {modality: [] for modality in Modality}
    for level in building.levels:
        for place in level.places:
            if (level.plan.occupancy == OCCUPIED).any():
                expected[Modality.FLOOR_PLAN].append(
                    (place.place_id, encoder.encode_floor_plan(level.plan, place.polygon).vector)
                )
            if place.furnishings:
                expected[Modality.MESH].append(
                    (place.place_id, encoder.encode_mesh([f.mesh for f in place.furnishings]).vector)
                )
            if place.text:
                expected[Modality.TEXT].append((place.place_id, encoder.encode_text(" ".join(place.text)).vector))
            if place.images:
                expected[Modality.IMAGE].append((place.place_id, encoder.encode_images(place.images).vector))
            if place.point_cloud is not None:
                expected[Modality.POINT_CLOUD].append(
                    (place.place_id, encoder.encode_point_cloud(place.point_cloud).vector)
                )
    for modality in Modality:
        ids, matrix = database.embeddings(building.building_id, modality)
        assert matrix.shape == (len(ids), DIM) and matrix.dtype == np.float32
        assert ids == tuple(place_id for place_id, _ in expected[modality])
        for row, (_, vector) in zip(matrix, expected[modality], strict=True):
            np.testing.assert_array_equal(row, vector)


def test_everything_comes_back(shared: Path) -> None:
    with MapDatabase.open(shared, HashEncoder().fingerprint) as database:
        assert database.building_ids() == ("house",)
        assert_holds(database, full_building())
        assert_embeddings(database, full_building(), HashEncoder())
        assert (database.embedding_dim, database.encoder_fingerprint) == (DIM, "0123456789abcdef")
        assert (database.encoder_profile, database.schema_version) == ("hash", SCHEMA_VERSION)
        database.verify()


def test_a_simulated_building_comes_back(tmp_path: Path) -> None:
    from crossover_models.simulation.procedural import generate_building

    building = generate_building(5, split="test", levels=1, rooms_per_level=3)
    build_database(building, HashEncoder(), tmp_path / "p.xmap")
    with MapDatabase.open(tmp_path / "p.xmap") as database:
        assert_holds(database, building)
        assert_embeddings(database, building, HashEncoder())
        database.verify()


def test_what_is_absent_has_no_row_and_comes_back_absent(shared: Path) -> None:
    connection = apsw.Connection(str(shared), flags=apsw.SQLITE_OPEN_READONLY)
    counts = {
        table: connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
        for table in ("structures", "drawings", "point_clouds", "texts", "images", "furnishings", "embeddings")
    }
    connection.close()
    assert counts == {
        "structures": 1, "drawings": 1, "point_clouds": 1, "texts": 2, "images": 2, "furnishings": 2, "embeddings": 6,
    }  # fmt: skip
    with MapDatabase.open(shared) as database:
        assert database.structure(ATTIC) is None and database.drawing(ATTIC) is None
        assert database.doors(ATTIC) == () and database.lifts(ATTIC) == () and database.furnishings(ATTIC) == ()
        assert database.images("house", "A1") == () and database.point_cloud("house", "A1") is None
        assert database.embeddings("house", Modality.TEXT)[0] == ("K1",)
        # The attic's plan has no wall: nothing to recognize it by.
        assert database.embeddings("house", Modality.FLOOR_PLAN)[0] == ("K1", "S1")


def test_empty_text_and_empty_clouds_are_absent(tmp_path: Path) -> None:
    building = full_building()
    kitchen = dataclasses.replace(
        building.levels[0].places[0], text=("  ", ""), point_cloud=np.zeros((0, 3), dtype=np.float32), images=()
    )
    ground = dataclasses.replace(building.levels[0], places=(kitchen,))
    build_database(Building("house", (ground,)), HashEncoder(), tmp_path / "e.xmap")
    with MapDatabase.open(tmp_path / "e.xmap") as database:
        for modality in (Modality.TEXT, Modality.POINT_CLOUD, Modality.IMAGE):
            assert database.embeddings("house", modality)[0] == ()
        assert database.point_cloud("house", "K1") is None


def test_what_is_asked_for_in_vain_is_named(shared: Path) -> None:
    with MapDatabase.open(shared) as database:
        for call, name in (
            (lambda: database.floor_plan(LevelKey("house", "L9")), "house/L9"),
            (lambda: database.doors(LevelKey("barn", "L1")), "barn/L1"),
            (lambda: database.images("house", "K9"), "house/K9"),
            (lambda: database.source("barn"), "barn"),
        ):
            with pytest.raises(DatabaseError) as caught:
                call()
            assert_one_line(caught.value, shared, name)
        assert database.levels("barn") == () and database.places("house", "L9") == ()


# ------------------------------------------------------------------------------------------------------- nav2 files


def map_server(yaml_path: Path) -> tuple[np.ndarray, float, list[float]]:
    """What nav2_map_server loads: (rows, cols) cells with row 0 at the lowest y, by its rule for trinary maps."""
    values = yaml.safe_load(yaml_path.read_text(encoding="utf-8"))
    picture = cv2.imread(str(yaml_path.parent / values["image"]), cv2.IMREAD_UNCHANGED)
    assert values["mode"] == "trinary" and picture.ndim == 2
    rows, cols = picture.shape
    cells = np.zeros((rows, cols), dtype=np.int8)
    for row in range(rows):
        for col in range(cols):
            shade = picture[rows - 1 - row, col] / 255.0  # the picture's last row is the map's first
            occupied = shade if values["negate"] else 1.0 - shade
            if occupied > values["occupied_thresh"]:
                cells[row, col] = 100
            elif occupied < values["free_thresh"]:
                cells[row, col] = 0
            else:
                cells[row, col] = -1
    return cells, values["resolution"], values["origin"]


def test_export_is_what_map_server_reads(shared: Path, tmp_path: Path) -> None:
    building = full_building()
    with MapDatabase.open(shared) as database:
        written = database.export_nav2(tmp_path / "deep" / "maps")
    assert [path.name for path in written] == ["house_L1.yaml", "house_L2.yaml"]
    assert sorted(p.name for p in written[0].parent.iterdir()) == [
        "house_L1.png", "house_L1.yaml", "house_L2.png", "house_L2.yaml",
    ]  # fmt: skip
    for path, level in zip(written, building.levels, strict=True):
        cells, resolution, origin = map_server(path)
        np.testing.assert_array_equal(cells, level.plan.occupancy)
        assert resolution == level.plan.resolution_m
        assert origin == [*level.plan.origin_xy, 0.0]


def test_levels_whose_names_look_alike_are_exported_apart(tmp_path: Path) -> None:
    plans = [FloorPlan(np.full((4, 4), value, dtype=np.int8), 0.1, (0, 0)) for value in (FREE, OCCUPIED, UNKNOWN)]
    level = full_building().levels[1]

    def holding(building_id: str, level_id: str, plan: FloorPlan) -> Building:
        place = dataclasses.replace(level.places[0], place_id=level_id)
        return Building(building_id, (dataclasses.replace(level, level_id=level_id, plan=plan, places=(place,)),))

    buildings = [holding("a", "b_c", plans[0]), holding("a_b", "c", plans[1]), holding("a", "b_c", plans[2])]
    buildings[2] = dataclasses.replace(buildings[2], building_id="a b")
    buildings[2] = dataclasses.replace(
        buildings[2], levels=(dataclasses.replace(buildings[2].levels[0], level_id="c"),)
    )
    build_database(buildings, HashEncoder(), tmp_path / "alike.xmap")
    with MapDatabase.open(tmp_path / "alike.xmap") as database:
        written = database.export_nav2(tmp_path / "maps")
    assert len(set(written)) == 3
    for path, plan in zip(written, plans, strict=True):
        np.testing.assert_array_equal(map_server(path)[0], plan.occupancy)


def test_export_refuses_a_file_as_directory(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "maps").write_text("mine")
    with MapDatabase.open(shared) as database, pytest.raises(DatabaseError) as caught:
        database.export_nav2(tmp_path / "maps")
    assert_one_line(caught.value, tmp_path / "maps", "not a directory")


def test_a_plan_with_shades_is_refused() -> None:
    with pytest.raises(CodecError, match="37"):
        encode_nav2(FloorPlan(np.full((3, 3), 37, dtype=np.int8), 0.1, (0, 0)), "x.png")


def test_arrays_are_never_unpickled() -> None:
    import io
    import pickle

    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for data in (stream.getvalue(), pickle.dumps([1]), b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'"):
        with pytest.raises(CodecError):
            decode_array(data)
    for array in (np.zeros((0, 3), np.float32), np.arange(2000).reshape(-1, 2), np.asfortranarray(np.eye(5))):
        np.testing.assert_array_equal(decode_array(encode_array(array)), array)


# ---------------------------------------------------------------------------------------------- builds that go wrong


def leftovers(directory: Path) -> list[str]:
    """Hidden files that a build leaves beside its output."""
    return sorted(path.name for path in directory.iterdir() if path.name.startswith("."))


def start_build(out: Path, seed: int, stage: str) -> subprocess.Popen[str]:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(HERE.parent), str(HERE)]))
    command = [sys.executable, str(HERE / "kill_build.py"), str(out), str(seed), stage]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize("old", [True, False])
def test_a_killed_build_leaves_the_old_database_or_none(shared: Path, tmp_path: Path, old: bool) -> None:
    out = tmp_path / "house.xmap"
    if old:
        shutil.copy(shared, out)
    rng = random.Random(int(old))
    stages = ["wait", str(rng.randint(1, 6)), rng.choice(["commit", "sync"]), "replace"]
    for stage in stages:
        process = start_build(out, 1, stage)
        if stage == "wait":
            assert process.stdout is not None and process.stdout.readline() == "go\n"
            time.sleep(rng.uniform(0, 0.08))
            process.kill()
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, stderr
        assert leftovers(tmp_path), "the kill came after the build had ended"
        if old:
            assert out.read_bytes() == shared.read_bytes()
        else:
            assert not out.exists()
    build_database(full_building(seed=1), HashEncoder(), out)
    assert leftovers(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["house.xmap"]
    with MapDatabase.open(out) as database:
        assert_holds(database, full_building(seed=1))
        database.verify()


def test_a_build_killed_after_the_rename_is_whole(shared: Path, tmp_path: Path) -> None:
    out = tmp_path / "house.xmap"
    shutil.copy(shared, out)
    process = start_build(out, 1, "replaced")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    with MapDatabase.open(out) as database:
        database.verify()
        assert_holds(database, full_building(seed=1))


def test_a_failed_build_leaves_nothing(shared: Path, tmp_path: Path) -> None:
    out = tmp_path / "house.xmap"
    shutil.copy(shared, out)
    with pytest.raises(DatabaseError, match=r"K1 \(Kitchen 1\.04\), text: .*is refused"):
        build_database(full_building(), HashEncoder(refused="fridge"), out)
    assert out.read_bytes() == shared.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["house.xmap"]


def test_a_reader_keeps_reading_what_it_opened(shared: Path, tmp_path: Path) -> None:
    out = tmp_path / "house.xmap"
    shutil.copy(shared, out)
    with MapDatabase.open(out) as before:
        build_database(full_building("other", seed=1), HashEncoder(), out)
        assert_holds(before, full_building())
        before.verify()
    with MapDatabase.open(out) as after:
        assert after.building_ids() == ("other",)


def test_two_builds_at_once_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "house.xmap"
    with DatabaseWriter(out, "f", "p", DIM) as first:
        first.add_building(full_building())
        with pytest.raises(DatabaseError) as caught:
            DatabaseWriter(out, "f", "p", DIM)
        assert_one_line(caught.value, out, "another process")
        first.publish()
    DatabaseWriter(out, "f", "p", DIM).discard()
    assert [path.name for path in tmp_path.iterdir()] == ["house.xmap"]


def test_a_database_edited_in_place_is_not_replaced_under_its_wal(shared: Path, tmp_path: Path) -> None:
    """SQLite would replay the old file's WAL over the new file."""
    out = tmp_path / "house.xmap"
    shutil.copy(shared, out)
    editor = apsw.Connection(str(out))
    editor.execute("UPDATE places SET name='Scullery' WHERE place_id='K1'")
    try:
        with MapDatabase.open(out) as database:
            assert database.places()[0].name == "Scullery"
            with pytest.raises(DatabaseError):
                database.verify()
        with pytest.raises(DatabaseError) as caught:
            build_database(full_building(seed=1), HashEncoder(), out)
        assert_one_line(caught.value, out, "-wal")
    finally:
        editor.close()
    build_database(full_building(seed=1), HashEncoder(), out)
    with MapDatabase.open(out) as database:
        assert_holds(database, full_building(seed=1))


def test_only_databases_are_replaced(tmp_path: Path) -> None:
    for name, data in (("notes.txt", b"mine"), ("long.bin", bytes(500)), ("other.sqlite", b"SQLite format 3\0" * 10)):
        out = tmp_path / name
        out.write_bytes(data)
        with pytest.raises(DatabaseError) as caught:
            build_database(full_building(), HashEncoder(), out)
        assert_one_line(caught.value, out, "not a map database")
        assert out.read_bytes() == data
    with pytest.raises(DatabaseError, match="directory"):
        build_database(full_building(), HashEncoder(), tmp_path)
    (tmp_path / "empty.xmap").touch()
    build_database(full_building(), HashEncoder(), tmp_path / "empty.xmap")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.xmap", "long.bin", "notes.txt", "other.sqlite"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda level: dataclasses.replace(level, elevation_m=float("nan")), ("house", "L1")),
        (lambda level: dataclasses.replace(level, T_building_map=np.array([0, np.nan, 0])), ("house", "L1")),
        (
            lambda level: dataclasses.replace(
                level, plan=FloorPlan(np.full((2, 2), 50, dtype=np.int8), 0.1, (0, 0))
            ),
            ("house", "L1", "50"),
        ),
        (lambda level: dataclasses.replace(level, drawing=np.zeros((2, 2, 4), np.uint8)), ("house", "L1", "(2, 2, 4)")),
    ],
)  # fmt: skip
def test_values_that_cannot_be_stored_are_refused(tmp_path: Path, change, words: tuple[str, ...]) -> None:
    building = full_building()
    bad = dataclasses.replace(building, levels=(change(building.levels[0]), building.levels[1]))
    with pytest.raises(DatabaseError) as caught:
        build_database(bad, HashEncoder(), tmp_path / "x.xmap")
    for word in words:
        assert word in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_bad_vectors_are_refused(tmp_path: Path) -> None:
    good = np.eye(DIM, dtype=np.float32)[0]
    with DatabaseWriter(tmp_path / "x.xmap", "f", "p", DIM) as writer:
        writer.add_building(full_building())
        for vector, place, word in (
            (good * 2, "K1", "norm"),
            (good * np.nan, "K1", "norm"),
            (good[:-1], "K1", "expected"),
            (good, "K9", "no such place"),
        ):
            with pytest.raises(DatabaseError, match=word) as caught:
                writer.add_embeddings("house", Modality.TEXT, {place: Code(vector)})
            assert f"house/{place}" in str(caught.value)
        with pytest.raises(DatabaseError, match="given twice"):
            writer.add_building(full_building())


def test_a_build_without_buildings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="no building"):
        build_database((), HashEncoder(), tmp_path / "x.xmap")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------ content and identity


def test_two_buildings_share_a_database(tmp_path: Path) -> None:
    out = tmp_path / "two.xmap"
    buildings = (full_building("west"), full_building("east", seed=1))
    build_database(buildings, HashEncoder(), out)
    with MapDatabase.open(out) as database:
        assert database.building_ids() == ("west", "east")
        for building in buildings:
            assert_holds(database, building)
            assert_embeddings(database, building, HashEncoder())
        assert [record.key.building_id for record in database.levels()] == ["west", "west", "east", "east"]
        assert len(database.places()) == 6 and len(database.places("east")) == 3
        assert [p.key.building_id for p in database.places(None, "L2")] == ["west", "east"]


def test_equal_content_has_an_equal_fingerprint(shared: Path, tmp_path: Path) -> None:
    def fingerprint(building: Building, encoder: HashEncoder) -> str:
        build_database(building, encoder, tmp_path / "again.xmap")
        with MapDatabase.open(tmp_path / "again.xmap") as again:
            return again.fingerprint

    with MapDatabase.open(shared) as database:
        mine = database.fingerprint
    base = full_building()
    ground = base.levels[0]
    moved = dataclasses.replace(ground, plan=FloorPlan(ground.plan.occupancy, 0.1, (-1.25, 7.51)))
    painted = dataclasses.replace(ground, structure=box(0, 8, (200, 10, 31)))
    assert fingerprint(base, HashEncoder()) == mine
    others = {
        fingerprint(base, HashEncoder(fingerprint="feed")),
        fingerprint(full_building(seed=1), HashEncoder()),
        fingerprint(dataclasses.replace(base, levels=(moved, base.levels[1])), HashEncoder()),
        fingerprint(dataclasses.replace(base, levels=(painted, base.levels[1])), HashEncoder()),
    }
    assert len(others) == 4 and mine not in others


def test_another_encoder_is_refused_and_both_are_named(shared: Path) -> None:
    with pytest.raises(FingerprintMismatch) as caught:
        MapDatabase.open(shared, "fedcba9876543210")
    assert_one_line(caught.value, shared, "fedcba9876543210")
    assert "0123456789abcdef" in str(caught.value)


def test_a_read_only_directory_will_do_and_stays_as_it_is(shared: Path, tmp_path: Path) -> None:
    directory = tmp_path / "a b#c%?"
    directory.mkdir()
    shutil.copy(shared, directory / "house.xmap")
    directory.chmod(0o555)
    stamp = directory.stat().st_mtime_ns
    try:
        with MapDatabase.open(directory / "house.xmap") as database:
            assert_holds(database, full_building())
            assert [path.name for path in directory.iterdir()] == ["house.xmap"]
        assert directory.stat().st_mtime_ns == stamp
    finally:
        directory.chmod(0o755)


# ------------------------------------------------------------------------------------------------------------- damage


def assert_one_line(error: BaseException, path: Path, *words: str) -> None:
    text = str(error)
    assert "\n" not in text
    for word in (str(path), *words):
        assert word in text


def read_all(database: MapDatabase) -> None:
    """Touch everything."""
    for building_id in database.building_ids():
        database.source(building_id)
        for modality in Modality:
            database.embeddings(building_id, modality)
    for level in database.levels():
        key = level.key
        for read in (
            database.floor_plan, database.structure, database.drawing, database.doors, database.lifts,
            database.furnishings,
        ):  # fmt: skip
            read(key)
    for place in database.places():
        database.images(place.key.building_id, place.place_id)
        database.point_cloud(place.key.building_id, place.place_id)


def test_what_is_no_database_is_refused(shared: Path, tmp_path: Path) -> None:
    whole = shared.read_bytes()
    rng = np.random.default_rng(3)
    cases = {
        "random": rng.bytes(5000), "empty": b"", "text": b"hello\n" * 50, "short": b"SQLite format 3\0",
        "magic": b"SQLite format 3\0" + bytes(200),
        **{f"cut{n}": whole[:n] for n in (1, 99, 100, 4096, 16384, len(whole) // 2)},
        **{f"less{n}": whole[:-n] for n in (1, 16384)},
        "long": whole + b"x",
    }  # fmt: skip
    for name, data in cases.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(DatabaseError) as caught:
            MapDatabase.open(path)
        assert_one_line(caught.value, path)
        assert path.read_bytes() == data
    assert len(list(tmp_path.iterdir())) == len(cases)
    for path, word in ((tmp_path, "directory"), (tmp_path / "none.xmap", "no such file")):
        with pytest.raises(DatabaseError) as caught:
            MapDatabase.open(path)
        assert_one_line(caught.value, path, word)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DatabaseError) as caught:
        MapDatabase.open(tmp_path / "pipe")
    assert_one_line(caught.value, tmp_path / "pipe")


def test_another_sqlite_file_is_refused(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "other.db"))
    connection.execute("CREATE TABLE t(x)")
    connection.close()
    with pytest.raises(DatabaseError) as caught:
        MapDatabase.open(tmp_path / "other.db")
    assert_one_line(caught.value, tmp_path / "other.db", "not a map database")


@pytest.mark.parametrize(
    ("version", "word"), [(SCHEMA_VERSION + 1, "newer"), (SCHEMA_VERSION - 1, "older"), (0, "older")]
)
def test_other_schema_versions_are_refused(shared: Path, tmp_path: Path, version: int, word: str) -> None:
    data = bytearray(shared.read_bytes())
    data[60:64] = struct.pack(">I", version)
    path = tmp_path / "v.xmap"
    path.write_bytes(data)
    with pytest.raises(DatabaseError) as caught:
        MapDatabase.open(path)
    assert_one_line(caught.value, path, word, f"schema version {version} is", f"than {SCHEMA_VERSION}")


def test_damage_is_found_or_harmless(shared: Path, tmp_path: Path) -> None:
    """After any flipped bytes, opening, reading and verifying raise DatabaseError or all content is as it was.

    Most flips land in rows that are known to be in use: the zeros of half-filled pages would teach nothing.
    """
    whole = shared.read_bytes()
    rng = np.random.default_rng(11)
    used = np.flatnonzero(np.frombuffer(whole, dtype=np.uint8))
    spots = [*range(16, 100, 6), *rng.choice(used, 200).tolist(), *rng.integers(100, len(whole), 20).tolist()]
    path = tmp_path / "flipped.xmap"
    found = 0
    for spot in spots:
        data = bytearray(whole)
        data[spot] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            with MapDatabase.open(path) as database:
                try:
                    read_all(database)
                except DatabaseError as error:
                    assert_one_line(error, path)
                database.verify()
                assert_holds(database, full_building())
                assert_embeddings(database, full_building(), HashEncoder())
        except DatabaseError as error:
            found += 1
            assert_one_line(error, path)
    assert found > 100


def test_rows_that_are_wrong_are_errors_not_values(shared: Path, tmp_path: Path) -> None:
    """Rows altered by SQL: well-formed SQLite, senseless content."""
    key = GROUND
    cases = {
        "UPDATE plans SET png=x'00'": lambda d: d.floor_plan(key),
        "UPDATE plans SET nav2_yaml='resolution: -1'": lambda d: d.floor_plan(key),
        "UPDATE plans SET nav2_yaml=replace(nav2_yaml, 'resolution: ', 'resolution: -')": lambda d: d.floor_plan(key),
        "UPDATE plans SET nav2_yaml=replace(nav2_yaml, 'trinary', 'scale')": lambda d: d.floor_plan(key),
        "UPDATE plans SET nav2_yaml=replace(nav2_yaml, ', 0.0]', ', 0.5]')": lambda d: d.floor_plan(key),
        "UPDATE places SET polygon=x'1234'": lambda d: d.places(),
        "UPDATE images SET jpeg=x'ffd8ff'": lambda d: d.images("house", "K1"),
        "UPDATE drawings SET png=x'89504e47'": lambda d: d.drawing(key),
        "UPDATE point_clouds SET points=x'93'": lambda d: d.point_cloud("house", "K1"),
        "UPDATE structures SET vertices=faces": lambda d: d.structure(key),
        "UPDATE structures SET faces=vertices": lambda d: d.structure(key),
        "UPDATE furnishings SET face_colors=vertices": lambda d: d.furnishings(key),
        "UPDATE embeddings SET vector=x'00000000'": lambda d: d.embeddings("house", Modality.TEXT),
        "UPDATE places SET name=CAST(x'ff' AS TEXT)": lambda d: d.places(),
        "DROP TABLE lifts": lambda d: d.lifts(key),
        "DELETE FROM plans": lambda d: d.floor_plan(key),
    }  # fmt: skip
    path = tmp_path / "bad.xmap"
    for statement, read in cases.items():
        shutil.copy(shared, path)
        editor = apsw.Connection(str(path))
        editor.execute("PRAGMA journal_mode=DELETE")
        editor.execute("PRAGMA foreign_keys=OFF")
        editor.execute(statement)
        editor.close()
        with MapDatabase.open(path) as database:
            with pytest.raises(DatabaseError) as caught:
                database.verify()
            assert_one_line(caught.value, path)
            try:
                read(database)
            except DatabaseError as error:
                assert_one_line(error, path)
            else:
                pytest.fail(f"{statement}: read all the same")
