"""Colors of a textured OBJ mesh's vertices: what the camera saw, where a labelled mesh is painted by its labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crossover_models.dataset.readers.reader import ReaderError


def vertices(path: Path) -> NDArray[np.float64]:
    """(V, 3) vertices of an OBJ file.

    Raises:
        ReaderError: no such file, none in it, or one that is no point.
    """
    return _read(path)[0]


def vertex_colors(path: Path, count: int) -> NDArray[np.uint8] | None:
    """(count, 3) RGB of each vertex: the texture at its first corner of a face, black where it has none.

    None where the mesh, its material or its texture is absent, or where it has another number of vertices.

    Raises:
        ReaderError: the mesh or its texture is damaged.
    """
    if not path.is_file():
        return None
    points, coordinates, corners, material = _read(path)
    texture = None if material is None else _texture(path.parent / material)
    if texture is None or len(points) != count or not len(coordinates) or not len(corners):
        return None
    image = cv2.imread(str(texture), cv2.IMREAD_COLOR)
    if image is None:
        raise ReaderError(f"{texture}: a damaged picture")
    if corners[:, 0].max() >= count or corners[:, 1].max() >= len(coordinates) or corners.min() < 0:
        raise ReaderError(f"{path}: a face names a corner that is not there")
    vertex, first = np.unique(corners[:, 0], return_index=True)
    uv = coordinates[corners[first, 1]]
    height, width = image.shape[:2]
    col = np.clip(np.floor(uv[:, 0] * width), 0, width - 1).astype(np.int64)
    row = np.clip(np.floor((1.0 - uv[:, 1]) * height), 0, height - 1).astype(np.int64)
    out = np.zeros((count, 3), dtype=np.uint8)
    out[vertex] = image[row, col, ::-1]
    return out


def _read(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], str | None]:
    """Vertices (V, 3), texture coordinates (T, 2), faces' corners (C, 2) as indices of both, name of the materials."""
    points: list[list[bytes]] = []
    coordinates: list[list[bytes]] = []
    corners: list[list[bytes]] = []
    material = None
    try:
        with path.open("rb") as stream:
            for line in stream:
                words = line.split()
                if not words:
                    continue
                if words[0] == b"v":
                    points.append(words[1:4])
                elif words[0] == b"vt":
                    coordinates.append(words[1:3])
                elif words[0] == b"f":
                    corners.extend(word.split(b"/")[:2] for word in words[1:] if word.count(b"/") and b"//" not in word)
                elif words[0] == b"mtllib" and len(words) > 1:
                    material = words[1].decode("utf-8", "replace")
        arrays = (
            np.array(points, dtype=np.float64).reshape(-1, 3),
            np.array(coordinates, dtype=np.float64).reshape(-1, 2),
            np.array(corners, dtype=np.int64).reshape(-1, 2) - 1,
        )
    except FileNotFoundError:
        raise ReaderError(f"{path}: no such file") from None
    except ValueError as error:
        raise ReaderError(f"{path}: damaged: {error}") from None
    if not len(arrays[0]) or not np.isfinite(arrays[0]).all():
        raise ReaderError(f"{path}: no vertices, or one whose position is no number")
    return (*arrays, material)


def _texture(material: Path) -> Path | None:
    if not material.is_file():
        return None
    for line in material.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "map_Kd" and (material.parent / words[-1]).is_file():
            return material.parent / words[-1]
    return None
