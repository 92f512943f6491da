"""A perspective picture of Structured3D: color, depth, what and which thing each pixel shows, and the camera."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.readers.frames import WIDEST_PX
from crossover_models.dataset.readers.reader import ReaderError

NOTHING = 65535
"""Number of a pixel that shows no object."""
_NAMES = (
    "wall|floor|cabinet|bed|chair|sofa|table|door|window|bookshelf|picture|counter|blinds|desk|shelves|curtain|"
    "dresser|pillow|mirror|floor mat|clothes|ceiling|books|refrigerator|television|paper|towel|shower curtain|box|"
    "whiteboard|person|nightstand|toilet|sink|lamp|bathtub|bag|other structure|other furniture|other"
)
KINDS = tuple(_NAMES.split("|"))
"""NYU's 40 classes, numbered from one."""
_STRUCTURE = frozenset({"wall", "floor", "ceiling"})


@dataclass(frozen=True)
class Pose:
    """A camera: T_house_camera (4, 4) in m, and half its field of view across and up, rad."""

    T_house_camera: NDArray[np.float64]
    half_fov_x_rad: float
    half_fov_y_rad: float


@dataclass(frozen=True)
class Picture:
    """A picture at most 640 px wide.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        depth_m: (H, W) float32.
        numbers: (H, W) uint16 instance, :data:`NOTHING` for none.
        semantic: (H, W) uint8 class.
        intrinsics: (3, 3).
        pose: of the camera.
    """

    image: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    numbers: NDArray[np.uint16]
    semantic: NDArray[np.uint8]
    intrinsics: NDArray[np.float64]
    pose: Pose

    @staticmethod
    def kind(number: int) -> str:
        """Name of a class, "" for structure and what is none."""
        name = KINDS[number - 1] if 0 < number <= len(KINDS) else ""
        return "" if name in _STRUCTURE else name


def read_pose(path: Path) -> Pose:
    """Read ``camera_pose.txt``: eye, view direction, up (each x y z, mm), half angles across and up, and a one.

    Raises:
        ReaderError: no such file, or not those numbers.
    """
    try:
        values = np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64)
    except FileNotFoundError:
        raise ReaderError(f"{path}: no such file") from None
    except ValueError:
        values = np.zeros(0)
    if len(values) < 11 or not np.isfinite(values).all() or not (values[9:11] > 0).all() or values[9:11].max() > 1.5:
        raise ReaderError(f"{path}: expected eye, direction, up and two half angles")
    forward, up = values[3:6], values[6:9]
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-6:
        raise ReaderError(f"{path}: looks along its own up direction")
    forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
    T = np.eye(4)
    T[:3, 0], T[:3, 1], T[:3, 2], T[:3, 3] = right, np.cross(forward, right), forward, values[:3] / 1000.0
    return Pose(T, float(values[9]), float(values[10]))


def read_picture(folder: Path) -> Picture:
    """Read a folder ``perspective/full/K``.

    Raises:
        ReaderError: a picture is missing or damaged, or they differ in size.
    """
    pose = read_pose(folder / "camera_pose.txt")
    image = _read(folder / "rgb_rawlight.png", cv2.IMREAD_COLOR, np.uint8)
    depth = _read(folder / "depth.png", cv2.IMREAD_UNCHANGED, np.uint16)
    numbers = _read(folder / "instance.png", cv2.IMREAD_UNCHANGED, np.uint16)
    semantic = _read(folder / "semantic.png", cv2.IMREAD_GRAYSCALE, np.uint8)
    height, width = image.shape[:2]
    if any(other.shape != (height, width) for other in (depth, numbers, semantic)):
        raise ReaderError(f"{folder}: its pictures differ in size")
    step = max(1, -(-width // WIDEST_PX))
    if step > 1:
        # Every other pixel, so that depth and numbers stay what they are.
        image, depth, numbers, semantic = (a[::step, ::step] for a in (image, depth, numbers, semantic))
    fx, fy = width / 2.0 / np.tan(pose.half_fov_x_rad), height / 2.0 / np.tan(pose.half_fov_y_rad)
    intrinsics = np.array([[fx, 0.0, (width - 1) / 2.0], [0.0, fy, (height - 1) / 2.0], [0.0, 0.0, 1.0]])
    intrinsics[:2] /= step
    return Picture(
        np.ascontiguousarray(image[..., ::-1]),
        (depth / np.float32(1000.0)).astype(np.float32),
        np.ascontiguousarray(numbers),
        np.ascontiguousarray(semantic),
        intrinsics,
        pose,
    )


def _read(path: Path, flags: int, dtype: type[np.generic]) -> NDArray[Any]:
    if not path.is_file():
        raise ReaderError(f"{path}: no such file")
    image = cv2.imread(str(path), flags)
    if image is None or image.dtype != dtype or image.ndim != (3 if flags == cv2.IMREAD_COLOR else 2):
        raise ReaderError(f"{path}: a damaged picture, or of another kind")
    return np.asarray(image)
