"""Messages become observations exactly, in whatever layout they come, or fail with the field's name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from planted import asymmetric_plan, scan
from sensor_messages import STAMP_NS, cloud, header, image, laser_scan, through_bag, through_dds
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField

from crossover_models.estimate import (
    FailureCategory,
    Hypothesis,
    LevelKey,
    LocalizationEstimate,
    LocalizationState,
    RankedPlace,
    Retrieval,
)
from crossover_models.geometry import se3_from_quaternion, se3_from_se2
from crossover_models.observation import Modality, SceneEmbedding
from crossover_ros import conversions
from crossover_ros.conversions import ConversionError, answers
from crossover_ros.conversions.images import ENCODINGS

TRIPS: list[Callable[[Any], Any]] = [lambda m: m, through_dds, through_bag]
trips = pytest.mark.parametrize("trip", TRIPS, ids=["built", "dds", "rosbags"])
RNG = np.random.default_rng(5)
PICTURE = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
GRAY = PICTURE[..., 0]


def widths(message: Image, width: int) -> Image:
    message.width = width
    return message


# -- images --------------------------------------------------------------------------------------------------------

ALPHA = np.full((6, 8, 1), 7, dtype=np.uint8)
WIDE = PICTURE.astype(np.uint16) * 256 + 13
GRAY_RGB = np.repeat(GRAY[..., None], 3, axis=2)
LAYOUTS = {
    "rgb8": (PICTURE, PICTURE),
    "bgr8": (PICTURE[..., ::-1], PICTURE),
    "8UC3": (PICTURE[..., ::-1], PICTURE),
    "rgba8": (np.concatenate([PICTURE, ALPHA], axis=2), PICTURE),
    "bgra8": (np.concatenate([PICTURE[..., ::-1], ALPHA], axis=2), PICTURE),
    "8UC4": (np.concatenate([PICTURE[..., ::-1], ALPHA], axis=2), PICTURE),
    "mono8": (GRAY, GRAY_RGB),
    "8UC1": (GRAY, GRAY_RGB),
    "mono16": (WIDE[..., 0], GRAY_RGB),
    "rgb16": (WIDE, PICTURE),
    "bgr16": (WIDE[..., ::-1], PICTURE),
}


@trips
@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", LAYOUTS)
def test_image_of_every_encoding_with_and_without_row_padding(
    encoding: str, padding: int, trip: Callable[[Any], Any]
) -> None:
    raw, expected = LAYOUTS[encoding]
    read = conversions.read_image(trip(widths(image(raw, encoding, padding), 8)))
    np.testing.assert_array_equal(read.image, expected)
    assert (read.stamp_ns, read.camera_id) == (STAMP_NS, "camera")


def test_big_endian_16_bit_image() -> None:
    read = conversions.read_image(widths(image(WIDE[..., 0].astype(">u2"), "mono16", 3, bigendian=True), 8))
    np.testing.assert_array_equal(read.image, GRAY_RGB)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_mosaic_of_one_color_gives_that_color(pattern: str, depth: int) -> None:
    color = dict(zip("rgb", (200, 100, 50), strict=True))
    tile = np.array([[color[pattern[0]], color[pattern[1]]], [color[pattern[2]], color[pattern[3]]]], dtype=np.uint16)
    mosaic = np.tile(tile, (4, 4))
    raw = mosaic.astype(np.uint8) if depth == 8 else mosaic * 256
    read = conversions.read_image(widths(image(raw, f"bayer_{pattern}{depth}"), 8))
    np.testing.assert_array_equal(read.image[2:-2, 2:-2], np.broadcast_to([200, 100, 50], (4, 4, 3)))


@pytest.mark.parametrize(
    ("encoding", "order"), [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")]
)
def test_packed_yuv_of_one_color(encoding: str, order: str) -> None:
    """BT.601, video range: a pure red is Y 82, U 90, V 240."""
    values = {"u": 90, "v": 240, "y": 82}
    raw = np.tile(np.array([values[c] for c in order], dtype=np.uint8), (4, 3)).reshape(4, 12)
    read = conversions.read_image(widths(image(raw, encoding), 6))
    assert read.image.shape == (4, 6, 3)
    np.testing.assert_allclose(read.image.reshape(-1, 3).mean(axis=0), [255, 0, 0], atol=3)


def test_the_image_does_not_hang_on_the_message() -> None:
    message = through_dds(widths(image(PICTURE, "rgb8"), 8))
    read = conversions.read_image(message)
    message.data[0] = (message.data[0] + 1) % 256
    np.testing.assert_array_equal(read.image, PICTURE)


def bad_image(**changes: Any) -> Image:
    message = widths(image(PICTURE, "rgb8"), 8)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (bad_image(encoding="32FC1"), "encoding: '32FC1'"),
        (bad_image(encoding=""), "encoding: ''"),
        (bad_image(height=0), "height, width: 0 x 8"),
        (bad_image(step=3), "step: 3"),
        (bad_image(data=b"123"), "data: 3 bytes"),
        (bad_image(height=2**32 - 1, step=2**32 - 1), "data: 144 bytes"),
        (bad_image(header=header("camera", 0)), "header.stamp: is zero"),
        (bad_image(header=header("", 5)), "header.frame_id: is empty"),
        (bad_image(encoding="yuyv", width=7), "width: 7 is odd"),
        (bad_image(encoding="bayer_rggb8", width=1), "height, width"),
    ],
)
def test_bad_image_names_field_and_value(message: Image, field: str) -> None:
    with pytest.raises(ConversionError, match=re.escape(field)) as caught:
        conversions.read_image(message)
    assert "\n" not in str(caught.value)


def compressed(
    extension: str, data: bytes | None = None, declared: str = "rgb8; jpeg compressed bgr8"
) -> CompressedImage:
    smooth = cv2.resize(PICTURE, (64, 48), interpolation=cv2.INTER_CUBIC)
    encoded = cv2.imencode(extension, smooth[..., ::-1])[1].tobytes() if data is None else data
    return CompressedImage(header=header("camera"), format=declared, data=encoded)


@trips
@pytest.mark.parametrize(("extension", "tolerance"), [(".png", 0), (".jpg", 12), (".webp", 12)])
def test_compressed_image(extension: str, tolerance: int, trip: Callable[[Any], Any]) -> None:
    smooth = cv2.resize(PICTURE, (64, 48), interpolation=cv2.INTER_CUBIC)
    read = conversions.read_compressed_image(trip(compressed(extension)))
    assert read.image.shape == smooth.shape
    assert np.abs(read.image.astype(int) - smooth).mean() <= tolerance


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (compressed(".jpg", b""), "data: 0 bytes"),
        (compressed(".jpg", b"no picture at all"), "data: 17 bytes"),
        (compressed(".jpg", bytes(compressed(".jpg").data)[:-200]), "is cut short"),
        (compressed(".png", bytes(compressed(".png").data)[:-900]), "is cut short"),
        (compressed(".png", declared="16UC1; compressedDepth"), "format: '16UC1; compressedDepth'"),
    ],
)
def test_bad_compressed_image(message: CompressedImage, field: str) -> None:
    with pytest.raises(ConversionError, match=re.escape(field)):
        conversions.read_compressed_image(message)


def camera_info(**changes: Any) -> CameraInfo:
    out = CameraInfo(header=header("camera"), width=64, height=48, distortion_model="plumb_bob")
    out.k = [50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0]
    out.d = [-0.3, 0.1, 0.0, 0.0, 0.0]
    for name, value in changes.items():
        setattr(out, name, value)
    return out


@trips
def test_rectified_picture_equals_opencv_also_at_half_size(trip: Callable[[Any], Any]) -> None:
    camera = conversions.read_camera_info(trip(camera_info()))
    full = cv2.resize(PICTURE, (64, 48))
    np.testing.assert_array_equal(camera.rectified(full), cv2.undistort(full, camera.matrix, camera.distortion))
    half = cv2.resize(PICTURE, (32, 24))
    scaled = np.diag([0.5, 0.5, 1.0]) @ camera.matrix
    np.testing.assert_array_equal(camera.rectified(half), cv2.undistort(half, scaled, camera.distortion))
    with pytest.raises(ConversionError, match="camera_info"):
        camera.rectified(cv2.resize(PICTURE, (64, 64)))


def test_camera_without_distortion_leaves_the_picture() -> None:
    camera = conversions.read_camera_info(camera_info(d=[0.0] * 5))
    assert camera.rectified(PICTURE) is PICTURE


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"k": [0.0] * 9}, "k: focal lengths 0.0"),
        ({"width": 0}, "height, width"),
        ({"distortion_model": "magic"}, "distortion_model: 'magic'"),
        ({"d": [0.1]}, "d: [0.1]"),
    ],
)
def test_bad_camera_info(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConversionError, match=re.escape(field)):
        conversions.read_camera_info(camera_info(**changes))


# -- clouds and scans ----------------------------------------------------------------------------------------------

POINTS = RNG.integers(-100, 100, (12, 3)).astype(np.float32)
VELODYNE = (("x", "f4", 0), ("y", "f4", 4), ("z", "f4", 8), ("intensity", "f4", 16), ("ring", "u2", 20))
CLOUDS = {
    "packed": {"point_step": 12},
    "velodyne": {"layout": VELODYNE, "point_step": 22},
    "other order": {
        "layout": (("z", "f4", 1), ("intensity", "u1", 0), ("x", "f4", 5), ("y", "f4", 9)),
        "point_step": 13,
    },
    "double": {"layout": (("x", "f8", 0), ("y", "f8", 8), ("z", "f8", 16)), "point_step": 24},
    "mixed": {"layout": (("x", "i2", 0), ("y", "f8", 8), ("z", "i1", 3)), "point_step": 20},
    "organized": {"rows": 3},
    "row padding": {"rows": 3, "row_padding": 9},
    "big endian": {"bigendian": True, "rows": 2, "row_padding": 4},
}


@trips
@pytest.mark.parametrize("options", CLOUDS.values(), ids=CLOUDS)
def test_cloud_of_every_layout(options: dict[str, Any], trip: Callable[[Any], Any]) -> None:
    sweep = conversions.read_cloud(trip(cloud(POINTS, **options)))
    np.testing.assert_array_equal(sweep.points, POINTS)
    assert sweep.points.dtype == np.float32
    assert (sweep.stamp_ns, sweep.frame_id, sweep.not_finite) == (STAMP_NS, "lidar", 0)


@trips
def test_points_that_are_not_finite_are_dropped_and_counted(trip: Callable[[Any], Any]) -> None:
    points = POINTS.astype(np.float64)
    points[0, 1], points[3, 2], points[4, 0], points[5, 0] = np.nan, np.inf, -np.inf, 1e300
    layout = (("x", "f8", 0), ("y", "f8", 8), ("z", "f8", 16))
    sweep = conversions.read_cloud(trip(cloud(points, layout=layout, point_step=24)))
    assert sweep.not_finite == 4
    np.testing.assert_array_equal(sweep.points, np.delete(POINTS, [0, 3, 4, 5], axis=0))


def test_cloud_of_nan_and_cloud_of_nothing_are_empty_not_errors() -> None:
    sweep = conversions.read_cloud(cloud(np.full((5, 3), np.nan)))
    assert (len(sweep.points), sweep.not_finite) == (0, 5)
    assert len(conversions.read_cloud(cloud(np.zeros((0, 3)))).points) == 0


def bad_cloud(**changes: Any) -> PointCloud2:
    message = cloud(POINTS, rows=3)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


XY = [PointField(name=n, offset=o, datatype=7, count=1) for n, o in (("x", 0), ("y", 4))]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (bad_cloud(fields=XY), "fields: no 'z' among x, y"),
        (bad_cloud(fields=[]), "fields: no 'x' among none"),
        (bad_cloud(fields=[*XY, PointField(name="z", offset=8, datatype=9)]), "fields.z.datatype: 9"),
        (bad_cloud(fields=[*XY, PointField(name="z", offset=14, datatype=7)]), "point_step: 16 bytes, but z"),
        (bad_cloud(row_step=3), "row_step: 3"),
        (bad_cloud(data=b"1234"), "data: 4 bytes"),
        (bad_cloud(width=2**31, row_step=2**32 - 1), "row_step"),
        (bad_cloud(height=2**32 - 1), "data: 192 bytes"),
        (bad_cloud(point_step=0), "point_step: 0 bytes"),
    ],
)
def test_bad_cloud_names_field_and_value(message: PointCloud2, field: str) -> None:
    with pytest.raises(ConversionError, match=re.escape(field)):
        conversions.read_cloud(message)


@trips
def test_scan_drops_what_is_no_return_and_follows_the_mounting(trip: Callable[[Any], Any]) -> None:
    ranges = np.array([1.0, np.inf, np.nan, 2.0, 0.01, 99.0, 3.0])
    T_base_sensor, T_odom_base = se3_from_se2([0.5, 0.0, np.pi / 2]), se3_from_se2([4.0, 5.0, 0.3])
    message = trip(laser_scan(ranges, 0.0, np.pi / 2))
    wall_slice = conversions.read_scan(message, T_base_sensor, T_odom_base)
    # Beams 0, 3 and 6 of a quarter turn each, seen from a lidar that looks to the left.
    np.testing.assert_allclose(wall_slice.points, [[0.5, 1.0], [2.5, 0.0], [0.5, -3.0]], atol=1e-5)
    np.testing.assert_allclose(wall_slice.T_odom_aligned, [4.0, 5.0, 0.3])
    np.testing.assert_allclose(wall_slice.origins, [[0.5, 0.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ranges": []}, "ranges: is empty"),
        ({"angle_increment": 0.0}, "angle_increment"),
        ({"angle_min": float("nan")}, "angle_min: nan"),
        ({"range_max": 0.05}, "range_min, range_max"),
        ({"range_min": float("nan")}, "range_min, range_max"),
    ],
)
def test_bad_scan(change: dict[str, Any], field: str) -> None:
    message = laser_scan(np.ones(4), 0.0, 0.1)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ConversionError, match=field):
        conversions.read_scan(message, np.eye(4), np.eye(4))


# -- poses and plans -----------------------------------------------------------------------------------------------


@trips
def test_odometry(trip: Callable[[Any], Any]) -> None:
    message = Odometry(header=header("/odom"), child_frame_id="base_link")
    message.pose.pose.position.x, message.pose.pose.orientation.z, message.pose.pose.orientation.w = 1.5, 0.6, 0.8
    reading = conversions.read_odometry(trip(message))
    assert (reading.odom_frame, reading.base_frame, reading.stamp_ns) == ("odom", "base_link", STAMP_NS)
    np.testing.assert_allclose(reading.T_odom_base, se3_from_quaternion([1.5, 0, 0], [0, 0, 0.6, 0.8]))
    message.pose.pose.orientation.z = message.pose.pose.orientation.w = 0.0
    with pytest.raises(ConversionError, match=re.escape("pose.pose: quaternion [0.0, 0.0, 0.0, 0.0]")):
        conversions.read_odometry(trip(message))


@trips
def test_stated_pose_and_its_covariance(trip: Callable[[Any], Any]) -> None:
    covariance = np.array([[1.0, 0.1, 0.2], [0.1, 2.0, 0.3], [0.2, 0.3, 3.0]])
    sent = answers.stamped_pose(STAMP_NS, "map_house_L1", np.array([1.0, 2.0, 0.5]), covariance)
    read = conversions.read_stated_pose(trip(sent))
    assert (read.stamp_ns, read.frame_id) == (STAMP_NS, "map_house_L1")
    np.testing.assert_allclose(read.T_frame_base, [1.0, 2.0, 0.5])
    np.testing.assert_array_equal(read.covariance, covariance)
    full = np.asarray(sent.pose.covariance).reshape(6, 6)
    assert not full[2:5].any() and not full[:, 2:5].any()


def test_stated_pose_of_now_and_a_bad_covariance() -> None:
    message = PoseWithCovarianceStamped(header=header("map", 0))
    message.pose.pose.orientation.w = 1.0
    assert conversions.read_stated_pose(message).stamp_ns == 0
    message.pose.covariance[7] = float("nan")
    with pytest.raises(ConversionError, match="covariance"):
        conversions.read_stated_pose(message)


@trips
def test_floor_plan_there_and_back(trip: Callable[[Any], Any]) -> None:
    plan = asymmetric_plan()
    read = conversions.read_occupancy_grid(trip(answers.occupancy_grid(plan, STAMP_NS, "map")))
    np.testing.assert_array_equal(read.occupancy, plan.occupancy)
    assert read.origin_xy == plan.origin_xy
    assert read.resolution_m == pytest.approx(plan.resolution_m, rel=1e-6)


def test_bad_occupancy_grids() -> None:
    grid = answers.occupancy_grid(asymmetric_plan(), STAMP_NS, "map")
    grid.info.origin.orientation.z = 0.3
    with pytest.raises(ConversionError, match=re.escape("info.origin: is turned")):
        conversions.read_occupancy_grid(grid)
    grid = answers.occupancy_grid(asymmetric_plan(), STAMP_NS, "map")
    grid.info.height += 1
    with pytest.raises(ConversionError, match="data: "):
        conversions.read_occupancy_grid(grid)
    grid = answers.occupancy_grid(asymmetric_plan(), STAMP_NS, "map")
    grid.info.resolution = 0.0
    with pytest.raises(ConversionError, match="info: resolution_m"):
        conversions.read_occupancy_grid(grid)


# -- embeddings and answers ----------------------------------------------------------------------------------------


def embedding(with_slice: bool) -> SceneEmbedding:
    vector = RNG.normal(size=16).astype(np.float32)
    wall_slice = scan(asymmetric_plan(), np.array([2.0, 5.0, 0.3]), np.array([1.0, 2.0, 3.0]), STAMP_NS)
    tokens = RNG.integers(-127, 128, 40 if with_slice else 0).astype(np.int8)
    return SceneEmbedding(STAMP_NS, Modality.POINT_CLOUD, vector, "f00d", wall_slice if with_slice else None, tokens)


@pytest.mark.parametrize("with_slice", [True, False])
@pytest.mark.parametrize("trip", TRIPS[:2], ids=["built", "dds"])
def test_embedding_there_and_back_is_the_same(with_slice: bool, trip: Callable[[Any], Any]) -> None:
    sent = embedding(with_slice)
    read = answers.read_embedding(trip(answers.embedding_message(sent, "base_link", 0.1, 0.2)))
    assert (read.stamp_ns, read.modality, read.fingerprint) == (sent.stamp_ns, sent.modality, sent.fingerprint)
    np.testing.assert_array_equal(read.vector, sent.vector)
    np.testing.assert_array_equal(read.tokens, sent.tokens)
    assert read.tokens.dtype == np.int8
    if sent.wall_slice is None:
        assert read.wall_slice is None
        return
    assert read.wall_slice is not None
    for name in ("points", "origins", "origin_index", "T_odom_aligned"):
        np.testing.assert_array_equal(getattr(read.wall_slice, name), getattr(sent.wall_slice, name))
    assert read.wall_slice.scans == sent.wall_slice.scans


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"modality": "smell"}, "modality: 'smell'"),
        ({"vector": [1.0, float("nan")]}, "vector: 1 of 2"),
        ({"slice_points": [1.0]}, "slice_points"),
        ({"slice_origins": []}, "slice_origins: is empty"),
        ({"slice_origin_index": [7] * 3}, "origin_index"),
        ({"odom_pose": [0.0, float("inf"), 0.0]}, "odom_pose"),
        ({"header": header("base_link", 0)}, "header.stamp"),
    ],
)
def test_bad_embedding(change: dict[str, Any], field: str) -> None:
    message = answers.embedding_message(embedding(True), "base_link")
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ConversionError, match=field):
        answers.read_embedding(message)


def hypothesis_of(probability: float) -> Hypothesis:
    covariance = np.diag([0.25, 0.5, 0.125])
    return Hypothesis(
        LevelKey("house", "L1"), np.array([1.0, 2.0, 0.5]), covariance, probability, -0.5, 0.75, 0.25, "p1", "Hall"
    )


def estimate_of(state: LocalizationState) -> LocalizationEstimate:
    hypotheses = (hypothesis_of(0.75), hypothesis_of(0.125))
    return LocalizationEstimate(
        STAMP_NS, state, FailureCategory.AMBIGUOUS, "two", hypotheses, 0.125, np.array([1.0, 2.0, 0.5]),
        (Modality.IMAGE,), (Modality.TEXT,), 7, 0.5,
    )  # fmt: skip


def assert_same(read: LocalizationEstimate, sent: LocalizationEstimate) -> None:
    for name in ("stamp_ns", "state", "failure", "message", "unknown_probability", "modalities_used",
                 "modalities_missing", "scans_accumulated", "runtime_s"):  # fmt: skip
        assert getattr(read, name) == getattr(sent, name), name
    for got, want in zip(read.hypotheses, sent.hypotheses, strict=True):
        np.testing.assert_allclose(got.T_map_base, want.T_map_base)
        np.testing.assert_array_equal(got.covariance, want.covariance)
        for name in (
            "level",
            "probability",
            "score",
            "inlier_fraction",
            "free_space_violation",
            "place_id",
            "place_name",
        ):
            assert getattr(got, name) == getattr(want, name), name


@pytest.mark.parametrize("state", LocalizationState)
def test_result_there_and_back_and_empty_unless_localized(state: LocalizationState) -> None:
    sent = estimate_of(state)
    message = through_dds(answers.result_message(sent, "db", 0.25))
    assert_same(answers.read_result(message), sent)
    localized = state == LocalizationState.LOCALIZED
    assert message.header.frame_id == ("map_house_L1" if localized else "")
    assert (message.building_id, message.place_name) == (("house", "Hall") if localized else ("", ""))
    assert message.pose.pose.position.x == (1.0 if localized else 0.0)
    assert (message.database_fingerprint, message.age_s) == ("db", 0.25)
    assert message.ambiguity_margin == 0.625 and message.probability == 0.75


def test_retrieval_there_and_back() -> None:
    place = RankedPlace(LevelKey("house", "L1"), "p1", "Hall", "hall", 0.5, 0.75, (1.0, 2.0), {Modality.MESH: 0.25})
    sent = Retrieval(STAMP_NS, Modality.IMAGE, (place,), True)
    message = through_dds(answers.retrieval_message(sent, "db"))
    assert answers.read_retrieval(message) == sent
    message.places[0].modalities = []
    with pytest.raises(ConversionError, match="places"):
        answers.read_retrieval(message)


# -- fuzz ----------------------------------------------------------------------------------------------------------

sizes = st.integers(0, 40) | st.sampled_from([2**31, 2**32 - 1])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([*ENCODINGS, "x"]), sizes, sizes, sizes, st.integers(0, 1), st.binary(max_size=600))
def test_any_image_is_read_or_refused(encoding: str, height: int, width: int, step: int, big: int, data: bytes) -> None:
    message = Image(
        header=header("c"), encoding=encoding, height=height, width=width, step=step, is_bigendian=big, data=data
    )
    try:
        read = conversions.read_image(message)
    except ConversionError:
        return
    assert read.image.shape == (height, width, 3)


fields = st.builds(
    lambda n, o, d: PointField(name=n, offset=o, datatype=d, count=1),
    st.sampled_from(["x", "y", "z", "i"]),
    sizes,
    st.integers(0, 9),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(fields, max_size=5), sizes, sizes, sizes, sizes, st.booleans(), st.binary(max_size=600))
def test_any_cloud_is_read_or_refused(
    entries: list[PointField], height: int, width: int, point_step: int, row_step: int, big: bool, data: bytes
) -> None:
    message = PointCloud2(header=header("l"), height=height, width=width, point_step=point_step, row_step=row_step)
    message.fields, message.is_bigendian, message.data = entries, big, data
    try:
        sweep = conversions.read_cloud(message)
    except ConversionError:
        return
    assert len(sweep.points) + sweep.not_finite == height * width
    assert np.isfinite(sweep.points).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 255), st.sampled_from([".jpg", ".png", ".webp"]))
def test_any_damage_to_a_compressed_image_is_read_or_refused(cut: int, at: int, value: int, extension: str) -> None:
    data = bytearray(compressed(extension).data)
    data[at % len(data)] = value
    message = compressed(extension, bytes(data[: max(0, len(data) - cut % 7 * 100)]))
    try:
        read: NDArray[np.uint8] = conversions.read_compressed_image(message).image
    except ConversionError:
        return
    assert read.ndim == 3
