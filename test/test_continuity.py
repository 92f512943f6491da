"""Whether two looks are of the same surroundings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted import asymmetric_plan, other_plan, scan

from crossover_models import continuity
from crossover_models.continuity import LEAST_RETURNS, seen_before, slice_seen_before
from crossover_models.geometry import compose_se2

HERE = np.array([2.5, 2.0, 0.1])
STEP = np.array([0.15, 0.02, 0.2])
ODOM = np.array([-4.0, 7.0, 1.3])


def test_the_same_room_a_step_on_is_the_same_and_another_one_is_not() -> None:
    plan = asymmetric_plan()
    there, odom = compose_se2(HERE, STEP), compose_se2(ODOM, STEP)
    old = scan(plan, HERE, ODOM)
    assert slice_seen_before(old, scan(plan, there, odom, seed=1)) > 0.9
    assert slice_seen_before(old, scan(other_plan(), np.array([3.5, 3.5, 0.0]), odom, seed=1)) < 0.5
    # Odometry's word counts: the same walls half a metre off are other walls.
    assert slice_seen_before(old, scan(plan, there, compose_se2(odom, np.array([0.0, 0.25, 0.3])), seed=1)) < 0.75


def test_what_a_narrow_view_did_not_show_before_contradicts_nothing() -> None:
    plan = asymmetric_plan()
    behind, ahead = (
        scan(plan, compose_se2(HERE, np.array([0, 0, turn])), ODOM + np.array([0, 0, turn]), field_of_view_rad=1.0)
        for turn in (np.pi, 0.0)
    )
    assert slice_seen_before(behind, ahead) == 1.0


def test_single_scans_far_apart_are_not_compared_and_accumulated_sweeps_are() -> None:
    old = scan(asymmetric_plan(), HERE, ODOM)
    elsewhere = scan(other_plan(), np.array([3.5, 3.5, 0.0]), compose_se2(ODOM, np.array([0.5, 0.0, 0.0])))
    assert slice_seen_before(old, elsewhere) == 1.0
    assert slice_seen_before(replace(old, scans=20), elsewhere) < 0.5


@pytest.mark.parametrize("kept", [0, LEAST_RETURNS - 1])
def test_too_few_returns_say_nothing(kept: int) -> None:
    old = scan(asymmetric_plan(), HERE, ODOM)
    few = replace(old, points=old.points[:kept] + 5.0, origin_index=old.origin_index[:kept])
    assert slice_seen_before(old, few) == slice_seen_before(few, old) == 1.0


@pytest.mark.filterwarnings("error")
def test_numbers_that_are_none_are_survived() -> None:
    old = scan(asymmetric_plan(), HERE, ODOM)
    broken = old.points.copy()
    broken[::2] = np.nan
    broken[1] = np.inf
    assert seen_before(broken, np.zeros(2), old.points) > 0.9
    nowhere = replace(old, origins=np.full_like(old.origins, np.nan))
    assert slice_seen_before(old, nowhere) == 1.0
    empty = replace(old, points=old.points[:0], origins=old.origins[:0], origin_index=old.origin_index[:0])
    assert slice_seen_before(old, empty) == 1.0


def test_cells_are_those_of_plain_rows_in_every_quadrant_and_far_out() -> None:
    rng = np.random.default_rng(0)
    far = 0.999 * continuity._FARTHEST_M
    points = np.concatenate([rng.normal(size=(500, 2)) * 3.0, [[far, -far], [-far, -0.01], [0.0, far], [0.0, 0.0]]])
    plain = {(float(x), float(y)) for x, y in np.floor(points / continuity._CELL_M)}
    cells = np.floor(continuity._cells(points) / continuity._CELL_M)
    assert {(float(x), float(y)) for x, y in cells} == plain and len(cells) == len(plain)
    assert continuity._cells(np.zeros((0, 2))).shape == (0, 2)
