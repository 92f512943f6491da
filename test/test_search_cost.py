"""``crossover bench search``: floors, scans, and figures of searches that agree."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from crossover_models.evaluation import search_cost
from crossover_models.floor_plan import OCCUPIED


def arguments(out: Path, **changes: object) -> argparse.Namespace:
    values = {"json": out, "queries": 1, "levels": 2, "device": "cpu", "threads": 1, "fov": 360.0, "seed": 0}
    return argparse.Namespace(**{**values, **changes})


def test_floors_have_the_area_asked_for_and_scans_end_on_their_walls() -> None:
    rng = np.random.default_rng(0)
    plan = search_cost.draw_floor(400.0, rng)
    width, height = plan.size_m
    assert abs((width - 1.0) * (height - 1.0) / 400.0 - 1.0) < 0.1 and plan.area_m2 > 300.0
    seen, pose = search_cost.cast_scan(plan, 180.0, rng)
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    on_map = seen.points @ np.array([[cos, sin], [-sin, cos]]) + pose[:2]
    walls = plan.position(np.argwhere(plan.occupancy == OCCUPIED))
    gap = np.array([np.hypot(*(walls - point).T).min() for point in on_map])
    assert 0.8 < (gap < 0.1).mean() < 1.0
    assert np.abs(np.arctan2(seen.points[:, 1], seen.points[:, 0])).max() < np.pi / 2 + 0.01


def test_levels_together_and_apart_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_cost, "AREAS_M2", (150.0,))
    monkeypatch.setattr(search_cost, "TARGET_AREA_M2", 150.0)
    out = tmp_path / "new" / "search.json"
    assert search_cost.run(arguments(out)) == 0
    result = json.loads(out.read_text())
    assert result["area"][0]["n"] == 1 and result["area"][0]["median_s"] > 0.0
    assert [row["levels"] for row in result["levels"]] == [1, 2] and result["targets"]["cpu_s_2000_m2"] == 1.0
    monkeypatch.setattr(search_cost, "_equal", lambda a, b: False)
    with pytest.raises(search_cost.SearchCostError, match="agree with one by one"):
        search_cost.run(arguments(out))


def test_numbers_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    for change, word in (({"queries": 0}, "--queries"), ({"fov": 0.0}, "--fov")):
        with pytest.raises(search_cost.SearchCostError, match=word):
            search_cost.run(arguments(tmp_path / "x.json", **change))
