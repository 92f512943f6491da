"""A robot with a depth camera and no lidar: its depths give walls, walls a pose; from a bag and over ROS."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from depth_bag import CAMERA_HEIGHT_M, FOCAL_PX, HEIGHT, OPTICAL, WIDTH, depths, write_depth_bag
from numpy.typing import NDArray
from planted import PlantedMap, asymmetric_plan, other_plan
from planted_bag import PlantedEncoder

from crossover_models.estimate import LevelKey, LocalizationState
from crossover_models.evaluation.run_record import RunInfo, RunWriter, read_record
from crossover_models.geometry import compose_se2
from crossover_models.localizer import Localizer
from crossover_models.perception import Perception
from crossover_ros.bag_player import _input_names, parser
from crossover_ros.bag_reading import Bag, BagError
from crossover_ros.bag_topics import TopicError, Topics, choose_topics, node_names
from crossover_ros.evaluate import node_settings
from crossover_ros.replay import Replay

A, B = LevelKey("house", "L1"), LevelKey("house", "L2")
IMAGE, INFO, CLOUD = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/PointCloud2"


def looking_around() -> list[NDArray[np.float64]]:
    """Once around on the spot, then 2 m along the corridor."""
    turn = [np.array([2.0, 5.0, 0.15 * k]) for k in range(43)]
    return turn + [np.array([2.0 + 0.1 * k, 5.0, 6.45]) for k in range(1, 21)]


def test_a_depth_camera_alone_gives_the_pose_from_a_bag(tmp_path: Path) -> None:
    planted = PlantedMap({A: asymmetric_plan(), B: other_plan()})
    poses = looking_around()
    write_depth_bag(tmp_path / "bag", planted.plans[A], poses)
    settings, encoder = node_settings(None), PlantedEncoder(planted)
    with Bag(tmp_path / "bag") as bag:
        assert bag.topics == Topics(odom="/odom", depth="/depth/image_raw")
        localizer = Localizer(planted, settings.localizer, encoder.encode_text)
        info = RunInfo("depth", "replay", True, "db", encoder.fingerprint, bag.started_ns, bag.finished_ns)
        with RunWriter(tmp_path / "run.jsonl", info) as writer:
            replay = Replay(Perception(encoder, settings.encoder), localizer, settings.encoder, writer)
            replay.run(bag)
            writer.end(1.0)
    assert replay.counts.taken["depth"] == len(poses) and not replay.counts.dropped
    last = read_record(tmp_path / "run.jsonl").estimates[-1].estimate
    assert last.state == LocalizationState.LOCALIZED and last.best is not None and last.best.level == A
    assert np.hypot(*(last.best.T_map_base - poses[-1])[:2]) < 0.15


def test_depths_without_their_calibration_are_refused(tmp_path: Path) -> None:
    write_depth_bag(tmp_path / "bag", asymmetric_plan(), looking_around()[:3], leave_out=("/depth/camera_info",))
    with pytest.raises(BagError, match="/depth/image_raw: no camera_info"):
        Bag(tmp_path / "bag")


def test_depths_are_played_under_the_names_of_the_nodes(tmp_path: Path) -> None:
    write_depth_bag(tmp_path / "bag", asymmetric_plan(), looking_around()[:3])
    for chosen in ([], ["--depth", "/depth/image_raw"]):
        names = _input_names(parser().parse_args([str(tmp_path / "bag"), "--inputs", *chosen]))
        assert names["/depth/image_raw"] == "depth" and names["/depth/camera_info"] == "depth/camera_info"
    with pytest.raises(BagError, match="no topic /nothing"):
        _input_names(parser().parse_args([str(tmp_path / "bag"), "--inputs", "--depth", "/nothing"]))


class _Encoded:
    def __init__(self, encoding: str) -> None:
        self.encoding = encoding


def test_depth_images_are_taken_where_there_is_no_lidar_and_are_never_pictures() -> None:
    held = {"/c/image_raw": IMAGE, "/c/camera_info": INFO, "/d/image_raw": IMAGE, "/d/camera_info": INFO}
    messages = {"/c/image_raw": _Encoded("rgb8"), "/d/image_raw": _Encoded("16UC1")}
    found = choose_topics(held, Topics(), messages.get)
    assert found == Topics(image="/c/image_raw", depth="/d/image_raw")
    assert node_names(found, held) == {
        "/c/image_raw": "image",
        "/c/camera_info": "camera_info",
        "/d/image_raw": "depth",
        "/d/camera_info": "depth/camera_info",
    }
    assert choose_topics({**held, "/p": CLOUD}, Topics(), messages.get).depth == ""
    only_depth = {"/d/image_raw": IMAGE, "/d/camera_info": INFO}
    assert choose_topics(only_depth, Topics(), messages.get) == Topics(depth="/d/image_raw")
    with pytest.raises(TopicError, match=r"no lidar topic .* and no depth images"):
        choose_topics({"/c/image_raw": IMAGE}, Topics(), messages.get)


def test_a_depth_camera_alone_gives_the_pose_over_ros(house: Path) -> None:
    """No lidar, no picture: depth images with their calibration, odometry and transforms."""
    pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")
    from ros_graph import L1, PLANS, House, graph, wait_for
    from sensor_messages import header
    from sensor_msgs.msg import CameraInfo, Image

    with graph(lambda: House(str(house))) as running:
        depth = running.client.create_publisher(Image, "depth", 10)
        info = running.client.create_publisher(CameraInfo, "depth/camera_info", 10)
        running.start()
        wait_for(lambda: depth.get_subscription_count() and info.get_subscription_count())
        mount = np.eye(4)
        mount[:3, :3], mount[2, 3] = OPTICAL, CAMERA_HEIGHT_M
        robot = running.robot
        robot.transforms.send_static(robot.now_ns(), [("base_link", "depth_optical", mount)])

        steps = itertools.count()

        def step() -> None:
            robot.pose = compose_se2(robot.pose, [0.0, 0.0, 0.15] if next(steps) < 42 else [0.06, 0.0, 0.0])
            stamp_ns = robot.now_ns()
            robot.say_where(stamp_ns)
            k = [FOCAL_PX, 0.0, (WIDTH - 1) / 2, 0.0, FOCAL_PX, (HEIGHT - 1) / 2, 0.0, 0.0, 1.0]
            about = header("depth_optical", stamp_ns)
            info.publish(CameraInfo(header=about, height=HEIGHT, width=WIDTH, distortion_model="plumb_bob", k=k))
            data = np.round(depths(PLANS[L1], robot.pose) * 1e3).astype("<u2").tobytes()
            depth.publish(Image(header=about, height=HEIGHT, width=WIDTH, encoding="16UC1", step=2 * WIDTH, data=data))

        localized = LocalizationState.LOCALIZED
        result = wait_for(lambda: running.results.last if running.state() == localized else None, 40.0, step)
        assert (result.building_id, result.level_id) == ("house", "L1")
        pose = result.pose.pose.position
        assert np.hypot(pose.x - robot.pose[0], pose.y - robot.pose[1]) < 0.4, "it moves on while it is heard"
        assert list(result.modalities_used) == ["point_cloud"]
