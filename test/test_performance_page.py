"""Exponents of growth, the benchmark of the index, and the page of performance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossover_models import cli
from crossover_models.evaluation.growth import draw, exponent
from crossover_models.evaluation.performance_page import NOT_MEASURED, SECTIONS, PageError, page


def test_exponent_of_a_power_law() -> None:
    sizes = [10.0, 100.0, 1000.0]
    assert exponent(sizes, [3.0 * size**0.5 for size in sizes]) == pytest.approx(0.5)
    assert exponent(sizes, [0.0, 1.0, 2.0]) == 0.0


def test_growth_is_drawn_and_tabled(tmp_path: Path) -> None:
    row = {"stage": "retrieve", "against": "levels", "sizes": [1.0, 10.0, 100.0], "seconds": [0.1, 1.0, 10.0]}
    row |= {"bytes": [1, 10, 100], "time_exponent": 1.0, "memory_exponent": 1.0, "limit": 1.0}
    draw([row], tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes()[:4] == b"\x89PNG"
    (tmp_path / "growth.json").write_text(json.dumps({"stages": [row]}))
    written = tmp_path / "docs" / "page.md"
    assert cli.main(["bench", "page", "--figures", str(tmp_path), "--markdown", str(written)]) == 0
    text = written.read_text()
    assert "| retrieve | levels | 1 to 100 | 0.1 to 10 | 1.00 | 1.00 | <= 1 |" in text
    # The plot stands beside the page, where its link looks for it.
    assert "![cost as work grows](growth.png)" in text
    assert (written.parent / "growth.png").read_bytes() == (tmp_path / "growth.png").read_bytes()


def test_index_is_measured_and_shown(tmp_path: Path) -> None:
    figures = tmp_path / "index-a.json"
    order = ["bench", "index", "--places", "400", "--dimensions", "16", "--queries", "20", "--out", str(tmp_path / "i")]
    assert cli.main([*order, "--json", str(figures)]) == 0
    held = json.loads(figures.read_text())
    assert held["recall_at_10"] == 1.0
    assert held["hardware"]["load_average"]
    # Going on: what was built is not built again.
    assert cli.main([*order, "--json", str(figures)]) == 0
    assert json.loads(figures.read_text())["build_s"] == held["build_s"]
    text = page(tmp_path)
    assert "| 400 | 16 | flat | 1.000 |" in text
    assert "1M and 10M places: not measured here." in text
    assert text.count(NOT_MEASURED) == len(SECTIONS) - 1


def test_bad_arguments_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order = ["bench", "index", "--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert cli.main([*order, "--places", "5"]) == 2
    assert "--places: must be in 100..100000000, got 5" in capsys.readouterr().err
    assert cli.main([*order, "--places", "500", "--kind", "ivf"]) == 2
    assert "up to 30000 places are searched exactly, got ivf" in capsys.readouterr().err
    (tmp_path / "growth.json").write_text("{")
    with pytest.raises(PageError, match=r"growth\.json: cannot be read"):
        page(tmp_path)
    (tmp_path / "growth.json").write_text('{"stages": [{}]}')
    with pytest.raises(PageError, match=r"growth\.json: not the figures of 'Cost as work grows'"):
        page(tmp_path)


def test_figures_stand_under_their_names_where_methods_have_different_ones(tmp_path: Path) -> None:
    ours, theirs = {"ms": 20.0, "gflop": 0.6}, {"ms": 30.0, "difference": 1e-6}
    (tmp_path / "sparse.json").write_text(json.dumps({"voxels": {"1000": {"torch": ours, "minkowski": theirs}}}))
    scans = {"r_0_5": 0.8, "auroc": 0.9}
    laser = {"fr079": scans, "pooled": scans, "likelihood_field_alone": {"pooled": {"r_0_5": 0.6, "auroc": None}}}
    (tmp_path / "laser2d.json").write_text(json.dumps({**laser, "note": "real scans", "every": 1}))
    stages = {"encode": {"p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0}}
    whole = {"p50": 10.0, "p95": 20.0, "p99": 30.0}
    latency = {"sensor_to_result_ms": whole, "ros_over_core": 1.5, "cores": 1.1, "dropped": {}, "stages": stages}
    (tmp_path / "latency.json").write_text(json.dumps(latency))
    text = page(tmp_path)
    assert "| voxels | backend | ms | gflop | difference |" in text
    assert "| 1,000 | torch | 20 | 0.6 |  |" in text and "| 1,000 | minkowski | 30 |  | 1e-06 |" in text
    assert "| fr079 | crossover | 0.8 | 0.9 |" in text and "| pooled | likelihood field alone | 0.6 |  |" in text
    assert "Real scans." in text and "dropped nothing." in text
