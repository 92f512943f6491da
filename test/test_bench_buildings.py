"""The known-building benchmark: planted answers with known figures, localizers that fail, and runs that are resumed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted_building import HashEncoder, full_building
from rosbags.rosbag2 import StoragePlugin, Writer

import crossover_models.encoders
from crossover_models.estimate import LevelKey
from crossover_models.evaluation.buildings import answers as answer_files
from crossover_models.evaluation.buildings.answers import PLACES, TRAJECTORY, Answer, AnswersError, read_answers
from crossover_models.evaluation.buildings.beside import Event, TrueRun
from crossover_models.evaluation.buildings.cases import (
    CASES,
    DEFAULT_BUILDINGS,
    FIRST_SEED,
    CaseError,
    PlannedRun,
    parse_building,
    plan_runs,
)
from crossover_models.evaluation.buildings.intervals import bootstrap, quantile
from crossover_models.evaluation.buildings.judged import Cost, JudgedRun, judge_run
from crossover_models.evaluation.buildings.peers import BUILT_IN, Peer, PeerError, answer_with
from crossover_models.evaluation.buildings.recordings import Recording, Unfit, read_true_run
from crossover_models.evaluation.buildings.runner import results, run_benchmark
from crossover_models.evaluation.buildings.summary import (
    SUMMARY_KEYS,
    TWO_SIGMA_RADIUS,
    auroc,
    auroc_by_own_word,
    figures,
    plain,
    pooled,
    top1_over_time,
)
from crossover_models.evaluation.laser2d import auroc as plain_auroc
from crossover_models.evaluation.trajectory import Trajectory, write_tum
from crossover_models.map_database.build import build_database
from crossover_models.map_database.store import PlaceRecord

A, B = LevelKey("house", "L1"), LevelKey("house", "L2")
START = 100 * 10**9


def room(key: LevelKey, name: str, x: float) -> PlaceRecord:
    outline = np.array([[x, -5.0], [x + 10.0, -5.0], [x + 10.0, 5.0], [x, 5.0]])
    return PlaceRecord(key, name, name, "", outline, ())


# Two rooms side by side on each level: west is x < 10, east is x > 10.
ROOMS = (room(A, "west", 0.0), room(A, "east", 10.0), room(B, "west2", 0.0), room(B, "east2", 10.0))
KNOWN = [(place.key, place.place_id) for place in ROOMS]


def true_run(
    seconds: float = 30.0, kidnap_s: float | None = None, lift_s: float | None = None, speed: float = 0.5
) -> TrueRun:
    """Straight ahead from (1, 0) at 0.5 m/s, poses at 20 Hz; a kidnapping goes back to (1, 2), a lift to level 2."""
    time_s = np.arange(round(seconds * 20) + 1) / 20.0
    poses = np.stack([1.0 + speed * time_s, 0.0 * time_s, 0.0 * time_s], axis=1)
    levels = [A] * len(time_s)
    events = []
    if kidnap_s is not None:
        after = time_s >= kidnap_s
        poses[after] = np.stack(
            [1.0 + speed * (time_s[after] - kidnap_s), 2.0 + 0 * time_s[after], 0 * time_s[after]], 1
        )
        events.append(Event("kidnap", START + round(kidnap_s * 1e9)))
    if lift_s is not None:
        levels = [B if t >= lift_s else A for t in time_s]
        events.append(Event("lift", START + round(lift_s * 1e9)))
    stamps = START + np.round(time_s * 1e9).astype(np.int64)
    return TrueRun(Trajectory(stamps, poses, tuple(levels)), tuple(events))


def place_at(level: LevelKey, x: float) -> str:
    return ("west" if x <= 10.0 else "east") + ("2" if level == B else "")


def answer(
    time_s: float,
    pose: Sequence[float] | None,
    level: LevelKey | None = A,
    place: str | None = None,
    probability: float | None = 0.9,
    announced: bool = True,
    sigma: Sequence[float] | None = None,
) -> Answer:
    at = None if pose is None else np.array(pose, dtype=float)
    covariance = None if sigma is None else np.diag(np.square(np.array(sigma, dtype=float)))
    name = place if place is not None else "" if level is None or at is None else place_at(level, at[0])
    return Answer(START + round(time_s * 1e9), announced, level, name, probability, at, covariance)


def following(
    run: TrueRun, from_s: float, to_s: float, off: Sequence[float] = (0.0, 0.0, 0.0), **changes: object
) -> list[Answer]:
    """Announced answers every 0.2 s, off the truth by [m, m, deg]."""
    out = []
    for time_s in np.arange(from_s, to_s - 1e-9, 0.2):
        found = run.trajectory.at(START + round(float(time_s) * 1e9))
        assert found is not None and found[0] is not None
        pose = found[1] + np.array([off[0], off[1], np.radians(off[2])])
        level = changes.get("level", found[0])
        values = {"place": place_at(found[0], found[1][0]), **changes, "level": level}
        out.append(answer(float(time_s), pose, **values))  # type: ignore[arg-type]
    return out


def judged(run: TrueRun, answers: Sequence[Answer], case: str = "nominal", **changes: object) -> JudgedRun:
    return judge_run("r", case, "house", run, answers, ROOMS, **changes)  # type: ignore[arg-type]


def test_a_planted_run_has_the_figures_that_can_be_worked_out_by_hand() -> None:
    run = true_run()
    # Silent for 4 s (2 m), then right, 0.06 m ahead and 0.08 m to the left: 0.1 m, and 1 deg.
    found = judged(
        run, following(run, 4.0, 30.0, (0.06, 0.08, 1.0), sigma=(0.05, 0.05, 0.02)), cost=Cost(6.0, 7.0, 80.0)
    )
    f = figures([found])
    assert f["cold_start_success"] == 1.0
    assert f["seconds_to_fix_median"] == pytest.approx(4.0)
    assert f["metres_to_fix_median"] == pytest.approx(2.0, abs=1e-6)
    assert f["false_fixes"] == 0
    assert f["error_m_median"] == pytest.approx(0.1) and f["error_deg_median"] == pytest.approx(1.0)
    # 151 instants at 0, 0.2 ... 30 s, of which those before 4 s have no answer.
    assert f["abstained"] == pytest.approx(20 / 151)
    assert f["place_top1"] == f["place_top1_announced"] == pytest.approx(131 / 151)
    # sqrt(0.06^2 + 0.08^2) / 0.05 = 2.0 standard deviations lie within 2.49; 1 deg is 0.87 of 0.02 rad.
    assert found.mahalanobis[-1] == pytest.approx(2.0) and f["coverage_2sigma"] == 1.0
    assert f["coverage_heading_2sigma"] == 1.0
    assert f["ellipse_major_m"] == f["ellipse_minor_m"] == pytest.approx(0.05 * TWO_SIGMA_RADIUS)
    assert f["cpu_s"] == 6.0 and f["cpu_per_s"] == pytest.approx(0.2) and f["peak_mb"] == 80.0
    assert f["auroc"] is None and f["kidnap_recovery"] is None and f["abstain_or_right_on_twins"] is None


def test_two_sigma_is_the_region_that_holds_95_percent_of_a_true_covariance() -> None:
    rng = np.random.default_rng(0)
    run = true_run(400.0, speed=0.04)
    answers = following(run, 0.0, 400.0, sigma=(0.1, 0.03, 0.05))
    noisy = [
        replace(a, T_map_base=a.T_map_base + rng.normal(0.0, [0.1, 0.03, 0.05]))
        for a in answers
        if a.T_map_base is not None
    ]
    f = figures([judged(run, noisy)])
    assert f["coverage_2sigma"] == pytest.approx(0.9545, abs=0.015)
    assert f["coverage_heading_2sigma"] == pytest.approx(0.9545, abs=0.015)


def test_a_cold_start_needs_the_right_pose_held_and_within_ten_metres() -> None:
    run = true_run(40.0)
    cases: dict[str, tuple[list[Answer], float]] = {
        "right": (following(run, 4.0, 20.0), 1.0),
        "too far off": (following(run, 4.0, 40.0, (0.26, 0.0, 0.0)), 0.0),
        "just near enough": (following(run, 4.0, 40.0, (0.24, 0.0, 4.9)), 1.0),
        "turned too far": (following(run, 4.0, 40.0, (0.0, 0.0, 5.1)), 0.0),
        "wrong level": (following(run, 4.0, 40.0, level=B, place="west2"), 0.0),
        "wrong place": (following(run, 4.0, 18.0, place="east"), 0.0),
        "after 10.1 m": (following(run, 20.2, 40.0), 0.0),
        "at 9.9 m": (following(run, 19.8, 40.0), 1.0),
        "for 0.6 s only": ([*following(run, 4.0, 4.7), answer(4.8, (50.0, 0, 0), place="")], 0.0),
        "never announced": (following(run, 4.0, 40.0, announced=False), 0.0),
    }
    for name, (answers, expected) in cases.items():
        assert figures([judged(run, answers)])["cold_start_success"] == expected, name


def test_what_never_happened_has_no_figure_and_stays_in_every_denominator() -> None:
    run = true_run()
    good = judged(run, following(run, 4.0, 30.0))
    never = judged(run, [])
    failed = judged(run, [], failure="exit status 1")
    f = plain(figures([good, never, failed]))
    assert f["cold_start_success"] == pytest.approx(1 / 3) and f["runs"] == 3 and f["failed_runs"] == 1
    assert f["metres_to_fix_median"] is None, "two of three never found themselves: the median one did not"
    assert plain(figures([good, good, failed]))["metres_to_fix_median"] == pytest.approx(2.0, abs=1e-6)
    empty = plain(figures([never]))
    for key in ("error_m_median", "error_deg_median", "coverage_2sigma", "auroc", "cpu_s", "peak_mb"):
        assert empty[key] is None, key
    json.dumps(empty, allow_nan=False)
    assert figures([])["cold_start_success"] is None


def test_a_wrong_level_is_infinitely_far() -> None:
    run = true_run()
    f = figures([judged(run, following(run, 0.0, 30.0, level=B, place="west2", sigma=(9.0, 9.0, 9.0)))])
    assert f["error_m_median"] == np.inf and plain(f)["error_m_median"] is None
    assert f["coverage_2sigma"] == 0.0, "an ellipse on another level covers nothing, however large"
    assert f["false_fixes"] == 1 and f["place_top1"] == 0.0


def test_false_fixes_are_counted_once_each_by_announcement_jump_or_drift() -> None:
    run = true_run()
    right = lambda a, b: following(run, a, b)  # noqa: E731
    wrong = lambda a, b: following(run, a, b, (0.0, 1.5, 0.0))  # noqa: E731
    assert figures([judged(run, right(0, 30))])["false_fixes"] == 0
    assert figures([judged(run, wrong(0, 30))])["false_fixes"] == 1
    assert figures([judged(run, right(0, 10) + wrong(10, 20) + right(20, 30))])["false_fixes"] == 1
    twice = [*wrong(0, 5), answer(5.0, None, None, announced=False), *wrong(5.2, 10)]
    assert figures([judged(run, twice)])["false_fixes"] == 2
    elsewhere = following(run, 10, 20, (0.0, -4.0, 0.0))
    assert figures([judged(run, wrong(0, 10) + elsewhere + wrong(20, 30))])["false_fixes"] == 3
    assert figures([judged(run, wrong(0, 10) + following(run, 10, 20, level=B, place="west2"))])["false_fixes"] == 2
    places = [answer(t, None, A, "east" if t < 5 else "west") for t in range(10)]
    assert figures([judged(run, [*places, answer(10.0, None, A, "east")])])["false_fixes"] == 2
    assert figures([judged(run, following(run, 0, 30, (0.0, 0.9, 29.0)))])["false_fixes"] == 0
    assert figures([judged(run, following(run, 0, 30, (0.0, 0.0, 31.0)))])["false_fixes"] == 1
    assert judged(run, right(0, 10) + wrong(10, 20)).false_fixes_s == (10.0,)


def test_kidnapping_counts_from_the_moment_and_a_belief_that_goes_on_is_forgiven_for_ten_seconds() -> None:
    run = true_run(40.0, kidnap_s=20.0)
    before, after = following(run, 2.0, 20.0), following(run, 24.0, 40.0)
    went_on = [answer(t, (11.0 + 0.5 * (t - 20.0), 0.0, 0.0)) for t in np.arange(20.0, 24.0, 0.2)]
    found = judged(run, before + went_on + after, "kidnap")
    assert [r.kind for r in found.recoveries] == ["kidnap"]
    assert found.recoveries[0].after_s == pytest.approx(4.0)
    assert figures([found])["kidnap_recovery"] == 1.0 and found.false_fixes_s == ()
    # The way of 20 s before and 20 s after, not the carrying.
    assert found.travelled_m[-1] == pytest.approx(20.0, abs=0.06)
    late = judged(run, before + following(run, 30.4, 40.0), "kidnap")
    assert figures([late])["kidnap_recovery"] == 0.0 and late.recoveries[0].after_s == pytest.approx(10.4)
    stubborn = [answer(t, (11.0 + 0.5 * (t - 20.0), 0.0, 0.0)) for t in np.arange(20.0, 39.9, 0.2)]
    assert len(judged(run, before + stubborn, "kidnap").false_fixes_s) == 1
    assert figures([judged(run, before + stubborn, "kidnap")])["kidnap_recovery"] == 0.0
    # A localizer that first announces after the kidnapping recovered, but had no cold start.
    f = figures([judged(run, after, "kidnap")])
    assert f["kidnap_recovery"] == 1.0 and f["cold_start_success"] == 0.0
    early = true_run(40.0, kidnap_s=10.0)
    assert figures([judged(early, following(early, 14.0, 40.0), "kidnap")])["cold_start_success"] == 0.0, (
        "7 m, but after"
    )
    # A failed run recovered from nothing.
    assert figures([found, judged(run, [], "kidnap", failure="x")])["kidnap_recovery"] == 0.5


def test_a_lift_ride_is_recovered_from_on_the_other_level() -> None:
    run = true_run(40.0, lift_s=20.0)
    found = judged(run, following(run, 2.0, 20.0) + following(run, 22.0, 40.0), "lift")
    assert figures([found])["lift_recovery"] == 1.0 and figures([found])["kidnap_recovery"] is None
    assert found.recoveries[0].after_s == pytest.approx(2.0)
    never_arrived = TrueRun(true_run(40.0).trajectory, (Event("lift", START + 20 * 10**9),))
    assert judged(never_arrived, [], "lift").recoveries == (), "the run was over before the ride"
    late = true_run(30.0, lift_s=20.0)
    assert judged(late, following(late, 2.0, 20.0), "lift").recoveries == (), "10 s are no time to recover and hold it"
    stays = following(run, 2.0, 20.0) + following(run, 20.0, 40.0, level=A, place="")
    assert figures([judged(run, stays, "lift")])["lift_recovery"] == 0.0


def test_among_twins_abstaining_is_right_and_a_failed_run_is_not() -> None:
    run = true_run()
    silent, right = judged(run, [], "twins"), judged(run, following(run, 0.0, 30.2), "twins")
    wrong = judged(run, following(run, 15.0, 30.2, level=B, place="west2"), "twins")
    failed = judged(run, [], "twins", failure="timed out after 1 s")
    assert figures([silent])["abstain_or_right_on_twins"] == 1.0
    assert figures([right])["abstain_or_right_on_twins"] == 1.0
    assert figures([wrong])["abstain_or_right_on_twins"] == pytest.approx(75 / 151)
    assert figures([silent, failed])["abstain_or_right_on_twins"] == 0.5
    assert figures([judged(run, [], "nominal")])["abstain_or_right_on_twins"] is None


def test_falling_silent_is_no_answer_after_two_seconds() -> None:
    run = true_run()
    found = judged(run, following(run, 0.0, 10.1))
    assert found.guessed[:61].all() and not found.guessed[61:].any(), "10 s of answers, and 2 s that they last"
    assert judged(run, following(run, 0.0, 10.1), "twins").right.sum() == 61


def test_place_top1_counts_guesses_and_announcements_apart_and_over_time() -> None:
    run = true_run(20.0)
    guesses = following(run, 0.0, 10.0, announced=False)
    found = judged(run, guesses + following(run, 10.0, 20.1))
    f = figures([found])
    assert f["place_top1"] == 1.0 and f["place_top1_announced"] == pytest.approx(51 / 101)
    bins = top1_over_time([found])
    assert [b["from_s"] for b in bins] == [0.0, 5.0, 10.0, 15.0, 20.0]
    assert [b["place_top1_announced"] for b in bins] == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert [b["instants"] for b in bins] == [25, 25, 25, 25, 1]


def test_outside_of_all_places_it_is_right_to_name_none() -> None:
    run = true_run(seconds=30.0, speed=1.0)
    nowhere, somewhere = (following(run, 25.0, 30.0, place=place) for place in ("", "east"))
    assert not judged(run, nowhere).in_place[-1]
    assert judged(run, nowhere).answer_right[-1] and not judged(run, somewhere).answer_right[-1]
    assert not judged(run, following(run, 2.0, 8.0, place="")).answer_right[20]


def test_auroc_by_own_word_is_what_calibrated_answers_reach() -> None:
    rng = np.random.default_rng(4)
    probability = np.round(rng.uniform(0.0, 1.0, 40_000), 2)  # With ties.
    right = rng.uniform(size=len(probability)) < probability
    reached = auroc(probability, right)
    assert reached is not None
    assert auroc_by_own_word(probability) == pytest.approx(reached, abs=0.01)
    assert auroc_by_own_word(np.full(9, 0.5)) == 0.5  # Who always says one half ranks nothing.
    assert auroc_by_own_word(np.ones(9)) is None and auroc_by_own_word(np.zeros(0)) is None


def test_auroc_equals_counting_pairs() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        value, right = rng.integers(0, 8, 60) / 7.0, rng.random(60) < 0.4
        assert auroc(value, right) == pytest.approx(plain_auroc(value[right], value[~right]))
    assert auroc(np.array([0.2, 0.9]), np.array([True, True])) is None
    run = true_run(20.0)
    sure = following(run, 0.0, 10.0, probability=0.9) + following(run, 10.0, 20.1, probability=0.4, place="east")
    assert figures([judged(run, sure)])["auroc"] == pytest.approx(1.0, abs=0.2)
    # The first 18 s are in the west: naming the east there is wrong whatever the pose.
    found = judged(run, sure)
    reference = plain_auroc(found.probability[found.answer_right], found.probability[~found.answer_right])
    assert figures([found])["auroc"] == pytest.approx(reference)
    off = found.probability - found.answer_right
    assert figures([found])["brier"] == pytest.approx(np.nanmean(off**2))


def test_bootstrap_equals_a_plain_loop_and_narrows_with_more_runs() -> None:
    values = np.random.default_rng(5).normal(2.0, 1.0, 40).tolist()

    def mean(drawn: Sequence[float]) -> dict[str, float | None]:
        return {"mean": float(np.mean(drawn)), "never": None, "endless": np.inf if max(drawn) > 2.5 else 1.0}

    found = bootstrap(values, mean, np.random.default_rng(7), resamples=400)
    rng = np.random.default_rng(7)
    draws = [[values[k] for k in row] for row in rng.integers(40, size=(400, 40)).tolist()]
    means = sorted(sum(d) / len(d) for d in draws)
    # The 2.5th percentile of 400 sorted samples is the 10th, the 97.5th the 390th.
    assert found["mean"] == pytest.approx((means[9], means[389]))
    assert found["never"] is None and found["endless"] == (np.inf, np.inf)
    assert bootstrap(values, mean, np.random.default_rng(7), 400) == found
    assert bootstrap(values[:1], mean, np.random.default_rng(7))["mean"] is None
    few = bootstrap(values[:8], mean, np.random.default_rng(7), 400)["mean"]
    assert few is not None and found["mean"] is not None
    assert few[1] - few[0] > found["mean"][1] - found["mean"][0]


def test_quantiles_know_infinity() -> None:
    rng = np.random.default_rng(2)
    for n in range(1, 30):
        values = rng.normal(size=n).tolist()
        assert quantile(values, 0.5) == pytest.approx(np.median(values))
        assert quantile(values, 0.95) in values
    assert quantile([1.0, np.inf, 2.0], 0.5) == 2.0 and quantile([1.0, np.inf], 0.5) == np.inf
    assert quantile([np.inf, np.inf, 1.0, 2.0], 0.975) == np.inf


def test_pooled_cold_starts_leave_out_the_cases_that_allow_none() -> None:
    run = true_run()
    good, twin = judged(run, following(run, 0.0, 30.0)), judged(run, [], "twins")
    cold = [name for name, case in CASES.items() if case.cold_start]
    assert "twins" not in cold and "camera-only" not in cold and "defective-plan" in cold
    f = pooled([good, twin], cold)
    assert f["cold_start_success"] == 1.0 and f["runs"] == 2 and f["abstain_or_right_on_twins"] == 1.0
    assert set(SUMMARY_KEYS) <= set(f)


# -- answers as files ---------------------------------------------------------------


def write_files(folder: Path, lines: Sequence[object], poses: Sequence[tuple[float, float, float, float]] = ()) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / PLACES).write_text("".join(text + "\n" for text in texts))
    write_tum(folder / TRAJECTORY, [round(p[0] * 1e9) for p in poses], np.array([p[1:] for p in poses]).reshape(-1, 3))


def line(stamp_s: float, **changes: object) -> dict[str, object]:
    values: dict[str, object] = {"stamp_s": stamp_s, "state": "LOCALIZED", "building_id": "house", "level_id": "L1"}
    return {**values, "place_id": "west", "probability": 0.5, **changes}


def read(folder: Path) -> tuple[Answer, ...]:
    return read_answers(folder, KNOWN, [A, B], (START, START + 30 * 10**9))


def test_answers_are_read_as_they_are_documented(tmp_path: Path) -> None:
    covariance = [0.04, 0.0, 0.0, 0.01, 0.0, 0.001]
    nothing = {"stamp_s": 100.5, "state": "LOST", "building_id": None, "level_id": None, "place_id": None}
    guess = line(101.5, state="INITIALIZING", level_id="L2", place_id="east2", probability=None)
    write_files(tmp_path, [nothing, line(101.0, covariance=covariance), guess, ""], [(101.0, 1.0, 2.0, 0.5)])
    lost, fix, guessed = read(tmp_path)
    assert lost.level is None and not lost.announced and lost.probability is None
    assert fix.announced and fix.level == A and fix.place_id == "west" and fix.T_map_base is not None
    np.testing.assert_allclose(fix.T_map_base, [1.0, 2.0, 0.5], atol=1e-6)
    np.testing.assert_allclose(fix.covariance, np.diag([0.04, 0.01, 0.001]))
    assert guessed.level == B and guessed.T_map_base is None and not guessed.announced
    write_files(tmp_path, [line(102.0, place_id="")])
    assert read(tmp_path)[0].T_map_base is None, "a place alone may be announced"


BAD_LINES = {
    "not json": ("{", "places.jsonl:1"),
    "nan": ('{"stamp_s": NaN}', "NaN is not JSON"),
    "a list": ([1], "expected an object"),
    "deep": ("[" * 100_000, "places.jsonl:1"),
    "no stamp": ({"state": "LOST"}, "stamp_s"),
    "stamp text": (line(0) | {"stamp_s": "now"}, "stamp_s"),
    "stamp true": (line(0) | {"stamp_s": True}, "stamp_s"),
    "stamp huge": (line(1e300), "stamp_s"),
    "too late": (line(999.0), "outside of the run"),
    "state": (line(101.0, state="FOUND"), "expected one of"),
    "unknown place": (line(101.0, place_id="attic"), "place_id 'attic' is not on level house/L1"),
    "place of another level": (line(101.0, level_id="L2"), "not on level house/L2"),
    "unknown level": (line(101.0, level_id="L9"), "not in the map"),
    "nowhere": (line(101.0, building_id=None, level_id=None, place_id=None), "LOCALIZED without"),
    "place without level": (line(101.0, building_id=None, level_id=None), "without building_id"),
    "number as name": (line(101.0, place_id=7), "expected strings"),
    "probability": (line(101.0, probability=1.2), "expected 0 to 1"),
    "short covariance": (line(101.0, covariance=[1, 2]), "six numbers"),
    "indefinite covariance": (line(101.0, covariance=[1, 2, 0, 1, 0, 1]), "not positive definite"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_garbage_answers_are_refused_with_file_line_and_value(name: str, tmp_path: Path) -> None:
    bad, complaint = BAD_LINES[name]
    write_files(tmp_path, [bad])
    with pytest.raises(AnswersError, match=complaint) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_answers_out_of_order_missing_or_not_matching_are_refused(tmp_path: Path) -> None:
    write_files(tmp_path / "order", [line(102.0), line(101.0)])
    write_files(tmp_path / "pose", [line(101.0, state="LOST")], [(101.0, 0, 0, 0)])
    (tmp_path / "none").mkdir()
    write_files(tmp_path / "binary", [])
    (tmp_path / "binary" / PLACES).write_bytes(b"\xff\xfe\x00")
    write_files(tmp_path / "tum", [line(101.0)])
    (tmp_path / "tum" / TRAJECTORY).write_text("101.0 1 2 3\n")
    for name, complaint in (
        ("order", "does not follow"),
        ("pose", "1 poses, the first at 101.000 s"),
        ("none", "trajectory.txt: not written"),
        ("binary", "places.jsonl"),
        ("tum", "trajectory.txt:1"),
    ):
        with pytest.raises(AnswersError, match=complaint):
            read(tmp_path / name)


def test_files_too_large_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, [line(101.0)])
    monkeypatch.setattr(answer_files, "MAX_BYTES", 20)
    with pytest.raises(AnswersError, match="larger"):
        read(tmp_path)


# -- what is planned ---------------------------------------------------------------


def test_seeds_of_the_benchmark_are_no_ones_training_or_tuning_seeds() -> None:
    seeds = {parse_building(spec).numbers[0] for spec in DEFAULT_BUILDINGS}
    # The data engine numbers its buildings from a million times the seed of the set; those of the first 499 sets.
    last_trained = 500 * 1_000_000 - 1
    assert min(seeds) >= FIRST_SEED > last_trained and not seeds & set(range(101, 113))
    assert len(seeds) == len(DEFAULT_BUILDINGS)
    for spec in ("procedural:101", "procedural:112:2:7", "twins:5"):
        with pytest.raises(CaseError, match="may be one of training"):
            parse_building(spec)


def test_specs_and_plans_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for spec, complaint in (
        ("castle:3", "expected procedural"),
        ("procedural:", "expected procedural"),
        (f"procedural:{FIRST_SEED}:0:7", "LEVELS"),
        (f"procedural:{FIRST_SEED}:2:2", "ROOMS"),
        (f"procedural:{FIRST_SEED}:2:x", "expected procedural"),
        ("procedural:house.yaml", "expected procedural"),
        ("rmf:3", "expected a path"),
        ("ifc:absent.ifc", "no such file"),
    ):
        with pytest.raises(CaseError, match=complaint):
            parse_building(spec)
    house = parse_building(f"procedural:{FIRST_SEED}")
    for cases, runs, complaint in ((["flood"], 1, "unknown; known are nominal"), (["nominal"], 0, "at least 1")):
        with pytest.raises(CaseError, match=complaint):
            plan_runs([house], cases, runs, 0)
    with pytest.raises(CaseError, match="none of them runs"):
        plan_runs([house], ["twins"], 1, 0)
    with pytest.raises(CaseError, match="named twice"):
        plan_runs([house, house], ["nominal"], 1, 0)


def test_a_plan_names_every_run_once_with_a_seed_of_its_own_and_room_to_recover() -> None:
    plan = plan_runs([parse_building(spec) for spec in DEFAULT_BUILDINGS], list(CASES), 2, 0)
    assert len({run.name for run in plan}) == len(plan)
    assert len({run.settings["seed"] for run in plan}) == len(plan)
    assert {run.case.name for run in plan} == set(CASES)
    for run in plan:
        assert (run.case.name == "twins") == run.building.twins
        for moment in ("kidnap_at_s", "lift_at_s"):
            if moment in run.settings:
                assert run.settings["duration_s"] >= run.settings[moment] + 10.0 + 2.0
    assert plan == plan_runs([parse_building(spec) for spec in DEFAULT_BUILDINGS], list(CASES), 2, 0)
    other = plan_runs([parse_building(spec) for spec in DEFAULT_BUILDINGS], list(CASES), 2, 1)
    assert not {r.settings["seed"] for r in plan} & {r.settings["seed"] for r in other}


# -- localizers as processes ---------------------------------------------------------------

TRUTH = true_run(8.0)
RIGHT = """
import json, pathlib, sys
out = pathlib.Path(sys.argv[1])
(out / "trajectory.txt").write_text("".join(
    f"{100 + k / 5:.3f} {k / 10 - 0.4:.3f} 8.5 0 0 0 0.14943813 0.98877108\\n" for k in range(41)))
(out / "places.jsonl").write_text("".join(json.dumps({"stamp_s": 100 + k / 5, "state": "LOCALIZED",
    "building_id": "house", "level_id": "L1", "place_id": "K1", "probability": 0.9}) + "\\n" for k in range(41)))
"""


class Planted:
    """Recordings in a tiny map with a planted truth; counts how often each is asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "house.xmap"
        build_database(full_building(), HashEncoder(), self.database)

    def recording(self, run: PlannedRun) -> Recording:
        if run.case.name == "lift":
            raise Unfit("lift: needs 2 levels with places, house has 1")
        bag, truth = self.root / "bags" / run.name, self.root / "truth" / run.name
        if not bag.exists():
            with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP):
                pass
            text = (bag / "metadata.yaml").read_text()
            lines = [f"    nanoseconds: {8 * 10**9}" if "    nanoseconds:" in one else one for one in text.splitlines()]
            lines = [
                f"    nanoseconds_since_epoch: {START}" if "nanoseconds_since_epoch:" in one else one for one in lines
            ]
            (bag / "metadata.yaml").write_text("\n".join(lines) + "\n")
            truth.mkdir(parents=True)
            time_s = np.arange(161) / 20.0
            poses = np.stack([0.5 * time_s - 0.4, 8.5 + 0 * time_s, 0.3 + 0 * time_s], axis=1)
            write_tum(truth / "ground_truth.txt", START + np.round(time_s * 1e9).astype(np.int64), poses)
            span = {"from_ns": START, "building_id": "house", "level_id": "L1"}
            (truth / "run.json").write_text(json.dumps({"levels": [span], "events": []}))
        return Recording(bag, truth, self.database, 1.0, run.name)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return Planted(tmp_path_factory.mktemp("planted"))


def script(tmp_path: Path, name: str, text: str) -> Peer:
    path = tmp_path / f"{name}.py"
    path.write_text(text)
    return Peer(name, f"{{python}} {path} {{out}} {{bag}} {{database}}")


def planned(*cases: str) -> tuple[PlannedRun, ...]:
    return plan_runs([parse_building(f"procedural:{FIRST_SEED}")], cases or ["nominal"], 1, 0)


def test_localizers_run_side_by_side_and_failures_are_named_and_counted(planted: Planted, tmp_path: Path) -> None:
    peers = [
        script(tmp_path, "right", RIGHT),
        script(tmp_path, "crash", "import sys\nprint('no map frame', file=sys.stderr)\nsys.exit(3)\n"),
        script(tmp_path, "killed", "import os\nos.kill(os.getpid(), 9)\n"),
        script(tmp_path, "garbage", RIGHT.replace('"place_id": "K1"', '"place_id": "Narnia"')),
        script(tmp_path, "silent", "pass\n"),
        Peer("constant", BUILT_IN["constant"]),
        Peer("random-place", BUILT_IN["random-place"]),
    ]
    plan = planned("nominal", "lift")
    found = results(run_benchmark(plan, peers, planted, tmp_path / "out"), plan, peers, 0)
    json.dumps(found, allow_nan=False)
    assert found["summary"] == found["localizers"]["right"]["summary"] and set(found["summary"]) == set(SUMMARY_KEYS)
    assert found["summary"]["cold_start_success"] == 1.0
    reasons = {name: [f["reason"] for f in facts["failed"]] for name, facts in found["localizers"].items()}
    assert reasons["right"] == reasons["constant"] == reasons["random-place"] == []
    assert reasons["crash"] == ["exit status 3: no map frame"]
    assert reasons["killed"][0].startswith(("exit status 137", "killed by signal 9"))
    assert "Narnia" in reasons["garbage"][0] and "not written" in reasons["silent"][0]
    for name in ("crash", "killed", "garbage", "silent", "constant"):
        summary = found["localizers"][name]["summary"]
        assert summary["runs"] == 1 and summary["cold_start_success"] == 0.0 and summary["error_m_median"] is None
    assert [s["reason"] for s in found["skipped"]] == ["lift: needs 2 levels with places, house has 1"]
    blind = found["localizers"]["random-place"]["figures"]
    assert blind["abstained"] < 0.2 and blind["cold_start_success"] == 0.0
    assert found["localizers"]["constant"]["figures"]["abstained"] == 1.0
    for facts in found["localizers"].values():
        assert facts["figures"]["cpu_s"] > 0.0 and 1.0 < facts["figures"]["peak_mb"] < 4000.0
    assert found["localizers"]["right"]["cases"]["nominal"]["place_top1_over_time"][0]["place_top1"] is not None


def test_a_localizer_that_takes_too_long_is_stopped_with_its_children(planted: Planted, tmp_path: Path) -> None:
    marker = tmp_path / "survived"
    text = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time, pathlib; time.sleep(2.0); pathlib.Path({str(marker)!r}).touch()"])
time.sleep(60)
"""
    outcome = answer_with(
        script(tmp_path, "slow", text), planted.root, planted.database, tmp_path / "answers", timeout_s=1.0
    )
    assert outcome.failure == "timed out after 1 s" and outcome.cost.wall_s < 30.0
    leaves = text.replace("time.sleep(60)", "")
    outcome = answer_with(
        script(tmp_path, "fast", leaves), planted.root, planted.database, tmp_path / "b", timeout_s=60.0
    )
    assert outcome.failure == "" and outcome.cost.wall_s < 2.0
    time.sleep(3.0)
    assert not marker.exists()


def test_memory_is_that_of_the_localizer_and_not_of_the_benchmark(planted: Planted, tmp_path: Path) -> None:
    ballast = np.ones(40_000_000)
    text = "import pathlib, sys\nx = bytearray(90_000_000)\n"
    large = answer_with(script(tmp_path, "large", text), planted.root, planted.database, tmp_path / "a", 60.0)
    small = answer_with(script(tmp_path, "small", "pass\n"), planted.root, planted.database, tmp_path / "b", 60.0)
    assert ballast.nbytes > 300e6 and small.cost.peak_mb < 60.0
    assert 80.0 < large.cost.peak_mb - small.cost.peak_mb < 110.0


def test_answers_are_used_again_until_bag_map_or_program_change(planted: Planted, tmp_path: Path) -> None:
    count = tmp_path / "count"
    counting = RIGHT + f"with open({str(count)!r}, 'a') as f: f.write('x')\n"
    peer = script(tmp_path, "right", counting)
    plan = planned("nominal", "lidar-only")

    def asked(peers: Sequence[Peer], recordings: object = planted, **changes: object) -> int:
        before = len(count.read_text()) if count.exists() else 0
        run_benchmark(plan, peers, recordings, tmp_path / "out", **changes)  # type: ignore[arg-type]
        return len(count.read_text()) - before

    assert asked([peer]) == 2
    assert asked([peer]) == 0
    folder = next((tmp_path / "out" / "answers" / "right").iterdir())
    (folder / "outcome.json").write_text('{"failure": ')
    assert asked([peer]) == 1, "an answer that was cut short is asked for again"
    (tmp_path / "right.py").write_text(counting + "# another version\n")
    assert asked([peer]) == 2, "another program"

    class Otherwise:
        def recording(self, run: PlannedRun) -> Recording:
            return replace(planted.recording(run), bag_digest=f"other {run.name}")

    assert asked([peer], Otherwise()) == 2, "another bag"
    failing = script(tmp_path, "right", counting + "raise SystemExit(1)\n")
    assert asked([failing]) == 2 and asked([failing]) == 0
    assert asked([failing], retry_failed=True) == 2


def test_an_interrupted_benchmark_goes_on_and_leaves_nothing_half_written(planted: Planted, tmp_path: Path) -> None:
    count = tmp_path / "count"
    peer = script(tmp_path, "right", RIGHT + f"with open({str(count)!r}, 'a') as f: f.write('x')\n")
    plan = planned("nominal", "lidar-only", "moved-furniture")

    class Stop(Exception):
        pass

    def after_the_first(name: str) -> None:
        raise Stop

    with pytest.raises(Stop):
        run_benchmark(plan, [peer], planted, tmp_path / "out", progress=after_the_first)
    folder = tmp_path / "out" / "answers" / "right"
    assert len(list(folder.iterdir())) == 1
    told: list[str] = []
    run_benchmark(plan, [peer], planted, tmp_path / "out", progress=told.append)
    assert told == [run.name for run in plan] and count.read_text() == "xxx"
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_the_truth_lies_outside_of_what_is_handed_over(planted: Planted, tmp_path: Path) -> None:
    peer = script(
        tmp_path,
        "snoop",
        "import pathlib, sys\nbag = pathlib.Path(sys.argv[2])\n"
        "print([p.name for p in [*bag.rglob('*'), *bag.parent.iterdir()] if 'truth' in p.name])\nsys.exit(1)\n",
    )
    plan = planned()
    found = run_benchmark(plan, [peer], planted, tmp_path / "out").runs["snoop"][0]
    assert found.failure == "exit status 1: []"


def test_commands_without_a_place_for_bag_and_answers_are_refused() -> None:
    for name, command in (("x", "run {bag}"), ("x", "run {out}"), ("a/b", "run {bag} {out}"), ("", "run {bag} {out}")):
        with pytest.raises(PeerError):
            Peer(name, command)
    spaced = Peer("x", "run {bag} {out}").line(Path("/a b/$c"), Path("/d"), Path("/e"))
    assert spaced == "run '/a b/$c' /e"


def test_truth_is_scaled_into_the_frame_of_a_defective_map(planted: Planted) -> None:
    recording = planted.recording(planned()[0])
    plainly, scaled = read_true_run(recording), read_true_run(replace(recording, scale=1.01))
    np.testing.assert_allclose(scaled.trajectory.T_map_base[:, :2], 1.01 * plainly.trajectory.T_map_base[:, :2])
    np.testing.assert_allclose(scaled.trajectory.T_map_base[:, 2], plainly.trajectory.T_map_base[:, 2])


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """``crossover bench buildings`` with words; status, stdout and stderr."""
    from crossover_models.cli import main

    # Other commands' parsers are none of these tests' business.
    monkeypatch.setattr("crossover_models.cli.COMMANDS", ())

    def run(*words: str) -> tuple[int, str, str]:
        status = main(["bench", "buildings", *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_the_command_lists_its_plan_and_refuses_nonsense_in_one_line(call: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = call("--list")
    assert status == 0 and all(name in out for name in ("nominal", "defective-plan", "twins"))
    for words in (
        ["--buildings", "castle:3"],
        ["--cases", "flood"],
        ["--runs", "0"],
        ["--duration", "1"],
        ["--localizer", "echo"],
        ["--name", "x"],
        ["--localizer", "constant", "--localizer", "constant"],
        ["--timeout", "0"],
    ):
        status, _, err = call(*words)
        assert status == 2 and err.count("\n") == 1, words


def test_a_quick_benchmark_from_building_to_figures(
    tmp_path: Path, call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # These localizers read no embeddings, and the shipped encoder has tests of its own.
    monkeypatch.setattr(crossover_models.encoders, "load_encoder", HashEncoder)
    words = ["--quick", "--cases", "lidar-only", "lift", "--duration", "4", "--out", str(tmp_path / "out")]
    words += ["--localizer", "constant", "--localizer", "random-place", "--json", str(tmp_path / "figures.json")]
    assert call(*words)[0] == 0
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["simulated"] is True and found["summary_of"] == "constant"
    assert found["summary"]["runs"] == 1 and found["summary"]["cold_start_success"] == 0.0
    assert [s["run"] for s in found["skipped"]] == ["b1-lift-1"], "a building of one level has no lift to ride"
    assert not any(facts["failed"] for facts in found["localizers"].values())
    run = found["localizers"]["constant"]["runs"][0]
    assert run["duration_s"] == pytest.approx(4.0) and run["distance_m"] > 0.3
    picture = Path(next(iter(found["pictures"].values())))
    assert picture.read_bytes().startswith(b"\x89PNG")
    bags = tmp_path / "out" / "bags"
    (bag,) = bags.iterdir()
    assert {path.suffix for path in bag.iterdir()} == {".mcap", ".yaml"}, "nothing but the recording"
    made_at = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.[mxt]*") if path.is_file()}
    assert call(*words)[0] == 0
    assert made_at == {path: path.stat().st_mtime_ns for path in made_at}
    assert json.loads((tmp_path / "figures.json").read_text())["localizers"] == found["localizers"]


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q"]))
