"""ScanNet v2 as published, with Scan2CAD's models, SceneCAD's layouts and SceneVerse's sentences where they are given.

Looked for under the root (or its ``files``): ``scannetv2_{train,val,test}.txt``, ``scannetv2-labels.combined.tsv``; and
``scans/SCAN`` (or ``scans_test/SCAN``) with ``SCAN.txt``, ``SCAN_vh_clean_2.ply``,
``SCAN_vh_clean_2.0.010000.segs.json``, ``SCAN.aggregation.json`` (or ``SCAN_vh_clean.aggregation.json``), and
``SCAN.sens`` or what its exporter writes.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import Mesh
from crossover_models.dataset.ply import read_ply
from crossover_models.dataset.readers.exported_frames import ExportedFrames
from crossover_models.dataset.readers.frames import Frames, frame_view, spread_views, usable_poses
from crossover_models.dataset.readers.instance_pictures import InstancePictures
from crossover_models.dataset.readers.reader import ReaderError, ReaderOptions, ReadScan
from crossover_models.dataset.readers.scan2cad import PlacedModel, Scan2Cad, place
from crossover_models.dataset.readers.scannet_labels import (
    Annotation,
    ScanMeta,
    read_annotation,
    read_label_map,
    read_meta,
)
from crossover_models.dataset.readers.scannet_objects import ScanObjects, object_name, scan_objects
from crossover_models.dataset.readers.scenecad import Layout, read_layout
from crossover_models.dataset.readers.sceneverse import SceneVerse
from crossover_models.dataset.readers.sens import SensFile
from crossover_models.dataset.readers.shapenet import model_path, read_model
from crossover_models.dataset.readers.top_view import top_view
from crossover_models.dataset.scene import PlanDrawing, Referral, Scene, SceneObject, ScenePoints, View
from crossover_models.geometry import transform_points_se3

SPLITS = ("train", "val", "test")
LABELS = "scannetv2-labels.combined.tsv"
_LOW_PERCENT = 1.0


class ScanNetReader:
    """ScanNet v2.

    Raises:
        ReaderError: no split list, no label map, no scans, or an option's file is missing or corrupt.
    """

    name: ClassVar[str] = "ScanNet v2"
    uses: ClassVar[frozenset[str]] = frozenset({"views", "referrals", "scan2cad", "shapenet", "scenecad", "structure"})

    def __init__(self, root: Path, options: ReaderOptions) -> None:
        self.root, self.options = root, options
        self._splits = self._read_splits()
        self._labels = read_label_map(self._found(LABELS))
        for option in ("referrals", "scan2cad", "shapenet", "scenecad"):
            path: Path | None = getattr(options, option)
            if path is not None and not path.exists():
                raise ReaderError(f"--{option}: {path}: no such file or folder")
        if options.shapenet is not None and options.scan2cad is None:
            raise ReaderError("--shapenet: needs --scan2cad, which says where its models stand")
        # Read now: a corrupt one is the user's mistake, not a broken scan.
        self._scan2cad = None if options.scan2cad is None else Scan2Cad(options.scan2cad)
        self._sceneverse = None if options.referrals is None else SceneVerse(options.referrals)

    def scan_ids(self) -> tuple[tuple[str, str], ...]:
        """(scan_id, split) of the published lists' scans that are there."""
        return tuple(sorted(self._splits.items()))

    def read(self, scan_id: str) -> ReadScan:
        """Read one scan; see :class:`Reader`."""
        if scan_id not in self._splits:
            raise ReaderError(f"{self.root}: no scan {scan_id!r} in the lists and folders")
        folder, left_out = self._folder(scan_id), Counter[str]()
        meta = read_meta(folder / f"{scan_id}.txt")
        ply = folder / f"{scan_id}_vh_clean_2.ply"
        points, colors = _vertices(ply)
        annotation = self._annotation(scan_id, len(points))
        T_scene_scan = _alignment(meta, points, annotation, left_out)
        points = transform_points_se3(T_scene_scan, points)

        models = self._models(scan_id, T_scene_scan, left_out)
        found = ScanObjects()
        if annotation is not None:
            found = scan_objects(scan_id, points, annotation, models, self.options.structure, left_out)
        layout = self._layout(scan_id, T_scene_scan)
        referrals, captions = self._sentences(scan_id, found.objects, left_out)
        room_id = scan_id.rsplit("_", 1)[0]
        first = min(other for other in self._splits if other.rsplit("_", 1)[0] == room_id)
        scene = Scene(
            scan_id=scan_id,
            room_id=room_id,
            building_id=room_id,
            category=meta.scene_type,
            split=self._splits[scan_id],
            source=self.name,
            reference_id="" if first == scan_id else first,
            polygon=None if layout is None else layout.polygon,
            views=self._views(scan_id, meta, T_scene_scan, found, left_out),
            cloud=ScenePoints(
                points.astype(np.float32),
                colors,
                None if colors is None else np.ones(len(points), np.bool_),
                found.of_vertex,
            ),
            objects=found.objects,
            plans=self._plans(layout, found),
            description=captions,
            referrals=referrals,
        )
        return ReadScan(scene, {name: count for name, count in sorted(left_out.items()) if count})

    def _found(self, name: str) -> Path:
        for folder in (self.root, self.root / "files"):
            if (folder / name).is_file():
                return folder / name
        raise ReaderError(f"{self.root}: no {name} (looked for it there and in {self.root / 'files'})")

    def _read_splits(self) -> dict[str, str]:
        out: dict[str, str] = {}
        lists = 0
        for split in SPLITS:
            try:
                path = self._found(f"scannetv2_{split}.txt")
            except ReaderError:
                continue
            lists += 1
            for scan_id in path.read_text(encoding="utf-8").split():
                if out.setdefault(scan_id, split) != split:
                    raise ReaderError(f"{path}: {scan_id} is in the list of {out[scan_id]} too")
        if not lists:
            raise ReaderError(
                f"{self.root}: none of scannetv2_train.txt, scannetv2_val.txt, scannetv2_test.txt (looked for them "
                f"there and in {self.root / 'files'}; ScanNet's repository has them under Tasks/Benchmark)"
            )
        there = {scan_id: split for scan_id, split in out.items() if self._folder(scan_id).is_dir()}
        if not there:
            raise ReaderError(
                f"{self.root / 'scans'}: no folder of a listed scan, e.g. {min(out, default='(no list)')}"
            )
        return there

    def _folder(self, scan_id: str) -> Path:
        test = self.root / "scans_test" / scan_id
        return test if test.is_dir() else self.root / "scans" / scan_id

    def _annotation(self, scan_id: str, vertices: int) -> Annotation | None:
        """Labels; None for a scan of the hidden test set, which is published without."""
        folder = self._folder(scan_id)
        segments = folder / f"{scan_id}_vh_clean_2.0.010000.segs.json"
        named = [folder / f"{scan_id}.aggregation.json", folder / f"{scan_id}_vh_clean.aggregation.json"]
        aggregation = next((path for path in named if path.exists()), named[0])
        if self._splits[scan_id] == "test" and not segments.exists() and not aggregation.exists():
            return None
        return read_annotation(segments, aggregation, vertices, self._labels)

    def _models(self, scan_id: str, T_scene_scan: NDArray[np.float64], left_out: Counter[str]) -> list[PlacedModel]:
        out = []
        for model in self._scan2cad.models(scan_id) if self._scan2cad else ():
            mesh: Mesh | None = None
            if self.options.shapenet is not None:
                path = model_path(self.options.shapenet, model.category_id, model.model_id)
                if path.exists():
                    mesh = read_model(path)
                else:
                    left_out["CAD meshes that ShapeNet's folder lacks"] += 1
            placed = place(model, T_scene_scan, mesh)
            if placed is None:
                left_out["CAD models without a size"] += 1
            else:
                out.append(placed)
        return out

    def _layout(self, scan_id: str, T_scene_scan: NDArray[np.float64]) -> Layout | None:
        path = None if self.options.scenecad is None else self.options.scenecad / f"{scan_id}.json"
        return read_layout(path, T_scene_scan) if path is not None and path.exists() else None

    def _sentences(
        self, scan_id: str, objects: tuple[SceneObject, ...], left_out: Counter[str]
    ) -> tuple[tuple[Referral, ...], tuple[str, ...]]:
        if self._sceneverse is None:
            return (), ()
        known = {thing.object_id for thing in objects}
        referrals = []
        for target, utterance in self._sceneverse.referrals(scan_id):
            object_id = object_name(scan_id, target)
            if object_id in known:
                referrals.append(Referral(object_id, utterance))
            else:
                left_out["referrals to no object"] += 1
        return tuple(referrals), self._sceneverse.captions(scan_id)

    def _views(
        self,
        scan_id: str,
        meta: ScanMeta,
        T_scene_scan: NDArray[np.float64],
        found: ScanObjects,
        left_out: Counter[str],
    ) -> tuple[View, ...]:
        if self.options.views == 0:
            return ()
        folder = self._folder(scan_id)
        with ExitStack() as stack:
            frames = self._frames(folder, scan_id, meta, stack)
            if frames is None:
                left_out["sequences (neither .sens nor color pictures are there)"] += 1
                return ()
            good = usable_poses(frames.T_world_camera)
            left_out["frames without a pose"] += int((~good).sum())
            usable = np.flatnonzero(good)
            chosen = usable[spread_views(frames.T_world_camera[usable], self.options.views)]
            pictures = stack.enter_context(InstancePictures(folder, scan_id))
            views = []
            for i in chosen.tolist():
                numbers = pictures.numbers(frames.name(i))
                seen = None if numbers is None or found.of_vertex is None else found.of_picture(numbers)
                views.append(frame_view(frames, i, T_scene_scan, seen))
            return tuple(views)

    def _frames(self, folder: Path, scan_id: str, meta: ScanMeta, stack: ExitStack) -> Frames | None:
        if self.options.views == 0:
            return None
        for name in (f"{scan_id}.sens", f"{scan_id}_vh.sens"):
            if (folder / name).is_file():
                return stack.enter_context(SensFile(folder / name))
        for exported in (folder, folder / "data", folder / "exported"):
            if (exported / "color").is_dir():
                return ExportedFrames(exported, meta.color_intrinsics, meta.depth_intrinsics, meta.color_size)
        return None

    @staticmethod
    def _plans(layout: Layout | None, found: ScanObjects) -> tuple[PlanDrawing, ...]:
        """The paper's plan (layout and furniture from above) and the walls alone; none without a layout."""
        if layout is None:
            return ()
        furniture = [thing for i, thing in enumerate(found.objects) if i not in found.structure] + list(found.others)
        drawings = top_view(layout.walls, furniture, "furnished"), top_view(layout.walls, (), "line")
        return tuple(drawing for drawing in drawings if drawing is not None)


def _vertices(path: Path) -> tuple[NDArray[np.float64], NDArray[np.uint8] | None]:
    """(V, 3) points in the scan's coordinates and the sensor's colors (V, 3)."""
    vertices = read_ply(path).vertices
    if not {"x", "y", "z"} <= vertices.keys():
        raise ReaderError(f"{path}: vertices without x, y, z")
    points = np.stack([vertices[axis] for axis in "xyz"], axis=1).astype(np.float64)
    if not len(points) or not np.isfinite(points).all():
        raise ReaderError(f"{path}: no vertices, or one whose position is no number")
    if not {"red", "green", "blue"} <= vertices.keys():
        return points, None
    return points, np.stack([vertices[c] for c in ("red", "green", "blue")], axis=1).astype(np.uint8)


def _alignment(
    meta: ScanMeta, points: NDArray[np.float64], annotation: Annotation | None, left_out: Counter[str]
) -> NDArray[np.float64]:
    """T_scene_scan (4, 4): turned along the walls as published, floor at z = 0.

    Scans are published z up. The hidden test scans come without ``axisAlignment`` and stay as they are turned.
    """
    out = np.eye(4)
    if meta.axis_alignment is not None:
        out = meta.axis_alignment.copy()
    else:
        left_out["axis alignment"] += 1
    heights = transform_points_se3(out, points)[:, 2]
    floors = [i for i, it in enumerate(annotation.instances) if it.nyu40 == "floor"] if annotation else []
    on_floor = np.isin(annotation.of_vertex, floors) if annotation else np.zeros(len(points), np.bool_)
    if on_floor.any():
        out[2, 3] -= np.median(heights[on_floor])
    else:
        left_out["labelled floor (its height is the lowest percent of points)"] += 1
        out[2, 3] -= np.percentile(heights, _LOW_PERCENT)
    return out
