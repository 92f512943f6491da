"""The node ``encoder`` on a pretended accelerator that has no memory left while a file exists.

It computes on the CPU. What raises is ``torch.cuda.OutOfMemoryError``, from where torch would raise it: the encoders'
methods. All behind them is the shipped node.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossover_models.observation import Code
from crossover_ros.encoder_source import Encoder, EncoderSource, load_from_package


class StarvedEncoder:
    """Encoders that find no memory while ``flag`` exists."""

    def __init__(self, encoder: Encoder, flag: Path) -> None:
        self._encoder, self._flag = encoder, flag

    @property
    def fingerprint(self) -> str:
        """Of the encoders behind it."""
        return self._encoder.fingerprint

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Code:
        """Views of one place."""
        self._allocate()
        return self._encoder.encode_images(images)

    def encode_point_cloud(self, points: NDArray[np.float32], colors: NDArray[np.uint8] | None = None) -> Code:
        """Gravity-aligned points (N, 3), metres."""
        self._allocate()
        return self._encoder.encode_point_cloud(points, colors)

    def encode_text(self, text: str) -> Code:
        """Sentences."""
        self._allocate()
        return self._encoder.encode_text(text)

    def _allocate(self) -> None:
        if self._flag.exists():
            import torch

            raise torch.cuda.OutOfMemoryError("CUDA out of memory (simulated). Tried to allocate 2.00 GiB")


def source(flag: Path) -> EncoderSource:
    """Encoders as the nodes load them, starved on every device but the CPU."""

    def load(checkpoint: str, device: str) -> Encoder:
        encoder = load_from_package(checkpoint, "cpu")
        return encoder if device == "cpu" else StarvedEncoder(encoder, flag)

    return EncoderSource(load)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node; the first argument is the file."""
    from crossover_ros.localize import run

    given = list(sys.argv[1:] if argv is None else argv)
    return run(given[1:], ("encoder",), source(Path(given[0])))


if __name__ == "__main__":
    sys.exit(main())
