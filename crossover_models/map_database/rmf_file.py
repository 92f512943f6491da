"""An Open-RMF ``*.building.yaml`` as drawn: pixels count right and down from the drawing's top left; here y is up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from crossover_models.building import BuildingError

Edge = tuple[int, int]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class DrawnDoor:
    """A door between two vertices."""

    edge: Edge
    kind: str
    name: str


@dataclass(frozen=True)
class DrawnThing:
    """A model placed in the drawing, at (2,) drawing units, y up."""

    model_name: str
    position: Array


@dataclass(frozen=True)
class DrawnLift:
    """A lift cabin.

    Attributes:
        position: (2,) center in units of its reference level, y up.
        yaw_rad: of the cabin in that level.
        doors: (D, 2, 2) door lines in the cabin's frame, metres.
        levels: names of the levels it stops at.
    """

    name: str
    reference: str
    position: Array
    yaw_rad: float
    doors: Array
    levels: tuple[str, ...]


@dataclass(frozen=True)
class DrawnLevel:
    """One level in drawing units (pixels or metres), x right and y up.

    Attributes:
        vertices: (V, 2).
        names: V strings, mostly empty.
        in_lift: V flags: the vertex is a robot's stop in a cabin.
        measurements: (edge, metres).
        fiducials: (2,) by name.
    """

    name: str
    elevation_m: float
    vertices: Array
    names: tuple[str, ...]
    in_lift: tuple[bool, ...]
    walls: tuple[Edge, ...]
    doors: tuple[DrawnDoor, ...]
    floors: tuple[tuple[int, ...], ...]
    holes: tuple[tuple[int, ...], ...]
    things: tuple[DrawnThing, ...]
    measurements: tuple[tuple[Edge, float], ...]
    fiducials: Mapping[str, Array]
    drawing: str


@dataclass(frozen=True)
class RmfFile:
    """A whole file; ``metric`` says that units are metres already."""

    name: str
    reference: str
    metric: bool
    levels: Mapping[str, DrawnLevel]
    lifts: tuple[DrawnLift, ...]


def read_rmf_file(path: Path) -> RmfFile:
    """Parse a file.

    Raises:
        BuildingError: not YAML, not an RMF building, an unsupported coordinate system, or a field that is wrong; the
            message names it.
        OSError: the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            root = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BuildingError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(root, dict) or not isinstance(root.get("levels"), dict) or not root["levels"]:
        raise BuildingError(f"{path}: not an Open-RMF building: no levels")
    system = root.get("coordinate_system", "reference_image")
    if system not in ("reference_image", "cartesian_meters"):
        raise BuildingError(f"{path}: coordinate_system {system!r}: only reference_image and cartesian_meters are read")
    metric = system == "cartesian_meters"
    up = 1.0 if metric else -1.0
    levels: dict[str, DrawnLevel] = {}
    for name, node in root["levels"].items():
        with _Naming(path, f"level {name}"):
            levels[str(name)] = _level(str(name), node, up)
    reference = str(root.get("reference_level_name") or next(iter(levels)))
    if reference not in levels:
        raise BuildingError(f"{path}: reference_level_name {reference!r} is not among its levels")
    lifts, drawn = [], root.get("lifts") or {}
    if not isinstance(drawn, dict):
        raise BuildingError(f"{path}: lifts: expected lifts by name, got {drawn!r}")
    for name, node in drawn.items():
        with _Naming(path, f"lift {name}"):
            lifts.append(_lift(str(name), node, up, reference, levels))
    name = str(root.get("building_name") or root.get("name") or "")
    return RmfFile(name, reference, metric, levels, tuple(lifts))


class _Naming:
    """Turn what a malformed node raises into one line that names where it is."""

    def __init__(self, path: Path, where: str) -> None:
        self.path, self.where = path, where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BuildingError):
            raise BuildingError(f"{self.path}: {self.where}: {error}") from None
        if isinstance(error, KeyError):
            raise BuildingError(f"{self.path}: {self.where}: field {error} is missing") from None
        if isinstance(error, (TypeError, ValueError, IndexError, AttributeError, ArithmeticError)):
            raise BuildingError(f"{self.path}: {self.where}: {error}") from None


def _level(name: str, node: dict[str, Any], up: float) -> DrawnLevel:
    rows = node.get("vertices") or []
    vertices = np.array([[float(row[0]), up * float(row[1])] for row in rows]).reshape(-1, 2)
    if not np.isfinite(vertices).all():
        raise BuildingError("vertices: must be finite")
    count = len(vertices)
    parameters = [row[4] if len(row) > 4 and isinstance(row[4], dict) else {} for row in rows]
    return DrawnLevel(
        name=name,
        elevation_m=float(node.get("elevation") or 0.0),
        vertices=vertices,
        names=tuple(str(row[3]) if len(row) > 3 and row[3] else "" for row in rows),
        in_lift=tuple(bool(_value(p, "lift_cabin", "")) for p in parameters),
        walls=tuple(_edge("wall", row, count) for row in node.get("walls") or []),
        doors=tuple(
            DrawnDoor(_edge("door", row, count), str(_value(row[2], "type", "door")), str(_value(row[2], "name", "")))
            for row in node.get("doors") or []
        ),
        floors=tuple(_ring("floor", row, count) for row in node.get("floors") or []),
        holes=tuple(_ring("hole", row, count) for row in node.get("holes") or []),
        things=tuple(
            DrawnThing(str(row["model_name"]), np.array([float(row["x"]), up * float(row["y"])]))
            for row in node.get("models") or []
        ),
        measurements=tuple(
            (_edge("measurement", row, count), float(_value(row[2], "distance", float("nan"))))
            for row in node.get("measurements") or []
        ),
        fiducials={str(row[2]): np.array([float(row[0]), up * float(row[1])]) for row in node.get("fiducials") or []},
        drawing=str((node.get("drawing") or {}).get("filename") or ""),
    )


def _lift(name: str, node: dict[str, Any], up: float, reference: str, levels: Mapping[str, DrawnLevel]) -> DrawnLift:
    floor = str(node.get("reference_floor_name") or reference)
    if floor not in levels:
        raise BuildingError(f"reference_floor_name {floor!r} is not a level")
    served = tuple(str(level) for level, doors in (node.get("level_doors") or {}).items() if doors)
    position = np.array([float(node["x"]), up * float(node["y"])])
    lines = []
    for door in (node.get("doors") or {}).values():
        axis, half = float(door.get("motion_axis_orientation") or 0.0), float(door["width"]) / 2
        reach = half * np.array([np.cos(axis), np.sin(axis)])
        center = np.array([float(door["x"]), float(door["y"])])
        lines.append([center - reach, center + reach])
    yaw_rad, doors = float(node["yaw"]), np.array(lines, dtype=np.float64).reshape(-1, 2, 2)
    if not (np.isfinite(position).all() and np.isfinite(yaw_rad) and np.isfinite(doors).all()):
        raise BuildingError(f"x, y, yaw, doors: must be finite, got {position.tolist()}, {yaw_rad}, {doors.tolist()}")
    return DrawnLift(name, floor, position, yaw_rad, doors, served)


def _edge(what: str, row: Any, count: int) -> Edge:
    i, j = int(row[0]), int(row[1])
    if not (0 <= i < count and 0 <= j < count):
        raise BuildingError(f"{what} {i}-{j}: there are {count} vertices")
    return i, j


def _ring(what: str, row: Any, count: int) -> tuple[int, ...]:
    ring = tuple(int(i) for i in row["vertices"])
    if len(ring) < 3 or not all(0 <= i < count for i in ring):
        raise BuildingError(f"{what} {list(ring)}: needs at least 3 of {count} vertices")
    return ring


def _value(parameters: Any, key: str, default: Any) -> Any:
    """A typed parameter is written [type, value]."""
    entry = parameters.get(key) if isinstance(parameters, dict) else None
    return entry[1] if isinstance(entry, list) and len(entry) > 1 else default
