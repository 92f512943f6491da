"""Data sets for the eye: a sheet of random scans, and one scan with everything it has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.scene import PlanDrawing, Scene, SceneObject, ScenePoints, View
from crossover_models.dataset.store import DataSet
from crossover_models.simulation.raycast import RayScene

Picture = NDArray[np.uint8]
PARTS = ("views", "depth", "cloud", "meshes", "plans", "drive")
_TILE = (240, 180)
_WHITE, _GREY = 255, 214
_MARGIN = 6
_KINDS = (".png", ".jpg", ".jpeg")


def write_picture(path: Path, picture: Picture) -> None:
    """Write (H, W, 3) RGB as PNG or JPEG, by the name; the file is whole or as before at any moment.

    Raises:
        ValueError: the name says neither.
        OSError: it cannot be written.
    """
    if path.suffix.lower() not in _KINDS:
        raise ValueError(f"{path}: must end in one of {', '.join(_KINDS)}")
    bgr = np.ascontiguousarray(picture[..., ::-1])
    _, data = cv2.imencode(path.suffix.lower(), bgr, [cv2.IMWRITE_JPEG_QUALITY, 82])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(data.tobytes())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(f"{path}: cannot be written: {error.strerror or error}") from None


def sheet(data: DataSet, scans: int = 24, seed: int = 0, split: str | None = None) -> Picture:
    """(H, W, 3): random scans, a tile each: two views, the plan and the cloud from above, with name and type.

    Raises:
        ValueError: no scan in the split.
    """
    ids = data.scan_ids(split)
    if not ids:
        raise ValueError(f"split: {split} has no scans")
    chosen = [ids[int(i)] for i in sorted(np.random.default_rng(seed).permutation(len(ids))[:scans])]
    tiles = []
    for scan_id in chosen:
        scene = data.load(scan_id, ("views", "cloud", "plans"))
        parts = [_fitted(v.image, _TILE) for v in _spread(scene.views, 2)]
        parts += [_empty(_TILE, "no images")] * (2 - len(parts))
        side = (_TILE[1], _TILE[1])
        parts.append(_fitted(plan_picture(scene.plans[0]), side) if scene.plans else _empty(side, "no plan"))
        parts.append(cloud_picture(scene.cloud, side) if scene.cloud is not None else _empty(side, "no cloud"))
        about = f"{scene.category} | {scan_id} | {scene.source.split(':')[0]}"
        tiles.append(_labeled(np.hstack(parts), about))
    columns = 3 if len(tiles) > 8 else 2 if len(tiles) > 3 else 1
    tiles += [np.full_like(tiles[0], _WHITE)] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])


def scan_picture(scene: Scene) -> Picture:
    """(H, W, 3): every modality of one scan, a row each, with what is missing said."""
    rows = [
        ("images", [_fitted(v.image, _TILE) for v in _spread(scene.views, 5)]),
        ("depth and instances", _depth_row(scene.views)),
        ("a robot's drive", [_fitted(v.image, _TILE) for v in _spread(scene.drive.views if scene.drive else (), 5)]),
        ("point cloud: color, height, objects; the robot's", _cloud_row(scene)),
        (
            "floor plans: " + ", ".join(p.style for p in scene.plans[:5]),
            [_fitted(plan_picture(p), _TILE) for p in scene.plans[:5]],
        ),
        ("CAD models", [cad_picture(o) for o in _with_cad(scene.objects)[:5]]),
        ("text", [_text_picture(scene)]),
    ]
    width = 5 * (_TILE[0] + _MARGIN)
    out = []
    for name, parts in rows:
        shown = parts or [_empty(_TILE, "none")]
        strip = np.hstack([np.pad(p, ((0, 0), (0, _MARGIN), (0, 0)), constant_values=_WHITE) for p in shown])
        strip = strip[:, :width]
        strip = np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=_WHITE)
        out.append(_labeled(strip, name))
    return np.vstack(
        [
            _labeled(np.full((2, width, 3), _WHITE, np.uint8), f"{scene.scan_id}: {scene.category} ({scene.source})"),
            *out,
        ]
    )


def plan_picture(plan: PlanDrawing) -> Picture:
    """A drawing with y up, (H, W, 3)."""
    image = plan.image[::-1]
    return np.ascontiguousarray(np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image)


def cloud_picture(cloud: ScenePoints, size: tuple[int, int], by: str = "color") -> Picture:
    """A cloud from above without its ceiling, (H, W, 3): by "color" of the sensor, "height" or "object"."""
    width, height = size
    out = np.full((height, width, 3), _WHITE, np.uint8)
    points = cloud.points
    if not len(points):
        return out
    if by == "height" or (by == "color" and cloud.colors is None):
        scaled = np.clip(points[:, 2] / 2.4, 0.0, 1.0)
        colors = cv2.applyColorMap((255 * scaled).astype(np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]
    elif by == "object" and cloud.instance is not None:
        palette = np.random.default_rng(7).integers(40, 230, (4096, 3))
        colors = np.where(cloud.instance[:, None] < 0, _GREY, palette[cloud.instance % 4096])
    else:
        assert cloud.colors is not None
        colored = np.ones(len(points), np.bool_) if cloud.colored is None else cloud.colored
        colors = np.where(colored[:, None], cloud.colors, 150)
    low, high = np.quantile(points[:, :2], [0.002, 0.998], axis=0)
    scale = min((width - 8) / max(high[0] - low[0], 1e-3), (height - 8) / max(high[1] - low[1], 1e-3))
    middle = (low + high) / 2
    shown = np.flatnonzero(points[:, 2] < 2.1)
    shown = shown[np.argsort(points[shown, 2], kind="stable")]
    col = (width / 2 + (points[shown, 0] - middle[0]) * scale).astype(int)
    row = (height / 2 - (points[shown, 1] - middle[1]) * scale).astype(int)
    kept = (col >= 0) & (col < width) & (row >= 0) & (row < height)
    out[row[kept], col[kept]] = np.asarray(colors)[shown[kept]]
    return out


def cad_picture(thing: SceneObject) -> Picture:
    """A CAD model in its canonical pose, seen from its front and a little from its left and above."""
    from crossover_models.building import Mesh
    from crossover_models.simulation.appearance import Appearance, Light
    from crossover_models.simulation.camera import PinholeCamera, optical_pose, render

    assert thing.cad is not None
    largest = float(np.max(thing.size_m))
    mesh = Mesh((thing.cad.vertices / largest).astype(np.float32), thing.cad.faces, thing.cad.face_colors)
    floor = Mesh(
        np.array([[-9, -9, -0.005], [9, -9, -0.005], [9, 9, -0.005], [-9, 9, -0.005]], np.float32),
        np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        np.full((2, 3), 190, np.uint8),
    )
    look = Appearance((Light(np.array([2.5, 1.5, 3.5]), np.full(3, 3.0)),), np.full(3, 0.55), np.ones(3), 1.0, 2.2, 0.0)
    angle = np.deg2rad(35.0)
    at = np.array([2.1 * np.cos(angle), 2.1 * np.sin(angle), 1.3])
    pose = optical_pose(at, angle + np.pi, np.deg2rad(22.0))
    camera = PinholeCamera(_TILE[0], _TILE[1], 44.0)
    picture = render(RayScene([floor, mesh]), look, camera, pose, np.random.default_rng(0)).image
    return _captioned(picture, thing.category)


def _depth_row(views: Sequence[View]) -> list[Picture]:
    out: list[Picture] = []
    palette = np.random.default_rng(7).integers(40, 230, (4096, 3)).astype(np.uint8)
    for view in _spread(views, 3):
        if view.depth_m is not None and len(out) < 5:
            scaled = (255 * np.clip(view.depth_m / 8.0, 0.0, 1.0)).astype(np.uint8)
            out.append(_fitted(np.asarray(cv2.applyColorMap(scaled, cv2.COLORMAP_VIRIDIS)[..., ::-1], np.uint8), _TILE))
        if view.instance is not None and len(out) < 5:
            picture = np.where(view.instance[..., None] < 0, _GREY, palette[view.instance % 4096]).astype(np.uint8)
            out.append(_fitted(picture, _TILE))
    return out


def _cloud_row(scene: Scene) -> list[Picture]:
    out = []
    if scene.cloud is not None:
        out = [cloud_picture(scene.cloud, _TILE, by) for by in ("color", "height", "object")]
    if scene.drive is not None and scene.drive.cloud is not None:
        out.append(cloud_picture(scene.drive.cloud, _TILE, "height"))
    return out


def _with_cad(objects: Sequence[SceneObject]) -> list[SceneObject]:
    """Large ones first, no type twice before every type was there."""
    found = sorted((o for o in objects if o.cad is not None), key=lambda o: -float(np.prod(o.size_m)))
    first = [o for i, o in enumerate(found) if o.category not in {p.category for p in found[:i]}]
    return [*first, *(o for o in found if not any(o is p for p in first))]


def _text_picture(scene: Scene) -> Picture:
    lines = [*scene.description, *(f"- {r.utterance}" for r in scene.referrals[:8])]
    out = np.full((20 * max(len(lines), 1) + 8, 5 * (_TILE[0] + _MARGIN), 3), _WHITE, np.uint8)
    for i, line in enumerate(lines):
        text = line.encode("ascii", "replace").decode()
        cv2.putText(out, text, (6, 20 * i + 18), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (20, 20, 20), 1, cv2.LINE_AA)
    return out


def _spread(views: Sequence[View], count: int) -> list[View]:
    if len(views) <= count:
        return list(views)
    return [views[int(i)] for i in np.linspace(0, len(views) - 1, count)]


def _fitted(image: NDArray[np.uint8], size: tuple[int, int]) -> Picture:
    """The whole picture in a box (width, height), on white."""
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    width, height = max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    out = np.full((size[1], size[0], 3), _WHITE, np.uint8)
    row, col = (size[1] - height) // 2, (size[0] - width) // 2
    out[row : row + height, col : col + width] = small
    return out


def _empty(size: tuple[int, int], why: str) -> Picture:
    return _captioned(np.full((size[1], size[0], 3), _GREY, np.uint8), why)


def _captioned(image: Picture, text: str) -> Picture:
    out = image.copy()
    cv2.putText(out, text, (6, out.shape[0] - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (20, 20, 20), 1, cv2.LINE_AA)
    return out


def _labeled(image: Picture, text: str) -> Picture:
    band = np.full((20, image.shape[1], 3), _WHITE, np.uint8)
    label = text.encode("ascii", "replace").decode()
    cv2.putText(band, label, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (10, 10, 10), 1, cv2.LINE_AA)
    return np.vstack([band, image])
