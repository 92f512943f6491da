"""ARKitScenes as downloaded: the 3DOD set, or the raw one.

Looked for under the root (or its ``3dod`` or ``raw``): ``{Training,Validation}/VIDEO`` (or below a folder of the visit)
with ``VIDEO_3dod_mesh.ply``, ``VIDEO_3dod_annotation.json``, and in ``VIDEO_frames`` (raw: in ``VIDEO`` itself)
``lowres_wide``, ``lowres_depth``, ``lowres_wide_intrinsics`` and ``lowres_wide.traj``. A list with ``video_id`` and
``visit_id`` (``3dod_train_val_splits.csv``, ``raw_train_val_splits.csv`` or ``metadata.csv``) says which videos show
the same room; where there is none each video is a room of its own.
"""

from __future__ import annotations

import csv
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.ply import PlyError, read_ply
from crossover_models.dataset.readers.boxes import box_object, floor_height, inside_boxes
from crossover_models.dataset.readers.depth_labels import DepthLabels, labelled_views
from crossover_models.dataset.readers.frames import spread_views, usable_poses
from crossover_models.dataset.readers.json_file import read_object
from crossover_models.dataset.readers.reader import ReaderError, ReaderOptions, ReadScan
from crossover_models.dataset.readers.sceneverse import SceneVerse
from crossover_models.dataset.scene import Referral, Scene, SceneObject, ScenePoints, View
from crossover_models.geometry import inverse_se3, transform_points_se3

FOLDS = {"Training": "train", "Validation": "val"}
LISTS = ("3dod_train_val_splits.csv", "raw_train_val_splits.csv", "metadata.csv")
_MESH, _BOXES = "_3dod_mesh.ply", "_3dod_annotation.json"
_SAME_TIME_S = 0.005
"""A picture and a pose that differ more are not of the same moment."""
_ROUNDED_S = 0.0015
"""Names of intrinsics differ from those of pictures by their rounding."""
_MILLIMETRES = 1000.0


class ArkitScenesReader:
    """ARKitScenes.

    Raises:
        ReaderError: no folder of a video, or a list without its columns.
    """

    name: ClassVar[str] = "ARKitScenes"
    uses: ClassVar[frozenset[str]] = frozenset({"views", "referrals"})

    def __init__(self, root: Path, options: ReaderOptions) -> None:
        self.root, self.options = root, options
        self._scans: dict[str, tuple[str, Path]] = {}
        for base in (root, root / "3dod", root / "raw"):
            for fold, split in FOLDS.items():
                for pattern in (f"*/*{_MESH}", f"*/*/*{_MESH}"):
                    for mesh in sorted((base / fold).glob(pattern)):
                        self._scans.setdefault(mesh.name.removesuffix(_MESH), (split, mesh.parent))
        if not self._scans:
            raise ReaderError(f"{root}: no Training/VIDEO/VIDEO{_MESH} (looked there, in 3dod and in raw)")
        self._visits = self._read_visits()
        if options.referrals is not None and not options.referrals.exists():
            raise ReaderError(f"--referrals: {options.referrals}: no such file or folder")

    def scan_ids(self) -> tuple[tuple[str, str], ...]:
        """(scan_id, split): ids of videos; the validation fold is the published one."""
        return tuple(sorted((scan, split) for scan, (split, _) in self._scans.items()))

    def read(self, scan_id: str) -> ReadScan:
        """Read one scan; see :class:`Reader`."""
        if scan_id not in self._scans:
            raise ReaderError(f"{self.root}: no video {scan_id!r}")
        (split, folder), left_out = self._scans[scan_id], Counter[str]()
        try:
            ply = read_ply(folder / f"{scan_id}{_MESH}")
            raw = ply.positions()
        except PlyError as error:
            raise ReaderError(f"{folder}: {error}") from None
        if not len(raw):
            raise ReaderError(f"{folder / scan_id}{_MESH}: no vertices")
        T_scene_scan = np.eye(4)
        T_scene_scan[2, 3] = -floor_height(raw[:, 2], np.zeros(len(raw), dtype=np.bool_))
        points = transform_points_se3(T_scene_scan, raw)
        objects = self._objects(folder / f"{scan_id}{_BOXES}", T_scene_scan, left_out)
        instance = inside_boxes(points, objects) if objects else None
        views = self._views(scan_id, folder, T_scene_scan, left_out)
        if instance is not None:
            views = labelled_views(views, DepthLabels(points, instance))
        colors = ply.colors()
        room_id = self._visits.get(scan_id, scan_id)
        first = min(other for other in self._scans if self._visits.get(other, other) == room_id)
        scene = Scene(
            scan_id=scan_id,
            room_id=room_id,
            building_id=room_id,
            category="",
            split=split,
            source=self.name,
            reference_id="" if first == scan_id else first,
            views=views,
            cloud=ScenePoints(
                points.astype(np.float32),
                colors,
                None if colors is None else np.ones(len(points), dtype=np.bool_),
                instance,
            ),
            objects=objects,
            referrals=self._referrals(scan_id, objects, left_out),
        )
        return ReadScan(scene, {name: count for name, count in sorted(left_out.items()) if count})

    def _read_visits(self) -> dict[str, str]:
        out: dict[str, str] = {}
        folders = (self.root, self.root / "3dod", self.root / "raw")
        for path in (folder / name for folder in folders for name in LISTS):
            if not path.is_file():
                continue
            with path.open(encoding="utf-8", newline="") as stream:
                rows = csv.DictReader(stream)
                if not {"video_id", "visit_id"} <= set(rows.fieldnames or ()):
                    raise ReaderError(f"{path}: no columns video_id and visit_id")
                for row in rows:
                    visit = (row["visit_id"] or "").strip().removesuffix(".0")
                    if visit and visit.lower() not in ("na", "nan"):
                        out.setdefault(row["video_id"].strip(), visit)
        for scan_id, (_, folder) in self._scans.items():
            if folder.parent.name not in FOLDS:
                out.setdefault(scan_id, folder.parent.name)
        return out

    def _objects(
        self, path: Path, T_scene_scan: NDArray[np.float64], left_out: Counter[str]
    ) -> tuple[SceneObject, ...]:
        content = read_object(path)
        if content.get("skipped") is True:
            left_out["annotations that their makers marked as skipped"] += 1
            return ()
        entries = content.get("data")
        if not isinstance(entries, list):
            raise ReaderError(f"{path}: data: expected a list")
        out: dict[str, SceneObject] = {}
        for number, entry in enumerate(entries):
            try:
                box: dict[str, Any] = entry["segments"]["obbAligned"]
                uid, label = str(entry["uid"]), str(entry["label"]).strip().lower().replace("_", " ")
                thing = box_object(uid, label, T_scene_scan, box["centroid"], box["normalizedAxes"], box["axesLengths"])
            except KeyError as error:
                raise ReaderError(f"{path}: data {number}: no {error}") from None
            except (TypeError, ValueError) as error:
                raise ReaderError(f"{path}: data {number}: {error}") from None
            if uid in out:
                left_out["boxes whose uid occurs twice"] += 1
            out.setdefault(uid, thing)
        return tuple(out.values())

    def _views(
        self, scan_id: str, folder: Path, T_scene_scan: NDArray[np.float64], left_out: Counter[str]
    ) -> tuple[View, ...]:
        if self.options.views == 0:
            return ()
        frames = folder / f"{scan_id}_frames"
        frames = frames if frames.is_dir() else folder
        pictures = sorted((frames / "lowres_wide").glob(f"{scan_id}_*.png"), key=_stamp)
        if not pictures:
            left_out["sequences (no lowres_wide pictures are there)"] += 1
            return ()
        stamps, poses = _trajectory(frames / "lowres_wide.traj")
        cameras = {_stamp(p): p for p in (frames / "lowres_wide_intrinsics").glob(f"{scan_id}_*.pincam")}
        if not cameras:
            raise ReaderError(f"{frames / 'lowres_wide_intrinsics'}: no {scan_id}_TIME.pincam")
        camera_stamps = np.array(sorted(cameras))
        known: list[tuple[Path, Path, NDArray[np.float64]]] = []
        for picture in pictures:
            pose, camera = _nearest(stamps, _stamp(picture)), _nearest(camera_stamps, _stamp(picture))
            if abs(stamps[pose] - _stamp(picture)) > _SAME_TIME_S:
                left_out["pictures without a pose"] += 1
            elif abs(camera_stamps[camera] - _stamp(picture)) > _ROUNDED_S:
                left_out["pictures without intrinsics"] += 1
            else:
                known.append((picture, cameras[float(camera_stamps[camera])], poses[pose]))
        if not known:
            return ()
        T = np.stack([pose for _, _, pose in known])
        good = np.flatnonzero(usable_poses(T))
        left_out["pictures without a pose"] += len(known) - len(good)
        chosen = good[spread_views(T[good], self.options.views)]
        views = []
        for i in chosen.tolist():
            picture, camera, T_world_camera = known[i]
            views.append(_view(picture, camera, T_world_camera, T_scene_scan))
        return tuple(views)

    @cached_property
    def _sceneverse(self) -> SceneVerse | None:
        return None if self.options.referrals is None else SceneVerse(self.options.referrals)

    def _referrals(
        self, scan_id: str, objects: tuple[SceneObject, ...], left_out: Counter[str]
    ) -> tuple[Referral, ...]:
        """SceneVerse numbers a scan's boxes in the order of their file, or names their uid."""
        named = {thing.object_id for thing in objects}
        out = []
        for target, utterance in self._sceneverse.referrals(scan_id) if self._sceneverse else ():
            if target in named:
                out.append(Referral(target, utterance))
            elif target.isdigit() and int(target) < len(objects):
                out.append(Referral(objects[int(target)].object_id, utterance))
            else:
                left_out["referrals to no object"] += 1
        return tuple(out)


def _stamp(path: Path) -> float:
    try:
        return float(path.stem.rsplit("_", 1)[-1])
    except ValueError:
        raise ReaderError(f"{path}: its name ends in no time") from None


def _nearest(stamps: NDArray[np.float64], stamp: float) -> int:
    return int(np.abs(stamps - stamp).argmin())


def _trajectory(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times (N,) in s and T_world_camera (N, 4, 4). A line is time, axis * angle and translation of the *inverse*."""
    try:
        rows = np.array([line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()], float)
    except FileNotFoundError:
        raise ReaderError(f"{path}: no such file") from None
    except ValueError:
        raise ReaderError(f"{path}: a line has not seven numbers") from None
    if rows.ndim != 2 or rows.shape[1] != 7 or not len(rows):
        raise ReaderError(f"{path}: expected lines of seven numbers")
    poses = np.full((len(rows), 4, 4), np.nan)
    for i in np.flatnonzero(np.isfinite(rows).all(axis=1)):
        T_camera_world = np.eye(4)
        T_camera_world[:3, :3] = cv2.Rodrigues(rows[i, 1:4])[0]
        T_camera_world[:3, 3] = rows[i, 4:7]
        poses[i] = inverse_se3(T_camera_world)
    return rows[:, 0], poses


def _view(picture: Path, camera: Path, T_world_camera: NDArray[np.float64], T_scene_world: NDArray[np.float64]) -> View:
    image = cv2.imread(str(picture), cv2.IMREAD_COLOR)
    if image is None:
        raise ReaderError(f"{picture}: a damaged picture")
    try:
        width, height, fx, fy, cx, cy = (float(v) for v in camera.read_text(encoding="utf-8").split())
    except ValueError:
        raise ReaderError(f"{camera}: expected width, height, focal lengths and principal point") from None
    if (round(height), round(width)) != image.shape[:2]:
        raise ReaderError(f"{camera}: for {width:g} x {height:g}, its picture is {image.shape[1]} x {image.shape[0]}")
    depth = None
    path = picture.parent.parent / "lowres_depth" / picture.name
    if path.is_file():
        raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if raw is None or raw.dtype != np.uint16 or raw.shape != image.shape[:2]:
            raise ReaderError(f"{path}: a damaged picture, or not one channel of 16 bits as large as the color")
        depth = (raw / np.float32(_MILLIMETRES)).astype(np.float32)
    intrinsics = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    rgb = np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)
    return View(rgb, T_scene_world @ T_world_camera, intrinsics, depth)
