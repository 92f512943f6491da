"""ScanNet's ``.sens``: an RGB-D sequence in one file, read through an index; only asked-for frames are decoded.

Layout, little-endian: version (uint32, 4), length (uint64) and bytes of the sensor's name, four 4x4 float32 matrices
(color intrinsics and extrinsics, depth intrinsics and extrinsics), color and depth compression (int32), width and
height of color and of depth (uint32), depth units a metre (float32), number of frames (uint64); then a frame after the
other: camera-to-world 4x4 float32, two stamps (uint64), sizes of color and depth (uint64), their bytes.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.readers.reader import ReaderError

VERSION = 4
COLOR_KINDS = {0: "raw", 1: "png", 2: "jpeg"}
DEPTH_KINDS = {0: "raw", 1: "zlib"}
_FRAME = struct.Struct("<16f4Q")
_TAIL = struct.Struct("<64f2i4IfQ")


@dataclass(frozen=True)
class SensHeader:
    """What a ``.sens`` says before its frames; matrices (4, 4) float64, sizes (width, height)."""

    sensor: str
    color_intrinsics: NDArray[np.float64]
    color_extrinsics: NDArray[np.float64]
    depth_intrinsics: NDArray[np.float64]
    depth_extrinsics: NDArray[np.float64]
    color_kind: str
    depth_kind: str
    color_size: tuple[int, int]
    depth_size: tuple[int, int]
    units_per_m: float


class SensFile:
    """A ``.sens`` opened for reading; use it as a context.

    Raises:
        ReaderError: not such a file, another version, an unknown compression, or cut short (frame and bytes are named).
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as stream:
            try:
                self._data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise ReaderError(f"{path}: is empty") from None
        try:
            self.header, start, count = self._read_header()
            self._frames, poses = self._read_index(start, count)
        except BaseException:
            self._data.close()
            raise
        self._T_world_camera = poses

    def __len__(self) -> int:
        return len(self._frames)

    def __enter__(self) -> SensFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._data.close()

    @property
    def T_world_camera(self) -> NDArray[np.float64]:
        """(N, 4, 4); not finite where tracking was lost."""
        return self._T_world_camera

    @property
    def color_intrinsics(self) -> NDArray[np.float64]:
        """(3, 3)."""
        return self.header.color_intrinsics[:3, :3]

    @property
    def depth_intrinsics(self) -> NDArray[np.float64]:
        """(3, 3)."""
        return self.header.depth_intrinsics[:3, :3]

    def name(self, index: int) -> str:
        """Number of a frame, as the publishers' exporter names its files."""
        return str(index)

    def color(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB.

        Raises:
            ReaderError: the picture is damaged or not of the size that the header says.
        """
        start, color_bytes, _ = self._frames[index]
        data = np.frombuffer(self._data[start : start + color_bytes], np.uint8)
        width, height = self.header.color_size
        if self.header.color_kind == "raw":
            if color_bytes != width * height * 3:
                raise self._damaged(
                    index, f"color has {color_bytes} bytes, {width} x {height} need {width * height * 3}"
                )
            return data.reshape(height, width, 3).copy()
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None:
            raise self._damaged(index, f"the color picture is no {self.header.color_kind}")
        if image.shape[:2] != (height, width):
            raise self._damaged(
                index, f"color is {image.shape[1]} x {image.shape[0]}, the header says {width} x {height}"
            )
        return np.ascontiguousarray(image[..., ::-1])

    def depth_m(self, index: int) -> NDArray[np.float32]:
        """(h, w) float32 metres, 0 where nothing was measured.

        It is in the color camera already: the extrinsics of the header are not to be applied (ScanNet's issue 92).

        Raises:
            ReaderError: the picture is damaged or not of the size that the header says.
        """
        start, color_bytes, depth_bytes = self._frames[index]
        data = self._data[start + color_bytes : start + color_bytes + depth_bytes]
        width, height = self.header.depth_size
        expected = width * height * 2
        if self.header.depth_kind == "zlib":
            try:
                # One byte more than expected is enough to notice a wrong size, whatever the data claim.
                data = zlib.decompressobj().decompress(data, expected + 1)
            except zlib.error as error:
                raise self._damaged(index, f"depth: {error}") from None
        if len(data) != expected:
            raise self._damaged(index, f"depth has {len(data)} bytes, {width} x {height} need {expected}")
        units = np.frombuffer(data, "<u2").reshape(height, width)
        return (units / np.float32(self.header.units_per_m)).astype(np.float32)

    def _damaged(self, index: int, reason: str) -> ReaderError:
        return ReaderError(f"{self.path}: frame {index}: {reason}")

    def _read_header(self) -> tuple[SensHeader, int, int]:
        """Header, where the frames start, and how many there are."""
        if len(self._data) < 12:
            raise ReaderError(f"{self.path}: cut short in the header")
        version, name_bytes = struct.unpack_from("<IQ", self._data, 0)
        if version != VERSION:
            raise ReaderError(f"{self.path}: version {version} of .sens, this program reads {VERSION}")
        start = 12 + name_bytes + _TAIL.size
        if start > len(self._data):
            raise ReaderError(f"{self.path}: cut short in the header")
        values: tuple[Any, ...] = _TAIL.unpack_from(self._data, 12 + name_bytes)
        matrices = np.array(values[:64], dtype=np.float64).reshape(4, 4, 4)
        color, depth, color_w, color_h, depth_w, depth_h, units, count = values[64:]
        if color not in COLOR_KINDS:
            raise ReaderError(f"{self.path}: color compression {color}; known: {_listed(COLOR_KINDS)}")
        if depth not in DEPTH_KINDS:
            raise ReaderError(f"{self.path}: depth compression {depth}; known: {_listed(DEPTH_KINDS)}")
        if not units > 0 or not np.isfinite(matrices).all():
            raise ReaderError(f"{self.path}: depth units a metre {units} or a matrix is no number")
        sensor = bytes(self._data[12 : 12 + name_bytes]).decode("utf-8", "replace")
        kinds = COLOR_KINDS[color], DEPTH_KINDS[depth]
        color_k, color_t, depth_k, depth_t = matrices
        sizes = (color_w, color_h), (depth_w, depth_h)
        header = SensHeader(sensor, color_k, color_t, depth_k, depth_t, *kinds, *sizes, float(units))
        return header, start, count

    def _read_index(self, start: int, count: int) -> tuple[list[tuple[int, int, int]], NDArray[np.float64]]:
        """(offset, color bytes, depth bytes) of each frame, and the poses (N, 4, 4)."""
        size, at = len(self._data), start
        frames: list[tuple[int, int, int]] = []
        poses: list[tuple[float, ...]] = []
        for index in range(count):
            if at + _FRAME.size > size:
                raise ReaderError(f"{self.path}: cut short: {count} frames announced, {index} are there")
            *pose, _, _, color_bytes, depth_bytes = _FRAME.unpack_from(self._data, at)
            at += _FRAME.size
            if at + color_bytes + depth_bytes > size:
                end = at + color_bytes + depth_bytes
                raise ReaderError(
                    f"{self.path}: cut short: frame {index} of {count} ends at byte {end}, the file has {size}"
                )
            frames.append((at, color_bytes, depth_bytes))
            poses.append(tuple(pose))
            at += color_bytes + depth_bytes
        return frames, np.array(poses, dtype=np.float64).reshape(-1, 4, 4)


def _listed(kinds: dict[int, str]) -> str:
    return ", ".join(f"{number} ({name})" for number, name in kinds.items())
