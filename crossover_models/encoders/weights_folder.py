"""Where weights that come in no wheel lie: a folder that ``crossover weights fetch`` fills, read without a network."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from crossover_models.encoders.errors import EncoderError

VARIABLE = "CROSSOVER_WEIGHTS"


def weights_folder() -> Path:
    """``$CROSSOVER_WEIGHTS``, or ``crossover_ros/weights`` in the user's cache (XDG base directory specification)."""
    named = os.environ.get(VARIABLE, "")
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME", "") or str(Path.home() / ".cache")
    return Path(cache) / "crossover_ros" / "weights"


def model_folder(name: str) -> Path:
    """Folder of a fetched model.

    Raises:
        EncoderError: it was not fetched; the message says by which command it is.
    """
    folder = weights_folder() / name
    if not folder.is_dir():
        raise EncoderError(f"{name}: no weights in {folder}; get them with: crossover weights fetch {name}")
    return folder


@lru_cache(maxsize=32)
def _hash_of(path: str, _size: int, _modified_ns: int) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hex; computed again only when size or time of change differ.

    Raises:
        EncoderError: no such file.
    """
    if not path.is_file():
        raise EncoderError(f"{path}: no such weights file")
    found = path.stat()
    return _hash_of(str(path), found.st_size, found.st_mtime_ns)
