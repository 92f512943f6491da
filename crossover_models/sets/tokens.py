"""Attributes, colors and layout of a code as bytes, for maps and messages.

A row of tokens is int8: first the A attributes' logits in steps of ``MOST_LOGIT / 127``, clipped to +-``MOST_LOGIT``
(scores take posteriors beyond that for no more certain); then, where the modality has them, the K colors in steps of
1 / 127; then, where it has one, the layout (C, H, W) in C order, each value as 127 sign(x) sqrt(|x| / largest): most of
a layout is near zero, and there the steps are finest. The largest value is not kept: a layout has unit norm, which
gives it back. Which parts are there follows from the length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_LOGIT = 4.6
_STEPS = 127.0
Array = NDArray[np.float32]


def token_lengths(attributes: int, colors: int, layout_shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Lengths that a row may have: without colors and layout, with colors, with a layout, with both."""
    cells = int(np.prod(layout_shape))
    return tuple(attributes + c + laid for laid in (0, cells) for c in dict.fromkeys((0, colors)))


def pack(attributes: Array, layout: Array | None, colors: Array | None = None) -> NDArray[np.int8]:
    """Logits (A,), layout (C, H, W) or None, colors (K,) or None -> (A [+ K] [+ C H W],)."""
    parts = [np.clip(attributes, -MOST_LOGIT, MOST_LOGIT) * (_STEPS / MOST_LOGIT)]
    if colors is not None:
        parts.append(np.clip(colors, -1.0, 1.0) * _STEPS)
    if layout is not None:
        values = layout.reshape(-1)
        largest = max(float(np.abs(values).max()), 1e-12)
        parts.append(np.sign(values) * np.sqrt(np.abs(values) / largest) * _STEPS)
    return np.rint(np.concatenate(parts)).astype(np.int8)


def unpack(
    tokens: NDArray[np.int8], attributes: int, colors: int, layout_shape: tuple[int, int, int]
) -> tuple[Array, Array | None, Array | None]:
    """Tokens (n, T) -> logits (n, A), colors (n, K) and layouts (n, C, H, W) of unit norm or None; empty ones stay so.

    Raises:
        ValueError: T is none of :func:`token_lengths`.
    """
    length, cells = tokens.shape[1], int(np.prod(layout_shape))
    expected = token_lengths(attributes, colors, layout_shape)
    if length not in expected:
        raise ValueError(f"tokens: expected {' or '.join(str(n) for n in expected)} a code, got {length}")
    logits = tokens[:, :attributes].astype(np.float32) * np.float32(MOST_LOGIT / _STEPS)
    rest = length - attributes
    seen = layouts = None
    if rest % cells == colors and colors:
        seen = _unit(tokens[:, attributes : attributes + colors].astype(np.float32))
    if rest >= cells:
        layouts = tokens[:, length - cells :].astype(np.float32)
        layouts *= np.abs(layouts)
        layouts = _unit(layouts).reshape(-1, *layout_shape)
    return logits, seen, layouts


def _unit(rows: Array) -> Array:
    return np.asarray(rows / np.maximum(1.0, np.linalg.norm(rows, axis=1, keepdims=True)), dtype=np.float32)
