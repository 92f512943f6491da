"""One measurement of ``crossover bench sparse``: a network and a cloud in a process of their own.

``python -m crossover_models.evaluation.sparse_measure JOB.json RESULT.json``; the interpreter may be another one than
the benchmark's, with this package on its ``PYTHONPATH``, because MinkowskiEngine rarely installs where the rest does.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crossover_models.encoders.profile import REFERENCE_3D, SparseResNetSettings
from crossover_models.encoders.resnet import SparseResNet
from crossover_models.sparse import SparseTensor, backend
from crossover_models.sparse.kernel_map import forward_map
from crossover_models.sparse.layers import Convolution

MATRIX_SIDE = 1024


def filled(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network with weights that depend on names, shapes and ``seed`` alone, so that backends can be compared."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(network.named_parameters()):
            if name.endswith("kernel"):
                parameter.normal_(generator=generator).mul_(parameter.shape[-2] ** -0.5 / 3.0)
    return network.eval()


def cloud_features(count: int, channels: int) -> Tensor:
    """(count, channels) float32 in -1..1, the same for every backend."""
    return 2.0 * torch.rand(count, channels, generator=torch.Generator().manual_seed(1)) - 1.0


def count_gflop(network: nn.Module, coordinates: Tensor, channels: int) -> float:
    """GFLOP of all kernel products of our backend's network on a cloud: two for each multiplication and addition."""
    total = 0.0

    def count(layer: nn.Module, inputs: tuple[SparseTensor, ...], _output: Any) -> None:
        nonlocal total
        assert isinstance(layer, Convolution)
        (x,) = inputs
        pairs = len(x.features)
        if layer.kernel.ndim == 3:
            pairs = sum(len(rows) for rows, _ in forward_map(x, layer.kernel_size, layer.stride)[1])
        total += 2.0 * pairs * layer.kernel.shape[-2] * layer.kernel.shape[-1]

    hooks = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, Convolution)]
    with torch.inference_mode():
        network(coordinates, cloud_features(len(coordinates), channels), 1)
    for hook in hooks:
        hook.remove()
    return total / 1e9


def matrix_gflops(side: int = MATRIX_SIDE, repeats: int = 8) -> float:
    """GFLOP/s of the best of a few dense float32 products of square matrices with torch's current threads."""
    a, b = torch.rand(side, side), torch.rand(side, side)
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - began)
    return 2.0 * side**3 / best / 1e9


class PeakMemory:
    """Resident memory that a stretch of code adds at its peak, from the kernel's own high-water mark (Linux).

    The mark is reset first: ``ru_maxrss`` keeps the peak of start-up, below which a forward pass would count nothing.
    """

    def __init__(self) -> None:
        gc.collect()
        # Pages freed by loading would be reused unseen, so they go back to the system before.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        self._before_kb: int | None = None
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._before_kb = self._status_kb("VmRSS")
        except OSError:
            return  # no Linux, or a kernel that does not let us: unknown, not zero

    def peak_mb(self) -> float | None:
        """Peak since construction less the memory held then, MB of 1e6 bytes; None where it cannot be measured."""
        if self._before_kb is None:
            return None
        return (self._status_kb("VmHWM") - self._before_kb) * 1024 / 1e6

    @staticmethod
    def _status_kb(key: str) -> int:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
        raise OSError(f"/proc/self/status has no {key}")


def measure(
    backend_name: str,
    coordinates: Tensor,
    *,
    repeats: int = 5,
    settings: SparseResNetSettings = REFERENCE_3D,
) -> dict[str, Any]:
    """Forward passes of a ResNet on a cloud (N, 4) [batch, x, y, z] of one scene.

    Returns:
        ``ms`` (median of the repeats) and ``ms_least``; ``mb``, peak resident memory of the first pass on this cloud
        beyond what the loaded network held (None where the system does not tell); ``output``, the pooled vector;
        for the torch backend ``gflop``, ``machine_gflops`` and ``floor_ms``, the time the products alone would take.

    Raises:
        ImportError: MinkowskiEngine was asked for and is not installed.
    """
    network = filled(SparseResNet(settings, backend(backend_name)))
    features = cloud_features(len(coordinates), settings.in_channels)
    few = coordinates[: min(200, len(coordinates))]
    with torch.inference_mode():
        network(few, features[: len(few)], 1)  # threads, libraries and their buffers are up before anything is counted
        memory = PeakMemory()
        output = network(coordinates, features, 1)
        peak_mb = memory.peak_mb()
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            network(coordinates, features, 1)
            times.append(1e3 * (time.perf_counter() - began))
    result: dict[str, Any] = {"ms": float(np.median(times)), "ms_least": min(times), "mb": peak_mb}
    result["output"] = output[0].double().tolist()
    if backend_name == "torch":
        result["gflop"] = count_gflop(network, coordinates, settings.in_channels)
        result["machine_gflops"] = matrix_gflops()
        result["floor_ms"] = 1e3 * result["gflop"] / result["machine_gflops"]
    return result


def main(argv: list[str]) -> int:
    """Read a job (``backend``, ``cloud`` (.npy), ``threads``, ``repeats``), write its figures."""
    job = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    coordinates = torch.from_numpy(np.load(job["cloud"], allow_pickle=False))
    result = measure(job["backend"], coordinates, repeats=job["repeats"])
    Path(argv[1]).write_text(json.dumps(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
