"""How much vector, attributes, layout and colors count for each pair of modalities, fitted on validation rooms.

In training all of them see rooms that they learn by heart, so what overfits most is trusted most. Four numbers a pair,
fitted where nothing was learned, put that right and make a score a logarithm of odds.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from crossover_models.evaluation.tasks.method import MAP_ITEMS, ROBOT_ITEMS
from crossover_models.sets.codes import Codes
from crossover_models.sets.scores import ScoreNetwork, pair_index
from crossover_models.sets.scoring import REACH, attribute_scores, layout_scores
from crossover_models.sets.stage import kind_of

_STEPS, _RATE = 150, 0.05
_HOLD = 0.01
"""Weight of staying at what training found, a pair: few rooms tell little."""
_LOWEST, _HIGHEST = -4.0, 5.0


def calibrate(
    scores: ScoreNetwork, codes: Mapping[str, Codes], present: Mapping[str, NDArray[np.bool_]], rooms: Tensor
) -> dict[str, float]:
    """Fit scale, trust, layout gain and tint of every pair of modalities in place; mean loss before and after.

    Args:
        scores: as trained.
        codes: item -> codes of the validation scans; map and robot items.
        present: item -> (N,) which exist.
        rooms: (N,) number of each scan's room: rescans are no negatives.
    """
    terms: dict[int, list[tuple[Tensor, Tensor]]] = {}
    pairs = [(a, b) for i, a in enumerate(MAP_ITEMS) for b in MAP_ITEMS[i + 1 :]]
    pairs += [(a, b) for a in ROBOT_ITEMS for b in MAP_ITEMS]
    with torch.no_grad():
        for a, b in pairs:
            both = torch.from_numpy(present[a] & present[b])
            if int(both.sum()) > 1:
                terms.setdefault(pair_index(kind_of(a), kind_of(b)), []).append(
                    _parts(scores, codes[a], codes[b], both, rooms)
                )
    fitted_ones = (scores.log_scale, scores.log_trust, scores.log_layout, scores.log_colors)
    weights = torch.stack(list(fitted_ones), dim=1).detach()
    begun = weights.clone()
    weights.requires_grad_(True)
    optimizer = torch.optim.Adam([weights], lr=_RATE)
    before = after = 0.0
    for step in range(_STEPS + 1):
        losses = [_loss(weights[pair], rows) for pair, group in terms.items() for rows in group]
        after = float(torch.stack(losses).mean().detach())
        before = after if step == 0 else before
        if step == _STEPS:
            break
        optimizer.zero_grad()
        torch.autograd.backward(torch.stack(losses).sum() + _HOLD * (weights - begun).square().sum())
        optimizer.step()
    with torch.no_grad():
        fitted = weights.clamp(_LOWEST, _HIGHEST)
        for column, parameter in enumerate(fitted_ones):
            parameter.copy_(fitted[:, column])
    return {"before": before, "after": after}


def _parts(scores: ScoreNetwork, query: Codes, gallery: Codes, both: Tensor, rooms: Tensor) -> tuple[Tensor, Tensor]:
    """Of scans that have both: vectors, ratios, layouts and colors compared (4, N, N); what is no negative (N, N)."""
    q, g = (codes.mapped(lambda part: part[both]) for codes in (query, gallery))
    dots = q.vector @ g.vector.T
    nothing = torch.zeros_like(dots)
    ratios, layouts, colors = nothing, nothing, nothing
    if scores.settings.objects:
        ratios = attribute_scores(q.attributes, g.attributes, scores.rates) @ scores.log_weight.exp()
    if q.layout is not None and g.layout is not None:
        layouts = layout_scores(q.layout, g.layout, REACH)
    if q.colors is not None and g.colors is not None:
        colors = q.colors @ g.colors.T
    same = rooms[both][:, None] == rooms[both][None, :]
    return torch.stack([dots, ratios, layouts, colors]), same & ~torch.eye(len(dots), dtype=torch.bool)


def _loss(weights: Tensor, parts: tuple[Tensor, Tensor]) -> Tensor:
    terms, closed = parts
    gains = weights.clamp(_LOWEST, _HIGHEST).exp()
    total = torch.einsum("k,kqg->qg", gains, terms).masked_fill(closed, -torch.inf)
    own = torch.arange(len(total))
    return (functional.cross_entropy(total, own) + functional.cross_entropy(total.T, own)) / 2.0
