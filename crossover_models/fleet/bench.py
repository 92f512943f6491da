"""``crossover bench fleet``: what travels, and how long it takes, when one place of a building changes.

The building is random: every room has pictures, a cloud and a code of each modality, of the sizes that real ones have.
Store and robot lie on one disk, so that seconds are those of reading, checking and writing; a link adds its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossover_models.building import Building
    from crossover_models.fleet.pull import Pulled
    from crossover_models.fleet.sources import UnitSource

DIM = 768
ENCODER = "bench-of-the-fleet"


def add_command(subparsers: Any) -> None:
    """Add ``fleet`` to an argparse subparsers object."""
    parser = subparsers.add_parser("fleet", help="bytes and seconds of a robot's pull when one place changed")
    parser.add_argument("--levels", type=int, default=10)
    parser.add_argument("--rooms", type=int, default=12, help="a level")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover bench fleet``."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    if not 1 <= arguments.levels <= 200 or not 1 <= arguments.rooms <= 1000:
        raise ValueError(f"--levels {arguments.levels} --rooms {arguments.rooms}: expected 1 to 200, and 1 to 1000")
    rows = measure(arguments.levels, arguments.rooms)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"simulated": True, "pulls": rows}, indent=2) + "\n", encoding="utf-8")
    table = Table(box=SIMPLE_HEAD, caption=f"{arguments.levels} levels of {arguments.rooms} random rooms")
    for name in ("read from", "what changed", "travelled\n(kB)", "whole\n(kB)", "time\n(s)"):
        table.add_column(name, justify="left" if name[0] in "rw" and "(" not in name else "right")
    for row in rows:
        sizes = (f"{row['received'] / 1e3:.1f}", f"{row['whole'] / 1e3:.1f}", f"{row['seconds']:.2f}")
        table.add_row(row["source"], row["change"], *sizes)
    Console().print(table)
    return 0


def measure(levels: int, rooms: int) -> list[dict[str, Any]]:
    """One record for each pull; Lance's are left out where it is not installed."""
    from crossover_models.fleet.master import Master, MasterSource
    from crossover_models.fleet.publish import publish
    from crossover_models.fleet.pull import pull
    from crossover_models.fleet.sources import ObjectSource
    from crossover_models.fleet.stores import open_store

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        uri = str(Path(folder) / "store")
        lance = find_spec("lance") is not None
        ways: dict[str, Callable[[], UnitSource]] = {"objects": lambda: ObjectSource(open_store(uri))}
        if lance:
            ways["Lance"] = lambda: MasterSource(uri, ENCODER)
        first = random_building(levels, rooms)
        for change, building, code in (
            ("all (first pull)", first, 0),
            ("nothing", first, 0),
            ("the name of one place", renamed(first), 0),
            ("one place's code of one modality", renamed(first), 1),
        ):
            path = Path(folder) / "map.xmap"
            write(building, path, code)
            publish(path, open_store(uri, write=True), Master(uri) if lance else None)
            for name, source in ways.items():
                done: Pulled = pull(source(), Path(folder) / f"{name}.xmap", ("house",))
                cost = {"received": done.received, "whole": done.whole, "seconds": round(done.seconds, 3)}
                rows.append({"source": name, "change": change, **cost})
    return rows


def random_building(levels: int, rooms: int) -> Building:
    """A building whose pictures and clouds are noise, which no codec makes smaller than real ones."""
    import numpy as np

    from crossover_models.building import Building, Level, Place
    from crossover_models.floor_plan import FREE, FloorPlan

    rng = np.random.default_rng(0)
    made = []
    for number in range(levels):
        plan = FloorPlan(np.full((200, 300), FREE, dtype=np.int8), 0.1, (0.0, 0.0))
        places = tuple(
            Place(
                f"L{number}R{room}", f"Room {number}.{room}", "office",
                np.array([[0, 0], [4, 0], [4, 5], [0, 5]], dtype=np.float64) + room, ("An office.",),
                tuple(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8) for _ in range(4)),
                rng.normal(size=(2000, 3)).astype(np.float32),
            )
            for room in range(rooms)
        )  # fmt: skip
        made.append(Level(f"L{number}", f"Level {number}", 3.0 * number, 2.8, plan, places))
    return Building("house", tuple(made), "random")


def renamed(building: Building) -> Building:
    """The same with another name for the first place of the last level."""
    *levels, last = building.levels
    places = (dataclasses.replace(last.places[0], name="Archive"), *last.places[1:])
    return dataclasses.replace(building, levels=(*levels, dataclasses.replace(last, places=places)))


def write(building: Building, path: Path, variant: int) -> None:
    """As a database with random codes; ``variant`` changes one code of the first place."""
    import numpy as np

    from crossover_models.map_database.writer import DatabaseWriter
    from crossover_models.observation import Code, Modality

    rng = np.random.default_rng(1)
    with DatabaseWriter(path, ENCODER, "random", DIM) as writer:
        writer.add_building(building)
        for modality in Modality:
            codes: dict[str, Code] = {}
            for place in (place for level in building.levels for place in level.places):
                vector = rng.normal(size=DIM)
                if variant and not codes and modality is Modality.TEXT:
                    vector = vector[::-1]
                codes[place.place_id] = Code(np.asarray(vector / np.linalg.norm(vector), dtype=np.float32))
            writer.add_embeddings("house", modality, codes)
        writer.publish()
