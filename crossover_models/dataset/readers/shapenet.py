"""ShapeNetCore.v2's models as meshes: shape only, thinned where a model has more triangles than an encoder samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossover_models.building import BuildingError, Mesh
from crossover_models.dataset.readers.reader import ReaderError

MOST_FACES = 10_000
_CELLS = (256, 128, 96, 64, 48, 32, 24, 16)


def model_path(folder: Path, category_id: str, model_id: str) -> Path:
    """Where ShapeNetCore.v2 keeps a model."""
    return folder / category_id / model_id / "models" / "model_normalized.obj"


def read_model(path: Path) -> Mesh:
    """A model in ShapeNet's frame (y up, -z to the front, unit diagonal), at most about 10,000 triangles.

    Raises:
        ReaderError: not an OBJ model, or without triangles.
        OSError: it cannot be read.
    """
    import trimesh

    with path.open("rb") as stream:
        try:
            loaded = trimesh.load(stream, file_type="obj", force="mesh", process=False, skip_materials=True)
        except Exception as error:
            # The parser raises nearly anything on a damaged file.
            raise ReaderError(f"{path}: not an OBJ model: {type(error).__name__}: {error}") from None
    vertices = np.asarray(getattr(loaded, "vertices", np.empty((0, 3))), dtype=np.float64).reshape(-1, 3)
    faces = np.asarray(getattr(loaded, "faces", np.empty((0, 3))), dtype=np.int64).reshape(-1, 3)
    if not len(faces):
        raise ReaderError(f"{path}: has no triangles")
    vertices, faces = thinned(vertices, faces, MOST_FACES)
    try:
        return Mesh(vertices.astype(np.float32), faces.astype(np.int32))
    except BuildingError as error:
        raise ReaderError(f"{path}: {error}") from None


def thinned(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], most: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices merged on the finest grid that leaves at most ``most`` triangles; as they are if that many already.

    The outermost vertices stay where they are, so that the extents do too.
    """
    if len(faces) <= most:
        return vertices, faces
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    merged, kept = vertices, faces
    for cells in _CELLS:
        keys = np.floor((vertices - low) / max(float((high - low).max()) / cells, 1e-12)).astype(np.int64)
        _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        merged = vertices[first].copy()
        for axis in range(3):
            for extreme in (vertices[:, axis].argmin(), vertices[:, axis].argmax()):
                merged[inverse.reshape(-1)[extreme], axis] = vertices[extreme, axis]
        kept = inverse.reshape(-1)[faces]
        kept = kept[(kept[:, 0] != kept[:, 1]) & (kept[:, 1] != kept[:, 2]) & (kept[:, 2] != kept[:, 0])]
        kept = kept[np.unique(np.sort(kept, axis=1), axis=0, return_index=True)[1]]
        if 0 < len(kept) <= most:
            break
    return merged, kept
