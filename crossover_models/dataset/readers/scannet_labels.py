"""ScanNet's annotation files: which vertex of the mesh is of which object, what it is called, how the scan lies."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.readers.json_file import read_object
from crossover_models.dataset.readers.reader import ReaderError

STRUCTURE = frozenset({"wall", "floor", "ceiling"})
"""Of NYU's 40 classes: the room, not what is in it."""


@dataclass(frozen=True)
class ScanMeta:
    """``sceneXXXX_YY.txt``.

    Attributes:
        axis_alignment: (4, 4), turns the scan's axes along the walls; None where not published (the test scans).
        scene_type: in lower case, "" where not published.
        color_intrinsics, depth_intrinsics: (3, 3) or None.
        color_size: (width, height) or None.
    """

    axis_alignment: NDArray[np.float64] | None
    scene_type: str
    color_intrinsics: NDArray[np.float64] | None
    depth_intrinsics: NDArray[np.float64] | None
    color_size: tuple[int, int] | None


@dataclass(frozen=True)
class Instance:
    """One annotated object: its ``objectId``, its label in lower case, and its class among NYU's 40."""

    object_id: int
    label: str
    nyu40: str

    @property
    def is_structure(self) -> bool:
        """Wall, floor or ceiling."""
        return self.nyu40 in STRUCTURE


@dataclass(frozen=True)
class Annotation:
    """Labels of a mesh.

    Attributes:
        instances: in the file's order.
        of_vertex: (V,) int32 index into ``instances``, -1 where not annotated.
        shared_segments: segments that two objects claim; the later one has them.
    """

    instances: tuple[Instance, ...]
    of_vertex: NDArray[np.int32]
    shared_segments: int


def read_meta(path: Path) -> ScanMeta:
    """Read ``sceneXXXX_YY.txt`` (lines ``name = values``).

    Raises:
        ReaderError: no such file, or a value that is no number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ReaderError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ReaderError(f"{path}: not text: {error.reason}") from None
    values = {name.strip(): value.strip() for name, mark, value in (line.partition("=") for line in lines) if mark}

    def numbers(name: str, count: int) -> NDArray[np.float64] | None:
        if name not in values:
            return None
        try:
            out = np.array([float(v) for v in values[name].split()], dtype=np.float64)
        except ValueError:
            out = np.empty(0)
        if out.size != count or not np.isfinite(out).all():
            raise ReaderError(f"{path}: {name}: expected {count} number(s), got {values[name]!r}")
        return out

    def intrinsics(camera: str) -> NDArray[np.float64] | None:
        four = [numbers(f"{part}_{camera}", 1) for part in ("fx", "fy", "mx", "my")]
        found = [float(v[0]) for v in four if v is not None]
        if len(found) < 4:
            return None
        fx, fy, mx, my = found
        return np.array([[fx, 0.0, mx], [0.0, fy, my], [0.0, 0.0, 1.0]])

    alignment = numbers("axisAlignment", 16)
    if alignment is not None:
        alignment = alignment.reshape(4, 4)
        rotation = alignment[:3, :3]
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
            raise ReaderError(f"{path}: axisAlignment: is not a rigid motion")
    width, height = numbers("colorWidth", 1), numbers("colorHeight", 1)
    size = None if width is None or height is None else (int(width[0]), int(height[0]))
    kind = values.get("sceneType", "").lower()
    return ScanMeta(alignment, kind, intrinsics("color"), intrinsics("depth"), size)


def read_label_map(path: Path) -> dict[str, str]:
    """``scannetv2-labels.combined.tsv``: label as annotated -> one of NYU's 40 classes.

    Raises:
        ReaderError: a column is missing; OSError where the file cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t")
        for column in ("raw_category", "nyu40class"):
            if column not in (rows.fieldnames or ()):
                raise ReaderError(f"{path}: no column {column!r}")
        return {row["raw_category"]: (row["nyu40class"] or "") for row in rows}


def read_annotation(segments: Path, aggregation: Path, vertices: int, labels: dict[str, str]) -> Annotation:
    """Read ``*.segs.json`` and ``*.aggregation.json``.

    Args:
        segments: over-segmentation of the mesh.
        aggregation: objects as sets of segments.
        vertices: number of vertices of the mesh, which the segmentation must have.
        labels: as :func:`read_label_map` returns them.

    Raises:
        ReaderError: a file is missing or corrupt, they do not belong to this mesh or to each other, or a label is
            unknown.
    """
    of_segment = _segment_of_vertex(segments)
    if len(of_segment) != vertices:
        raise ReaderError(f"{segments}: segIndices: {len(of_segment)} vertices, the mesh has {vertices}")
    groups = read_object(aggregation).get("segGroups")
    if not isinstance(groups, list):
        raise ReaderError(f"{aggregation}: no list segGroups")
    known = set(np.unique(of_segment).tolist())
    instances: list[Instance] = []
    owner: dict[int, int] = {}
    shared = 0
    for group in groups:
        instance, parts = _group(group, aggregation, labels)
        if instance.object_id in {i.object_id for i in instances}:
            raise ReaderError(f"{aggregation}: objectId {instance.object_id} occurs twice")
        unknown = sorted(set(parts) - known)
        if unknown:
            raise ReaderError(
                f"{aggregation}: object {instance.object_id} has segment {unknown[0]}, which {segments.name} lacks"
            )
        shared += sum(part in owner for part in parts)
        owner |= dict.fromkeys(parts, len(instances))
        instances.append(instance)
    unique, inverse = np.unique(of_segment, return_inverse=True)
    index = np.array([owner.get(int(segment), -1) for segment in unique], dtype=np.int32)
    return Annotation(tuple(instances), index[inverse] if len(index) else np.empty(0, np.int32), shared)


def _segment_of_vertex(path: Path) -> NDArray[np.int64]:
    indices = read_object(path).get("segIndices")
    if not isinstance(indices, list) or not all(type(i) is int for i in indices):
        raise ReaderError(f"{path}: no list segIndices of integers")
    return np.array(indices, dtype=np.int64)


def _group(group: Any, path: Path, labels: dict[str, str]) -> tuple[Instance, list[int]]:
    try:
        object_id, label, parts = group["objectId"], group["label"], group["segments"]
    except (KeyError, TypeError):
        raise ReaderError(f"{path}: a segGroup lacks objectId, label or segments: {str(group)[:80]}") from None
    if type(object_id) is not int or not isinstance(label, str) or not isinstance(parts, list):
        raise ReaderError(f"{path}: segGroup {object_id!r}: objectId, label or segments are of another type")
    if not all(type(part) is int for part in parts):
        raise ReaderError(f"{path}: segGroup {object_id}: segments: expected integers")
    if label not in labels:
        raise ReaderError(f"{path}: object {object_id}: label {label!r} is not in scannetv2-labels.combined.tsv")
    return Instance(object_id, label.strip().lower(), labels[label]), parts
