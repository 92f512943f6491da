"""ScanNet's instance pictures (``SCAN_2d-instance-filt.zip`` or its folder): which object a pixel of a frame is of."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.readers.reader import ReaderError

FOLDER = "instance-filt"


class InstancePictures:
    """Pictures of a scan, on the color camera's pixels; none where they were not downloaded. Use it as a context.

    Raises:
        ReaderError: the archive is damaged.
    """

    def __init__(self, folder: Path, scan_id: str) -> None:
        self._folder = next((f / FOLDER for f in (folder, folder / "data") if (f / FOLDER).is_dir()), None)
        self._path = folder / f"{scan_id}_2d-instance-filt.zip"
        self._archive: zipfile.ZipFile | None = None
        if self._folder is None and self._path.is_file():
            try:
                self._archive = zipfile.ZipFile(self._path)
            except zipfile.BadZipFile as error:
                raise ReaderError(f"{self._path}: {error}") from None

    def __enter__(self) -> InstancePictures:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._archive is not None:
            self._archive.close()

    def numbers(self, frame: str) -> NDArray[np.int64] | None:
        """(H, W) ``objectId`` of each pixel, -1 where there is none; None without a picture of that frame.

        Raises:
            ReaderError: the picture is damaged.
        """
        data, path = self._data(frame)
        if data is None:
            return None
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
        if image is None or image.ndim != 2:
            raise ReaderError(f"{path}: a damaged picture, or not one of numbers")
        # Zero is "nothing"; numbers are one more than in the aggregation.
        return np.asarray(image, dtype=np.int64) - 1

    def _data(self, frame: str) -> tuple[bytes | None, str]:
        if self._archive is not None:
            name = f"{FOLDER}/{frame}.png"
            try:
                return self._archive.read(name), f"{self._path}: {name}"
            except KeyError:
                return None, ""
            except (zipfile.BadZipFile, OSError, EOFError) as error:
                raise ReaderError(f"{self._path}: {name}: {error}") from None
        path = None if self._folder is None else self._folder / f"{frame}.png"
        return (None, "") if path is None or not path.is_file() else (path.read_bytes(), str(path))
