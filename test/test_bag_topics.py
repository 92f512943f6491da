"""Topics of a bag: guessed by type and by content, overridable, and never chosen where two would do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted import asymmetric_plan, drive
from planted_bag import write_bag

from crossover_ros.bag_reading import BagError, OpenBag
from crossover_ros.bag_topics import TopicError, Topics, choose_topics, node_names

POSES = drive(np.array([1.5, 5.0, 0.0]), 3, step_m=0.3)
CLOUD, IMAGE, SCAN = "sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/Image", "sensor_msgs/msg/LaserScan"
INFO, COMPRESSED, ODOM = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/CompressedImage", "nav_msgs/msg/Odometry"


def nothing_known(_: str) -> None:
    return None


def opened(
    tmp_path: Path, also: dict[str, str], wanted: Topics | None = None, leave_out: tuple[str, ...] = ()
) -> OpenBag:
    write_bag(tmp_path / "bag", asymmetric_plan(), POSES, also=also, leave_out=leave_out)
    return OpenBag(tmp_path / "bag", wanted)


def test_what_only_looks_like_a_camera_or_the_odometry_is_set_aside(tmp_path: Path) -> None:
    also = {"/camera/depth": "depth", "/camera/image_raw/compressed": "compressed", "/wheels": "wheels"}
    with opened(tmp_path, also) as bag:
        assert bag.topics == Topics("/camera/image_raw", "/points", "", "/odom")
        assert bag.remaps == {"/camera/image_raw": "image", "/points": "points", "/odom": "odom"}


def test_two_cameras_are_a_question_that_the_user_answers(tmp_path: Path) -> None:
    also = {"/rear/image_raw": "picture"}
    with pytest.raises(
        BagError, match=r"several topics for image: /camera/image_raw, /rear/image_raw; choose with --image"
    ):
        opened(tmp_path, also)
    with OpenBag(tmp_path / "bag", Topics(image="/rear/image_raw")) as bag:
        assert bag.topics.image == "/rear/image_raw"


def test_a_compressed_camera_has_its_own_name_and_its_camera_info_two_levels_up(tmp_path: Path) -> None:
    also = {"/camera/image_raw/compressed": "compressed"}
    with opened(tmp_path, also, leave_out=("/camera/image_raw",)) as bag:
        held = {**bag.held, "/camera/camera_info": INFO, "/other/camera_info": INFO}
        assert node_names(bag.topics, held) == {
            "/camera/image_raw/compressed": "image/compressed",
            "/camera/camera_info": "camera_info",
            "/points": "points",
            "/odom": "odom",
        }


def test_a_scan_is_taken_only_where_no_cloud_is() -> None:
    both = {"/cloud": CLOUD, "/scan": SCAN}
    assert choose_topics(both, Topics(), nothing_known) == Topics(points="/cloud")
    assert choose_topics(both, Topics(scan="/scan"), nothing_known) == Topics(points="/cloud", scan="/scan")
    assert choose_topics({"/scan": SCAN}, Topics(), nothing_known) == Topics(scan="/scan")


@pytest.mark.parametrize(
    ("held", "wanted", "text"),
    [
        ({"/a": CLOUD, "/b": CLOUD}, Topics(), "several topics for points: /a, /b; choose with --points"),
        ({"/a": CLOUD, "/x": ODOM, "/y": ODOM}, Topics(), "several topics for odom: /x, /y"),
        ({"/a": CLOUD, "/x": IMAGE, "/y": IMAGE}, Topics(), "several topics for image: /x, /y"),
        ({"/a": CLOUD}, Topics(points="/b"), "no topic /b; topics: /a"),
        ({"/a": CLOUD}, Topics(image="/a"), f"/a is {CLOUD}, expected {IMAGE} or {COMPRESSED}"),
        ({"/i": IMAGE}, Topics(), r"no lidar topic .*; topics: /i \(sensor_msgs/msg/Image\)"),
        ({}, Topics(), "no lidar topic .*; topics: none"),
    ],
)
def test_what_cannot_be_chosen_is_said_with_what_there_is(held: dict[str, str], wanted: Topics, text: str) -> None:
    with pytest.raises(TopicError, match=text):
        choose_topics(held, wanted, nothing_known)
    if held == {"/i": IMAGE}:
        assert choose_topics(held, wanted, nothing_known, lidar_required=False) == Topics(image="/i")
