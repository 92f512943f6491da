"""The suite of faults: its verdicts on planted nodes, the endless recording and its truth, and one real process."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import PointCloud2

from crossover_models.estimate import LevelKey
from crossover_models.evaluation.trajectory import Trajectory
from crossover_ros.conversions import read_cloud, stamp_ns
from crossover_ros.faults.case import Case, carry_out
from crossover_ros.faults.endurance import STARTED_NS, EndlessBag
from crossover_ros.faults.fuzz import messages
from crossover_ros.faults.memory import Endurance
from crossover_ros.faults.recording import Event, Recording
from crossover_ros.faults.report import Report, faults_table
from crossover_ros.faults.robot import Robot, as_message, planar_scan
from crossover_ros.faults.stand import Answers, Stand
from crossover_ros.faults.suite import all_cases, chosen

S = 10**9
LEVEL = LevelKey("house", "L1")


def cdr(sample: Any) -> bytes:
    return bytes(messages.STORE.serialize_cdr(sample, sample.__msgtype__))


def recording() -> Recording:
    """Two seconds along x at 1 m/s, with a cloud and odometry twice a second."""
    events, transforms = [], [messages.tf(), messages.tf()]
    for k in range(2):  # base_link in odom, the lidar on base_link
        transforms[k].transforms = [transforms[k].transforms[k]]
    for k in range(5):
        at_ns = k * S // 2
        events += [
            Event("tf", at_ns, at_ns, cdr(transforms[0])),
            Event("odom", at_ns, at_ns, cdr(messages.odometry())),
            Event("points", at_ns, at_ns, cdr(messages.cloud())),
        ]
    stamps = np.arange(0, 2 * S + 1, S // 10)
    poses = np.c_[stamps / S, np.zeros(len(stamps)), np.zeros(len(stamps))]
    truth = Trajectory(50 * S + stamps, poses, (LEVEL,) * len(stamps))
    return Recording(tuple(events), cdr(transforms[1]), truth, 50 * S)


# -- recording -----------------------------------------------------------------------------------------------------


def test_the_recording_goes_back_and_forth_with_stamps_that_go_on() -> None:
    told = recording().endless()
    heard = [next(told) for _ in range(100)]
    sent = [run_ns for run_ns, _, _ in heard]
    assert sent == sorted(sent)
    stamps = [stamp for _, stamp, event in heard if event.kind == "points"]
    assert stamps[:9] == [0, S // 2, S, 3 * S // 2, 2 * S, 2 * S, 5 * S // 2, 3 * S, 7 * S // 2]


@pytest.mark.parametrize(("at_s", "x"), [(0.0, 0.0), (1.5, 1.5), (2.5, 1.5), (4.0, 0.0), (5.2, 1.2), (103.0, 1.0)])
def test_the_truth_turns_with_it(at_s: float, x: float) -> None:
    found = recording().truth(round(at_s * S))
    assert found is not None and found[0] == LEVEL
    np.testing.assert_allclose(found[1][0], x, atol=1e-9)
    assert recording().truth(-1) is None


@pytest.mark.parametrize("kind", ["points", "odom", "tf"])
def test_a_stamp_is_exchanged_in_the_bytes(kind: str) -> None:
    event = next(e for e in recording().events if e.kind == kind)
    message = as_message(event, 7 * S + 3)
    assert stamp_ns(message.transforms[0] if kind == "tf" else message) == 7 * S + 3
    assert len(event.stamped(1)) == len(event.cdr)


def test_the_planar_scan_sees_what_the_cloud_saw_at_its_height() -> None:
    sample = messages.cloud()
    points = np.array([[2.0, 0.0, 0.0], [0.0, 3.0, 0.01], [1.0, 1.0, 1.0]], dtype="<f4")
    sample.data, sample.height, sample.width = np.frombuffer(points.tobytes(), dtype=np.uint8), 1, 3
    scan = planar_scan(Event("points", 0, 0, cdr(sample)), 5 * S)
    ranges = np.array(scan.ranges)
    assert np.isfinite(ranges).sum() == 2
    np.testing.assert_allclose(ranges[[180, 270]], [2.0, 3.0], atol=1e-6)


def test_a_replay_has_its_transforms_before_its_data() -> None:
    bag = EndlessBag(recording(), 20.0)
    kinds = []
    for entry in bag.messages():
        kinds.append(entry.kind)
        if entry.kind == "points":
            bag.transforms.lookup("odom", "lidar", stamp_ns(entry.message))
            assert len(read_cloud(entry.message).points)
            assert stamp_ns(entry.message) >= STARTED_NS
    assert kinds.count("points") > 35


class Listener:
    """Stands for a ROS node and all its publishers: keeps (topic, message)."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def create_publisher(self, _: Any, topic: str, __: Any) -> Any:
        return SimpleNamespace(publish=lambda message: self.heard.append((topic, message)))


def driven(clouds: int, **options: float) -> list[tuple[str, Any]]:
    """What a robot publishes until it has sent so many clouds."""
    node = Listener()
    robot = Robot(node, recording(), **options)  # type: ignore[arg-type]
    robot.start()
    deadline_s = time.monotonic() + 20.0
    while sum(topic == "points" for topic, _ in node.heard) < clouds and time.monotonic() < deadline_s:
        time.sleep(0.01)
    robot.stop()
    assert robot.failure is None
    return node.heard


def test_a_faster_robot_sends_its_clock_and_the_stamps_of_its_own_time() -> None:
    began_ns = time.time_ns()
    heard = driven(21, rate=20.0)
    now_ns, seen = 0, 0
    for topic, message in heard:
        if topic == "/clock":
            assert message.clock.sec * S + message.clock.nanosec >= max(now_ns, began_ns)
            now_ns = message.clock.sec * S + message.clock.nanosec
        elif topic == "points":
            stamp = deserialize_message(message, PointCloud2).header.stamp
            assert stamp.sec * S + stamp.nanosec == now_ns
            seen += 1
    assert seen >= 21 and now_ns - began_ns > 7 * S
    assert all(topic != "/clock" for topic, _ in driven(1))


# -- verdicts ------------------------------------------------------------------------------------------------------


class PlantedWitness:
    """Says what a test wants it to."""

    def __init__(self) -> None:
        self.recovers, self.false, self.silent, self.says = True, [], [], "points: silent"  # type: ignore[var-annotated]

    def fixed(self, since_s: float, _: int) -> Any:
        class Fix:
            at_s = since_s + 1.5

        return Fix() if self.recovers else None

    def told(self, pattern: str, _: float) -> str | None:
        return self.says if pattern in self.says else None

    def false_fixes(self, _: float) -> list[str]:
        return self.false

    def asked(self, _: float) -> list[str]:
        return self.silent

    def last_words(self) -> list[str]:
        return ["localizer: ambiguous"]


class PlantedStand:
    """A stand without processes."""

    def __init__(self) -> None:
        self.witness, self.answers, self.died = PlantedWitness(), Answers(), list[str]()
        self.robot = self

    def restore(self) -> None:
        self.restored = True

    def revive(self) -> None:
        """Nothing is dead for long here."""

    def dead(self) -> list[str]:
        return self.died

    def wait(self, condition: Any, patience_s: float) -> bool:
        return bool(condition())


def fault(**changes: Any) -> Case:
    return Case("points: stop", "lidar", "nothing", lambda _: None, ("silent",), lasts_s=0.0, **changes)


def judged(stand: PlantedStand, case: Case | None = None) -> Any:
    return carry_out(case or fault(), stand)  # type: ignore[arg-type]


def test_a_fault_that_is_told_and_overcome_is_survived() -> None:
    verdict = judged(PlantedStand())
    assert verdict.survived and verdict.recovered_s == pytest.approx(1.5) and verdict.told == ("points: silent",)


@pytest.mark.parametrize(
    ("plant", "problem"),
    [
        (lambda s: setattr(s.witness, "recovers", False), "no right pose within 15 s after the fault (localizer: amb"),
        (lambda s: s.witness.false.append("LOCALIZED 5.00 m off"), "wrong pose announced: LOCALIZED 5.00 m off"),
        (lambda s: s.witness.silent.append("relocalize"), "during the fault: no answer of relocalize"),
        (lambda s: s.died.append("encoder died: -9"), "encoder died: -9"),
        (lambda s: setattr(s.witness, "says", "healthy"), "no diagnostic told 'silent'"),
    ],
)
def test_every_way_not_to_survive(plant: Any, problem: str) -> None:
    stand = PlantedStand()
    plant(stand)
    verdict = judged(stand)
    assert not verdict.survived and any(text.startswith(problem) for text in verdict.problems), verdict.problems


def test_a_recovery_that_took_too_long_is_none() -> None:
    assert not judged(PlantedStand(), fault(recover_s=1.0)).survived


def test_sensors_are_restored_even_if_a_step_fails() -> None:
    def fails(_: Stand) -> None:
        raise OSError("no such process")

    stand = PlantedStand()
    with pytest.raises(OSError, match="no such process"):
        judged(stand, Case("x", "y", "z", fails))
    assert stand.restored


def test_the_report_counts_and_shows_what_was_not_survived() -> None:
    stand = PlantedStand()
    good = judged(stand)
    stand.witness.recovers = False
    report = Report(long=False, seed=0, verdicts=[good, judged(stand)])
    report.endurance = Endurance(3.0, (500.0, 510.0, 512.0), 60.0, 100, 99, 0)
    facts = report.as_json()
    assert (facts["cases"], facts["survived"], facts["fuzz_inputs"], facts["crashes"]) == (3, 2, 0, 0)
    leaking = Endurance(4.0, (500.0, 560.0, 620.0, 680.0), 48.0, 90, 80, 0)
    report.node_endurance = {
        "encoder": Endurance(4.0, (500.0, 501.0, 501.0, 502.0), 48.0, 90, 80, 0),
        "localizer": leaking,
    }
    facts = report.as_json()
    assert (facts["cases"], facts["survived"]) == (5, 3)
    assert facts["node_endurance"]["localizer"]["rss_mb"] == [500.0, 560.0, 620.0, 680.0]
    assert not facts["node_endurance"]["localizer"]["survived"]
    assert faults_table(report.verdicts).row_count == 2


@pytest.mark.parametrize(
    ("rss_mb", "localized", "false", "flat"),
    [
        ((500, 520, 521, 522), 9, 0, True),
        ((500, 520, 560, 600), 9, 0, False),
        ((500, 520), 0, 0, False),
        ((5, 5), 9, 1, False),
    ],
)
def test_memory_is_flat_or_not(rss_mb: tuple[float, ...], localized: int, false: int, flat: bool) -> None:
    assert Endurance(4.0, rss_mb, 1.0, 9, localized, false).survived is flat


# -- the list, and a process ---------------------------------------------------------------------------------------


def test_every_fault_of_the_demand_is_there() -> None:
    names = [case.name for case in all_cases()]
    assert len(names) == len(set(names)) > 60
    for kind in ("points", "image", "odom"):
        for what in ("stop", "slow", "burst", "an hour ahead", "an hour behind"):
            assert f"{kind}: {what}" in names
    for name in (
        "points: 10 M", "image: 1 x 1", "points: all NaN", "odom: NaN", "image: depth", "points: frame moon",
        "tf: too late", "tf: missing", "tf: loop", "database: replaced", "database: other building",
        "GPU: out of memory", "process: kill encoder", "process: kill localizer",
    ):  # fmt: skip
        assert name in names
    assert [case.name for case in chosen(["tf: l*"])] == ["tf: late", "tf: loop"]
    with pytest.raises(ValueError, match="--only nothing: no such fault; known are points: stop"):
        chosen(["nothing"])


def test_a_node_that_dies_is_noticed(tmp_path: Path) -> None:
    """Over real DDS, with a process in the encoder's place that ends at once."""
    (tmp_path / "map.xmap").write_bytes(b"any")
    commands = {"encoder": [sys.executable, "-c", "print('planted'); raise SystemExit(3)"]}
    with Stand(tmp_path / "stand", tmp_path / "map.xmap", tmp_path / "map.xmap", recording(), commands) as stand:
        deadline = time.monotonic() + 20.0
        while not stand.dead() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert stand.dead() == ["encoder died: planted"]
        assert not stand.witness.ready()
