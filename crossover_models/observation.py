"""What was seen: one frozen type per kind of sensor data, and what the stages before the encoder make of it.

Stamps are integer nanoseconds of the sensor's clock, never the time of arrival. A frame named ``aligned`` has
base_link's origin and heading and gravity's vertical (see :func:`crossover_models.geometry.gravity_alignment`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray


class Modality(str, Enum):
    """The five modalities of CrossOver (arXiv 2502.15011, section 3), by the names used in files and messages."""

    IMAGE = "image"
    POINT_CLOUD = "point_cloud"
    MESH = "mesh"
    FLOOR_PLAN = "floor_plan"
    TEXT = "text"


class ObservationError(ValueError):
    """Sensor data that cannot be used; the message names the field and its value."""


@dataclass(frozen=True)
class ImageObservation:
    """One colour frame.

    Attributes:
        stamp_ns: exposure time.
        image: (H, W, 3) uint8, RGB.
        camera_id: the camera's frame name, to tell several cameras apart.
    """

    stamp_ns: int
    image: NDArray[np.uint8]
    camera_id: str = "camera"

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ObservationError(f"image: expected (H, W, 3) uint8 RGB, got {self.image.shape} {self.image.dtype}")


@dataclass(frozen=True)
class PointCloudObservation:
    """One sweep of a lidar or depth camera.

    Attributes:
        stamp_ns: time of the sweep.
        points: (N, 3) float32 in the sensor frame, metres, all finite.
        T_base_sensor: (4, 4) mounting pose.
        T_odom_base: (4, 4) odometry at ``stamp_ns``.
    """

    stamp_ns: int
    points: NDArray[np.float32]
    T_base_sensor: NDArray[np.float64]
    T_odom_base: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 3:
            raise ObservationError(f"points: expected (N, 3), got {self.points.shape}")
        if not np.isfinite(self.points).all():
            bad = int((~np.isfinite(self.points).all(axis=1)).sum())
            raise ObservationError(f"points: {bad} of {len(self.points)} points are not finite")


@dataclass(frozen=True)
class LocalCloud:
    """Sweeps accumulated along odometry, in the aligned frame of the newest one.

    Attributes:
        stamp_ns: stamp of the newest sweep.
        points: (N, 3) float32, metres; z = 0 is base_link's height.
        origins: (K, 3) float32 sensor positions, one a sweep.
        origin_index: (N,) int32 into ``origins``: which sweep saw the point.
        T_odom_aligned: (3,) planar odometry pose of the aligned frame.
        scans: number of sweeps.
    """

    stamp_ns: int
    points: NDArray[np.float32]
    origins: NDArray[np.float32]
    origin_index: NDArray[np.int32]
    T_odom_aligned: NDArray[np.float64]
    scans: int


@dataclass(frozen=True)
class WallSlice:
    """The part of a local cloud that a floor plan would draw, flattened; also what a planar LaserScan gives.

    Attributes:
        stamp_ns: stamp of the newest sweep.
        points: (N, 2) float32 end points in the aligned frame, metres.
        origins: (K, 2) float32 sensor positions in the same frame.
        origin_index: (N,) int32 into ``origins``.
        T_odom_aligned: (3,) planar odometry pose of the aligned frame.
        scans: number of sweeps.
    """

    stamp_ns: int
    points: NDArray[np.float32]
    origins: NDArray[np.float32]
    origin_index: NDArray[np.int32]
    T_odom_aligned: NDArray[np.float64]
    scans: int = 1

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 2:
            raise ObservationError(f"points: expected (N, 2), got {self.points.shape}")
        if len(self.origin_index) != len(self.points):
            raise ObservationError(f"origin_index: {len(self.origin_index)} entries for {len(self.points)} points")
        if len(self.points) and not (
            int(self.origin_index.min()) >= 0 and int(self.origin_index.max()) < len(self.origins)
        ):
            raise ObservationError(f"origin_index: out of range of {len(self.origins)} origins")


NO_TOKENS: NDArray[np.int8] = np.zeros(0, dtype=np.int8)
"""Of encoders whose codes are a vector and nothing else."""


@dataclass(frozen=True)
class Code:
    """What an encoder makes of one modality of a place: all that retrieval compares.

    Attributes:
        vector: (D,) float32, unit norm.
        tokens: (T,) int8, what late interaction compares beyond the vector (see
            :mod:`crossover_models.sets.tokens`); empty where the encoder has no such thing.
    """

    vector: NDArray[np.float32]
    tokens: NDArray[np.int8] = field(default_factory=lambda: NO_TOKENS)


@dataclass(frozen=True)
class SceneEmbedding:
    """One modality of the present surroundings in the shared space, as it travels from encoder to localizer.

    Attributes:
        stamp_ns: stamp of the newest sensor data in it.
        modality: which encoder made it.
        vector: (D,) float32, unit norm.
        fingerprint: of the encoder; only databases with the same one may be searched.
        wall_slice: geometry of the same instant, where the modality has one.
        tokens: (T,) int8 beside the vector, see :class:`Code`.
    """

    stamp_ns: int
    modality: Modality
    vector: NDArray[np.float32]
    fingerprint: str
    wall_slice: WallSlice | None = None
    tokens: NDArray[np.int8] = field(default_factory=lambda: NO_TOKENS)
