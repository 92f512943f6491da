"""3RScan's sequences: ``sequence.zip``, or the folder ``sequence`` that it unpacks to."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.readers.reader import ReaderError

_FRAME = re.compile(r"(?:.*/)?frame-(\d+)\.color\.jpg")
_INFO = "_info.txt"


class Scan3rFrames:
    """Frames ``frame-XXXXXX.{color.jpg,depth.pgm,pose.txt}`` with ``_info.txt``. Use it as a context.

    Args:
        folder: the scan's.

    Raises:
        ReaderError: a damaged archive, no ``_info.txt`` in it, or one without the cameras' intrinsics.
    """

    def __init__(self, folder: Path) -> None:
        self._archive: zipfile.ZipFile | None = None
        self._path = folder / "sequence"
        self._members: dict[str, str] = {}
        if not self._path.is_dir():
            self._path = folder / "sequence.zip"
            try:
                self._archive = zipfile.ZipFile(self._path)
            except zipfile.BadZipFile as error:
                raise ReaderError(f"{self._path}: {error}") from None
            self._members = {name.rsplit("/", 1)[-1]: name for name in self._archive.namelist()}
            names = list(self._members)
        else:
            names = [path.name for path in self._path.iterdir()]
        found = (_FRAME.fullmatch(name) for name in names)
        self._numbers = sorted(match[1] for match in found if match)
        info = self._info()
        self._color_k = self._intrinsics(info, "m_calibrationColorIntrinsic")
        self._depth_k = self._intrinsics(info, "m_calibrationDepthIntrinsic")
        self._shift = self._number(info, "m_depthShift")
        self._poses = np.array([self._pose(number) for number in self._numbers], dtype=np.float64).reshape(-1, 4, 4)

    def __enter__(self) -> Scan3rFrames:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._archive is not None:
            self._archive.close()

    @property
    def T_world_camera(self) -> NDArray[np.float64]:
        """(N, 4, 4); not finite where tracking was lost or no pose was written."""
        return self._poses

    @property
    def color_intrinsics(self) -> NDArray[np.float64]:
        """(3, 3)."""
        return self._color_k

    @property
    def depth_intrinsics(self) -> NDArray[np.float64]:
        """(3, 3)."""
        return self._depth_k

    def name(self, index: int) -> str:
        """Number of a frame in its files' names."""
        return self._numbers[index]

    def color(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB.

        Raises:
            ReaderError: the picture is damaged.
        """
        name = f"frame-{self._numbers[index]}.color.jpg"
        image = self._picture(name, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None or image.ndim != 3:
            raise ReaderError(f"{self._path}/{name}: a damaged picture")
        return np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)

    def depth_m(self, index: int) -> NDArray[np.float32] | None:
        """(h, w) float32 metres, 0 where nothing was measured; None without a picture of depth.

        Raises:
            ReaderError: the picture is damaged.
        """
        name = f"frame-{self._numbers[index]}.depth.pgm"
        if not self._has(name):
            return None
        image = self._picture(name, cv2.IMREAD_UNCHANGED)
        if image is None or image.ndim != 2:
            raise ReaderError(f"{self._path}/{name}: a damaged picture")
        return (image / np.float32(self._shift)).astype(np.float32)

    def _has(self, name: str) -> bool:
        return name in self._members if self._archive is not None else (self._path / name).is_file()

    def _read(self, name: str) -> bytes:
        try:
            if self._archive is None:
                return (self._path / name).read_bytes()
            return self._archive.read(self._members[name])
        except (KeyError, FileNotFoundError):
            raise ReaderError(f"{self._path}: no {name}") from None
        except (zipfile.BadZipFile, EOFError) as error:
            raise ReaderError(f"{self._path}: {name}: {error}") from None

    def _picture(self, name: str, flags: int) -> NDArray[Any] | None:
        data = self._read(name)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
        return None if image is None else np.asarray(image)

    def _info(self) -> dict[str, str]:
        lines = (line.partition("=") for line in self._read(_INFO).decode("utf-8", "replace").splitlines())
        return {name.strip(): value.strip() for name, mark, value in lines if mark}

    def _number(self, info: dict[str, str], name: str) -> float:
        try:
            value = float(info[name])
        except (KeyError, ValueError):
            raise ReaderError(f"{self._path}: {_INFO}: no number {name}") from None
        if not value > 0:
            raise ReaderError(f"{self._path}: {_INFO}: {name}: must be over 0, got {value}")
        return value

    def _intrinsics(self, info: dict[str, str], name: str) -> NDArray[np.float64]:
        try:
            matrix = np.array(info.get(name, "").split(), dtype=np.float64).reshape(4, 4)[:3, :3]
        except ValueError:
            matrix = np.full((3, 3), np.nan)
        if not (np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0):
            raise ReaderError(f"{self._path}: {_INFO}: {name}: expected 16 numbers of a 4 x 4 matrix")
        return matrix

    def _pose(self, number: str) -> NDArray[np.float64]:
        name = f"frame-{number}.pose.txt"
        if not self._has(name):
            return np.full((4, 4), np.nan)
        try:
            return np.array(self._read(name).split(), dtype=np.float64).reshape(4, 4)
        except ValueError:
            raise ReaderError(f"{self._path}/{name}: expected a 4 x 4 matrix") from None
