"""Late interaction against plain formulas and planted layouts."""

from __future__ import annotations

import math

import numpy as np
import torch

from crossover_models.sets.codes import Codes
from crossover_models.sets.scores import ScoreNetwork
from crossover_models.sets.scoring import attribute_scores, layout_scores
from crossover_models.sets.settings import SetsSettings


def _logit(p: float) -> float:
    return math.log(p / (1.0 - p))


def test_attribute_score_is_the_likelihood_ratio_of_two_views_of_one_coin() -> None:
    query = torch.tensor([[_logit(0.9), _logit(0.2)]])
    gallery = torch.tensor([[_logit(0.8), _logit(0.1)], [_logit(0.05), _logit(0.7)]])
    rates = torch.tensor([0.3, 0.4])
    scores = attribute_scores(query, gallery, rates)
    for g in range(2):
        for a, rate in enumerate((0.3, 0.4)):
            p, q = torch.sigmoid(query[0, a]).item(), torch.sigmoid(gallery[g, a]).item()
            plain = math.log(p * q / rate + (1 - p) * (1 - q) / (1 - rate))
            assert abs(scores[0, g, a].item() - plain) < 1e-5


def test_who_knows_nothing_says_nothing() -> None:
    rates = torch.tensor([0.07, 0.5, 0.6])
    ignorant = torch.logit(rates)[None]
    sure = torch.tensor([[4.0, -4.0, 2.0]])
    assert torch.allclose(attribute_scores(ignorant, sure, rates), torch.zeros(1, 1, 3), atol=1e-5)


def test_agreement_on_a_rare_thing_counts_more_than_on_a_common_one() -> None:
    both = torch.full((1, 2), 3.0)
    rare, common = attribute_scores(both, both, torch.tensor([0.05, 0.6]))[0, 0].tolist()
    assert rare > common > 0.0


def _layouts(count: int, seed: int = 0) -> torch.Tensor:
    inner = torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    out = torch.zeros(count, 3, 20, 20)
    out[:, :, 4:16, 4:16] = inner
    return out / out.flatten(1).norm(dim=1)[:, None, None, None]


def test_a_turned_and_shifted_layout_is_found() -> None:
    layouts = _layouts(4)
    moved = torch.roll(torch.rot90(layouts, 3, dims=(2, 3)), (2, -3), dims=(2, 3))
    scores = layout_scores(moved, layouts, 3)
    assert torch.allclose(scores.diagonal(), torch.ones(4), atol=1e-5)
    assert (scores - 2.0 * torch.eye(4)).max() < 0.5
    # Farther than the reach it is not looked for.
    assert layout_scores(moved, layouts, 1).diagonal().max() < 0.9


def test_layout_scores_are_the_best_of_plain_loops() -> None:
    a, b = _layouts(2, 1), _layouts(3, 2)
    plain = np.full((2, 3), -np.inf)
    for turn in range(4):
        turned = np.rot90(b.numpy(), turn, axes=(2, 3))
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                moved = np.zeros_like(turned)
                src = turned[:, :, max(0, dy) : 20 + min(0, dy), max(0, dx) : 20 + min(0, dx)]
                moved[:, :, max(0, -dy) : 20 + min(0, -dy), max(0, -dx) : 20 + min(0, -dx)] = src
                plain = np.maximum(plain, np.einsum("qchw,gchw->qg", a.numpy(), moved))
    assert np.allclose(layout_scores(a, b, 2).numpy(), plain, atol=1e-5)


def _codes(count: int, seed: int, layout: bool) -> Codes:
    g = torch.Generator().manual_seed(seed)
    vector = torch.nn.functional.normalize(torch.randn(count, 8, generator=g), dim=1)
    return Codes(vector, torch.randn(count, 5, generator=g), _layouts(count, seed) if layout else None)


def test_scores_do_not_depend_on_who_asks() -> None:
    scores = ScoreNetwork(SetsSettings(), torch.full((5,), 0.3))
    with torch.no_grad():
        scores.log_scale += torch.randn(15, generator=torch.Generator().manual_seed(3)) * 0.3
        scores.log_layout += torch.randn(15, generator=torch.Generator().manual_seed(4)) * 0.3
        points, plans = _codes(3, 1, True), _codes(4, 2, True)
        there, back = scores(points, "P", plans, "F", 2), scores(plans, "F", points, "P", 2)
    assert torch.allclose(there, back.T, atol=1e-4)


def test_what_has_no_layout_is_compared_without() -> None:
    scores = ScoreNetwork(SetsSettings(), torch.full((5,), 0.3))
    with torch.no_grad():
        text, plans = _codes(3, 1, False), _codes(4, 2, True)
        with_layout = scores(text, "R", plans, "F", 2)
        without = scores(text, "R", Codes(plans.vector, plans.attributes), "F", 2)
    assert torch.equal(with_layout, without)
