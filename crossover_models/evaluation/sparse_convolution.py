"""``crossover bench sparse``: time and memory of the 3D backbone by backend, beside the time its products must take."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIZES = (20_000, 60_000, 150_000)
BACKENDS = ("torch", "minkowski")
VOXEL_M = 0.02
FEWEST_VOXELS = 100
# Four points a voxel's face leave few holes.
_POINTS_PER_M2 = 4.0 / VOXEL_M**2
_MARGIN_M = 0.02
_REPEATS = 5
_MODULE = "crossover_models.evaluation.sparse_measure"

Figures = dict[str, Any]


class SparseBenchmarkError(ValueError):
    """A measurement that could not be made; the message says which and why."""


@dataclass(frozen=True)
class Machine:
    """What measures: the interpreter that has MinkowskiEngine, CPU threads, passes timed."""

    python: str
    threads: int
    repeats: int = _REPEATS


@cache
def _room_cells(seed: int) -> NDArray[np.int64]:
    """(N, 3) voxels on the surfaces of the largest rectangular room of a simulated level, by distance from a corner."""
    import cv2
    import numpy as np

    from crossover_models.building import Mesh
    from crossover_models.encoders.inputs import surface_points
    from crossover_models.simulation.procedural import generate_building
    from crossover_models.simulation.survey import level_meshes

    level = generate_building(seed, levels=1).levels[0]
    box_m2 = [float(np.prod(np.ptp(place.polygon, axis=0))) for place in level.places]
    # A room that fills its box: the box of a corner-shaped one holds pieces of its neighbors.
    area_m2 = [cv2.contourArea(place.polygon.astype(np.float32)) for place in level.places]
    whole = np.array(area_m2) > 0.99 * np.array(box_m2)
    room = level.places[int(np.argmax(np.where(whole, box_m2, 0.0)))]
    low, high = room.polygon.min(axis=0) - _MARGIN_M, room.polygon.max(axis=0) + _MARGIN_M
    meshes = []
    for mesh in level_meshes(level):
        corners = mesh.vertices[mesh.faces][..., :2]
        near = ((corners.min(axis=1) <= high) & (corners.max(axis=1) >= low)).all(axis=1)
        if near.any():
            meshes.append(Mesh(mesh.vertices, mesh.faces[near]))
    points, _ = surface_points(meshes, _POINTS_PER_M2, 20_000_000)
    inside = ((points[:, :2] >= low) & (points[:, :2] <= high)).all(axis=1)
    cells = np.floor((points[inside] - [*low, 0.0]) / VOXEL_M).astype(np.int64)
    cells -= cells.min(axis=0)
    extent = cells.max(axis=0) + 1
    cells = np.stack(np.unravel_index(np.unique(np.ravel_multi_index(tuple(cells.T), extent)), extent), axis=1)
    return cells[np.argsort(np.linalg.norm(cells, axis=1), kind="stable")].astype(np.int64)


def room_voxels(count: int, seed: int = 0) -> NDArray[np.int64]:
    """(count, 4) [batch, x, y, z] voxels of 2 cm on the surfaces of a simulated room, those nearest to its corner.

    A scan is surfaces, no solid block: how many neighbors a voxel has decides how many products a layer makes.

    Raises:
        SparseBenchmarkError: the room has fewer voxels.
    """
    import numpy as np

    cells = _room_cells(seed)
    if len(cells) < count:
        raise SparseBenchmarkError(f"--voxels: the simulated room has {len(cells)}, {count} were asked for")
    return np.pad(cells[:count], ((0, 0), (1, 0)))


def child_environment(threads: int) -> dict[str, str]:
    """Environment of a measuring process: our source first, as many threads in every library as were asked for."""
    import crossover_models

    source = str(Path(crossover_models.__file__).resolve().parents[1])
    count = str(threads)
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count}
    environment["MKL_NUM_THREADS"] = count
    # The ROS wheels' marks belong to this interpreter, not to another one.
    if environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None) is not None:
        environment.pop("LD_LIBRARY_PATH", None)
    return environment


def measure_apart(backend: str, cloud: Path, machine: Machine) -> Figures:
    """Figures of one backend on one cloud (.npy), from a fresh process (:func:`sparse_measure.measure`).

    Raises:
        SparseBenchmarkError: the process failed or could not be started.
    """
    python = machine.python if backend == "minkowski" else sys.executable
    with tempfile.TemporaryDirectory() as folder:
        job, result = Path(folder) / "job.json", Path(folder) / "result.json"
        order = {"backend": backend, "cloud": str(cloud.resolve()), "threads": machine.threads}
        job.write_text(json.dumps({**order, "repeats": machine.repeats}), encoding="utf-8")
        command = [python, "-m", _MODULE, str(job), str(result)]
        environment = child_environment(machine.threads)
        try:
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        except OSError as error:
            raise SparseBenchmarkError(f"--python: cannot start {python}: {error.strerror}") from None
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            raise SparseBenchmarkError(f"{backend} in {python} failed: {said}")
        figures: Figures = json.loads(result.read_text(encoding="utf-8"))
    return figures


def compare(by_backend: dict[str, Figures]) -> None:
    """Replace the outputs by ``difference``: largest |other - torch| over the largest |torch|."""
    import numpy as np

    outputs = {name: np.array(values.pop("output")) for name, values in by_backend.items()}
    for name, output in outputs.items():
        if name != "torch":
            scale = float(np.abs(outputs["torch"]).max())
            by_backend[name]["difference"] = float(np.abs(output - outputs["torch"]).max()) / scale


def add_command(subparsers: Any) -> None:
    """Add ``bench sparse``."""
    parser = subparsers.add_parser(
        "sparse",
        help="time and memory of the 3D backbone, by backend",
        description="Forward passes of the reference's 3D backbone on voxels of a simulated room, each backend in a "
        "process of its own, beside the time that the kernels' products alone would take as one dense product.",
    )
    parser.add_argument("--voxels", type=int, nargs="+", default=list(SIZES), metavar="N", help="sizes of the clouds")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads (1)")
    parser.add_argument("--repeats", type=int, default=_REPEATS, metavar="N", help=f"passes timed ({_REPEATS})")
    parser.add_argument("--python", metavar="PATH", help="interpreter that has MinkowskiEngine; default: this one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure every size with every backend that there is."""
    for name, value, least in (
        ("--voxels", min(arguments.voxels), FEWEST_VOXELS),
        ("--threads", arguments.threads, 1),
        ("--repeats", arguments.repeats, 1),
    ):
        if value < least:
            raise SparseBenchmarkError(f"{name}: need at least {least}, got {value}")
    import numpy as np
    from rich.console import Console
    from rich.progress import track

    console = Console()
    with_minkowski = arguments.python is not None or find_spec("MinkowskiEngine") is not None
    backends = BACKENDS if with_minkowski else BACKENDS[:1]
    machine = Machine(arguments.python or sys.executable, arguments.threads, arguments.repeats)
    sizes = sorted(set(arguments.voxels))
    figures: dict[str, dict[str, Figures]] = {str(size): {} for size in sizes}
    clouds = {size: room_voxels(size) for size in reversed(sizes)}
    with tempfile.TemporaryDirectory() as scratch:
        jobs = [(size, name) for size in sizes for name in backends]
        for size, name in track(jobs, "measuring", transient=True, console=console):
            cloud = Path(scratch) / f"{size}.npy"
            np.save(cloud, clouds[size], allow_pickle=False)
            figures[str(size)][name] = measure_apart(name, cloud, machine)
    for by_backend in figures.values():
        compare(by_backend)
    console.print(_table(figures, arguments.threads))
    if not with_minkowski:
        console.print("MinkowskiEngine is not installed here: only ours was measured (see --python).")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        record = {"threads": arguments.threads, "repeats": arguments.repeats, "voxel_m": VOXEL_M, "voxels": figures}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


def _table(figures: dict[str, dict[str, Figures]], threads: int) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"The reference's 3D backbone on surfaces of a simulated room, {threads} CPU thread(s)")
    for column in ("voxels", "backend", "time [ms]", "memory [MB]", "products [GFLOP]", "floor [ms]", "difference"):
        table.add_column(escape(column), justify="left" if column == "backend" else "right")
    for size, by_backend in figures.items():
        for name, values in by_backend.items():
            memory = "unknown" if values["mb"] is None else f"{values['mb']:.0f}"
            products = [f"{values[key]:.1f}" if key in values else "" for key in ("gflop", "floor_ms")]
            difference = f"{values['difference']:.1e}" if "difference" in values else ""
            table.add_row(f"{int(size):,}", name, f"{values['ms']:.0f}", memory, *products, difference)
    return table
