"""Sizes of the network with explicit sets, and which of its parts are on."""

from __future__ import annotations

from dataclasses import dataclass, field

from crossover_models.config import Settings, setting
from crossover_models.encoders.profile import SparseResNetSettings


@dataclass(frozen=True)
class SetsSettings(Settings):
    """Everything that decides what a code means, apart from weights; switches are rows of the ablation."""

    embedding_dim: int = setting(256, "dimension D of the global vector", minimum=2)
    width: int = setting(256, "width of tokens and of what is shared", minimum=8)
    trunk: int = setting(384, "hidden width of each modality's network", minimum=8)
    dropout: float = setting(0.2, "of tokens and hidden layers", minimum=0.0, maximum=0.9)
    layout_channels: int = setting(8, "channels of a layout", minimum=1)
    layout_width: int = setting(32, "channels of the layout network", minimum=8)
    objects: bool = setting(True, "supervise objects and compare their sets")
    layout: bool = setting(True, "compare layouts over turns and shifts")
    tokens: bool = setting(True, "sentences, views and objects as tokens; else their mean")
    appearance: bool = setting(True, "shares of colors beside the front ends' features")
    backbone: SparseResNetSettings = field(default_factory=SparseResNetSettings)
