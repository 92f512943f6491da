"""Messages: every conversion, and what the nodes do next with what it gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from crossover_models.accumulation import CloudAccumulator, wall_slice
from crossover_models.config import AccumulationSettings, LocalizerSettings
from crossover_models.geometry import se2_from_se3
from crossover_models.observation import PointCloudObservation
from crossover_ros import conversions
from crossover_ros.conversions.answers import read_embedding, read_result, read_retrieval
from crossover_ros.faults.fuzz import messages, samples
from crossover_ros.faults.fuzz.mutate import Rng, mutated_message
from crossover_ros.faults.fuzz.target import Make, Read, Target
from crossover_ros.transform_buffer import TransformBuffer


def _target(name: str, share: int, *made: Callable[[], Any], read: Callable[[], Read]) -> Target:
    """Inputs are mutated messages; ``read`` is called once, for a reader that keeps a state."""

    def prepare(_: Path) -> tuple[Make, Read]:
        valid = [make() for make in made]
        reader = read()
        for sample in valid:
            reader(sample)
        return (lambda rng: mutated_message(rng, valid[int(rng.integers(len(valid)))])), reader

    return Target(name, share, prepare)


def _clouds() -> Read:
    settings = AccumulationSettings()
    accumulator = CloudAccumulator(settings)
    count = [0]

    def read(message: Any) -> None:
        sweep = conversions.read_cloud(message)
        count[0] += 1
        T = np.eye(4)
        T[0, 3] = 0.3 * (count[0] % 9)
        accumulator.add(PointCloudObservation(sweep.stamp_ns, sweep.points, np.eye(4), T))
        cloud = accumulator.local_cloud()
        if cloud is not None:
            wall_slice(cloud, settings)

    return read


def _camera_infos() -> Read:
    picture = np.zeros((6, 8, 3), dtype=np.uint8)
    return lambda message: (conversions.read_camera_info(message).rectified(picture), None)[1]


def _odometries() -> Read:
    return lambda message: (se2_from_se3(conversions.read_odometry(message).T_odom_base), None)[1]


def _transforms() -> Read:
    buffer = TransformBuffer()

    def read(message: Any) -> None:
        for entry in message.transforms:
            t, q = entry.transform.translation, entry.transform.rotation
            stamp_ns = int(entry.header.stamp.sec) * 10**9 + int(entry.header.stamp.nanosec)
            numbers = (t.x, t.y, t.z), (q.x, q.y, q.z, q.w)
            buffer.add(str(entry.header.frame_id), str(entry.child_frame_id), stamp_ns, *numbers)
        buffer.lookup("odom", "lidar", 100 * 10**9 + 5)

    return read


def _scans() -> Read:
    return lambda message: (conversions.read_scan(message, np.eye(4), np.eye(4)), None)[1]


def _localizer(folder: Path) -> tuple[Make, Read]:
    """Embeddings into the whole localizer: retrieval, registration and belief."""
    from crossover_models.localizer import Localizer
    from crossover_models.map_database.store import MapDatabase

    path = folder / "sample.xmap"
    samples.write_map(path)
    with MapDatabase.open(path) as database:
        localizer = Localizer(database, LocalizerSettings())
    valid = messages.embedding()

    def make(rng: Rng) -> Any:
        message = mutated_message(rng, valid)
        if rng.random() < 0.3:
            message.modality = "image"
        return message

    def read(message: Any) -> None:
        localizer.on_embedding(read_embedding(message))

    return make, read


TARGETS: tuple[Target, ...] = (
    _target("message points", 12_000, messages.cloud, read=_clouds),
    _target("message image", 14_000, messages.picture, read=lambda: conversions.read_image),
    _target(
        "message compressed image",
        9_000,
        *(lambda which=which: messages.compressed(which) for which in range(3)),
        read=lambda: conversions.read_compressed_image,
    ),
    _target("message camera_info", 8_000, messages.camera_info, read=_camera_infos),
    _target("message odometry", 8_000, messages.odometry, read=_odometries),
    _target("message scan", 8_000, messages.scan, read=_scans),
    _target("message tf", 8_000, messages.tf, read=_transforms),
    _target("message initialpose", 5_000, messages.stated_pose, read=lambda: conversions.read_stated_pose),
    _target("message occupancy grid", 5_000, messages.grid, read=lambda: conversions.read_occupancy_grid),
    _target("message scene_embedding", 6_000, messages.embedding, read=lambda: read_embedding),
    _target("message localization", 4_000, messages.result, read=lambda: read_result),
    _target("message scene_retrieval", 3_000, messages.retrieval, read=lambda: read_retrieval),
    Target("localizer", 600, _localizer),
)
