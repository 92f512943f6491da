"""An accelerator without memory: the same encoders go on on the CPU, once, and say so; other failures pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from crossover_models.observation import Code
from crossover_ros.encoder_fallback import FallbackEncoder, is_out_of_memory
from crossover_ros.encoder_source import EncoderSource

FULL = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


class Device:
    """Encoders that say where they run; those of the accelerator raise what is planted."""

    fingerprint = "f"

    def __init__(self, where: str, error: Exception | None) -> None:
        self.where, self.error = where, error

    def _code(self) -> Code:
        if self.error is not None:
            raise self.error
        return Code(np.full(3, float(self.where == "cpu"), dtype=np.float32))

    def encode_images(self, images: Sequence[Any]) -> Code:
        return self._code()

    def encode_point_cloud(self, points: Any, colors: Any = None) -> Code:
        return self._code()

    def encode_text(self, text: str) -> Code:
        return self._code()


class Loader:
    """Counts what is loaded where."""

    def __init__(self, error: Exception | None, at_load: bool = False) -> None:
        self.error, self.at_load = error, at_load
        self.loaded: list[str] = []

    def __call__(self, checkpoint: str, device: str) -> Any:
        self.loaded.append(device)
        if device != "cpu" and self.at_load and self.error is not None:
            raise self.error
        return Device(device, self.error if device != "cpu" else None)


def test_out_of_memory_moves_the_encoders_and_is_told_once() -> None:
    loader = Loader(FULL)
    source = EncoderSource(loader)
    encoder = source.get("", "cuda")
    assert not source.fallback
    for code in (
        encoder.encode_images([]),
        encoder.encode_point_cloud(np.zeros((1, 3), dtype=np.float32)),
        encoder.encode_text("a room"),
    ):
        assert code.vector[0] == 1.0, "from the CPU"
    assert loader.loaded == ["cuda", "cpu"]
    assert source.fallback.startswith("device: cuda is out of memory (CUDA out of memory. Tried to allocate 2.00 GiB)")
    assert source.get("", "cuda") is encoder and encoder.fingerprint == "f"


def test_no_memory_to_load_them_is_the_same() -> None:
    loader = Loader(FULL, at_load=True)
    source = EncoderSource(loader)
    assert source.get("", "auto").encode_text("x").vector[0] == 1.0
    assert loader.loaded == ["auto", "cpu"] and "encoding on cpu" in source.fallback


@pytest.mark.parametrize("error", [RuntimeError("device-side assert"), ValueError("text: is empty")])
def test_other_failures_are_not_hidden(error: Exception) -> None:
    loader = Loader(error)
    encoder = EncoderSource(loader).get("", "auto")
    with pytest.raises(type(error), match=str(error)):
        encoder.encode_text("x")
    assert loader.loaded == ["auto"]


def test_a_cpu_without_memory_is_a_failure() -> None:
    told: list[str] = []
    encoder = FallbackEncoder(lambda where: Device(where, FULL), "auto", told.append)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        encoder.encode_text("x")
    assert len(told) == 1


def test_what_counts_as_out_of_memory() -> None:
    assert is_out_of_memory(FULL)
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))
