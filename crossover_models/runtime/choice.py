"""Which back end runs a network: those that agree with the reference are timed at start-up; the fastest is taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossover_models.runtime.network import LEAST_COSINE, ImageNetwork, agreement

# Timed runs of each back end after one that is not; taken in turn, so that a busy moment hits all of them.
RUNS = 5


@dataclass(frozen=True)
class Choice:
    """The back end taken, and why.

    Attributes:
        network: it.
        milliseconds: the fastest run of each back end that agrees.
        cosines: least cosine of each back end with the reference.
        refused: back ends that were not to be had, or do not agree, with the reason.
    """

    network: ImageNetwork
    milliseconds: Mapping[str, float]
    cosines: Mapping[str, float]
    refused: Mapping[str, str]

    def sentence(self) -> str:
        """For a log: ``onnx (onnx 10.8 ms, torch 31.2 ms; cuda: not available)``."""
        timed = [f"{name} {ms:.1f} ms" for name, ms in sorted(self.milliseconds.items(), key=lambda item: item[1])]
        refused = [f"{name}: {reason}" for name, reason in self.refused.items()]
        return f"{self.network.name} ({'; '.join([', '.join(timed), *refused])})"


def choose(
    reference: ImageNetwork,
    others: Mapping[str, Callable[[], ImageNetwork]],
    probe: NDArray[np.float32],
    clock: Callable[[], float] = time.perf_counter,
) -> Choice:
    """Take the fastest of the back ends that give what the reference gives.

    Args:
        reference: PyTorch in 32 bits.
        others: by name, what opens them; an ImportError or RuntimeError of it means that it is not to be had.
        probe: (V, 3, H, W) input to compare and to time them on.
        clock: seconds.
    """
    expected = reference(probe)
    candidates: dict[str, ImageNetwork] = {reference.name: reference}
    cosines, refused = {reference.name: 1.0}, {}
    for name, open_network in others.items():
        try:
            network = open_network()
            cosine = agreement(network(probe), expected)
        except (ImportError, RuntimeError) as error:
            refused[name] = " ".join(str(error).split())[:120] or type(error).__name__
            continue
        cosines[name] = cosine
        if cosine >= LEAST_COSINE:
            candidates[name] = network
        else:
            refused[name] = f"cosine {cosine:.4f} with {reference.name}, less than {LEAST_COSINE}"
    fastest = dict.fromkeys(candidates, float("inf"))
    for _ in range(RUNS if len(candidates) > 1 else 1):
        for name, network in candidates.items():
            began = clock()
            network(probe)
            fastest[name] = min(fastest[name], clock() - began)
    best = min(fastest, key=lambda name: fastest[name])
    return Choice(candidates[best], {name: s * 1e3 for name, s in fastest.items()}, cosines, refused)
