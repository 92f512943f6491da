"""The node behind the live page: listens to the localizer, and to the camera, and never publishes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import OccupancyGrid
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

import crossover_ros.msg as messages
from crossover_ros.conversions import ConversionError, read_compressed_image, read_image, read_occupancy_grid
from crossover_ros.conversions.answers import read_embedding, read_result, read_retrieval
from crossover_ros.view.board import Board
from crossover_ros.view.places import PlacePictures

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# A page needs no more frames, and no larger ones.
FRAME_PERIOD_S, FRAME_WIDTH_PX = 0.5, 480
ASK_PERIOD_S = 2.0
NODES = ("encoder", "localizer")


class ViewNode(Node):
    """Fills a board from the topics of one localizer.

    Args:
        board: to fill.
        places: told which database the localizer uses, unless ``database`` says so.
        database: map database for the pictures of places; None asks the localizer for the path of its own.
    """

    def __init__(self, board: Board, places: PlacePictures, database: Path | None = None, **options: Any) -> None:
        super().__init__("view", **options)
        self._board, self._places, self._given = board, places, database
        self._framed_at = -float("inf")
        self._fingerprint = ""
        self._asked: Any = None
        self._parameters: Any = self.create_client(GetParameters, "localizer/get_parameters")
        for kind, topic, qos, take in (
            (messages.LocalizationResult, "localization", LATCHED, self._on_result),
            (messages.SceneRetrieval, "scene_retrieval", RELIABLE, self._on_retrieval),
            (messages.SceneEmbedding, "scene_embedding", RELIABLE, self._on_embedding),
            (OccupancyGrid, "floor_plan", LATCHED, self._on_plan),
            (DiagnosticArray, "/diagnostics", RELIABLE, self._on_diagnostics),
            (Image, "image", qos_profile_sensor_data, lambda m: self._on_image(m, read_image)),
            (CompressedImage, "image/compressed", qos_profile_sensor_data, self._on_compressed),
        ):
            self.create_subscription(kind, topic, self._guarded(topic, take), qos)
        self.create_timer(ASK_PERIOD_S, self._find_database)

    def _guarded(self, topic: str, take: Callable[[Any], None]) -> Callable[[Any], None]:
        """A callback that a bad message does not stop."""

        def run(message: Any) -> None:
            try:
                take(message)
            except ConversionError as error:
                self.get_logger().warning(f"{topic}: {error}", throttle_duration_sec=5.0)

        return run

    def _on_result(self, message: Any) -> None:
        self._fingerprint = str(message.database_fingerprint)
        self._board.on_estimate(read_result(message), float(message.age_s))

    def _on_retrieval(self, message: Any) -> None:
        self._board.on_retrieval(read_retrieval(message))

    def _on_embedding(self, message: Any) -> None:
        wall_slice = read_embedding(message).wall_slice
        if wall_slice is not None:
            self._board.on_wall_slice(wall_slice)

    def _on_plan(self, message: Any) -> None:
        self._board.on_plan(str(message.header.frame_id), read_occupancy_grid(message))

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            name = str(status.name).partition(":")[0].strip()
            if name.rpartition("/")[2] in NODES:
                level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
                self._board.on_node(name, level, str(status.message))

    def _on_compressed(self, message: Any) -> None:
        self._on_image(message, read_compressed_image)

    def _on_image(self, message: Any, read: Callable[[Any], Any]) -> None:
        now = time.monotonic()
        if now - self._framed_at < FRAME_PERIOD_S:
            return
        self._framed_at = now
        image = read(message).image
        scale = min(1.0, FRAME_WIDTH_PX / image.shape[1])
        size = max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0]))
        self._board.on_frame(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8))

    # -- pictures of places ----------------------------------------------------------------------------------------

    def _find_database(self) -> None:
        """Open the database that the localizer uses, if it lies on this machine; again after it was replaced."""
        if not self._fingerprint or self._fingerprint == self._places.fingerprint:
            return
        if self._given is not None:
            self._open(self._given)
        elif self._asked is None and self._parameters.service_is_ready():
            self._asked = self._parameters.call_async(GetParameters.Request(names=["database"]))
            self._asked.add_done_callback(self._on_parameters)

    def _on_parameters(self, future: Any) -> None:
        self._asked = None
        answer = future.result()
        if answer is not None and answer.values and answer.values[0].string_value:
            self._open(Path(answer.values[0].string_value))

    def _open(self, path: Path) -> None:
        try:
            self._places.open(path)
        except (ValueError, OSError) as error:
            self.get_logger().warning(f"no pictures of places: {error}", once=True)
