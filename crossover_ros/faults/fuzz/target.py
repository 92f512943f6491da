"""What is fuzzed: how inputs are made from valid samples, and what reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Make = Callable[[np.random.Generator], Any]
Read = Callable[[Any], object]
# What readers may raise for senseless input: domain errors are ValueErrors, and files may not be readable.
DOCUMENTED: tuple[type[Exception], ...] = (ValueError, OSError)


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        name: for the table and for repeating one input.
        share: inputs of the short form.
        prepare: takes a scratch folder; gives the maker of inputs and the reader.
        planted: a defect on purpose, for the test that crashes are counted; never part of a campaign.
    """

    name: str
    share: int
    prepare: Callable[[Path], tuple[Make, Read]]
    planted: bool = False


def input_rng(name: str, seed: int, index: int) -> np.random.Generator:
    """The generator of one input, whatever came before it."""
    return np.random.default_rng([seed, index, *name.encode()])
