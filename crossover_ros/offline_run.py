"""A bag through the core into a record: without ROS, in one thread, as fast as it goes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossover_models.map_database.store import MapDatabase
    from crossover_ros.bag_topics import Topics
    from crossover_ros.encoder_source import Encoder
    from crossover_ros.node_settings import NodeSettings
    from crossover_ros.replay import ReplayCounts


def replay_bag(
    bag_path: Path,
    database: MapDatabase,
    encoder: Encoder,
    settings: NodeSettings,
    record: Path,
    topics: Topics | None = None,
    *,
    duration_s: float | None = None,
    cloud_rate_hz: float = 2.5,
    simulated: bool = False,
    began: float | None = None,
    relocalize: bool = True,
    lidar_required: bool = True,
) -> ReplayCounts:
    """Replay a bag into a record and return the counts of messages.

    Args:
        bag_path: the bag.
        database: of the same encoder.
        encoder: the unified encoders.
        settings: of both nodes.
        record: file to write.
        topics: overrides of the topics guessed by type.
        duration_s: replay only so much of the bag's time.
        cloud_rate_hz: local clouds encoded a second of the bag's time at most.
        simulated: the sensor data come from a simulation.
        began: ``time.monotonic()`` from which wall time counts; None for now.
        relocalize: ask ``relocalize`` once, in the middle.
        lidar_required: refuse a bag without lidar.

    Raises:
        BagError: as :class:`crossover_ros.bag_reading.Bag`.
        LocalizerError: the settings name a building or level that is not in the database.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from crossover_models.evaluation.run_record import RunInfo, RunWriter
    from crossover_models.localizer import Localizer
    from crossover_models.map_database.place_indexes import open_place_indexes
    from crossover_models.perception import Perception
    from crossover_ros.bag_reading import Bag
    from crossover_ros.replay import Replay

    began = time.monotonic() if began is None else began
    with Bag(bag_path, topics, lidar_required=lidar_required) as bag:
        localizer = Localizer(database, settings.localizer, encoder.encode_text, indexes=open_place_indexes(database))
        end_ns = bag.finished_ns
        if duration_s is not None:
            end_ns = min(end_ns, bag.started_ns + round(duration_s * 1e9))
        info = RunInfo(
            bag_path.name,
            "replay",
            simulated,
            database.fingerprint,
            encoder.fingerprint,
            bag.started_ns,
            end_ns,
        )
        span_s = (end_ns - bag.started_ns) * 1e-9
        columns = (TextColumn("replay"), BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f} s"))
        with RunWriter(record, info) as writer, Progress(*columns, TimeElapsedColumn(), transient=True) as bar:
            task = bar.add_task("replay", total=span_s)
            replay = Replay(Perception(encoder, settings.encoder), localizer, settings.encoder, writer, cloud_rate_hz)
            replay.run(bag, duration_s, span_s / 2 if relocalize else None, lambda s: bar.update(task, completed=s))
            writer.end(time.monotonic() - began)
        return replay.counts
