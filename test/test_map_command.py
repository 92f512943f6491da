"""``crossover map`` from the outside: build, info, show, export, and what it says about bad input."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from planted_building import HashEncoder, full_building
from test_import_rmf import two_rooms, written

from crossover_models.building import Building, BuildingError, Lift
from crossover_models.cli import main
from crossover_models.map_database.build import build_database
from crossover_models.map_database.codec import decode_nav2
from crossover_models.map_database.sources import read_source
from crossover_models.map_database.store import MapDatabase
from crossover_models.observation import Modality


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> HashEncoder:
    """In the place of the shipped one."""
    import crossover_models.encoders

    fake = HashEncoder()
    monkeypatch.setattr(crossover_models.encoders, "load_encoder", lambda checkpoint, device: fake)
    return fake


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    out = capsys.readouterr()
    return status, out.out, out.err


def test_two_buildings_in_one_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoder: HashEncoder
) -> None:
    first = written(tmp_path, two_rooms())
    second = tmp_path / "annex.building.yaml"
    second.write_text(first.read_text())
    out = tmp_path / "maps" / "both.xmap"
    status, shown, _ = run(capsys, "map", "build", first, second, "--out", out)
    assert status == 0
    assert "house/L1" in shown and "annex/L1" in shown and encoder.fingerprint in shown
    with MapDatabase.open(out, encoder.fingerprint) as database:
        assert database.building_ids() == ("house", "annex")
        assert {place.name for place in database.places("annex")} == {"Kitchen", "Meeting room 2"}
    status, _, error = run(capsys, "map", "build", first, first, "--out", tmp_path / "twice.xmap")
    assert status == 2 and "building house: given twice" in error
    assert not (tmp_path / "twice.xmap").exists()


def test_info_counts_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    building = full_building()
    build_database(building, HashEncoder(), tmp_path / "x.xmap")
    status, shown, _ = run(capsys, "map", "info", tmp_path / "x.xmap", "--verify", "--json", tmp_path / "x.json")
    assert status == 0 and "house/L1" in shown
    facts = json.loads((tmp_path / "x.json").read_text())
    assert facts["fingerprint"] in shown and facts["bytes"] == (tmp_path / "x.xmap").stat().st_size
    for entry, level in zip(facts["levels"], building.levels, strict=True):
        assert entry["places"] == len(level.places)
        assert entry["modalities"]["text"] == sum(bool(place.text) for place in level.places)
        assert entry["modalities"]["mesh"] == sum(bool(place.furnishings) for place in level.places)
        assert entry["free_area_m2"] == pytest.approx(level.plan.area_m2, abs=0.06)


def test_show_draws_the_plan_to_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_database(read_source(str(written(tmp_path, two_rooms()))), HashEncoder(), tmp_path / "x.xmap")
    status, shown, _ = run(capsys, "map", "show", tmp_path / "x.xmap", "--out", tmp_path / "x.png", "--level", "L1")
    assert status == 0 and "x.png" in shown
    picture = cv2.imread(str(tmp_path / "x.png"))
    assert picture is not None and min(picture.shape[:2]) > 300
    dark = (picture.max(axis=2) < 60).mean()
    assert 0.003 < dark < 0.2  # walls and letters, not a black sheet
    status, _, error = run(capsys, "map", "show", tmp_path / "x.xmap", "--out", tmp_path / "x.png", "--level", "attic")
    assert status == 2 and "house/L1" in error
    status, _, error = run(capsys, "map", "show", tmp_path / "x.xmap", "--out", tmp_path / "x.docx")
    assert status == 2 and "x.docx" in error


def test_export_writes_what_map_server_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    building = read_source(str(written(tmp_path, two_rooms())))
    build_database(building, HashEncoder(), tmp_path / "x.xmap")
    status, shown, _ = run(capsys, "map", "export", tmp_path / "x.xmap", tmp_path / "nav2")
    assert status == 0
    file = Path(shown.strip())
    assert file == tmp_path / "nav2" / "house_L1.yaml"
    text = file.read_text()
    plan = decode_nav2(text, (file.parent / yaml.safe_load(text)["image"]).read_bytes())
    assert np.array_equal(plan.occupancy, building.levels[0].plan.occupancy)
    (tmp_path / "file").write_text("")
    status, _, error = run(capsys, "map", "export", tmp_path / "x.xmap", tmp_path / "file")
    assert status == 2 and "is not a directory" in error


def test_scale_is_taken_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoder: HashEncoder
) -> None:
    root = two_rooms()
    del root["levels"]["L1"]["measurements"]
    path = written(tmp_path, root)
    out = tmp_path / "x.xmap"
    status, _, error = run(capsys, "map", "build", path, "--out", out)
    assert status == 2 and "level L1: no measurement" in error and "--scale L1=" in error
    assert error.count("\n") == 1 and not out.exists()
    for bad in ("L1", "L1=", "L1=0", "L1=nan", "L1=-1", "=0.02"):
        status, _, error = run(capsys, "map", "build", path, "--out", out, "--scale", bad)
        assert status == 2 and f"--scale {bad}:" in error
    assert run(capsys, "map", "build", path, "--out", out, "--scale", "L1=0.02")[0] == 0
    with MapDatabase.open(out) as database:
        assert database.floor_plan(database.levels()[0].key).size_m[0] == pytest.approx(11.1, abs=0.11)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("house.ifc", b"", "not an IFC file"),
        ("house.ifc", b"ISO-10303-21;\nHEADER;", "truncated IFC file"),
        ("house.building.yaml", b"levels: 3", "not an Open-RMF building"),
        ("house.dwg", b"AC1032", "unknown kind of source"),
        ("missing.ifc", None, "no such file"),
        ("procedural:x", None, "expected whole numbers"),
        ("procedural:1:99", None, "LEVELS 1 to 20"),
        ("procedural:1:1:7:3", None, "SEED"),
    ],
)
def test_bad_sources_end_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    encoder: HashEncoder,
    name: str,
    content: bytes | None,
    message: str,
) -> None:
    source = name if name.startswith("procedural") else str(tmp_path / name)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    status, _, error = run(capsys, "map", "build", source, "--out", tmp_path / "x.xmap")
    assert status == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "x.xmap").exists()


def test_a_directory_is_no_source_and_no_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoder: HashEncoder
) -> None:
    status, _, error = run(capsys, "map", "build", tmp_path, "--out", tmp_path / "x.xmap")
    assert status == 2 and "is a directory" in error
    status, _, error = run(capsys, "map", "build", written(tmp_path, two_rooms()), "--out", tmp_path)
    assert status == 2 and "is a directory" in error


@pytest.mark.parametrize("command", [["info"], ["show", "--out", "x.png"], ["export", "maps"]])
def test_what_is_no_database_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    (tmp_path / "noise.xmap").write_bytes(bytes(range(256)) * 40)
    for path in (tmp_path, tmp_path / "none.xmap", tmp_path / "noise.xmap"):
        status, _, error = run(capsys, "map", command[0], path, *command[1:])
        assert status == 2 and str(path) in error and error.count("\n") == 1


def test_a_procedural_building_has_all_five_modalities(tmp_path: Path) -> None:
    building: Any = read_source("procedural:3:1:3")
    build_database(building, HashEncoder(), tmp_path / "x.xmap")
    with MapDatabase.open(tmp_path / "x.xmap") as database:
        held = {m: len(database.embeddings(building.building_id, m)[0]) for m in Modality}
        count = len(database.places())
        assert count >= 2 and all(n > 0 for n in held.values()) and held[Modality.IMAGE] == count
    with pytest.raises(BuildingError):
        read_source("procedural:-1")


def test_the_shipped_encoder_builds_what_the_commands_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole way once with the real weights: names in the house are the users' own, brackets and all."""
    out, picture, facts = tmp_path / "[/x] $1.xmap", tmp_path / "map.png", tmp_path / "facts.json"
    assert run(capsys, "map", "build", "procedural:4:1:3", "--out", out, "--device", "cpu")[0] == 0
    status, shown, error = run(capsys, "map", "info", out, "--json", facts, "--verify")
    assert status == 0 and error == "" and "[/x] $1.xmap" in shown.replace("\n", "")
    told = json.loads(facts.read_text())
    assert set(told) == {
        "path", "bytes", "schema_version", "created", "software_version", "fingerprint", "encoder_fingerprint",
        "encoder_profile", "embedding_dim", "sources", "levels",
    }  # fmt: skip
    assert told["bytes"] == out.stat().st_size and told["path"] == str(out)
    (level,) = told["levels"]
    assert level["places"] == 4
    assert level["modalities"] == dict.fromkeys(("floor_plan", "mesh", "text", "image", "point_cloud"), 4)
    with MapDatabase.open(out, told["encoder_fingerprint"]) as database:
        for modality in Modality:
            ids, matrix = database.embeddings(level["building"], modality)
            assert matrix.shape == (4, told["embedding_dim"]) and len(set(ids)) == 4
            np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1.0, atol=1e-4)
    for name in ("", level["level"], f"{level['building']}/{level['level']}"):
        assert run(capsys, "map", "show", out, "--out", picture, "--level", name)[0] == 0
        image = cv2.imread(str(picture))
        assert min(image.shape[:2]) > 300 and max(image.shape[:2]) < 4000 and image.std() > 10


def test_names_that_look_like_markup_or_formulas_are_shown_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    building = full_building("[/bold] $x_$")
    level = building.levels[0]
    place = dataclasses.replace(level.places[0], name=r"$\\frac{$ [/red]")
    level = dataclasses.replace(
        level, level_id="[b]", name="$^$ [/]", places=(place,), lifts=(Lift("$_$", np.array([1.0, 9.0])),)
    )
    odd = Building("[/bold] $x_$", (level,), "IFC [/i].ifc")
    out = tmp_path / "odd.xmap"
    build_database(odd, HashEncoder(), out)
    status, shown, error = run(capsys, "map", "info", out)
    assert status == 0 and error == ""
    assert "[/bold] $x_$: IFC [/i].ifc" in shown and "[/bold] $x_$/[b]" in shown
    assert run(capsys, "map", "show", out, "--out", tmp_path / "odd.png")[0] == 0
    assert run(capsys, "map", "export", out, tmp_path / "maps")[0] == 0
    assert all(path.parent == tmp_path / "maps" for path in (tmp_path / "maps").rglob("*"))


def test_what_show_cannot_do_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "house.xmap"
    build_database(full_building(), HashEncoder(), out)
    for arguments, word in (
        (("--out", tmp_path / "x.png", "--level", "L9"), "L9"),
        (("--out", tmp_path / "x.xyz"), "x.xyz"),
        (("--out", tmp_path / "none" / "x.png"), "none"),
        (("--out", tmp_path), str(tmp_path)),
        (("--out", tmp_path / "picture"), "picture"),
    ):
        status, shown, error = run(capsys, "map", "show", out, *arguments)
        assert (status, shown) == (2, "") and word in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["house.xmap"]
    status, _, error = run(capsys, "map", "info", out, "--json", tmp_path / "none" / "x.json")
    assert status == 2 and error.count("\n") == 1
    (tmp_path / "file").write_text("mine")
    status, _, error = run(capsys, "map", "export", out, tmp_path / "file")
    assert status == 2 and error.count("\n") == 1 and (tmp_path / "file").read_text() == "mine"


def test_build_leaves_foreign_files_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoder: HashEncoder
) -> None:
    foreign = tmp_path / "thesis.doc"
    foreign.write_bytes(b"mine" * 100)
    for out in (foreign, tmp_path, foreign / "x.xmap"):
        status, _, error = run(capsys, "map", "build", "procedural:1:1:3", "--out", out)
        assert status == 2 and str(out.parent) in error and error.count("\n") == 1
    assert foreign.read_bytes() == b"mine" * 100 and len(list(tmp_path.iterdir())) == 1


def test_a_place_that_cannot_be_embedded_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import crossover_models.encoders

    monkeypatch.setattr(crossover_models.encoders, "load_encoder", lambda *_: HashEncoder(refused="e"))
    status, _, error = run(capsys, "map", "build", "procedural:1:1:3", "--out", tmp_path / "x.xmap")
    assert status == 2 and "is refused" in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
