"""Back ends of the image network: the same maps on each, the fastest that agrees is taken, and the rest is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossover_models.encoders.efficientnet import _MID_BLOCK, EfficientNetLite0
from crossover_models.encoders.errors import EncoderError
from crossover_models.runtime.choice import choose
from crossover_models.runtime.network import LEAST_COSINE, ImageNetwork, agreement
from crossover_models.runtime.onnx_efficientnet import OnnxEfficientNet
from crossover_models.runtime.torch_efficientnet import CudaEfficientNet, TorchEfficientNet

PROBE = np.random.default_rng(0).standard_normal((3, 3, 224, 224), dtype=np.float32)


@pytest.fixture(scope="module")
def reference() -> TorchEfficientNet:
    return TorchEfficientNet(EfficientNetLite0()._open("cpu", torch.float32), _MID_BLOCK)


def test_onnx_gives_the_maps_of_torch_for_any_number_of_pictures(reference: TorchEfficientNet) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra `cpu`")
    onnx = OnnxEfficientNet(reference.model, _MID_BLOCK)
    for count in (1, 3):
        ours, theirs = onnx(PROBE[:count]), reference(PROBE[:count])
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == b.shape and a.dtype == torch.float32
            torch.testing.assert_close(a, b, rtol=1e-3, atol=5e-4)


def test_half_precision_with_a_staged_frame_agrees_and_keeps_earlier_answers(reference: TorchEfficientNet) -> None:
    """What CUDA runs, here on the CPU: a graph is replaced by what it would replay."""
    recorded: list[Callable[[], tuple[Tensor, Tensor]]] = []

    def replaying(fill: Callable[[], tuple[Tensor, Tensor]]) -> Callable[[], tuple[Tensor, Tensor]]:
        outputs = tuple(torch.empty_like(maps) for maps in fill())

        def replay() -> tuple[Tensor, Tensor]:
            for kept, new in zip(outputs, fill(), strict=True):
                kept.copy_(new)  # As a graph does: the same memory with every frame.
            return outputs[0], outputs[1]

        recorded.append(replay)
        return replay

    network = CudaEfficientNet(EfficientNetLite0()._open("cpu", torch.float32), _MID_BLOCK, "cpu", replaying)
    first = network(PROBE[:1])
    second = network(PROBE[1:2])
    together = network(PROBE)
    assert len(recorded) == 1
    expected = reference(PROBE)
    for k, maps in enumerate((first, second)):
        assert agreement(maps, [e[k : k + 1] for e in expected]) >= LEAST_COSINE
        assert all(m.dtype == torch.float32 for m in maps)
    assert agreement(together, expected) >= LEAST_COSINE


class Fake:
    """A network whose maps are the pictures, changed by ``change``; every call takes ``cost`` of the fake clock."""

    def __init__(self, name: str, cost: float, change: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        self.name, self._cost, self._change = name, cost, change

    def __call__(self, batch: NDArray[np.float32]) -> tuple[Tensor, ...]:
        CLOCK[0] += self._cost
        return (self._change(torch.from_numpy(batch.copy())),)


CLOCK = [0.0]


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    CLOCK[0] = 0.0
    yield


def chosen(**others: Callable[[], ImageNetwork]) -> Any:
    return choose(Fake("torch", 3.0), others, PROBE[:1], clock=lambda: CLOCK[0])


def test_the_fastest_that_agrees_is_taken_and_the_sentence_says_why() -> None:
    choice = chosen(slow=lambda: Fake("slow", 9.0), fast=lambda: Fake("fast", 1.0))
    assert choice.network.name == "fast"
    assert choice.milliseconds == {"torch": 3000.0, "slow": 9000.0, "fast": 1000.0}
    assert choice.sentence() == "fast (fast 1000.0 ms, torch 3000.0 ms, slow 9000.0 ms)"


def test_what_does_not_agree_is_refused_however_fast() -> None:
    def noisy(x: Tensor) -> Tensor:
        return x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))

    choice = chosen(wrong=lambda: Fake("wrong", 0.1, noisy), broken=lambda: Fake("broken", 0.1, lambda x: x * np.nan))
    assert choice.network.name == "torch"
    assert 0.9 < choice.cosines["wrong"] < LEAST_COSINE and choice.cosines["broken"] == 0.0
    assert set(choice.refused) == {"wrong", "broken"} and "cosine 0.9" in choice.sentence()


def test_what_cannot_be_had_is_named() -> None:
    def missing() -> ImageNetwork:
        raise ImportError("No module named 'onnxruntime'")

    def full() -> ImageNetwork:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    choice = chosen(onnx=missing, cuda=full)
    assert choice.network.name == "torch"
    assert (
        "onnx: No module named 'onnxruntime'" in choice.sentence() and "cuda: CUDA out of memory" in choice.sentence()
    )


def test_agreement_looks_at_every_map_of_every_picture() -> None:
    a = torch.from_numpy(PROBE)
    b = a.clone()
    b[2] = -b[2]
    assert agreement([a, a], [a, a]) == pytest.approx(1.0)
    assert agreement([a, b], [a, a]) == pytest.approx(-1.0)


def test_a_block_of_another_family_is_refused_by_name(reference: TorchEfficientNet) -> None:
    pytest.importorskip("onnx", reason="needs the extra `cpu`")
    model = EfficientNetLite0()._open("cpu", torch.float32)
    model._blocks[3].has_se = True
    with pytest.raises(EncoderError, match="squeeze and excitation"):
        OnnxEfficientNet(model, _MID_BLOCK)


def test_live_features_are_those_of_training() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    live, plain = EfficientNetLite0(live=True), EfficientNetLite0()
    assert live.choice is not None and plain.choice is None
    torch.testing.assert_close(live.views([picture] * 5), plain.views([picture] * 5), rtol=1e-3, atol=5e-4)
