"""MultiScan's streams: ``SCAN.mp4``, ``SCAN.depth.zlib`` and ``SCAN.jsonl``, described by ``SCAN.json``."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.readers.frames import WIDEST_PX, scaled_intrinsics
from crossover_models.dataset.readers.json_file import read_object
from crossover_models.dataset.readers.reader import ReaderError

_OPTICAL = np.diag([1.0, -1.0, -1.0, 1.0])
"""ARKit's camera looks along -z with y up."""
_CHUNK = 1 << 20
_DEPTH_TYPES = {"float16_zlib": ("<f2", 1.0), "uint16_zlib": ("<u2", 1000.0)}


@dataclass(frozen=True)
class Cameras:
    """Poses of all frames: T_world_camera (N, 4, 4), not finite where lost, and intrinsics (N, 3, 3) of the video."""

    T_world_camera: NDArray[np.float64]
    intrinsics: NDArray[np.float64]


def read_cameras(path: Path) -> Cameras:
    """Read ``SCAN.jsonl``: a JSON object a frame, matrices column by column.

    Raises:
        ReaderError: no such file, or a line that is no such object; its number is named.
    """
    poses, cameras = [], []
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        raise ReaderError(f"{path}: no such file") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            pose = np.array(content["transform"], dtype=np.float64).reshape(4, 4).T
            cameras.append(np.array(content["intrinsics"], dtype=np.float64).reshape(3, 3).T)
        except KeyError as error:
            raise ReaderError(f"{path}: line {number}: no {error}") from None
        except (ValueError, TypeError) as error:
            raise ReaderError(f"{path}: line {number}: {error}") from None
        with np.errstate(invalid="ignore", divide="ignore"):
            poses.append(pose / pose[3, 3] @ _OPTICAL)
    if not poses:
        raise ReaderError(f"{path}: no frames")
    return Cameras(np.stack(poses), np.stack(cameras))


def read_frames(
    folder: Path, scan_id: str, cameras: Cameras, wanted: Sequence[int]
) -> list[tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float32] | None]]:
    """Color (H, W, 3), intrinsics (3, 3) and depth (H, W) in m of the frames ``wanted``, in order.

    A color picture is made as small as the depth picture, or at most 640 px wide where there is none.

    Raises:
        ReaderError: a stream is damaged or shorter than the cameras' list.
    """
    depths = _depths(folder, scan_id, wanted)
    out = []
    for number, image in zip(wanted, _colors(folder / f"{scan_id}.mp4", wanted), strict=True):
        depth = depths.get(number)
        source = (image.shape[1], image.shape[0])
        if depth is None:
            width = min(WIDEST_PX, source[0])
            size = (width, max(1, round(source[1] * width / source[0])))
        else:
            size = (depth.shape[1], depth.shape[0])
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if size != source else image
        intrinsics = scaled_intrinsics(cameras.intrinsics[number], source, size)
        out.append((np.ascontiguousarray(small[..., ::-1], dtype=np.uint8), intrinsics, depth))
    return out


def _colors(path: Path, wanted: Sequence[int]) -> list[NDArray[np.uint8]]:
    video = cv2.VideoCapture(str(path))
    try:
        out = []
        for number in range(max(wanted, default=-1) + 1):
            # Frame by frame: seeking in H.264 lands on a neighbor in some files.
            if not video.grab():
                raise ReaderError(f"{path}: damaged, or ends before frame {number}")
            if number in wanted:
                done, image = video.retrieve()
                if not done or image is None:
                    raise ReaderError(f"{path}: frame {number} is damaged")
                out.append(np.asarray(image, dtype=np.uint8))
        return out
    finally:
        video.release()


def _depths(folder: Path, scan_id: str, wanted: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    """Depth pictures of the frames ``wanted``; none where the stream was not downloaded."""
    path = folder / f"{scan_id}.depth.zlib"
    if not path.is_file():
        return {}
    meta = folder / f"{scan_id}.json"
    streams = read_object(meta).get("streams")
    found = [s for s in streams or () if isinstance(s, dict) and s.get("file_extension") == "depth.zlib"]
    try:
        height, width = (int(v) for v in found[0]["resolution"])
        kind, unit = _DEPTH_TYPES[found[0]["encoding"]]
    except (IndexError, KeyError, TypeError, ValueError):
        raise ReaderError(f"{meta}: streams: no depth.zlib with a resolution and a known encoding") from None
    size, out = height * width * 2, dict[int, NDArray[np.float32]]()
    data, number = bytearray(), 0
    with path.open("rb") as stream:
        start = stream.read(2)
        stream.seek(0)
        headed = len(start) == 2 and start[0] & 0x0F == 8 and int.from_bytes(start, "big") % 31 == 0
        # Apple's compressor writes the bare stream, without zlib's header.
        inflate = zlib.decompressobj(zlib.MAX_WBITS if headed else -zlib.MAX_WBITS)
        while number <= max(wanted, default=-1):
            chunk = stream.read(_CHUNK)
            try:
                data += inflate.decompress(chunk) if chunk else inflate.flush()
            except zlib.error as error:
                raise ReaderError(f"{path}: damaged: {error}") from None
            while len(data) >= size:
                if number in wanted:
                    values = np.frombuffer(bytes(data[:size]), kind).astype(np.float32) / np.float32(unit)
                    out[number] = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0).reshape(height, width)
                del data[:size]
                number += 1
            if not chunk:
                break
    missing = [n for n in wanted if n not in out]
    if missing:
        raise ReaderError(f"{path}: damaged, or ends before frame {missing[0]}")
    return out
