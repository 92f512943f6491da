"""Files: importers, the map database, bags, checkpoints, settings and trajectories."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from crossover_models.observation import Modality
from crossover_ros.faults.fuzz import samples
from crossover_ros.faults.fuzz.mutate import Rng, mutated_bytes, mutated_tree, odd_value
from crossover_ros.faults.fuzz.target import Make, Read, Target


def _bytes_of(sample: bytes) -> Make:
    return lambda rng: mutated_bytes(rng, sample)


def _half_trees(tree: Any, dump: Callable[[Any], str]) -> Make:
    """Half of the inputs mutated as text, half as a tree."""
    text = dump(tree).encode()

    def make(rng: Rng) -> bytes:
        if rng.random() < 0.5:
            return mutated_bytes(rng, text)
        return dump(mutated_tree(rng, tree)).encode("utf-8", errors="replace")

    return make


def _from_file(path: Path, read: Callable[[Path], Any]) -> Read:
    """A reader of bytes that are put into a file first."""

    def on_bytes(data: bytes) -> None:
        path.write_bytes(data)
        read(path)

    return on_bytes


# -- map database --------------------------------------------------------------------------------------------------


def read_map(path: Path) -> None:
    """Everything that a database holds, as the nodes and ``crossover map`` read it."""
    from crossover_models.map_database.commands import describe
    from crossover_models.map_database.store import MapDatabase

    with MapDatabase.open(path) as database:
        describe(database)
        for place in database.places():
            database.images(place.key.building_id, place.place_id)
            database.point_cloud(place.key.building_id, place.place_id)
        for level in database.levels():
            database.structure(level.key)
            database.drawing(level.key)
            database.furnishings(level.key)
        for building_id in database.building_ids():
            for modality in Modality:
                database.tokens(building_id, modality)
        database.verify()


def _database(folder: Path) -> tuple[Make, Read]:
    path = folder / "sample.xmap"
    samples.write_map(path)
    return _bytes_of(path.read_bytes()), _from_file(folder / "mutated.xmap", read_map)


def _cells(folder: Path) -> tuple[Make, Read]:
    """A single value of a table is replaced, where the file itself stays sound."""
    import apsw

    whole, path = folder / "sample.xmap", folder / "mutated.xmap"
    samples.write_map(whole)
    with apsw.Connection(str(whole), flags=apsw.SQLITE_OPEN_READONLY) as connection:
        tables = [r[0] for r in connection.execute("SELECT name FROM sqlite_schema WHERE type='table' ORDER BY 1")]
        columns = {t: [r[1] for r in connection.execute(f"PRAGMA table_info({t})")] for t in tables}
        cells = [
            (table, row[0], name, row[k + 1])
            for table in tables
            for row in connection.execute(f"SELECT rowid, {', '.join(columns[table])} FROM {table} ORDER BY rowid")
            for k, name in enumerate(columns[table])
        ]

    def make(rng: Rng) -> tuple[str, int, str, Any]:
        table, rowid, name, value = cells[int(rng.integers(len(cells)))]
        if isinstance(value, bytes):
            return table, rowid, name, mutated_bytes(rng, value)
        if isinstance(value, str) and rng.random() < 0.5:
            return table, rowid, name, mutated_bytes(rng, value.encode()).decode(errors="replace")
        odd = odd_value(rng)
        return table, rowid, name, odd if isinstance(odd, int | float | str) and odd is not None else None

    def read(cell: tuple[str, int, str, Any]) -> None:
        from crossover_models.config import LocalizerSettings
        from crossover_ros.map_session import open_map

        table, rowid, name, value = cell
        shutil.copyfile(whole, path)
        connection = apsw.Connection(str(path))
        try:
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("PRAGMA foreign_keys=OFF")
            connection.execute(f"UPDATE {table} SET {name}=? WHERE rowid=?", (value, rowid))
        except (apsw.Error, OverflowError):
            return  # SQLite itself refuses it.
        finally:
            connection.close()
        try:
            read_map(path)
        except ValueError:
            open_map(str(path), LocalizerSettings(), samples.ENCODER, None)  # It reads less, and must bear the rest.
        else:
            open_map(str(path), LocalizerSettings(), samples.ENCODER, None)

    return make, read


# -- importers -----------------------------------------------------------------------------------------------------


def _rmf(folder: Path) -> tuple[Make, Read]:
    from crossover_models.map_database.rmf import read_rmf

    return _half_trees(samples.rmf(), samples.text_of), _from_file(folder / "house.building.yaml", read_rmf)


def _ifc(folder: Path) -> tuple[Make, Read]:
    from crossover_models.map_database.ifc import read_ifc

    sample = samples.ifc()
    (folder / "whole.ifc").write_bytes(sample)
    read_ifc(folder / "whole.ifc")
    return _bytes_of(sample), _from_file(folder / "house.ifc", read_ifc)


# -- bags ----------------------------------------------------------------------------------------------------------


def _bag(storage: str) -> Callable[[Path], tuple[Make, Read]]:
    def prepare(folder: Path) -> tuple[Make, Read]:
        from crossover_ros.bag_player import BagFile
        from crossover_ros.bag_reading import Bag

        bag = folder / "bag"
        samples.write_bag(bag, storage)
        kept = {path.name: path.read_bytes() for path in bag.iterdir() if path.is_file()}

        def make(rng: Rng) -> tuple[str, bytes]:
            name = sorted(kept)[int(rng.integers(len(kept)))]
            return name, mutated_bytes(rng, kept[name])

        def read(edit: tuple[str, bytes]) -> None:
            for name, data in {**kept, edit[0]: edit[1]}.items():
                (bag / name).write_bytes(data)
            try:
                with Bag(bag) as opened:
                    for _ in opened.messages():
                        pass
            finally:
                with BagFile(bag) as raw:
                    for _ in raw.messages(raw.connections, raw.start_ns, raw.end_ns + 1):
                        pass

        read((sorted(kept)[0], kept[sorted(kept)[0]]))
        return make, read

    return prepare


# -- checkpoints and settings --------------------------------------------------------------------------------------


def _checkpoint(folder: Path) -> tuple[Make, Read]:
    from crossover_models.encoders.checkpoint import checkpoint_kind, load_checkpoint

    path = folder / "sample.safetensors"
    samples.write_checkpoint(path)
    weights, tree = path.read_bytes(), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    describe = _half_trees(tree, samples.json_of)

    def make(rng: Rng) -> tuple[bytes, bytes]:
        if rng.random() < 0.5:
            return mutated_bytes(rng, weights), samples.json_of(tree).encode()
        return weights, describe(rng)

    def read(pair: tuple[bytes, bytes]) -> None:
        path.write_bytes(pair[0])
        path.with_suffix(".json").write_bytes(pair[1])
        checkpoint_kind(path)
        load_checkpoint(str(path))

    read((weights, samples.json_of(tree).encode()))
    return make, read


def _shipped(folder: Path) -> tuple[Make, Read]:
    """The shipped weights with a mutated description, as the nodes open them."""
    from crossover_models.encoders import load_encoder
    from crossover_models.encoders.checkpoint import SHIPPED

    path = folder / "edge.safetensors"
    path.symlink_to(SHIPPED)
    tree = json.loads(SHIPPED.with_suffix(".json").read_text(encoding="utf-8"))

    def read(data: bytes) -> None:
        path.with_suffix(".json").write_bytes(data)
        load_encoder(str(path), "cpu")

    return _half_trees(tree, samples.json_of), read


def _settings(folder: Path) -> tuple[Make, Read]:
    from crossover_models.config import EncoderSettings, LocalizerSettings
    from crossover_models.simulation.settings import RunSettings

    kinds = (LocalizerSettings, EncoderSettings, RunSettings)
    makers = [_half_trees(kind().to_mapping(), samples.text_of) for kind in kinds]
    path = folder / "settings.yaml"

    def make(rng: Rng) -> tuple[int, bytes]:
        which = int(rng.integers(len(kinds)))
        return which, makers[which](rng)

    def read(pair: tuple[int, bytes]) -> None:
        path.write_bytes(pair[1])
        kinds[pair[0]].from_yaml(path)

    return make, read


def _codec(folder: Path) -> tuple[Make, Read]:
    from crossover_models.map_database import codec

    text, png = codec.encode_nav2(samples.plan(), "plan.png")
    arrays = [codec.encode_array(np.arange(30.0).reshape(10, 3)), codec.encode_array(np.zeros((200, 2)))]
    trees = _half_trees(yaml.safe_load(text), samples.text_of)

    def make(rng: Rng) -> tuple[int, bytes]:
        which = int(rng.integers(4))
        if which == 3:
            return 3, trees(rng)
        some = int(rng.integers(2))
        return which, mutated_bytes(rng, (arrays[some], samples.pictures()[some], png)[which])

    def read(pair: tuple[int, bytes]) -> None:
        which, data = pair
        if which == 0:
            codec.decode_array(data)
        elif which == 1:
            codec.decode_image(data)
        elif which == 2:
            codec.decode_nav2(text, data)
        else:
            codec.decode_nav2(data.decode(errors="replace"), png)

    return make, read


def _tum(folder: Path) -> tuple[Make, Read]:
    from crossover_models.evaluation.trajectory import read_tum

    return _bytes_of(samples.trajectory()), _from_file(folder / "truth.txt", read_tum)


TARGETS: tuple[Target, ...] = (
    Target("map database, bytes", 2_000, _database),
    Target("map database, values", 1_500, _cells),
    Target("map codecs", 8_000, _codec),
    Target("Open-RMF building", 1_500, _rmf),
    Target("IFC building", 30, _ifc),
    Target("bag, MCAP", 800, _bag("mcap")),
    Target("bag, SQLite", 600, _bag("sqlite3")),
    Target("checkpoint", 3_000, _checkpoint),
    Target("shipped weights, description", 25, _shipped),
    Target("settings", 3_000, _settings),
    Target("trajectory", 3_000, _tum),
)
