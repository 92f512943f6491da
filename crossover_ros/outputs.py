"""What the localizer publishes: result, pose, hypotheses, ranked places, floor plan, and a picture for people."""

from __future__ import annotations

import array

import numpy as np
from geometry_msgs.msg import Point, PoseArray, PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

import crossover_ros.msg as messages
from crossover_models.estimate import LevelKey, LocalizationEstimate, Retrieval
from crossover_models.floor_plan import FloorPlan
from crossover_models.observation import WallSlice
from crossover_models.plan_picture import draw_overlay
from crossover_ros.conversions.answers import (
    header,
    occupancy_grid,
    pose_message,
    result_message,
    retrieval_message,
    stamped_pose,
)

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Hypotheses less probable than this only clutter a view.
SHOWN_ABOVE = 0.01
SHOWN_PLACES = 5


class Outputs:
    """All topics of the localizer but TF and diagnostics."""

    def __init__(self, node: Node) -> None:
        self._result = node.create_publisher(messages.LocalizationResult, "localization", LATCHED)
        self._pose = node.create_publisher(PoseWithCovarianceStamped, "pose", LATCHED)
        self._retrieval = node.create_publisher(messages.SceneRetrieval, "scene_retrieval", RELIABLE)
        self._markers = node.create_publisher(MarkerArray, "hypotheses", RELIABLE)
        self._particles = node.create_publisher(PoseArray, "particle_cloud", RELIABLE)
        self._plan = node.create_publisher(OccupancyGrid, "floor_plan", LATCHED)
        self._places = node.create_publisher(MarkerArray, "retrieved_places", RELIABLE)
        self._overlay = node.create_publisher(Image, "floor_plan_overlay", RELIABLE)
        self._plan_level: tuple[LevelKey, int] | None = None
        self._seen: tuple[LevelKey, NDArray[np.float64], WallSlice] | None = None

    def result(self, estimate: LocalizationEstimate, database_fingerprint: str, age_s: float) -> None:
        """Publish the result and what shows it."""
        self._result.publish(result_message(estimate, database_fingerprint, age_s))
        best = estimate.best
        if self._markers.get_subscription_count():
            self._markers.publish(hypothesis_markers(estimate))
        if best is not None and self._particles.get_subscription_count():
            poses = [pose_message(h.T_map_base) for h in estimate.hypotheses if h.level == best.level]
            self._particles.publish(PoseArray(header=header(estimate.stamp_ns, best.level.map_frame), poses=poses))

    def pose(self, estimate: LocalizationEstimate) -> None:
        """Publish the best pose; for estimates whose pose is known."""
        best = estimate.best
        if best is not None:
            self._pose.publish(stamped_pose(estimate.stamp_ns, best.level.map_frame, best.T_map_base, best.covariance))

    def retrieval(self, retrieval: Retrieval, database_fingerprint: str) -> None:
        """Publish ranked places."""
        self._retrieval.publish(retrieval_message(retrieval, database_fingerprint))
        if self._places.get_subscription_count():
            self._places.publish(place_markers(retrieval))

    def floor_plan(self, level: LevelKey, plan: FloorPlan, stamp_ns: int) -> None:
        """Publish a level's plan if it is not the one published last."""
        if self._plan_level != (level, id(plan)):
            self._plan_level = (level, id(plan))
            self._plan.publish(occupancy_grid(plan, stamp_ns, level.map_frame))

    def overlay(self, estimate: LocalizationEstimate, plan: FloorPlan, wall_slice: WallSlice | None) -> None:
        """Publish plan, wall slice and hypotheses as a picture, if anybody looks."""
        best = estimate.best
        if best is None or not self._overlay.get_subscription_count():
            return
        if wall_slice is not None and wall_slice.stamp_ns == estimate.stamp_ns:
            # Kept with its pose: that of another moment would turn the walls.
            self._seen = best.level, best.T_map_base, wall_slice
        here = [h for h in estimate.hypotheses if h.level == best.level]
        _, pose, walls = self._seen if self._seen is not None and self._seen[0] == best.level else (None, None, None)
        picture = draw_overlay(plan, here, walls, T_map_slice=pose)
        out = Image(header=header(estimate.stamp_ns, best.level.map_frame), encoding="rgb8")
        out.height, out.width, out.step = picture.shape[0], picture.shape[1], picture.shape[1] * 3
        data = array.array("B")
        data.frombytes(picture.tobytes())
        out.data = data
        self._overlay.publish(out)


def place_markers(retrieval: Retrieval) -> MarkerArray:
    """A post and a label for each retrieved place, as high as it is probable; grey where retrieval abstained."""
    markers = [Marker(action=Marker.DELETEALL)]
    for k, place in enumerate(retrieval.places[:SHOWN_PLACES]):
        stamped = header(retrieval.stamp_ns, place.level.map_frame)
        color = ColorRGBA(r=0.6, g=0.6, b=0.6) if retrieval.abstained else ColorRGBA(r=0.0, g=0.62, b=0.45)
        color.a = float(np.clip(place.probability, 0.2, 1.0))
        height_m = max(0.1, 2.0 * float(place.probability))
        x, y = (float(v) for v in place.position_xy)
        post = Marker(header=stamped, ns="place", id=k, type=Marker.CYLINDER, color=color)
        post.pose.position = Point(x=x, y=y, z=height_m / 2)
        post.scale.x, post.scale.y, post.scale.z = 0.5, 0.5, height_m
        label = Marker(header=stamped, ns="place name", id=k, type=Marker.TEXT_VIEW_FACING, color=color)
        label.color = ColorRGBA(r=color.r, g=color.g, b=color.b, a=1.0)
        label.pose.position = Point(x=x, y=y, z=height_m + 0.3)
        label.scale.z, label.text = 0.3, f"{k + 1}. {place.name} {place.probability:.2f}"
        markers += [post, label]
    return MarkerArray(markers=markers)


def hypothesis_markers(estimate: LocalizationEstimate) -> MarkerArray:
    """An arrow and a label for each hypothesis, each in its level's map frame; opacity is its probability."""
    markers = [Marker(action=Marker.DELETEALL)]
    for k, hypothesis in enumerate(estimate.hypotheses):
        if hypothesis.probability < SHOWN_ABOVE:
            continue
        stamped = header(estimate.stamp_ns, hypothesis.level.map_frame)
        color = ColorRGBA(r=0.1, g=0.6, b=0.2) if k == 0 else ColorRGBA(r=0.9, g=0.5, b=0.1)
        color.a = float(np.clip(hypothesis.probability, 0.15, 1.0))
        arrow = Marker(header=stamped, ns="pose", id=k, type=Marker.ARROW, color=color)
        arrow.pose = pose_message(hypothesis.T_map_base, z_m=0.1)
        arrow.scale.x, arrow.scale.y, arrow.scale.z = 0.6, 0.12, 0.12
        label = Marker(header=stamped, ns="name", id=k, type=Marker.TEXT_VIEW_FACING, color=color)
        label.pose.position = Point(x=arrow.pose.position.x, y=arrow.pose.position.y, z=0.6)
        label.scale.z, label.text = 0.3, f"{hypothesis.place_name or '?'} {hypothesis.probability:.2f}"
        markers += [arrow, label]
    return MarkerArray(markers=markers)
