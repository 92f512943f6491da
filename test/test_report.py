"""The report of a planted run: its parts, and what a real browser makes of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import DESKTOP, PHONE, browser, needs_browser
from planted import PlantedPlace, asymmetric_plan, other_plan, scan

from crossover_models.estimate import (
    FailureCategory,
    Hypothesis,
    LevelKey,
    LocalizationEstimate,
    LocalizationState,
    RankedPlace,
    RelocalizeCode,
    RelocalizeResponse,
    Retrieval,
)
from crossover_models.evaluation.events import ABSTAINED, DIVERGED, FALSE_FIX, NO_POSE, event_summary, events
from crossover_models.evaluation.evidence import Evidence
from crossover_models.evaluation.judgement import Judgement, judge
from crossover_models.evaluation.metrics import DEFINITIONS, metrics
from crossover_models.evaluation.report import shown, verdict, write_json, write_report
from crossover_models.evaluation.results import write_estimated, write_trajectories
from crossover_models.evaluation.run_record import EstimateEvent, RelocalizeEvent, RunInfo, RunRecord
from crossover_models.evaluation.trajectory import Trajectory, read_tum, write_tum
from crossover_models.floor_plan import FloorPlan
from crossover_models.observation import Modality

S = 10**9
GROUND, UPPER = LevelKey("house", "L1"), LevelKey("house", "L2")
PLANS: dict[LevelKey, FloorPlan] = {GROUND: asymmetric_plan(), UPPER: other_plan()}


def place(level: LevelKey, place_id: str, name: str, x0: float, y0: float, x1: float, y1: float) -> PlantedPlace:
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=float)
    return PlantedPlace(level, place_id, name, name.split()[0].lower(), corners)


PLACES = (
    place(GROUND, "g1", "Office 1.01", 0, 0, 5, 4),
    place(GROUND, "g2", "Kitchen 1.02", 5, 0, 11.5, 4),
    place(GROUND, "g3", "Store 1.03", 11.5, 0, 14, 4),
    place(GROUND, "g4", "Corridor 1", 0, 4, 14, 6),
    place(GROUND, "g5", "Meeting 1.04", 0, 6, 9, 10),
    place(GROUND, "g6", "Lab 1.05", 9, 6, 14, 10),
    place(UPPER, "u1", "Library 2.01", 0, 0, 7.5, 5),
    place(UPPER, "u2", "Studio <2.02> & hall", 0, 5, 7.5, 12),
)


def planted_run(seed: int = 0, fixed: bool = True) -> Judgement:
    """80 s through the ground floor: a false fix on the upper level, then a right one, a call of relocalize."""
    rng = np.random.default_rng(seed)
    corners = np.array([[2.5, 1.2], [3.5, 3.0], [3.5, 5.0], [9.5, 5.0], [9.5, 2.5], [7.0, 1.5], [9.5, 3.0], [9.5, 5.0]])
    corners = np.vstack([corners, [[6.5, 5.0], [6.5, 8.0], [3.0, 8.5]]])
    lengths = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
    time_s = np.arange(0, 80.05, 0.05)
    along = time_s / 80 * lengths[-1]
    x, y = (np.interp(along, lengths, corners[:, k]) for k in range(2))
    yaw = np.arctan2(np.gradient(y), np.gradient(x))
    truth = Trajectory((time_s * S).astype(np.int64), np.stack([x, y, yaw], axis=1)).on_level(GROUND)
    estimates, retrievals = [], []
    for t in np.arange(0.0, 80.0, 0.4):
        found = truth.at(round(t * S))
        assert found is not None
        pose = found[1]
        state, likely = LocalizationState.INITIALIZING, min(0.2 + t / 20, 0.97)
        true = Hypothesis(GROUND, pose + rng.normal(0, 0.04, 3), 0.01 * np.eye(3), likely, place_id=at(GROUND, pose))
        mirrored = np.array([7.0 - 0.3 * pose[0], 11.5 - pose[1], pose[2] + 2.0])
        rival = Hypothesis(UPPER, mirrored, 0.02 * np.eye(3), 0.7 * (1 - likely), place_id=at(UPPER, mirrored))
        hypotheses = (true, rival)
        if 6 <= t < 9:
            hypotheses = (replace(rival, probability=0.91), replace(true, probability=0.05))
            state = LocalizationState.LOCALIZED
        elif 9 <= t < 13:
            state = LocalizationState.LOST
        elif t >= 13 and fixed:
            state = LocalizationState.LOCALIZED
        unknown = 1 - sum(h.probability for h in hypotheses) - 0.01
        estimates.append(
            EstimateEvent(
                LocalizationEstimate(round(t * S), state, FailureCategory.HEALTHY, "", hypotheses, unknown),
                float(rng.lognormal(-2.6, 0.35)),
            )
        )
        for modality, skill in ((Modality.POINT_CLOUD, 0.6), (Modality.IMAGE, 0.3)):
            order = [PLACES[k] for k in rng.permutation(len(PLACES))]
            if rng.random() < skill:
                order.sort(key=lambda p: p.place_id != at(GROUND, pose))
            ranked = tuple(RankedPlace(p.key, p.place_id, p.name, p.category, 0.5, 0.3, (0.0, 0.0)) for p in order[:6])
            retrievals.append(Retrieval(round(t * S), modality, ranked, bool(rng.random() < 0.3)))
    found = truth.at(40 * S)
    assert found is not None
    answer = RelocalizeResponse(
        RelocalizeCode.OK,
        "one pose explains 0.94 of the returns",
        (
            Hypothesis(GROUND, found[1] + 0.03, np.eye(3), 0.95, place_id="g2", place_name="Kitchen 1.02"),
            Hypothesis(UPPER, np.array([3.0, 3.0, 1.0]), np.eye(3), 0.03, place_id="u1", place_name="Library 2.01"),
        ),
    )
    info = RunInfo("Planted run <1> & more", "nodes", True, "5f0c91d7e2", "aa17bc09", 0, 80 * S)
    calls = (RelocalizeEvent(40 * S, 0.41, False, answer),)
    return judge(RunRecord(info, tuple(estimates), tuple(retrievals), calls, 96.4), truth, PLACES)


def at(level: LevelKey, pose: np.ndarray) -> str:
    """Place of the planted map at a pose."""
    for p in PLACES:
        low, high = p.polygon[0], p.polygon[2]
        if p.key == level and (low <= pose[:2]).all() and (pose[:2] <= high).all():
            return p.place_id
    return ""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    judgement = planted_run()
    write_report(path, judgement, metrics(judgement), PLANS, (("Seed", "7"),), evidence_of(judgement))
    return path


def test_the_page_needs_nothing_else_and_escapes_names(page: Path) -> None:
    text = page.read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
    assert "http://" not in re.sub(r"base64,[^\"]*", "", text)
    assert "https://" not in re.sub(r"base64,[^\"]*", "", text)
    assert "url(" not in text
    assert "simulated sensor data" in text
    assert "Planted run &lt;1&gt; &amp; more" in text
    assert "<1>" not in text


def test_the_page_holds_every_figure_and_its_meaning(page: Path) -> None:
    text = page.read_text()
    for key, (_, definition) in DEFINITIONS.items():
        assert f"<code>{key}</code>" in text
        assert definition.replace("'", "&#x27;") in text
    embedded = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    assert embedded is not None
    figures = json.loads(embedded[1])
    assert figures["false_fixes"] == 1
    assert figures["time_to_fix_s"] == pytest.approx(13.2, abs=0.5)
    # Two levels (one by a false fix), belief, retrieval, error, latency.
    assert text.count('<img class="plot"') == 6


def test_the_same_run_gives_the_same_bytes(page: Path, tmp_path: Path) -> None:
    judgement = planted_run()
    write_report(
        tmp_path / "again.html", judgement, metrics(judgement), PLANS, (("Seed", "7"),), evidence_of(judgement)
    )
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_a_run_without_any_event_is_reported_as_a_failure_not_an_error(tmp_path: Path) -> None:
    judgement = planted_run()
    empty = judge(RunRecord(judgement.record.info), judgement.truth, PLACES)
    figures = metrics(empty)
    write_report(tmp_path / "empty.html", empty, figures, PLANS)
    write_json(tmp_path / "empty.json", figures)
    assert "never found itself" in (tmp_path / "empty.html").read_text()
    assert json.loads((tmp_path / "empty.json").read_text())["time_to_fix_s"] is None


def test_the_verdict_says_what_happened() -> None:
    assert "never found itself" not in verdict(metrics(planted_run()))
    assert "1 false fix" in verdict(metrics(planted_run()))
    assert shown("time_to_fix_s", None) == "-"
    assert shown("place_accuracy", 0.914) == "91.4 %"
    assert shown("latency_ms_p50", 81.4) == "81 ms"
    assert shown("pose_error_deg_median", 0.514) == "0.51°"


def test_every_abstention_and_false_fix_is_an_event_of_its_kind() -> None:
    judgement = planted_run()
    found = events(judgement)
    poses = [(e.kind, round(e.stamp_ns * 1e-9, 1), round(e.end_ns * 1e-9, 1)) for e in found if e.kind != ABSTAINED]
    assert poses == [(NO_POSE, 0.0, 5.6), (FALSE_FIX, 6.0, 8.8), (NO_POSE, 9.2, 12.8)]
    assert [e.wrong for e in found if e.kind != ABSTAINED] == [False, True, False]
    abstained = [r for r in judgement.retrievals if r.retrieval.abstained]
    assert sum(e.count for e in found if e.kind == ABSTAINED) == len(abstained) > 20
    assert [e.stamp_ns for e in found] == sorted(e.stamp_ns for e in found)
    summary = event_summary(next(e for e in found if e.wrong), judgement)
    assert (summary["kind"], summary["from_s"], summary["count"]) == ("false fix", 6.0, 8)
    assert summary["true_place"].startswith("g") and not summary["place"].startswith("g")


def test_a_pose_that_turns_wrong_while_announced_is_told_from_a_false_fix() -> None:
    judgement = planted_run()
    late = [j for j in judgement.estimates if j.event.estimate.stamp_ns >= 13 * S]
    moved = replace(late[10], error_m=4.0)
    run = replace(judgement, estimates=(*late[:10], moved, *late[11:]), retrievals=())
    assert [(e.kind, e.count) for e in events(run)] == [(DIVERGED, 1)]
    assert events(replace(run, estimates=tuple(late))) == ()


def evidence_of(judgement: Judgement) -> dict[int, Evidence]:
    """Something to see at every event."""
    frame = np.full((48, 64, 3), 90, dtype=np.uint8)
    seen = scan(PLANS[GROUND], np.array([2.5, 1.2, 0.0]), seed=0)
    cloud = np.c_[seen.points, np.ones(len(seen.points))].astype(np.float32)
    return {e.stamp_ns: Evidence(e.stamp_ns, frame, 0.1, cloud, seen) for e in events(judgement)}


def test_each_event_comes_with_frame_cloud_and_plan_and_says_when_there_is_none(page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    judgement = planted_run()
    cards = text.split('<article class="event')[1:]
    assert len(cards) == len(events(judgement))
    for event, card in zip(sorted(events(judgement), key=lambda e: e.kind == ABSTAINED), cards, strict=True):
        assert "data:image/jpeg" in card and "cloud from above" in card
        assert card.count("data:image/png") >= 2
        assert card.startswith(" bad") == event.wrong
    assert "Announced" in cards[1] and "really in" in cards[1]
    write_report(tmp_path / "bare.html", judgement, metrics(judgement), PLANS)
    assert (tmp_path / "bare.html").read_text().count("were not kept") == len(cards)


@needs_browser
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_a_real_browser_shows_every_picture_without_an_error_or_sideways_scrolling(
    page: Path, tmp_path: Path, width: int
) -> None:
    with browser(tmp_path) as running:
        tab = running.page(width)
        tab.open(page.as_uri())
        assert tab.evaluate("document.querySelector('h1').textContent") == "Planted run <1> & more"
        tab.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        decoded = "[...document.images].map((i) => { i.loading = 'eager'; return i.decode(); })"
        shown = tab.evaluate(
            f"Promise.all({decoded}).then(() => [...document.images].map((i) => "
            "[i.className, i.naturalWidth, i.getBoundingClientRect().width]))"
        )
        plots = [(natural, wide) for name, natural, wide in shown if name == "plot"]
        pictures = [(natural, wide) for name, natural, wide in shown if name != "plot"]
        assert len(plots) == 6 and all(natural > 0 and wide > 250 for natural, wide in plots)
        assert len(pictures) > 3 * len(events(planted_run())) and all(n > 0 and w > 80 for n, w in pictures)
        assert tab.sideways_px() <= 0
        assert tab.errors == []


def test_each_level_of_a_run_on_several_has_trajectories_of_its_own(tmp_path: Path) -> None:
    judgement = planted_run()
    paths = [path.name for path in write_trajectories(tmp_path, judgement)]
    frames = ("map_house_L1", "map_house_L2")
    assert paths == ["estimated.tum", "true.tum", *(f"{n}.{f}.tum" for f in frames for n in ("estimated", "true"))]
    whole = read_tum(tmp_path / "estimated.tum")
    parts = [read_tum(tmp_path / f"estimated.{frame}.tum") for frame in frames]
    assert sorted(np.concatenate([part.stamps_ns for part in parts])) == whole.stamps_ns.tolist()
    assert parts[1].stamps_ns[[0, -1]].tolist() == [6 * S, round(8.8 * S)]
    assert (tmp_path / "true.map_house_L2.tum").read_text() == ""
    one = replace(judgement, record=replace(judgement.record, estimates=()))
    assert len(write_trajectories(tmp_path, one)) == 2


def test_evo_reads_the_trajectories_and_agrees_on_the_error(tmp_path: Path) -> None:
    file_interface = pytest.importorskip("evo.tools.file_interface", reason="SKIPPED: evo is not installed")
    from evo.core import metrics as evo_metrics
    from evo.core import sync

    judgement = planted_run()
    write_estimated(tmp_path / "estimated.tum", judgement.record)
    write_tum(tmp_path / "true.tum", judgement.truth.stamps_ns, judgement.truth.T_map_base)
    true, estimated = (
        file_interface.read_tum_trajectory_file(str(tmp_path / f"{name}.tum")) for name in ("true", "estimated")
    )
    error = evo_metrics.APE(evo_metrics.PoseRelation.translation_part)
    error.process_data(sync.associate_trajectories(true, estimated, max_diff=0.02))
    ours = [j.error_m for j in judgement.estimates if j.localized and np.isfinite(j.error_m)]
    assert np.median(error.error) == pytest.approx(np.median(ours), abs=0.02)
