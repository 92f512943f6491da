"""The TF buffer answers at the stamp asked or says why not; never with an identity."""

from __future__ import annotations

import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS 2: install the extra `ros`, or source a ROS environment")

from crossover_models.geometry import (
    Array,
    interpolate_quaternion,
    inverse_se3,
    matrix_from_quaternion,
    quaternion_from_matrix,
    quaternion_from_yaw,
    se3_from_quaternion,
    yaw_from_matrix,
)
from crossover_ros.transforms import TransformBuffer, TransformError, TransformGate, TransformPendingError

S = 1_000_000_000
IDENTITY = (0.0, 0.0, 0.0, 1.0)


def yaw(angle_rad: float) -> tuple[float, float, float, float]:
    x, y, z, w = (float(v) for v in quaternion_from_yaw(angle_rad))
    return x, y, z, w


def moving() -> TransformBuffer:
    """odom -> base at 1, 2 and 3 s, base -> lidar fixed, map -> odom known at 1 s only."""
    buffer = TransformBuffer()
    for k in (1, 3, 2):  # Out of order, as networks deliver.
        buffer.add("odom", "base", k * S, (float(k), 0.0, 0.0), yaw(0.2 * k))
    buffer.add("base", "lidar", 0, (0.1, 0.0, 0.5), yaw(np.pi), static=True)
    buffer.add("map", "odom", 1 * S, (5.0, 0.0, 0.0), IDENTITY)
    return buffer


def test_interpolates_at_the_stamp_through_a_chain() -> None:
    T = moving().lookup("odom", "lidar", round(2.5 * S))
    expected = se3_from_quaternion([2.5, 0, 0], yaw(0.5)) @ se3_from_quaternion([0.1, 0, 0.5], yaw(np.pi))
    np.testing.assert_allclose(T, expected, atol=1e-12)


def test_inverse_and_sideways_lookups() -> None:
    buffer = moving()
    buffer.add("base", "camera", 0, (0.0, 0.3, 0.0), IDENTITY, static=True)
    there, back = buffer.lookup("lidar", "odom", 2 * S), buffer.lookup("odom", "lidar", 2 * S)
    np.testing.assert_allclose(there @ back, np.eye(4), atol=1e-12)
    sideways = buffer.lookup("lidar", "camera", 99 * S)  # Both fixed to base: no odometry is needed.
    expected = inverse_se3(se3_from_quaternion([0.1, 0, 0.5], yaw(np.pi))) @ se3_from_quaternion([0, 0.3, 0], IDENTITY)
    np.testing.assert_allclose(sideways, expected, atol=1e-12)


def test_slashes_of_ros_1_names_do_not_matter() -> None:
    np.testing.assert_array_equal(moving().lookup("/odom", "/base", 2 * S), moving().lookup("odom", "base", 2 * S))


@pytest.mark.parametrize(
    ("target", "source", "stamp_s", "kind", "text"),
    [
        (
            "odom",
            "base",
            3.5,
            TransformPendingError,
            "from base to odom at 3.500 s: the newest .* of base is 0.500 s older",
        ),
        ("odom", "base", 0.5, TransformError, "the oldest transform of base is 0.500 s newer"),
        ("odom", "camera", 2.0, TransformPendingError, "camera was never heard of"),
        ("world", "base", 2.0, TransformPendingError, "world was never heard of"),
        ("map", "base", 2.0, TransformPendingError, "the newest transform of odom"),
    ],
)
def test_what_is_missing_is_an_error_with_frames_and_stamp(
    target: str, source: str, stamp_s: float, kind: type[TransformError], text: str
) -> None:
    with pytest.raises(TransformError, match=text) as caught:
        moving().lookup(target, source, round(stamp_s * S))
    assert type(caught.value) is kind


def test_a_missing_parent_above_the_target_does_not_matter() -> None:
    """map->odom is old, but odom->base does not need it."""
    moving().lookup("odom", "base", 3 * S)
    moving().lookup("base", "odom", 3 * S)


def test_two_trees_and_loops() -> None:
    buffer = moving()
    buffer.add("shelf", "box", 0, (0.0, 0.0, 0.0), IDENTITY, static=True)
    with pytest.raises(TransformPendingError, match="two trees"):
        buffer.lookup("box", "lidar", 1 * S)
    buffer.add("lidar", "map", 0, (0.0, 0.0, 0.0), IDENTITY, static=True)
    with pytest.raises(TransformError, match=r"the frames form a loop: .*map"):
        buffer.lookup("box", "base", 1 * S)


@pytest.mark.parametrize(
    ("parent", "child", "translation", "quaternion"),
    [
        ("odom", "", (0.0, 0.0, 0.0), IDENTITY),
        ("odom", "odom", (0.0, 0.0, 0.0), IDENTITY),
        ("odom", "base", (float("nan"), 0.0, 0.0), IDENTITY),
        ("odom", "base", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
        ("odom", "base", (0.0, 0.0, 0.0), (float("nan"), 0.0, 0.0, 1.0)),
    ],
)
def test_what_is_no_transform_is_refused_and_changes_nothing(
    parent: str, child: str, translation: tuple[float, float, float], quaternion: tuple[float, float, float, float]
) -> None:
    buffer = moving()
    with pytest.raises(TransformError):
        buffer.add(parent, child, 2 * S, translation, quaternion)
    np.testing.assert_array_equal(buffer.lookup("odom", "base", 2 * S), moving().lookup("odom", "base", 2 * S))


def test_old_samples_go_and_a_new_run_starts_afresh() -> None:
    buffer = TransformBuffer(cache_s=1.0)
    for k in range(100):
        buffer.add("odom", "base", k * S // 10, (k / 10, 0.0, 0.0), IDENTITY)
    assert buffer.lookup("odom", "base", round(9.05 * S))[0, 3] == pytest.approx(9.05)
    with pytest.raises(TransformError, match="oldest"):
        buffer.lookup("odom", "base", 5 * S)
    buffer.add("odom", "base", 1 * S, (7.0, 0.0, 0.0), IDENTITY)
    assert buffer.lookup("odom", "base", 1 * S)[0, 3] == 7.0


def test_clear_keeps_what_is_static() -> None:
    buffer = moving()
    buffer.clear()
    buffer.lookup("base", "lidar", 5 * S)
    with pytest.raises(TransformPendingError):
        buffer.lookup("odom", "base", 2 * S)


def test_a_frame_with_a_new_parent() -> None:
    """On a change of level odom hangs under another map; before that stamp it hung under the old one."""
    buffer = TransformBuffer()
    buffer.add("map_L1", "odom", 1 * S, (1.0, 0.0, 0.0), IDENTITY)
    buffer.add("map_L2", "odom", 2 * S, (2.0, 0.0, 0.0), IDENTITY)
    assert buffer.lookup("map_L1", "odom", round(1.9 * S))[0, 3] == 1.0
    assert buffer.lookup("map_L2", "odom", 2 * S)[0, 3] == 2.0


angles = st.floats(-np.pi, np.pi)
fractions = st.floats(0.0, 1.0)


@settings(max_examples=100, deadline=None)
@given(angles, angles, fractions)
def test_interpolated_heading_takes_the_shorter_way(a: float, b: float, fraction: float) -> None:
    buffer = TransformBuffer()
    buffer.add("odom", "base", 0, (0.0, 0.0, 0.0), yaw(a))
    buffer.add("odom", "base", 1000, (1.0, 2.0, 0.0), yaw(b))
    T = buffer.lookup("odom", "base", round(1000 * fraction))
    turn = (b - a + np.pi) % (2 * np.pi) - np.pi
    wanted = a + turn * round(1000 * fraction) / 1000
    if abs(abs(turn) - np.pi) > 1e-6:  # At half a turn both ways are the shorter one.
        assert np.cos(yaw_from_matrix(T[:3, :3]) - wanted) == pytest.approx(1.0, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=8, max_size=8), fractions)
def test_interpolated_rotation_is_rigid_and_symmetric(numbers: list[float], fraction: float) -> None:
    offset = np.array([0.0, 0.0, 0.0, 1e-3])
    p, q = np.array(numbers[:4]) + offset, np.array(numbers[4:]) + offset
    if min(np.linalg.norm(p), np.linalg.norm(q)) < 1e-2:
        return
    p, q = p / np.linalg.norm(p), q / np.linalg.norm(q)
    if abs(p @ q) < 1e-6:
        return
    R = matrix_from_quaternion(interpolate_quaternion(p, q, fraction))
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(R, matrix_from_quaternion(interpolate_quaternion(q, p, 1.0 - fraction)), atol=1e-7)
    np.testing.assert_allclose(abs(quaternion_from_matrix(R) @ interpolate_quaternion(p, q, fraction)), 1.0, atol=1e-9)


# -- the gate ------------------------------------------------------------------------------------------------------


class Gate:
    """A gate on a buffer that fills while observations wait."""

    def __init__(self, capacity: int = 32) -> None:
        self.buffer = TransformBuffer()
        self.released: list[tuple[Any, tuple[Array, ...]]] = []
        self.refused: list[tuple[Any, str]] = []
        self.gate = TransformGate(
            self.buffer,
            lambda item, found: self.released.append((item, found)),
            lambda item, reason: self.refused.append((item, reason)),
            capacity,
        )


def test_an_observation_waits_for_its_transform_and_keeps_its_turn() -> None:
    g = Gate()
    for k in (1, 2):
        g.gate.put(f"cloud {k}", [("odom", "base")], k * S, now_s=0.0, patience_s=1.0)
    g.buffer.add("odom", "base", 0, (0.0, 0.0, 0.0), IDENTITY)
    g.buffer.add("odom", "base", 4 * S, (4.0, 0.0, 0.0), IDENTITY)
    g.gate.poll(0.5)
    assert [item for item, _ in g.released] == ["cloud 1", "cloud 2"]
    assert [float(found[0][0, 3]) for _, found in g.released] == [1.0, 2.0]
    assert not g.refused and not len(g.gate)


def test_an_observation_whose_transform_never_comes_is_refused_with_the_reason() -> None:
    g = Gate()
    g.gate.put("cloud", [("odom", "base")], 1 * S, now_s=0.0, patience_s=1.0)
    g.gate.poll(0.9)
    assert not g.refused
    g.gate.poll(1.1)
    assert g.refused[0][0] == "cloud" and "no transform from base to odom at 1.000 s" in g.refused[0][1]
    assert not g.released


def test_an_observation_from_before_all_transforms_is_refused_at_once() -> None:
    g = Gate()
    g.buffer.add("odom", "base", 5 * S, (0.0, 0.0, 0.0), IDENTITY)
    g.gate.put("cloud", [("odom", "base")], 1 * S, now_s=0.0, patience_s=1.0)
    assert g.refused and not len(g.gate)


def test_the_gate_holds_a_bounded_number() -> None:
    g = Gate(capacity=3)
    for k in range(5):
        g.gate.put(k, [("odom", "base")], S, now_s=0.0, patience_s=9.0)
    assert len(g.gate) == 3 and [item for item, _ in g.refused] == [0, 1]


def test_an_observation_is_released_once_whoever_looks() -> None:
    """Two threads look at once while transforms are looked up slowly, as a multi-threaded executor may have it."""
    released: list[int] = []
    buffer = TransformBuffer()

    class Slow:
        def lookup(self, target: str, source: str, stamp_ns: int) -> Array:
            time.sleep(0.01)
            return buffer.lookup(target, source, stamp_ns)

    gate = TransformGate(Slow(), lambda item, _: released.append(item), lambda item, _: None)
    for k in range(5):
        gate.put(k, [("odom", "base")], S, now_s=0.0, patience_s=9.0)
    for stamp in (0, 2 * S):
        buffer.add("odom", "base", stamp, (0.0, 0.0, 0.0), IDENTITY)
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(gate.poll, 0.5) for _ in range(4)]:
            done.result()
    assert released == [0, 1, 2, 3, 4]


# -- tf2_ros -------------------------------------------------------------------------------------------------------


def test_tf2_ros_tells_of_new_transforms_and_its_errors_become_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in with tf2_ros' names; the real package is not to be had as a wheel."""
    fake: Any = types.ModuleType("tf2_ros")
    fake.TransformException = type("TransformException", (Exception,), {})
    for name in ("ExtrapolationException", "LookupException", "ConnectivityException"):
        setattr(fake, name, type(name, (fake.TransformException,), {}))

    class Buffer:
        failure: Exception | None = None

        def __init__(self, node: Any) -> None:
            self.held: list[tuple[Any, ...]] = []

        def set_transform(self, *arguments: Any) -> None:
            self.held.append(arguments)

        def lookup_transform(self, target: str, source: str, time: Any) -> Any:
            if self.failure is not None:
                raise self.failure
            from geometry_msgs.msg import TransformStamped

            found = TransformStamped()
            found.transform.translation.x = time.nanoseconds / S
            return found

    fake.Buffer, fake.TransformListener = Buffer, lambda buffer, node, spin_thread: buffer
    monkeypatch.setitem(sys.modules, "tf2_ros", fake)
    from crossover_ros.transforms import Tf2Source

    new: list[str] = []
    source = Tf2Source(None, lambda: new.append("new"))  # type: ignore[arg-type]
    assert source.lookup("odom", "base", 2 * S)[0, 3] == 2.0
    assert not new
    source._listener.set_transform("odom to base", "somebody")  # type: ignore[attr-defined]
    assert new == ["new"] and source._listener.held == [("odom to base", "somebody")]  # type: ignore[attr-defined]
    for failure, kind in (
        (fake.ExtrapolationException("would require extrapolation into the future"), TransformPendingError),
        (fake.ExtrapolationException("would require extrapolation into the past"), TransformError),
        (fake.LookupException("base does not exist"), TransformPendingError),
        (fake.ConnectivityException("not part of the same tree"), TransformPendingError),
        (fake.TransformException("invalid"), TransformError),
    ):
        Buffer.failure = failure
        with pytest.raises(TransformError, match=r"no transform from base to odom at 2\.000 s") as caught:
            source.lookup("odom", "base", 2 * S)
        assert type(caught.value) is kind
