"""Which categories of objects a picture shows and where: a small head on the frozen maps of the image front end.

Frozen ImageNet features, pooled, recognize objects poorly, and texts name little else. Rendering gives instance ids
for free, so this head is trained on them cell by cell; the front end itself stays as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

MID_CHANNELS, LAST_CHANNELS = 112, 1280
"""Channels of EfficientNet-lite0's maps at strides 16 and 32."""
GRID = 14
"""Cells a side of the finer map of a 224 px picture."""
_LOGIT_SPAN = 4.0


class ObjectRecognizer(nn.Module):
    """Feature pyramid of two levels and a global context, then one logit a category and cell."""

    def __init__(self, categories: int, width: int = 128) -> None:
        super().__init__()
        self.categories = categories
        self.lateral = nn.Conv2d(MID_CHANNELS, width, 1)
        self.top = nn.Conv2d(LAST_CHANNELS, width, 1)
        self.context = nn.Linear(LAST_CHANNELS, width)
        self.mix = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            nn.Conv2d(width, width, 1),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.Dropout(0.2),
            nn.Conv2d(width, categories, 1),
        )

    def forward(self, mid: Tensor, last: Tensor) -> Tensor:
        """Maps (V, 112, 14, 14) and (V, 1280, 7, 7) -> logits (V, C, 14, 14)."""
        last = functional.dropout2d(last, 0.2, self.training)
        wide = functional.interpolate(self.top(last), size=mid.shape[2:], mode="bilinear", align_corners=False)
        around = self.context(last.mean(dim=(2, 3)))[..., None, None]
        out: Tensor = self.mix(self.lateral(mid) + wide + around)
        return out

    def evidence(self, mid: Tensor, last: Tensor) -> Tensor:
        """(V, 2C): of each category the largest logit over the picture, and the root of its mean probability."""
        logits = self(mid, last).flatten(2)
        most = logits.amax(dim=2) / _LOGIT_SPAN
        return torch.cat([most, torch.sigmoid(logits).mean(dim=2).sqrt()], dim=1)
