"""The master in Lance, on a disk and on an emulated S3: whole in itself, one commit a building, only changes."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from planted_building import HashEncoder, full_building
from test_fleet import OTHER, built, fingerprint, renamed

from crossover_models.cli import main
from crossover_models.fleet.master import Master, MasterSource
from crossover_models.fleet.publish import Published, publish
from crossover_models.fleet.pull import pull
from crossover_models.fleet.sources import ObjectSource
from crossover_models.fleet.stores import StoreError, open_store
from crossover_models.fleet.units import FleetError
from crossover_models.map_database.store import MapDatabase
from crossover_models.observation import Modality

ENCODER = HashEncoder().fingerprint


def needs_lance() -> None:
    pytest.importorskip("lance", reason="the extra fleet is not installed")


def to(uri: str, path: Path, *building_ids: str, **options: bool) -> tuple[Published, ...]:
    return publish(path, open_store(uri, write=True), Master(uri), building_ids, **options)


def test_without_lance_one_line_names_the_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lance", None)
    path = built(tmp_path / "a.xmap", full_building())
    assert main(["map", "publish", str(path), "--to", str(tmp_path / "store")]) == 2
    said = capsys.readouterr().err
    assert "needs lance" in said and "'crossover_ros[fleet]'" in said and "--objects-only" in said
    assert said.count("\n") == 1 and not (tmp_path / "store").exists()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    with pytest.raises(StoreError, match="needs pyarrow of the extra fleet"):
        open_store("s3://maps/fleet")


def test_the_master_is_whole_in_itself(tmp_path: Path) -> None:
    needs_lance()
    uri, path = str(tmp_path / "store"), built(tmp_path / "a.xmap", full_building("o'house"), full_building("annex", 1))
    assert [one.master_rows for one in to(uri, path)] == [6, 6]
    pull(MasterSource(uri, ENCODER), tmp_path / "r.xmap", ("o'house", "annex"))
    assert fingerprint(tmp_path / "r.xmap") == fingerprint(path)
    table = Master(uri).table(ENCODER)
    assert table is not None
    rows = {row["place_id"]: row for row in table.to_table(filter="building_id = 'annex'").to_pylist()}
    with MapDatabase.open(path) as database:
        for modality in Modality:
            vectors = dict(zip(*database.embeddings("annex", modality), strict=True))
            for place_id in ("K1", "S1", "A1"):
                held = rows[place_id][f"vector_{modality.value}"]
                assert (held is None) == (place_id not in vectors)
                assert held is None or np.array_equal(np.array(held, np.float32), vectors[place_id])


def test_only_what_changed_is_written_and_history_stays(tmp_path: Path) -> None:
    needs_lance()
    uri = str(tmp_path / "store")
    first = built(tmp_path / "a.xmap", full_building(), full_building("annex", 1))
    to(uri, first)
    version = Master(uri).table(ENCODER).version
    assert [one.master_rows for one in to(uri, first)] == [0, 0]
    house = renamed(full_building(), "S1", "Archive")
    ground, attic = house.levels
    fewer = dataclasses.replace(house, levels=(ground, dataclasses.replace(attic, places=())))
    second = built(tmp_path / "b.xmap", fewer)
    (one,) = to(uri, second)
    assert one.master_rows == 3  # the place's row, the building's own, and the room in the attic gone
    table = Master(uri).table(ENCODER)
    assert table.version == version + 1 and table.count_rows("building_id = 'annex'") == 6
    assert table.count_rows("building_id = 'house'") == 5
    assert table.checkout_version(version).count_rows("name = 'Archive'") == 0
    pull(MasterSource(uri, ENCODER), tmp_path / "r.xmap", ("house",))
    assert fingerprint(tmp_path / "r.xmap") == fingerprint(second)


def test_each_encoder_has_a_table(tmp_path: Path) -> None:
    needs_lance()
    uri = str(tmp_path / "store")
    to(uri, built(tmp_path / "a.xmap", full_building(), full_building("annex", 1)))
    other = built(tmp_path / "b.xmap", full_building(), encoder=OTHER)
    with pytest.raises(FleetError, match="house is of encoder"):
        to(uri, other)
    to(uri, other, change_encoder=True)
    assert Master(uri).table(ENCODER).count_rows("building_id = 'house'") == 0
    assert Master(uri).table(OTHER.fingerprint).count_rows() == 6
    with pytest.raises(FleetError, match="nothing is published there with encoder 00"):
        MasterSource(uri, "00")
    with pytest.raises(FleetError, match="master: no building house"):
        pull(MasterSource(uri, ENCODER), tmp_path / "r.xmap", ("house",))


def test_a_master_that_cannot_be_written(tmp_path: Path) -> None:
    needs_lance()
    with pytest.raises(StoreError, match="no master there"):
        Master("http://127.0.0.1/maps")
    path = built(tmp_path / "a.xmap", full_building())
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "master").write_text("no folder")
    with pytest.raises(StoreError, match="master database: "):
        to(str(tmp_path / "store"), path)
    with pytest.raises(FleetError, match="no building house"):  # the head comes last: readers see nothing of it
        pull(ObjectSource(open_store(str(tmp_path / "store"))), tmp_path / "r.xmap", ("house",))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An emulated S3 with one bucket."""
    needs_lance()
    server_module = pytest.importorskip("moto.server", reason="no S3 emulator (moto) is installed")
    server = server_module.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "y"), ("REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    import boto3

    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="maps")
    yield "s3://maps/fleet one"
    server.stop()


def test_on_an_object_store(tmp_path: Path, bucket: str) -> None:
    robot = tmp_path / "r.xmap"
    with pytest.raises(FleetError, match="no building house; nothing is published there"):
        pull(ObjectSource(open_store(bucket)), robot, ("house",))
    to(bucket, built(tmp_path / "a.xmap", full_building(), full_building("annex 2/b", 1)))
    with pytest.raises(FleetError, match="no building attic; it holds annex 2/b, house"):
        pull(ObjectSource(open_store(bucket)), robot, ("attic",))
    pull(ObjectSource(open_store(bucket)), robot, ("house", "annex 2/b"))
    assert fingerprint(robot) == fingerprint(tmp_path / "a.xmap")
    (one,) = to(bucket, built(tmp_path / "b.xmap", renamed(full_building(), "S1", "Archive")))
    assert (one.levels_written, one.master_rows) == (1, 2)
    assert pull(ObjectSource(open_store(bucket)), robot, ("house",)).units_fetched == 1
    assert fingerprint(robot) == fingerprint(tmp_path / "b.xmap")
    pull(MasterSource(bucket, ENCODER), tmp_path / "s.xmap", ("annex 2/b", "house"))
    assert fingerprint(tmp_path / "s.xmap") == fingerprint(
        built(tmp_path / "c.xmap", full_building("annex 2/b", 1), renamed(full_building(), "S1", "Archive"))
    )
    with pytest.raises(StoreError, match="s3://nowhere/x: "):
        open_store("s3://nowhere/x", write=True).write("buildings/x.json", b"{}")
