"""``crossover map``: build a database, say what is in it, draw it, export its plans."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover_models.fleet.commands import add_map_commands
from crossover_models.threads import use_threads

if TYPE_CHECKING:
    from crossover_models.map_database.store import MapDatabase


def add_command(subparsers: Any) -> None:
    """Add ``map`` and its commands to an argparse subparsers object."""
    parser = subparsers.add_parser("map", help="build and look at map databases")
    commands = parser.add_subparsers(dest="map_command", required=True, metavar="COMMAND")

    build = commands.add_parser("build", help="build a database from buildings")
    build.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="*.ifc, *.building.yaml, or procedural:SEED[:LEVELS[:ROOMS]]"
    )
    build.add_argument("--out", type=Path, required=True, help="file to write, customarily *.xmap")
    build.add_argument("--checkpoint", default="", help="encoder weights (safetensors); default: the shipped ones")
    build.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="where the encoders run")
    build.add_argument(
        "--scale",
        action="append",
        default=[],
        metavar="LEVEL=M_PER_PX",
        help="metres per pixel of a level's drawing that has no measurement (repeatable)",
    )
    build.add_argument(
        "--ray",
        default="",
        metavar="ADDRESS",
        help="encode buildings side by side by Ray: a cluster's HOST:PORT or ray://HOST:PORT, or local (extra fleet)",
    )
    build.set_defaults(run=run_build)

    info = commands.add_parser("info", help="say what is in a database")
    info.add_argument("database", type=Path)
    info.add_argument("--json", type=Path, help="write it to this file too")
    info.add_argument("--verify", action="store_true", help="read everything and compare with the fingerprint")
    info.set_defaults(run=run_info)

    index = commands.add_parser("index", help="index a map of very many places, beside it; smaller ones need none")
    index.add_argument("database", type=Path)
    index.set_defaults(run=run_index, resumes=True)

    show = commands.add_parser("show", help="draw plans, places, doors and furniture")
    show.add_argument("database", type=Path)
    show.add_argument("--out", type=Path, required=True, help="PNG or SVG file to write")
    show.add_argument("--level", default="", help="LEVEL or BUILDING/LEVEL; default: all")
    show.set_defaults(run=run_show)

    export = commands.add_parser("export", help="write plans as nav2 map files (PNG and YAML)")
    export.add_argument("database", type=Path)
    export.add_argument("directory", type=Path)
    export.set_defaults(run=run_export)

    add_map_commands(commands)


def run_build(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover map build``."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from crossover_models.encoders import load_encoder
    from crossover_models.map_database.build import build_database
    from crossover_models.map_database.file_format import check_replaceable
    from crossover_models.map_database.sources import read_source
    from crossover_models.map_database.store import MapDatabase

    use_threads(1)
    check_replaceable(arguments.out)
    scales = _scales(arguments.scale)
    console = Console(stderr=True, markup=False)
    if arguments.ray:
        from crossover_models.fleet.encode import build_with_ray

        with console.status(escape(f"encode {len(arguments.sources)} buildings by Ray")) as status:
            build_with_ray(
                arguments.sources, arguments.out, arguments.ray, scales, arguments.checkpoint, arguments.device,
                lambda source: status.update(escape(f"encoded {source}")),
            )  # fmt: skip
        with MapDatabase.open(arguments.out) as database:
            _print_info(database)
            _index(database)
        return 0
    buildings = []
    for source in arguments.sources:
        with console.status(escape(f"read {source}")):
            buildings.append(read_source(source, scales))
    with console.status("load the encoders"):
        encoder = load_encoder(arguments.checkpoint, arguments.device)
    count = sum(len(level.places) for building in buildings for level in building.levels)
    columns = (
        TextColumn("encode {task.fields[place]}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    quiet = not console.is_terminal  # rich would leave an empty line in a log
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task("encode", total=count, place="")
        build_database(buildings, encoder, arguments.out, lambda place: progress.update(task, advance=1, place=place))
    with MapDatabase.open(arguments.out) as database:
        _print_info(database)
        _index(database)
    return 0


def run_index(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover map index``."""
    from crossover_models.map_database.store import MapDatabase

    with MapDatabase.open(arguments.database) as database:
        if not _index(database):
            most = max(database.embedding_counts().values(), default=0)
            print(f"{arguments.database}: {most} places a modality at most are searched exactly; no index is needed")
    return 0


def _index(database: MapDatabase) -> bool:
    """Write indexes where they are needed, and tell of it."""
    from rich.console import Console

    from crossover_models.map_database.place_indexes import index_folder, write_place_indexes

    with Console(stderr=True, markup=False).status("index") as status:
        done = write_place_indexes(database, lambda modality: status.update(f"index {modality.value}"))
    if done:
        print(f"{index_folder(database.path)}: {', '.join(modality.value for modality in done)}")
    return bool(done)


def run_info(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover map info``."""
    from crossover_models.map_database.store import MapDatabase

    with MapDatabase.open(arguments.database) as database:
        if arguments.verify:
            database.verify()
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(describe(database), indent=2) + "\n", encoding="utf-8")
        _print_info(database)
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover map show``."""
    from crossover_models.map_database.show import draw_database
    from crossover_models.map_database.store import MapDatabase

    with MapDatabase.open(arguments.database) as database:
        draw_database(database, arguments.out, arguments.level)
    print(arguments.out)
    return 0


def run_export(arguments: argparse.Namespace) -> int:
    """Carry out ``crossover map export``."""
    from crossover_models.map_database.store import MapDatabase

    with MapDatabase.open(arguments.database) as database:
        for path in database.export_nav2(arguments.directory):
            print(path)
    return 0


def describe(database: MapDatabase) -> dict[str, Any]:
    """What a database holds, as plain values; lengths in metres, areas in square metres."""
    from crossover_models.observation import Modality

    held: dict[tuple[str, str], set[str]] = {}
    for building_id in database.building_ids():
        for modality in Modality:
            for place_id in database.embeddings(building_id, modality)[0]:
                held.setdefault((building_id, place_id), set()).add(modality.value)
    levels = []
    for level in database.levels():
        plan = database.floor_plan(level.key)
        places = database.places(level.key.building_id, level.key.level_id)
        levels.append(
            {
                "building": level.key.building_id,
                "level": level.key.level_id,
                "name": level.name,
                "elevation_m": level.elevation_m,
                "size_m": [round(v, 2) for v in plan.size_m],
                "free_area_m2": round(plan.area_m2, 1),
                "resolution_m": plan.resolution_m,
                "places": len(places),
                "doors": len(database.doors(level.key)),
                "lifts": len(database.lifts(level.key)),
                "modalities": {
                    modality.value: sum(
                        modality.value in held.get((level.key.building_id, p.place_id), ()) for p in places
                    )
                    for modality in Modality
                },
            }
        )
    return {
        "path": str(database.path),
        "bytes": database.path.stat().st_size,
        "schema_version": database.schema_version,
        "created": database.created,
        "software_version": database.software_version,
        "fingerprint": database.fingerprint,
        "encoder_fingerprint": database.encoder_fingerprint,
        "encoder_profile": database.encoder_profile,
        "embedding_dim": database.embedding_dim,
        "sources": {building_id: database.source(building_id) for building_id in database.building_ids()},
        "levels": levels,
    }


def _print_info(database: MapDatabase) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    facts = describe(database)
    # Names are the users': "Room [3]" is no markup.
    console = Console(markup=False, emoji=False)
    console.print(
        Text(facts["path"], style="bold"),
        f" {facts['bytes'] / 1e6:.2f} MB, schema {facts['schema_version']}, "
        f"built {facts['created']} by {facts['software_version']}",
    )
    console.print(
        f"database {facts['fingerprint']}, encoder {facts['encoder_fingerprint']} "
        f"({facts['encoder_profile']}, {facts['embedding_dim']}-D)"
    )
    for building_id, source in facts["sources"].items():
        console.print(f"{building_id}: {source}", highlight=False)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption="plan ... cloud: places that hold the modality")
    table.add_column("level", overflow="fold")
    columns = ("size\n(m)", "free\n(m2)", "places", "doors", "lifts", "plan", "mesh", "text", "image", "cloud")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for level in facts["levels"]:
        held = level["modalities"]
        counts = [held[name] for name in ("floor_plan", "mesh", "text", "image", "point_cloud")]
        table.add_row(
            Text(f"{level['building']}/{level['level']}"),
            f"{level['size_m'][0]:.0f}x{level['size_m'][1]:.0f}",
            f"{level['free_area_m2']:.0f}",
            *(str(level[name]) for name in ("places", "doors", "lifts")),
            *(str(count) if count else "-" for count in counts),
        )
    console.print(table)


def _scales(pairs: list[str]) -> dict[str, float]:
    scales: dict[str, float] = {}
    for pair in pairs:
        level, equals, value = pair.partition("=")
        try:
            scale = float(value)
        except ValueError:
            scale = float("nan")
        if not equals or not level or not 1e-5 < scale < 10.0:
            raise ValueError(f"--scale {pair}: expected LEVEL=METRES_PER_PIXEL, for example L1=0.0084")
        scales[level] = scale
    return scales
