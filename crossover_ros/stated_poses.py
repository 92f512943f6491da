"""Poses that somebody states: the topic initialpose, and the service set_pose, which answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crossover_models.localizer import LocalizerError
from crossover_ros import conversions

if TYPE_CHECKING:
    from crossover_ros.localizer_node import LocalizerNode
    from crossover_ros.map_session import MapSession


def believe_stated_pose(node: LocalizerNode, session: MapSession, message: Any) -> str:
    """In the worker: believe a geometry_msgs/PoseWithCovarianceStamped; returns the map frame.

    Raises:
        ValueError: not finite, not a rotation, in no map frame of the database, off the map, or with a covariance that
            is none. Nothing has changed then.
    """
    stated = conversions.read_stated_pose(message)
    level = next((key for key in session.levels if key.map_frame == stated.frame_id), None)
    if level is None:
        frames = ", ".join(key.map_frame for key in session.levels)
        raise LocalizerError(f"header.frame_id: {stated.frame_id!r} is not a map frame of the database: {frames}")
    covariance, settings = stated.covariance, node.settings
    if not covariance.any():  # As nav2_simple_commander sends it.
        deviations = [settings.initial_deviation_m, settings.initial_deviation_m, settings.initial_deviation_rad]
        covariance = np.diag(np.square(deviations))
    session.localizer.set_pose(level, stated.T_frame_base, covariance, stated.stamp_ns or None)
    node.get_logger().info(f"placed in {level.map_frame}")
    node.publish_now()
    return level.map_frame
