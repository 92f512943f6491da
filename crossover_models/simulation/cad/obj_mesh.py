"""OBJ models in archives as colored triangles: textures reduced to their mean color, large meshes simplified."""

from __future__ import annotations

import io
import posixpath
import warnings
import zipfile
import zlib
from typing import Any

import numpy as np
import trimesh

from crossover_models.building import Mesh
from crossover_models.simulation.cad.simplify import Piece, simplified

FACE_BUDGET = 2500
"""Triangles a model is simplified to; up to half as many more are left of many loose pieces."""
_GREY = (160, 160, 160)
_LEAST_AREA_M2 = 1e-12


class ModelError(ValueError):
    """A model that cannot be read; the message names the file."""


class _Archive(trimesh.resolvers.Resolver):
    """Files beside a model in its archive, whatever the case of their names."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        self._archive, self._folder = archive, folder
        self._names = {name.lower(): name for name in archive.namelist()}

    def get(self, name: str) -> bytes:
        path = posixpath.normpath(posixpath.join(self._folder, name.strip().replace("\\", "/")))
        found = self._names.get(path.lower())
        if found is None:
            raise FileNotFoundError(name)
        return self._archive.read(found)

    def keys(self) -> list[str]:
        return [n for n in self._archive.namelist() if n.startswith(self._folder + "/")]

    def namespaced(self, namespace: str) -> _Archive:
        return _Archive(self._archive, posixpath.join(self._folder, namespace))

    def write(self, name: str, data: bytes) -> None:
        raise OSError(f"{name}: an archive is not written to")


def read_obj(archive: zipfile.ZipFile, path: str) -> Mesh:
    """A model of an archive in the frame it was drawn in, one color a face; degenerate faces are dropped.

    Raises:
        ModelError: no such file, not an OBJ model, or nothing with a surface in it.
    """
    try:
        data = archive.read(path)
    except (KeyError, zipfile.BadZipFile, zlib.error, OSError, RuntimeError, EOFError) as error:
        raise ModelError(f"{path}: cannot be read from the archive: {error}") from None
    try:
        with warnings.catch_warnings():
            # About colors of textures, which are not taken from there.
            warnings.simplefilter("ignore", RuntimeWarning)
            scene = trimesh.load(
                io.BytesIO(data),
                file_type="obj",
                resolver=_Archive(archive, posixpath.dirname(path)),
                group_material=True,
                process=False,
                maintain_order=True,
            )
        parts = list(scene.geometry.values()) if isinstance(scene, trimesh.Scene) else [scene]
        meshes = [(part, _color(part)) for part in parts if isinstance(part, trimesh.Trimesh) and len(part.faces)]
    except Exception as error:
        # The reader of a damaged file fails in as many ways as there are damages.
        raise ModelError(f"{path}: not a readable OBJ model: {type(error).__name__}: {error}") from None
    if not meshes:
        raise ModelError(f"{path}: holds no triangle")
    for part, _ in meshes:
        if not np.isfinite(part.vertices).all():
            raise ModelError(f"{path}: a vertex is not finite")
    drawn = [Piece(np.asarray(p.vertices, np.float64), np.asarray(p.faces, np.int64), c) for p, c in meshes]
    pieces = simplified(drawn, FACE_BUDGET)
    offsets = np.cumsum([0, *(len(piece.points) for piece in pieces)])
    mesh = Mesh(
        np.concatenate([piece.points for piece in pieces]).astype(np.float32),
        np.concatenate([p.faces + offset for p, offset in zip(pieces, offsets, strict=False)]).astype(np.int32),
        np.concatenate([np.tile(np.array(p.color, dtype=np.uint8), (len(p.faces), 1)) for p in pieces]),
    )
    return _without_slivers(mesh, path)


def _color(part: Any) -> tuple[int, int, int]:
    """Mean color of a part's material: texture times diffuse color; grey where it has none."""
    material = getattr(part.visual, "material", None)
    if material is None:
        return _GREY
    diffuse = np.asarray(getattr(material, "diffuse", (*_GREY, 255)), dtype=np.float64)[:3]
    image = getattr(material, "image", None)
    if image is not None:
        texture = np.asarray(image.convert("RGBA").resize((16, 16)), dtype=np.float64).reshape(-1, 4)
        opaque = texture[texture[:, 3] > 32]
        if len(opaque):
            # Drawing programs leave the diffuse color black or grey under a texture, which then decides alone.
            diffuse = opaque[:, :3].mean(axis=0)
    red, green, blue = np.clip(np.rint(diffuse), 0, 255).astype(int)
    return int(red), int(green), int(blue)


def _without_slivers(mesh: Mesh, path: str) -> Mesh:
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    # Relative to the model: catalogs draw in any unit.
    extent = float(np.ptp(mesh.vertices, axis=0).max())
    kept = area > _LEAST_AREA_M2 * extent**2
    if not kept.any() or extent <= 0:
        raise ModelError(f"{path}: has no surface")
    used, faces = np.unique(mesh.faces[kept], return_inverse=True)
    colors = mesh.face_colors[kept] if mesh.face_colors is not None else None
    return Mesh(mesh.vertices[used], faces.reshape(-1, 3).astype(np.int32), colors)
