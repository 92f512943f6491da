"""``crossover bench plan-defects``: defects do what they say, and figures are those of the rows."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from crossover_models.evaluation import plan_defects
from crossover_models.simulation.procedural import generate_building


def test_figures_of_known_rows() -> None:
    rows = [{"error_m": e, "error_deg": d} for e, d in ((0.1, 1.0), (0.2, 3.0), (0.2, 6.0), (np.inf, np.inf))]
    assert plan_defects.summarize(rows) == {"right": 0.5, "error_m": pytest.approx(0.15), "error_deg": 2.0, "n": 4}
    assert plan_defects.summarize([])["right"] is None
    with pytest.raises(plan_defects.PlanDefectError, match="--poses"):
        plan_defects.run(argparse.Namespace(json=Path("x"), buildings=1, poses=0))


def test_scenes_hold_what_the_defect_says() -> None:
    level = generate_building(3, split="test", levels=1, rooms_per_level=4).levels[0]
    faces = {}
    for name in ("none", "furniture", "doors-closed"):
        scene, panes = plan_defects._scene(level, plan_defects.DEFECTS[name], np.random.default_rng(0))
        faces[name] = len(scene.face_mesh)
        assert panes.any() and not panes.all()
    assert faces["none"] < faces["furniture"] < faces["doors-closed"]


def test_an_empty_building_is_recognized_from_one_sweep() -> None:
    rows = list(plan_defects.measure(5, "none", 2))
    assert len(rows) == 2 * len(plan_defects.SLICES) and {row["slice"] for row in rows} == set(plan_defects.SLICES)
    assert min(row["error_m"] for row in rows) < 0.25
