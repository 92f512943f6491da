"""SE(2) and SE(3): group laws, the wrap and quaternions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossover_models import geometry as g

finite = st.floats(-100.0, 100.0)
angle = st.floats(-20.0, 20.0)
pose = st.tuples(finite, finite, angle).map(np.array)


@given(pose, pose)
def test_relative_pose_composes_back(a: np.ndarray, b: np.ndarray) -> None:
    back = g.compose_se2(a, g.relative_se2(a, b))
    assert back[:2] == pytest.approx(b[:2], abs=1e-9)
    assert float(g.wrap_angle(back[2] - b[2])) == pytest.approx(0.0, abs=1e-9)


@given(pose, pose)
def test_planar_composition_equals_the_matrix_product(a: np.ndarray, b: np.ndarray) -> None:
    product = g.se2_from_se3(g.se3_from_se2(a) @ g.se3_from_se2(b))
    composed = g.compose_se2(a, b)
    assert composed[:2] == pytest.approx(product[:2], abs=1e-9)
    assert float(g.wrap_angle(composed[2] - product[2])) == pytest.approx(0.0, abs=1e-9)


@given(pose, st.tuples(finite, finite))
def test_points_follow_composition(a: np.ndarray, point: tuple[float, float]) -> None:
    moved = g.transform_points_se2(a, np.array([point]))[0]
    assert moved == pytest.approx(g.compose_se2(a, np.array([*point, 0.0]))[:2], abs=1e-9)


@given(st.floats(-1e4, 1e4))
def test_wrapped_angle_is_the_same_direction_in_half_open_turn(value: float) -> None:
    wrapped = float(g.wrap_angle(value))
    assert -np.pi <= wrapped < np.pi
    assert np.exp(1j * wrapped) == pytest.approx(np.exp(1j * value), abs=1e-9)


@given(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_quaternion_round_trip(q: tuple[float, ...]) -> None:
    rotation = g.matrix_from_quaternion(q)
    assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    again = g.quaternion_from_matrix(rotation)
    unit = np.array(q) / np.linalg.norm(q)
    assert abs(float(again @ unit)) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("q", [(0, 0, 0, 0), (np.nan, 0, 0, 1), (np.inf, 0, 0, 1)])
def test_an_unset_quaternion_is_refused_not_identity(q: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="not a rotation"):
        g.matrix_from_quaternion(q)


def test_aligned_frame_keeps_heading_and_has_vertical_z() -> None:
    T = g.se3_from_quaternion([1, 2, 3], [0.05, -0.1, 0.6, 0.79])
    T_aligned_base = g.gravity_alignment(T)
    T_odom_aligned = T @ g.inverse_se3(T_aligned_base)
    assert T_odom_aligned[:3, 2] == pytest.approx([0, 0, 1])
    assert T_odom_aligned[:3, 3] == pytest.approx([1, 2, 3])
    assert g.yaw_from_matrix(T_odom_aligned[:3, :3]) == pytest.approx(g.yaw_from_matrix(T[:3, :3]))
