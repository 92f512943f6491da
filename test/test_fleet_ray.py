"""Buildings encoded by Ray make the very file that one process makes; what fails on a worker is one line here."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from planted_building import HashEncoder, full_building
from test_fleet import OTHER, built, fingerprint

from crossover_models.cli import main
from crossover_models.fleet import encode
from crossover_models.fleet.encode import build_with_ray, check_reachable, write_together
from crossover_models.fleet.extraction import LocalMap
from crossover_models.fleet.units import FleetError


def opened(*paths: Path) -> list[LocalMap]:
    return [LocalMap(path) for path in paths]


def test_files_of_workers_make_the_file_of_one_process(tmp_path: Path) -> None:
    parts = opened(
        built(tmp_path / "0.xmap", full_building()), built(tmp_path / "1.xmap", full_building("annex", 1))
    )  # fmt: skip
    write_together(["a.ifc", "b.ifc"], parts, tmp_path / "both.xmap")
    alone = built(tmp_path / "alone.xmap", full_building(), full_building("annex", 1))
    assert fingerprint(tmp_path / "both.xmap") == fingerprint(alone)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    first = built(tmp_path / "0.xmap", full_building())
    with pytest.raises(FleetError, match=r"building house: in a\.ifc and in b\.ifc; ids must differ"):
        write_together(["a.ifc", "b.ifc"], opened(first, first), tmp_path / "x.xmap")
    other = built(tmp_path / "1.xmap", full_building("annex"), encoder=OTHER)
    said = rf"b\.ifc: a worker encoded it with {OTHER.fingerprint}, another a\.ifc with {HashEncoder().fingerprint}"
    with pytest.raises(FleetError, match=said):
        write_together(["a.ifc", "b.ifc"], opened(first, other), tmp_path / "x.xmap")
    assert not (tmp_path / "x.xmap").exists()


def test_without_ray_one_line_names_the_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["map", "build", "a.ifc", "--out", str(tmp_path / "x.xmap"), "--ray", "local"]) == 2
    said = capsys.readouterr().err
    assert "--ray local: needs ray" in said and "'crossover_ros[fleet]'" in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.fixture
def ray_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cluster on this machine, with the encoder of the tests in its workers."""
    ray = pytest.importorskip("ray", reason="the extra fleet is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray makes one and keeps it in the user's home
    paths = [str(Path(encode.__file__).parents[2]), str(Path(__file__).parent)]
    environment = {"env_vars": {"PYTHONPATH": ":".join(paths), "OMP_NUM_THREADS": "1"}}
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield
    ray.shutdown()


def hashed(source: str, scales: object, checkpoint: str, device: str) -> bytes:
    """In the place of the encoders: a planted building, whatever the source is called."""
    import os
    import signal
    import tempfile

    from planted_building import HashEncoder, full_building

    from crossover_models.map_database.build import build_database

    name, seed, marker = source.split(":")
    if name == "damaged":
        raise ValueError("line 3: no such storey")
    if marker and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)  # the worker's machine goes down, once
    with tempfile.TemporaryDirectory() as folder:
        build_database(full_building(name, int(seed)), HashEncoder(), Path(folder) / "x.xmap")
        return (Path(folder) / "x.xmap").read_bytes()


def attempt(*arguments: object) -> tuple[bytes, str]:
    from test_fleet_ray import hashed

    encode.encode_source = hashed  # type: ignore[assignment]
    return encode._attempt(*arguments)  # type: ignore[arg-type]


@pytest.mark.usefixtures("ray_here")
def test_ray_builds_what_one_process_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import test_fleet_ray

    monkeypatch.setattr(encode, "_attempt", test_fleet_ray.attempt)
    said: list[str] = []
    sources = [f"house:0:{tmp_path / 'died'}", "annex:1:"]
    build_with_ray(sources, tmp_path / "ray.xmap", "auto", progress=said.append)
    assert sorted(said) == sorted(sources) and (tmp_path / "died").exists()
    alone = built(tmp_path / "alone.xmap", full_building(), full_building("annex", 1))
    assert fingerprint(tmp_path / "ray.xmap") == fingerprint(alone)
    with pytest.raises(FleetError, match="damaged:0:: line 3: no such storey"):
        build_with_ray(["damaged:0:", "annex:1:"], tmp_path / "none.xmap", "auto")
    assert {path.name for path in tmp_path.iterdir()} == {"ray.xmap", "alone.xmap", "died"}


@pytest.mark.parametrize("address", ["nowhere.invalid:6379", "ray://127.0.0.1:1", "127.0.0.1:port", "127.0.0.1:99999"])
def test_a_cluster_that_cannot_be_reached(address: str) -> None:
    with pytest.raises(FleetError, match=re.escape(f"--ray {address}: cannot be reached: ")):
        check_reachable(address)
