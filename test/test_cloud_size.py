"""Clouds of any size: more points than a lidar returns are thinned evenly, whatever their layout."""

from __future__ import annotations

import numpy as np
import pytest

from crossover_ros.conversions import MAX_POINTS, read_cloud
from crossover_ros.faults.fuzz import messages


@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 100), (1, MAX_POINTS), (1, MAX_POINTS + 1), (720, 1280), (2, MAX_POINTS), (MAX_POINTS * 3, 1), (3, 10**6)],
)
def test_no_sweep_is_larger_than_the_most_and_every_part_is_kept(height: int, width: int) -> None:
    count = height * width
    points = np.zeros((count, 3), dtype="<f4")
    points[:, 0], points[:, 1] = np.repeat(np.arange(height), width), np.tile(np.arange(width), height)
    message = messages.cloud()
    message.height, message.width, message.row_step = height, width, 12 * width
    message.data = np.frombuffer(points.tobytes(), dtype=np.uint8)
    sweep = read_cloud(message)
    assert len(sweep.points) + sweep.left_out == count and len(sweep.points) <= MAX_POINTS
    assert (sweep.left_out == 0) == (count <= MAX_POINTS)
    assert len(sweep.points) >= min(count, MAX_POINTS // 4), "not thinned more than it must be"
    for axis, size in ((0, height), (1, width)):
        assert sweep.points[:, axis].min() == 0
        assert sweep.points[:, axis].max() >= size - 1 - max(1, 8 * count // MAX_POINTS), "to the last row and column"
