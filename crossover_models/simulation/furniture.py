"""Parametric furniture: any number of models of each category, each a pure function of its number.

A model stands at the origin with its front towards +x, centered on its footprint, on the floor z = 0. Models are split
by number, so that training and test rooms never share one.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np

from crossover_models.building import Mesh
from crossover_models.simulation import furniture_models, furniture_small, furniture_storage
from crossover_models.simulation.furniture_models import Maker
from crossover_models.simulation.shapes import MeshBuilder

SPLITS = ("train", "val", "test")
POOL_SIZE = 500

_MAKERS: dict[str, Maker] = {**furniture_models.MAKERS, **furniture_storage.MAKERS, **furniture_small.MAKERS}
CATEGORIES: tuple[str, ...] = tuple(sorted({**furniture_models.MAKERS, **furniture_storage.MAKERS}))
LOOSE_CATEGORIES: tuple[str, ...] = tuple(sorted(furniture_small.MAKERS))
"""What lies about: procedural rooms draw it only as clutter."""
WALL_MOUNTED = frozenset({"picture", "whiteboard", "radiator", "mirror"})


class FurnitureError(ValueError):
    """A category or model that does not exist; the message names it."""


def split_of_model(model_index: int) -> str:
    """Split a model's number belongs to: 70 % train, 10 % val, 20 % test, whatever the category."""
    last = model_index % 10
    return "train" if last < 7 else "val" if last == 7 else "test"


def draw_model(category: str, split: str, rng: np.random.Generator) -> int:
    """A model number of the split's pool, uniformly.

    Raises:
        FurnitureError: unknown category or split.
    """
    _check(category)
    if split not in SPLITS:
        raise FurnitureError(f"split: must be one of {', '.join(SPLITS)}, got {split!r}")
    last = {"train": range(7), "val": range(7, 8), "test": range(8, 10)}[split]
    return int(rng.integers(POOL_SIZE // 10)) * 10 + int(rng.choice(list(last)))


def model_id(category: str, model_index: int) -> str:
    """``"chair/17"``."""
    return f"{category}/{model_index}"


@lru_cache(maxsize=4096)
def furniture_mesh(category: str, model_index: int) -> Mesh:
    """The model's mesh: x forward, footprint centered on the origin, floor at z = 0, metres, with face colors.

    Raises:
        FurnitureError: unknown category or a negative number.
    """
    _check(category)
    if model_index < 0:
        raise FurnitureError(f"model_index: must not be negative, got {model_index}")
    builder = MeshBuilder()
    rng = np.random.default_rng([zlib.crc32(category.encode()), model_index])
    _MAKERS[category](builder, rng)
    mesh = builder.mesh()
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    shift = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, 0.0], dtype=np.float32)
    return Mesh(mesh.vertices - shift, mesh.faces, mesh.face_colors)


def furniture_size(category: str, model_index: int) -> tuple[float, float, float]:
    """Depth (x), width (y) and top (z) of a model, metres."""
    mesh = furniture_mesh(category, model_index)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    return float(high[0] - low[0]), float(high[1] - low[1]), float(high[2])


def _check(category: str) -> None:
    if category not in _MAKERS:
        raise FurnitureError(
            f"category: must be one of {', '.join((*CATEGORIES, *LOOSE_CATEGORIES))}, got {category!r}"
        )
