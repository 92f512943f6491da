"""What the localizer publishes for people: posts at retrieved places, and the plan as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

from planted import scan
from ros_graph import L1, L2, PLANS, Ear, Graph, graph, wait_for
from sensor_msgs.msg import Image
from visualization_msgs.msg import Marker, MarkerArray

from crossover_models.estimate import (
    FailureCategory,
    Hypothesis,
    LocalizationEstimate,
    LocalizationState,
    RankedPlace,
    Retrieval,
)
from crossover_models.observation import Modality
from crossover_models.plan_picture import SEEN
from crossover_ros.outputs import SHOWN_PLACES, Outputs, place_markers

S = 10**9
POSE = np.array([2.0, 5.0, 0.0])


def ranked(count: int, abstained: bool = False) -> Retrieval:
    places = tuple(
        RankedPlace((L1, L2)[k % 2], f"p{k}", f"Room {k}", "", 0.5, 0.8 / (k + 1), (float(k), 2.0))
        for k in range(count)
    )
    return Retrieval(3 * S, Modality.IMAGE, places, abstained)


def estimate(stamp_ns: int, pose: Any) -> LocalizationEstimate:
    best = Hypothesis(L1, pose, np.eye(3), 0.9, place_name="Room")
    return LocalizationEstimate(stamp_ns, LocalizationState.LOCALIZED, FailureCategory.HEALTHY, "", (best,), 0.1)


@pytest.fixture
def running() -> Iterator[Graph]:
    with graph(Graph) as nodes:
        yield nodes


def test_posts_stand_in_their_levels_frames_higher_where_likelier_and_name_the_place() -> None:
    markers = place_markers(ranked(9)).markers
    assert markers[0].action == Marker.DELETEALL and len(markers) == 1 + 2 * SHOWN_PLACES
    posts, labels = markers[1::2], markers[2::2]
    assert [m.header.frame_id for m in posts[:2]] == ["map_house_L1", "map_house_L2"]
    assert [m.header.stamp.sec for m in posts] == [3] * SHOWN_PLACES
    heights = [m.scale.z for m in posts]
    assert heights == sorted(heights, reverse=True) and heights[0] == pytest.approx(1.6)
    # Posts stand on the floor, and their names above them.
    assert all(m.pose.position.z == pytest.approx(m.scale.z / 2) for m in posts)
    assert all(label.pose.position.z > post.scale.z for post, label in zip(posts, labels, strict=True))
    assert labels[0].text == "1. Room 0 0.80"
    assert len({(m.ns, m.id) for m in markers[1:]}) == 2 * SHOWN_PLACES


def test_what_retrieval_does_not_vouch_for_is_grey() -> None:
    answered, abstained = (place_markers(ranked(1, abstained)).markers[1].color for abstained in (False, True))
    assert abstained.r == abstained.g == abstained.b
    assert answered.g > answered.r


def test_posts_and_picture_are_published_to_those_who_look(running: Graph) -> None:
    outputs = running.in_executor(lambda: Outputs(running.client))
    running.in_executor(lambda: outputs.retrieval(ranked(1), "print"))
    posts = Ear(running.client, MarkerArray, "retrieved_places")
    pictures = Ear(running.client, Image, "floor_plan_overlay")
    seen = replace(scan(PLANS[L1], POSE, seed=0), stamp_ns=S)

    def tell() -> None:
        outputs.retrieval(ranked(2), "print")
        outputs.overlay(estimate(S, POSE), PLANS[L1], seen)
        # An image's estimate, later and turned: the walls stay.
        outputs.overlay(estimate(S + S // 2, POSE + np.array([0.0, 0.0, 1.0])), PLANS[L1], seen)

    wait_for(lambda: posts.last is not None and len(pictures.heard) >= 4, 20.0, lambda: running.in_executor(tell))
    assert len(posts.last.markers) == 5
    by_stamp = {m.header.stamp.nanosec: pixels(m) for m in pictures.heard}
    green = [(by_stamp[ns] == np.array(SEEN)).all(axis=2) for ns in (0, S // 2)]
    assert green[0].sum() > 200 and (green[0] & green[1]).sum() > 0.9 * green[0].sum()
    assert (by_stamp[0] != by_stamp[S // 2]).any()


def pixels(message: Any) -> Any:
    assert (message.encoding, message.header.frame_id, message.step) == ("rgb8", "map_house_L1", 3 * message.width)
    return np.frombuffer(message.data, dtype=np.uint8).reshape(message.height, message.width, 3)
