"""``crossover map`` from the outside: build, info, show, export, and what it says about bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from map_fakes import DigestEncoder, random_building
from test_import_rmf import two_rooms, written

from crossover_models.building import BuildingError
from crossover_models.cli import main
from crossover_models.map_database.build import build_database
from crossover_models.map_database.codec import decode_nav2
from crossover_models.map_database.sources import read_source
from crossover_models.map_database.store import MapDatabase


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> DigestEncoder:
    """In the place of the shipped one."""
    import crossover_models.encoders

    fake = DigestEncoder()
    monkeypatch.setattr(crossover_models.encoders, "load_encoder", lambda checkpoint, device: fake)
    return fake


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    out = capsys.readouterr()
    return status, out.out, out.err


def test_two_buildings_in_one_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoder: DigestEncoder
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
    building = random_building(1)
    build_database(building, DigestEncoder(), tmp_path / "x.xmap")
    status, shown, _ = run(capsys, "map", "info", tmp_path / "x.xmap", "--verify", "--json", tmp_path / "x.json")
    assert status == 0 and "tower/L0" in shown
    facts = json.loads((tmp_path / "x.json").read_text())
    assert facts["fingerprint"] in shown and facts["bytes"] == (tmp_path / "x.xmap").stat().st_size
    for entry, level in zip(facts["levels"], building.levels, strict=True):
        assert entry["places"] == len(level.places)
        assert entry["modalities"]["text"] == sum(bool(place.text) for place in level.places)
        assert entry["modalities"]["mesh"] == sum(bool(place.furnishings) for place in level.places)
        assert entry["free_area_m2"] == pytest.approx(level.plan.area_m2, abs=0.06)


def test_show_draws_the_plan_to_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_database(read_source(str(written(tmp_path, two_rooms()))), DigestEncoder(), tmp_path / "x.xmap")
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
    build_database(building, DigestEncoder(), tmp_path / "x.xmap")
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
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoder: DigestEncoder
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
    encoder: DigestEncoder,
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
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoder: DigestEncoder
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
    build_database(building, DigestEncoder(), tmp_path / "x.xmap")
    with MapDatabase.open(tmp_path / "x.xmap") as database:
        from crossover_models.observation import Modality

        held = {m: len(database.embeddings(building.building_id, m)[0]) for m in Modality}
        count = len(database.places())
        assert count >= 2 and all(n > 0 for n in held.values()) and held[Modality.IMAGE] == count
    with pytest.raises(BuildingError):
        read_source("procedural:-1")
