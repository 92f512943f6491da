"""Encoders that go on without the accelerator when its memory is full, and say so."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossover_models.observation import Code

if TYPE_CHECKING:
    from crossover_ros.encoder_source import Encoder

T = TypeVar("T")
# How CUDA's libraries say it where torch raises no OutOfMemoryError of its own.
ALLOCATION_TEXTS = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an accelerator's memory was exhausted; torch.cuda.OutOfMemoryError, without importing torch for it."""
    if type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in ALLOCATION_TEXTS)


class FallbackEncoder:
    """The encoders on the device wanted, until its memory is exhausted; from then on the same ones on the CPU.

    Args:
        load: loads them on a device.
        device: wanted, "auto" or "cuda".
        tell: hears a sentence when they move to the CPU.

    Raises:
        ValueError, OSError: as ``load`` does.
    """

    def __init__(self, load: Callable[[str], Encoder], device: str, tell: Callable[[str], None]) -> None:
        self._load, self._device, self._tell = load, device, tell
        self._lock = Lock()
        self._on_cpu = False
        try:
            self._encoder = load(device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self._encoder = self._move(error)

    @property
    def fingerprint(self) -> str:
        """Identity of weights and settings; the device is no part of it."""
        return self._encoder.fingerprint

    @property
    def runtime(self) -> str:
        """What runs the image network, and why."""
        return str(getattr(self._encoder, "runtime", ""))

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Code:
        """Views of one place."""
        return self._run(lambda encoder: encoder.encode_images(images))

    def encode_point_cloud(self, points: NDArray[np.float32], colors: NDArray[np.uint8] | None = None) -> Code:
        """Gravity-aligned points (N, 3), metres."""
        return self._run(lambda encoder: encoder.encode_point_cloud(points, colors))

    def encode_text(self, text: str) -> Code:
        """Sentences."""
        return self._run(lambda encoder: encoder.encode_text(text))

    def _run(self, encode: Callable[[Encoder], T]) -> T:
        try:
            return encode(self._encoder)
        except RuntimeError as error:
            if self._on_cpu or not is_out_of_memory(error):
                raise
            with self._lock:  # Two threads may run out of memory at once.
                if not self._on_cpu:
                    self._encoder = self._move(error)
        return encode(self._encoder)

    def _move(self, error: BaseException) -> Encoder:
        moved = self._load("cpu")
        self._on_cpu = True
        reason = " ".join(str(error).split())[:160]
        self._tell(f"device: {self._device} is out of memory ({reason}); encoding on cpu from now on")
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()
        return moved
