"""Publishing and pulling: everything survives, only what changed travels, and what is wrong is named and refused."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_building import HashEncoder, full_building

from crossover_models.building import Building
from crossover_models.cli import main
from crossover_models.fleet.assembly import assemble
from crossover_models.fleet.bench import DIM, measure
from crossover_models.fleet.extraction import LocalMap
from crossover_models.fleet.head import BuildingHead, building_of, head_name
from crossover_models.fleet.journal import Journal
from crossover_models.fleet.publish import Published, publish
from crossover_models.fleet.pull import Pulled, pull
from crossover_models.fleet.sources import ObjectSource
from crossover_models.fleet.stores import FolderStore, open_store
from crossover_models.fleet.units import TABLES, FleetError, decode_unit, encode_unit
from crossover_models.map_database.build import build_database
from crossover_models.map_database.file_format import DatabaseError
from crossover_models.map_database.store import MapDatabase
from crossover_models.map_database.writer import DatabaseWriter

OTHER = HashEncoder(fingerprint="fedcba9876543210")


def built(path: Path, *buildings: Building, encoder: HashEncoder | None = None) -> Path:
    build_database(buildings, encoder or HashEncoder(), path)
    return path


def to(folder: Path, path: Path, **options: bool) -> tuple[Published, ...]:
    return publish(path, open_store(str(folder), write=True), **options)


def pulled(folder: Path | str, out: Path, *building_ids: str, **options: bool) -> Pulled:
    return pull(ObjectSource(open_store(str(folder))), out, building_ids, **options)


def fingerprint(path: Path) -> str:
    with MapDatabase.open(path) as database:
        database.verify()
        return database.fingerprint


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    return {table: list(connection.execute(f"SELECT * FROM {table}")) for table in ("meta", "buildings", *TABLES)}


def edited(path: Path, statement: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    connection.close()


def renamed(building: Building, place_id: str, name: str) -> Building:
    levels = tuple(
        dataclasses.replace(
            level,
            places=tuple(dataclasses.replace(p, name=name) if p.place_id == place_id else p for p in level.places),
        )
        for level in building.levels
    )
    return dataclasses.replace(building, levels=levels)


@pytest.fixture(autouse=True)
def no_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is lost in a test, and a loaded disk would take seconds."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


NUMBERS = st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)
VALUES = st.one_of(st.none(), *NUMBERS, st.text(max_size=20), st.binary(max_size=20))


@given(st.data(), st.sampled_from(sorted(TABLES)))
def test_units_read_back_and_damaged_ones_are_refused(data: st.DataObject, table: str) -> None:
    width = len(TABLES[table])
    held = data.draw(st.lists(st.tuples(*[VALUES] * width), max_size=4))
    unit = encode_unit(table, held)
    assert decode_unit(unit) == (table, held)
    cut = data.draw(st.integers(0, len(unit) - 1))
    with pytest.raises(FleetError):
        decode_unit(unit[:cut])
    with pytest.raises(FleetError):
        decode_unit(unit + b"n")
    flipped = bytearray(unit)
    flipped[cut] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(FleetError):  # refused, or it says something else
        assert repr(decode_unit(bytes(flipped))) != repr((table, held))


@given(st.text(min_size=1, max_size=40))
def test_any_building_id_has_a_name_of_its_own(building_id: str) -> None:
    name = head_name(building_id)
    assert building_of(name) == building_id
    assert name.count("/") == 1 and re.fullmatch(r"[\x21-\x7e]+", name)


def test_everything_survives_the_round_trip(tmp_path: Path) -> None:
    published = built(tmp_path / "a.xmap", full_building(), full_building("annex 2/b", 1))
    to(tmp_path / "store", published)
    done = pulled(tmp_path / "store", tmp_path / "r.xmap", "house", "annex 2/b")
    assert done.changed and done.received > done.whole
    assert rows(tmp_path / "r.xmap") == rows(published)  # every row with its number, the times too
    assert fingerprint(tmp_path / "r.xmap") == fingerprint(published)


def test_one_building_of_several_is_as_if_built_alone(tmp_path: Path) -> None:
    to(tmp_path / "store", built(tmp_path / "a.xmap", full_building(), full_building("annex", 1)))
    pulled(tmp_path / "store", tmp_path / "r.xmap", "annex")
    assert fingerprint(tmp_path / "r.xmap") == fingerprint(built(tmp_path / "b.xmap", full_building("annex", 1)))


def test_only_what_changed_travels(tmp_path: Path) -> None:
    store, robot = tmp_path / "store", tmp_path / "r.xmap"
    to(store, built(tmp_path / "a.xmap", full_building()))
    pulled(store, robot, "house")
    before = robot.stat().st_ino
    again = pulled(store, robot)
    assert not again.changed and again.received == (store / head_name("house")).stat().st_size
    assert robot.stat().st_ino == before
    changed = built(tmp_path / "b.xmap", renamed(full_building(), "S1", "Archive"))
    (one,) = to(store, changed)
    assert one.levels_written == 1 and one.levels == 2
    done = pulled(store, robot)
    assert done.changed and done.units_fetched == 1
    with LocalMap(changed) as local:
        head = local.building("house").head
        unit = encode_unit("places", [row[3:] for row in rows(changed)["places"] if row[3] == "S1"])
    assert done.received == len((store / head_name("house")).read_bytes()) + head.levels[0].index_size + len(unit)
    assert fingerprint(robot) == fingerprint(changed)
    assert not list(tmp_path.glob(".*"))


def test_publishing_twice_writes_nothing_and_keeps_the_first_time(tmp_path: Path) -> None:
    to(tmp_path / "store", built(tmp_path / "a.xmap", full_building()))
    head = tmp_path / "store" / head_name("house")
    held = head.read_bytes()
    edited(
        built(tmp_path / "b.xmap", full_building()),
        "UPDATE meta SET value='2031-01-01T00:00:00+00:00' WHERE key='created'",
    )
    (one,) = to(tmp_path / "store", tmp_path / "b.xmap")
    assert one.written == 0 and head.read_bytes() == held


def test_buildings_come_and_go(tmp_path: Path) -> None:
    store, robot = tmp_path / "store", tmp_path / "r.xmap"
    to(store, built(tmp_path / "a.xmap", full_building(), full_building("annex", 1)))
    pulled(store, robot, "annex")
    more = pulled(store, robot, "house", "annex")
    assert more.building_ids == ("house", "annex") and more.received < more.whole + 2000
    assert fingerprint(robot) == fingerprint(tmp_path / "a.xmap")
    fewer = pulled(store, robot, "annex")
    assert fewer.units_fetched == 0 and fingerprint(robot) == fingerprint(
        built(tmp_path / "b.xmap", full_building("annex", 1))
    )


def test_damage_of_the_robots_copy_is_healed(tmp_path: Path) -> None:
    store, robot = tmp_path / "store", tmp_path / "r.xmap"
    to(store, built(tmp_path / "a.xmap", full_building()))
    pulled(store, robot, "house")
    edited(robot, "UPDATE places SET name='Kiosk' WHERE place_id='K1'")
    with pytest.raises(DatabaseError):
        fingerprint(robot)
    assert pulled(store, robot).units_fetched == 1
    assert fingerprint(robot) == fingerprint(tmp_path / "a.xmap")
    robot.write_bytes(robot.read_bytes()[:-16384])
    assert pulled(store, robot, "house").changed
    assert fingerprint(robot) == fingerprint(tmp_path / "a.xmap")


class Interrupted(FolderStore):
    """A link that breaks after so many ranges."""

    ranges = 0

    def read_range(self, name: str, start: int, length: int) -> bytes:
        if name.startswith("objects/"):
            self.ranges -= 1
            if self.ranges < 0:
                raise FleetError("the link broke")
        return super().read_range(name, start, length)


def test_an_interrupted_pull_leaves_the_old_copy_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossover_models.fleet.sources.RUN_BYTES", 1)  # a request for each unit
    store, robot = tmp_path / "store", tmp_path / "r.xmap"
    to(store, built(tmp_path / "a.xmap", full_building()))
    pulled(store, robot, "house")
    old = robot.read_bytes()
    to(store, built(tmp_path / "b.xmap", full_building(seed=5)))
    link = Interrupted(store)
    link.ranges = 4
    with pytest.raises(FleetError, match="the link broke"):
        pull(ObjectSource(link), robot)
    assert robot.read_bytes() == old
    kept = tmp_path / ".r.xmap.pulled"
    with kept.open("ab") as file:  # what a kill cut off, and what a disk did
        file.write(hashlib.sha256(b"whole").digest() + (5).to_bytes(8, "little") + b"half!")
        file.write(bytes(20))
    done = pulled(store, robot)
    assert done.units_resumed == 3 and done.units_fetched >= 1
    assert fingerprint(robot) == fingerprint(tmp_path / "b.xmap") and not kept.exists()


def test_two_pulls_of_one_file_do_not_meet(tmp_path: Path) -> None:
    to(tmp_path / "store", built(tmp_path / "a.xmap", full_building()))
    with Journal(tmp_path / "r.xmap"), pytest.raises(FleetError, match=r"r\.xmap: another pull is writing it"):
        pulled(tmp_path / "store", tmp_path / "r.xmap", "house")
    assert pulled(tmp_path / "store", tmp_path / "r.xmap", "house").changed


class Ranges(http.server.SimpleHTTPRequestHandler):
    """A web server's ranges, on kept connections; ``ranged`` off, it sends the whole as Python's own does."""

    protocol_version = "HTTP/1.1"
    ranged = True

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data, asked = path.read_bytes(), re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        status = 206 if asked and self.ranged else 200
        if status == 206:
            data = data[int(asked[1]) : int(asked[2]) + 1]
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(params=[True, False], ids=["ranges", "whole"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    handler = type("Handler", (Ranges,), {"ranged": request.param})
    (tmp_path / "store").mkdir()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(tmp_path / "store"))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_over_http(tmp_path: Path, served: str) -> None:
    robot = tmp_path / "r.xmap"
    to(tmp_path / "store", built(tmp_path / "a.xmap", full_building("annex 2/b")))
    pulled(served, robot, "annex 2/b")
    to(tmp_path / "store", built(tmp_path / "b.xmap", renamed(full_building("annex 2/b"), "S1", "Archive")))
    assert pulled(served + "/", robot).units_fetched == 1
    assert fingerprint(robot) == fingerprint(tmp_path / "b.xmap")
    with pytest.raises(FleetError, match=r"no building attic$"):
        pulled(served, robot, "attic")


def command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    status = main(["map", *(str(argument) for argument in arguments)])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, store, robot = built(tmp_path / "a.xmap", full_building()), tmp_path / "store", tmp_path / "r.xmap"
    status, said, _ = command(capsys, "publish", path, "--to", store, "--objects-only")
    assert status == 0 and "house" in said
    told = ["--exec", f"touch '{tmp_path / 'told'}'"]
    status, said, _ = command(capsys, "pull", "--from", store, "--building", "house", "--out", robot, *told)
    assert status == 0 and re.search(r"replaced \(house\); [\d.]+ of [\d.]+ kB .* 17 of 17 units", said), said
    (tmp_path / "told").unlink()
    status, said, _ = command(capsys, "pull", "--from", store.as_uri(), "--out", robot, *told)
    assert status == 0 and "up to date (house)" in said and not (tmp_path / "told").exists()
    status, _, error = command(capsys, "pull", "--from", store, "--out", robot, "--every", "-1")
    assert status == 2 and "--every -1" in error


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://127.0.0.1:1/maps", "http://127.0.0.1:1/maps: cannot be reached: .*refused"),
        ("http://127.0.0.1:port/", "expected http://HOST"),
        ("gopher://x/y", "gopher://x/y: unknown kind of store; known are"),
        ("nowhere/maps", "nowhere/maps: no such folder"),
        ("file://host/maps", "begins with file:///"),
        ("", "empty address"),
    ],
)
def test_a_source_that_cannot_be_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], uri: str, said: str
) -> None:
    robot = built(tmp_path / "r.xmap", full_building())
    held = robot.read_bytes()
    status, _, error = command(capsys, "pull", "--from", uri, "--out", robot)
    assert status == 2 and re.search(said, error), error
    assert error.count("\n") == 1 and robot.read_bytes() == held
    assert not list(tmp_path.glob(".*"))
    fingerprint(robot)  # the robot localizes on


def test_buildings_that_are_not_there(tmp_path: Path) -> None:
    to(tmp_path / "store", built(tmp_path / "a.xmap", full_building(), full_building("annex", 1)))
    with pytest.raises(FleetError, match="no building attic; it holds annex, house"):
        pulled(tmp_path / "store", tmp_path / "r.xmap", "house", "attic")
    with pytest.raises(FleetError, match=r"r\.xmap: holds no building yet; name those"):
        pulled(tmp_path / "store", tmp_path / "r.xmap")
    with pytest.raises(FleetError, match=r"a\.xmap: no building attic; it holds house, annex"):
        publish(tmp_path / "a.xmap", open_store(str(tmp_path / "store"), write=True), building_ids=("attic",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FleetError, match="nothing is published there"):
        pulled(tmp_path / "empty", tmp_path / "r.xmap", "house")
    assert not (tmp_path / "r.xmap").exists()


def test_another_encoder_is_refused_on_both_sides(tmp_path: Path) -> None:
    store, robot = tmp_path / "store", tmp_path / "r.xmap"
    to(store, built(tmp_path / "a.xmap", full_building(), full_building("annex", 1)))
    pulled(store, robot, "house")
    other = built(tmp_path / "b.xmap", full_building(), encoder=OTHER)
    with pytest.raises(FleetError, match=f"house is of encoder {HashEncoder().fingerprint}, but .*{OTHER.fingerprint}"):
        to(store, other)
    to(store, other, change_encoder=True)
    held = robot.read_bytes()
    with pytest.raises(
        DatabaseError, match=f"house is of encoder {OTHER.fingerprint}, but .*{HashEncoder().fingerprint}"
    ):
        pulled(store, robot)
    with pytest.raises(FleetError, match="house and annex do not fit one file: encoder_fingerprint"):
        pulled(store, tmp_path / "s.xmap", "house", "annex")
    assert robot.read_bytes() == held
    pulled(store, robot, change_encoder=True)
    assert fingerprint(robot) == fingerprint(other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 2}, "schema version 2 is older than 3; build and publish it again"),
        ({"schema_version": 9}, "schema version 9 is newer than 3; update this software"),
        ({"format": 2}, "format 2, but 1 is read; update this software"),
        ({"source": "elsewhere"}, "damaged: its digest does not fit"),
        ({"building_id": "annex"}, "is the head of building annex"),
        ({"levels": [{"level_id": "L1", "root": "../../x", "units": 1, "size": 99}]}, "make no sense"),
        ({"levels": 3}, "damaged: TypeError"),
    ],
)
def test_heads_that_make_no_sense(tmp_path: Path, change: dict[str, object], said: str) -> None:
    to(tmp_path / "store", built(tmp_path / "a.xmap", full_building()))
    head = tmp_path / "store" / head_name("house")
    body = json.loads(head.read_text()) | change
    if "source" not in change:
        body.pop("digest")
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        body["digest"] = hashlib.sha256(text.encode()).hexdigest()
    head.write_text(json.dumps(body))
    with pytest.raises(FleetError, match=said):
        pulled(tmp_path / "store", tmp_path / "r.xmap", "house")
    head.write_bytes(b"\xff\x00 no JSON")
    with pytest.raises(FleetError, match="damaged"):
        pulled(tmp_path / "store", tmp_path / "r.xmap", "house")
    to(tmp_path / "store", tmp_path / "a.xmap")  # publishing is the cure
    assert pulled(tmp_path / "store", tmp_path / "r.xmap", "house").changed


@pytest.mark.parametrize("damage", ["index", "unit", "cut", "missing"])
def test_corrupted_objects_are_named_and_repaired(tmp_path: Path, damage: str) -> None:
    store, robot = tmp_path / "store", tmp_path / "r.xmap"
    path = built(tmp_path / "a.xmap", full_building())
    to(store, path)
    root = BuildingHead.from_json((store / head_name("house")).read_bytes(), "head").levels[0].root
    item = store / "objects" / root[:2] / root
    data = bytearray(item.read_bytes())
    data[20 if damage == "index" else -20] ^= 1
    item.write_bytes(data[:-9] if damage == "cut" else data)
    if damage == "missing":
        item.unlink()
    with pytest.raises(FleetError, match=f"object {root[:16]} .*(corrupted|missing)"):
        pulled(store, robot, "house")
    assert not robot.exists()
    if damage in ("index", "unit"):
        (one,) = to(store, path)
        assert one.written == 0
    (one,) = to(store, path, check=True)
    assert one.levels_written == 1
    pulled(store, robot, "house")
    assert fingerprint(robot) == fingerprint(path)


def test_what_is_no_map_is_neither_published_nor_replaced(tmp_path: Path) -> None:
    path = built(tmp_path / "a.xmap", full_building())
    to(tmp_path / "store", path)
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear reader")
    with pytest.raises(DatabaseError, match="is not a map database"):
        to(tmp_path / "store", letter)
    with pytest.raises(DatabaseError, match=r"letter\.txt: exists and is not a map database; it is left as it is"):
        pulled(tmp_path / "store", letter, "house")
    edited(path, "UPDATE texts SET sentence='A cellar.'")
    with pytest.raises(DatabaseError, match="content is"):
        to(tmp_path / "store", path)
    edited(path, "PRAGMA user_version=2")
    with pytest.raises(DatabaseError, match="schema version 2 is older"):
        to(tmp_path / "store", path)


def test_assembling_something_else_is_noticed(tmp_path: Path) -> None:
    with LocalMap(built(tmp_path / "a.xmap", full_building())) as local:
        building = local.building("house")
        units = [[local.unit(location) for location in level.locations] for level in building.levels]
        lost = [units[0][:-1], units[1]]
        with pytest.raises(FleetError, match="house read back is not what was published"):
            assemble(tmp_path / "b.xmap", [building.head], "", lambda head: lost)
        with pytest.raises(FleetError, match=r"level L2: unit of plans: comes before the level's own"):
            assemble(tmp_path / "b.xmap", [building.head], "", lambda head: [units[0], units[1][1:]])
    assert not (tmp_path / "b.xmap").exists() and not list(tmp_path.glob(".b*"))


def test_the_nodes_do_not_depend_on_the_fleet() -> None:
    root = Path(__file__).resolve().parents[1]
    online = [*(root / "crossover_ros").rglob("*.py"), *(root / "crossover_models").glob("*.py")]
    assert len(online) > 20
    naming = [path.name for path in online if "crossover_models.fleet" in path.read_text()]
    assert naming == ["cli.py"]  # which lists the benchmark


def test_tokens_and_interaction_travel(tmp_path: Path) -> None:
    from sets_encoder import random_encoder

    path = tmp_path / "a.xmap"
    build_database(full_building(), random_encoder(), path)
    to(tmp_path / "store", path)
    pulled(tmp_path / "store", tmp_path / "r.xmap", "house")
    with MapDatabase.open(tmp_path / "r.xmap") as database:
        assert database.interaction is not None
    assert rows(tmp_path / "r.xmap") == rows(path)
    assert np.any([row[5] is not None for row in rows(path)["embeddings"]])


def test_the_benchmark_counts_what_travels() -> None:
    pulls = {row["change"]: row for row in measure(2, 2) if row["source"] == "objects"}
    first, nothing, name, code = pulls.values()
    assert first["received"] > first["whole"] > 100_000
    assert nothing["received"] < name["received"] < 3_000
    assert abs(code["received"] - name["received"] - 5 * 4 * DIM) < 500  # a place's codes, and no more


def test_a_pull_that_finds_nothing_new_clears_what_a_killed_one_left(tmp_path: Path) -> None:
    to(tmp_path / "store", built(tmp_path / "a.xmap", full_building()))
    robot = tmp_path / "robot" / "r.xmap"
    pulled(tmp_path / "store", robot, "house")
    for name in (".r.xmap.building", ".r.xmap.building-wal", ".r.xmap.building-shm", ".r.xmap.lock"):
        (robot.parent / name).write_bytes(b"cut off")
    with Journal(robot) as journal:
        journal.add(hashlib.sha256(b"unit").digest(), b"unit")
    assert not pulled(tmp_path / "store", robot).changed
    assert [path.name for path in robot.parent.iterdir()] == [robot.name]
    # What another process is writing stays.
    with DatabaseWriter(robot, "0123456789abcdef", "hash", 8):
        assert not pulled(tmp_path / "store", robot).changed
        assert (robot.parent / ".r.xmap.building").exists()
