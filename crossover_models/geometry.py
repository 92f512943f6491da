"""SE(2) and SE(3): the only home of quaternions and angle wrapping.

An SE(2) pose is an array ``(..., 3)`` of ``[x_m, y_m, yaw_rad]``; an SE(3) pose is a ``(4, 4)`` homogeneous
matrix. ``T_a_b`` maps coordinates of frame ``b`` into frame ``a``, so that neighbouring letters cancel:
``T_a_c = compose_se2(T_a_b, T_b_c)``. Axes follow REP-103 (x forward, y left, z up; metres, radians).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def wrap_angle(angle_rad: ArrayLike) -> Array:
    """Wrap angles of any shape into [-pi, pi)."""
    return (np.asarray(angle_rad, dtype=np.float64) + np.pi) % (2.0 * np.pi) - np.pi


def compose_se2(T_a_b: ArrayLike, T_b_c: ArrayLike) -> Array:
    """Return T_a_c (..., 3); the leading axes broadcast."""
    a, b = np.asarray(T_a_b, dtype=np.float64), np.asarray(T_b_c, dtype=np.float64)
    cos, sin = np.cos(a[..., 2]), np.sin(a[..., 2])
    return np.stack(
        [
            a[..., 0] + cos * b[..., 0] - sin * b[..., 1],
            a[..., 1] + sin * b[..., 0] + cos * b[..., 1],
            wrap_angle(a[..., 2] + b[..., 2]),
        ],
        axis=-1,
    )


def inverse_se2(T_a_b: ArrayLike) -> Array:
    """Return T_b_a (..., 3)."""
    a = np.asarray(T_a_b, dtype=np.float64)
    cos, sin = np.cos(a[..., 2]), np.sin(a[..., 2])
    return np.stack(
        [
            -cos * a[..., 0] - sin * a[..., 1],
            sin * a[..., 0] - cos * a[..., 1],
            wrap_angle(-a[..., 2]),
        ],
        axis=-1,
    )


def relative_se2(T_a_b: ArrayLike, T_a_c: ArrayLike) -> Array:
    """Return T_b_c = T_a_b^-1 T_a_c (..., 3)."""
    return compose_se2(inverse_se2(T_a_b), T_a_c)


def transform_points_se2(T_a_b: ArrayLike, points_b: ArrayLike) -> Array:
    """Map points (..., N, 2) of frame b into frame a; the pose's leading axes broadcast against the points'."""
    a, points = np.asarray(T_a_b, dtype=np.float64), np.asarray(points_b, dtype=np.float64)
    cos, sin = np.cos(a[..., 2, None]), np.sin(a[..., 2, None])
    x, y = points[..., 0], points[..., 1]
    return np.stack([a[..., 0, None] + cos * x - sin * y, a[..., 1, None] + sin * x + cos * y], axis=-1)


def interpolate_se2(T_a_b0: ArrayLike, T_a_b1: ArrayLike, fraction: float) -> Array:
    """Pose a ``fraction`` (0..1) of the way from b0 to b1, along the straight line and the shorter turn."""
    p, q = np.asarray(T_a_b0, dtype=np.float64), np.asarray(T_a_b1, dtype=np.float64)
    turn = wrap_angle(q[2] - p[2])
    xy = p[:2] + fraction * (q[:2] - p[:2])
    return np.array([xy[0], xy[1], float(wrap_angle(p[2] + fraction * turn))])


def adjoint_se2(T_a_b: ArrayLike) -> Array:
    """(3, 3) matrix that carries a twist, and so a covariance, of frame b into frame a."""
    x, y, yaw = np.asarray(T_a_b, dtype=np.float64)
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, y], [sin, cos, -x], [0.0, 0.0, 1.0]])


def matrix_from_quaternion(quaternion_xyzw: ArrayLike) -> Array:
    """Rotation matrix (3, 3) of a quaternion (x, y, z, w), which is normalised first.

    Raises:
        ValueError: a component is not finite, or the norm is below 1e-6 (an unset quaternion has no rotation).
    """
    q = np.asarray(quaternion_xyzw, dtype=np.float64)
    norm = float(np.linalg.norm(q))
    if q.shape != (4,) or not np.isfinite(norm) or norm < 1e-6:
        raise ValueError(f"quaternion {q.tolist()} is not a rotation: norm must be finite and above 1e-6")
    x, y, z, w = q / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_matrix(rotation: ArrayLike) -> Array:
    """Unit quaternion (x, y, z, w), w >= 0, of a rotation matrix (3, 3) (Shepperd 1978: largest pivot first)."""
    r = np.asarray(rotation, dtype=np.float64)
    pivots = np.array([r[0, 0], r[1, 1], r[2, 2], np.trace(r)])
    k = int(np.argmax(pivots))
    q = np.empty(4)
    if k == 3:
        q[:] = [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], 1.0 + pivots[3]]
    else:
        i, j, m = k, (k + 1) % 3, (k + 2) % 3
        q[i] = 1.0 + r[i, i] - r[j, j] - r[m, m]
        q[j] = r[j, i] + r[i, j]
        q[m] = r[m, i] + r[i, m]
        q[3] = r[m, j] - r[j, m]
    q /= np.linalg.norm(q)
    return q if q[3] >= 0 else -q


def quaternion_from_yaw(yaw_rad: float) -> Array:
    """Quaternion (x, y, z, w) of a rotation about +z."""
    return np.array([0.0, 0.0, np.sin(yaw_rad / 2.0), np.cos(yaw_rad / 2.0)])


def yaw_from_matrix(rotation: ArrayLike) -> float:
    """Heading of the x axis in the xy plane, radians (ZYX convention)."""
    r = np.asarray(rotation, dtype=np.float64)
    return float(np.arctan2(r[1, 0], r[0, 0]))


def se3_from_quaternion(translation_m: ArrayLike, quaternion_xyzw: ArrayLike) -> Array:
    """(4, 4) pose of a translation (3,) and a quaternion (x, y, z, w).

    Raises:
        ValueError: as :func:`matrix_from_quaternion`, or a translation that is not finite.
    """
    t = np.asarray(translation_m, dtype=np.float64)
    if t.shape != (3,) or not np.isfinite(t).all():
        raise ValueError(f"translation {t.tolist()} must be three finite metres")
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = matrix_from_quaternion(quaternion_xyzw), t
    return T


def se3_from_se2(T_a_b: ArrayLike, z_m: float = 0.0) -> Array:
    """(4, 4) pose of a planar pose (3,) at height ``z_m``."""
    x, y, yaw = np.asarray(T_a_b, dtype=np.float64)
    T = np.eye(4)
    T[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    T[:3, 3] = [x, y, z_m]
    return T


def se2_from_se3(T_a_b: ArrayLike) -> Array:
    """Planar part [x, y, yaw] of a (4, 4) pose."""
    T = np.asarray(T_a_b, dtype=np.float64)
    return np.array([T[0, 3], T[1, 3], yaw_from_matrix(T[:3, :3])])


def inverse_se3(T_a_b: ArrayLike) -> Array:
    """Return T_b_a (4, 4)."""
    T = np.asarray(T_a_b, dtype=np.float64)
    out = np.eye(4)
    out[:3, :3] = T[:3, :3].T
    out[:3, 3] = -T[:3, :3].T @ T[:3, 3]
    return out


def transform_points_se3(T_a_b: ArrayLike, points_b: ArrayLike) -> Array:
    """Map points (N, 3) of frame b into frame a."""
    T, points = np.asarray(T_a_b, dtype=np.float64), np.asarray(points_b, dtype=np.float64)
    return points @ T[:3, :3].T + T[:3, 3]


def interpolate_quaternion(q0_xyzw: ArrayLike, q1_xyzw: ArrayLike, fraction: float) -> Array:
    """Unit quaternion a ``fraction`` (0..1) of the shorter way from q0 to q1 (slerp, Shoemake 1985); norms are 1."""
    p, q = np.asarray(q0_xyzw, dtype=np.float64), np.asarray(q1_xyzw, dtype=np.float64)
    cos = float(p @ q)
    if cos < 0.0:
        q, cos = -q, -cos
    angle = float(np.arccos(min(cos, 1.0)))
    if angle < 1e-6:  # sin(angle) is about to vanish, and the chord equals the arc to 1e-12.
        out = (1.0 - fraction) * p + fraction * q
    else:
        out = (np.sin((1.0 - fraction) * angle) * p + np.sin(fraction * angle) * q) / np.sin(angle)
    return np.asarray(out / np.linalg.norm(out))


def gravity_alignment(T_odom_base: ArrayLike) -> Array:
    """T_aligned_base (4, 4): the base frame turned so that +z is odom's +z, heading and origin kept.

    The aligned frame has base's origin and yaw but no roll or pitch; a wall is vertical in it.
    """
    T = np.asarray(T_odom_base, dtype=np.float64)
    T_odom_aligned = se3_from_se2(se2_from_se3(T), T[2, 3])
    return inverse_se3(T_odom_aligned) @ T
