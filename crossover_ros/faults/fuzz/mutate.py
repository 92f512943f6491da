"""Mutations of valid samples: of bytes, of nested plain values, and of messages field by field."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

Rng = np.random.Generator
INTEGERS = (0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1)
FLOATS = (float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-320, 1e308, -1e308, 1e30, 0.5, -1.0)
TEXTS = (
    "", "/", "//a", "\0", "x" * 2000, "nan", "../..", "[", "{}", "é\u202e", "mono16", "rgba8", "yuv422", "bayer_rggb8",
    "16UC3", "odom", "equidistant", "rational_polynomial", "image", "point_cloud", "floor_plan",
)  # fmt: skip
# Bytes that formats of any kind count with.
WORDS = (
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\x00\x00\x00",
    b"\x01",
)


def mutated_bytes(rng: Rng, sample: bytes) -> bytes:
    """One to four edits: bits flipped, bytes overwritten, cut, doubled, removed or moved."""
    data = bytearray(sample)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            return bytes(rng.bytes(int(rng.integers(0, 64))))
        at = int(rng.integers(len(data)))
        length = min(len(data) - at, int(rng.integers(1, 65)))
        edit = int(rng.integers(7))
        if edit == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif edit == 1:
            word = WORDS[int(rng.integers(len(WORDS)))]
            data[at : at + len(word)] = word
        elif edit == 2:
            data[at : at + length] = rng.bytes(length)
        elif edit == 3:
            del data[at:]
        elif edit == 4:
            data[at:at] = data[at : at + length]
        elif edit == 5:
            del data[at : at + length]
        else:
            other = int(rng.integers(len(data)))
            data[at : at + length] = data[other : other + length]
    return bytes(data)


def odd_value(rng: Rng) -> Any:
    """A plain value that a field of another type may meet in a file."""
    choices: tuple[Callable[[], Any], ...] = (
        lambda: INTEGERS[int(rng.integers(len(INTEGERS)))],
        lambda: FLOATS[int(rng.integers(len(FLOATS)))],
        lambda: TEXTS[int(rng.integers(len(TEXTS)))],
        lambda: None,
        lambda: bool(rng.integers(2)),
        list,
        dict,
        lambda: [odd_value(rng)],
        lambda: {TEXTS[int(rng.integers(len(TEXTS)))]: odd_value(rng)},
    )
    return choices[int(rng.integers(len(choices)))]()


def mutated_tree(rng: Rng, sample: Any) -> Any:
    """Nested dicts, lists and scalars with one to three nodes replaced, removed, doubled or renamed."""
    root = [copy.deepcopy(sample)]
    for _ in range(int(rng.integers(1, 4))):
        spots = _spots(root)
        holder, key = spots[int(rng.integers(len(spots)))]
        edit = int(rng.integers(4))
        if edit == 0 and holder is not root:
            del holder[key]
        elif edit == 1 and isinstance(holder, list) and holder is not root:
            holder.insert(key, copy.deepcopy(holder[key]))
        elif edit == 1 and isinstance(holder, dict):
            holder[TEXTS[int(rng.integers(len(TEXTS)))]] = holder.pop(key)
        else:
            value = holder[key]
            near = isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.5
            numbers = INTEGERS + FLOATS
            holder[key] = numbers[int(rng.integers(len(numbers)))] if near else odd_value(rng)
    return root[0]


def _spots(root: list[Any]) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree."""
    spots: list[tuple[Any, Any]] = []
    waiting: list[Any] = [root]
    while waiting:
        holder = waiting.pop()
        for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            spots.append((holder, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    return spots


def mutated_message(rng: Rng, sample: Any) -> Any:
    """A copy of a message (dataclasses or namespaces of plain fields) with one to three fields changed."""
    message = copy.deepcopy(sample)
    leaves = _leaves(message)
    for _ in range(int(rng.integers(1, 4))):
        holder, name = leaves[int(rng.integers(len(leaves)))]
        value = getattr(holder, name)
        object.__setattr__(holder, name, _changed(rng, value))
    return message


def _names(value: Any) -> list[str]:
    if is_dataclass(value):
        return [item.name for item in fields(value) if item.name != "__msgtype__"]
    return list(vars(value)) if isinstance(value, SimpleNamespace) else []


def _leaves(message: Any) -> list[tuple[Any, str]]:
    out: list[tuple[Any, str]] = []
    waiting = [message]
    while waiting:
        holder = waiting.pop()
        for name in _names(holder):
            value = getattr(holder, name)
            inner = value if isinstance(value, list) else [value]
            deeper = [item for item in inner if _names(item)]
            waiting += deeper
            if not deeper or isinstance(value, list):
                out.append((holder, name))
    return out


def _changed(rng: Rng, value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return not value
    if isinstance(value, int | np.integer):
        return INTEGERS[int(rng.integers(len(INTEGERS)))] if rng.random() < 0.7 else int(rng.integers(0, 2000))
    if isinstance(value, float | np.floating):
        return FLOATS[int(rng.integers(len(FLOATS)))]
    if isinstance(value, str):
        return TEXTS[int(rng.integers(len(TEXTS)))]
    if isinstance(value, np.ndarray):
        return _changed_array(rng, value)
    if isinstance(value, list):
        kept = [item for item in value if rng.random() < 0.7]
        return kept + kept[: int(rng.integers(0, 2))]
    return value


def _changed_array(rng: Rng, value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    edit = int(rng.integers(4))
    if edit == 0 or not len(value):
        return value[: int(rng.integers(0, len(value) + 1))]
    if edit == 1:
        return np.concatenate([value, value[: int(rng.integers(1, 9))]])
    out = value.copy()
    if edit == 2 and value.dtype == np.uint8:
        data = mutated_bytes(rng, value.tobytes())
        return np.frombuffer(data, dtype=np.uint8)
    many = rng.random(len(out)) < (1.0 if edit == 2 else 0.1)
    odd = FLOATS if np.issubdtype(out.dtype, np.floating) else INTEGERS
    with np.errstate(all="ignore"):
        out[many] = np.asarray(odd[int(rng.integers(len(odd)))]).astype(out.dtype)
    return out
