"""Symmetric InfoNCE over modality pairs with missing modalities masked (arXiv 2502.15011, equations 1 to 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

MAX_SCALE = 100.0
INITIAL_SCALE = 1.0 / 0.07


class Temperature(nn.Module):
    """The learned inverse temperature s, kept below 100; the reference leaves its own at 14.3."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))

    def forward(self) -> Tensor:
        """S, a scalar."""
        return self.log_scale.exp().clamp(max=MAX_SCALE)


def directed_rows(
    query: Tensor, gallery: Tensor, has_query: Tensor, has_gallery: Tensor, scale: Tensor, columns: bool = True
) -> Tensor:
    """Cross-entropy of each query row against its own gallery row (B,); rows lacking either side are zero.

    Absent gallery items are no negatives either: their columns are masked, unless ``columns`` is False as in the
    reference's code.

    Args:
        query: (B, D) unit norm.
        gallery: (B, D) unit norm.
        has_query: (B,) bool.
        has_gallery: (B,) bool.
        scale: inverse temperature.
        columns: whether absent gallery items are masked.
    """
    both = has_query & has_gallery
    logits = scale * query @ gallery.T
    # A row that lacks its own column would be infinite; it is dropped below, so let it keep its diagonal.
    open_columns = has_gallery[None, :] | torch.eye(len(query), dtype=torch.bool, device=query.device)
    if columns:
        logits = logits.masked_fill(~open_columns, -torch.inf)
    rows = functional.cross_entropy(logits, torch.arange(len(query), device=query.device), reduction="none")
    return torch.where(both, rows, torch.zeros_like(rows))


def pair_loss(a: Tensor, b: Tensor, has_a: Tensor, has_b: Tensor, scale: Tensor, columns: bool = True) -> Tensor:
    """Mean of both directions over the rows that have both modalities; 0 where fewer than two rows have."""
    both = (has_a & has_b).sum()
    there, back = (
        directed_rows(x, y, has_x, has_y, scale, columns).sum()
        for x, y, has_x, has_y in ((a, b, has_a, has_b), (b, a, has_b, has_a))
    )
    total = there + back
    return torch.where(both >= 2, total / (2 * both.clamp(min=1)), torch.zeros_like(total))
