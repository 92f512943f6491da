"""Bad input at the nodes and the core: named with field and value, survived, and never a confident pose."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

from nav_msgs.msg import OccupancyGrid
from planted import asymmetric_plan
from ros_graph import L1, House, graph, wait_for, write_map
from sensor_messages import header, laser_scan
from sensor_msgs.msg import LaserScan

from crossover_models.estimate import LocalizationState
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan, FloorPlanError
from crossover_models.geometry import compose_se2, inverse_se2, se3_from_se2
from crossover_ros import conversions
from crossover_ros.conversions import answers

S = 1_000_000_000


def never_confident(running: House) -> None:
    assert all(r.state != LocalizationState.LOCALIZED for r in running.results.heard)
    assert not running.odom_to_map()


# -- sensors -------------------------------------------------------------------------------------------------------


def test_a_scan_of_one_point_is_survived_and_says_why_it_is_no_pose(running: House) -> None:
    publisher = running.client.create_publisher(LaserScan, "scan", 10)
    running.robot.transforms.send_static(
        running.robot.now_ns(), [("base_link", "laser", se3_from_se2([0.0, 0.0, 0.0], 0.3))]
    )
    wait_for(publisher.get_subscription_count)

    def dot() -> None:
        stamp_ns = running.robot.now_ns()
        running.robot.say_where(stamp_ns)
        ranges = np.full(240, np.inf)
        ranges[7] = 2.0
        message = laser_scan(ranges, -np.pi, 2 * np.pi / 240)
        message.header = header("laser", stamp_ns)
        publisher.publish(message)

    wait_for(lambda: running.results.last and running.results.last.failure_category == "weak_overlap", 15.0, dot)
    assert running.results.last.message, "says why"
    assert running.results.last.unknown_probability == 1.0 and not running.results.last.hypotheses
    wait_for(lambda: running.told("localizer").get("failure_category") == "weak_overlap")
    answer = running.relocalize(timeout_s=5.0)
    assert answer.code in (answer.INSUFFICIENT_STRUCTURE, answer.NO_SENSOR_DATA) and not answer.success
    never_confident(running)


@pytest.mark.parametrize("value", [FREE, OCCUPIED, UNKNOWN])
def test_a_plan_all_of_one_color_never_makes_a_confident_pose(value: int, tmp_path: Path) -> None:
    plan = FloorPlan(np.full((240, 320), value, dtype=np.int8), 0.05, (0.0, 0.0))
    flat = write_map(tmp_path / "flat.xmap", plans={L1: plan})
    with graph(lambda: House(str(flat))) as nodes:
        nodes.start()
        for _ in range(5):
            nodes.robot.step(0.3)
            time.sleep(0.2)
        result = wait_for(lambda: nodes.results.last if nodes.results.last.header.stamp.sec else None)
        assert result.failure_category == "weak_overlap" and result.message
        assert not nodes.relocalize(timeout_s=5.0).success
        never_confident(nodes)


@pytest.mark.parametrize("resolution_m", [0.0, -0.05, float("nan")])
def test_a_resolution_of_zero_is_refused_by_name_and_value(resolution_m: float) -> None:
    with pytest.raises(FloorPlanError, match=f"resolution.*{resolution_m}"):
        FloorPlan(np.zeros((4, 4), dtype=np.int8), resolution_m, (0.0, 0.0))
    grid = answers.occupancy_grid(asymmetric_plan(), S, "map")
    assert isinstance(grid, OccupancyGrid)
    grid.info.resolution = resolution_m
    with pytest.raises(ValueError, match="resolution"):
        conversions.read_occupancy_grid(grid)


# -- clocks and odometry -------------------------------------------------------------------------------------------


def test_odometry_that_leaps_is_named_costs_the_pose_and_the_walls_bring_it_back(running: House) -> None:
    running.drive_until(LocalizationState.LOCALIZED)
    robot, told = running.robot, len(running.results.heard)
    robot.T_odom_map = compose_se2([40.0, -11.0, 2.0], inverse_se2(robot.pose))
    robot.say_where(robot.now_ns())
    wait_for(lambda: any(r.state == LocalizationState.LOST for r in running.results.heard[told:]))
    running.counts("localizer", "odometry_leaps", 1)
    assert "odometry: pose.pose: leaps by" in running.told("localizer")["last_fault"]
    result = running.drive_until(LocalizationState.LOCALIZED, 30.0)
    assert result.level_id == "L1"
    stated = answers.read_hypothesis(result.hypotheses[0]).T_map_base
    assert np.hypot(*(stated - robot.pose)[:2]) < 1.0


def test_repeated_stamps_change_nothing(running: House) -> None:
    """The same odometry and the same cloud again and again are no further evidence."""
    running.drive_until(LocalizationState.LOCALIZED)
    stamp_ns = running.robot.now_ns()
    running.robot.say_where(stamp_ns)
    same = running.robot.cloud_at(stamp_ns)
    for _ in range(5):
        running.robot.points.publish(same)
        running.robot.say_where(stamp_ns)
        time.sleep(0.1)
    time.sleep(0.5)
    assert running.state() == LocalizationState.LOCALIZED
    told = running.told("localizer")
    assert "odometry_leaps" not in told and "odometry_backwards" not in told
    running.drive_until(LocalizationState.LOCALIZED)


def test_a_clock_that_runs_backwards_is_told_and_the_run_goes_on(running: House) -> None:
    running.drive_until(LocalizationState.LOCALIZED)
    robot = running.robot
    robot.say_where(robot.now_ns() - 20 * S)
    running.counts("localizer", "odometry_backwards", 1)
    assert "odometry: header.stamp: runs back by" in running.told("localizer")["last_fault"]
    running.drive_until(LocalizationState.LOCALIZED)
    best = answers.read_hypothesis(running.results.last.hypotheses[0])
    assert np.hypot(*(best.T_map_base - robot.pose)[:2]) < 1.0


def test_a_pose_off_the_map_is_refused_by_value(running: House) -> None:
    from geometry_msgs.msg import PoseWithCovarianceStamped

    publisher: Any = running.client.create_publisher(PoseWithCovarianceStamped, "initialpose", 10)
    wait_for(publisher.get_subscription_count)
    publisher.publish(answers.stamped_pose(0, L1.map_frame, np.array([500.0, 0.0, 0.0]), np.eye(3)))
    running.counts("localizer", "initialpose_refused", 1)
    fault = running.told("localizer")["last_fault"]
    assert fault == "initialpose: pose: (500.00, 0.00) m is off the plan of map_house_L1"
    never_confident(running)
