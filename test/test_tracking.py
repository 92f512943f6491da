"""Between fixes, over real DDS: map->odom without jumps, poses carried along odometry, and LOST where a pose leaps."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

from geometry_msgs.msg import PoseWithCovarianceStamped
from ros_graph import L1, L2, LATCHED, Ear, House, pose_of, wait_for

from crossover_models.estimate import LocalizationState
from crossover_models.geometry import Array, compose_se2, relative_se2, se2_from_se3
from crossover_ros import conversions
from crossover_ros.conversions import answers

S = 1_000_000_000


def state_pose(running: House, frame: str, pose: Any) -> None:
    publisher = running.client.create_publisher(PoseWithCovarianceStamped, "initialpose", 10)
    wait_for(publisher.get_subscription_count)
    publisher.publish(answers.stamped_pose(0, frame, np.asarray(pose, dtype=float), np.eye(3) * 0.01))


def rest(running: House) -> None:
    """Wait until what was seen has been answered."""
    told = -1
    while told != len(running.results.heard):
        told = len(running.results.heard)
        time.sleep(0.5)


def transforms(running: House) -> list[tuple[str, Array]]:
    """(map frame, planar map->odom) of all that was sent."""
    return [
        (t.header.frame_id, se2_from_se3(conversions.read_pose(pose_of(t.transform)))) for t in running.odom_to_map()
    ]


def test_a_correction_is_followed_without_a_jump_and_the_pose_says_it_at_once(running: House) -> None:
    running.drive_until(LocalizationState.LOCALIZED)
    rest(running)
    before, told = len(running.odom_to_map()), len(running.results.heard)
    pose = Ear(running.client, PoseWithCovarianceStamped, "pose", LATCHED)
    wait_for(lambda: pose.last)
    odom = running.robot.say_where(running.robot.now_ns())
    believed = compose_se2(running.robot.pose, [0.4, -0.3, 0.15])
    state_pose(running, L1.map_frame, believed)
    # The pose believed is said at once ...
    wait_for(lambda: np.hypot(*(conversions.read_stated_pose(pose.last).T_frame_base - believed)[:2]) < 1e-3)
    # ... and map->odom gets there in steps, about the robot.
    wait_for(lambda: np.hypot(*(compose_se2(transforms(running)[-1][1], odom) - believed)[:2]) < 0.01)
    sent = [compose_se2(T, odom) for _, T in transforms(running)[before - 1 :]]
    steps = relative_se2(np.stack(sent[:-1]), np.stack(sent[1:]))
    assert np.hypot(steps[:, 0], steps[:, 1]).max() <= 0.05 and np.degrees(np.abs(steps[:, 2])).max() <= 1.0
    assert len(sent) > 10
    assert {r.state for r in running.results.heard[told:]} == {LocalizationState.LOCALIZED}
    assert float(running.told("localizer")["transform_lag_m"]) < 0.6


@pytest.mark.parametrize(("level", "pose"), [(L1, [9.0, 5.0, 0.3]), (L2, [2.5, 6.5, 0.3])])
def test_a_pose_that_leaps_passes_through_lost_and_a_silence(running: House, level: Any, pose: list[float]) -> None:
    running.drive_until(LocalizationState.LOCALIZED)
    rest(running)
    told = len(running.results.heard)
    odom = running.robot.say_where(running.robot.now_ns())
    state_pose(running, level.map_frame, pose)
    wait_for(lambda: len(running.results.heard) > told + 1)
    assert running.results.last.header.frame_id == level.map_frame
    states = [r.state for r in running.results.heard[told:]]
    assert states == [LocalizationState.LOST, LocalizationState.LOCALIZED]
    lost = running.results.heard[told]
    assert ("another level" if level == L2 else "the pose moved by") in lost.message
    assert lost.header.frame_id == "" and not lost.building_id
    wait_for(lambda: transforms(running)[-1][0] == level.map_frame)
    np.testing.assert_allclose(compose_se2(transforms(running)[-1][1], odom), pose, atol=1e-6)
    # In odom nothing moved: only the parent of odom is another.
    frames = [(t.header.frame_id, t.child_frame_id) for m in running.transforms.heard for t in m.transforms]
    assert {parent for parent, child in frames if child == "base_link"} == {"odom"}
    assert {parent for parent, child in frames if child == "odom"} == {L1.map_frame, level.map_frame}


def test_without_new_fixes_poses_go_on_along_odometry_with_growing_doubt(running: House) -> None:
    running.drive_until(LocalizationState.LOCALIZED)
    rest(running)
    pose = Ear(running.client, PoseWithCovarianceStamped, "pose", LATCHED)
    wait_for(lambda: pose.last)
    results, start = len(running.results.heard), running.robot.pose
    first = conversions.read_stated_pose(pose.last)
    for _ in range(40):  # Odometry alone, at 40 Hz for a second.
        running.robot.pose = compose_se2(running.robot.pose, [0.02, 0.0, 0.01])
        running.robot.say_where(running.robot.now_ns())
        time.sleep(0.025)
    heard = wait_for(lambda: [conversions.read_stated_pose(m) for m in pose.heard[1:]])
    assert 4 <= len(heard) <= 16, "bounded by pose_rate_hz"
    stamps = [p.stamp_ns for p in heard]
    assert stamps == sorted(stamps) and len(set(stamps)) == len(stamps)
    moved = relative_se2(first.T_frame_base, heard[-1].T_frame_base)
    assert moved[0] == pytest.approx(relative_se2(start, running.robot.pose)[0], abs=0.15)
    assert np.trace(heard[-1].covariance) > np.trace(first.covariance)
    assert len(running.results.heard) - results <= 2, "results are answers to sensor data"


def test_a_fix_of_the_past_is_said_for_now(running: House) -> None:
    """Data that were long under way: their pose is carried along odometry before it is said."""
    running.drive_until(LocalizationState.LOCALIZED)
    rest(running)
    pose = Ear(running.client, PoseWithCovarianceStamped, "pose", LATCHED)
    late = running.robot.cloud_at(running.robot.now_ns())
    running.robot.say_where(conversions.stamp_ns(late))
    for _ in range(20):
        running.robot.pose = compose_se2(running.robot.pose, [0.02, 0.0, 0.0])
        running.robot.say_where(running.robot.now_ns())
        time.sleep(0.02)
    heard = len(running.results.heard)
    running.robot.points.publish(late)
    result = wait_for(lambda: len(running.results.heard) > heard and running.results.last)
    time.sleep(0.2)
    stated = conversions.read_stated_pose(pose.last)
    assert conversions.stamp_ns(result) == conversions.stamp_ns(late) < stated.stamp_ns
    assert np.hypot(*(stated.T_frame_base - running.robot.pose)[:2]) < 0.2
    stamps = [conversions.stamp_ns(m) for m in pose.heard]
    assert stamps == sorted(stamps)
