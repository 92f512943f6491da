"""Branch and bound names the same optimum as scoring every pose, and looks at far fewer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from crossover_models.config import RegistrationSettings
from crossover_models.floor_plan import FREE, OCCUPIED, UNKNOWN, FloorPlan
from crossover_models.registration import search as module
from crossover_models.registration.grid import GridStack, SearchGrid, direction_cells
from crossover_models.registration.likelihood_field import LikelihoodField
from crossover_models.registration.returns import Returns
from crossover_models.registration.search import Candidates, PoseSearch

# Coarse, so that the plain search is quick; without a floor under the scores, which random scans would all fall below.
SETTINGS = RegistrationSettings(
    linear_step_m=0.2, angular_step_deg=10.0, pyramid_height=3, max_radius_m=8.0, max_rays=24, min_score=-9.0
)
CPU = torch.device("cpu")


def random_plan(rng: np.random.Generator) -> FloorPlan:
    """Free space with random walls, and blank corners; not a multiple of the search's step in size or place."""
    rows, cols = rng.integers(50, 90, 2)
    occupancy = np.full((rows, cols), FREE, dtype=np.int8)
    for _ in range(rng.integers(4, 10)):
        r, c = rng.integers(0, rows), rng.integers(0, cols)
        if rng.random() < 0.5:
            occupancy[r : r + 2, c : c + rng.integers(5, 40)] = OCCUPIED
        else:
            occupancy[r : r + rng.integers(5, 40), c : c + 2] = OCCUPIED
    occupancy[: rng.integers(0, 20), : rng.integers(0, 20)] = UNKNOWN
    return FloorPlan(occupancy, 0.07, tuple(rng.uniform(-5.0, 5.0, 2)))


def random_returns(rng: np.random.Generator) -> Returns:
    points = rng.uniform(0.3, 5.0, (50, 1)) * np.array([[np.cos(a), np.sin(a)] for a in rng.uniform(-np.pi, np.pi, 50)])
    return Returns(points, rng.uniform(-0.3, 0.3, (50, 2)))


def search(
    plans: list[FloorPlan], returns: Returns, allowed: list[NDArray[np.bool_]] | None = None, **changes: float
) -> PoseSearch:
    settings = SETTINGS.with_flat(changes)
    grids = [SearchGrid(LikelihoodField(plan, settings), settings, CPU) for plan in plans]
    return PoseSearch(GridStack(grids), allowed or [grid.free for grid in grids], returns, settings)


def assert_equal(found: Candidates, expected: Candidates) -> None:
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    np.testing.assert_array_equal(found.grid, expected.grid)
    np.testing.assert_array_equal(found.poses, expected.poses)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("violation_weight", [0.0, 1.5])
def test_branch_and_bound_equals_the_exhaustive_search(seed: int, violation_weight: float) -> None:
    rng = np.random.default_rng(seed)
    plans, returns = [random_plan(rng) for _ in range(1 + seed % 3)], random_returns(rng)
    both = search(plans, returns, violation_weight=violation_weight)
    for margin in (0.0, 0.05):
        expected = both.exhaustive(margin)
        both.nodes_bounded = 0
        found = both.branch_and_bound(margin)
        assert_equal(found, expected)
        assert len(found) and found.scores[0] == found.scores.max()


@pytest.mark.parametrize("height", [0, 1, 5])
def test_any_height_of_the_pyramid_gives_the_same_answer(height: int) -> None:
    rng = np.random.default_rng(11)
    plans, returns = [random_plan(rng)], random_returns(rng)
    assert_equal(search(plans, returns, pyramid_height=height).branch_and_bound(), search(plans, returns).exhaustive())


@pytest.mark.parametrize("side", [8, 24, 1 << 20])
def test_tiles_of_any_size_hold_every_pose_once(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(13)
    plans, returns = [random_plan(rng) for _ in range(2)], random_returns(rng)
    expected = search(plans, returns).exhaustive(margin=0.05)
    monkeypatch.setattr(module, "TILE_CELLS", side)
    tiled = search(plans, returns)
    every = tiled.exhaustive(margin=9.0)
    poses = len(tiled.headings) * sum(int(grid.free.sum()) for grid in tiled.stack.grids)
    assert len(every) == len(np.unique(np.c_[every.grid, every.poses], axis=0)) == poses
    assert_equal(tiled.exhaustive(margin=0.05), expected)
    assert_equal(tiled.branch_and_bound(margin=0.05), expected)


def test_where_nothing_is_allowed_nothing_is_found() -> None:
    rng = np.random.default_rng(17)
    plan = random_plan(rng)
    grid = SearchGrid(LikelihoodField(plan, SETTINGS), SETTINGS, CPU)
    nowhere = search([plan], random_returns(rng), [np.zeros(grid.shape, dtype=bool)])
    assert not len(nowhere.branch_and_bound()) and not len(nowhere.exhaustive())


def test_fewer_poses_are_scored_than_there_are() -> None:
    rng = np.random.default_rng(5)
    plan = random_plan(rng)
    # What fits somewhere is found without looking everywhere: walls of the plan itself, seen from its middle.
    middle = plan.position(np.array(plan.occupancy.shape) / 2)
    walls = plan.position(np.argwhere(plan.occupancy == OCCUPIED)) - middle
    seen = walls[np.hypot(walls[:, 0], walls[:, 1]) < 2.5][::2]
    tested = search([plan], Returns(seen, np.zeros_like(seen)), violation_weight=0.0)
    tested.exhaustive()
    every, tested.nodes_bounded = tested.nodes_bounded, 0
    tested.branch_and_bound()
    assert tested.nodes_bounded < every / 4


def test_only_allowed_cells_are_found() -> None:
    rng = np.random.default_rng(7)
    plan, returns = random_plan(rng), random_returns(rng)
    grid = SearchGrid(LikelihoodField(plan, SETTINGS), SETTINGS, CPU)
    cells = np.argwhere(grid.free)[[3, 40]]
    allowed = np.zeros(grid.shape, dtype=bool)
    allowed[tuple(cells.T)] = True
    found = search([plan], returns, [allowed]).branch_and_bound(margin=9.0)
    assert len(found) == 2 * 36
    assert {tuple(pose) for pose in found.poses[:, :2]} == {tuple(position) for position in grid.position(cells)}


@pytest.mark.parametrize("violation_weight", [0.0, 1.5])
def test_bounds_hold_for_every_pose_of_their_window(violation_weight: float) -> None:
    rng = np.random.default_rng(9)
    # Rays as long as the plan is wide, so that many are blocked from a whole window.
    turn, reach = rng.uniform(-np.pi, np.pi, 50), rng.uniform(3.0, 7.0, 50)
    returns = Returns(reach[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1), np.zeros((50, 2)))
    plan = random_plan(rng)
    tested = search([plan], returns, violation_weight=violation_weight)
    scores = dict(
        zip(map(tuple, tested._nodes(0).tolist()), tested._bounded(tested._nodes(0), 0, -np.inf)[1], strict=True)
    )
    tighter = 0
    for height in range(1, 4):
        nodes = tested._nodes(height)[::50][:60]
        plain = search([plan], returns, violation_weight=0.0)
        without = plain._bounded(nodes, height, -np.inf)[1]
        for (heading, start), limit, field in zip(
            nodes.tolist(), tested._bounded(nodes, height, -np.inf)[1], without, strict=True
        ):
            size, stride = 1 << height, tested.stack.stride
            leaves = [(heading, start + row * stride + col) for row in range(size) for col in range(size)]
            assert all(scores[leaf] <= limit + 1e-5 for leaf in leaves if leaf in scores)
            tighter += int(limit < field - 1e-5)
    assert (tighter > 0) == (violation_weight > 0.0)


def covered(plan: FloorPlan, grid: SearchGrid) -> set[tuple[int, int]]:
    """Cells that hold wall: a wall cell's center lies in them, or their own center in a wall cell."""
    inside = np.floor((np.argwhere(plan.occupancy == OCCUPIED) + 0.5) * 0.07 / 0.2).astype(int)
    every = np.argwhere(np.ones(grid.shape, dtype=bool))
    return {tuple(c) for c in (*inside, *every[plan.value(grid.position(every)) == OCCUPIED])}


@pytest.mark.parametrize("seed", range(2))
def test_scores_are_what_walking_along_every_ray_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plan, returns = random_plan(rng), random_returns(rng)
    tested = search([plan], returns, max_rays=50)
    grid, field = tested.stack.grids[0], LikelihoodField(plan, SETTINGS)
    found = tested.exhaustive(margin=9.0)
    walls = covered(plan, grid)
    for k in rng.integers(0, len(found), 5):
        pose = found.poses[k]
        start = np.round((pose[:2] - grid.position(np.array([0, 0]))) / 0.2).astype(int)[::-1]
        turn = np.array([[np.cos(pose[2]), -np.sin(pose[2])], [np.sin(pose[2]), np.cos(pose[2])]])

        def cell(point: NDArray[np.float64], start=start, turn=turn) -> NDArray[np.int64]:  # type: ignore[no-untyped-def]
            return np.asarray(start + np.rint(turn @ point / 0.2).astype(int)[::-1])

        logs, crossed = [], 0
        for point, origin in zip(returns.points, returns.origins, strict=True):
            logs.append(field.log_likelihood(grid.position(cell(point))))
            length = np.hypot(*(point - origin))
            along = (point - origin) / length
            # Pieces of 8 cells, the last one ending where the free part of the ray does.
            last = length - 0.3 - 7 * 0.2
            pieces = [] if last < 0.0 else [*np.arange(0.0, last, 8 * 0.2), last]
            angle = np.arctan2(along[1], along[0]) + pose[2]
            steps = direction_cells(round(float(angle) / (2 * np.pi) * 64) % 64)
            crossed += any(tuple(cell(origin + at * along) + step) in walls for at in pieces for step in steps)
        expected = np.mean(logs) - SETTINGS.violation_weight * crossed / len(returns)
        assert abs(found.scores[k] - expected) < 1e-4


@pytest.mark.parametrize("fov_deg", [60.0, 180.0, 360.0])
@pytest.mark.parametrize("seed", range(3))
def test_branch_and_bound_is_exact_for_what_a_lidar_of_any_field_of_view_sees(seed: int, fov_deg: float) -> None:
    rng = np.random.default_rng([seed, int(fov_deg)])
    plans = [random_plan(rng) for _ in range(2)]
    grids = [SearchGrid(LikelihoodField(plan, SETTINGS), SETTINGS, CPU) for plan in plans]
    spots = np.argwhere(grids[1].free)
    at = grids[1].position(spots[rng.integers(len(spots))])
    bearing = np.deg2rad(np.linspace(-fov_deg / 2, fov_deg / 2, 60)) + rng.uniform(-np.pi, np.pi)
    ray = np.stack([np.cos(bearing), np.sin(bearing)], axis=1)
    along = np.arange(0.0, 7.0, 0.05)
    wall = plans[1].value(at + along[None, :, None] * ray[:, None]) == OCCUPIED
    seen = wall.any(axis=1)
    points = (along[wall.argmax(axis=1)][:, None] * ray + rng.normal(0.0, 0.03, ray.shape))[seen]
    if len(points) < 8:
        points = ray * 3.0
    both = search(plans, Returns(points, np.zeros_like(points)))
    for margin in (0.0, 0.3):
        assert_equal(both.branch_and_bound(margin), both.exhaustive(margin))


def test_levels_together_give_the_best_of_each_alone() -> None:
    rng = np.random.default_rng(21)
    plans, returns = [random_plan(rng) for _ in range(4)], random_returns(rng)
    together = search(plans, returns).branch_and_bound()
    alone = [search([plan], returns).branch_and_bound() for plan in plans]
    best = int(np.argmax([found.scores[0] for found in alone]))
    assert together.grid[0] == best and together.scores[0] == pytest.approx(alone[best].scores[0], abs=1e-6)
    np.testing.assert_array_equal(together.poses[0], alone[best].poses[0])


def test_the_search_names_no_device_of_its_own() -> None:
    rng = np.random.default_rng(2)
    meta = torch.device("meta")
    grid = SearchGrid(LikelihoodField(random_plan(rng), SETTINGS), SETTINGS, meta)
    tested = PoseSearch(GridStack([grid]), [grid.free], random_returns(rng), SETTINGS)
    nodes = torch.zeros((7, 2), dtype=torch.int32, device=meta)
    bounds = tested._bounded(nodes, 1, -np.inf)[1]
    assert bounds.device.type == "meta" and bounds.shape == (7,)
