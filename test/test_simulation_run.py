"""Simulated runs: motion within limits, odometry that drifts as stated, a bag that says what happened."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from crossover_models.config import ConfigError
from crossover_models.estimate import LevelKey
from crossover_models.floor_plan import FloorPlan
from crossover_models.geometry import (
    matrix_from_quaternion,
    relative_se2,
    se2_from_se3,
    se3_from_quaternion,
    se3_from_se2,
    transform_points_se3,
    wrap_angle,
)
from crossover_models.simulation import run as run_module
from crossover_models.simulation.bag import TOPICS
from crossover_models.simulation.navigation import DrivableGround, NoRoute, Roadmap
from crossover_models.simulation.procedural import generate_building
from crossover_models.simulation.raycast import RayScene
from crossover_models.simulation.robot import STEP_S, drifting_odometry, drive
from crossover_models.simulation.run import START_NS, RunError, simulate
from crossover_models.simulation.settings import RunSettings
from crossover_models.simulation.survey import level_meshes
from crossover_models.simulation.variation import refurnished
from crossover_models.simulation.world import BuildingWorld

BUILDING = generate_building(5, split="test", levels=2, rooms_per_level=5)
SHORT = RunSettings(seed=3, duration_s=6.0, camera_width=64, camera_height=48, lidar_azimuths=90)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    simulate(BuildingWorld(BUILDING), out, SHORT)
    return out


def messages(run_dir):
    """{topic: [(stamp_ns, message)]} of a bag."""
    out = {}
    with AnyReader([run_dir], default_typestore=get_typestore(Stores.ROS2_KILTED)) as reader:
        for connection, stamp, raw in reader.messages():
            out.setdefault(connection.topic, []).append((stamp, reader.deserialize(raw, connection.msgtype)))
            assert connection.msgtype == TOPICS[connection.topic]
    return out


def truth(run_dir):
    """Stamps (N,) ns and poses (N, 3) of the TUM file."""
    stamps, poses = [], []
    for line in (run_dir / "ground_truth.txt").read_text().splitlines():
        first, *rest = line.split()
        seconds, fraction = first.split(".")
        stamps.append(int(seconds) * 1_000_000_000 + int(fraction))
        poses.append(se2_from_se3(se3_from_quaternion([float(v) for v in rest[:3]], [float(v) for v in rest[3:]])))
    return np.array(stamps), np.array(poses)


def test_the_bag_has_the_topics_types_and_rates_it_should(run_dir):
    held = messages(run_dir)
    assert set(held) == set(TOPICS)
    counts = {topic: len(found) for topic, found in held.items()}
    assert counts == {
        "/clock": 301, "/tf_static": 1, "/tf": 121, "/odom": 121, "/points": 61,
        "/camera/image_raw": 19, "/camera/camera_info": 19,
    }  # fmt: skip
    assert json.loads((run_dir / "run.json").read_text())["messages"] == counts


def test_stamps_rise_and_headers_agree_with_them(run_dir):
    with AnyReader([run_dir], default_typestore=get_typestore(Stores.ROS2_KILTED)) as reader:
        stamps = [stamp for _, stamp, _ in reader.messages()]
    assert stamps == sorted(stamps) and stamps[0] == START_NS
    for topic, found in messages(run_dir).items():
        for stamp, message in found:
            time = message.clock if topic == "/clock" else None
            if topic in ("/odom", "/points", "/camera/image_raw", "/camera/camera_info"):
                time = message.header.stamp
            if topic == "/tf":
                time = message.transforms[0].header.stamp
            if time is not None:
                assert time.sec * 1_000_000_000 + time.nanosec == stamp


def test_images_clouds_and_camera_info_are_well_formed(run_dir):
    held = messages(run_dir)
    _, image = held["/camera/image_raw"][0]
    assert (image.height, image.width, image.encoding, image.step) == (48, 64, "rgb8", 192)
    assert image.header.frame_id == "camera_optical" and image.data.size == 48 * 192
    _, info = held["/camera/camera_info"][0]
    assert (
        info.k[0] == pytest.approx(32 / np.tan(np.deg2rad(40)))
        and info.k[2] == 31.5
        and info.p.reshape(3, 4)[2, 2] == 1
    )
    _, cloud = held["/points"][0]
    assert [f.name for f in cloud.fields] == ["x", "y", "z"] and cloud.point_step == 12
    assert cloud.data.size == 12 * cloud.width and cloud.header.frame_id == "lidar"
    _, static = held["/tf_static"][0]
    assert {(t.header.frame_id, t.child_frame_id) for t in static.transforms} == {
        ("base_link", "lidar"), ("base_link", "camera_optical"),
    }  # fmt: skip
    optical = next(t for t in static.transforms if t.child_frame_id == "camera_optical").transform.rotation
    forward = matrix_from_quaternion([optical.x, optical.y, optical.z, optical.w])[:, 2]
    np.testing.assert_allclose(forward, [1, 0, 0], atol=1e-9)


def points_of(cloud):
    return np.frombuffer(cloud.data.tobytes(), "<f4").reshape(-1, 3)


def test_clouds_lie_on_the_surfaces_at_the_true_pose(run_dir):
    """Truth, mounting and sweeps agree: mapped by them, returns lie on walls and furniture of the run."""
    stamps, poses = truth(run_dir)
    held = messages(run_dir)
    level, _ = refurnished(
        run_module.read_level(BuildingWorld(BUILDING), LevelKey(BUILDING.building_id, "L1")),
        SHORT,
        np.random.default_rng([3, 0]),
    )
    scene = RayScene(level_meshes(level))
    T_base_lidar, _ = run_module.sensor_mounts(SHORT)
    for stamp, cloud in held["/points"][::20]:
        T_map_base = se3_from_se2(poses[np.argmin(np.abs(stamps - stamp))])
        T_map_lidar = T_map_base @ T_base_lidar
        points = points_of(cloud).astype(float)
        length = np.linalg.norm(points, axis=1)
        rays = (points / length[:, None]) @ T_map_lidar[:3, :3].T
        exact, _ = scene.cast(T_map_lidar[:3, 3], rays)
        assert abs(np.median(length - exact)) < 0.01 and (np.abs(length - exact) < 0.1).mean() > 0.97
        mapped = transform_points_se3(T_map_lidar, points)
        assert mapped[:, 2].min() > -0.15 and mapped[:, 2].max() < level.height_m + 0.15


def test_odometry_starts_at_zero_and_follows_the_truth_but_drifts(run_dir):
    stamps, poses = truth(run_dir)
    held = messages(run_dir)
    odom = []
    for (stamp, message), (tf_stamp, transform) in zip(held["/odom"], held["/tf"], strict=True):
        p, q = message.pose.pose.position, message.pose.pose.orientation
        t = transform.transforms[0].transform
        assert stamp == tf_stamp and (t.translation.x, t.rotation.w) == (p.x, q.w)
        assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")
        odom.append([p.x, p.y, 2 * np.arctan2(q.z, q.w)])
    odom = np.array(odom)
    assert np.array_equal(stamps, [stamp for stamp, _ in held["/odom"]])
    np.testing.assert_allclose(odom[0], 0.0, atol=1e-12)
    moved = relative_se2(poses[0], poses)
    error = np.linalg.norm(odom[:, :2] - moved[:, :2], axis=1)
    distance = np.linalg.norm(np.diff(poses[:, :2], axis=0), axis=1).sum()
    assert distance > 0.5 and 0 < error[-1] < 0.3 * distance + 0.1


def test_equal_seeds_make_equal_runs_bit_for_bit(run_dir, tmp_path):
    simulate(BuildingWorld(BUILDING), tmp_path / "run", SHORT)
    for name in ("run.mcap", "ground_truth.txt", "run.json"):
        assert (tmp_path / "run" / name).read_bytes() == (run_dir / name).read_bytes(), name
    other = simulate(BuildingWorld(BUILDING), tmp_path / "other", replace(SHORT, seed=4, camera=False, duration_s=2.0))
    assert (other.directory / "ground_truth.txt").read_bytes()[:200] != (run_dir / "ground_truth.txt").read_bytes()[
        :200
    ]


def test_run_json_says_that_it_is_simulated_and_what_was_changed(run_dir):
    record = json.loads((run_dir / "run.json").read_text())
    assert (
        record["simulated"] is True
        and record["seed"] == 3
        and record["database_fingerprint"] == BuildingWorld(BUILDING).fingerprint
    )
    assert record["levels"] == [{"from_ns": START_NS, "building_id": BUILDING.building_id, "level_id": "L1"}]
    furniture = record["furniture"]
    assert furniture["present"] == furniture["mapped"] - furniture["dropped"] + furniture["added"]
    assert RunSettings.from_mapping(record["settings"]) == SHORT


def test_sensors_can_be_left_out(tmp_path):
    settings = replace(SHORT, duration_s=1.0)
    no_camera = simulate(BuildingWorld(BUILDING), tmp_path / "a", replace(settings, camera=False))
    no_lidar = simulate(BuildingWorld(BUILDING), tmp_path / "b", replace(settings, lidar=False))
    assert set(messages(no_camera.directory)) == set(TOPICS) - {"/camera/image_raw", "/camera/camera_info"}
    assert set(messages(no_lidar.directory)) == set(TOPICS) - {"/points"}


def test_an_interrupted_run_leaves_nothing_behind(tmp_path):
    def interrupt(done_s):
        if done_s > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(BuildingWorld(BUILDING), tmp_path / "run", SHORT, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_overwrite_keeps_the_old_run_and_a_whole_one_replaces_it(tmp_path):
    settings = replace(SHORT, duration_s=1.0, camera=False)
    simulate(BuildingWorld(BUILDING), tmp_path / "run", settings)
    before = (tmp_path / "run" / "run.json").read_bytes()

    def interrupt(done_s):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(BuildingWorld(BUILDING), tmp_path / "run", replace(settings, seed=9), interrupt, overwrite=True)
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    simulate(BuildingWorld(BUILDING), tmp_path / "run", replace(settings, seed=9), overwrite=True)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["seed"] == 9
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_what_exists_is_not_overwritten_unasked_and_what_is_no_run_never(tmp_path):
    (tmp_path / "thesis").mkdir()
    with pytest.raises(RunError, match="exists"):
        simulate(BuildingWorld(BUILDING), tmp_path / "thesis", SHORT)
    with pytest.raises(RunError, match="not a simulated run"):
        simulate(BuildingWorld(BUILDING), tmp_path / "thesis", SHORT, overwrite=True)
    assert (tmp_path / "thesis").is_dir()


def test_unknown_levels_are_named_with_those_that_exist(tmp_path):
    with pytest.raises(RunError, match=r"no \*/L9; it has .*/L1, .*/L2"):
        simulate(BuildingWorld(BUILDING), tmp_path / "run", SHORT, level="L9")
    with pytest.raises(ConfigError, match="duration_s: must be at least"):
        RunSettings(duration_s=0.0)


def test_a_level_that_is_only_a_drawing_can_be_driven_in(tmp_path):
    bare = replace(
        BUILDING.levels[1],
        structure=None,
        doors=(),
        places=tuple(replace(p, furnishings=()) for p in BUILDING.levels[1].places),
    )
    building = replace(BUILDING, levels=(BUILDING.levels[0], bare))
    result = simulate(BuildingWorld(building), tmp_path / "run", replace(SHORT, duration_s=2.0), level="L2")
    assert result.changes.mapped == 0 and result.changes.added > 0 and result.counts["/points"] == 21


def drives(count, duration_s=60.0):
    for seed in range(count):
        level = BUILDING.levels[seed % 2]
        settings = RunSettings(seed=seed, duration_s=duration_s)
        actual, _ = refurnished(level, settings, np.random.default_rng(seed))
        ground = DrivableGround(actual.plan, [f.mesh for p in actual.places for f in p.furnishings], settings.radius_m)
        yield actual, ground, settings, drive(ground, actual.places, settings, np.random.default_rng(seed))


def test_the_robot_keeps_off_walls_and_furniture_within_its_limits():
    for _, ground, settings, motion in drives(4):
        cells = ground.plan.cell(motion.T_map_base[:, :2])
        assert ground.clearance_m[cells[:, 0], cells[:, 1]].min() > settings.radius_m - 0.06
        assert len(motion.T_map_base) == round(settings.duration_s / STEP_S) + 1
        v, w = motion.velocity.T
        assert v.min() >= 0 and v.max() <= settings.speed_m_s + 1e-9 and np.abs(w).max() <= settings.turn_rad_s + 1e-9
        assert np.abs(np.diff(v)).max() <= 2 * settings.acceleration_m_s2 * STEP_S + 1e-9
        assert np.abs(np.diff(w)).max() <= settings.turn_acceleration_rad_s2 * STEP_S + 1e-9
        assert len(set(motion.visited)) >= 3 and motion.distance_m > 12


def test_the_robot_never_slides_sideways():
    for _, _, _, motion in drives(1):
        local = relative_se2(motion.T_map_base[:-1], motion.T_map_base[1:])
        assert np.abs(local[:, 1]).max() < 1e-3
        np.testing.assert_allclose(np.hypot(local[:, 0], local[:, 1]), motion.velocity[1:, 0] * STEP_S, atol=1e-9)


def test_odometry_without_noise_is_the_truth():
    exact = RunSettings(
        odom_translation=0.0, odom_rotation=0.0, odom_drift=0.0, odom_scale_bias=0.0, odom_drift_bias=0.0
    )
    for _, _, _, motion in drives(1):
        odom = drifting_odometry(motion.T_map_base, exact, np.random.default_rng(0))
        expected = relative_se2(motion.T_map_base[0], motion.T_map_base)
        assert np.abs(odom[:, :2] - expected[:, :2]).max() < 1e-6
        assert np.abs(wrap_angle(odom[:, 2] - expected[:, 2])).max() < 1e-9


def test_odometry_noise_has_the_stated_size():
    straight = np.zeros((501, 3))
    straight[:, 0] = np.linspace(0.0, 10.0, 501)
    turning = np.zeros((501, 3))
    turning[:, 2] = wrap_angle(np.linspace(0.0, 6.0, 501))
    settings = RunSettings(odom_scale_bias=0.0, odom_drift_bias=0.0)
    rng = np.random.default_rng(0)
    ends = np.array([drifting_odometry(straight, settings, rng)[-1] for _ in range(600)])
    turns = np.array([drifting_odometry(turning, settings, rng)[-1] for _ in range(600)])
    assert (ends[:, 0]).std() == pytest.approx(0.02 * np.sqrt(10), rel=0.15)
    assert ends[:, 2].std() == pytest.approx(0.01 * np.sqrt(10), rel=0.1)
    assert wrap_angle(turns[:, 2] - 6.0).std() == pytest.approx(0.02 * np.sqrt(6), rel=0.1)
    biased = RunSettings(
        odom_translation=0.0, odom_rotation=0.0, odom_drift=0.0, odom_scale_bias=0.01, odom_drift_bias=0.004
    )
    ends = np.array([drifting_odometry(straight, biased, rng)[-1] for _ in range(600)])
    assert ends[:, 2].std() == pytest.approx(0.04, rel=0.1)


def test_furniture_changes_by_the_shares_asked_for_and_ways_stay_open():
    for seed in range(4):
        level = BUILDING.levels[seed % 2]
        settings = RunSettings(seed=seed)
        actual, changes = refurnished(level, settings, np.random.default_rng(seed))
        mapped = {f.object_id: f for p in level.places for f in p.furnishings}
        present = {f.object_id: f for p in actual.places for f in p.furnishings}
        assert changes.mapped == len(mapped) and changes.present == len(present)
        assert changes.dropped == len(set(mapped) - set(present)) == round(0.2 * len(mapped))
        assert changes.added == len(set(present) - set(mapped)) >= 0.15 * len(mapped)
        moved = [
            i
            for i in set(mapped) & set(present)
            if not np.array_equal(mapped[i].mesh.vertices, present[i].mesh.vertices)
        ]
        assert changes.moved == len(moved) > 0
        assert not {present[i].model_id for i in set(present) - set(mapped)} & {f.model_id for f in mapped.values()}
        before = DrivableGround(level.plan, [f.mesh for f in mapped.values()], 0.25)
        after = DrivableGround(actual.plan, [f.mesh for f in present.values()], 0.25)
        for place in level.places:
            if len(before.cells_in(place.polygon, before.main_region())):
                assert len(after.cells_in(place.polygon, after.main_region())), place.name


def test_the_robot_stays_in_the_building_however_large_the_yard():
    level = BUILDING.levels[0]
    plan = level.plan
    yard = np.pad(np.where(plan.occupancy == -1, 0, plan.occupancy).astype(np.int8), 150)
    around = FloorPlan(yard, plan.resolution_m, tuple(np.array(plan.origin_xy) - 150 * plan.resolution_m))
    ground = DrivableGround(around, [], 0.25)
    label = ground.main_region([place.polygon for place in level.places])
    assert label != ground.main_region() and label == ground.label_at(level.doors[0].segment.mean(axis=0))


def test_one_more_obstacle_is_the_same_as_having_had_it_all_along():
    level = BUILDING.levels[0]
    meshes = [f.mesh for p in level.places for f in p.furnishings]
    for k in range(0, len(meshes), 4):
        rest = meshes[:k] + meshes[k + 1 :]
        added, whole = (
            DrivableGround(level.plan, rest, 0.3).with_obstacle(meshes[k]),
            DrivableGround(level.plan, meshes, 0.3),
        )
        assert np.array_equal(added.labels > 0, whole.labels > 0)
        assert np.array_equal(added.clearance_m, whole.clearance_m)


def test_paths_go_through_doors_and_never_through_walls():
    level = BUILDING.levels[0]
    ground = DrivableGround(level.plan, [], 0.25)
    roadmap = Roadmap(ground, ground.main_region())
    rng = np.random.default_rng(0)
    stands = [ground.plan.position(rng.choice(ground.cells_in(p.polygon, ground.main_region()))) for p in level.places]
    for a, b in itertools.pairwise(stands):
        path = roadmap.path(a, b)
        np.testing.assert_allclose(path[[0, -1]], [a, b], atol=0.04)
        dense = np.concatenate([p + (q - p) * np.linspace(0, 1, 200)[:, None] for p, q in itertools.pairwise(path)])
        cells = level.plan.cell(dense)
        assert ground.clearance_m[cells[:, 0], cells[:, 1]].min() > 0.2
    with pytest.raises(NoRoute, match="no way to"):
        roadmap.path(stands[0], level.plan.origin_xy)
    with pytest.raises(NoRoute, match="fits nowhere"):
        DrivableGround(level.plan, [], 9.0).main_region()
