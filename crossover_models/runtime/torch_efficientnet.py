"""EfficientNet-Lite0 in PyTorch: in 32 bits on the CPU, the reference of the others; in bfloat16 on CUDA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class TorchEfficientNet:
    """Maps after a block and after the last convolution, in the network's own precision.

    Args:
        model: the network (efficientnet_lite_pytorch), in evaluation mode, on the device.
        mid_block: number of the block whose maps are wanted too.
        device: where it is.
        dtype: of its weights.
    """

    name = "torch"

    def __init__(self, model: Any, mid_block: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.model = model
        self._mid_block, self._device, self._dtype = mid_block, device, dtype

    def __call__(self, batch: NDArray[np.float32]) -> tuple[Tensor, ...]:
        """(V, 3, 224, 224) -> maps (V, 112, 14, 14) and (V, 1280, 7, 7)."""
        with torch.inference_mode():
            mid, last = self.maps(
                torch.from_numpy(batch).to(self._device, self._dtype, memory_format=torch.channels_last)
            )
        return mid.float(), last.float()

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same from a tensor of the network's device and precision."""
        model, mid = self.model, None
        x = model._swish(model._bn0(model._conv_stem(x)))
        for number, layer in enumerate(model._blocks):
            x = layer(x)
            if number == self._mid_block:
                mid = x
        assert mid is not None
        return mid, model._swish(model._bn1(model._conv_head(x)))


class CudaEfficientNet:
    """The same for live frames on CUDA: one pinned buffer and one copy a frame, and a graph that is launched at once.

    Graphs hold one picture; batches of several run without. ``graph`` can be replaced for a device without graphs.

    Args:
        model: the network in 32 bits; it is moved and becomes bfloat16.
        mid_block: number of the block whose maps are wanted too.
        device: "cuda" or "cuda:N".
        graph: captures a function of no arguments that fills its outputs, and returns what replays it.
    """

    name = "cuda"

    def __init__(
        self,
        model: Any,
        mid_block: int,
        device: str = "cuda",
        graph: Callable[[Callable[[], tuple[Tensor, Tensor]]], Callable[[], tuple[Tensor, Tensor]]] | None = None,
    ) -> None:
        self._device, dtype = device, torch.bfloat16
        model = model.to(device, dtype, memory_format=torch.channels_last)
        self._network = TorchEfficientNet(model, mid_block, device, dtype)
        shape = (1, 3, 224, 224)
        self._staged = torch.zeros(shape, dtype=dtype, pin_memory=device.startswith("cuda"))
        self._frame = torch.zeros(shape, dtype=dtype, device=device).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            self._replay = (graph or cuda_graph)(lambda: self._network.maps(self._frame))

    def __call__(self, batch: NDArray[np.float32]) -> tuple[Tensor, ...]:
        """(V, 3, 224, 224) -> maps (V, 112, 14, 14) and (V, 1280, 7, 7), float32, on the device."""
        if len(batch) != 1:
            return self._network(batch)
        with torch.inference_mode():
            self._staged.copy_(torch.from_numpy(batch))
            self._frame.copy_(self._staged, non_blocking=True)
            mid, last = self._replay()
            # The graph writes into the same memory with the next frame.
            return mid.float(), last.float()


def cuda_graph(fill: Callable[[], tuple[Tensor, Tensor]]) -> Callable[[], tuple[Tensor, Tensor]]:
    """Record ``fill`` on a stream of its own after three runs that let libraries choose; the result replays it."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            fill()
    torch.cuda.current_stream().wait_stream(stream)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded, stream=stream):
        outputs = fill()

    def replay() -> tuple[Tensor, Tensor]:
        recorded.replay()
        return outputs

    return replay
