"""Geometric peers: the filter on planted rooms, sample sizes by the book, formats that go round, honest failures."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from planted_bag import START_NS, STEP_NS, write_bag
from planted_building import HashEncoder, full_building

from crossover_models.estimate import LevelKey
from crossover_models.evaluation.buildings.answers import Answer, read_answers, save_answers
from crossover_models.evaluation.buildings.markdown import HOW, met, results_markdown
from crossover_models.evaluation.buildings.peers import ALL, BUILT_IN, GEOMETRY_PEERS
from crossover_models.evaluation.buildings.sources import module_files
from crossover_models.evaluation.buildings.table import ROWS, failures
from crossover_models.evaluation.peers_geometry import mrpt as mrpt_module
from crossover_models.evaluation.peers_geometry.amcl import Amcl, AmclSettings, amcl
from crossover_models.evaluation.peers_geometry.atlas import Atlas
from crossover_models.evaluation.peers_geometry.carmen import CarmenScan, carmen_log, read_carmen
from crossover_models.evaluation.peers_geometry.extruded import HIGH_M, LOW_M, extruded_cloud, map_cloud
from crossover_models.evaluation.peers_geometry.kiss_matcher import kiss_matcher
from crossover_models.evaluation.peers_geometry.kld import enough, kld_sample_size
from crossover_models.evaluation.peers_geometry.mrpt import grid_picture, read_estimates, settings_file
from crossover_models.evaluation.peers_geometry.one_shot import likelihood_field
from crossover_models.evaluation.peers_geometry.small_gicp import Target, small_gicp, starts
from crossover_models.evaluation.peers_geometry.view import (
    BEAMS,
    PeerFailed,
    PeerMap,
    PeerUnavailable,
    View,
    bearings,
    planar_scan,
)
from crossover_models.evaluation.trajectory import pose_error
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan
from crossover_models.geometry import compose_se2, relative_se2, transform_points_se2
from crossover_models.map_database.build import build_database
from crossover_models.map_database.store import PlaceRecord
from crossover_models.observation import LocalCloud, WallSlice
from crossover_ros.geometry_peers import PEERS, answer, main

GROUND, UPPER = LevelKey("house", "L1"), LevelKey("house", "L2")
FEW = AmclSettings(most=6000)


def room(width_m: float, height_m: float, walls: list[tuple[float, float, float, float]]) -> FloorPlan:
    """A room of free cells with a wall around it and boxes (x0, y0, x1, y1) in it; its corner is (-1, -2)."""
    rows, cols = round(height_m / 0.05), round(width_m / 0.05)
    occupancy = np.full((rows, cols), FREE, dtype=np.int8)
    occupancy[[0, 1, -2, -1]] = occupancy[:, [0, 1, -2, -1]] = OCCUPIED
    for x0, y0, x1, y1 in walls:
        occupancy[round(y0 / 0.05) : round(y1 / 0.05), round(x0 / 0.05) : round(x1 / 0.05)] = OCCUPIED
    return FloorPlan(occupancy, 0.05, (-1.0, -2.0))


# No two headings or corners look alike: a niche here, a bar there.
PLANS = {
    GROUND: room(8.0, 6.0, [(2.0, 0.0, 2.3, 2.5), (5.5, 4.0, 8.0, 4.3)]),
    UPPER: room(7.0, 5.0, [(0.0, 1.5, 3.0, 1.8), (4.5, 3.5, 4.8, 5.0), (5.5, 0.0, 6.0, 1.0)]),
}
PLACES = [
    PlaceRecord(key, f"{key.level_id}_room", "room", "", np.array([[-1, -2], [7, -2], [7, 4], [-1, 4.0]]), ())
    for key in PLANS
]
WHERE = PeerMap.of(PLANS, PLACES, dict.fromkeys(PLANS, 2.5))


def scan_at(plan: FloorPlan, pose: np.ndarray) -> np.ndarray:
    """(BEAMS,) ranges by marching along each beam."""
    along = np.arange(0.05, 12.0, 0.02)
    ranges = np.full(BEAMS, np.inf)
    for k, bearing in enumerate(bearings()):
        beam = np.stack([along * np.cos(bearing), along * np.sin(bearing)], axis=1)
        hit = plan.value(transform_points_se2(pose, beam)) == OCCUPIED
        if hit.any():
            ranges[k] = along[np.argmax(hit)]
    return ranges


def view_at(k: int, level: LevelKey, pose: np.ndarray, odometry: np.ndarray) -> View:
    ranges = scan_at(PLANS[level], pose)
    ends = ranges[:, None] * np.stack([np.cos(bearings()), np.sin(bearings())], axis=1)
    ends = ends[np.isfinite(ranges)].astype(np.float32)
    heights = np.arange(LOW_M, 2.2, 0.1, dtype=np.float32)
    points = np.concatenate([np.repeat(ends, len(heights), axis=0), np.tile(heights, len(ends))[:, None]], axis=1)
    stamp = 10**9 + k * 200_000_000
    origins, index = np.zeros((1, 3), dtype=np.float32), np.zeros(len(points), dtype=np.int32)
    cloud = LocalCloud(stamp, points, origins, index, odometry, 1)
    walls = WallSlice(stamp, ends, origins[:, :2], np.zeros(len(ends), dtype=np.int32), odometry)
    return View(stamp, odometry, ranges, lambda: cloud, lambda: walls)


@dataclass(frozen=True)
class Run:
    """Views of a drive, with level and pose of each."""

    views: list[View]
    levels: list[LevelKey]
    poses: list[np.ndarray]


def drive(steps: int, start: np.ndarray, level: LevelKey = UPPER, seed: int = 0) -> Run:
    """In a circle of 0.75 m, 0.12 m a step, with noisy odometry that begins anywhere."""
    rng = np.random.default_rng(seed)
    pose, odometry = start.copy(), np.array([3.0, -7.0, 2.0])
    out = Run([], [], [])
    for k in range(steps):
        out.views.append(view_at(k, level, pose, odometry))
        out.levels.append(level)
        out.poses.append(pose)
        step = np.array([0.12, 0.0, 0.16])
        pose = compose_se2(pose, step)
        odometry = compose_se2(odometry, step + rng.normal(0.0, [0.005, 0.005, 0.004]))
    return out


@pytest.fixture(scope="module")
def upstairs() -> Run:
    return drive(40, np.array([1.5, 0.45, 0.0]))


def error(answer: Answer, level: LevelKey, pose: np.ndarray) -> tuple[float, float]:
    assert answer.announced and answer.T_map_base is not None and answer.level == level
    return pose_error(answer.T_map_base, pose)


def test_a_scan_takes_the_nearest_return_of_the_band_by_bearing() -> None:
    points = np.array([[2.0, 0.01, 1.0], [1.0, -0.005, 1.0], [0.5, 0.002, 0.2], [0.0, -3.0, 1.5], [-4.0, 0.01, 2.0]])
    ranges = planar_scan(points, 0.9, 2.2)
    hit = np.flatnonzero(np.isfinite(ranges))
    # Below the band is floor; of two in one beam the nearer one counts; straight behind is the first beam.
    assert hit.tolist() == [0, BEAMS // 4, BEAMS // 2]
    assert ranges[hit] == pytest.approx([4.0, 3.0, 1.0], abs=1e-3)
    assert np.degrees(bearings()[hit]) == pytest.approx([-180.0, -90.0, 0.0])
    assert np.isinf(planar_scan(np.zeros((0, 3)), 0.9, 2.2)).all()


@pytest.mark.parametrize(("bins", "samples"), [(1, 1), (2, 65.86), (11, 232.1), (101, 1358.1)])
def test_sample_sizes_are_those_of_the_chi_square_bound(bins: int, samples: float) -> None:
    """n = chi2_{k-1, 1-delta} / (2 epsilon); the book's approximation of it is good to a percent."""
    from scipy.stats import chi2

    found = float(kld_sample_size(bins, 0.05, 0.01))
    assert found == pytest.approx(samples, rel=2e-3)
    if bins > 2:
        assert found == pytest.approx(chi2.ppf(0.99, bins - 1) / (2 * 0.05), rel=0.01)


def test_drawing_stops_where_the_loop_of_the_book_stops() -> None:
    rng = np.random.default_rng(1)
    poses = np.concatenate([rng.normal(0.0, 0.3, (400, 3)), rng.uniform(-3.0, 3.0, (600, 3))])

    def loop(least: int) -> int:
        occupied: set[tuple[int, ...]] = set()
        for n, pose in enumerate(poses, start=1):
            occupied.add(tuple(int(v) for v in np.floor(pose / [0.5, 0.5, 0.25])))
            if n >= least and n >= kld_sample_size(len(occupied), 0.5, 0.01):
                return n
        return len(poses)

    for least in (1, 50, 700):
        assert enough(poses, 0.5, 0.25, 0.5, 0.01, least) == loop(least)
    assert enough(poses[:10], 0.5, 0.25, 0.05, 0.01, 5) == 10


def test_levels_lie_apart_in_an_atlas_and_poses_go_there_and_back() -> None:
    coarse = FloorPlan(PLANS[UPPER].occupancy[::2, ::2], 0.1, PLANS[UPPER].origin_xy)
    atlas = Atlas.of({GROUND: PLANS[GROUND], UPPER: coarse})
    assert atlas.plan.resolution_m == 0.05
    for k, (key, plan) in enumerate({GROUND: PLANS[GROUND], UPPER: coarse}.items()):
        walls = plan.position(np.argwhere(plan.occupancy == OCCUPIED))
        assert (atlas.plan.value(walls + atlas.shifts[k]) == OCCUPIED).all()
        pose = np.array([1.2, 0.7, 2.0])
        level, back = atlas.to_level(atlas.from_level(key, pose))
        assert level == key and back == pytest.approx(pose)
    assert (atlas.plan.occupancy == FREE).sum() >= (PLANS[GROUND].occupancy == FREE).sum()
    assert (atlas.plan.occupancy[:, :20] == UNKNOWN).all()


def test_the_filter_finds_an_asymmetric_room_among_two_levels(upstairs: Run) -> None:
    answers = list(amcl(upstairs.views, WHERE, seed=3, settings=FEW))
    assert error(answers[-1], UPPER, upstairs.poses[-1]) <= (0.1, 5.0)
    last = answers[-1]
    assert last.place_id == "L2_room" and last.probability is not None and last.probability > 0.9
    assert last.covariance is not None and np.sqrt(np.linalg.eigvalsh(last.covariance)[-1]) < 0.3
    again = list(amcl(upstairs.views, WHERE, seed=3, settings=FEW))
    assert again[-1].T_map_base == pytest.approx(last.T_map_base)


def test_the_filter_gets_by_with_fewer_particles_once_it_knows(upstairs: Run) -> None:
    filter_ = Amcl(PLANS[UPPER], FEW, seed=0)
    counts = []
    for k, view in enumerate(upstairs.views):
        filter_.update(np.array([0.12, 0.0, 0.16]) if k else np.zeros(3), view.scan_xy)
        counts.append(len(filter_.poses))
        assert filter_.weights.sum() == pytest.approx(1.0) and (filter_.weights >= 0.0).all()
    assert counts[0] > 3000 and counts[-1] < 1500


def test_moving_spreads_particles_about_where_odometry_went() -> None:
    filter_ = Amcl(PLANS[UPPER], AmclSettings(most=4000, alphas=(0.05, 0.02, 0.05, 0.02)), seed=0)
    start = np.tile([1.0, 1.0, 0.5], (4000, 1))
    for motion in ([0.4, 0.1, 0.3], [-0.3, 0.0, 0.1], [0.0, 0.0, 1.0]):
        moved = filter_._moved(start, np.array(motion))
        off = relative_se2(compose_se2(start[0], motion), moved)
        assert np.abs(off.mean(axis=0)).max() < 0.03
        # Driving backwards is no turn by half a circle: its noise is that of the way.
        assert off[:, 2].std() < 0.35 and off[:, :2].std() < 0.2


def test_a_kidnapped_filter_recovers_by_random_particles_and_not_without_them() -> None:
    before, after = drive(30, np.array([1.5, 0.45, 0.0])), drive(50, np.array([3.5, -0.25, 0.0]), GROUND, seed=1)
    views = list(before.views)
    for k, view in enumerate(after.views):
        # Odometry goes on as if nothing had happened.
        odometry = compose_se2(before.views[-1].T_odom_base, relative_se2(after.views[0].T_odom_base, view.T_odom_base))
        views.append(
            View(before.views[-1].stamp_ns + (k + 1) * 200_000_000, odometry, view.ranges_m, view.cloud, view.walls)
        )
    answers = list(amcl(views, WHERE, seed=2, settings=FEW))
    assert error(answers[29], UPPER, before.poses[-1])[0] < 0.15
    assert error(answers[-1], GROUND, after.poses[-1]) <= (0.15, 5.0)
    # Table 8.2 alone: a fast average that follows at once never falls behind the slow one.
    plain = AmclSettings(most=6000, alpha_slow=0.1, alpha_fast=0.1)
    stuck = list(amcl(views, WHERE, seed=2, settings=plain))[-1]
    assert not (stuck.announced and stuck.level == GROUND)


def test_the_likelihood_field_announces_at_once_and_the_gated_one_only_what_stands_out(upstairs: Run) -> None:
    always = list(likelihood_field(upstairs.views[:12], WHERE))
    assert error(always[0], UPPER, upstairs.poses[0]) <= (0.1, 2.0)
    # Between matches odometry carries it on.
    assert error(always[9], UPPER, upstairs.poses[9]) <= (0.15, 4.0)
    twins = PeerMap.of({GROUND: PLANS[UPPER], UPPER: PLANS[UPPER]}, [], dict.fromkeys(PLANS, 2.5))
    views = upstairs.views[:2]
    assert all(answer.announced for answer in likelihood_field(views, twins))
    gated = list(likelihood_field(views, twins, gated=True))
    assert not any(answer.announced for answer in gated) and all(answer.level is not None for answer in gated)
    assert all(answer.probability == pytest.approx(0.5, abs=0.1) for answer in gated)


def test_nothing_to_see_is_no_answer() -> None:
    empty = WallSlice(1, np.zeros((0, 2), np.float32), np.zeros((1, 2), np.float32), np.zeros(0, np.int32), np.zeros(3))
    view = View(10**9, np.zeros(3), np.full(BEAMS, np.inf), lambda: None, lambda: empty)
    for peer in (partial(amcl, settings=FEW), likelihood_field):
        answers = list(peer([view, view], WHERE, 0))
        assert len(answers) == 2 and not any(answer.announced for answer in answers)
        assert list(peer([], WHERE, 0)) == []


def test_an_extruded_plan_has_the_faces_of_walls_up_to_the_ceiling() -> None:
    cloud = extruded_cloud(PLANS[GROUND], 2.5)
    assert cloud[:, 2].min() == pytest.approx(LOW_M) and cloud[:, 2].max() <= HIGH_M + 1e-6
    assert (PLANS[GROUND].value(cloud[:, :2]) == OCCUPIED).all()
    assert extruded_cloud(PLANS[GROUND], 1.5)[:, 2].max() <= 1.5
    scan = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 2.6]], dtype=np.float32)
    assert map_cloud(PLANS[GROUND], 2.5, scan).tolist() == [[0.0, 0.0, 1.0]]
    assert len(map_cloud(PLANS[GROUND], 2.5, None)) == len(cloud)


def test_starts_stand_in_free_space_all_over() -> None:
    poses = starts(PLANS[GROUND])
    assert (PLANS[GROUND].value(poses[:, :2]) == FREE).all()
    free = PLANS[GROUND].position(np.argwhere(PLANS[GROUND].occupancy == FREE))[::7]
    nearest = np.linalg.norm(free[:, None] - poses[None, :, :2], axis=2).min(axis=1)
    assert nearest.max() < 2.0 and len(np.unique(poses[:, 2].round(6))) == 8


def test_small_gicp_is_started_everywhere_and_follows(upstairs: Run) -> None:
    pytest.importorskip("small_gicp", reason="the extra 'peers' is not installed")
    target = Target(extruded_cloud(PLANS[UPPER], 2.5), PLANS[UPPER])
    cloud = upstairs.views[0].cloud()
    assert cloud is not None
    near = target.align(cloud.points, upstairs.poses[0] + [0.2, -0.2, 0.1], reach_m=0.5)
    assert pose_error(near.pose, upstairs.poses[0]) <= (0.1, 2.0) and near.share > 0.9
    assert target.share(cloud.points, upstairs.poses[0] + [1.5, 0.0, 1.0]) < 0.7
    answers = list(small_gicp(upstairs.views[:8], WHERE))
    assert error(answers[-1], UPPER, upstairs.poses[7]) <= (0.15, 3.0)


def test_kiss_matcher_answers_every_view(upstairs: Run) -> None:
    pytest.importorskip("kiss_matcher", reason="the extra 'peers' is not installed")
    pytest.importorskip("small_gicp", reason="the extra 'peers' is not installed")
    answers = list(kiss_matcher(upstairs.views[:3], WHERE))
    assert [answer.stamp_ns for answer in answers] == [view.stamp_ns for view in upstairs.views[:3]]


@pytest.mark.parametrize("name", ["kiss_matcher", "small_gicp"])
def test_a_peer_that_is_not_installed_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    peer = {"kiss_matcher": kiss_matcher, "small_gicp": small_gicp}[name]
    with pytest.raises(PeerUnavailable, match=rf"{name} is not installed; it comes with the extra 'peers'"):
        next(iter(peer(iter(()), WHERE, 0)))


# -- MRPT ------------------------------------------------------------------------------------------------------------


def test_a_carmen_log_goes_round() -> None:
    scans = [
        CarmenScan(100.25, np.array([1.0, -2.0, 0.5]), -0.25, 0.1, 20.0, np.array([1.5, np.inf, 25.0, 0.25])),
        CarmenScan(100.5, np.array([1.1, -2.0, 0.6]), -0.25, 0.1, 20.0, np.array([1.0, 2.0, 3.0, 4.0])),
    ]
    text = carmen_log(scans)
    back = read_carmen("PARAM x 1\n\n" + text)
    assert [scan.stamp_s for scan in back] == [100.25, 100.5]
    assert back[0].ranges_m == pytest.approx([1.5, 20.0, 20.0, 0.25]) and back[0].T_odom_base == pytest.approx(
        [1, -2, 0.5]
    )
    assert (back[0].laser_yaw_rad, back[0].step_rad, back[0].max_range_m) == pytest.approx((-0.25, 0.1, 20.0))
    # Beams lie to both sides of the laser's heading: 4 of them, 0.1 rad apart.
    assert float(text.split()[2]) == pytest.approx(-0.15) and float(text.split()[3]) == pytest.approx(0.3)
    assert carmen_log(back) == text
    with pytest.raises(ValueError, match="line 1: no ROBOTLASER1 message"):
        read_carmen(text[:60])
    with pytest.raises(ValueError, match="line 1"):
        read_carmen(" ".join(text.splitlines()[0].split()[:-4]))


def test_the_picture_of_a_grid_map_has_its_origin_below() -> None:
    plan = FloorPlan(np.array([[FREE, OCCUPIED], [UNKNOWN, FREE], [FREE, FREE]], dtype=np.int8), 0.05, (0.0, 0.0))
    assert grid_picture(plan).tolist() == [[255, 255], [128, 255], [255, 0]]


def test_the_settings_file_starts_everywhere_and_avoids_what_breaks_the_program() -> None:
    import configparser

    atlas = Atlas.of(PLANS)
    values = configparser.ConfigParser()
    values.read_string(settings_file(Path("folder"), atlas.plan))
    run = values["LocalizationExperiment"]
    assert float(run["init_PDF_max_x"]) == pytest.approx(atlas.plan.size_m[0]) and run["init_PDF_mode"] == "0"
    assert int(run["3DSceneFrequency"]) != 0 and run["map_file"] == "folder/map.gridmap"
    # Version 2.5.8 resamples an adaptive number of particles in one way only.
    assert values["PF_options"]["adaptiveSampleSize"] == "1" and values["PF_options"]["resamplingMethod"] == "0"


PRINTED = """
[12:00:01|INFO |X] Odometry estimation: (3.046,-0.762,-73.78deg)
[12:00:01|INFO |X] PDF estimation: (8.989,10.816,171.38deg), ESS (B.R.)= 0.902224 tr(cov): 0.0802185
[12:00:02|INFO |X] PDF estimation: (-1.5,nan,-90.00deg), ESS (B.R.)= 1e-05 tr(cov): 1.5e+01
"""


def test_what_the_filter_prints_is_read() -> None:
    first, second = read_estimates(PRINTED)
    assert first.pose == pytest.approx([8.989, 10.816, np.radians(171.38)]) and first.spread == 0.0802185
    assert second.spread == 15.0 and np.isnan(second.pose[1]) and second.pose[2] == pytest.approx(-np.pi / 2)


def fake_programs(folder: Path, filter_: str) -> dict[str, str]:
    out = {}
    for name, text in {"carmen2rawlog": "exit 0", "image2gridmap": "exit 0", "pf-localization": filter_}.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        out[name] = str(path)
    return out


def test_the_mean_of_a_narrow_cloud_is_announced_on_its_level(
    upstairs: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas = Atlas.of(PLANS)
    lines = []
    for k, pose in enumerate(upstairs.poses[:6]):
        x, y, yaw = atlas.from_level(UPPER, pose)
        spread = 3.0 if k < 3 else 0.2
        lines.append(
            f"echo 'PDF estimation: ({x:.3f},{y:.3f},{np.degrees(yaw):.2f}deg), ESS (B.R.)= 1 tr(cov): {spread}'"
        )
    tools = fake_programs(tmp_path, "\n".join(lines))
    monkeypatch.setattr(mrpt_module, "programs", lambda: tools)
    answers = list(mrpt_module.mrpt(upstairs.views[:6], WHERE))
    assert [answer.announced for answer in answers] == [False] * 3 + [True] * 3
    for k in (3, 4, 5):
        assert error(answers[k], UPPER, upstairs.poses[k]) <= (0.01, 0.1)
    with pytest.raises(PeerFailed, match="6 estimates of 8 scans"):
        list(mrpt_module.mrpt(upstairs.views[:8], WHERE))
    broken = fake_programs(tmp_path, "echo 'Message:  Assert failed' >&2; exit 134")
    monkeypatch.setattr(mrpt_module, "programs", lambda: broken)
    with pytest.raises(PeerFailed, match="pf-localization: exit status 134 Message: Assert failed"):
        list(mrpt_module.mrpt(upstairs.views[:2], WHERE))


def test_without_the_programs_their_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PeerUnavailable, match=r"pf-localization.*not installed; on Debian they come with mrpt-apps"):
        list(mrpt_module.mrpt([], WHERE))


def test_the_real_filter_localizes_a_planted_drive(upstairs: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mrpt_module, "PARTICLES", 4000)
    try:
        mrpt_module.programs()
    except PeerUnavailable as reason:
        pytest.skip(str(reason))
    answers = list(mrpt_module.mrpt(upstairs.views, WHERE))
    assert len(answers) == len(upstairs.views)
    # It draws its own seed: only that the formats are understood is certain, and that it ends within its map.
    announced = [answer for answer in answers if answer.announced]
    assert all(answer.level in PLANS for answer in announced)


# -- in the benchmark ------------------------------------------------------------------------------------------------


def test_answers_go_round(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    spread = np.diag([0.04, 0.09, 0.01])
    given = [
        Answer(10**9, False, None, "", None, None, None),
        Answer(2 * 10**9, False, UPPER, "L2_room", 0.25, None, None),
        Answer(3 * 10**9, True, UPPER, "L2_room", None, rng.normal(size=3), None),
        Answer(4 * 10**9, True, GROUND, "", 1.0, rng.normal(size=3), spread),
    ]
    assert save_answers(tmp_path, given) == 2
    back = read_answers(tmp_path, [(p.key, p.place_id) for p in PLACES], list(PLANS), (10**9, 4 * 10**9))
    for one, other in zip(given, back, strict=True):
        assert (one.stamp_ns, one.announced, one.level) == (other.stamp_ns, other.announced, other.level)
        assert (one.place_id, one.probability) == (other.place_id, other.probability)
        for a, b in ((one.T_map_base, other.T_map_base), (one.covariance, other.covariance)):
            assert (a is None) == (b is None) and (a is None or a == pytest.approx(b, abs=1e-6))


def test_the_command_names_every_peer_and_how_it_was_set() -> None:
    assert set(GEOMETRY_PEERS) == set(PEERS) and set(ALL) <= set(BUILT_IN) <= set(HOW)
    assert all(f" {name} " in BUILT_IN[name] for name in GEOMETRY_PEERS)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("house") / "house.xmap"
    build_database(full_building("house"), HashEncoder(), path)
    return path


def test_a_bag_goes_through_the_conversions_of_the_nodes(house: Path, tmp_path: Path) -> None:
    plan = full_building("house").levels[0].plan
    poses = [np.array([-0.5 + 0.05 * k, 8.4, 0.02 * k]) for k in range(8)]
    write_bag(tmp_path / "bag", plan, poses)
    assert answer("likelihood-field", tmp_path / "bag", house, tmp_path / "out") == 8
    ground = LevelKey("house", "L1")
    places = [(ground, "K1"), (ground, "S1")]
    found = read_answers(tmp_path / "out", places, [ground], (START_NS, START_NS + 8 * STEP_NS))
    assert [one.stamp_ns for one in found] == [START_NS + k * STEP_NS for k in range(8)]
    # The level without walls is left out, and poses are of base_link, not of the lidar ahead of it.
    assert all(error(one, ground, pose) <= (0.12, 3.0) for one, pose in zip(found, poses, strict=True))
    assert found[0].place_id == "K1"
    write_bag(tmp_path / "blind", plan, poses, leave_out=("/points",))
    assert answer("amcl", tmp_path / "blind", house, tmp_path / "none") == 0
    assert read_answers(tmp_path / "none", places, [ground], (START_NS, START_NS + 8 * STEP_NS)) == ()


def test_a_map_that_cannot_be_matched_is_said_so() -> None:
    blank = FloorPlan(np.full((5, 5), UNKNOWN, dtype=np.int8), 0.1, (0.0, 0.0))
    with pytest.raises(PeerFailed, match="no level has both walls and free space"):
        PeerMap.of({GROUND: blank}, [], {GROUND: 2.5})


def test_a_peer_that_cannot_run_says_so_in_one_line(
    house: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["amcl", str(tmp_path / "no.bag"), str(house), str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("amcl: ") and "no such bag" in said and said.count("\n") == 1


def results() -> dict[str, object]:
    figures = dict.fromkeys(key for group in ROWS for key, _, _ in group if key != "ellipse")
    figures.update(ellipse_major_m=None, ellipse_minor_m=None)
    good = {**figures, "runs": 4, "failed_runs": 0, "false_fixes": 0, "cold_start_success": 0.955, "auroc": 0.9}
    broken = {**figures, "runs": 4, "failed_runs": 4, "false_fixes": 0}
    reason = "exit status 2: mrpt: pf-localization: not installed"

    def facts(values: dict[str, object], failed: list[str], command: str) -> dict[str, object]:
        return {
            "command": command,
            "figures": values,
            "intervals": {"cold_start_success": [0.5, 1.0], "auroc": None, "false_fixes": [0.0, None]},
            "cases": {"nominal": values},
            "failed": [{"run": run, "reason": reason} for run in failed],
        }

    return {
        "buildings": ["b"],
        "cases": {"nominal": "plain"},
        "intervals": {"method": "bootstrap", "resamples": 10, "seed": 0},
        "skipped": [{"run": "b1-lift-1", "reason": "no lift"}],
        "localizers": {
            "crossover": facts(good, [], BUILT_IN["crossover"]),
            "mrpt": facts(broken, ["b1", "b2", "b3", "b4"], "my own | {bag} {out}"),
        },
    }


def test_the_page_marks_what_meets_its_target_and_tells_what_failed() -> None:
    found = results()
    page = results_markdown(found)
    assert "| cold start (%) | >= 95.0 | **95.5** | - |" in page
    assert "| AUROC | >= 0.970 | 0.900 | - |" in page
    # Nothing false was said by who failed in every run: no merit.
    assert "| false fixes | 1 in 100 runs | **0** | 0 |" in page
    assert "| cold start (%) | 50.0 to 100.0 | 50.0 to 100.0 |" in page
    assert "- mrpt failed 4 of 4 runs, first b1: exit status 2: mrpt: pf-localization: not installed" in page
    assert "- skipped b1-lift-1: no lift" in page and "**simulated**" in page
    # A command of one's own under a built-in name is not described as the built-in one.
    assert "- **mrpt**: `my own | {bag} {out}`." in page and HOW["crossover"] in page
    assert failures({"localizers": {"x": {"failed": [], "figures": {"runs": 1}}}}) == []
    assert not met({"runs": 1, "failed_runs": 0, "false_fixes": 1}, "false_fixes")
    silent = {"runs": 1, "failed_runs": 0, "false_fixes": 0, "abstained": 1.0}
    assert not met(silent, "false_fixes") and met({**silent, "abstained": 0.5}, "false_fixes")
    json.dumps(found)


def test_a_program_is_made_of_what_it_imports(tmp_path: Path) -> None:
    root = tmp_path / "pack"
    files = {
        "__init__.py": "",
        "a.py": "from pack.deep import b\nimport json\n",
        "alone.py": "",
        "deep/__init__.py": "from . import c\n",
        "deep/b.py": "def f():\n    from ..late import x\n",
        "deep/c.py": "import other.thing\n",
        "deep/table.json": "{}",
        "late.py": "import pack.heavy.big\n",
        "heavy/__init__.py": "",
        "heavy/big.py": "",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = module_files(["pack.a"], {"pack": root})
    names = {"pack", "pack.a", "pack.deep", "pack.deep.b", "pack.deep.c", "pack.late", "pack.heavy", "pack.heavy.big"}
    assert set(found) == names | {"pack/deep/table.json"}
    fewer = module_files(["pack.a"], {"pack": root}, ["pack.heavy"])
    assert set(found) - set(fewer) == {"pack.heavy", "pack.heavy.big"}
    assert module_files(["pack.gone", "json"], {"pack": root}) == {}


def test_a_peer_knows_nothing_of_views_to_come(upstairs: Run) -> None:
    """Every answer but MRPT's, which is a program over a whole log, is given before the next view is asked for."""
    asked = 0

    def watched() -> Iterator[View]:
        nonlocal asked
        for view in upstairs.views[:5]:
            asked += 1
            yield view

    for peer in (partial(amcl, settings=FEW), likelihood_field):
        asked = 0
        for k, _ in enumerate(peer(watched(), WHERE, 0), start=1):
            assert asked == k
