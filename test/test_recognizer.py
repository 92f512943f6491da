"""The object recognizer: its labels, its metric, what it says of a picture."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crossover_models.dataset.scene import View
from crossover_models.sets.recognizer import GRID, ObjectRecognizer
from crossover_models.training.errors import TrainingError
from crossover_models.training.recognizer import (
    RecognizerStage,
    SeenObjects,
    _shown,
    area_under_curve,
    known_categories,
)


def test_area_under_curve_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, 40).astype(np.float32)
    truth = rng.random(40) < 0.3
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[truth] for n in scores[~truth]]
    assert np.isclose(area_under_curve(scores, truth), np.mean(pairs))


def test_labels_lie_where_the_object_is() -> None:
    instance = np.full((56, 84), -1, np.int32)
    instance[:4, :6] = 1
    instance[40:56, 60:84] = 0
    instance[20, 20] = 2
    view = View(np.zeros((56, 84, 3), np.uint8), np.eye(4), np.eye(3), None, instance)
    shown = _shown(view, [2, 0, -1], 3)
    assert shown.shape == (3, GRID, GRID)
    assert np.argwhere(shown[0]).tolist() == [[0, 0]]
    assert shown[2, 10:, 10:].all() and shown[2].sum() == 16 and not shown[1].any()


def test_evidence_is_the_most_and_the_mean() -> None:
    net = ObjectRecognizer(4).eval()
    g = torch.Generator().manual_seed(0)
    mid, last = torch.randn(2, 112, 14, 14, generator=g), torch.randn(2, 1280, 7, 7, generator=g)
    with torch.no_grad():
        logits, evidence = net(mid, last).flatten(2), net.evidence(mid, last)
    assert torch.allclose(evidence[:, :4], logits.max(dim=2).values / 4.0)
    assert torch.allclose(evidence[:, 4:] ** 2, torch.sigmoid(logits).mean(dim=2), atol=1e-6)


def test_it_learns_what_its_cells_show() -> None:
    rng = np.random.default_rng(0)
    shown = rng.random((48, 3, GRID, GRID)) < 0.004
    mid = rng.normal(0, 0.3, (48, 112, GRID, GRID))
    mid[:, :3] += 8.0 * shown
    seen = SeenObjects(mid.astype(np.float16), np.zeros((48, 1280, 7, 7), np.float16), shown)
    torch.manual_seed(0)
    stage = RecognizerStage(ObjectRecognizer(3, 16), seen, seen)
    before = stage.validate()["score"]
    optimizer = torch.optim.AdamW(stage.module.parameters(), 3e-2)
    for step in range(60):
        optimizer.zero_grad()
        loss = stage.loss(range(24), np.random.default_rng(step), torch.Generator())
        torch.autograd.backward(loss)
        optimizer.step()
    assert stage.validate()["score"] > max(0.9, before)


def test_a_set_with_too_few_objects_is_refused_by_name() -> None:
    scenes = [SimpleNamespace(objects=[SimpleNamespace(category="chair")] * 3 + [SimpleNamespace(category="")] * 50)]
    data = SimpleNamespace(folder="rooms", scan_ids=lambda split: ["a"], load=lambda scan, parts: scenes[0])
    with pytest.raises(TrainingError, match=r"rooms: no category has 20 objects in its training scans \(at most 3\)"):
        known_categories(data)  # type: ignore[arg-type]
    assert known_categories(data, least=3) == ("chair",)  # type: ignore[arg-type]
