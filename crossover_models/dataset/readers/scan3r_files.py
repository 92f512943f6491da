"""3RScan's annotation files: which scans are of one room and how they lie, which vertex is of which object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.ply import PlyError, read_ply
from crossover_models.dataset.readers.json_file import read_json, read_object
from crossover_models.dataset.readers.reader import ReaderError

LABELS, SEGMENTS = "labels.instances.annotated.v2.ply", "semseg.v2.json"
_SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}


@dataclass(frozen=True)
class Entry:
    """What ``3RScan.json`` says about a scan.

    Attributes:
        reference: the room's first scan; itself for that one.
        split: "train", "val" or "test".
        T_reference_scan: (4, 4) into the reference's frame; None where not published (the test rooms).
        moves: number in this scan -> number in the reference, and the (4, 4) that takes its points in the reference's
            frame to this scan's own frame.
    """

    reference: str
    split: str
    T_reference_scan: NDArray[np.float64] | None
    moves: dict[int, tuple[int, NDArray[np.float64]]]


@dataclass(frozen=True)
class Labelled:
    """Vertices of a scan.

    Attributes:
        points: (V, 3) in the scan's frame, metres.
        labels: object's number -> label in lower case.
        numbers: (V,) number of each vertex's object, 0 for none; None for a scan without annotation.
    """

    points: NDArray[np.float64]
    labels: dict[int, str]
    numbers: NDArray[np.int64] | None

    def of_number(self, number: int) -> NDArray[np.bool_]:
        """(V,) which vertices are of an object."""
        return np.asarray(np.zeros(len(self.points), np.bool_) if self.numbers is None else self.numbers == number)

    def labelled(self, label: str) -> NDArray[np.bool_]:
        """(V,) which vertices are of an object with that label."""
        if self.numbers is None:
            return np.zeros(len(self.points), dtype=np.bool_)
        return np.isin(self.numbers, [number for number, its in self.labels.items() if its == label])

    def instances(self, index_of: dict[int, int]) -> NDArray[np.int32] | None:
        """(V,) index of each vertex's object, -1 for none; None for a scan without annotation."""
        if self.numbers is None:
            return None
        unique, row = np.unique(self.numbers, return_inverse=True)
        return np.array([index_of.get(int(n), -1) for n in unique], dtype=np.int32)[row]


def read_entries(path: Path) -> dict[str, Entry]:
    """Read ``3RScan.json``: scan -> what it says. Its matrices are column by column, in metres.

    Raises:
        ReaderError: no such file, or a field is missing; room and field are named.
    """
    rooms = read_json(path)
    if not isinstance(rooms, list):
        raise ReaderError(f"{path}: expected a list, got {type(rooms).__name__}")
    out: dict[str, Entry] = {}
    for number, room in enumerate(rooms):
        try:
            reference, split = room["reference"], _SPLITS[room["type"]]
            out[reference] = Entry(reference, split, np.eye(4), {})
            for scan in room["scans"]:
                where = f"rescan {scan['reference']}"
                T = _matrix(scan["transform"], where) if "transform" in scan else None
                moves = {}
                for it in scan.get("rigid", []):
                    move = _matrix(it["transform"], f"{where}: rigid")
                    moves[int(it["instance_rescan"])] = int(it["instance_reference"]), move
                out[scan["reference"]] = Entry(reference, split, T, moves)
        except KeyError as error:
            raise ReaderError(f"{path}: room {number}: no or an unknown {error}") from None
        except (TypeError, ValueError) as error:
            raise ReaderError(f"{path}: room {number}: {error}") from None
    return out


def _matrix(values: Any, where: str) -> NDArray[np.float64]:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.shape != (16,) or not np.isfinite(matrix).all():
        raise ValueError(f"{where}: transform: expected 16 numbers")
    T = matrix.reshape(4, 4).T
    if np.abs(T[:3, :3] @ T[:3, :3].T - np.eye(3)).max() > 0.01 or not np.allclose(T[3], [0, 0, 0, 1], atol=1e-6):
        raise ValueError(f"{where}: transform: not a rotation and a translation, column by column")
    return T


def without_labels(points: NDArray[np.float64]) -> Labelled:
    """A scan of the hidden test set."""
    return Labelled(points, {}, None)


def read_labelled(folder: Path) -> Labelled:
    """Read a scan's labelled mesh and its labels. The mesh's colors are the labels', not the camera's: left alone.

    Raises:
        ReaderError: a file is missing or damaged.
    """
    path = folder / LABELS
    try:
        ply = read_ply(path)
        points = ply.positions()
    except FileNotFoundError:
        raise ReaderError(f"{path}: no such file") from None
    except PlyError as error:
        raise ReaderError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    if "objectId" not in ply.vertices or not len(points):
        raise ReaderError(f"{path}: no vertices with an objectId")
    return Labelled(points, _labels(folder / SEGMENTS), ply.vertices["objectId"].astype(np.int64))


def _labels(path: Path) -> dict[int, str]:
    groups = read_object(path).get("segGroups")
    if not isinstance(groups, list):
        raise ReaderError(f"{path}: segGroups: expected a list")
    try:
        return {int(group["objectId"]): str(group["label"]).strip().lower() for group in groups}
    except KeyError as error:
        raise ReaderError(f"{path}: segGroups: no {error}") from None
    except (TypeError, ValueError) as error:
        raise ReaderError(f"{path}: segGroups: {error}") from None
