"""Frozen features of a scan: what the front ends make of its pictures, plans and sentences; its points, thinned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.config import Settings, setting
from crossover_models.dataset.features import Array, SceneFeatures
from crossover_models.dataset.scene import PlanDrawing, Scene, SceneObject, ScenePoints, View
from crossover_models.encoders.front_ends import ImageFrontEnd, TextFrontEnd
from crossover_models.encoders.inputs import surface_points
from crossover_models.encoders.plan_patch import plan_features
from crossover_models.encoders.profile import EncoderProfile
from crossover_models.floor_plan import FREE, OCCUPIED, FloorPlan
from crossover_models.sets.palette import COLORS, palette
from crossover_models.sets.raster import CELLS, PLAN_CHANNELS, plan_raster

PRECISIONS = ("float32", "bfloat16")
_DARK = 128
_GROWN = 0.2
"""Crops of objects are this much of their side wider at each end."""
_LEAST_PIXELS = 40


@dataclass(frozen=True)
class FeatureSettings(Settings):
    """What decides the features' content, besides the scan and the front ends."""

    spacing_m: float = setting(
        0.08, "grid on which clouds are thinned; two thirds of the small voxel", unit="m", minimum=0.01, maximum=0.5
    )
    crops: int = setting(2, "pictures of an object, those that show most of it; 0 for none", minimum=0, maximum=20)
    cad_points: int = setting(1024, "points on a CAD model", minimum=64, maximum=8192)
    precision: str = setting(
        "float32", "of the 2D front end; bfloat16 is 2.6 times as fast on CPUs that have it", choices=PRECISIONS
    )
    referrals: int = setting(20, "sentences about single objects, spread over all of them", minimum=0, maximum=1000)


Recognizer = Callable[[Sequence[NDArray[np.uint8]]], tuple[Array, Array]]
"""Pictures -> the front end's views (V, view) and evidence of objects (V, 2C), in one pass."""


def scene_features(
    scene: Scene,
    settings: FeatureSettings,
    profile: EncoderProfile,
    image: ImageFrontEnd,
    text: TextFrontEnd,
    recognizer: Recognizer | None = None,
) -> SceneFeatures:
    """Features of a scan; the same arguments always give the same ones."""
    pictures = [view.image for view in scene.views]
    driven = scene.drive.views if scene.drive else ()
    frames = [view.image for view in driven]
    views, view_objects = _seen(pictures, image, recognizer)
    drive_views, drive_objects = _seen(frames, image, recognizer)
    crops, of_crop = object_crops(scene.views, len(scene.objects), settings.crops)
    object_views = np.zeros((len(scene.objects), image.plan_dim), dtype=np.float32)
    counts = np.bincount(of_crop, minlength=len(scene.objects)).astype(np.int32)
    if crops:
        features = image.plans(crops).cpu().numpy()
        np.add.at(object_views, of_crop, features)
        object_views[counts > 0] /= counts[counts > 0, None]
    index = {thing.object_id: i for i, thing in enumerate(scene.objects)}
    step = max(1, -(-len(scene.referrals) // max(1, settings.referrals)))
    said = scene.referrals[::step] if settings.referrals else ()
    sentences = [" ".join(scene.description), *scene.description] if scene.description else []
    cad, of_object = model_points(scene.objects, settings.cad_points)
    cloud, rows = thinned(scene.cloud, settings.spacing_m)
    drive, drive_rows = thinned(scene.drive.cloud if scene.drive else None, settings.spacing_m)
    no_colors = cloud.colors is None or cloud.colored is None
    return SceneFeatures(
        scan_id=scene.scan_id,
        room_id=scene.room_id,
        building_id=scene.building_id,
        reference_id=scene.reference_id,
        category=scene.category,
        split=scene.split,
        object_ids=tuple(thing.object_id for thing in scene.objects),
        object_categories=tuple(thing.category for thing in scene.objects),
        plan_styles=tuple(plan.style for plan in scene.plans),
        views=views,
        view_poses=np.array([v.T_scene_camera for v in scene.views], dtype=np.float32).reshape(-1, 4, 4),
        drive_views=drive_views,
        plans=_plans(scene, profile, image),
        texts=text.texts(sentences).cpu().numpy() if sentences else np.zeros((0, text.dim), np.float32),
        referrals=(
            text.texts([s.utterance for s in said]).cpu().numpy() if said else np.zeros((0, text.dim), np.float32)
        ),
        referral_objects=np.array([index[s.target_id] for s in said], dtype=np.int32),
        object_poses=np.array([o.T_scene_object for o in scene.objects], dtype=np.float32).reshape(-1, 4, 4),
        object_sizes=np.array([o.size_m for o in scene.objects], dtype=np.float32).reshape(-1, 3),
        object_views=object_views,
        object_crops=counts,
        object_cad=of_object,
        cad_points=cad,
        points=cloud.points[rows],
        colors=np.zeros((len(rows), 3), np.uint8) if cloud.colors is None else cloud.colors[rows],
        colored=np.zeros(len(rows), np.bool_) if no_colors or cloud.colored is None else cloud.colored[rows],
        instance=np.full(len(rows), -1, np.int32) if cloud.instance is None else cloud.instance[rows],
        drive_points=drive.points[drive_rows],
        outline=np.zeros((0, 2), np.float32) if scene.polygon is None else scene.polygon.astype(np.float32),
        drive_poses=np.array([v.T_scene_camera for v in driven], dtype=np.float32).reshape(-1, 4, 4),
        view_colors=_palettes(pictures),
        drive_colors=_palettes(frames),
        view_objects=view_objects,
        drive_objects=drive_objects,
        plan_rasters=np.array(
            [plan_raster(drawn_plan(plan), _outline(scene, plan)) for plan in scene.plans], dtype=np.uint8
        ).reshape(-1, PLAN_CHANNELS, CELLS, CELLS),
    )


def _palettes(pictures: list[NDArray[np.uint8]]) -> Array:
    return np.array([palette(picture) for picture in pictures], dtype=np.float32).reshape(-1, COLORS)


def _seen(
    pictures: list[NDArray[np.uint8]], image: ImageFrontEnd, recognizer: Recognizer | None
) -> tuple[Array, Array]:
    """Views (V, view) and evidence (V, 2C); no columns of the latter without a recognizer."""
    if not pictures:
        return np.zeros((0, image.view_dim), np.float32), np.zeros((0, 0), np.float32)
    if recognizer is not None:
        return recognizer(pictures)
    return image.views(pictures).cpu().numpy(), np.zeros((len(pictures), 0), np.float32)


def object_crops(views: tuple[View, ...], objects: int, most: int) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """Crops (h, w, 3) around objects in the views that show most of them, and the object of each crop."""
    seen: list[list[tuple[int, int]]] = [[] for _ in range(objects)]
    for number, view in enumerate(views):
        if view.instance is None or not objects:
            continue
        counts = np.bincount(view.instance[view.instance >= 0].ravel(), minlength=objects)
        for i in np.flatnonzero(counts >= _LEAST_PIXELS).tolist():
            seen[i].append((-int(counts[i]), number))
    crops, of_crop = [], []
    for i, its in enumerate(seen):
        for _, number in sorted(its)[:most]:
            view = views[number]
            assert view.instance is not None
            rows, cols = np.nonzero(view.instance == i)
            height, width = view.instance.shape
            up, down = _span(rows, height)
            left, right = _span(cols, width)
            crops.append(np.ascontiguousarray(view.image[up:down, left:right]))
            of_crop.append(i)
    return crops, np.array(of_crop, dtype=np.int64)


def _span(pixels: NDArray[np.int64], limit: int) -> tuple[int, int]:
    low, high = int(pixels.min()), int(pixels.max()) + 1
    grown = int(_GROWN * (high - low))
    return max(0, low - grown), min(limit, high + grown)


def _plans(scene: Scene, profile: EncoderProfile, image: ImageFrontEnd) -> Array:
    """(G, plan) features of the drawings as the encoder sees every floor plan: metric, dark is wall."""
    rows = [
        plan_features(image, profile, drawn_plan(drawing), _outline(scene, drawing)).cpu().numpy()
        for drawing in scene.plans
    ]
    return np.array(rows, dtype=np.float32).reshape(-1, image.plan_dim)


def drawn_plan(drawing: PlanDrawing) -> FloorPlan:
    """A drawing as occupancy: what is dark is occupied, all other paper is free."""
    picture = drawing.image.astype(np.float32)
    grey = picture if picture.ndim == 2 else picture.mean(axis=2)
    occupancy = np.where(grey < _DARK, OCCUPIED, FREE).astype(np.int8)
    return FloorPlan(occupancy, drawing.resolution_m, drawing.origin_xy)


def _outline(scene: Scene, drawing: PlanDrawing) -> NDArray[np.float64]:
    """The room's outline, or the drawing's edges where nobody knows it."""
    if scene.polygon is not None:
        return scene.polygon
    x, y = drawing.origin_xy
    height, width = (n * drawing.resolution_m for n in drawing.image.shape[:2])
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])


def model_points(objects: tuple[SceneObject, ...], count: int) -> tuple[Array, NDArray[np.int32]]:
    """Points (C, count, 3) on each different model, centered, greatest radius 1, and each object's row or -1."""
    rows: dict[tuple[str, bytes], int] = {}
    points: list[Array] = []
    of_object = np.full(len(objects), -1, dtype=np.int32)
    for i, thing in enumerate(objects):
        if thing.cad is None or not len(thing.cad.faces):
            continue
        # The same model in the same size looks the same: once is enough.
        name = thing.cad_id or thing.object_id, np.round(thing.size_m, 2).tobytes()
        if name not in rows:
            surface, _ = surface_points([thing.cad], 1e9, count)
            surface = surface - surface.mean(axis=0)
            radius = float(np.linalg.norm(surface, axis=1).max())
            rows[name] = len(points)
            points.append((surface / max(radius, 1e-9)).astype(np.float32))
        of_object[i] = rows[name]
    return np.array(points, dtype=np.float32).reshape(-1, count, 3), of_object


def thinned(cloud: ScenePoints | None, spacing_m: float) -> tuple[ScenePoints, NDArray[np.int64]]:
    """The cloud, and rows of one point (the first) in each cell of a grid."""
    if cloud is None or not len(cloud.points):
        return ScenePoints(np.zeros((0, 3), np.float32)), np.zeros(0, np.int64)
    cells = np.floor(cloud.points.astype(np.float64) / spacing_m).astype(np.int64)
    cells -= cells.min(axis=0)
    _, first = np.unique((cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2], return_index=True)
    return cloud, np.sort(first)
