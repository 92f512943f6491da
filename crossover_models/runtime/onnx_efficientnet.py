"""EfficientNet-Lite0 as an ONNX graph, made from the network in memory, for ONNX Runtime on the CPU.

Batch normalization is folded into the convolutions before it, ``w' = w g / sqrt(v + e)`` and
``b' = b - m g / sqrt(v + e)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossover_models.encoders.errors import EncoderError

# ONNX operators of 2021: old enough for every ONNX Runtime of this Python.
_OPSET, _IR = 15, 8


class OnnxEfficientNet:
    """Maps after a block and after the last convolution.

    Args:
        model: the PyTorch network (efficientnet_lite_pytorch), in evaluation mode.
        mid_block: number of the block whose maps are wanted too.
        threads: of the session.

    Raises:
        ImportError: onnx or onnxruntime is not installed (extra ``cpu``).
        EncoderError: the network has a layer that is none of EfficientNet-Lite's.
    """

    name = "onnx"

    def __init__(self, model: Any, mid_block: int, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Threads that wait for work by spinning would take the cores from the other nodes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = _Graph()
        mid, last = graph.efficientnet(model, mid_block)
        data = graph.serialized(mid, last)
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def __call__(self, batch: NDArray[np.float32]) -> tuple[Tensor, ...]:
        """(V, 3, 224, 224) -> maps (V, 112, 14, 14) and (V, 1280, 7, 7)."""
        return tuple(torch.from_numpy(maps) for maps in self._session.run(None, {"pictures": batch}))


class _Graph:
    """Nodes and weights of the graph so far; names of values are handed from layer to layer."""

    def __init__(self) -> None:
        from onnx import helper, numpy_helper

        self._helper, self._numpy_helper = helper, numpy_helper
        self._nodes: list[Any] = []
        self._weights = [numpy_helper.from_array(np.array(v, dtype=np.float32), n) for n, v in (("0", 0.0), ("6", 6.0))]

    def efficientnet(self, model: Any, mid_block: int) -> tuple[str, str]:
        """Names of both outputs."""
        x = self._convolved("pictures", model._conv_stem, model._bn0, clipped=True)
        mid = ""
        for number, block in enumerate(model._blocks):
            x = self._block(x, block)
            if number == mid_block:
                mid = x
        return mid, self._convolved(x, model._conv_head, model._bn1, clipped=True)

    def _block(self, x: str, block: Any) -> str:
        if block.has_se:
            raise EncoderError("efficientnet: a block with squeeze and excitation is none of EfficientNet-Lite's")
        out, about = x, block._block_args
        if about.expand_ratio != 1:
            out = self._convolved(out, block._expand_conv, block._bn0, clipped=True)
        out = self._convolved(out, block._depthwise_conv, block._bn1, clipped=True)
        out = self._convolved(out, block._project_conv, block._bn2, clipped=False)
        if block.id_skip and about.stride == 1 and about.input_filters == about.output_filters:
            out = self._add("Add", [out, x])
        return out

    def _convolved(self, x: str, convolution: Any, norm: Any, clipped: bool) -> str:
        scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach()
        weight = convolution.weight.detach() * scale[:, None, None, None]
        bias = norm.bias.detach() - norm.running_mean * scale
        left, right, top, bottom = getattr(convolution.static_padding, "padding", (0, 0, 0, 0))
        number = len(self._nodes)
        names = [f"weight{number}", f"bias{number}"]
        for name, tensor in zip(names, (weight, bias), strict=True):
            array = np.ascontiguousarray(tensor.float().cpu().numpy())
            self._weights.append(self._numpy_helper.from_array(array, name))
        out = self._add(
            "Conv",
            [x, *names],
            kernel_shape=list(convolution.kernel_size),
            strides=list(convolution.stride),
            dilations=list(convolution.dilation),
            group=convolution.groups,
            pads=[top, left, bottom, right],
        )
        return self._add("Clip", [out, "0", "6"]) if clipped else out

    def _add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        out = f"value{len(self._nodes)}"
        self._nodes.append(self._helper.make_node(kind, inputs, [out], **attributes))
        return out

    def serialized(self, *outputs: str) -> bytes:
        """The model file."""
        from onnx import TensorProto

        def value(name: str, shape: list[Any]) -> Any:
            return self._helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        graph = self._helper.make_graph(
            self._nodes,
            "efficientnet-lite0",
            [value("pictures", ["V", 3, 224, 224])],
            [value(name, ["V", None, None, None]) for name in outputs],
            self._weights,
        )
        opset = self._helper.make_opsetid("", _OPSET)
        return bytes(self._helper.make_model(graph, opset_imports=[opset], ir_version=_IR).SerializeToString())
