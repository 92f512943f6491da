"""One copy of the encoders for all nodes of a process, loaded when first needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crossover_models.observation import Code
from crossover_ros.encoder_fallback import FallbackEncoder


class Encoder(Protocol):
    """What the nodes use of the encoders that :func:`crossover_models.encoders.load_encoder` gives."""

    @property
    def fingerprint(self) -> str:
        """Identity of weights and settings."""

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Code:
        """Views of one place."""

    def encode_point_cloud(self, points: NDArray[np.float32], colors: NDArray[np.uint8] | None = None) -> Code:
        """Gravity-aligned points (N, 3), metres."""

    def encode_text(self, text: str) -> Code:
        """Sentences."""


Load = Callable[[str, str], Encoder]


def load_from_package(checkpoint: str, device: str) -> Encoder:
    """The package's encoders; torch is imported here and not before."""
    from crossover_models.encoders import load_encoder

    return load_encoder(checkpoint, device)


class EncoderSource:
    """Loads each checkpoint once; safe to ask from several threads."""

    def __init__(self, load: Load = load_from_package) -> None:
        self._load = load
        self._loaded: dict[tuple[str, str], Encoder] = {}
        self._lock = Lock()
        # Why encoders left the device wanted; empty while they have not.
        self.fallback = ""

    def get(self, checkpoint: str, device: str) -> Encoder:
        """The encoders of a checkpoint on a device; on the CPU once that device's memory is exhausted.

        Raises:
            ValueError, OSError: as the loader does.
        """
        with self._lock:
            key = (checkpoint, device)
            if key not in self._loaded:
                self._loaded[key] = self._open(checkpoint, device)
            return self._loaded[key]

    def _open(self, checkpoint: str, device: str) -> Encoder:
        if device == "cpu":
            return self._load(checkpoint, device)
        return FallbackEncoder(lambda where: self._load(checkpoint, where), device, self._on_fallback)

    def _on_fallback(self, text: str) -> None:
        self.fallback = text

    def fingerprint(self, checkpoint: str, device: str) -> str | None:
        """Fingerprint of encoders that are loaded already, else None."""
        encoder = self._loaded.get((checkpoint, device))
        return encoder.fingerprint if encoder is not None else None
