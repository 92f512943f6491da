"""One scan of a room as one safetensors file: pictures encoded, points in millimetres, everything else as JSON.

The same scene always gives the same bytes. A file carries the hash of its content, so that one cut short or damaged is
noticed when it is read, and it appears under its name only when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from crossover_models.building import Mesh
from crossover_models.dataset.scene import (
    Drive,
    PlanDrawing,
    Referral,
    Scene,
    SceneError,
    SceneObject,
    ScenePoints,
    View,
)
from crossover_models.observation import Modality

SCHEMA_VERSION = 1
PARTS = ("views", "depth", "cloud", "meshes", "plans", "drive")
"""What can be left out when a scene is read: "depth" is depth and instance pictures of the views."""
_MILLIMETRES = 1000.0
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 92]
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 6]

Tensors = dict[str, NDArray[Any]]


def save_scene(path: Path, scene: Scene) -> None:
    """Write a scene; the file is whole or absent at any moment.

    Raises:
        OSError: it cannot be written; nothing is left behind.
        SceneError: a depth beyond 65 m or more objects than a picture of instances can tell apart.
    """
    write_whole(path, encode_scene(scene))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent at any moment, also after a power cut.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def encode_scene(scene: Scene) -> bytes:
    """The bytes of a scene's file."""
    tensors = _tensors(scene)
    described = json.dumps(_described(scene), sort_keys=True)
    header = {"schema_version": SCHEMA_VERSION, "sha256": _content_hash(tensors, described), "scene": described}
    # One key only: safetensors writes several in an order that differs from run to run.
    return save(tensors, {"scene": json.dumps(header, sort_keys=True)})


def scene_hash(path: Path) -> str:
    """SHA-256 (hex) of a scene's content as its file says it.

    Raises:
        SceneError: not a scene file of this schema.
    """
    return str(_header(path)["sha256"])


def check_scene(path: Path) -> dict[str, int]:
    """Compare a file's content with its hash without decoding any of it; returns the bytes of each part.

    Raises:
        SceneError: damaged, not a scene file, or of another schema version.
    """
    header = _header(path)
    try:
        with safe_open(path, framework="numpy") as stream:
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise SceneError(f"{path}: damaged: {error}") from None
    if _content_hash(tensors, header["scene"]) != header["sha256"]:
        raise SceneError(f"{path}: damaged: its content is not the one it was written with")
    sizes = dict.fromkeys((*PARTS, "text and boxes"), 0)
    for name, tensor in tensors.items():
        sizes[_part_of(name)] += tensor.nbytes
    sizes["text and boxes"] = path.stat().st_size - sum(sizes.values())
    return sizes


def load_scene(path: Path, parts: Collection[str] | None = None) -> Scene:
    """Read a scene, all of it or only ``parts`` of :data:`PARTS`; text and objects' boxes are always there.

    Everything is compared with the content's hash if everything is read.

    Raises:
        SceneError: an unknown part, not a scene file, another schema version, or damaged.
        OSError: the file cannot be read.
    """
    wanted = set(PARTS) if parts is None else set(parts)
    if wanted - set(PARTS):
        raise SceneError(f"parts: unknown {sorted(wanted - set(PARTS))[0]!r}; known: {', '.join(PARTS)}")
    header = _header(path)
    try:
        with safe_open(path, framework="numpy") as stream:
            names = [name for name in stream.keys() if _part_of(name) in wanted]  # noqa: SIM118
            tensors = {name: stream.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise SceneError(f"{path}: damaged: {error}") from None
    if parts is None and _content_hash(tensors, header["scene"]) != header["sha256"]:
        raise SceneError(f"{path}: damaged: its content is not the one it was written with")
    try:
        return _scene(json.loads(header["scene"]), tensors, wanted)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise SceneError(f"{path}: not a scene: {error}") from None


def _header(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise SceneError(f"{path}: no such scene")
    try:
        with safe_open(path, framework="numpy") as stream:
            header: dict[str, Any] = json.loads((stream.metadata() or {})["scene"])
            version = header["schema_version"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise SceneError(f"{path}: damaged or not a scene file: {error}") from None
    if version != SCHEMA_VERSION:
        raise SceneError(f"{path}: schema_version {version}, this program reads {SCHEMA_VERSION}")
    return header


def _content_hash(tensors: Mapping[str, NDArray[Any]], described: str) -> str:
    digest = hashlib.sha256(described.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()


def _part_of(name: str) -> str:
    kind, _, rest = name.partition(".")
    if kind == "drive":
        return "drive"
    if kind == "views":
        return "depth" if rest.startswith(("depth", "instance")) else "views"
    return {"cloud": "cloud", "mesh": "meshes", "plan": "plans"}[kind]


def _tensors(scene: Scene) -> Tensors:
    out = _view_tensors("", scene.views, scene.scan_id)
    if scene.cloud is not None:
        out |= _cloud_tensors("", scene.cloud, scene.scan_id)
    if scene.drive is not None:
        out |= _view_tensors("drive.", scene.drive.views, scene.scan_id)
        if scene.drive.cloud is not None:
            out |= _cloud_tensors("drive.", scene.drive.cloud, scene.scan_id)
    for i, thing in enumerate(scene.objects):
        if thing.cad is not None:
            out[f"mesh.vertices.{i}"] = thing.cad.vertices.astype(np.float32)
            small = len(thing.cad.vertices) <= np.iinfo(np.uint16).max
            out[f"mesh.faces.{i}"] = thing.cad.faces.astype(np.uint16 if small else np.int32)
            if thing.cad.face_colors is not None:
                out[f"mesh.colors.{i}"] = thing.cad.face_colors
    for i, plan in enumerate(scene.plans):
        out[f"plan.{i}"] = _encoded(".png", plan.image if plan.image.ndim == 2 else plan.image[..., ::-1], _PNG)
    return out


def _view_tensors(at: str, views: tuple[View, ...], scan_id: str) -> Tensors:
    out: Tensors = {}
    if views:
        out[f"{at}views.T_scene_camera"] = np.stack([v.T_scene_camera for v in views]).astype(np.float64)
        out[f"{at}views.intrinsics"] = np.stack([v.intrinsics for v in views]).astype(np.float64)
    for i, view in enumerate(views):
        out[f"{at}views.image.{i}"] = _encoded(".jpg", view.image[..., ::-1], _JPEG)
        if view.depth_m is not None:
            out[f"{at}views.depth.{i}"] = _encoded(".png", _depth_mm(view.depth_m, scan_id), _PNG)
        if view.instance is not None:
            out[f"{at}views.instance.{i}"] = _encoded(".png", _shifted(view.instance, scan_id), _PNG)
    return out


def _cloud_tensors(at: str, cloud: ScenePoints, scan_id: str) -> Tensors:
    if not np.isfinite(cloud.points).all():
        raise SceneError(f"scan {scan_id}: cloud: a point is not finite")
    low = cloud.points.min(axis=0).astype(np.float64) if len(cloud.points) else np.zeros(3)
    steps = np.rint((cloud.points - low) * _MILLIMETRES)
    small = not len(steps) or steps.max() <= np.iinfo(np.uint16).max
    out: Tensors = {f"{at}cloud.low": low, f"{at}cloud.points": steps.astype(np.uint16 if small else np.uint32)}
    if cloud.colors is not None:
        out[f"{at}cloud.colors"] = cloud.colors
        out[f"{at}cloud.colored"] = np.ones(len(steps), np.bool_) if cloud.colored is None else cloud.colored
    if cloud.instance is not None:
        out[f"{at}cloud.instance"] = _shifted(cloud.instance, scan_id)
    return out


def _encoded(kind: str, image: NDArray[Any], options: list[int]) -> NDArray[np.uint8]:
    done, data = cv2.imencode(kind, np.ascontiguousarray(image), options)
    if not done:
        raise SceneError(f"image: {image.shape} {image.dtype} cannot be encoded as {kind}")
    return np.asarray(data, dtype=np.uint8).reshape(-1)


def _decoded(data: NDArray[np.uint8]) -> NDArray[Any]:
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise SceneError("an encoded image is damaged")
    return np.asarray(image)


def _depth_mm(depth_m: NDArray[np.float32], scan_id: str) -> NDArray[np.uint16]:
    millimetres = np.rint(np.where(np.isfinite(depth_m), depth_m, 0.0) * _MILLIMETRES)
    if millimetres.min(initial=0.0) < 0 or millimetres.max(initial=0.0) > np.iinfo(np.uint16).max:
        raise SceneError(f"scan {scan_id}: depth_m: {depth_m.min()} to {depth_m.max()} m, expected 0 to 65 m")
    return millimetres.astype(np.uint16)


def _shifted(instance: NDArray[np.int32], scan_id: str) -> NDArray[np.uint16]:
    """-1 and up as 0 and up, which a PNG of 16 bits holds."""
    if instance.min(initial=0) < -1 or instance.max(initial=0) >= np.iinfo(np.uint16).max:
        raise SceneError(f"scan {scan_id}: instance: {instance.min()} to {instance.max()}, expected -1 to 65533")
    return (instance.astype(np.int64) + 1).astype(np.uint16)


def _unshifted(stored: NDArray[Any]) -> NDArray[np.int32]:
    return stored.astype(np.int32) - 1


def _described(scene: Scene) -> dict[str, Any]:
    return {
        **{
            name: getattr(scene, name)
            for name in ("scan_id", "room_id", "building_id", "category", "split", "source", "reference_id")
        },
        "polygon": None if scene.polygon is None else scene.polygon.tolist(),
        "views": len(scene.views),
        "drive": None if scene.drive is None else len(scene.drive.views),
        "objects": [
            {
                "object_id": o.object_id,
                "category": o.category,
                "T_scene_object": o.T_scene_object.tolist(),
                "size_m": o.size_m.tolist(),
                "cad_id": o.cad_id,
            }
            for o in scene.objects
        ],
        "plans": [
            {"style": p.style, "resolution_m": p.resolution_m, "origin_xy": list(p.origin_xy)} for p in scene.plans
        ],
        "description": list(scene.description),
        "referrals": [[r.target_id, r.utterance] for r in scene.referrals],
        "withheld": sorted(m.value for m in scene.withheld),
        "present": sorted(m.value for m in scene.present),
    }


def _scene(values: dict[str, Any], tensors: Tensors, wanted: Collection[str]) -> Scene:
    polygon = values["polygon"]
    return Scene(
        scan_id=values["scan_id"],
        room_id=values["room_id"],
        building_id=values["building_id"],
        category=values["category"],
        split=values["split"],
        source=values["source"],
        reference_id=values["reference_id"],
        polygon=None if polygon is None else np.array(polygon, dtype=np.float64).reshape(-1, 2),
        views=_views("", values["views"], tensors) if "views" in wanted else (),
        cloud=_cloud("", tensors),
        objects=tuple(_object(i, o, tensors) for i, o in enumerate(values["objects"])),
        plans=tuple(_plan(i, p, tensors) for i, p in enumerate(values["plans"])) if "plans" in wanted else (),
        description=tuple(values["description"]),
        referrals=tuple(Referral(target, sentence) for target, sentence in values["referrals"]),
        drive=_drive(values["drive"], tensors) if "drive" in wanted else None,
        withheld=frozenset(Modality(m) for m in values["withheld"]),
        recorded=frozenset(Modality(m) for m in values["present"]),
    )


def _views(at: str, count: int, tensors: Tensors) -> tuple[View, ...]:
    out = []
    for i in range(count):
        depth, instance = tensors.get(f"{at}views.depth.{i}"), tensors.get(f"{at}views.instance.{i}")
        out.append(
            View(
                np.ascontiguousarray(_decoded(tensors[f"{at}views.image.{i}"])[..., ::-1]),
                tensors[f"{at}views.T_scene_camera"][i],
                tensors[f"{at}views.intrinsics"][i],
                None if depth is None else (_decoded(depth) / np.float32(_MILLIMETRES)).astype(np.float32),
                None if instance is None else _unshifted(_decoded(instance)),
            )
        )
    return tuple(out)


def _drive(count: int | None, tensors: Tensors) -> Drive | None:
    return None if count is None else Drive(_views("drive.", count, tensors), _cloud("drive.", tensors))


def _cloud(at: str, tensors: Tensors) -> ScenePoints | None:
    if f"{at}cloud.points" not in tensors:
        return None
    points = (tensors[f"{at}cloud.points"] / _MILLIMETRES + tensors[f"{at}cloud.low"]).astype(np.float32)
    instance = tensors.get(f"{at}cloud.instance")
    return ScenePoints(
        points,
        tensors.get(f"{at}cloud.colors"),
        tensors.get(f"{at}cloud.colored"),
        None if instance is None else _unshifted(instance),
    )


def _object(i: int, values: dict[str, Any], tensors: Tensors) -> SceneObject:
    vertices = tensors.get(f"mesh.vertices.{i}")
    mesh = None
    if vertices is not None:
        mesh = Mesh(vertices, tensors[f"mesh.faces.{i}"].astype(np.int32), tensors.get(f"mesh.colors.{i}"))
    return SceneObject(
        values["object_id"],
        values["category"],
        np.array(values["T_scene_object"], dtype=np.float64),
        np.array(values["size_m"], dtype=np.float64),
        mesh,
        values["cad_id"],
    )


def _plan(i: int, values: dict[str, Any], tensors: Tensors) -> PlanDrawing:
    image = _decoded(tensors[f"plan.{i}"])
    image = image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])
    x, y = values["origin_xy"]
    return PlanDrawing(image, values["style"], values["resolution_m"], (x, y))
