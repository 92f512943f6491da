"""Attributes and layout of a code as bytes, for maps and messages.

A row of tokens is int8: first the A attributes' logits in steps of ``MOST_LOGIT / 127``, clipped to +-``MOST_LOGIT``
(scores take posteriors beyond that for no more certain); then, where the modality has one, the layout (C, H, W) in C
order, each value as 127 sign(x) sqrt(|x| / largest): most of a layout is near zero, and there the steps are finest.
The largest value is not kept: a layout has unit norm, which gives it back.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_LOGIT = 4.6
_STEPS = 127.0
Array = NDArray[np.float32]


def pack(attributes: Array, layout: Array | None) -> NDArray[np.int8]:
    """Logits (A,) and layout (C, H, W) or None -> (A,) or (A + C H W,)."""
    parts = [np.clip(attributes, -MOST_LOGIT, MOST_LOGIT) * (_STEPS / MOST_LOGIT)]
    if layout is not None:
        values = layout.reshape(-1)
        largest = max(float(np.abs(values).max()), 1e-12)
        parts.append(np.sign(values) * np.sqrt(np.abs(values) / largest) * _STEPS)
    return np.rint(np.concatenate(parts)).astype(np.int8)


def unpack(tokens: NDArray[np.int8], attributes: int, layout_shape: tuple[int, int, int]) -> tuple[Array, Array | None]:
    """Tokens (n, T) -> logits (n, A), and layouts (n, C, H, W) of unit norm or None; an empty layout stays empty.

    Raises:
        ValueError: T is neither that of a code without layout nor of one with it.
    """
    length, cells = tokens.shape[1], int(np.prod(layout_shape))
    if length not in (attributes, attributes + cells):
        raise ValueError(f"tokens: expected {attributes} or {attributes + cells} a code, got {length}")
    logits = tokens[:, :attributes].astype(np.float32) * np.float32(MOST_LOGIT / _STEPS)
    if length == attributes:
        return logits, None
    layouts = tokens[:, attributes:].astype(np.float32)
    layouts *= np.abs(layouts)
    layouts /= np.maximum(1.0, np.linalg.norm(layouts, axis=1, keepdims=True))
    return logits, layouts.reshape(-1, *layout_shape)
