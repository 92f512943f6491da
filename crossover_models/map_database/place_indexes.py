"""Indexes beside a map of very many places: ``X.xmap.index/MODALITY``, made of ``X.xmap`` and known by its fingerprint.

A map without them, or with those of an earlier content, is searched exactly: slower, and never wrong.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from crossover_models.index.choice import FLAT_PLACES
from crossover_models.index.files import IndexFileError
from crossover_models.index.vector_index import VectorIndex
from crossover_models.map_database.store import MapDatabase
from crossover_models.observation import Modality
from crossover_models.place_shelf import PlaceCatalog, gathered, write_index


def index_folder(database: Path | str) -> Path:
    """Where the indexes of a map are."""
    path = Path(database)
    return path.with_name(f"{path.name}.index")


def large_modalities(database: MapDatabase) -> tuple[Modality, ...]:
    """Modalities that more places have than are searched exactly."""
    counts = database.embedding_counts()
    return tuple(modality for modality in Modality if counts.get(modality, 0) > FLAT_PLACES)


def write_place_indexes(
    database: MapDatabase, tell: Callable[[Modality], None] = lambda modality: None
) -> tuple[Modality, ...]:
    """Index what is too much to be searched exactly, and remove what is none any more; returns what was indexed.

    A fresh index is left as it is, so that an interrupted call goes on where it was. ``tell`` hears what is begun.

    Raises:
        OSError: the folder cannot be written.
    """
    folder, wanted = index_folder(database.path), large_modalities(database)
    for held in folder.iterdir() if folder.is_dir() else ():
        if held.name not in {modality.value for modality in wanted}:
            shutil.rmtree(held)
    if not wanted:
        if folder.is_dir():
            folder.rmdir()
        return ()
    known, catalog = open_place_indexes(database), PlaceCatalog.of(database)
    for modality in wanted:
        if modality in known:
            continue
        tell(modality)
        shelf = gathered(database, catalog, modality)
        assert shelf is not None
        write_index(shelf, catalog, folder / modality.value, database.fingerprint)
    return wanted


def open_place_indexes(database: MapDatabase) -> dict[Modality, VectorIndex]:
    """Fresh and whole indexes of a map; those that are missing, stale or damaged are left out."""
    out = {}
    for modality in large_modalities(database):
        try:
            folder = index_folder(database.path) / modality.value
            out[modality] = VectorIndex.open(folder, database.fingerprint, database.embedding_dim)
        except IndexFileError:
            continue
    return out
