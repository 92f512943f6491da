"""Sweet Home 3D's furniture catalogs (``*.sh3f``): zip archives of OBJ models with names, sizes and licences.

Debian's package ``sweethome3d-furniture`` installs five of them. Splits follow the catalogs, so that no author's style
is in training and test; validation gets a fixed part of the training catalogs' models.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossover_models.building import Mesh
from crossover_models.simulation.cad.labels import category_of
from crossover_models.simulation.cad.library import (
    FittedModel,
    LibraryError,
    checked_size,
    nearest,
    scaled_to,
)
from crossover_models.simulation.cad.obj_mesh import ModelError, read_obj

FOLDER = Path("/usr/share/sweethome3d/furniture")
"""Where Debian's package puts the catalogs."""
PACKAGE = "sweethome3d-furniture"
TRAIN_CATALOGS = ("Scopia", "BlendSwap-CC-BY")
TEST_CATALOGS = ("BlendSwap-CC-0", "KatorLegaz")
_VAL_IN = 7
"""One model in so many of the training catalogs is for validation."""
_PROPERTIES = "PluginFurnitureCatalog.properties"
_KEPT_MODELS = 400


@dataclass(frozen=True)
class CatalogModel:
    """A model of a catalog.

    Attributes:
        model_id: ``catalog/model``, unique over catalogs.
        name: in English.
        category: ours.
        size_m: (3,) depth, width, height.
        archive: the catalog's file.
        path: of the OBJ file in it.
        rotation: (3, 3) that turns the file's axes into the catalog's.
        credit: author and licence.
    """

    model_id: str
    name: str
    category: str
    size_m: tuple[float, float, float]
    archive: Path
    path: str
    rotation: tuple[float, ...]
    credit: str

    @property
    def split(self) -> str:
        """Of the catalog, by a hash of the model's id within the training catalogs."""
        if self.archive.stem in TEST_CATALOGS:
            return "test"
        return "val" if zlib.crc32(self.model_id.encode()) % _VAL_IN == 0 else "train"


def find_catalogs(folder: Path | None = None) -> list[Path]:
    """Catalogs of a folder whose split is known, sorted; Debian's folder by default."""
    known = {*TRAIN_CATALOGS, *TEST_CATALOGS}
    return sorted(p for p in (folder or FOLDER).glob("*.sh3f") if p.stem in known)


def read_catalog(path: Path) -> tuple[list[CatalogModel], dict[str, str]]:
    """All models of a catalog that have a category of ours, in the catalog's order; and entries that say no model, why.

    Raises:
        LibraryError: not a zip archive, or no list of models in it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(_PROPERTIES).decode("latin-1")
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        raise LibraryError(f"{path}: not a furniture catalog: {error}") from None
    except KeyError:
        raise LibraryError(f"{path}: not a furniture catalog: {_PROPERTIES} is missing") from None
    entries: dict[int, dict[str, str]] = {}
    general: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        key, value = key.strip(), _unescaped(value.strip())
        name, mark, number = key.partition("#")
        if not equals or key.startswith(("#", "!")):
            continue
        if mark and number.isdecimal():
            entries.setdefault(int(number), {})[name] = value
        elif not mark:
            general[name] = value
    licence = " ".join(general.get("license", "").split())
    models: list[CatalogModel] = []
    broken: dict[str, str] = {}
    for index in sorted(entries):
        try:
            model = _model(path, entries[index], licence)
        except (KeyError, ValueError) as error:
            broken[f"{path.stem.lower()}/#{index}"] = f"{path}: model {index}: {error}"
            continue
        if model is not None:
            models.append(model)
    return models, broken


def _unescaped(value: str) -> str:
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), value).replace("\\", "")


def _model(path: Path, entry: dict[str, str], licence: str) -> CatalogModel | None:
    # Sizes are in centimeters.
    size = tuple(float(entry[key]) / 100.0 for key in ("depth", "width", "height"))
    elevation_m = float(entry.get("elevation", "0")) / 100.0
    if not np.isfinite([*size, elevation_m]).all() or min(size) <= 0:
        raise ValueError(f"depth, width, height: must be positive, got {size} m")
    model_id = f"{path.stem.lower()}/{entry['id'].rsplit('#', 1)[-1]}"
    category = category_of(entry["name"], entry["category"], (size[0], size[1], size[2]), elevation_m, model_id)
    if category is None:
        return None
    rotation = tuple(float(v) for v in entry.get("modelRotation", "1 0 0 0 1 0 0 0 1").split())
    if len(rotation) != 9:
        raise ValueError(f"modelRotation has {len(rotation)} numbers")
    author = entry.get("creator", "") or "unknown author"
    credit = f"{entry['name']} by {author}; {licence or path.stem}"
    file = entry["model"].lstrip("/")
    return CatalogModel(model_id, entry["name"], category, (size[0], size[1], size[2]), path, file, rotation, credit)


@lru_cache(maxsize=_KEPT_MODELS)
def load_model(model: CatalogModel) -> Mesh:
    """A model at its catalog's size: x forward, y to its left, z up, footprint centered, z = 0 below.

    Catalogs draw with x to the viewer's right, y up and z towards the viewer, whom the furniture faces.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(model.archive) as archive:
            drawn = read_obj(archive, model.path)
    except (zipfile.BadZipFile, OSError) as error:
        raise ModelError(f"{model.archive}: {error}") from None
    turned = drawn.vertices.astype(np.float64) @ np.array(model.rotation).reshape(3, 3).T
    forward: NDArray[np.float32] = np.ascontiguousarray(turned[:, [2, 0, 1]], dtype=np.float32)
    return scaled_to(Mesh(forward, drawn.faces, drawn.face_colors), np.array(model.size_m))


class SweetHomeLibrary:
    """The catalogs of a folder. A model that cannot be read is left out, and listed in ``broken`` with the reason.

    Raises:
        LibraryError: the folder has no catalog of a known name; the message names Debian's package.
    """

    name = "sweet-home"

    def __init__(self, folder: Path | None = None) -> None:
        catalogs = find_catalogs(folder)
        if not catalogs:
            raise LibraryError(
                f"{folder or FOLDER}: no furniture catalog (*.sh3f); install Debian's package {PACKAGE}, "
                "name another folder, or use --library parametric"
            )
        self.broken: dict[str, str] = {}
        self._by_category: dict[tuple[str, str], list[CatalogModel]] = {}
        self._by_id: dict[str, CatalogModel] = {}
        for path in catalogs:
            models, unread = read_catalog(path)
            self.broken.update(unread)
            for model in models:
                self._by_category.setdefault((model.category, model.split), []).append(model)
                self._by_id[model.model_id] = model

    def models(self, category: str | None = None, split: str | None = None) -> tuple[CatalogModel, ...]:
        """Models of a category and split, sorted by id; None for all."""
        return tuple(
            model
            for key in sorted(self._by_category)
            if category in (None, key[0]) and split in (None, key[1])
            for model in sorted(self._by_category[key], key=lambda m: m.model_id)
        )

    def fitted(self, category: str, size_m: ArrayLike, split: str, rng: np.random.Generator) -> FittedModel | None:
        """One of the nearest in shape; None where all would be stretched by more than :data:`MOST_STRETCH`."""
        wanted = checked_size(size_m)
        models = self.models(category, split)
        if not models:
            return None
        order = nearest(np.array([m.size_m for m in models]), wanted)
        # Drawn once and in a fixed order, so that what is broken changes nothing else.
        start = int(rng.integers(1 << 30))
        while order:
            model = models[order.pop(start % len(order))]
            if model.model_id in self.broken:
                continue
            try:
                return FittedModel(scaled_to(load_model(model), wanted), f"sweet-home/{model.model_id}")
            except ModelError as error:
                self.broken[model.model_id] = str(error)
        return None

    def credits(self, model_ids: Sequence[str]) -> tuple[str, ...]:
        """Name, author and licence of each model."""
        ids = {model_id.removeprefix("sweet-home/") for model_id in model_ids if model_id.startswith("sweet-home/")}
        return tuple(sorted(self._by_id[i].credit for i in ids if i in self._by_id))
