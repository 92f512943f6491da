"""MultiScan as published.

Looked for under the root: ``scans_split.csv`` (or in ``benchmark``), and folders ``SCAN`` with ``SCAN.ply``,
``SCAN.annotations.json``, ``SCAN.align.json``, ``SCAN.json``, and the streams ``SCAN.jsonl``, ``SCAN.mp4`` and
``SCAN.depth.zlib``. Meshes lie with the floor on z = 0; scans of a room share the frame of the one they are aligned to.
"""

from __future__ import annotations

import csv
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.ply import PlyError, read_ply
from crossover_models.dataset.readers.boxes import STRUCTURE, box_object
from crossover_models.dataset.readers.depth_labels import DepthLabels, labelled_views
from crossover_models.dataset.readers.frames import spread_views, usable_poses
from crossover_models.dataset.readers.json_file import read_object
from crossover_models.dataset.readers.multiscan_frames import read_cameras, read_frames
from crossover_models.dataset.readers.reader import ReaderError, ReaderOptions, ReadScan
from crossover_models.dataset.readers.sceneverse import SceneVerse
from crossover_models.dataset.scene import Referral, Scene, SceneObject, ScenePoints, View
from crossover_models.geometry import inverse_se3, transform_points_se3

LIST = "scans_split.csv"


class MultiScanReader:
    """MultiScan.

    Raises:
        ReaderError: no list of splits, or no folder of a listed scan.
    """

    name: ClassVar[str] = "MultiScan"
    uses: ClassVar[frozenset[str]] = frozenset({"views", "referrals", "structure"})

    def __init__(self, root: Path, options: ReaderOptions) -> None:
        self.root, self.options = root, options
        self._splits = {scan: split for scan, split in _splits(root).items() if (root / scan).is_dir()}
        if not self._splits:
            raise ReaderError(f"{root}: no folder of a scan that {LIST} lists")
        if options.referrals is not None and not options.referrals.exists():
            raise ReaderError(f"--referrals: {options.referrals}: no such file or folder")

    def scan_ids(self) -> tuple[tuple[str, str], ...]:
        """(scan_id, split) of the listed scans that are there and have a split."""
        return tuple(sorted(self._splits.items()))

    def read(self, scan_id: str) -> ReadScan:
        """Read one scan; see :class:`Reader`."""
        if scan_id not in self._splits:
            raise ReaderError(f"{self.root}: no scan {scan_id!r} in {LIST} and the folders")
        folder, left_out = self.root / scan_id, Counter[str]()
        T_world_mesh, target, T_scene_mesh = _alignment(folder / f"{scan_id}.align.json")
        try:
            ply = read_ply(folder / f"{scan_id}.ply")
            points = transform_points_se3(T_scene_mesh, ply.positions())
        except FileNotFoundError:
            raise ReaderError(f"{folder / scan_id}.ply: no such file") from None
        except PlyError as error:
            raise ReaderError(f"{folder}: {error}") from None
        if ply.faces is None or "objectId" not in ply.face_properties or not len(points):
            raise ReaderError(f"{folder / scan_id}.ply: no faces with an objectId")
        objects, index_of = self._objects(folder, scan_id, T_scene_mesh, left_out)
        of_face = np.array([index_of.get(int(n), -1) for n in ply.face_properties["objectId"]], dtype=np.int32)
        instance = np.full(len(points), -1, dtype=np.int32)
        instance[ply.faces.reshape(-1)] = np.repeat(of_face, 3)
        views = self._views(folder, scan_id, T_scene_mesh @ inverse_se3(T_world_mesh), left_out)
        colors = ply.colors()
        room_id = scan_id.rsplit("_", 1)[0]
        if not target:
            first = min(other for other in self._splits if other.rsplit("_", 1)[0] == room_id)
            target = "" if first == scan_id else first
        scene = Scene(
            scan_id=scan_id,
            room_id=room_id,
            building_id=room_id,
            category=self._category(folder / f"{scan_id}.json"),
            split=self._splits[scan_id],
            source=self.name,
            reference_id=target,
            views=labelled_views(views, DepthLabels(points, instance)),
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

    @staticmethod
    def _category(path: Path) -> str:
        if not path.is_file():
            return ""
        scene = read_object(path).get("scene")
        kind = scene.get("type") if isinstance(scene, dict) else None
        return kind.strip().lower() if isinstance(kind, str) else ""

    def _objects(
        self, folder: Path, scan_id: str, T_scene_mesh: NDArray[np.float64], left_out: Counter[str]
    ) -> tuple[tuple[SceneObject, ...], dict[int, int]]:
        """Objects, and the ``objectId`` of each -> its index. Scans number their objects anew, so ids name the scan."""
        path = folder / f"{scan_id}.annotations.json"
        entries = read_object(path).get("objects")
        if not isinstance(entries, list):
            raise ReaderError(f"{path}: objects: expected a list")
        objects: list[SceneObject] = []
        index_of: dict[int, int] = {}
        for number, entry in enumerate(entries):
            try:
                object_id, label = int(entry["objectId"]), str(entry["label"]).split(":")[0]
                category = label.rsplit(".", 1)[0].replace("_", " ").strip().lower()
                if category in STRUCTURE and not self.options.structure:
                    continue
                box: dict[str, Any] | None = entry.get("obb")
                if box is None:
                    left_out["objects without a box"] += 1
                    continue
                axes = np.asarray(box["normalizedAxes"], dtype=np.float64).reshape(3, 3)
                name = f"{scan_id}/{object_id}"
                thing = box_object(
                    name, category, T_scene_mesh, box["centroid"], axes, box["axesLengths"], box.get("front")
                )
            except KeyError as error:
                raise ReaderError(f"{path}: objects {number}: no {error}") from None
            except (TypeError, ValueError) as error:
                raise ReaderError(f"{path}: objects {number}: {error}") from None
            if object_id in index_of:
                raise ReaderError(f"{path}: objects {number}: objectId {object_id} occurs twice")
            index_of[object_id] = len(objects)
            objects.append(thing)
        return tuple(objects), index_of

    def _views(
        self, folder: Path, scan_id: str, T_scene_world: NDArray[np.float64], left_out: Counter[str]
    ) -> tuple[View, ...]:
        if self.options.views == 0:
            return ()
        if not (folder / f"{scan_id}.mp4").is_file():
            left_out["sequences (no .mp4 is there)"] += 1
            return ()
        cameras = read_cameras(folder / f"{scan_id}.jsonl")
        good = usable_poses(cameras.T_world_camera)
        left_out["frames without a pose"] += int((~good).sum())
        usable = np.flatnonzero(good)
        wanted = usable[spread_views(cameras.T_world_camera[usable], self.options.views)].tolist()
        frames = read_frames(folder, scan_id, cameras, wanted)
        return tuple(
            View(image, T_scene_world @ cameras.T_world_camera[i], intrinsics, depth)
            for i, (image, intrinsics, depth) in zip(wanted, frames, strict=True)
        )

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


def _splits(root: Path) -> dict[str, str]:
    path = next((p for p in (root / LIST, root / "benchmark" / LIST) if p.is_file()), None)
    if path is None:
        raise ReaderError(f"{root}: no {LIST} (MultiScan's repository has it under dataset/benchmark)")
    out: dict[str, str] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        if not {"scanId", "split"} <= set(rows.fieldnames or ()):
            raise ReaderError(f"{path}: no columns scanId and split")
        for row in rows:
            # Some scans are of no split: single ones, which the publishers left out of their benchmark.
            if (row["split"] or "").strip():
                out[row["scanId"].strip()] = row["split"].strip()
    unknown = sorted(set(out.values()) - {"train", "val", "test"})
    if unknown:
        raise ReaderError(f"{path}: unknown split {unknown[0]!r}")
    return out


def _alignment(path: Path) -> tuple[NDArray[np.float64], str, NDArray[np.float64]]:
    """T_world_mesh (the cameras' world), the scan that this one is aligned to ("" for none), T_scene_mesh."""
    content = read_object(path)
    reference = content.get("reference_scan_alignment")
    try:
        T_world_mesh = _matrix(content["coordinate_transform"])
        if reference is None:
            return T_world_mesh, "", np.eye(4)
        return T_world_mesh, str(reference["target_id"]), _matrix(reference["transformation"])
    except KeyError as error:
        raise ReaderError(f"{path}: no {error}") from None
    except (TypeError, ValueError) as error:
        raise ReaderError(f"{path}: {error}") from None


def _matrix(values: Any) -> NDArray[np.float64]:
    matrix = np.asarray(values, dtype=np.float64).reshape(4, 4).T
    if not np.isfinite(matrix).all() or np.abs(matrix[:3, :3] @ matrix[:3, :3].T - np.eye(3)).max() > 0.01:
        raise ValueError("a matrix is not a rotation and a translation, column by column")
    return matrix
