"""Messages out, and back: embeddings, estimates, hypotheses, retrievals, plans and poses."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseWithCovariance, PoseWithCovarianceStamped, Quaternion
from nav_msgs.msg import OccupancyGrid
from numpy.typing import NDArray
from std_msgs.msg import Header

import crossover_ros.msg as messages
from crossover_models.estimate import (
    FailureCategory,
    Hypothesis,
    LevelKey,
    LocalizationEstimate,
    LocalizationState,
    RankedPlace,
    Retrieval,
)
from crossover_models.floor_plan import FloorPlan
from crossover_models.geometry import quaternion_from_yaw, se2_from_se3
from crossover_models.observation import Modality, ObservationError, SceneEmbedding, WallSlice
from crossover_ros.conversions.headers import NS_PER_S, ConversionError, stamp_ns
from crossover_ros.conversions.poses import full_covariance, planar_covariance, read_pose


def time_message(ns: int) -> Time:
    """Nanoseconds -> builtin_interfaces/Time."""
    return Time(sec=ns // NS_PER_S, nanosec=ns % NS_PER_S)


def header(ns: int, frame: str) -> Header:
    """std_msgs/Header."""
    return Header(stamp=time_message(ns), frame_id=frame)


def pose_message(T: NDArray[np.float64], z_m: float = 0.0) -> Pose:
    """Planar pose (3,) -> geometry_msgs/Pose."""
    qx, qy, qz, qw = (float(v) for v in quaternion_from_yaw(float(T[2])))
    return Pose(position=Point(x=float(T[0]), y=float(T[1]), z=z_m), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def covariant_pose(T: NDArray[np.float64], covariance: NDArray[np.float64]) -> PoseWithCovariance:
    """Planar pose (3,) with covariance (3, 3) -> geometry_msgs/PoseWithCovariance."""
    return PoseWithCovariance(pose=pose_message(T), covariance=full_covariance(covariance))


def stamped_pose(
    ns: int, frame: str, T: NDArray[np.float64], covariance: NDArray[np.float64]
) -> PoseWithCovarianceStamped:
    """Planar pose (3,) with covariance (3, 3) -> geometry_msgs/PoseWithCovarianceStamped."""
    return PoseWithCovarianceStamped(header=header(ns, frame), pose=covariant_pose(T, covariance))


def occupancy_grid(plan: FloorPlan, ns: int, frame: str) -> OccupancyGrid:
    """Plan -> nav_msgs/OccupancyGrid."""
    grid = OccupancyGrid(header=header(ns, frame))
    grid.info.map_load_time = time_message(ns)
    grid.info.resolution = float(plan.resolution_m)
    grid.info.height, grid.info.width = plan.occupancy.shape
    grid.info.origin = pose_message(np.array([*plan.origin_xy, 0.0]))
    grid.data = _array("b", plan.occupancy, np.int8)
    return grid


def _array(code: str, values: Any, dtype: Any) -> array.array[Any]:
    """Numbers as the array.array that rclpy stores; assigning an ndarray checks every element in Python."""
    out: array.array[Any] = array.array(code)
    out.frombytes(np.ascontiguousarray(values, dtype=dtype).tobytes())
    return out


# -- embeddings ----------------------------------------------------------------------------------------------------


def embedding_message(
    embedding: SceneEmbedding, base_frame: str, age_s: float = 0.0, runtime_s: float = 0.0
) -> messages.SceneEmbedding:
    """Embedding -> crossover_ros/SceneEmbedding; without a wall slice there is no odometry pose, and NaN says so."""
    out = messages.SceneEmbedding(header=header(embedding.stamp_ns, base_frame))
    out.modality, out.fingerprint = embedding.modality.value, embedding.fingerprint
    out.vector = _array("f", embedding.vector, np.float32)
    out.tokens = _array("b", embedding.tokens, np.int8)
    out.age_s, out.runtime_s = age_s, runtime_s
    wall_slice = embedding.wall_slice
    if wall_slice is None:
        out.odom_pose, out.scans_accumulated = np.full(3, np.nan), 1
    else:
        out.odom_pose = np.asarray(wall_slice.T_odom_aligned, dtype=np.float64)
        out.slice_points = _array("f", wall_slice.points.reshape(-1), np.float32)
        out.slice_origins = _array("f", wall_slice.origins.reshape(-1), np.float32)
        out.slice_origin_index = _array("H", wall_slice.origin_index, np.uint16)
        out.scans_accumulated = int(wall_slice.scans)
    return out


def read_embedding(message: Any) -> SceneEmbedding:
    """crossover_ros/SceneEmbedding -> embedding.

    Raises:
        ConversionError: an unknown modality, a vector or slice that is not finite, arrays that contradict each other.
    """
    try:
        modality = Modality(str(message.modality))
    except ValueError:
        known = ", ".join(m.value for m in Modality)
        raise ConversionError(f"modality: {str(message.modality)!r} is not one of {known}") from None
    vector = np.array(message.vector, dtype=np.float32)
    if not np.isfinite(vector).all():
        raise ConversionError(f"vector: {int((~np.isfinite(vector)).sum())} of {len(vector)} numbers are not finite")
    ns = stamp_ns(message)
    tokens = np.array(message.tokens, dtype=np.int8)
    return SceneEmbedding(ns, modality, vector, str(message.fingerprint), _read_slice(message, ns), tokens)


def _read_slice(message: Any, ns: int) -> WallSlice | None:
    """The wall slice; None where there is none, which is where there is no sensor origin."""
    flat = {name: np.array(getattr(message, name), dtype=np.float32) for name in ("slice_points", "slice_origins")}
    for name, values in flat.items():
        if len(values) % 2 or not np.isfinite(values).all():
            raise ConversionError(f"{name}: {len(values)} numbers are no pairs of finite metres")
    if not len(flat["slice_origins"]):
        if len(flat["slice_points"]):
            raise ConversionError(f"slice_origins: is empty, but slice_points has {len(flat['slice_points'])} numbers")
        return None
    pose = np.array(message.odom_pose, dtype=np.float64)
    if pose.shape != (3,) or not np.isfinite(pose).all():
        raise ConversionError(f"odom_pose: {pose.tolist()} is not three finite numbers")
    index = np.array(message.slice_origin_index, dtype=np.int32)
    points, origins = flat["slice_points"].reshape(-1, 2), flat["slice_origins"].reshape(-1, 2)
    try:
        return WallSlice(ns, points, origins, index, pose, int(message.scans_accumulated))
    except ObservationError as error:
        raise ConversionError(f"slice_{error}") from None


# -- hypotheses and results ----------------------------------------------------------------------------------------


def hypothesis_message(hypothesis: Hypothesis) -> messages.Hypothesis:
    """Hypothesis -> crossover_ros/Hypothesis."""
    return messages.Hypothesis(
        building_id=hypothesis.level.building_id,
        level_id=hypothesis.level.level_id,
        place_id=hypothesis.place_id,
        place_name=hypothesis.place_name,
        pose=covariant_pose(hypothesis.T_map_base, hypothesis.covariance),
        probability=float(hypothesis.probability),
        score=float(hypothesis.score),
        inlier_fraction=float(hypothesis.inlier_fraction),
        free_space_violation=float(hypothesis.free_space_violation),
    )


def read_hypothesis(message: Any) -> Hypothesis:
    """crossover_ros/Hypothesis -> hypothesis.

    Raises:
        ConversionError: a pose or covariance that is not finite.
    """
    return Hypothesis(
        LevelKey(str(message.building_id), str(message.level_id)),
        se2_from_se3(read_pose(message.pose.pose, "pose.pose")),
        planar_covariance(message.pose.covariance),
        float(message.probability),
        float(message.score),
        float(message.inlier_fraction),
        float(message.free_space_violation),
        str(message.place_id),
        str(message.place_name),
    )


def result_message(
    estimate: LocalizationEstimate, database_fingerprint: str, age_s: float = 0.0
) -> messages.LocalizationResult:
    """Estimate -> crossover_ros/LocalizationResult; building, level, place and pose stay empty unless LOCALIZED."""
    best = estimate.best
    localized = best is not None and estimate.state == LocalizationState.LOCALIZED
    frame = best.level.map_frame if best is not None and localized else ""
    out = messages.LocalizationResult(
        header=header(estimate.stamp_ns, frame),
        state=int(estimate.state),
        failure_category=estimate.failure.value,
        message=estimate.message,
        unknown_probability=float(estimate.unknown_probability),
        ambiguity_margin=float(estimate.ambiguity_margin),
        modalities_used=[m.value for m in estimate.modalities_used],
        modalities_missing=[m.value for m in estimate.modalities_missing],
        scans_accumulated=int(estimate.scans_accumulated),
        age_s=age_s,
        runtime_s=float(estimate.runtime_s),
        database_fingerprint=database_fingerprint,
        hypotheses=[hypothesis_message(h) for h in estimate.hypotheses],
    )
    if best is not None:
        out.probability = float(best.probability)
        out.inlier_fraction = float(best.inlier_fraction)
        out.free_space_violation = float(best.free_space_violation)
    if best is not None and localized:
        out.building_id, out.level_id = best.level
        out.place_id, out.place_name = best.place_id, best.place_name
        out.pose = covariant_pose(best.T_map_base, best.covariance)
    return out


def read_result(message: Any) -> LocalizationEstimate:
    """crossover_ros/LocalizationResult -> estimate; map->odom travels by TF, so ``T_map_odom`` is None.

    Raises:
        ConversionError: an unknown state, category or modality, or a bad hypothesis.
    """
    try:
        state, failure = LocalizationState(int(message.state)), FailureCategory(str(message.failure_category))
        used, missing = (
            tuple(Modality(str(m)) for m in names) for names in (message.modalities_used, message.modalities_missing)
        )
    except ValueError as error:
        raise ConversionError(f"state, failure_category, modalities: {error}") from None
    return LocalizationEstimate(
        int(message.header.stamp.sec) * NS_PER_S + int(message.header.stamp.nanosec),
        state,
        failure,
        str(message.message),
        tuple(read_hypothesis(h) for h in message.hypotheses),
        float(message.unknown_probability),
        None,
        used,
        missing,
        int(message.scans_accumulated),
        float(message.runtime_s),
    )


# -- retrieval -----------------------------------------------------------------------------------------------------


def retrieval_message(retrieval: Retrieval, database_fingerprint: str) -> messages.SceneRetrieval:
    """Retrieval -> crossover_ros/SceneRetrieval."""
    return messages.SceneRetrieval(
        header=header(retrieval.stamp_ns, ""),
        query_modality=retrieval.query_modality.value,
        places=[_match_message(place) for place in retrieval.places],
        abstained=bool(retrieval.abstained),
        database_fingerprint=database_fingerprint,
    )


def _match_message(place: RankedPlace) -> messages.PlaceMatch:
    return messages.PlaceMatch(
        building_id=place.level.building_id,
        level_id=place.level.level_id,
        place_id=place.place_id,
        name=place.name,
        category=place.category,
        score=float(place.score),
        probability=float(place.probability),
        modalities=[m.value for m in place.modality_scores],
        modality_scores=_array("f", list(place.modality_scores.values()), np.float32),
        position=Point(x=float(place.position_xy[0]), y=float(place.position_xy[1])),
    )


def read_retrieval(message: Any) -> Retrieval:
    """crossover_ros/SceneRetrieval -> retrieval.

    Raises:
        ConversionError: an unknown modality, or modalities and scores of different length.
    """
    try:
        modality = Modality(str(message.query_modality))
        places = tuple(_read_match(match) for match in message.places)
    except ValueError as error:
        raise ConversionError(f"query_modality, places: {error}") from None
    ns = int(message.header.stamp.sec) * NS_PER_S + int(message.header.stamp.nanosec)
    return Retrieval(ns, modality, places, bool(message.abstained))


def _read_match(message: Any) -> RankedPlace:
    scores: Sequence[float] = [float(v) for v in message.modality_scores]
    modalities = [Modality(str(m)) for m in message.modalities]
    return RankedPlace(
        LevelKey(str(message.building_id), str(message.level_id)),
        str(message.place_id),
        str(message.name),
        str(message.category),
        float(message.score),
        float(message.probability),
        (float(message.position.x), float(message.position.y)),
        dict(zip(modalities, scores, strict=True)),
    )
