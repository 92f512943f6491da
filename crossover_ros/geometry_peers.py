"""A geometric peer as a command: the same bag, conversions and map as ours, and the two files a benchmark judges.

``python -m crossover_ros.geometry_peers NAME BAG DATABASE OUT``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossover_models.accumulation import CloudAccumulator, wall_slice
from crossover_models.config import AccumulationSettings
from crossover_models.estimate import LevelKey
from crossover_models.evaluation.buildings.answers import Answer, save_answers
from crossover_models.evaluation.peers_geometry.view import GeometryPeer, PeerMap, View, planar_scan
from crossover_models.geometry import inverse_se3, se2_from_se3, se3_from_se2, transform_points_se3
from crossover_models.map_database.store import MapDatabase
from crossover_models.observation import LocalCloud, ObservationError, PointCloudObservation, WallSlice
from crossover_ros.bag_reading import Bag
from crossover_ros.conversions import ConversionError, frame_id, read_cloud, stamp_ns
from crossover_ros.settings import EncoderNodeSettings
from crossover_ros.transform_buffer import TransformError


def _amcl() -> GeometryPeer:
    from crossover_models.evaluation.peers_geometry.amcl import amcl

    return amcl


def _likelihood_field(gated: bool) -> GeometryPeer:
    from crossover_models.evaluation.peers_geometry.one_shot import likelihood_field

    return partial(likelihood_field, gated=gated)


def _kiss_matcher() -> GeometryPeer:
    from crossover_models.evaluation.peers_geometry.kiss_matcher import kiss_matcher

    return kiss_matcher


def _small_gicp() -> GeometryPeer:
    from crossover_models.evaluation.peers_geometry.small_gicp import small_gicp

    return small_gicp


def _mrpt() -> GeometryPeer:
    from crossover_models.evaluation.peers_geometry.mrpt import mrpt

    return mrpt


PEERS: Mapping[str, Callable[[], GeometryPeer]] = {
    "amcl": _amcl,
    "likelihood-field": partial(_likelihood_field, gated=False),
    "likelihood-field-gated": partial(_likelihood_field, gated=True),
    "kiss-matcher": _kiss_matcher,
    "small-gicp": _small_gicp,
    "mrpt": _mrpt,
}


# What matches features of scans, where the map has any; the others know plans alone.
SCANNED = ("kiss-matcher",)


def _scans(database: MapDatabase) -> dict[LevelKey, NDArray[np.float32]]:
    """(N, 3) scanned points of each level that has any, z above its floor."""
    parts: dict[LevelKey, list[NDArray[np.float32]]] = {}
    for place in database.places():
        points = database.point_cloud(place.key.building_id, place.place_id)
        if points is not None and len(points):
            parts.setdefault(place.key, []).append(points)
    return {key: np.concatenate(clouds) for key, clouds in parts.items()}


def views(bag: Bag, settings: EncoderNodeSettings) -> Iterator[View]:
    """The sweeps of a bag one after the other; what cannot be converted, or has no transform, is left out."""
    accumulator = CloudAccumulator(settings.accumulation)
    # Peers are geometric: decoding pictures for them would only cost them time.
    bag.topics = replace(bag.topics, image="", scan="")
    last_ns: int | None = None
    for entry in bag.messages() if bag.topics.points else ():
        if entry.kind != "points":
            continue
        try:
            stamp = stamp_ns(entry.message)
            sweep = read_cloud(entry.message)
            T_base_sensor = bag.transforms.lookup(settings.base_frame, frame_id(entry.message), stamp)
            T_odom_base = bag.transforms.lookup(settings.odom_frame, settings.base_frame, stamp)
            if last_ns is not None and stamp <= last_ns:
                continue
            accumulator.add(PointCloudObservation(stamp, sweep.points, T_base_sensor, T_odom_base))
        except (ConversionError, TransformError, ObservationError):
            continue
        last_ns = stamp
        odometry = se2_from_se3(T_odom_base)
        T_planar_odom = inverse_se3(se3_from_se2(odometry, float(T_odom_base[2, 3])))
        points = transform_points_se3(T_planar_odom @ T_odom_base @ T_base_sensor, sweep.points)
        points[:, 2] += settings.accumulation.floor_below_base_m
        limits = settings.accumulation
        cloud = cache(accumulator.local_cloud)
        yield View(
            stamp,
            odometry,
            planar_scan(points, limits.slice_min_m, limits.slice_max_m),
            cloud,
            partial(_walls, cloud, limits),
        )


def _walls(cloud: Callable[[], LocalCloud | None], settings: AccumulationSettings) -> WallSlice | None:
    seen = cloud()
    return None if seen is None else wall_slice(seen, settings)


def answer(name: str, bag_path: Path, database: Path, out: Path, seed: int = 0) -> int:
    """Let a peer of :data:`PEERS` answer a bag into ``out``; returns how many poses it announced.

    Raises:
        ValueError: the peer is not installed or broke off, or bag or map cannot be used.
        OSError: a file cannot be read or written.
    """
    with MapDatabase.open(database) as opened:
        levels = opened.levels()
        plans = {level.key: opened.floor_plan(level.key) for level in levels}
        heights_m = {level.key: level.height_m for level in levels}
        scans = _scans(opened) if name in SCANNED else {}
        where = PeerMap.of(plans, opened.places(), heights_m, scans)
    peer = PEERS[name]()
    with Bag(bag_path, lidar_required=False) as bag:
        answers: list[Answer] = list(peer(views(bag, EncoderNodeSettings()), where, seed))
    return save_answers(out, answers)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="a geometric peer on a bag, as 'crossover bench buildings' runs it")
    parser.add_argument("name", choices=list(PEERS))
    parser.add_argument("bag", type=Path)
    parser.add_argument("database", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (default 0)")
    arguments = parser.parse_args(argv)
    try:
        announced = answer(arguments.name, arguments.bag, arguments.database, arguments.out, arguments.seed)
    except (ValueError, OSError) as error:
        print(f"{arguments.name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"{announced} announced poses in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
