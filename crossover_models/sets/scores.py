"""How much each part of a code counts when two modalities are compared: learned along with the codes."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement

import torch
from torch import Tensor, nn

from crossover_models.sets.codes import Codes
from crossover_models.sets.scoring import attribute_scores, layout_scores
from crossover_models.sets.settings import SetsSettings

KINDS = ("I", "P", "M", "F", "R")
"""Modalities of codes: images, points, CAD models, floor plans, text."""
PAIR_INDEX = {pair: i for i, pair in enumerate(combinations_with_replacement(KINDS, 2))}
_MOST_SCALE = 100.0
_FIRST_SCALE = 14.0
_FIRST_WEIGHT = 0.15
_FIRST_LAYOUT = 5.0
_FIRST_COLORS = 10.0


def pair_index(query: str, gallery: str) -> int:
    """Row of an unordered pair of kinds."""
    return PAIR_INDEX.get((query, gallery), PAIR_INDEX.get((gallery, query), -1))


class ScoreNetwork(nn.Module):
    """How well two codes fit.

    score = scale <v, w> + sum over attributes of their log-likelihood ratios, weighted + gain layout correlation
    + tint <c, d> of colors.
    The scale is CrossOver's inverse temperature, learned and kept below 100; weights are positive.
    """

    rates: Tensor

    def __init__(self, settings: SetsSettings, rates: Tensor) -> None:
        super().__init__()
        pairs = len(PAIR_INDEX)
        self.settings = settings
        self.register_buffer("rates", rates.clone())
        self.log_scale = nn.Parameter(torch.full((pairs,), math.log(_FIRST_SCALE)))
        self.log_weight = nn.Parameter(torch.full((len(rates),), math.log(_FIRST_WEIGHT)))
        self.log_trust = nn.Parameter(torch.zeros(pairs))
        self.log_layout = nn.Parameter(torch.full((pairs,), math.log(_FIRST_LAYOUT)))
        self.log_colors = nn.Parameter(torch.full((pairs,), math.log(_FIRST_COLORS)))

    def scale(self, query: str, gallery: str) -> Tensor:
        """Inverse temperature of a pair, a scalar."""
        return self.log_scale[pair_index(query, gallery)].exp().clamp(max=_MOST_SCALE)

    def forward(self, query: Codes, query_kind: str, gallery: Codes, gallery_kind: str, reach: int) -> Tensor:
        """(Q, G); kinds are of :data:`KINDS`, ``reach`` is how many cells layouts may be shifted."""
        pair = pair_index(query_kind, gallery_kind)
        total = self.scale(query_kind, gallery_kind) * (query.vector @ gallery.vector.T)
        if self.settings.objects:
            ratios = attribute_scores(query.attributes, gallery.attributes, self.rates)
            total = total + self.log_trust[pair].exp() * (ratios @ self.log_weight.exp())
        if query.layout is not None and gallery.layout is not None:
            total = total + self.log_layout[pair].exp() * layout_scores(query.layout, gallery.layout, reach)
        if query.colors is not None and gallery.colors is not None:
            total = total + self.log_colors[pair].exp() * (query.colors @ gallery.colors.T)
        return total
