"""3RScan: rooms scanned again after things were moved.

Looked for under the root (or its ``files``): ``3RScan.json``; and folders
``SCAN`` (or ``scans/SCAN``, ``data/SCAN``) with ``labels.instances.annotated.v2.ply``, ``semseg.v2.json``,
``mesh.refined.v2.obj`` with its texture, and ``sequence.zip`` or what it unpacks to.

All scans of a room share the scene frame, that of the reference scan with its floor at z = 0. An object that stayed has
the very same pose in every scan, one that was moved has the published move: that is what temporal tasks compare.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.readers.boxes import STRUCTURE, floor_height, points_object
from crossover_models.dataset.readers.depth_labels import DepthLabels, labelled_views
from crossover_models.dataset.readers.frames import frame_view, spread_views, usable_poses
from crossover_models.dataset.readers.reader import ReaderError, ReaderOptions, ReadScan
from crossover_models.dataset.readers.scan3r_files import (
    LABELS,
    Labelled,
    read_entries,
    read_labelled,
    without_labels,
)
from crossover_models.dataset.readers.scan3r_frames import Scan3rFrames
from crossover_models.dataset.readers.sceneverse import SceneVerse
from crossover_models.dataset.readers.textured_mesh import vertex_colors, vertices
from crossover_models.dataset.scene import Referral, Scene, SceneObject, ScenePoints, View
from crossover_models.geometry import transform_points_se3

META, MESH = "3RScan.json", "mesh.refined.v2.obj"
_FAR_M = 1.0
"""A published move that ends farther than this from where the object's points are is not believed."""


class Scan3rReader:
    """3RScan.

    Raises:
        ReaderError: no ``3RScan.json``, one that lacks a field, or not one scan's folder.
    """

    name: ClassVar[str] = "3RScan"
    uses: ClassVar[frozenset[str]] = frozenset({"views", "referrals", "structure"})

    def __init__(self, root: Path, options: ReaderOptions) -> None:
        self.root, self.options = root, options
        self._meta = next((p for p in (root / META, root / "files" / META) if p.is_file()), root / META)
        self._entries = {s: e for s, e in read_entries(self._meta).items() if self._folder(s).is_dir()}
        if not self._entries:
            raise ReaderError(f"{root}: no folder of a scan that {META} lists (looked there, in scans and in data)")
        if options.referrals is not None and not options.referrals.exists():
            raise ReaderError(f"--referrals: {options.referrals}: no such file or folder")

    def scan_ids(self) -> tuple[tuple[str, str], ...]:
        """(scan_id, split) of the listed scans that are there; a rescan is in its room's split."""
        return tuple(sorted((scan, entry.split) for scan, entry in self._entries.items()))

    def read(self, scan_id: str) -> ReadScan:
        """Read one scan; see :class:`Reader`."""
        if scan_id not in self._entries:
            raise ReaderError(f"{self.root}: no scan {scan_id!r} in {META} and the folders")
        entry, left_out = self._entries[scan_id], Counter[str]()
        labelled = self._labelled(scan_id)
        T_scene_scan = self._T_scene_scan(scan_id, labelled, left_out)
        points = transform_points_se3(T_scene_scan, labelled.points)
        objects, index_of = self._objects(scan_id, labelled, points, T_scene_scan, left_out)
        instance = labelled.instances(index_of)
        colors = vertex_colors(self._folder(scan_id) / MESH, len(points))
        if colors is None:
            left_out["textures that fit the mesh (the cloud has no colors)"] += 1
        scene = Scene(
            scan_id=scan_id,
            room_id=entry.reference,
            building_id=entry.reference,
            category="",
            split=entry.split,
            source=self.name,
            reference_id="" if entry.reference == scan_id else entry.reference,
            views=self._views(scan_id, T_scene_scan, points, instance, left_out),
            cloud=ScenePoints(
                points.astype(np.float32),
                colors,
                None if colors is None else np.ones(len(points), dtype=np.bool_),
                instance,
            ),
            objects=objects,
            referrals=self._referrals(scan_id, objects, index_of, left_out),
        )
        return ReadScan(scene, {name: count for name, count in sorted(left_out.items()) if count})

    def _folder(self, scan_id: str) -> Path:
        folders = [self.root / scan_id, self.root / "scans" / scan_id, self.root / "data" / scan_id]
        return next((folder for folder in folders if folder.is_dir()), folders[0])

    def _labelled(self, scan_id: str) -> Labelled:
        folder = self._folder(scan_id)
        if self._entries[scan_id].split == "test" and not (folder / LABELS).exists():
            return without_labels(vertices(folder / MESH))
        return read_labelled(folder)

    def _T_scene_scan(self, scan_id: str, labelled: Labelled, left_out: Counter[str]) -> NDArray[np.float64]:
        """(4, 4): into the reference's frame as published, then its floor to z = 0."""
        entry = self._entries[scan_id]
        out = np.eye(4)
        first = labelled
        if entry.reference != scan_id:
            if entry.T_reference_scan is None:
                left_out["transforms to the reference scan (it stays in its own frame)"] += 1
            else:
                out = entry.T_reference_scan.copy()
                if entry.reference in self._entries:
                    first = self._labelled(entry.reference)
                else:
                    left_out["reference scans (the floor is this scan's own)"] += 1
        frame = out if first is labelled else np.eye(4)
        heights = transform_points_se3(frame, first.points)[:, 2]
        out[2, 3] -= floor_height(heights, first.labelled("floor"))
        return out

    def _objects(
        self,
        scan_id: str,
        labelled: Labelled,
        points: NDArray[np.float64],
        T_scene_scan: NDArray[np.float64],
        left_out: Counter[str],
    ) -> tuple[tuple[SceneObject, ...], dict[int, int]]:
        """Objects, and the number of each in this scan's files -> its index."""
        entry = self._entries[scan_id]
        earlier: dict[str, SceneObject] = {}
        if entry.reference != scan_id and entry.reference in self._entries and entry.T_reference_scan is not None:
            first = self._labelled(entry.reference)
            T_scene_reference = T_scene_scan @ np.linalg.inv(entry.T_reference_scan)
            there = transform_points_se3(T_scene_reference, first.points)
            earlier = {str(n): points_object(str(n), "", there[first.of_number(n)]) for n in first.labels}
        else:
            T_scene_reference = T_scene_scan
        objects: dict[str, SceneObject] = {}
        index_of: dict[int, int] = {}
        for number, label in labelled.labels.items():
            own = points[labelled.of_number(number)]
            if label in STRUCTURE and not self.options.structure:
                continue
            if not len(own):
                left_out["objects without a vertex"] += 1
                continue
            source, move = entry.moves.get(number, (number, None))
            # Numbers are the same in all scans of a room but where twins changed places.
            object_id = str(source) if str(source) not in objects else f"{number} of {scan_id}"
            index_of[number] = len(objects)
            thing = points_object(object_id, label, own)
            known = earlier.get(str(source))
            if known is not None and object_id == str(source):
                T_move = np.eye(4) if move is None else T_scene_scan @ move @ np.linalg.inv(T_scene_reference)
                pose = T_move @ known.T_scene_object
                if np.linalg.norm(_middle(pose, known.size_m) - _middle(thing.T_scene_object, thing.size_m)) < _FAR_M:
                    thing = SceneObject(object_id, label, pose, known.size_m)
                else:
                    left_out["objects that are not where the published moves put them"] += 1
            objects[object_id] = thing
        return tuple(objects.values()), index_of

    def _views(
        self,
        scan_id: str,
        T_scene_scan: NDArray[np.float64],
        points: NDArray[np.float64],
        instance: NDArray[np.int32] | None,
        left_out: Counter[str],
    ) -> tuple[View, ...]:
        folder = self._folder(scan_id)
        if self.options.views == 0:
            return ()
        if not (folder / "sequence").is_dir() and not (folder / "sequence.zip").is_file():
            left_out["sequences (neither sequence.zip nor its folder is there)"] += 1
            return ()
        with Scan3rFrames(folder) as frames:
            good = usable_poses(frames.T_world_camera)
            left_out["frames without a pose"] += int((~good).sum())
            usable = np.flatnonzero(good)
            chosen = usable[spread_views(frames.T_world_camera[usable], self.options.views)]
            views = [frame_view(frames, i, T_scene_scan) for i in chosen.tolist()]
        if instance is None or not (instance >= 0).any():
            return tuple(views)
        return labelled_views(views, DepthLabels(points, instance))

    @cached_property
    def _sceneverse(self) -> SceneVerse | None:
        return None if self.options.referrals is None else SceneVerse(self.options.referrals)

    def _referrals(
        self, scan_id: str, objects: tuple[SceneObject, ...], index_of: dict[int, int], left_out: Counter[str]
    ) -> tuple[Referral, ...]:
        out = []
        for target, utterance in self._sceneverse.referrals(scan_id) if self._sceneverse else ():
            index = index_of.get(int(target)) if target.isdigit() else None
            if index is None:
                left_out["referrals to no object"] += 1
            else:
                out.append(Referral(objects[index].object_id, utterance))
        return tuple(out)


def _middle(T_scene_object: NDArray[np.float64], size_m: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(T_scene_object[:3, 3] + T_scene_object[:3, 2] * size_m[2] / 2.0)
