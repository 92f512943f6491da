"""What the robot had before its eyes at one moment of a run: what a reader needs to judge an abstention or an error."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crossover_models.observation import WallSlice


@dataclass(frozen=True)
class Evidence:
    """Sensor data at a stamp; whatever there was none of is None.

    Attributes:
        stamp_ns: the moment.
        frame: (H, W, 3) uint8 RGB, the last camera frame before it.
        frame_age_s: how long before.
        cloud: (N, 3) float32 local cloud of the last metres, in the aligned frame, metres.
        wall_slice: what of it was compared with the floor plan.
        T_base_slice: (3,) where the slice's frame was then: the robot has moved on since its newest sweep.
    """

    stamp_ns: int
    frame: NDArray[np.uint8] | None = None
    frame_age_s: float = 0.0
    cloud: NDArray[np.float32] | None = None
    wall_slice: WallSlice | None = None
    T_base_slice: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
