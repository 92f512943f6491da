"""The object recognizer on disk, and as a function of pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossover_models.encoders.checkpoint import load_strictly, read_tensors, save_tensors
from crossover_models.encoders.efficientnet import EfficientNetLite0, pooled_view
from crossover_models.encoders.errors import EncoderError
from crossover_models.sets.recognizer import ObjectRecognizer


class Recognition:
    """Pictures -> what the front end and the recognizer say of them, in one pass; frozen.

    Attributes:
        categories: (C,) in the order of the evidence.
        sha256: of the weights.
    """

    def __init__(
        self,
        network: ObjectRecognizer,
        categories: Sequence[str],
        sha256: str = "",
        front_end: EfficientNetLite0 | None = None,
    ) -> None:
        self.categories, self.sha256 = tuple(categories), sha256
        self.network = network.eval().requires_grad_(False)
        self._front_end = front_end or EfficientNetLite0()

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pictures, each (H, W, 3) uint8 RGB -> the front end's views (V, 2560) and the evidence (V, 2C)."""
        mid, last = self._front_end.maps(images)
        with torch.inference_mode():
            return pooled_view(last).numpy(), self.network.evidence(mid, last).numpy()


def save_recognizer(
    path: Path, state: Mapping[str, Tensor], categories: Sequence[str], about: Mapping[str, Any]
) -> None:
    """Write weights and, beside them, the categories and how they were trained."""
    save_tensors(path, state, {"kind": "recognizer", "categories": list(categories), **about})


def open_recognizer(path: Path, front_end: EfficientNetLite0 | None = None) -> Recognition:
    """Read what :func:`save_recognizer` wrote; ``front_end`` is used instead of one of its own.

    Raises:
        EncoderError: unreadable, not a recognizer, or tensors that do not fit.
    """
    state = read_tensors(path)
    beside = path.with_suffix(".json")
    try:
        about = json.loads(beside.read_text(encoding="utf-8"))
        if about["kind"] != "recognizer":
            raise EncoderError(f"{beside}: kind is {about['kind']!r}, not 'recognizer'")
        categories = tuple(str(name) for name in about["categories"])
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise EncoderError(f"{beside}: not a recognizer's description: {error}") from None
    network = ObjectRecognizer(len(categories))
    load_strictly(network, state, str(path))
    return Recognition(network, categories, hashlib.sha256(path.read_bytes()).hexdigest(), front_end)
