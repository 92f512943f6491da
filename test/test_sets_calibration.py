"""What is trusted is what holds on rooms that nothing was learned from."""

from __future__ import annotations

import numpy as np
import torch

from crossover_models.evaluation.tasks.method import MAP_ITEMS, ROBOT_ITEMS
from crossover_models.sets.calibration import calibrate
from crossover_models.sets.codes import Codes
from crossover_models.sets.scores import ScoreNetwork, pair_index
from crossover_models.sets.settings import SetsSettings


def _planted(
    rooms: int, vectors: bool, layouts: bool, colors: bool = False
) -> tuple[dict[str, Codes], dict[str, np.ndarray]]:
    """Codes whose vectors, layouts or colors are the same in every modality; the others are noise."""
    g = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g)

    def unit(x: torch.Tensor) -> torch.Tensor:
        return x / x.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.ndim - 1))

    same_vector, same_layout, same_colors = noise(rooms, 16), noise(rooms, 2, 12, 12), noise(rooms, 8)
    codes = {}
    for item in (*MAP_ITEMS, *ROBOT_ITEMS):
        vector = same_vector + 0.3 * noise(rooms, 16) if vectors else noise(rooms, 16)
        layout = same_layout + 0.3 * noise(rooms, 2, 12, 12) if layouts else noise(rooms, 2, 12, 12)
        laid = item in ("P", "M", "F", "Pd")
        seen = unit(same_colors + 0.3 * noise(rooms, 8) if colors else noise(rooms, 8))
        tinted = seen if item in ("I", "I1", "I10", "P", "Pd") else None
        codes[item] = Codes(unit(vector), torch.zeros(rooms, 3), unit(layout) if laid else None, tinted)
    return codes, {item: np.ones(rooms, dtype=bool) for item in codes}


def test_the_part_that_tells_rooms_apart_wins() -> None:
    for vectors in (True, False):
        scores = ScoreNetwork(SetsSettings(), torch.full((3,), 0.5))
        codes, present = _planted(24, vectors, not vectors)
        pair = pair_index("P", "F")
        before = scores.log_scale[pair].item(), scores.log_layout[pair].item()
        figures = calibrate(scores, codes, present, torch.arange(24))
        assert figures["after"] < figures["before"]
        gained = scores.log_scale[pair].item() - before[0], scores.log_layout[pair].item() - before[1]
        assert (gained[0] > gained[1]) == vectors
        if not vectors:
            assert gained[0] < -0.5


def test_colors_are_trusted_where_they_hold() -> None:
    for hold in (True, False):
        scores = ScoreNetwork(SetsSettings(), torch.full((3,), 0.5))
        codes, present = _planted(24, not hold, False, hold)
        pair, without = pair_index("I", "P"), pair_index("P", "F")
        before = scores.log_colors[pair].item(), scores.log_colors[without].item()
        calibrate(scores, codes, present, torch.arange(24))
        assert (scores.log_colors[pair].item() > before[0]) == hold
        assert abs(scores.log_colors[without].item() - before[1]) < 1e-4


def test_rescans_are_no_negatives() -> None:
    codes, present = _planted(12, True, False)
    twice = {k: Codes.joined([c, c]) for k, c in codes.items()}
    there = {k: np.tile(v, 2) for k, v in present.items()}
    as_one = calibrate(ScoreNetwork(SetsSettings(), torch.full((3,), 0.5)), twice, there, torch.arange(12).repeat(2))
    as_two = calibrate(ScoreNetwork(SetsSettings(), torch.full((3,), 0.5)), twice, there, torch.arange(24))
    assert as_one["before"] < as_two["before"]


def test_nobody_has_both_is_no_crash() -> None:
    codes, present = _planted(6, True, True)
    none = {item: np.zeros(6, dtype=bool) if item == "R" else mask for item, mask in present.items()}
    scores = ScoreNetwork(SetsSettings(), torch.full((3,), 0.5))
    kept = scores.log_scale[pair_index("R", "F")].item()
    calibrate(scores, codes, none, torch.arange(6))
    assert scores.log_scale[pair_index("R", "F")].item() == kept
