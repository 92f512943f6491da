"""What every furniture library offers, and the library that a name means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossover_models.building import Mesh

KINDS = ("auto", "sweet-home", "parametric")
NEAREST = 4
"""Among how many of the models of nearest shape one is drawn."""
MOST_STRETCH = 1.9
"""A model whose axes would be scaled by factors further apart than this no longer looks like itself."""

MOST_SCALE = 2.2
"""A model that much larger or smaller than drawn is a toy, or a monument."""
_SIZE_WEIGHT = 0.3


class LibraryError(ValueError):
    """A library that cannot be opened; the message says what is missing."""


@dataclass(frozen=True)
class FittedModel:
    """A model scaled to a box: x forward, footprint centered on the origin, z = 0 below, metres.

    ``model_id`` names library and model, e.g. ``"scopia/sofa"`` or ``"parametric/chair/17"``; whoever needs to keep
    models of different splits apart compares these.
    """

    mesh: Mesh
    model_id: str


class FurnitureLibrary(Protocol):
    """A source of furniture models."""

    name: str

    def fitted(self, category: str, size_m: ArrayLike, split: str, rng: np.random.Generator) -> FittedModel | None:
        """A model of a category and split, scaled to exactly ``size_m`` (depth along x, width along y, height).

        One of the few of nearest shape is drawn. None where the library has no such model, or only ones that would be
        stretched out of shape.
        """

    def credits(self, model_ids: Sequence[str]) -> tuple[str, ...]:
        """Lines of attribution that the licences of these models ask for, sorted; nothing for models of our own."""


class LayeredLibrary:
    """Several libraries, asked in order."""

    def __init__(self, layers: Sequence[FurnitureLibrary]) -> None:
        self._layers = tuple(layers)
        self.name = "+".join(layer.name for layer in layers)

    def fitted(self, category: str, size_m: ArrayLike, split: str, rng: np.random.Generator) -> FittedModel | None:
        """From the first library that has one."""
        for layer in self._layers:
            found = layer.fitted(category, size_m, split, rng)
            if found is not None:
                return found
        return None

    def credits(self, model_ids: Sequence[str]) -> tuple[str, ...]:
        """Of all libraries."""
        return tuple(sorted({line for layer in self._layers for line in layer.credits(model_ids)}))


def checked_size(size_m: ArrayLike) -> NDArray[np.float64]:
    """A box (3,) with three positive extents.

    Raises:
        LibraryError: not three finite positive numbers.
    """
    size = np.asarray(size_m, dtype=np.float64)
    if size.shape != (3,) or not np.isfinite(size).all() or (size <= 0).any():
        raise LibraryError(f"size_m: expected three positive lengths, got {size.tolist()}")
    return size


def shape_distance(sizes: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far boxes (N, 3) are in shape from one (3,): spread of the logarithms of the three scale factors."""
    factors = np.log(wanted / sizes)
    return np.asarray(factors.max(axis=1) - factors.min(axis=1), dtype=np.float64)


def nearest(sizes: NDArray[np.float64], wanted: NDArray[np.float64]) -> list[int]:
    """Which few of boxes (N, 3) fill one (3,) best, nearest first: of its shape, and among these rather of its size.

    None of them would be stretched by more than :data:`MOST_STRETCH` or scaled by more than :data:`MOST_SCALE`.
    """
    shape = shape_distance(sizes, wanted)
    size = np.abs(np.log(wanted / sizes).mean(axis=1))
    order = np.argsort(shape + _SIZE_WEIGHT * size, kind="stable")
    fits = (shape <= np.log(MOST_STRETCH)) & (size <= np.log(MOST_SCALE))
    return [int(i) for i in order if fits[i]][:NEAREST]


def scaled_to(mesh: Mesh, size_m: NDArray[np.float64]) -> Mesh:
    """The mesh stretched along its axes to fill a box that stands centered on the origin, z = 0 below."""
    low, high = mesh.vertices.min(axis=0).astype(np.float64), mesh.vertices.max(axis=0).astype(np.float64)
    unit = (mesh.vertices - low) / np.maximum(high - low, 1e-9)
    placed = (unit - [0.5, 0.5, 0.0]) * size_m
    return Mesh(placed.astype(np.float32), mesh.faces, mesh.face_colors)


def open_library(kind: str = "auto", folder: Path | None = None) -> FurnitureLibrary:
    """The library of a name.

    Args:
        kind: "sweet-home"; "parametric"; or "auto": Sweet Home's models where the catalogs are installed, parametric
            ones for what they lack.
        folder: where the catalogs (``*.sh3f``) lie; None for where Debian's package puts them.

    Raises:
        LibraryError: an unknown kind, or Sweet Home's catalogs were asked for and are not there.
    """
    from crossover_models.simulation.cad.parametric import ParametricLibrary
    from crossover_models.simulation.cad.sweet_home import SweetHomeLibrary, find_catalogs

    if kind not in KINDS:
        raise LibraryError(f"library: must be one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "parametric":
        return ParametricLibrary()
    if kind == "auto" and folder is None and not find_catalogs():
        return ParametricLibrary()
    catalogs = SweetHomeLibrary(folder)
    return catalogs if kind == "sweet-home" else LayeredLibrary([catalogs, ParametricLibrary()])
