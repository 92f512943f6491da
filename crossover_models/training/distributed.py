"""Several processes training together, as torchrun starts them: gradients averaged, rows gathered for contrast."""

from __future__ import annotations

import atexit
import importlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from crossover_models.training.errors import TrainingError

_PATIENCE = timedelta(hours=2)
"""How long processes wait for the one that validates."""


@dataclass(frozen=True)
class Processes:
    """This process among those of a run.

    Attributes:
        rank: 0 for the one that validates, saves and tells.
        world: how many there are.
        device: where this one computes.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0


def is_first() -> bool:
    """Whether this process writes files, also outside of a run."""
    return int(os.environ.get("RANK", "0")) == 0


def chosen_device(device: str) -> torch.device:
    """Device of this process for a setting ``auto``, ``cpu`` or ``cuda``.

    Raises:
        TrainingError: there is no GPU, or none for this process.
    """
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if not torch.cuda.is_available() or local >= torch.cuda.device_count():
        raise TrainingError(f"device: {device}, but there are {torch.cuda.device_count()} GPUs for process {local}")
    return torch.device("cuda", local)


def join(device: str) -> Processes:
    """This process together with the others that torchrun started, if any; they part when the program ends.

    They join once a program: a second joining can meet the leftovers of the first one, and wait for ever.

    Raises:
        TrainingError: no such device.
    """
    where = chosen_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        # Functions there have the group, as it is on import, as a default. Optimizers import it: were that after the
        # group is made, it would outlive its end, and its threads abort the interpreter's shutdown now and then.
        importlib.import_module("torch.distributed.nn.functional")
        if where.type == "cuda":
            torch.cuda.set_device(where)
        distributed.init_process_group("nccl" if where.type == "cuda" else "gloo", timeout=_PATIENCE)
        atexit.register(part)
    if distributed.is_initialized():
        return Processes(distributed.get_rank(), distributed.get_world_size(), where)
    return Processes(0, 1, where)


def part() -> None:
    """End what :func:`join` began, with its threads; done when the program ends."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def gather(rows: Tensor) -> Tensor:
    """Rows of all processes, in the order of the whole batch; the identity where there is but one.

    The gradient of each row is the sum of what every process's loss says of it, so that with averaged parameter
    gradients the loss trained is the mean over processes. Every process must call it, equally often.

    Args:
        rows: (B, ...); B may differ from process to process, the rest may not.

    Returns:
        (sum of B, ...).
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(distributed.get_world_size())]
        distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
        ctx.counts = [int(count) for count in counts]
        most = max(ctx.counts)
        padded = rows.new_zeros(most, *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in ctx.counts]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, ctx.counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].contiguous().clone()
        distributed.all_reduce(summed)
        rank = distributed.get_rank()
        start = sum(ctx.counts[:rank])
        return summed[start : start + ctx.counts[rank]]


def share_weights(module: nn.Module) -> None:
    """Give every process the first one's parameters and buffers."""
    share_buffers(module)
    _broadcast(parameter.data for parameter in module.parameters())


def share_buffers(module: nn.Module) -> None:
    """Give every process the first one's buffers: running means differ, for each sees its own rows."""
    _broadcast(module.buffers())


def _broadcast(tensors: Iterable[Tensor]) -> None:
    if distributed.is_initialized():
        for tensor in tensors:
            distributed.broadcast(tensor, 0)


def average_gradients(module: nn.Module) -> None:
    """Replace every gradient by its mean over processes; without one in any process there stays none."""
    if not distributed.is_initialized():
        return
    parameters = [p for p in module.parameters() if p.requires_grad]
    have = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
    flat = torch.cat([have, *((torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in parameters)])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    position = len(parameters)
    for parameter, anywhere in zip(parameters, flat[: len(parameters)].tolist(), strict=True):
        part = flat[position : position + parameter.numel()]
        position += parameter.numel()
        parameter.grad = part.view_as(parameter).to(parameter.dtype) if anywhere else None


def mean_of_all(value: Tensor) -> float:
    """A scalar's mean over processes; not a number if any is none."""
    if distributed.is_initialized():
        value = value.detach().double().clone() if value.device.type == "cpu" else value.detach().clone()
        distributed.all_reduce(value)
        value /= distributed.get_world_size()
    return float(value)


def from_first(entry: Mapping[str, Any] | None, device: torch.device) -> dict[str, Any]:
    """What the first process knows, at every process; it travels as JSON.

    Args:
        entry: plain values; read at the first process only.
        device: of this process.
    """
    if not distributed.is_initialized():
        return dict(entry or {})
    text = json.dumps(entry).encode()
    length = torch.tensor([len(text)], device=device)
    distributed.broadcast(length, 0)
    content = torch.zeros(int(length), dtype=torch.uint8)
    if distributed.get_rank() == 0:
        content = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    content = content.to(device)
    distributed.broadcast(content, 0)
    told: dict[str, Any] = json.loads(bytes(content.cpu().tolist()))
    return told
