"""One small network for rasters of clouds, CAD models and floor plans: layouts that can be laid on each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossover_models.sets.raster import BANDS_M, CELL_M, PLAN_CHANNELS

GEOMETRY = 5
KINDS = {"points": len(BANDS_M) - 1, "plan": PLAN_CHANNELS}


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.GroupNorm(min(8, outputs // 4), outputs), nn.GELU()
    )


class LayoutNetwork(nn.Module):
    """A stem for points and one for plans, then shared: two levels down, one up."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.stems = nn.ModuleDict({kind: _block(inputs, width // 2, 2) for kind, inputs in KINDS.items()})
        self.fine = nn.Sequential(_block(width // 2, width), _block(width, width))
        self.coarse = nn.Sequential(_block(width, 2 * width, 2), _block(2 * width, 2 * width))
        self.up = _block(3 * width, width)
        self.out = nn.Conv2d(width, channels, 1)
        self.pooled = 4 * width

    def forward(self, raster: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        """(B, C, 64, 64) in 0..1 -> layouts (B, channels, 32, 32) of unit norm, and (B, 4 width) pooled over it."""
        fine = self.fine(self.stems[kind](raster))
        coarse = self.coarse(fine)
        wide = functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        layout = self.out(self.up(torch.cat([fine, wide], dim=1)))
        layout = layout - layout.mean(dim=(2, 3), keepdim=True)
        unit = functional.normalize(layout.flatten(1), dim=1).view_as(layout)
        return unit, torch.cat([coarse.mean(dim=(2, 3)), coarse.amax(dim=(2, 3))], dim=1)


def raster_geometry(raster: Tensor, kind: str) -> Tensor:
    """(B, C, 64, 64) in 0..1 -> (B, 5): long and short side, floor and drawn area, and whether anything is there.

    Sides are of 5 m, areas of 20 m2.
    """
    there = raster[:, 1] if kind == "plan" else raster.amax(dim=1)
    rows, cols = (there.amax(dim=d) > 0.2 for d in (2, 1))
    sides = torch.stack([rows.sum(1), cols.sum(1)], dim=1).to(raster.dtype) * (CELL_M / 5.0)
    floor = raster[:, 1] if kind == "plan" else raster[:, 0]
    drawn = raster[:, 0] if kind == "plan" else raster[:, 2]
    areas = torch.stack([(floor > 0.05).sum((1, 2)), (drawn > 0.2).sum((1, 2))], dim=1).to(raster.dtype)
    any_there = (there.amax(dim=(1, 2)) > 0).to(raster.dtype)[:, None]
    return torch.cat([sides.amax(1, True), sides.amin(1, True), areas * (CELL_M**2 / 20.0), any_there], dim=1)
