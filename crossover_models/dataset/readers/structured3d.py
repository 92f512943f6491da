"""Structured3D as published; each room of a house is a scan ``scene_XXXXX_ROOM``.

Looked for under the root: ``scene_XXXXX`` with ``annotation_3d.json``, ``bbox_3d.json`` and
``2D_rendering/ROOM/perspective/full/K`` with ``rgb_rawlight.png``, ``depth.png``, ``semantic.png``, ``instance.png``
and ``camera_pose.txt``. Its files are in millimetres. The cloud is what the perspective views' depth
shows; panoramas are not read.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.readers.boxes import box_object
from crossover_models.dataset.readers.frames import spread_views
from crossover_models.dataset.readers.json_file import read_json
from crossover_models.dataset.readers.reader import ReaderError, ReaderOptions, ReadScan
from crossover_models.dataset.readers.structured3d_house import House, read_house
from crossover_models.dataset.readers.structured3d_view import NOTHING, Picture, read_picture, read_pose
from crossover_models.dataset.readers.top_view import top_view
from crossover_models.dataset.scene import PlanDrawing, Scene, SceneObject, ScenePoints, View
from crossover_models.geometry import transform_points_se3

_SCENE = re.compile(r"scene_(\d{5})")
_SPACING_M = 0.02
_AROUND_M = 1.0
_LEAST_PIXELS = 20


class Structured3dReader:
    """Structured3D.

    Raises:
        ReaderError: no scene with renderings.
    """

    name: ClassVar[str] = "Structured3D"
    uses: ClassVar[frozenset[str]] = frozenset({"views"})

    def __init__(self, root: Path, options: ReaderOptions) -> None:
        self.root, self.options = root, options
        rooms = sorted(root.glob("scene_*/2D_rendering/*"))
        found = ((_SCENE.fullmatch(p.parent.parent.name), p) for p in rooms if p.is_dir() and p.name.isdigit())
        self._rooms = {f"{match[0]}_{p.name}": (int(match[1]), p) for match, p in found if match}
        if not self._rooms:
            raise ReaderError(f"{root}: no scene_XXXXX/2D_rendering/ROOM")

    def scan_ids(self) -> tuple[tuple[str, str], ...]:
        """(scan_id, split): houses up to 2999 train, up to 3249 val, the others test, as published."""
        return tuple(sorted((scan, _split(number)) for scan, (number, _) in self._rooms.items()))

    def read(self, scan_id: str) -> ReadScan:
        """Read one room; see :class:`Reader`."""
        if scan_id not in self._rooms:
            raise ReaderError(f"{self.root}: no room {scan_id!r}")
        (number, folder), left_out = self._rooms[scan_id], Counter[str]()
        house_folder = folder.parent.parent
        house = read_house(house_folder / "annotation_3d.json")
        room = house.rooms.get(int(folder.name))
        if room is None:
            raise ReaderError(f"{house_folder / 'annotation_3d.json'}: semantics: no room {folder.name}")
        T_scene_house = np.eye(4)
        middle = (room.polygon.min(axis=0) + room.polygon.max(axis=0)) / 2.0
        T_scene_house[:3, 3] = -middle[0], -middle[1], -room.floor_z_m
        pictures = self._pictures(folder, left_out)
        objects, index_of = self._objects(
            house_folder / "bbox_3d.json", room.polygon, T_scene_house, pictures, left_out
        )
        views = tuple(_view(picture, T_scene_house, index_of) for picture in pictures)
        polygon = room.polygon - middle
        scene = Scene(
            scan_id=scan_id,
            room_id=scan_id,
            building_id=house_folder.name,
            category=room.category,
            split=_split(number),
            source=self.name,
            polygon=polygon,
            views=views,
            cloud=_cloud(views),
            objects=objects,
            plans=_plans(house, polygon, middle, objects),
        )
        return ReadScan(scene, {name: count for name, count in sorted(left_out.items()) if count})

    def _pictures(self, folder: Path, left_out: Counter[str]) -> list[Picture]:
        shots = sorted((folder / "perspective" / "full").glob("*"), key=lambda p: (len(p.name), p.name))
        shots = [shot for shot in shots if (shot / "rgb_rawlight.png").is_file()]
        if self.options.views == 0:
            return []
        if not shots:
            left_out["perspective views (none are there)"] += 1
            return []
        poses = np.stack([read_pose(shot / "camera_pose.txt").T_house_camera for shot in shots])
        return [read_picture(shots[i]) for i in spread_views(poses, self.options.views)]

    @staticmethod
    def _objects(
        path: Path,
        polygon: NDArray[np.float64],
        T_scene_house: NDArray[np.float64],
        pictures: list[Picture],
        left_out: Counter[str],
    ) -> tuple[tuple[SceneObject, ...], dict[int, int]]:
        """Boxes whose middle is in the room and that a picture names, and ``ID`` -> index."""
        from shapely.geometry import Point, Polygon

        outline = Polygon(polygon).buffer(0.05)
        kinds = _kinds(pictures)
        boxes = read_json(path)
        if not isinstance(boxes, list):
            raise ReaderError(f"{path}: expected a list, got {type(boxes).__name__}")
        objects: list[SceneObject] = []
        index_of: dict[int, int] = {}
        for row, box in enumerate(boxes):
            try:
                number = int(box["ID"])
                middle = np.asarray(box["centroid"], dtype=np.float64).reshape(3) / 1000.0
                if not outline.contains(Point(middle[:2])):
                    continue
                if number not in kinds:
                    left_out["objects that no picture shows (what they are is unknown)"] += 1
                    continue
                lengths = 2.0 * np.abs(np.asarray(box["coeffs"], dtype=np.float64)) / 1000.0
                if (lengths <= 0).any():
                    left_out["boxes without extents"] += 1
                    continue
                thing = box_object(str(number), kinds[number], T_scene_house, middle, box["basis"], lengths)
            except KeyError as error:
                raise ReaderError(f"{path}: box {row}: no {error}") from None
            except (TypeError, ValueError) as error:
                raise ReaderError(f"{path}: box {row}: {error}") from None
            index_of[number] = len(objects)
            objects.append(thing)
        return tuple(objects), index_of


def _split(number: int) -> str:
    return "train" if number < 3000 else "val" if number < 3250 else "test"


def _kinds(pictures: list[Picture]) -> dict[int, str]:
    """What each instance is by most of its pixels in all pictures; walls, floors and ceilings are none."""
    votes: dict[int, Counter[str]] = {}
    for picture in pictures:
        code = picture.numbers.astype(np.int64) * 256 + picture.semantic
        for value, count in zip(*np.unique(code, return_counts=True), strict=True):
            number, kind = int(value) // 256, picture.kind(int(value) % 256)
            if number != NOTHING and kind:
                votes.setdefault(number, Counter())[kind] += int(count)
    return {n: its.most_common(1)[0][0] for n, its in votes.items() if its.total() >= _LEAST_PIXELS}


def _view(picture: Picture, T_scene_house: NDArray[np.float64], index_of: dict[int, int]) -> View:
    unique, row = np.unique(picture.numbers, return_inverse=True)
    index = np.array([index_of.get(int(n), -1) for n in unique], dtype=np.int32)
    instance = index[row].reshape(picture.numbers.shape)
    T = T_scene_house @ picture.pose.T_house_camera
    return View(picture.image, T, picture.intrinsics, picture.depth_m, instance)


def _cloud(views: tuple[View, ...]) -> ScenePoints | None:
    """What the views' depth shows, one point a cell of 2 cm."""
    points, colors, instances = [], [], []
    for view in views:
        if view.depth_m is None or view.instance is None:
            continue
        rows, cols = np.nonzero(view.depth_m > 0)
        rays = np.stack([cols, rows, np.ones(len(rows))], axis=1) @ np.linalg.inv(view.intrinsics).T
        points.append(transform_points_se3(view.T_scene_camera, rays * view.depth_m[rows, cols][:, None]))
        colors.append(view.image[rows, cols])
        instances.append(view.instance[rows, cols])
    if not points:
        return None
    xyz = np.concatenate(points)
    _, kept = np.unique(np.floor(xyz / _SPACING_M).astype(np.int64), axis=0, return_index=True)
    kept = np.sort(kept)
    return ScenePoints(
        xyz[kept].astype(np.float32),
        np.concatenate(colors)[kept],
        np.ones(len(kept), dtype=np.bool_),
        np.concatenate(instances)[kept],
    )


def _plans(
    house: House, polygon: NDArray[np.float64], middle: NDArray[np.float64], objects: tuple[SceneObject, ...]
) -> tuple[PlanDrawing, ...]:
    """The walls around the room with the gaps of their doors, with and without furniture."""
    low, high = polygon.min(axis=0) - _AROUND_M, polygon.max(axis=0) + _AROUND_M
    walls = house.walls_within(low + middle, high + middle) - middle
    drawings = top_view(walls, objects, "furnished"), top_view(walls, (), "line")
    return tuple(drawing for drawing in drawings if drawing is not None)
