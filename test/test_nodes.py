"""The nodes over real DDS: data in, answers out, every failure told and survived."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

import crossover_ros.msg as messages
import crossover_ros.srv as srv
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import GetState
from nav_msgs.msg import OccupancyGrid
from planted import FINGERPRINT
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_graph import (
    L1,
    L2,
    LATCHED,
    PLANS,
    T_BASE_LIDAR,
    T_ODOM_MAP,
    Ear,
    Graph,
    House,
    PlantedEncoder,
    TFMessage,
    graph,
    pose_of,
    wait_for,
)
from sensor_messages import cloud, header, image, laser_scan, through_bag, through_dds
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan
from test_conversions import PICTURE, camera_info, compressed, widths
from visualization_msgs.msg import MarkerArray

from crossover_models.config import EncoderSettings
from crossover_models.estimate import LocalizationState
from crossover_models.geometry import compose_se2, inverse_se2, se2_from_se3, se3_from_se2
from crossover_models.observation import Modality, PointCloudObservation
from crossover_models.perception import Perception
from crossover_ros import conversions
from crossover_ros.conversions import answers
from crossover_ros.encoder_node import EncoderNode
from crossover_ros.encoder_source import EncoderSource

S = 1_000_000_000


# -- the whole way -------------------------------------------------------------------------------------------------


def test_from_clouds_to_pose_and_transform(running: House) -> None:
    pose = Ear(running.client, PoseWithCovarianceStamped, "pose", LATCHED)
    plan = Ear(running.client, OccupancyGrid, "floor_plan", LATCHED)
    markers = Ear(running.client, MarkerArray, "hypotheses")
    retrieval = Ear(running.client, messages.SceneRetrieval, "scene_retrieval")
    static = Ear(running.client, TFMessage, "/tf_static", LATCHED)
    running.robot.step()
    wait_for(lambda: running.state() == LocalizationState.INITIALIZING)
    assert not running.odom_to_map(), "map->odom before the first localization"
    result = running.drive_until(LocalizationState.LOCALIZED)
    assert (result.building_id, result.level_id, result.place_name) == ("house", "L1", "L1-west")
    assert result.header.frame_id == "map_house_L1" and result.failure_category == "healthy"
    assert list(result.modalities_used) == ["point_cloud"] and result.scans_accumulated > 1
    sent = wait_for(running.odom_to_map)[-1]
    T = conversions.read_pose(pose_of(sent.transform))
    assert sent.header.frame_id == "map_house_L1"
    np.testing.assert_allclose(se2_from_se3(T), inverse_se2(T_ODOM_MAP), atol=0.1)
    now_ns = running.robot.now_ns()
    assert 0.5 < (conversions.stamp_ns(sent) - now_ns) / S < 1.1, "post-dated by transform_tolerance"
    # The result speaks of the sweep's stamp: where the robot was then.
    assert result.header.stamp.sec > 0
    wait_for(lambda: pose.last)
    stated = conversions.read_stated_pose(pose.last)
    assert stated.frame_id == "map_house_L1"
    assert np.hypot(*(stated.T_frame_base - running.robot.pose)[:2]) < 0.5
    assert conversions.read_occupancy_grid(wait_for(lambda: plan.last)).occupancy.shape == PLANS[L1].occupancy.shape
    assert plan.last.header.frame_id == "map_house_L1"
    wait_for(lambda: markers.last and len(markers.last.markers) > 1)
    assert wait_for(lambda: retrieval.last).places[0].name == "L1-west"
    frames = {(t.header.frame_id, t.child_frame_id): t for m in static.heard for t in m.transforms}
    assert frames[("building_house", "map_house_L2")].transform.translation.z == 3.0
    assert wait_for(lambda: running.told("localizer")["level"] == "0")


def test_raw_and_compressed_images_become_embeddings(running: House) -> None:
    raw = running.client.create_publisher(Image, "image", 10)
    packed = running.client.create_publisher(CompressedImage, "image/compressed", 10)
    retrieval = Ear(running.client, messages.SceneRetrieval, "scene_retrieval")
    wait_for(lambda: raw.get_subscription_count() and packed.get_subscription_count())
    blue = np.zeros((48, 64, 3), dtype=np.uint8)
    blue[..., 2] = 200
    stamp_ns = running.robot.now_ns()
    raw.publish(widths(image(blue, "rgb8", stamp_ns=stamp_ns), 64))
    heard = wait_for(lambda: running.embeddings.last)
    assert heard.modality == "image" and heard.fingerprint == FINGERPRINT
    assert conversions.stamp_ns(heard) == stamp_ns
    assert answers.read_embedding(heard).wall_slice is None
    np.testing.assert_array_equal(running.encoder.images[0], blue)
    assert wait_for(lambda: retrieval.last).query_modality == "image"
    assert retrieval.last.places[0].name == "L1-east"
    message = compressed(".png")
    message.header = header("camera", running.robot.now_ns())
    time.sleep(0.05)
    packed.publish(message)
    wait_for(lambda: len(running.encoder.images) == 2)
    assert running.encoder.images[1].shape == (48, 64, 3)


def test_a_planar_scan_is_enough(running: House) -> None:
    publisher = running.client.create_publisher(LaserScan, "scan", 10)
    running.robot.transforms.send_static(
        running.robot.now_ns(), [("base_link", "laser", se3_from_se2([0.0, 0.0, 0.0], 0.3))]
    )
    wait_for(publisher.get_subscription_count)

    def step() -> None:
        robot = running.robot
        robot.advance(0.25)
        stamp_ns = robot.now_ns()
        robot.say_where(stamp_ns)
        robot.sweeps += 1
        points = robot.walls_seen()
        ranges = np.full(240, np.inf)
        beam = np.round((np.arctan2(points[:, 1], points[:, 0]) + np.pi) / (2 * np.pi / 240)).astype(int) % 240
        ranges[beam] = np.linalg.norm(points, axis=1)
        message = laser_scan(ranges, -np.pi, 2 * np.pi / 240)
        message.header = header("laser", stamp_ns)
        publisher.publish(message)

    wait_for(lambda: running.state() == LocalizationState.LOCALIZED, 15.0, step)
    assert running.results.last.place_name == "L1-west"
    assert list(running.results.last.modalities_used) == []


# -- replay equals the core ----------------------------------------------------------------------------------------


def test_the_way_through_messages_equals_calling_the_core(running: House) -> None:
    """The same sweeps, given as arrays, as messages through DDS and rosbags, and through the live node."""
    robot = running.robot
    direct = Perception(PlantedEncoder(), EncoderSettings())
    replays = [(Perception(PlantedEncoder(), EncoderSettings()), trip) for trip in (through_dds, through_bag)]
    for k in range(4):
        robot.pose = compose_se2(robot.pose, [0.3, 0.0, 0.05])
        stamp_ns = robot.now_ns()
        odom = se3_from_se2(compose_se2(T_ODOM_MAP, robot.pose))
        message = robot.cloud_at(stamp_ns)
        points = np.frombuffer(message.data, dtype=np.float32).reshape(-1, 4)[:, :3]
        expected = direct.on_cloud(PointCloudObservation(stamp_ns, points.copy(), T_BASE_LIDAR, odom))
        assert expected is not None and expected.wall_slice is not None
        for perception, trip in replays:
            sweep = conversions.read_cloud(trip(message))
            observation = PointCloudObservation(sweep.stamp_ns, sweep.points, T_BASE_LIDAR, odom)
            got = perception.on_cloud(observation)
            assert got is not None and got.wall_slice is not None
            np.testing.assert_array_equal(got.vector, expected.vector)
            np.testing.assert_array_equal(got.wall_slice.points, expected.wall_slice.points)
        robot.say_where(stamp_ns)
        robot.points.publish(message)
        wait_for(lambda count=k: len(running.embeddings.heard) > count)
        live = answers.read_embedding(running.embeddings.last)
        assert (live.stamp_ns, live.modality) == (expected.stamp_ns, Modality.POINT_CLOUD)
        np.testing.assert_array_equal(live.vector, expected.vector)
        assert live.wall_slice is not None
        np.testing.assert_allclose(live.wall_slice.T_odom_aligned, expected.wall_slice.T_odom_aligned, atol=1e-9)
        assert abs(len(live.wall_slice.points) - len(expected.wall_slice.points)) <= 2
    assert len(running.encoder.clouds) == 4


# -- lifecycle and parameters --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["encoder", "localizer"])
def test_every_transition_of_the_lifecycle(name: str, house: Path) -> None:
    with graph(lambda: House(str(house))) as nodes:
        for transition, label in (
            (Transition.TRANSITION_CONFIGURE, "inactive"),
            (Transition.TRANSITION_ACTIVATE, "active"),
            (Transition.TRANSITION_DEACTIVATE, "inactive"),
            (Transition.TRANSITION_ACTIVATE, "active"),
            (Transition.TRANSITION_DEACTIVATE, "inactive"),
            (Transition.TRANSITION_CLEANUP, "unconfigured"),
            (Transition.TRANSITION_CONFIGURE, "inactive"),
            (Transition.TRANSITION_INACTIVE_SHUTDOWN, "finalized"),
        ):
            assert nodes.change(name, transition), label
            assert nodes.lifecycle_state(name) == label


def test_an_inactive_node_takes_no_data_and_says_so(running: House) -> None:
    running.drive_until(LocalizationState.LOCALIZED)
    assert running.change("localizer", Transition.TRANSITION_DEACTIVATE)
    wait_for(lambda: "inactive" in running.told("localizer")["message"])
    time.sleep(0.2)
    results, sent = len(running.results.heard), len(running.odom_to_map())
    running.robot.step()
    time.sleep(0.4)
    assert (len(running.results.heard), len(running.odom_to_map())) == (results, sent)
    answer = running.relocalize(timeout_s=0.3)
    assert not answer.success and "inactive" in answer.message
    assert running.change("localizer", Transition.TRANSITION_ACTIVATE)
    running.drive_until(LocalizationState.LOCALIZED)


def test_thresholds_change_while_running_and_bad_values_do_not(running: House) -> None:
    def put(name: str, value: Any) -> Any:
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return running.call(SetParameters, "localizer/set_parameters", request).results[0]

    assert put("belief.stale_s", 0.4).successful
    assert not put("belief.stale_s", -1.0).successful
    assert not put("database", "other.xmap").successful
    running.drive_until(LocalizationState.LOCALIZED)
    wait_for(lambda: running.results.last.failure_category == "stale")
    wait_for(lambda: running.told("localizer")["message"].startswith("stale: the newest sensor data are"))
    assert running.odom_to_map(), "odometry still carries the pose"


def test_only_timers_that_are_needed_tick(running: House) -> None:
    """Every tick costs the executor: nobody waits here, so nothing looks for requests or late transforms."""
    needed_hz = ticking_hz = 0.0
    for node in (running.sensing, running.localizer):
        needed_hz += 1.0 / node.diagnostics_period_s + 1.0 / node.settings.bond_heartbeat_period
        ticking_hz += sum(1e9 / timer.timer_period_ns for timer in node.timers if not timer.is_canceled())
    assert ticking_hz == pytest.approx(needed_hz + running.localizer.settings.transform_rate_hz)


def test_a_cloud_before_its_transform_is_encoded_when_that_comes(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossover_ros.encoder_node.POLL_S", 3600.0)
    with graph(lambda: House(str(house))) as nodes:
        nodes.start()
        robot = nodes.robot
        stamp_ns = robot.now_ns()
        robot.points.publish(robot.cloud_at(stamp_ns))
        wait_for(lambda: nodes.told("encoder").get("waiting_for_transforms") == "1")
        robot.say_where(stamp_ns)
        nodes.counts("encoder", "embeddings")
        assert float(nodes.told("encoder")["transforms_ms"].split()[0]) > 0.0


# -- bad input -----------------------------------------------------------------------------------------------------


def test_bad_input_is_counted_warned_of_and_survived(running: House) -> None:
    robot = running.robot
    images = running.client.create_publisher(Image, "image", 10)
    packed = running.client.create_publisher(CompressedImage, "image/compressed", 10)
    wait_for(lambda: images.get_subscription_count() and packed.get_subscription_count())

    robot.say_where(stamp_ns := robot.now_ns())
    robot.points.publish(cloud(np.full((7, 3), np.nan), stamp_ns=stamp_ns))
    running.counts("encoder", "nan_points", 7)
    running.counts("encoder", "points_refused", 1)

    message = robot.cloud_at(stamp_ns)
    message.fields = message.fields[:2]
    robot.points.publish(message)
    running.counts("encoder", "points_refused", 2)

    robot.points.publish(cloud(np.ones((9, 3)), frame="moon", stamp_ns=stamp_ns))
    running.counts("encoder", "transforms_failed", 1)
    robot.points.publish(robot.cloud_at(stamp_ns + 3600 * S))  # TF never gets there.
    running.counts("encoder", "transforms_failed", 2)
    robot.points.publish(robot.cloud_at(stamp_ns - 3600 * S))
    running.counts("encoder", "transforms_failed", 3)
    robot.points.publish(cloud(np.ones((9, 3)), stamp_ns=0))
    running.counts("encoder", "points_refused", 3)

    depth = widths(image(PICTURE, "32FC1", stamp_ns=robot.now_ns()), 8)
    images.publish(depth)
    running.counts("encoder", "image_refused", 1)
    time.sleep(0.05)
    broken = CompressedImage(header=header("camera", robot.now_ns()), format="jpeg", data=b"\xff\xd8 no jpeg")
    packed.publish(broken)
    running.counts("encoder", "image_refused", 2)
    time.sleep(0.05)
    dot = np.full((1, 1, 3), 9, dtype=np.uint8)
    images.publish(widths(image(dot, "rgb8", stamp_ns=robot.now_ns()), 1))
    wait_for(lambda: running.encoder.images)

    wrong = Parameter("base_frame", value="base_footprint")
    assert wrong.value == "base_footprint"
    odometry = through_dds(_odometry(robot.now_ns(), "base_footprint"))
    robot.odom.publish(odometry)
    running.counts("localizer", "odometry_refused", 1)
    running.drive_until(LocalizationState.LOCALIZED)


def _odometry(stamp_ns: int, child: str) -> Any:
    from nav_msgs.msg import Odometry

    out = Odometry(header=header("odom", stamp_ns), child_frame_id=child)
    out.pose.pose.orientation.w = 1.0
    return out


def test_without_odometry_topic_the_embeddings_carry_it(running: House) -> None:
    def step() -> None:
        robot = running.robot
        robot.advance()
        stamp_ns = robot.now_ns()
        robot.transforms.send("odom", "base_link", stamp_ns, se3_from_se2(compose_se2(T_ODOM_MAP, robot.pose)))
        robot.points.publish(robot.cloud_at(stamp_ns))

    wait_for(lambda: running.state() == LocalizationState.LOCALIZED, 15.0, step)


def test_a_slow_encoder_drops_the_oldest_and_says_overload(running: House, monkeypatch: pytest.MonkeyPatch) -> None:
    running.encoder.pause_s = 0.4
    request = SetParameters.Request(parameters=[Parameter("overload_s", value=0.1).to_parameter_msg()])
    assert running.call(SetParameters, "encoder/set_parameters", request).results[0].successful
    images = running.client.create_publisher(Image, "image", 10)
    wait_for(images.get_subscription_count)

    def see() -> None:
        images.publish(widths(image(PICTURE, "rgb8", stamp_ns=running.robot.now_ns()), 8))

    wait_for(lambda: int(running.told("encoder").get("image_dropped", 0)) > 3, 30.0, see)
    wait_for(lambda: running.told("encoder")["failure_category"] == "overload", 30.0, see)
    assert running.told("encoder")["level"] == "1"

    # The executor must not wait for the encoder: it answers while that stands still, however long.
    stuck, release = threading.Event(), threading.Event()

    def stand_still(_: Any) -> Any:
        stuck.set()
        release.wait()
        raise ValueError("stood still")

    monkeypatch.setattr(running.encoder, "encode_images", stand_still)
    try:
        wait_for(stuck.is_set, 30.0, see)
        assert running.lifecycle_state("encoder") == "active"
    finally:
        release.set()


def test_no_data_is_said(running: House) -> None:
    wait_for(lambda: running.told("encoder").get("failure_category") == "no_sensor_data")
    wait_for(lambda: running.told("localizer").get("failure_category") == "no_sensor_data")
    assert running.told("localizer")["level"] == "1"


def test_rectifying_needs_the_camera_and_then_undistorts(running: House) -> None:
    request = SetParameters.Request(parameters=[Parameter("rectify_images", value=True).to_parameter_msg()])
    assert running.call(SetParameters, "encoder/set_parameters", request).results[0].successful
    images = running.client.create_publisher(Image, "image", 10)
    infos = running.client.create_publisher(CameraInfo, "camera_info", 10)
    wait_for(lambda: images.get_subscription_count() and infos.get_subscription_count())
    picture = np.tile(np.arange(64, dtype=np.uint8)[:, None] * 3, (48, 1, 3))

    def see() -> None:
        images.publish(widths(image(picture, "rgb8", stamp_ns=running.robot.now_ns()), 64))

    see()
    running.counts("encoder", "image_refused", 1)
    infos.publish(camera_info())
    wait_for(lambda: running.encoder.images, 10.0, see)
    expected = conversions.read_camera_info(camera_info()).rectified(picture)
    np.testing.assert_array_equal(running.encoder.images[-1], expected)
    assert (expected != picture).any()


def test_on_another_level_odom_hangs_under_another_map_and_does_not_jump(running: House) -> None:
    plan = Ear(running.client, OccupancyGrid, "floor_plan", LATCHED)
    running.drive_until(LocalizationState.LOCALIZED)
    running.robot.take_lift(L2, np.array([2.5, 6.5, 0.3]))
    request = srv.SetLevel.Request(building_id="house", level_id="L2")
    assert running.call(srv.SetLevel, "set_level", request).success
    wait_for(lambda: running.state() == LocalizationState.INITIALIZING)
    time.sleep(0.1)
    sent = len(running.odom_to_map())
    result = running.drive_until(LocalizationState.LOCALIZED)
    assert result.header.frame_id == "map_house_L2"
    newer = wait_for(lambda: running.odom_to_map()[sent:])
    assert {t.header.frame_id for t in newer} == {"map_house_L2"}
    T_map_odom = se2_from_se3(conversions.read_pose(pose_of(newer[-1].transform)))
    np.testing.assert_allclose(T_map_odom, inverse_se2(running.robot.T_odom_map), atol=0.15)
    wait_for(lambda: [m.header.frame_id for m in plan.heard] == ["map_house_L1", "map_house_L2"])
    odometry = [t for m in running.transforms.heard for t in m.transforms if t.child_frame_id == "base_link"]
    x = [t.transform.translation.x for t in odometry]
    assert np.abs(np.diff(x)).max() < 0.5


@pytest.mark.parametrize("failure", [ValueError("small.safetensors: tensor head.weight is missing"), KeyError("odd")])
def test_encoders_that_do_not_load_leave_the_node_alive_and_told(failure: Exception) -> None:
    def load(checkpoint: str, device: str) -> Any:
        raise failure

    with graph(Graph) as nodes:
        told = Ear(nodes.client, DiagnosticArray, "/diagnostics")
        encoder = nodes.add(EncoderNode(EncoderSource(load)))
        assert not nodes.in_executor(encoder.autostart)
        wait_for(lambda: told.last)
        status = told.last.status[0]
        assert status.level == status.ERROR and str(failure).strip("'") in status.message
        assert nodes.call(GetState, "encoder/get_state").current_state.label == "unconfigured"


def test_a_burst_waits_for_the_work_in_hand_and_none_of_it_is_lost(running: House) -> None:
    images = running.client.create_publisher(Image, "image", 10)
    wait_for(images.get_subscription_count)
    held = threading.Event()
    running.localizer.worker.call(lambda: held.wait(30.0))  # As a search of a large map.
    wait_for(lambda: running.localizer.worker.busy_s > 0.0)
    # One of them is broken, and takes no other with it.
    good = image(PICTURE, "rgb8", stamp_ns=running.robot.now_ns())
    for message in (good, image(PICTURE, "no_such", stamp_ns=running.robot.now_ns()), good):
        heard = len(running.embeddings.heard) + int(running.told("encoder").get("image_refused", 0))
        images.publish(widths(message, 8))
        time.sleep(0.05)  # Faster than max_image_rate_hz they would be skipped.
        wait_for(
            lambda h=heard: len(running.embeddings.heard) + int(running.told("encoder").get("image_refused", 0)) > h
        )
    held.set()
    running.counts("localizer", "embeddings", 2)
    assert running.told("localizer").get("embedding_image_dropped", "0") == "0"

    # The encoder's own queue: with the first in work, two more wait.
    running.encoder.pause_s = 1.0
    heard = len(running.embeddings.heard)
    for _ in range(3):
        images.publish(widths(image(PICTURE, "rgb8", stamp_ns=running.robot.now_ns()), 8))
        time.sleep(0.1)
    wait_for(lambda: len(running.embeddings.heard) >= heard + 3, 20.0)
    assert running.told("encoder").get("image_dropped", "0") == "0"
