"""Frozen features and thinned geometry of one scan as one small file: everything that training reads, nothing else.

Features are halves, points whole centimetres, CAD points 127 steps of the model's radius; every array is stored byte
plane by byte plane and deflated. The reference keeps 44 MB a scan.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from crossover_models.dataset.scene_file import write_whole

SCHEMA_VERSION = 2
_READABLE = (1, 2)
"""Version 1 lacked outlines, poses of drives, colors, evidence of objects and rasters; those are empty then."""
POINT_STEP_M = 0.01
_CAD_STEPS = 127.0
_LEVEL = 6
Array = NDArray[np.float32]


class FeaturesError(ValueError):
    """A cached file that is not what it should be; the message names it."""


@dataclass(frozen=True)
class SceneFeatures:
    """One scan as training sees it. K objects; what is absent has no rows.

    Attributes:
        scan_id, room_id, building_id, reference_id, category, split: see :class:`Scene`.
        object_ids: (K) see :class:`SceneObject`.
        object_categories: (K).
        plan_styles: (G) how each floor plan is drawn.
        views: (V, view) frozen features of the views.
        view_poses: (V, 4, 4) T_scene_camera.
        drive_views: (T, view) of a robot's frames, in order.
        plans: (G, plan) of the floor plans.
        texts: (S, text) all sentences of the description joined first, then each one.
        referrals: (R, text).
        referral_objects: (R,) int32 index of the object that each is about.
        object_poses: (K, 4, 4) T_scene_object.
        object_sizes: (K, 3) metres.
        object_views: (K, plan) mean over its crops, zero without any.
        object_crops: (K,) int32 number of crops.
        object_cad: (K,) int32 row in ``cad_points``, -1 without CAD.
        cad_points: (C, P, 3) points on the models, centered, greatest radius 1.
        points: (N, 3) cloud, scene frame, metres, on a grid of 1 cm.
        colors: (N, 3) uint8 of the sensor; zero where not ``colored``.
        colored: (N,) bool.
        instance: (N,) int32 object of each point, -1 for none or unknown.
        drive_points: (M, 3) cloud of a robot's drive, likewise on 1 cm.
        outline: (N, 2) of the room, scene frame, metres; empty where unknown.
        drive_poses: (T, 4, 4) T_scene_camera of the drive's frames.
        view_colors, drive_colors: (V or T, 64) see :func:`palette`.
        view_objects, drive_objects: (V or T, 2C) see :meth:`ObjectRecognizer.evidence`; no columns without one.
        plan_rasters: (G, 2, 64, 64) of the floor plans, see :func:`plan_raster`.
    """

    scan_id: str
    room_id: str
    building_id: str
    reference_id: str
    category: str
    split: str
    object_ids: tuple[str, ...]
    object_categories: tuple[str, ...]
    plan_styles: tuple[str, ...]
    views: Array
    view_poses: Array
    drive_views: Array
    plans: Array
    texts: Array
    referrals: Array
    referral_objects: NDArray[np.int32]
    object_poses: Array
    object_sizes: Array
    object_views: Array
    object_crops: NDArray[np.int32]
    object_cad: NDArray[np.int32]
    cad_points: Array
    points: Array
    colors: NDArray[np.uint8]
    colored: NDArray[np.bool_]
    instance: NDArray[np.int32]
    drive_points: Array
    outline: Array = field(default_factory=lambda: _empty(0, 2))
    drive_poses: Array = field(default_factory=lambda: _empty(0, 4, 4))
    view_colors: Array = field(default_factory=lambda: _empty(0, 0))
    drive_colors: Array = field(default_factory=lambda: _empty(0, 0))
    view_objects: Array = field(default_factory=lambda: _empty(0, 0))
    drive_objects: Array = field(default_factory=lambda: _empty(0, 0))
    plan_rasters: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 2, 64, 64), np.uint8))


def _empty(*shape: int) -> Array:
    return np.zeros(shape, dtype=np.float32)


_HALF = (
    *("views", "drive_views", "plans", "texts", "referrals", "object_views"),
    *("view_colors", "drive_colors", "view_objects", "drive_objects"),
)
_CENTIMETRES = ("points", "drive_points")
_ROWS_OF_POINTS = ("colors", "colored", "instance")
_NAMES = ("object_ids", "object_categories", "plan_styles")
_ARRAYS = tuple(f.name for f in fields(SceneFeatures) if f.type.startswith(("Array", "NDArray")))


def save_features(path: Path, scene: SceneFeatures, key: str) -> int:
    """Write a scan's features and return the file's bytes; it is whole or absent at any moment.

    Points are written in the order of their cells, so that neighbors follow each other.

    Args:
        path: safetensors file.
        scene: what to write.
        key: hash of everything that decides the content; :func:`load_features` compares it.

    Raises:
        FeaturesError: a point farther than 327 m from the origin, or a value beyond half precision.
        OSError: the file cannot be written.
    """
    order = _cell_order(_centimetres(path, scene.points))
    tensors: dict[str, NDArray[np.uint8]] = {}
    shapes: dict[str, list[Any]] = {}
    for name in _ARRAYS:
        array: NDArray[Any] = getattr(scene, name)
        if name in _HALF:
            with np.errstate(over="ignore"):
                stored: NDArray[Any] = np.asarray(array, dtype=np.float16)
            if not np.isfinite(stored).all():
                raise FeaturesError(f"{path}: {name}: a value is beyond half precision, or no number")
        elif name in _CENTIMETRES:
            cells = _centimetres(path, array)
            cells = cells[order if name == "points" else _cell_order(cells)]
            # Steps from point to point wrap around in 16 bits, and back when they are summed.
            stored = np.diff(cells, axis=0, prepend=np.zeros((1, 3), np.int16)).astype(np.int16)
        elif name == "cad_points":
            stored = np.rint(np.clip(array, -1.0, 1.0) * _CAD_STEPS).astype(np.int8)
        else:
            stored = array[order] if name in _ROWS_OF_POINTS else array
        shapes[name] = [stored.dtype.str, list(stored.shape)]
        planes = np.ascontiguousarray(stored).reshape(-1).view(np.uint8).reshape(-1, stored.dtype.itemsize).T
        tensors[name] = np.frombuffer(zlib.compress(planes.tobytes(), _LEVEL), dtype=np.uint8)
    about = {f.name: getattr(scene, f.name) for f in fields(scene) if f.name not in _ARRAYS}
    described = json.dumps({"about": about, "shapes": shapes}, sort_keys=True)
    header = {"schema_version": SCHEMA_VERSION, "key": key, "sha256": _hash(tensors, described), "scan": described}
    content = save(tensors, {"features": json.dumps(header, sort_keys=True)})
    write_whole(path, content)
    return len(content)


def load_features(path: Path, key: str | None = None) -> SceneFeatures:
    """Read a scan's features.

    Args:
        path: safetensors file.
        key: what it must have been made with; None takes any.

    Raises:
        FeaturesError: no such file, damaged, of another schema version, or made with another key.
    """
    if not path.is_file():
        raise FeaturesError(f"{path}: no such features")
    try:
        with safe_open(path, framework="numpy") as stream:
            header = json.loads((stream.metadata() or {})["features"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        if header["schema_version"] not in _READABLE:
            raise FeaturesError(
                f"{path}: schema_version {header['schema_version']}, this program reads {SCHEMA_VERSION}"
            )
        if header["sha256"] != _hash(tensors, header["scan"]):
            raise FeaturesError(f"{path}: damaged: its content is not the one it was written with")
        if key is not None and header["key"] != key:
            raise FeaturesError(f"{path}: made from another scan or with other settings")
        described = json.loads(header["scan"])
        arrays: dict[str, Any] = {
            name: _unpacked(name, tensors[name], described["shapes"][name]) for name in _ARRAYS if name in tensors
        }
        about: dict[str, Any] = {k: tuple(v) if k in _NAMES else v for k, v in described["about"].items()}
        return SceneFeatures(**about, **arrays)
    except FeaturesError:
        raise
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, zlib.error) as error:
        raise FeaturesError(f"{path}: damaged or not a file of features: {error}") from None


def _unpacked(name: str, tensor: NDArray[np.uint8], described: list[Any]) -> NDArray[Any]:
    dtype, shape = np.dtype(described[0]), tuple(described[1])
    planes = np.frombuffer(zlib.decompress(tensor.tobytes()), dtype=np.uint8).reshape(dtype.itemsize, -1)
    stored: NDArray[Any] = np.ascontiguousarray(planes.T).reshape(-1).view(dtype).reshape(shape)
    if name in _HALF:
        return stored.astype(np.float32)
    if name in _CENTIMETRES:
        return np.cumsum(stored, axis=0, dtype=np.int16).astype(np.float32) * np.float32(POINT_STEP_M)
    return stored.astype(np.float32) / np.float32(_CAD_STEPS) if name == "cad_points" else stored


def _centimetres(path: Path, points: NDArray[np.floating[Any]]) -> NDArray[np.int16]:
    cells = np.rint(np.asarray(points, dtype=np.float64) / POINT_STEP_M)
    if not (np.abs(cells) <= np.iinfo(np.int16).max).all():
        raise FeaturesError(f"{path}: points: farther than 327 m from the scene's origin, or no number")
    return cells.astype(np.int16)


def _cell_order(cells: NDArray[np.int16]) -> NDArray[np.int64]:
    """Rows by cells of 32 cm, then by height and place in them."""
    coarse = cells.astype(np.int32) >> 5
    keys = (cells[:, 0], cells[:, 1], cells[:, 2], coarse[:, 0], coarse[:, 1], coarse[:, 2])
    return np.lexsort(keys).astype(np.int64)


def _hash(tensors: dict[str, NDArray[np.uint8]], described: str) -> str:
    digest = hashlib.sha256(described.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].nbytes}\n".encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()
