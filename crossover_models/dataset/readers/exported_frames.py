"""An RGB-D sequence exported to folders: ``color/N.jpg``, ``depth/N.png``, ``pose/N.txt``, ``intrinsic/*.txt``."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.readers.frames import scaled_intrinsics
from crossover_models.dataset.readers.reader import ReaderError

COLOR_SUFFIXES = (".jpg", ".png")
_MILLIMETRES = 1000.0


class ExportedFrames:
    """What ScanNet's exporter writes, read frame by frame.

    Args:
        folder: holds ``color``, ``pose`` and, optionally, ``depth`` and ``intrinsic``.
        color_intrinsics: (3, 3) where the folder has no ``intrinsic``; None if unknown.
        depth_intrinsics: likewise.
        color_size: (width, height) that ``color_intrinsics`` are for; None if they are for the pictures as they are.

    Raises:
        ReaderError: no pictures, intrinsics nowhere, or a matrix that cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        color_intrinsics: NDArray[np.float64] | None = None,
        depth_intrinsics: NDArray[np.float64] | None = None,
        color_size: tuple[int, int] | None = None,
    ) -> None:
        self.folder = folder
        self._color = {p.stem: p for p in (folder / "color").iterdir() if p.suffix in COLOR_SUFFIXES}
        self._names = sorted((n for n in self._color if n.isdigit()), key=int)
        if not self._names:
            raise ReaderError(f"{folder / 'color'}: no pictures NUMBER.jpg")
        self._color_k = self._intrinsics("intrinsic_color.txt", color_intrinsics)
        has_depth = (folder / "depth").is_dir()
        self._depth_k = self._intrinsics("intrinsic_depth.txt", depth_intrinsics) if has_depth else self._color_k
        self._has_depth, self._scaled = has_depth, False
        self._color_size = color_size
        self._poses = np.stack([self._pose(name) for name in self._names])

    def __len__(self) -> int:
        return len(self._names)

    @property
    def T_world_camera(self) -> NDArray[np.float64]:
        """(N, 4, 4); not finite where tracking was lost or no pose was written."""
        return self._poses

    @property
    def color_intrinsics(self) -> NDArray[np.float64]:
        """(3, 3) for the pictures as they are: some exports make them smaller."""
        if not self._scaled and self._color_size is not None:
            height, width = self.color(0).shape[:2]
            self._color_k = scaled_intrinsics(self._color_k, self._color_size, (width, height))
        self._scaled = True
        return self._color_k

    @property
    def depth_intrinsics(self) -> NDArray[np.float64]:
        """(3, 3)."""
        return self._depth_k

    def name(self, index: int) -> str:
        """Number of a frame in its files' names."""
        return self._names[index]

    def color(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB.

        Raises:
            ReaderError: the picture is damaged.
        """
        path = self._color[self._names[index]]
        image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None:
            raise ReaderError(f"{path}: a damaged picture")
        return np.ascontiguousarray(image[..., ::-1])

    def depth_m(self, index: int) -> NDArray[np.float32] | None:
        """(h, w) float32 metres, 0 where nothing was measured; None without a picture of depth.

        Raises:
            ReaderError: the picture is damaged, or not of 16 bits.
        """
        path = self.folder / "depth" / f"{self._names[index]}.png"
        if not self._has_depth or not path.exists():
            return None
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None or image.ndim != 2 or image.dtype != np.uint16:
            raise ReaderError(f"{path}: a damaged picture, or not one channel of 16 bits")
        return (image / np.float32(_MILLIMETRES)).astype(np.float32)

    def _intrinsics(self, name: str, otherwise: NDArray[np.float64] | None) -> NDArray[np.float64]:
        path = self.folder / "intrinsic" / name
        if path.exists():
            matrix = _matrix(path)
            if not np.isfinite(matrix).all():
                raise ReaderError(f"{path}: a value is no number")
            return matrix[:3, :3]
        if otherwise is None:
            raise ReaderError(f"{path}: no such file, and the scan's .txt has no fx_color and so on")
        return otherwise

    def _pose(self, name: str) -> NDArray[np.float64]:
        path = self.folder / "pose" / f"{name}.txt"
        return _matrix(path) if path.exists() else np.full((4, 4), np.nan)


def _matrix(path: Path) -> NDArray[np.float64]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of an empty file; its shape says so below
            matrix = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise ReaderError(f"{path}: not a matrix: {error}") from None
    if matrix.shape != (4, 4):
        raise ReaderError(f"{path}: expected a 4 x 4 matrix, got {' x '.join(map(str, matrix.shape))}")
    return matrix
