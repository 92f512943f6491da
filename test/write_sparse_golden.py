"""Writes what MinkowskiEngine gives for small stacks of layers: ``python test/write_sparse_golden.py``.

Made with MinkowskiEngine 0.5.4 (CPU) and torch 2.13.0, in an environment that has MinkowskiEngine and with the
repository's root on PYTHONPATH; the tests compare our layers with the file where MinkowskiEngine cannot be built.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from sparse_stacks import LAYER_STACKS, stack_results, voxels
from torch import Tensor

GOLDEN = Path(__file__).with_name("sparse_golden.safetensors")


def golden_results() -> dict[str, Tensor]:
    """Inputs, and the results of every stack as ``STACK/NAME``; voxels in 16 bits."""
    coordinates, features = voxels()
    tensors = {"coordinates": coordinates.to(torch.int16), "features": features}
    for stack in LAYER_STACKS:
        for name, tensor in stack_results("minkowski", stack, coordinates, features).items():
            tensors[f"{stack}/{name}"] = tensor.to(torch.int16) if name == "voxels" else tensor
    return tensors


def read_golden() -> dict[str, Tensor]:
    return dict(load_file(GOLDEN))


if __name__ == "__main__":
    save_file(golden_results(), GOLDEN)
    print(f"{GOLDEN.name}: {GOLDEN.stat().st_size / 1e3:.0f} kB")
