"""Scan2CAD: ShapeNet models aligned to ScanNet's scans (``full_annotations.json``), and which object each of them is.

A model's ``trs`` takes ShapeNet's coordinates to a world; the scan's ``trs`` takes the scan's coordinates to the same
world. Both are translation * rotation (quaternion w, x, y, z) * scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Mesh
from crossover_models.dataset.readers.json_file import read_json
from crossover_models.dataset.readers.reader import ReaderError
from crossover_models.geometry import matrix_from_quaternion

SHAPE_FROM_OBJECT = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])
"""Canonical axes (x forward, y left, z up) in ShapeNet's (x right, y up, -z forward)."""
LEAST_OVERLAP = 0.05
"""Boxes that share less of their union are not of one object."""


@dataclass(frozen=True)
class AlignedModel:
    """A CAD model in a scan.

    Attributes:
        category_id, model_id: ShapeNet's.
        T_scan_shape: (4, 4) rigid, in the scan's own coordinates; applied after ``scale``.
        scale: (3,) along ShapeNet's axes.
        box: (2, 3) lowest and highest corner of the unscaled model, or None where the file does not say.
    """

    category_id: str
    model_id: str
    T_scan_shape: NDArray[np.float64]
    scale: NDArray[np.float64]
    box: NDArray[np.float64] | None


@dataclass(frozen=True)
class PlacedModel:
    """A CAD model in the scene: pose of its canonical frame, extents along it, its mesh in it where at hand."""

    T_scene_object: NDArray[np.float64]
    size_m: NDArray[np.float64]
    mesh: Mesh | None
    cad_id: str


class Scan2Cad:
    """``full_annotations.json``, without its keypoints.

    Raises:
        ReaderError: not that file; scan and field are named.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        entries = read_json(path)
        if not isinstance(entries, list):
            raise ReaderError(f"{path}: expected a list of scans, got {type(entries).__name__}")
        self._models: dict[str, tuple[AlignedModel, ...]] = {}
        for number, entry in enumerate(entries):
            scan_id = entry.get("id_scan", number) if isinstance(entry, dict) else number
            try:
                self._models[str(scan_id)] = tuple(_aligned(m, entry["trs"]) for m in entry["aligned_models"])
            except (KeyError, TypeError, ValueError) as error:
                raise ReaderError(f"{path}: scan {scan_id}: {type(error).__name__}: {error}") from None

    def models(self, scan_id: str) -> tuple[AlignedModel, ...]:
        """Models of a scan; none where it was not annotated."""
        return self._models.get(scan_id, ())


def _aligned(model: dict[str, Any], scan_trs: dict[str, Any]) -> AlignedModel:
    T_world_scan, scan_scale = _rigid(scan_trs)
    T_world_shape, scale = _rigid(model["trs"])
    if not np.allclose(scan_scale, scan_scale[0], rtol=1e-4) or scan_scale[0] <= 0:
        raise ValueError(f"the scan's scale {scan_scale.tolist()} is not one positive number")
    T_scan_shape = np.eye(4)
    rotation = T_world_scan[:3, :3].T
    T_scan_shape[:3, :3] = rotation @ T_world_shape[:3, :3]
    T_scan_shape[:3, 3] = rotation @ (T_world_shape[:3, 3] - T_world_scan[:3, 3]) / scan_scale[0]
    box = None
    if "bbox" in model and "center" in model:
        half, center = _numbers(model["bbox"], 3), _numbers(model["center"], 3)
        box = np.stack([center - half, center + half])
    return AlignedModel(str(model["catid_cad"]), str(model["id_cad"]), T_scan_shape, scale / scan_scale[0], box)


def _rigid(trs: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    w, x, y, z = _numbers(trs["rotation"], 4)
    out = np.eye(4)
    out[:3, :3] = matrix_from_quaternion([x, y, z, w])
    out[:3, 3] = _numbers(trs["translation"], 3)
    return out, _numbers(trs["scale"], 3)


def _numbers(values: Any, count: int) -> NDArray[np.float64]:
    out = np.asarray(values, dtype=np.float64)
    if out.shape != (count,) or not np.isfinite(out).all():
        raise ValueError(f"expected {count} numbers, got {values!r}")
    return out


def place(model: AlignedModel, T_scene_scan: NDArray[np.float64], mesh: Mesh | None) -> PlacedModel | None:
    """A model in the scene's frame: canonical axes, footprint centered, z = 0 below.

    Args:
        model: as annotated.
        T_scene_scan: (4, 4).
        mesh: ShapeNet's mesh, or None if it is not at hand; the annotated box then says how large it is.

    Returns:
        None where nothing says how large it is, or a scale is not positive.
    """
    if not (model.scale > 0).all():
        return None
    if mesh is not None:
        points = mesh.vertices.astype(np.float64)
    elif model.box is not None:
        points = _box_corners(model.box)
    else:
        return None
    points = (points * model.scale) @ SHAPE_FROM_OBJECT
    low, high = points.min(axis=0), points.max(axis=0)
    origin = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    T_shape_object = np.eye(4)
    T_shape_object[:3, :3] = SHAPE_FROM_OBJECT
    T_shape_object[:3, 3] = SHAPE_FROM_OBJECT @ origin
    placed = None if mesh is None else Mesh((points - origin).astype(np.float32), mesh.faces, mesh.face_colors)
    cad_id = f"shapenet/{model.category_id}/{model.model_id}" if mesh is not None else ""
    return PlacedModel(T_scene_scan @ model.T_scan_shape @ T_shape_object, high - low, placed, cad_id)


def _box_corners(box: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([[box[i, 0], box[j, 1], box[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])


def object_corners(T_scene_object: NDArray[np.float64], size_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """(8, 3) corners of an object's box in the scene; the first four are its footprint in order."""
    x, y, z = size_m[0] / 2, size_m[1] / 2, size_m[2]
    square = np.array([[-x, -y], [x, -y], [x, y], [-x, y]])
    corners = np.concatenate([np.c_[square, np.zeros(4)], np.c_[square, np.full(4, z)]])
    return np.asarray(corners @ T_scene_object[:3, :3].T + T_scene_object[:3, 3])


def matched(placed: Sequence[PlacedModel], boxes: Sequence[NDArray[np.float64]]) -> dict[int, int]:
    """Which object each model is: box -> model, the pairs that overlap most first, each used once.

    Args:
        placed: models in the scene.
        boxes: (2, 3) lowest and highest corner of each object's points.
    """
    from shapely.geometry import MultiPoint, box

    overlaps: list[tuple[float, int, int]] = []
    for i, model in enumerate(placed):
        corners = object_corners(model.T_scene_object, model.size_m)
        hull = MultiPoint(corners[:, :2]).convex_hull
        bottom, top = corners[:, 2].min(), corners[:, 2].max()
        for j, (low, high) in enumerate(boxes):
            height = min(top, high[2]) - max(bottom, low[2])
            if height <= 0:
                continue
            shared = hull.intersection(box(low[0], low[1], high[0], high[1])).area * height
            union = hull.area * (top - bottom) + float(np.prod(high - low)) - shared
            if union > 0 and shared / union >= LEAST_OVERLAP:
                overlaps.append((shared / union, j, i))
    out: dict[int, int] = {}
    for _, j, i in sorted(overlaps, key=lambda o: (-o[0], o[1], o[2])):
        if j not in out and i not in out.values():
            out[j] = i
    return out
