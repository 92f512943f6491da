"""A planted bag through the core: found, repeatable, and clear about what is wrong with it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import PlantedMap, asymmetric_plan, drive, other_plan
from planted_bag import (
    LIDAR_HEIGHT_M,
    START_NS,
    STEP_NS,
    PlantedEncoder,
    odometry_origin,
    sweep_points,
    write_bag,
)
from rosbags.convert import convert
from rosbags.rosbag2 import StoragePlugin
from rosbags.typesys import Stores, get_typestore

from crossover_models.config import ConfigError
from crossover_models.estimate import LevelKey, LocalizationState
from crossover_models.evaluation.digest import record_digest
from crossover_models.evaluation.ground_truth import read_truth
from crossover_models.evaluation.judgement import judge
from crossover_models.evaluation.metrics import metrics
from crossover_models.evaluation.results import results_table, write_estimated
from crossover_models.evaluation.run_record import RunInfo, RunRecord, RunWriter, read_record
from crossover_models.evaluation.trajectory import Trajectory, TrajectoryError, read_tum
from crossover_models.geometry import compose_se2, se3_from_se2
from crossover_models.localizer import Localizer
from crossover_models.observation import Modality, PointCloudObservation
from crossover_models.perception import Perception
from crossover_ros.bag_reading import Bag, BagError
from crossover_ros.bag_topics import Topics
from crossover_ros.node_settings import node_settings
from crossover_ros.replay import Replay

A, B = LevelKey("house", "L1"), LevelKey("house", "L2")
POSES = drive(np.array([1.5, 5.0, 0.0]), 28, step_m=0.3)


@pytest.fixture(scope="module")
def planted() -> PlantedMap:
    return PlantedMap({A: asymmetric_plan(), B: other_plan()})


@pytest.fixture(scope="module")
def bag_path(planted: PlantedMap, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bag") / "run"
    write_bag(path, planted.plans[A], POSES)
    return path


def truth() -> Trajectory:
    stamps = START_NS + STEP_NS * np.arange(len(POSES), dtype=np.int64)
    return Trajectory(stamps, np.stack(POSES)).on_level(A)


def replayed(bag_path: Path, planted: PlantedMap, record: Path, **options: float) -> tuple[RunRecord, Replay]:
    settings = node_settings(None)
    encoder = PlantedEncoder(planted)
    with Bag(bag_path) as bag:
        info = RunInfo("planted", "replay", True, "planted", encoder.fingerprint, bag.started_ns, bag.finished_ns)
        with RunWriter(record, info) as writer:
            replay = Replay(
                Perception(encoder, settings.encoder),
                Localizer(planted, settings.localizer),
                settings.encoder,
                writer,
                cloud_rate_hz=100.0,
            )
            replay.run(bag, relocalize_after_s=3.0, **options)
            writer.end(1.0)
    return read_record(record), replay


def timeless(record: RunRecord) -> list[object]:
    """Everything of a record but what a stopwatch measured."""
    estimates = [
        (replace(e.estimate, runtime_s=0.0, hypotheses=()), poses(e.estimate.hypotheses)) for e in record.estimates
    ]
    calls = [
        (c.stamp_ns, c.response and (c.response.code, poses(c.response.hypotheses))) for c in record.relocalizations
    ]
    return [record.info, estimates, record.retrievals, calls]


def poses(hypotheses: object) -> object:
    return [(h.level, h.T_map_base.tolist(), h.covariance.tolist(), h.probability) for h in hypotheses]  # type: ignore[attr-defined]


def test_the_robot_is_found_and_the_figures_say_so(bag_path: Path, planted: PlantedMap, tmp_path: Path) -> None:
    record, replay = replayed(bag_path, planted, tmp_path / "run.jsonl")
    assert not replay.counts.dropped
    assert replay.counts.taken == {"points": len(POSES), "odom": len(POSES), "image": len(POSES)}
    figures = metrics(judge(record, truth(), planted.places()))
    assert figures["time_to_fix_s"] is not None
    assert figures["pose_error_m_median"] < 0.2
    assert figures["false_fixes"] == 0
    assert figures["relocalize_s"] is not None
    assert figures["retrieval_by_modality"].keys() == {"image", "point_cloud"}
    assert results_table(figures).row_count == 12
    assert write_estimated(tmp_path / "estimated.tum", record) > 0
    for stamp, pose in zip(
        *(getattr(read_tum(tmp_path / "estimated.tum"), n) for n in ("stamps_ns", "T_map_base")), strict=True
    ):
        found = truth().at(int(stamp))
        assert found is not None
        assert np.hypot(*(pose[:2] - found[1][:2])) < 0.5


def test_two_replays_are_identical(bag_path: Path, planted: PlantedMap, tmp_path: Path) -> None:
    first, _ = replayed(bag_path, planted, tmp_path / "a.jsonl")
    second, _ = replayed(bag_path, planted, tmp_path / "b.jsonl")
    assert timeless(first) == timeless(second)


def test_two_evaluations_share_a_digest_that_any_other_run_lacks(
    bag_path: Path, planted: PlantedMap, tmp_path: Path
) -> None:
    digests = []
    for name, options in (("a", {}), ("b", {}), ("c", {"duration_s": 4.0})):
        replayed(bag_path, planted, tmp_path / name, **options)
        digests.append(record_digest(tmp_path / name))
    assert digests[0] == digests[1] != digests[2]
    # What a stopwatch says is in the files, and differs.
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_a_ros_1_bag_gives_the_same_as_a_rosbag2(bag_path: Path, planted: PlantedMap, tmp_path: Path) -> None:
    convert([bag_path], tmp_path / "one.bag", "", 0, None, "", None, get_typestore(Stores.ROS1_NOETIC), [], [], [], [])
    first, _ = replayed(bag_path, planted, tmp_path / "a.jsonl")
    second, replay = replayed(tmp_path / "one.bag", planted, tmp_path / "b.jsonl")
    assert replay.counts.taken == {"points": len(POSES), "odom": len(POSES), "image": len(POSES)}
    assert timeless(first) == timeless(second)


def test_compressed_images_are_taken_where_there_are_no_others(planted: PlantedMap, tmp_path: Path) -> None:
    more = {"/camera/image_raw/compressed": "compressed"}
    write_bag(tmp_path / "bag", planted.plans[A], POSES[:8], leave_out=("/camera/image_raw",), also=more)
    record, replay = replayed(tmp_path / "bag", planted, tmp_path / "run.jsonl")
    assert replay.counts.taken["image"] == 8 and not replay.counts.dropped
    assert any(r.query_modality == Modality.IMAGE for r in record.retrievals)


def test_the_core_is_evaluated_where_no_ros_can_be_imported(bag_path: Path, planted: PlantedMap) -> None:
    code = (
        "import sys\n"
        "class NoRos:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('rclpy', 'rosidl_parser', 'sensor_msgs') or name == 'crossover_ros.msg':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, NoRos())\n"
        "import crossover_ros.cli, crossover_ros.offline_run, crossover_ros.replay, crossover_ros.evidence\n"
        "from pathlib import Path\n"
        "from crossover_ros.bag_reading import Bag\n"
        "print(sum(1 for _ in Bag(Path(sys.argv[1])).messages()))\n"
        "sys.exit(crossover_ros.cli.main(['evaluate', sys.argv[1], '--database', '/no/such.xmap']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(bag_path)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (2, [str(3 * len(POSES))]), done.stderr
    assert len(done.stderr.splitlines()) == 1 and "/no/such.xmap" in done.stderr


def test_sqlite_gives_the_same_as_mcap(bag_path: Path, planted: PlantedMap, tmp_path: Path) -> None:
    write_bag(tmp_path / "sqlite", planted.plans[A], POSES, storage=StoragePlugin.SQLITE3)
    first, _ = replayed(bag_path, planted, tmp_path / "a.jsonl")
    second, _ = replayed(tmp_path / "sqlite", planted, tmp_path / "b.jsonl")
    assert timeless(first) == timeless(second)


def test_a_part_of_a_bag(bag_path: Path, planted: PlantedMap, tmp_path: Path) -> None:
    _, replay = replayed(bag_path, planted, tmp_path / "run.jsonl", duration_s=2.0)
    assert replay.counts.taken["points"] == 11


def test_sweeps_without_transform_are_dropped_and_counted_never_placed_at_the_origin(
    planted: PlantedMap, tmp_path: Path
) -> None:
    write_bag(tmp_path / "bag", planted.plans[A], POSES[:5], leave_out=("/tf_static",))
    record, replay = replayed(tmp_path / "bag", planted, tmp_path / "run.jsonl")
    assert sum(count for reason, count in replay.counts.dropped.items() if reason.startswith("points")) == 5
    # Pictures alone may still name places; no sweep was used, and no pose announced.
    assert not any(e.estimate.scans_accumulated for e in record.estimates)
    assert all(e.estimate.state != LocalizationState.LOCALIZED for e in record.estimates)


def test_an_unknown_image_encoding_is_dropped_and_counted(planted: PlantedMap, tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", planted.plans[A], POSES[:6], encoding="holographic")
    _, replay = replayed(tmp_path / "bag", planted, tmp_path / "run.jsonl")
    assert any("holographic" in reason for reason in replay.counts.dropped)
    assert replay.counts.taken["points"] == 6


def test_a_bag_without_lidar_or_no_bag_at_all_is_refused_in_one_line(planted: PlantedMap, tmp_path: Path) -> None:
    write_bag(tmp_path / "blind", planted.plans[A], POSES[:3], leave_out=("/points",))
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.bag").write_text("no bag")
    for name, complaint in (
        ("blind", "no lidar topic"),
        ("empty", "cannot be read as a bag"),
        ("text.bag", "cannot be read as a bag"),
        ("absent", "no such bag"),
    ):
        with pytest.raises(BagError, match=complaint) as caught:
            Bag(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_bag_cut_or_altered_anywhere_is_read_or_refused_in_one_line(bag_path: Path, tmp_path: Path) -> None:
    whole = next(bag_path.glob("*.mcap")).read_bytes()
    rng = np.random.default_rng(0)
    for k in range(40):
        copy = tmp_path / str(k)
        copy.mkdir()
        (copy / "metadata.yaml").write_bytes((bag_path / "metadata.yaml").read_bytes())
        data = bytearray(whole)
        if k % 2:
            data = data[: int(rng.integers(len(whole)))]
        else:
            at = int(rng.integers(len(whole) - 64))
            data[at : at + 64] = rng.bytes(64)
        (copy / next(bag_path.glob("*.mcap")).name).write_bytes(bytes(data))
        try:
            with Bag(copy) as bag:
                for _ in bag.messages():
                    pass
        except BagError as error:
            assert "\n" not in str(error)


def test_replaying_messages_equals_calling_the_core_directly(planted: PlantedMap, tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", planted.plans[A], POSES, leave_out=("/camera/image_raw",))
    settings = node_settings(None)
    encoder = PlantedEncoder(planted)
    perception = Perception(encoder, settings.encoder)
    localizer = Localizer(planted, settings.localizer)
    T_base_lidar = se3_from_se2([0.1, 0.0, 0.0], LIDAR_HEIGHT_M)
    direct = []
    for k, pose in enumerate(POSES):
        stamp = START_NS + k * STEP_NS
        T_odom_base = compose_se2(odometry_origin(POSES), pose)
        localizer.on_odometry(stamp, T_odom_base)
        points = sweep_points(planted.plans[A], pose, k)
        embedding = perception.on_cloud(PointCloudObservation(stamp, points, T_base_lidar, se3_from_se2(T_odom_base)))
        assert embedding is not None
        direct.append(localizer.on_embedding(embedding))
    record, _ = replayed(tmp_path / "bag", planted, tmp_path / "run.jsonl")
    assert len(record.estimates) == len(direct)
    for event, estimate in zip(record.estimates, direct, strict=True):
        assert event.estimate.state == estimate.state
        assert [h.level for h in event.estimate.hypotheses] == [h.level for h in estimate.hypotheses[:12]]
        for got, wanted in zip(event.estimate.hypotheses, estimate.hypotheses, strict=False):
            np.testing.assert_allclose(got.T_map_base, wanted.T_map_base, atol=1e-6)
            assert got.probability == pytest.approx(wanted.probability, abs=1e-6)


def test_a_topic_that_is_named_must_exist_and_be_of_its_kind(bag_path: Path) -> None:
    with pytest.raises(BagError, match="no topic /velodyne"):
        Bag(bag_path, Topics(points="/velodyne"))
    with pytest.raises(BagError, match="expected sensor_msgs/msg/PointCloud2"):
        Bag(bag_path, Topics(points="/odom"))


def test_settings_come_from_a_file_and_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("localizer:\n  ros__parameters:\n    use_sim_time: true\n    belief: {null_score: -0.7}\n")
    settings = node_settings(path, ["encoder.max_image_rate_hz=5.0"])
    assert settings.localizer.belief.null_score == -0.7
    assert settings.encoder.max_image_rate_hz == 5.0
    for change in ("belief.null_score=1", "localizer.nonsense=1", "localizer", "robot.x=1"):
        with pytest.raises(ConfigError):
            node_settings(path, [change])
    path.write_text("[1, 2")
    with pytest.raises(ConfigError, match="not a YAML file"):
        node_settings(path)


def test_the_level_of_a_truth_is_named_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "truth.tum"
    path.write_text("1.0 0 0 0 0 0 0 1\n2.0 1 0 0 0 0 0 1\n")
    assert read_truth(path, [A]).levels == (A, A)
    assert read_truth(path, [A, B], "L2").levels == (B, B)
    assert read_truth(path, [A, B], "house/L1").levels == (A, A)
    with pytest.raises(TrajectoryError, match="name it with --level"):
        read_truth(path, [A, B])
    with pytest.raises(TrajectoryError, match="not in the map"):
        read_truth(path, [A, B], "L9")
