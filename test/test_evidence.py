"""What is shown of a moment is what the robot had then: the cloud of the encoder, and no frame of another time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted import asymmetric_plan, drive
from planted_bag import START_NS, STEP_NS, PlantedEncoder, sweep_points, write_bag

from crossover_models.geometry import compose_se2, interpolate_se2, relative_se2, se3_from_se2
from crossover_models.observation import PointCloudObservation
from crossover_models.perception import Perception
from crossover_ros.bag_reading import Bag
from crossover_ros.evidence import EvidenceCollector
from crossover_ros.settings import EncoderNodeSettings

PLAN = asymmetric_plan()
POSES = drive(np.array([1.5, 5.0, 0.0]), 12, step_m=0.3)


def stamp(k: int) -> int:
    return START_NS + k * STEP_NS


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bag") / "run"
    write_bag(path, PLAN, POSES)
    return path


def test_the_walls_shown_are_those_that_the_encoder_stage_made_at_that_stamp(bag: Path) -> None:
    from planted import PlantedMap
    from planted_bag import LIDAR_HEIGHT_M, odometry_origin

    from crossover_models.estimate import LevelKey

    planted = PlantedMap({LevelKey("house", "L1"): PLAN})
    perception = Perception(PlantedEncoder(planted), EncoderNodeSettings())
    mount = se3_from_se2([0.1, 0.0, 0.0], LIDAR_HEIGHT_M)
    made = {}
    for k, pose in enumerate(POSES):
        odom = se3_from_se2(compose_se2(odometry_origin(POSES), pose))
        perception.accumulate(PointCloudObservation(stamp(k), sweep_points(PLAN, pose, k), mount, odom))
        made[k] = perception.encode_cloud().wall_slice
    with Bag(bag) as opened:
        evidence = EvidenceCollector([stamp(0), stamp(5), stamp(11)], EncoderNodeSettings()).collect(opened)
    for k in (0, 5, 11):
        shown, wanted = evidence[stamp(k)].wall_slice, made[k]
        assert shown is not None and wanted is not None
        assert (shown.stamp_ns, shown.scans) == (stamp(k), wanted.scans)
        np.testing.assert_allclose(shown.points, wanted.points, atol=1e-4)


def half_way() -> np.ndarray:
    return interpolate_se2(POSES[4], POSES[5], 0.5)


def test_a_frame_is_the_last_before_the_moment_and_never_an_old_one(bag: Path) -> None:
    between, long_after = stamp(4) + STEP_NS // 2, stamp(11) + 2 * 10**9
    wanted = [between, between + 1, long_after]
    with Bag(bag) as opened:
        evidence = EvidenceCollector(wanted, EncoderNodeSettings()).collect(opened)
    assert sorted(evidence) == wanted
    for moment in (between, between + 1):
        frame = evidence[moment].frame
        assert frame is not None and frame.shape == (24, 32, 3) and (frame == 128).all()
        assert evidence[moment].frame_age_s == pytest.approx(0.1, abs=1e-6)
    # Between two sweeps the robot has gone half a step from where it saw the walls.
    np.testing.assert_allclose(evidence[between].T_base_slice, relative_se2(half_way(), POSES[4]), atol=1e-6)
    np.testing.assert_array_equal(evidence[long_after].T_base_slice, np.zeros(3))
    assert evidence[long_after].frame is None and evidence[long_after].cloud is not None


def test_nothing_is_read_for_nothing_and_nothing_is_invented(bag: Path, tmp_path: Path) -> None:
    with Bag(bag) as opened:
        assert EvidenceCollector([], EncoderNodeSettings()).collect(opened) == {}
        before = EvidenceCollector([START_NS - 10**9], EncoderNodeSettings()).collect(opened)
    shown = before[START_NS - 10**9]
    assert shown.frame is None and shown.cloud is None and shown.wall_slice is None
    write_bag(tmp_path / "no_tf", PLAN, POSES, leave_out=("/tf_static",), encoding="holographic")
    with Bag(tmp_path / "no_tf") as opened:
        blind = EvidenceCollector([stamp(5)], EncoderNodeSettings()).collect(opened)[stamp(5)]
    assert blind.frame is None and blind.cloud is None
